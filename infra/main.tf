# Unstick in one project and environment. docs/google-cloud.md has the steps: `init` gets the state's bucket and the environment's
# prefix, `-var-file` the environment's variables. Other roots call the module themselves (infra/module/README.md).

terraform {
  required_version = ">= 1.11"

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
  config_file           = "${path.module}/../build/${var.name}.zip.yaml" # both are written by infra/package.py
  source_zip            = "${path.module}/../build/${var.name}.zip"
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
  kms_key_name          = var.kms_key_name
}
