terraform {
  required_version = ">= 1.11"

  required_providers {
    google = {
      source  = "hashicorp/google"
      version = ">= 7.26, < 8" # direct VPC egress of functions came with 7.26; the tests check against 7.45.0
    }
  }
}
