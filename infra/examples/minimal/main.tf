# As little as it takes. `infra/package.py --config unstick.yaml --to unstick.zip` builds the archive; the secrets that the configuration
# names need a value before the functions are made (infra/module/README.md).

terraform {
  required_version = ">= 1.11"

  required_providers {
    google = {
      source  = "hashicorp/google"
      version = ">= 7.45, < 9"
    }
  }
}

provider "google" {
  project = "my-project"
}

module "unstick" {
  source = "../../module" # of a checkout, or of the archive that `make release` builds

  project      = "my-project"
  region       = "asia-northeast1"
  config_file  = "${path.module}/unstick.yaml"
  source_zip   = "${path.module}/unstick.zip"
  alert_emails = ["oncall@example.com"]
}

output "grafana" {
  description = "What to enter in Grafana's contact point."
  value       = module.unstick.grafana
}
