# One environment of Unstick: docs/google-cloud.md copies the folder to infra/environments/. Four values are yours: bucket, project_id,
# region and alert_emails. Another environment is another folder, with its own prefix and name.

terraform {
  required_version = ">= 1.11"

  backend "gcs" {
    bucket = "my-project-unstick-state"
    prefix = "production"
  }

  required_providers {
    google = {
      source  = "hashicorp/google"
      version = ">= 7.45, < 9"
    }
  }
}

locals {
  project_id   = "my-project"
  region       = "asia-northeast1"
  name         = "unstick"
  alert_emails = ["oncall@example.com"]
}

provider "google" {
  project = local.project_id
  region  = local.region
}

module "unstick" {
  source = "../../module" # of a checkout, or of the archive that `make release` builds

  project_id   = local.project_id
  region       = local.region
  name         = local.name
  config_file  = "${path.module}/unstick.zip.yaml" # infra/package.py writes both, from unstick.yaml
  source_zip   = "${path.module}/unstick.zip"
  alert_emails = local.alert_emails
}

output "deployment" {
  description = "What this state describes, and which archive runs."
  value       = module.unstick.deployment
}

output "grafana" {
  description = "What to enter in Grafana's contact point (docs/grafana.md)."
  value       = module.unstick.grafana
}

output "secrets" {
  description = "One command for each secret, to give it a new value."
  value       = module.unstick.secrets
}

output "next_steps" {
  description = "What to do after the first deployment."
  value       = module.unstick.next_steps
}
