# Secrets belong to people, who make them, give them values and delete them. Terraform looks at the version that the configuration
# names, and at no value: so none is in the state, and neither `destroy`, a rollback nor another environment can delete one. A secret
# that is missing or has no version fails the plan (docs/google-cloud.md#secrets).

data "google_secret_manager_secret_version" "named" {
  for_each = local.versions

  project           = var.project_id
  secret            = each.value.secret
  version           = each.value.version
  fetch_secret_data = false

  lifecycle {
    postcondition {
      condition     = try(length(self.destroy_time) == 0, true)
      error_message = "This version of the secret ${each.value.secret} was destroyed. Add another: gcloud secrets versions add ${each.value.secret} --project=${var.project_id} --data-file=-"
    }
  }
}
