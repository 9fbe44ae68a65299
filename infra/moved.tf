# The resources stood in this folder before there was a module; a state of then is taken over as it is.

moved {
  from = google_project_service.used
  to   = module.unstick.google_project_service.used
}

moved {
  from = google_service_account.role
  to   = module.unstick.google_service_account.role
}

moved {
  from = google_cloud_run_v2_service_iam_member.public
  to   = module.unstick.google_cloud_run_v2_service_iam_member.public
}

moved {
  from = google_cloud_run_v2_service_iam_member.invoker
  to   = module.unstick.google_cloud_run_v2_service_iam_member.invoker
}

moved {
  from = google_cloud_tasks_queue_iam_member.enqueuer
  to   = module.unstick.google_cloud_tasks_queue_iam_member.enqueuer
}

moved {
  from = google_service_account_iam_member.token
  to   = module.unstick.google_service_account_iam_member.token
}

moved {
  from = google_storage_bucket_iam_member.store
  to   = module.unstick.google_storage_bucket_iam_member.store
}

moved {
  from = google_secret_manager_secret_iam_member.accessor
  to   = module.unstick.google_secret_manager_secret_iam_member.accessor
}

moved {
  from = terraform_data.config
  to   = module.unstick.terraform_data.config
}

moved {
  from = google_monitoring_dashboard.overview
  to   = module.unstick.google_monitoring_dashboard.overview
}

moved {
  from = google_cloudfunctions2_function.entry
  to   = module.unstick.google_cloudfunctions2_function.entry
}

moved {
  from = google_cloud_tasks_queue.wakeups
  to   = module.unstick.google_cloud_tasks_queue.wakeups
}

moved {
  from = google_cloud_scheduler_job.job
  to   = module.unstick.google_cloud_scheduler_job.job
}

moved {
  from = google_secret_manager_secret.named
  to   = module.unstick.google_secret_manager_secret.named
}

moved {
  from = google_storage_bucket.store
  to   = module.unstick.google_storage_bucket.store
}

moved {
  from = google_storage_bucket.source
  to   = module.unstick.google_storage_bucket.source
}

moved {
  from = google_storage_bucket_object.source
  to   = module.unstick.google_storage_bucket_object.source
}

moved {
  from = google_logging_metric.counted
  to   = module.unstick.google_logging_metric.counted
}

moved {
  from = google_monitoring_notification_channel.email
  to   = module.unstick.google_monitoring_notification_channel.email
}

moved {
  from = google_monitoring_alert_policy.watched
  to   = module.unstick.google_monitoring_alert_policy.watched
}

moved {
  from = google_monitoring_alert_policy.logged
  to   = module.unstick.google_monitoring_alert_policy.logged
}
