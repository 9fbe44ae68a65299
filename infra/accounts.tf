# One account for each role, and no right on the project. A member is who, a resource is what.

locals {
  accounts = {
    webhook   = "Unstick: takes alerts of Grafana"
    verify    = "Unstick: takes wake-ups"
    report    = "Unstick: report and drill"
    tasks     = "Unstick: calls verify for Cloud Tasks"
    scheduler = "Unstick: calls verify and report for Cloud Scheduler"
  }
  emails = { for role in keys(local.accounts) : role => "${var.name}-${role}@${var.project}.iam.gserviceaccount.com" }

  services = toset([
    "artifactregistry.googleapis.com",
    "cloudbuild.googleapis.com",
    "cloudfunctions.googleapis.com",
    "cloudscheduler.googleapis.com",
    "cloudtasks.googleapis.com",
    "iam.googleapis.com",
    "logging.googleapis.com",
    "monitoring.googleapis.com",
    "run.googleapis.com",
    "secretmanager.googleapis.com",
    "storage.googleapis.com",
  ])
}

resource "google_project_service" "used" {
  for_each = local.services

  service            = each.key
  disable_on_destroy = false # others in the project may use it
}

resource "google_service_account" "role" {
  for_each = local.accounts

  account_id   = "${var.name}-${each.key}"
  display_name = each.value

  depends_on = [google_project_service.used]
}

# --- who calls what ---

# Grafana has no Google identity. What comes in here is authenticated by the function, before anything is parsed.
resource "google_cloud_run_v2_service_iam_member" "public" {
  count = var.public_webhook ? 1 : 0

  location = var.region
  name     = google_cloudfunctions2_function.entry["webhook"].name
  role     = "roles/run.invoker"
  member   = "allUsers"
}

resource "google_cloud_run_v2_service_iam_member" "invoker" {
  for_each = {
    "tasks/verify"     = { caller = "tasks", entry = "verify" }
    "scheduler/verify" = { caller = "scheduler", entry = "verify" }
    "scheduler/report" = { caller = "scheduler", entry = "report" }
  }

  location = var.region
  name     = google_cloudfunctions2_function.entry[each.value.entry].name
  role     = "roles/run.invoker"
  member   = google_service_account.role[each.value.caller].member
}

# --- who makes wake-ups ---

resource "google_cloud_tasks_queue_iam_member" "enqueuer" {
  for_each = toset(["webhook", "verify"])

  location = google_cloud_tasks_queue.wakeups.location
  name     = google_cloud_tasks_queue.wakeups.name
  role     = "roles/cloudtasks.enqueuer"
  member   = google_service_account.role[each.key].member
}

# A task carries a token of the tasks account, so whoever makes one must be allowed to act as it.
resource "google_service_account_iam_member" "token" {
  for_each = toset(["webhook", "verify"])

  service_account_id = google_service_account.role["tasks"].name
  role               = "roles/iam.serviceAccountUser"
  member             = google_service_account.role[each.key].member
}

# --- who reads and writes documents ---

resource "google_storage_bucket_iam_member" "store" {
  for_each = {
    webhook = "roles/storage.objectUser"
    verify  = "roles/storage.objectUser"
    report  = "roles/storage.objectViewer"
  }

  bucket = google_storage_bucket.store.name
  role   = each.value
  member = google_service_account.role[each.key].member
}

# --- who reads which secret ---

resource "google_secret_manager_secret_iam_member" "accessor" {
  for_each = local.accessors

  secret_id = google_secret_manager_secret.named[each.value.secret].secret_id
  role      = "roles/secretmanager.secretAccessor"
  member    = google_service_account.role[each.value.reader].member
}
