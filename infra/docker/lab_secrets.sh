#!/usr/bin/env bash
# Writes lab.env with new random secrets for the lab, readable by its owner only.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"
[ ! -e lab.env ] || { echo "lab_secrets: lab.env is there already" >&2; exit 2; }
umask 077
for name in GRAFANA_HMAC_SECRET GRAFANA_ADMIN_PASSWORD RUNDECK_TOKEN RUNDECK_ADMIN_TOKEN RABBITMQ_PASSWORD RABBITMQ_ADMIN_PASSWORD UNSTICK_SIGNING_KEY; do
  echo "$name=$(od -An -N24 -tx1 /dev/urandom | tr -d ' \n')"
done >lab.env
