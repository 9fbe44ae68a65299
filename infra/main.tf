# The place to run the module from: `infra/deploy.sh` gives it project, environment and configuration. Other roots call the module
# itself (infra/module/README.md).

terraform {
  required_version = ">= 1.11"

  # Bucket and prefix are given at `init`, one pair for each project and environment: nobody's state can be reached by mistake.
  backend "gcs" {}

  required_providers {
    google = {
      source  = "hashicorp/google"
      version = ">= 7.45, < 9"
    }
  }
}

provider "google" {
  project = var.project
  region  = var.region
}

module "unstick" {
  source = "./module"

  project               = var.project
  region                = var.region
  name                  = var.name
  config_file           = var.config_file
  source_zip            = var.source_zip
  runtime               = var.runtime
  functions             = var.functions
  network               = var.network
  public_webhook        = var.public_webhook
  webhook_ingress       = var.webhook_ingress
  paused                = var.paused
  schedule              = var.schedule
  archive_days          = var.archive_days
  rollback_days         = var.rollback_days
  alert_emails          = var.alert_emails
  notification_channels = var.notification_channels
  daily_compute_limit   = var.daily_compute_limit
  build_account         = var.build_account
  labels                = var.labels
  kms_key_name          = var.kms_key_name
  secret_locations      = var.secret_locations
}
