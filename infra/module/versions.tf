terraform {
  required_version = ">= 1.11"

  required_providers {
    google = {
      source  = "hashicorp/google"
      version = ">= 7.45, < 9" # deletion_policy = "ABANDON" came with 7.45; tests/system/infra/terraform_schema says how 8 was compared
    }
  }
}
