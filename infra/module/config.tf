# The configuration file is the one place that names bucket, queue and secrets.

locals {
  config     = yamldecode(file(var.config_file))
  bucket     = try(local.config.store.cloud_storage.bucket, "")
  queue_path = try(local.config.scheduler.cloud_tasks.queue, "")
  queue      = try(regex("^projects/${var.project_id}/locations/${var.region}/queues/([A-Za-z0-9-]{1,100})$", local.queue_path)[0], "")
  time_zone  = try(local.config.time_zone, try(local.config.language, "en") == "ja" ? "Asia/Tokyo" : "UTC") # as functions/config/settings.py
  hmac       = try(local.config.grafana.auth.hmac, null)

  # Which account reads the secrets of which part of the configuration.
  readers = {
    # report reads all: it checks every system.
    grafana      = ["webhook", "report"]
    annotations  = ["webhook", "verify", "report"] # who ends an incident posts them
    rundeck      = ["webhook", "verify", "report"]
    rabbitmq     = ["webhook", "verify", "report"]
    prometheus   = ["webhook", "verify", "report"]
    signing_keys = ["webhook", "verify", "report"]
    channels     = ["webhook", "verify", "report"]
    slack        = ["webhook", "report"] # Slack signs presses, and verify takes them from webhook
  }

  public_url = try(local.config.public_url, "")
  run_app    = endswith(local.public_url, ".run.app") # the function's own address, in one of its two forms

  reference = "sm://([a-z0-9-]+)/([A-Za-z0-9_-]+)(?:/([A-Za-z0-9_-]+))?"
  parts = merge(local.config, {
    grafana     = try(local.config.grafana.auth, {})
    annotations = try(local.config.grafana.annotations, {})
    channels    = [for channel in values(try(local.config.channels, {})) : { for key, value in channel : key => value if key != "signing_secret" }]
    slack       = [for channel in values(try(local.config.channels, {})) : try(channel.signing_secret, "")]
  })
  named   = { for part in keys(local.readers) : part => regexall(local.reference, jsonencode(try(local.parts[part], {}))) }
  secrets = toset(flatten([for found in values(local.named) : [for pair in found : pair[1]]]))
  # NAME or NAME/VERSION -> what Secret Manager is asked for; the newest where none is named
  versions = merge(flatten([for found in values(local.named) : [
    for pair in found : { (pair[2] == null || pair[2] == "latest" ? pair[1] : "${pair[1]}/${pair[2]}") = { secret = pair[1], version = pair[2] == "latest" ? null : pair[2] } }
  ]])...)
  accessors = merge(flatten([
    for part, found in local.named : [
      for pair in found : { for reader in local.readers[part] : "${pair[1]}/${reader}" => { secret = pair[1], reader = reader } }
    ]
  ])...)

  # What tells a forged request, approval link or press in Slack from a true one is mounted as a file: Google's client for it takes as long to load as all the rest of
  # a start, and anybody may send a forged request. Name of the secret -> its version; a volume has one version.
  door = { for name, versions in { for pair in concat(local.named.grafana, local.named.signing_keys, local.named.slack) : pair[1] => coalesce(pair[2], "latest")... } : name => versions[0] }
}

resource "terraform_data" "config" {
  input = filesha256(var.config_file)

  lifecycle {
    precondition {
      condition     = can(regex("^[a-z0-9][a-z0-9_.-]{1,61}[a-z0-9]$", local.bucket)) && local.bucket != "${var.project_id}-${var.name}-source"
      error_message = "store.cloud_storage.bucket in the configuration must be the name of a bucket, without gs://, and not that of the source's bucket."
    }

    precondition {
      condition     = local.queue != ""
      error_message = "scheduler.cloud_tasks.queue in the configuration must be projects/${var.project_id}/locations/${var.region}/queues/NAME; it is ${jsonencode(local.queue_path)}."
    }

    precondition {
      condition     = try(local.config.scheduler.cloud_tasks.service_account, null) == null
      error_message = "Leave scheduler.cloud_tasks.service_account out of the configuration: the queue gives each task its token, and the functions may not act as any account."
    }

    precondition {
      condition     = can(regex("^https://[^/]+$", local.public_url))
      error_message = "public_url in the configuration must be https://HOST: Grafana and approval links go there."
    }

    precondition {
      condition     = !local.run_app || startswith(local.public_url, "https://${var.name}-webhook-")
      error_message = "public_url in the configuration is the address of another function than ${var.name}-webhook."
    }

    precondition {
      condition     = !local.run_app || endswith(local.public_url, ".a.run.app") || endswith(local.public_url, ".${var.region}.run.app")
      error_message = "public_url in the configuration is an address of another region than ${var.region}."
    }

    precondition {
      condition     = !local.run_app || var.webhook_ingress != "ALLOW_INTERNAL_AND_GCLB"
      error_message = "With webhook_ingress = ALLOW_INTERNAL_AND_GCLB, public_url in the configuration must be the load balancer's host: browsers and Grafana can't reach ${local.public_url}."
    }

    precondition {
      condition     = alltrue([for pair in flatten([for found in values(local.named) : [for pair in found : { project = pair[0] }]]) : pair.project == var.project_id])
      error_message = "Every sm:// reference in the configuration must name the project ${var.project_id}: sm://${var.project_id}/NAME."
    }

    precondition {
      condition     = length(regexall("sm://", jsonencode(local.config))) == sum([for found in values(local.named) : length(found)])
      error_message = "A secret stands in a part of the configuration where none is expected, or its name is not one; allowed are ${join(", ", keys(local.readers))}."
    }

    precondition {
      condition     = length(regexall("(env|file)://", jsonencode(local.config))) == 0
      error_message = "env:// and file:// can't be read by the functions. Use sm://${var.project_id}/NAME."
    }
  }
}
