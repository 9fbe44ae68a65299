terraform {
  required_version = ">= 1.11.0"

  required_providers {
    google = {
      source  = "hashicorp/google"
      version = "7.45.0" # the one that the tests check against; direct VPC egress of functions came with 7.26
    }
  }
}

provider "google" {
  project = var.project
  region  = var.region
}
