#!/usr/bin/env bash
# Deploys Unstick to Google Cloud, and deletes it from there.
#
#   PROJECT=my-project infra/deploy.sh config     write unstick.production.yaml, to be edited
#   PROJECT=my-project infra/deploy.sh plan       show what would change
#   PROJECT=my-project infra/deploy.sh apply      build, ask for secrets that have no value, deploy, and check from inside
#   PROJECT=my-project infra/deploy.sh check      ask every system from inside the deployed function
#   PROJECT=my-project infra/deploy.sh output     print what Grafana needs, and how to give secrets a new value
#   PROJECT=my-project infra/deploy.sh rollback   deploy the former archive again, or the one whose name begins with TO
#   PROJECT=my-project infra/deploy.sh unlock ID  take off the lock of a run that was killed
#   PROJECT=my-project infra/deploy.sh destroy    delete everything but the store's bucket and the queue
#
# ENV (production) sets names, state, configuration (unstick.ENV.yaml) and variables (unstick.ENV.tfvars) of each environment apart.
# REGION (asia-northeast1), CONFIG, PYTHON (that of `make setup`) and WAIT (180 s for the check) may be set too. -auto-approve skips the question; all else behind
# the command goes to `terraform plan`.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

case "${1:-}" in
  config | plan | apply | check | output | rollback | unlock | destroy) ;;
  *) sed -n '4,11s/^# *//p' "${BASH_SOURCE[0]}" >&2; exit 2 ;;
esac
if [ -z "${PYTHON:-}" ]; then
  PYTHON=python3
  [ ! -x .venv/bin/python ] || PYTHON=.venv/bin/python
fi
"$PYTHON" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "deploy: $PYTHON is older than Python 3.11. Set PYTHON, or run \`make setup\`." >&2; exit 2; }
exec "$PYTHON" infra/deploy.py "$@"
