# What `infra/deploy.sh destroy` applies in place of infra/: nothing is declared here, so all that the state has is deleted, except
# the store's bucket and the queue, which Terraform only forgets. It reads no configuration, so a mistake in that file does not stop it.

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

variable "project" {
  description = "The Google Cloud project's id."
  type        = string
}

variable "region" {
  description = "Where everything runs."
  type        = string
}

provider "google" {
  project = var.project
  region  = var.region
}

removed {
  from = module.unstick.google_storage_bucket.store

  lifecycle {
    destroy = false
  }
}

removed {
  from = module.unstick.google_cloud_tasks_queue.wakeups

  lifecycle {
    destroy = false
  }
}

# As they were named before there was a module.
removed {
  from = google_storage_bucket.store

  lifecycle {
    destroy = false
  }
}

removed {
  from = google_cloud_tasks_queue.wakeups

  lifecycle {
    destroy = false
  }
}
