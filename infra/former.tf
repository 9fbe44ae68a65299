# Of states from before there was a module: `apply` would delete these. CHANGELOG.md (1.0.0) has the line that moves such a state.

removed {
  from = google_secret_manager_secret.named

  lifecycle {
    destroy = false
  }
}

removed {
  from = google_storage_bucket.store

  lifecycle {
    destroy = false
  }
}

removed {
  from = google_cloud_tasks_queue.wakeups

  lifecycle {
    destroy = false
  }
}
