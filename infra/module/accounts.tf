# One account for each role. Only the builder has rights on the project. A member is who, a resource is what.

locals {
  accounts = {
    webhook   = "Unstick: takes alerts of Grafana"
    verify    = "Unstick: takes wake-ups"
    report    = "Unstick: report and check"
    tasks     = "Unstick: calls verify for Cloud Tasks"
    scheduler = "Unstick: calls verify and report for Cloud Scheduler"
    builder   = "Unstick: builds the functions"
  }
}

resource "google_service_account" "role" {
  for_each = { for role, what in local.accounts : role => what if role != "builder" || var.build_account == null }

  project      = var.project_id
  account_id   = "${var.name}-${each.key}"
  display_name = each.value
}

# --- who builds ---

locals {
  build_account = var.build_account != null ? var.build_account : try(google_service_account.role["builder"].name, "") # while others are imported
  builder       = "serviceAccount:${reverse(split("/", local.build_account))[0]}"
}

# The roles that Google names for an account of one's own. In organisations made since 2024 the default accounts have none of them.
resource "google_project_iam_member" "builder" {
  for_each = var.build_account != null ? toset([]) : toset(["roles/logging.logWriter", "roles/storage.objectViewer"])

  project = var.project_id
  role    = each.key
  member  = google_service_account.role["builder"].member

  # The archives of this deployment, and the copies of them that Cloud Functions builds from; no store, and nobody else's functions.
  dynamic "condition" {
    for_each = each.key == "roles/storage.objectViewer" ? [local.builds_from] : []
    content {
      title       = "${var.name}-builder-sources-only"
      description = "Sources of ${var.name}, but no incidents"
      expression  = condition.value
    }
  }
}

locals {
  copies      = join(" || ", [for entry in keys(local.entries) : "resource.name.endsWith(\"/objects/${var.name}-${entry}/function-source.zip\")"])
  builds_from = "resource.name.startsWith(\"projects/_/buckets/${google_storage_bucket.source.name}/objects/\") || (resource.name.startsWith(\"projects/_/buckets/gcf-v2-sources-\") && (${local.copies}))"
}

# A repository of its own: in the project's common one the builder could replace the images of everybody's functions.
resource "google_artifact_registry_repository" "images" {
  project       = var.project_id
  repository_id = "${var.name}-functions"
  location      = var.region
  format        = "DOCKER"
  description   = "Unstick: images of the functions"
  kms_key_name  = var.kms_key_name
}

resource "google_artifact_registry_repository_iam_member" "builder" {
  project    = var.project_id
  location   = google_artifact_registry_repository.images.location
  repository = google_artifact_registry_repository.images.repository_id
  role       = "roles/artifactregistry.writer"
  member     = local.builder
}

# --- who calls what ---

# All callers of each function, so a caller that somebody added by hand shows in the plan. Grafana has no Google identity: what comes
# to the webhook is authenticated by the function, before anything is parsed.
resource "google_cloud_run_v2_service_iam_binding" "invoker" {
  for_each = toset(concat(["verify", "report"], var.public_webhook ? ["webhook"] : []))

  project  = var.project_id
  location = var.region
  name     = google_cloudfunctions2_function.entry[each.key].name
  role     = "roles/run.invoker"
  members  = each.key == "webhook" ? ["allUsers"] : [for caller in local.callers[each.key] : google_service_account.role[caller].member]
}

locals {
  callers = { verify = ["tasks", "scheduler"], report = ["scheduler"] }
}

# --- who makes wake-ups ---

resource "google_cloud_tasks_queue_iam_member" "enqueuer" {
  for_each = toset(["webhook", "verify"])

  project  = var.project_id
  location = google_cloud_tasks_queue.wakeups.location
  name     = google_cloud_tasks_queue.wakeups.name
  role     = "roles/cloudtasks.enqueuer"
  member   = google_service_account.role[each.key].member
}

# The check sees whether the queue runs.
resource "google_cloud_tasks_queue_iam_member" "viewer" {
  project  = var.project_id
  location = google_cloud_tasks_queue.wakeups.location
  name     = google_cloud_tasks_queue.wakeups.name
  role     = "roles/cloudtasks.viewer"
  member   = google_service_account.role["report"].member
}

# --- who reads and writes documents ---

resource "google_storage_bucket_iam_member" "store" {
  for_each = {
    webhook = "roles/storage.objectUser"
    verify  = "roles/storage.objectUser"
    report  = "roles/storage.objectUser" # its check writes and deletes a document
  }

  bucket = google_storage_bucket.store.name
  role   = each.value
  member = google_service_account.role[each.key].member
}

# --- who reads which secret ---

resource "google_secret_manager_secret_iam_member" "accessor" {
  for_each = local.accessors

  project   = var.project_id
  secret_id = each.value.secret
  role      = "roles/secretmanager.secretAccessor"
  member    = google_service_account.role[each.value.reader].member
}
