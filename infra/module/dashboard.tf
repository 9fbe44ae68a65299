# Monitoring does not keep a position of 0 or an empty list of fields: what is written here and missing there would be a change in every plan.

locals {
  run   = "resource.type=\"cloud_run_revision\" resource.label.service_name"
  tasks = "resource.type=\"cloud_tasks_queue\" resource.label.queue_id=\"${local.queue}\""
  own   = "resource.type=\"cloud_run_revision\" metric.type=\"logging.googleapis.com/user/${var.name}"

  charts = [
    { title = "Decisions by reason", filter = "${local.own}/decisions\"", by = ["metric.label.action", "metric.label.reason"], aligner = "ALIGN_DELTA" },
    { title = "Outcomes", filter = "${local.own}/outcomes\"", by = ["metric.label.outcome", "metric.label.reason"], aligner = "ALIGN_DELTA" },
    { title = "Incidents by the phase that they enter", filter = "${local.own}/phases\"", by = ["metric.label.phase"], aligner = "ALIGN_DELTA" },
    { title = "Time to restart: slowest of twenty (s)", filter = "${local.own}/time_to_restart\"", by = [], aligner = "ALIGN_PERCENTILE_95" },
    { title = "Messages that a chat did not accept", filter = "${local.own}/unposted\"", by = ["metric.label.channel"], aligner = "ALIGN_DELTA" },
    { title = "Suspicions without a runbook", filter = "${local.own}/unmatched\"", by = ["metric.label.unmatched"], aligner = "ALIGN_DELTA" },
    { title = "Webhook: answers by status", filter = "${local.run}=\"${var.name}-webhook\" metric.type=\"run.googleapis.com/request_count\"", by = ["metric.label.response_code"], aligner = "ALIGN_DELTA" },
    { title = "Webhook: slowest of a hundred answers (ms)", filter = "${local.run}=\"${var.name}-webhook\" metric.type=\"run.googleapis.com/request_latencies\"", by = [], aligner = "ALIGN_PERCENTILE_99" },
    { title = "Wake-ups waiting", filter = "${local.tasks} metric.type=\"cloudtasks.googleapis.com/queue/depth\"", by = [], aligner = "ALIGN_MAX" },
    { title = "Wake-ups: how late (ms)", filter = "${local.tasks} metric.type=\"cloudtasks.googleapis.com/queue/task_attempt_delays\"", by = [], aligner = "ALIGN_PERCENTILE_99" },
    { title = "Wake-ups by answer", filter = "${local.tasks} metric.type=\"cloudtasks.googleapis.com/queue/task_attempt_count\"", by = ["metric.label.response_code"], aligner = "ALIGN_DELTA" },
    { title = "Instances", filter = "${local.run}=monitoring.regex.full_match(\"${var.name}-(webhook|verify|report)\") metric.type=\"run.googleapis.com/container/instance_count\"", by = ["resource.label.service_name"], aligner = "ALIGN_MAX" },
  ]

  tiles = [
    for place, chart in local.charts : merge(place % 2 == 0 ? {} : { xPos = 24 }, place < 2 ? {} : { yPos = 16 * floor(place / 2) }, {
      width                                                               = 24
      height                                                              = 16
      widget = {
        title = chart.title
        xyChart = {
          dataSets = [{
            plotType = "LINE"
            timeSeriesQuery = {
              timeSeriesFilter = {
                filter = chart.filter
                aggregation = merge(length(chart.by) == 0 ? {} : { groupByFields = chart.by }, {
                  alignmentPeriod    = "300s"
                  perSeriesAligner   = chart.aligner
                  crossSeriesReducer = startswith(chart.aligner, "ALIGN_PERCENTILE") ? "REDUCE_MAX" : "REDUCE_SUM"
                })
              }
            }
          }]
        }
      }
    })
  ]

  log_tile = {
    yPos   = 16 * ceil(length(local.charts) / 2)
    width  = 48
    height = 20
    widget = {
      title     = "Warnings and errors"
      logsPanel = { filter = "${local.ours} AND severity>=WARNING" }
    }
  }
}

resource "google_monitoring_dashboard" "overview" {
  project = var.project
  dashboard_json = jsonencode({
    displayName  = "Unstick (${var.name})"
    mosaicLayout = { columns = 48, tiles = concat(local.tiles, [local.log_tile]) }
  })
}
