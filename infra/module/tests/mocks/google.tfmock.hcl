# What the provider decides, as plausible as its own validators want it.

mock_resource "google_service_account" {
  defaults = {
    name   = "projects/example-project/serviceAccounts/mocked@example-project.iam.gserviceaccount.com"
    email  = "mocked@example-project.iam.gserviceaccount.com"
    member = "serviceAccount:mocked@example-project.iam.gserviceaccount.com"
  }
}

mock_resource "google_monitoring_notification_channel" {
  defaults = {
    name = "projects/example-project/notificationChannels/1"
  }
}

mock_data "google_secret_manager_secret_version" {
  defaults = {
    destroy_time = ""
    secret_data  = ""
  }
}
