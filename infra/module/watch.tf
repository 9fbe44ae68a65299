# What watches the watcher: alerts that do not need Unstick to run.

locals {
  ours = "resource.type=\"cloud_run_revision\" AND resource.labels.service_name=~\"^${var.name}-(webhook|verify|report)$\""

  channels = concat([for channel in google_monitoring_notification_channel.email : channel.name], tolist(var.notification_channels))

  requests = "run_googleapis_com:request_count{monitored_resource=\"cloud_run_revision\",service_name="
  queued   = "monitored_resource=\"cloud_tasks_queue\",queue_id=\"${local.queue}\""

  # Conditions on figures that Google keeps. In PromQL, since the other kind is refused until a metric has its first point.
  watched = merge(local.watched_costs, {
    "no-sweep" = {
      title    = "no check came back"
      severity = "CRITICAL"
      query    = "(sum(increase(${local.requests}\"${var.name}-verify\",response_code_class=\"2xx\"}[20m])) or vector(0)) < 1"
      duration = "600s"
      text     = "`verify` has not answered anything successfully for half an hour, not even the sweep every five minutes. Nothing checks restarted applications now. Check the job ${var.name}-sweep in Cloud Scheduler, then the log of ${var.name}-verify."
    }
    "late-tasks" = {
      title    = "oldest wake-up too old"
      severity = "ERROR"
      query    = "histogram_quantile(0.99, sum by (le) (increase(cloudtasks_googleapis_com:queue_task_attempt_delays_bucket{${local.queued}}[10m]))) > 300000"
      duration = "0s"
      text     = "Wake-ups arrive more than five minutes late. Check the queue ${local.queue}: is it paused or throttled, or has `verify` reached its limit of instances?"
    }
    "failing-tasks" = {
      title    = "wake-ups fail"
      severity = "ERROR"
      query    = "sum(increase(cloudtasks_googleapis_com:queue_task_attempt_count{${local.queued},response_code!=\"OK\"}[10m])) > 5"
      duration = "0s"
      text     = "`verify` does not accept its wake-ups; they are delivered again until it does. Its log says why: most often a system or the store can't be reached, or a secret has no value."
    }
    "turned-away" = {
      title    = "alerts turned away"
      severity = "CRITICAL"
      query    = "sum(increase(${local.requests}\"${var.name}-webhook\",response_code=~\"429|5..\"}[5m])) > 0"
      duration = "0s"
      text     = "Grafana got 429 or 5xx: Unstick could neither decide nor save the alerts. Grafana sends them again after its group_interval at the earliest. Check the log of ${var.name}-webhook."
    }
  })

  # List price of a second of 1 vCPU and 1 GiB (docs/costs.md).
  watched_costs = var.daily_compute_limit == null ? {} : {
    "costs" = {
      title    = "compute costs above the limit"
      severity = "WARNING"
      query    = "sum(increase(run_googleapis_com:container_billable_instance_time{monitored_resource=\"cloud_run_revision\",service_name=~\"${var.name}-(webhook|verify|report)\"}[1d])) * 0.0000265 > ${var.daily_compute_limit}"
      duration = "0s"
      text     = "The functions' compute time of the last 24 hours costs more than $${var.daily_compute_limit} at list prices. Most often somebody floods the webhook: the log of ${var.name}-webhook then shows answers with 401."
    }
  }

  # Conditions on lines of the log.
  logged = {
    "errors" = {
      title    = "errors"
      severity = "ERROR"
      # An escalated incident is no fault of Unstick's, and was told in the chat.
      filter = "(severity>=ERROR AND ${local.ours} AND NOT jsonPayload.outcome=\"escalated\") OR (severity>=ERROR AND resource.type=\"cloud_scheduler_job\" AND resource.labels.job_id=~\"^${var.name}-(${join("|", keys(local.jobs))})$\")"
      text   = "Unstick logged an error, or a job of Cloud Scheduler failed. docs/operations/log.md explains the lines."
    }
    "lost-wakeups" = {
      title    = "a wake-up was lost"
      severity = "WARNING"
      filter   = "${local.ours} AND jsonPayload.message=\"wake-up missing; advanced by the sweep\""
      text     = "The sweep had to step an incident. Once: Cloud Tasks was late. Repeatedly: the queue ${local.queue} does not deliver."
    }
  }
}

check "somebody_is_notified" {
  assert {
    condition     = length(var.alert_emails) + length(var.notification_channels) > 0
    error_message = "alert_emails is empty: nobody is notified when Unstick itself fails. Set alert_emails = [\"oncall@example.com\"]."
  }
}

resource "google_monitoring_notification_channel" "email" {
  for_each = var.alert_emails

  project      = var.project_id
  display_name = "Unstick: ${each.key}"
  type         = "email"
  labels       = { email_address = each.key }
  user_labels  = { unstick = var.name }

  # A channel can't be deleted while a policy uses it: this way the policies are updated first.
  lifecycle {
    create_before_destroy = true
  }
}

resource "google_monitoring_alert_policy" "watched" {
  for_each = local.watched

  project               = var.project_id
  display_name          = "${var.name}: ${each.value.title}"
  combiner              = "OR"
  severity              = each.value.severity
  notification_channels = local.channels
  user_labels           = { unstick = "${var.name}_watched_${each.key}" }

  conditions {
    display_name = each.value.title

    condition_prometheus_query_language {
      query                     = each.value.query
      duration                  = each.value.duration
      evaluation_interval       = "60s"
      disable_metric_validation = true
    }
  }

  documentation {
    content   = each.value.text
    mime_type = "text/markdown"
  }
}

resource "google_monitoring_alert_policy" "logged" {
  for_each = local.logged

  project               = var.project_id
  display_name          = "${var.name}: ${each.value.title}"
  combiner              = "OR"
  severity              = each.value.severity
  notification_channels = local.channels
  user_labels           = { unstick = "${var.name}_logged_${each.key}" }

  conditions {
    display_name = each.value.title

    condition_matched_log {
      filter = each.value.filter
    }
  }

  alert_strategy {
    auto_close = "3600s"

    notification_rate_limit {
      period = "900s"
    }
  }

  documentation {
    content   = each.value.text
    mime_type = "text/markdown"
  }
}
