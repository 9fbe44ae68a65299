# One account for each role. Only the builder has rights on the project. A member is who, a resource is what.

locals {
  accounts = {
    webhook   = "Unstick: takes alerts of Grafana"
    verify    = "Unstick: takes wake-ups"
    report    = "Unstick: report and drill"
    tasks     = "Unstick: calls verify for Cloud Tasks"
    scheduler = "Unstick: calls verify and report for Cloud Scheduler"
    builder   = "Unstick: builds the functions"
  }
  emails = { for role in keys(local.accounts) : role => "${var.name}-${role}@${var.project}.iam.gserviceaccount.com" }

  services = toset([
    "artifactregistry.googleapis.com",
    "cloudbuild.googleapis.com",
    "cloudfunctions.googleapis.com",
    "cloudresourcemanager.googleapis.com",
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

  project            = var.project
  service            = each.key
  disable_on_destroy = false # others in the project may use it
}

resource "google_service_account" "role" {
  for_each = { for role, what in local.accounts : role => what if role != "builder" || var.build_account == null }

  project      = var.project
  account_id   = "${var.name}-${each.key}"
  display_name = each.value

  depends_on = [google_project_service.used]
}

# --- who builds ---

locals {
  build_account = var.build_account != null ? var.build_account : google_service_account.role["builder"].name
}

# The roles that Google names for an account of one's own. In organisations made since 2024 the default accounts have none of them.
resource "google_project_iam_member" "builder" {
  for_each = var.build_account != null ? toset([]) : toset(["roles/artifactregistry.writer", "roles/logging.logWriter", "roles/storage.objectViewer"])

  project = var.project
  role    = each.key
  member  = google_service_account.role["builder"].member

  # Its own sources, and the bucket into which Cloud Functions copies them; no store, and no other environment's.
  dynamic "condition" {
    for_each = each.key == "roles/storage.objectViewer" ? [google_storage_bucket.source.name] : []
    content {
      title       = "${var.name}-builder-sources-only"
      description = "Sources, but no incidents"
      expression  = "resource.name.startsWith(\"projects/_/buckets/${condition.value}/\") || resource.name.startsWith(\"projects/_/buckets/gcf-v2-sources-\")"
    }
  }
}

# Functions with a key of their own need a repository with that key.
resource "google_artifact_registry_repository" "images" {
  count = var.kms_key_name == null ? 0 : 1

  project       = var.project
  repository_id = "${var.name}-functions"
  location      = var.region
  format        = "DOCKER"
  description   = "Unstick: images of the functions"
  labels        = var.labels
  kms_key_name  = var.kms_key_name

  depends_on = [google_project_service.used]
}

# --- who calls what ---

# Grafana has no Google identity. What comes in here is authenticated by the function, before anything is parsed.
resource "google_cloud_run_v2_service_iam_member" "public" {
  count = var.public_webhook ? 1 : 0

  project  = var.project
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

  project  = var.project
  location = var.region
  name     = google_cloudfunctions2_function.entry[each.value.entry].name
  role     = "roles/run.invoker"
  member   = google_service_account.role[each.value.caller].member
}

# --- who makes wake-ups ---

resource "google_cloud_tasks_queue_iam_member" "enqueuer" {
  for_each = toset(["webhook", "verify", "report"]) # report puts none in: its check asks whether it might

  project  = var.project
  location = google_cloud_tasks_queue.wakeups.location
  name     = google_cloud_tasks_queue.wakeups.name
  role     = "roles/cloudtasks.enqueuer"
  member   = google_service_account.role[each.key].member
}

# The check sees whether the queue runs.
resource "google_cloud_tasks_queue_iam_member" "viewer" {
  project  = var.project
  location = google_cloud_tasks_queue.wakeups.location
  name     = google_cloud_tasks_queue.wakeups.name
  role     = "roles/cloudtasks.viewer"
  member   = google_service_account.role["report"].member
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
    report  = "roles/storage.objectUser" # its check writes a document of its own, and deletes it
  }

  bucket = google_storage_bucket.store.name
  role   = each.value
  member = google_service_account.role[each.key].member
}

# --- who reads which secret ---

resource "google_secret_manager_secret_iam_member" "accessor" {
  for_each = local.accessors

  project   = var.project
  secret_id = google_secret_manager_secret.named[each.value.secret].secret_id
  role      = "roles/secretmanager.secretAccessor"
  member    = google_service_account.role[each.value.reader].member
}
