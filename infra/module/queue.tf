locals {
  # Empty where a function is missing or has no address: after a deployment that stopped half-way.
  uris = { for entry in keys(local.entries) : entry => try(google_cloudfunctions2_function.entry[entry].service_config[0].uri, "") }
}

# A function can't know its own address when it is made, and `verify` makes tasks for itself. So the queue knows it:
# whatever address a task names, it goes to `verify`, with a token for `verify`.
resource "google_cloud_tasks_queue" "wakeups" {
  project  = var.project_id
  name     = local.queue
  location = var.region

  http_target {
    http_method = "POST"

    uri_override {
      scheme                    = "HTTPS"
      host                      = trimprefix(local.uris.verify, "https://")
      uri_override_enforce_mode = "ALWAYS"

      path_override {
        path = "/"
      }
    }

    oidc_token {
      service_account_email = google_service_account.role["tasks"].email
      audience              = local.uris.verify
    }
  }

  rate_limits {
    max_dispatches_per_second = 50
    # As many as the instances take at once; one more would be answered 429, which slows the whole queue down.
    max_concurrent_dispatches = local.sizes.verify.max_instances * local.sizes.verify.concurrency
  }

  # Never given up: a wake-up that fails is one that has to come again. A minute apart at most.
  retry_config {
    max_attempts  = -1
    min_backoff   = "2s"
    max_backoff   = "60s"
    max_doublings = 5
  }

  stackdriver_logging_config {
    sampling_ratio = 1
  }

  # The name of a deleted queue is blocked for a week, and its wake-ups are gone. So a plan that deletes it is refused, and it is left
  # standing where the module's call is removed. docs/google-cloud.md#remove-it has the way for whoever wants it gone.
  deletion_policy = "ABANDON"

  lifecycle {
    prevent_destroy = true

    precondition {
      condition     = can(regex("^https://[^/]+", local.uris.verify))
      error_message = "The function ${var.name}-verify has no address, so its build or its start failed. See its log, then deploy again."
    }
  }
}
