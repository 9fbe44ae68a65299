# Import blocks: what exists already and is not in the state, since an earlier `destroy` left it or the state was lost. `infra/deploy.sh`
# looks for it. What is in the state already is not imported again.

variable "adopt" {
  description = "Key in Terraform -> id in Google Cloud, by kind."
  type = object({
    store     = optional(map(string), {})
    source    = optional(map(string), {})
    queue     = optional(map(string), {})
    secrets   = optional(map(string), {})
    accounts  = optional(map(string), {})
    functions = optional(map(string), {})
    jobs      = optional(map(string), {})
    metrics   = optional(map(string), {})
    dashboard = optional(map(string), {})
    watched   = optional(map(string), {})
    logged    = optional(map(string), {})
    channels  = optional(map(string), {})
  })
  default  = {}
  nullable = false
}

import {
  for_each = var.adopt.store
  to       = module.unstick.google_storage_bucket.store
  id       = each.value
}

import {
  for_each = var.adopt.source
  to       = module.unstick.google_storage_bucket.source
  id       = each.value
}

import {
  for_each = var.adopt.queue
  to       = module.unstick.google_cloud_tasks_queue.wakeups
  id       = each.value
}

import {
  for_each = var.adopt.secrets
  to       = module.unstick.google_secret_manager_secret.named[each.key]
  id       = each.value
}

import {
  for_each = var.adopt.accounts
  to       = module.unstick.google_service_account.role[each.key]
  id       = each.value
}

import {
  for_each = var.adopt.functions
  to       = module.unstick.google_cloudfunctions2_function.entry[each.key]
  id       = each.value
}

import {
  for_each = var.adopt.jobs
  to       = module.unstick.google_cloud_scheduler_job.job[each.key]
  id       = each.value
}

import {
  for_each = var.adopt.metrics
  to       = module.unstick.google_logging_metric.counted[each.key]
  id       = each.value
}

import {
  for_each = var.adopt.dashboard
  to       = module.unstick.google_monitoring_dashboard.overview
  id       = each.value
}

# Only what is still wanted: an import without its resource is an error. What is left over has the label `unstick`.
import {
  for_each = { for key, id in var.adopt.watched : key => id if key != "costs" || var.daily_compute_limit != null }
  to       = module.unstick.google_monitoring_alert_policy.watched[each.key]
  id       = each.value
}

import {
  for_each = var.adopt.logged
  to       = module.unstick.google_monitoring_alert_policy.logged[each.key]
  id       = each.value
}

import {
  for_each = { for address, id in var.adopt.channels : address => id if try(contains(var.alert_emails, address), false) }
  to       = module.unstick.google_monitoring_notification_channel.email[each.key]
  id       = each.value
}
