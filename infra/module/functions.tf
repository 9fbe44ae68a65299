locals {
  # In seconds. Grafana waits 30; a wake-up has as long as Cloud Tasks waits for an answer, 10 minutes unless a task says otherwise.
  timeouts_s  = { webhook = 30, verify = 600, report = 600 }
  secrets_dir = "/etc/secrets" # Google's recommendation; UNSTICK_SECRETS_DIR of functions/runtime/secrets.py: PROJECT/NAME/VERSION below it

  default_sizes = {
    webhook = { memory = "1Gi", concurrency = 16, min_instances = 0, max_instances = 10 }
    verify  = { memory = "512Mi", concurrency = 8, min_instances = 0, max_instances = 5 }
    report  = { memory = "512Mi", concurrency = 1, min_instances = 0, max_instances = 2 }
  }
  sizes = {
    for entry, size in local.default_sizes : entry => merge(size, { for key, value in lookup(var.functions, entry, {}) : key => value if value != null })
  }

  entries = {
    for entry, size in local.sizes : entry => merge(size, {
      timeout_s = local.timeouts_s[entry]
      ingress   = entry == "webhook" ? var.webhook_ingress : "ALLOW_INTERNAL_ONLY" # Cloud Tasks and Cloud Scheduler count as internal
    })
  }
}

resource "google_cloudfunctions2_function" "entry" {
  for_each = local.entries

  project     = var.project_id
  name        = "${var.name}-${each.key}"
  location    = var.region
  description = local.accounts[each.key]

  kms_key_name = var.kms_key_name

  build_config {
    runtime           = "python313"
    entry_point       = each.key
    service_account   = local.build_account
    docker_repository = google_artifact_registry_repository.images.id

    source {
      storage_source {
        bucket = google_storage_bucket.source.name
        object = google_storage_bucket_object.source.name
      }
    }
  }

  service_config {
    available_cpu                    = "1" # a start takes six times as long with the CPU that 256 MiB bring; and more than one request at once needs it
    available_memory                 = each.value.memory
    max_instance_request_concurrency = each.value.concurrency
    min_instance_count               = each.value.min_instances
    max_instance_count               = each.value.max_instances
    timeout_seconds                  = each.value.timeout_s
    ingress_settings                 = each.value.ingress
    all_traffic_on_latest_revision   = true
    service_account_email            = google_service_account.role[each.key].email
    direct_vpc_egress                = var.network == null ? null : var.network.egress

    environment_variables = merge(
      {
        UNSTICK_CONFIG       = "unstick.yaml"
        GOOGLE_CLOUD_PROJECT = var.project_id
        THREADS              = tostring(each.value.concurrency)
        MALLOC_ARENA_MAX     = "2" # short-lived threads otherwise spread over heaps that glibc seldom gives back
      },
      each.key == "webhook" ? { UNSTICK_SECRETS_DIR = local.secrets_dir } : {},
      var.paused ? { UNSTICK_PAUSED = "1" } : {},
    )

    dynamic "secret_volumes" {
      for_each = each.key == "webhook" ? local.door : {}
      content {
        mount_path = "${local.secrets_dir}/${var.project_id}/${secret_volumes.key}"
        project_id = var.project_id
        secret     = secret_volumes.key

        versions {
          version = secret_volumes.value
          path    = secret_volumes.value
        }
      }
    }

    dynamic "direct_vpc_network_interface" {
      for_each = var.network == null ? [] : [var.network]
      content {
        network    = direct_vpc_network_interface.value.network
        subnetwork = direct_vpc_network_interface.value.subnetwork
        tags       = direct_vpc_network_interface.value.tags
      }
    }
  }

  # Cloud Run refuses a revision whose account may not read what is mounted; a build fails whose account may not write its image.
  depends_on = [
    google_project_iam_member.builder,
    google_artifact_registry_repository_iam_member.builder,
    google_secret_manager_secret_iam_member.accessor,
    data.google_secret_manager_secret_version.named,
    terraform_data.config,
  ]
}
