output "deployment" {
  description = "What this state describes: project, region, name, bucket, queue, and the archive that runs."
  value = {
    project_id    = var.project_id
    region        = var.region
    name          = var.name
    bucket        = local.bucket
    queue         = local.queue
    source_bucket = google_storage_bucket.source.name
    archive       = google_storage_bucket_object.source.name
  }
}

output "grafana" {
  description = "What to enter in Grafana's contact point (docs/grafana.md)."
  value = {
    url              = local.public_url
    http_method      = "POST"
    signature_header = try(local.hmac.header, "X-Grafana-Alerting-Signature")
    timestamp_header = try(local.hmac.timestamp_header, "X-Grafana-Alerting-Timestamp")
    secret           = local.grafana_secret == "" ? "no sm:// reference stands under grafana.auth" : "gcloud secrets versions access latest --project=${var.project_id} --secret=${local.grafana_secret}"
  }
}

output "secrets" {
  description = "One command for each secret, to give it a new value. It reads the value from the terminal, so neither the state nor the shell's history has it. One text, because Terraform escapes quotes in a map."
  value       = join("", [for secret in local.secrets : "read -rs VALUE && printf %s \"$VALUE\" | gcloud secrets versions add ${secret} --project=${var.project_id} --data-file=-; unset VALUE\n"])
}

output "public_url" {
  description = "The webhook's address as the configuration has it: for Grafana and approval links. The function has a second one at run.app, which leads to the same."
  value       = local.public_url
}

output "next_steps" {
  description = "What to do after the first deployment."
  value = [
    "Wait for the result of the check from inside: it is posted within ten minutes.",
    "Enter URL, headers and secret in Grafana: terraform output grafana",
    "Press Test at Grafana's contact point: its message must arrive in the channels of `notify`.",
  ]
}

output "bucket" {
  description = "The store's bucket, which no plan deletes."
  value       = google_storage_bucket.store.name
}

output "queue" {
  description = "The queue of wake-ups, which no plan deletes."
  value       = local.queue_path
}

locals {
  grafana_secret = try(local.named.grafana[0][1], "")
}
