locals {
  jobs = {
    sweep  = { entry = "verify", cron = "*/5 * * * *", body = {}, retries = 0, description = "Steps incidents whose wake-up was lost" }
    report = { entry = "report", cron = try(coalesce(var.schedule.report), "0 9 * * 1"), body = { what = "report" }, retries = 2, description = "What the bug costs" }
    check  = { entry = "report", cron = try(coalesce(var.schedule.check), "0 10 * * 1"), body = { check = true }, retries = 0, description = "Asks every system from inside" }
  }
}

resource "google_cloud_scheduler_job" "job" {
  for_each = local.jobs

  project          = var.project_id
  name             = "${var.name}-${each.key}"
  region           = var.region
  description      = each.value.description
  schedule         = each.value.cron
  time_zone        = local.time_zone
  paused           = false # one that was paused by hand shows in the plan
  attempt_deadline = "${local.timeouts_s[each.value.entry]}s"

  dynamic "retry_config" {
    for_each = each.value.retries > 0 ? [each.value.retries] : []
    content {
      retry_count          = retry_config.value
      min_backoff_duration = "60s"
    }
  }

  http_target {
    http_method = "POST"
    uri         = local.uris[each.value.entry]
    headers     = { "Content-Type" = "application/json" }
    body        = base64encode(jsonencode(each.value.body))

    oidc_token {
      service_account_email = google_service_account.role["scheduler"].email
      audience              = local.uris[each.value.entry]
    }
  }

  depends_on = [google_cloud_run_v2_service_iam_binding.invoker] # else its first call is refused, and reported as an error
}
