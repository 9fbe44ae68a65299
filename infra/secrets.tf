# Made without a value: a value that Terraform knows is a value in its state. `deploy.sh apply` asks for those that have none, before it
# makes the functions; `terraform output -raw secrets` says how to give one a new value.

resource "google_secret_manager_secret" "named" {
  for_each = local.secrets

  secret_id = each.key

  replication {
    auto {}
  }

  depends_on = [google_project_service.used, terraform_data.config] # nobody is asked for a value that a mistake in the file makes useless
}
