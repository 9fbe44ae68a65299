#!/usr/bin/env bash
# Puts Unstick on Google Cloud and takes it off again.
#
#   PROJECT=my-project infra/deploy.sh config     write unstick.production.yaml, to be edited
#   PROJECT=my-project infra/deploy.sh plan       say what would change
#   PROJECT=my-project infra/deploy.sh apply      build, ask for secrets that have no value, deploy, and print what to do next
#   PROJECT=my-project infra/deploy.sh destroy    take all off but the store's bucket and the queue
#
# REGION (asia-northeast1), CONFIG (unstick.production.yaml) and PYTHON (that of `make setup`) may be set too. What comes behind the
# command goes to terraform, such as -auto-approve. Further variables belong into infra/terraform.tfvars.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

die() { echo "deploy: $*" >&2; exit 2; }
need() { command -v "$1" >/dev/null || die "$1 is not on the PATH. $2"; }
tf() { terraform -chdir=infra "$@"; }
value_of() { tf console <<<"$1" | tr -d '"'; }
in_state() { grep -qxF "$1" <<<"$state"; }

command=${1:-}
[ $# -eq 0 ] || shift
case "$command" in
  config | plan | apply | destroy) ;;
  *) sed -n '4,7s/^# *//p' "${BASH_SOURCE[0]}" >&2; exit 2 ;;
esac
[ -n "${PROJECT:-}" ] || die "PROJECT is not set. Say PROJECT=my-project, the project's id."
REGION=${REGION:-asia-northeast1}
CONFIG=${CONFIG:-unstick.production.yaml}
need gcloud "See https://cloud.google.com/sdk/docs/install"

if [ "$command" = config ]; then
  [ ! -e "$CONFIG" ] || die "$CONFIG is there already."
  number=$(gcloud projects describe "$PROJECT" --format='value(projectNumber)') || die "gcloud can't see the project $PROJECT."
  sed -e 1,2d -e "s/example-project/$PROJECT/g; s/123456789012/$number/g; s/asia-northeast1/$REGION/g" infra/unstick.cloud.yaml >"$CONFIG"
  echo "Wrote $CONFIG. Put your systems, channels and runbooks in; then: PROJECT=$PROJECT REGION=$REGION infra/deploy.sh apply"
  exit
fi

need terraform "See https://developer.hashicorp.com/terraform/install"
[ -r "$CONFIG" ] || die "$CONFIG is not there. \`infra/deploy.sh config\` writes one."
case "$CONFIG" in /*) ;; *) CONFIG=$PWD/$CONFIG ;; esac
if [ -z "${PYTHON:-}" ]; then
  PYTHON=python3
  [ ! -x .venv/bin/python ] || PYTHON=.venv/bin/python
fi
if [ "$command" = destroy ]; then
  mkdir -p build && touch build/unstick.zip # a file with a mistake must not keep anybody from taking it off
else
  "$PYTHON" infra/package.py --config "$CONFIG" --to build/unstick.zip
fi
export TF_VAR_project=$PROJECT TF_VAR_region=$REGION TF_VAR_config_file=$CONFIG TF_VAR_source_zip=$PWD/build/unstick.zip
tf init -input=false >/dev/null
bucket=$(value_of local.bucket)
queue=$(value_of local.queue)
state=$(tf state list 2>/dev/null) || true # there is none before the first deployment

# What an earlier `destroy` left standing is taken up again.
adopt() {
  if ! in_state google_storage_bucket.store && gcloud storage buckets describe "gs://$bucket" --project="$PROJECT" >/dev/null 2>&1; then
    tf import -input=false google_storage_bucket.store "$PROJECT/$bucket"
  fi
  if ! in_state google_cloud_tasks_queue.wakeups && gcloud tasks queues describe "$queue" --project="$PROJECT" --location="$REGION" >/dev/null 2>&1; then
    tf import -input=false google_cloud_tasks_queue.wakeups "projects/$PROJECT/locations/$REGION/queues/$queue"
    gcloud tasks queues resume "$queue" --project="$PROJECT" --location="$REGION"
  fi
}

# Cloud Run refuses a function that has a secret without a value mounted; and without the others it could do nothing.
fill_secrets() {
  local secret secrets states value missing=() targets=()
  secrets=$(value_of 'join(" ", local.secrets)')
  for secret in $secrets; do
    if in_state "google_secret_manager_secret.named[\"$secret\"]"; then
      states=$(gcloud secrets versions list "$secret" --project="$PROJECT" --format='value(state)') || die "gcloud can't see the values of the secret $secret."
      case "${states,,}" in *enabled*) continue ;; esac
    fi
    missing+=("$secret")
    targets+=("-target=google_secret_manager_secret.named[\"$secret\"]") # by name: without one, those that the file no longer names would be deleted
  done
  [ ${#missing[@]} -gt 0 ] || return 0
  case "$*" in "" | -auto-approve) ;; *) die "these secrets have no value: ${missing[*]}. Say \`apply\` alone, or with -auto-approve, to be asked for each." ;; esac
  tf apply "${targets[@]}" "$@"
  echo "These secrets have no value yet: ${missing[*]}. Type or paste each; it is not shown."
  for secret in "${missing[@]}"; do
    IFS= read -rsp "$secret: " value || true
    echo
    [ -n "$value" ] || die "$secret was left without a value. The same command again goes on from here."
    printf %s "$value" | gcloud secrets versions add "$secret" --project="$PROJECT" --data-file=-
  done
}

# Taken out of Terraform's hands, so that nothing can delete them by mistake. Paused, since nobody takes wake-ups any more.
let_go() {
  if in_state google_cloud_tasks_queue.wakeups; then
    gcloud tasks queues pause "$queue" --project="$PROJECT" --location="$REGION"
    tf state rm google_cloud_tasks_queue.wakeups
  fi
  if in_state google_storage_bucket.store; then tf state rm google_storage_bucket.store; fi
}

case "$command" in
  plan) tf plan "$@" ;;
  apply)
    adopt
    fill_secrets "$@"
    tf apply "$@"
    ;;
  destroy)
    # Asked here, since letting go comes before Terraform's own question.
    case " $* " in
      *" -auto-approve "*) ;;
      *)
        read -rp "Take Unstick off $PROJECT, secrets and their values included? Type the project's id: " said
        [ "$said" = "$PROJECT" ] || die "nothing was changed."
        ;;
    esac
    let_go
    tf destroy -auto-approve "$@"
    echo "Left standing: gs://$bucket (incidents) and the queue $queue (paused). To delete them as well:"
    echo "  gcloud storage rm -r gs://$bucket"
    echo "  gcloud tasks queues delete $queue --project=$PROJECT --location=$REGION"
    ;;
esac
