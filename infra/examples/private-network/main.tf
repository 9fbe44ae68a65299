# Rundeck and RabbitMQ without public addresses: a subnetwork for the functions, the firewall that lets them through, and NAT for what
# is outside when all traffic goes by the network. Copy it in place of examples/production; infra/module/README.md says what an error
# looks like when one of these is missing.

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

variable "network" {
  description = "The network that Rundeck and RabbitMQ are in. In a shared VPC its full path in the host project."
  type        = string
  default     = "inside"
}

provider "google" {
  project = "my-project"
  region  = "asia-northeast1"
}

# In the functions' region, and /26 at least: Google keeps addresses for twice as many instances as run, and for a while after they end.
# Ten of webhook, five of verify and two of report make 34 and more while a new revision takes over.
resource "google_compute_subnetwork" "functions" {
  name                     = "unstick-functions"
  region                   = "asia-northeast1"
  network                  = var.network
  ip_cidr_range            = "10.80.0.0/26"
  private_ip_google_access = true
}

# From the functions to the systems. Egress is open unless another rule closes it.
resource "google_compute_firewall" "systems" {
  name          = "unstick-to-systems"
  network       = var.network
  direction     = "INGRESS"
  source_ranges = [google_compute_subnetwork.functions.ip_cidr_range]
  target_tags   = ["rundeck", "rabbitmq"]

  allow {
    protocol = "tcp"
    ports    = ["443", "4443", "15671"]
  }
}

# Chats are on the internet. Only VPC_EGRESS_ALL_TRAFFIC needs this; without NAT nothing is posted then.
resource "google_compute_router" "out" {
  name    = "unstick-out"
  region  = "asia-northeast1"
  network = var.network
}

resource "google_compute_router_nat" "out" {
  name                               = "unstick-out"
  region                             = "asia-northeast1"
  router                             = google_compute_router.out.name
  nat_ip_allocate_option             = "AUTO_ONLY"
  source_subnetwork_ip_ranges_to_nat = "LIST_OF_SUBNETWORKS"

  subnetwork {
    name                    = google_compute_subnetwork.functions.id
    source_ip_ranges_to_nat = ["ALL_IP_RANGES"]
  }
}

module "unstick" {
  source = "../../module"

  project_id   = "my-project"
  region       = "asia-northeast1"
  config_file  = "${path.module}/unstick.zip.yaml" # infra/package.py writes both, from unstick.yaml
  source_zip   = "${path.module}/unstick.zip"
  alert_emails = ["oncall@example.com"]
  functions    = { webhook = { min_instances = 1 } } # a fresh instance can take a minute until its network is open
  network = {
    network    = var.network
    subnetwork = google_compute_subnetwork.functions.id
    egress     = "VPC_EGRESS_ALL_TRAFFIC"
  }
}

output "grafana" {
  description = "What to enter in Grafana's contact point (docs/grafana.md)."
  value       = module.unstick.grafana
}

output "secrets" {
  description = "One command for each secret, to give it a new value."
  value       = module.unstick.secrets
}
