# Made without a value: a value that Terraform knows is a value in its state. `deploy.sh apply` asks for those that have none, before it
# makes the functions; `deploy.sh output -raw secrets` says how to give one a new value.

resource "google_secret_manager_secret" "named" {
  for_each = local.secrets

  project   = var.project
  secret_id = each.key
  labels    = var.labels

  # Automatic replication is refused where a policy of the organisation restricts locations.
  replication {
    dynamic "auto" {
      for_each = length(var.secret_locations) == 0 ? [1] : []
      content {}
    }

    dynamic "user_managed" {
      for_each = length(var.secret_locations) == 0 ? [] : [1]
      content {
        dynamic "replicas" {
          for_each = var.secret_locations
          content {
            location = replicas.value

            dynamic "customer_managed_encryption" {
              for_each = var.kms_key_name == null ? [] : [var.kms_key_name]
              content {
                kms_key_name = customer_managed_encryption.value
              }
            }
          }
        }
      }
    }
  }

  # Another replication means another secret, and the values would be gone: one made by hand, or before kms_key_name, keeps its own.
  lifecycle {
    ignore_changes = [replication]
  }

  depends_on = [google_project_service.used, terraform_data.config] # nobody is asked for a value that a mistake in the file makes useless
}
