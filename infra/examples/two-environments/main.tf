# Two environments side by side in one root. Each has its own configuration, which names its bucket, queue, account and secrets.

terraform {
  required_version = ">= 1.11"

  required_providers {
    google = {
      source  = "hashicorp/google"
      version = ">= 7.45, < 9"
    }
  }
}

locals {
  environments = {
    staging    = { name = "unstick-staging", max_instances = 2 }
    production = { name = "unstick", max_instances = 10 }
  }
}

provider "google" {
  project = "my-project"
}

module "unstick" {
  source   = "../../module"
  for_each = local.environments

  project      = "my-project"
  region       = "asia-northeast1"
  name         = each.value.name
  config_file  = "${path.module}/unstick.${each.key}.yaml"
  source_zip   = "${path.module}/unstick.${each.key}.zip"
  functions    = { webhook = { max_instances = each.value.max_instances } }
  alert_emails = ["oncall@example.com"]
}
