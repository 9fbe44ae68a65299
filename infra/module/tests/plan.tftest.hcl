# What stands in the plan: settings that the provider takes as any text, and that would fail or hurt only in the cloud.

mock_provider "google" {
  source = "./tests/mocks"
}

variables {
  project_id  = "example-project"
  region      = "asia-northeast1"
  config_file = "../unstick.cloud.yaml"
  source_zip  = "../unstick.cloud.yaml" # any file: only its hash is read

  alert_emails = ["oncall@example.com"]
}

run "functions" {
  command = plan

  assert {
    condition     = toset(keys(google_cloudfunctions2_function.entry)) == toset(["webhook", "verify", "report"])
    error_message = "There is a function for each entry point of main.py, and no other."
  }

  assert {
    condition     = alltrue([for entry, function in google_cloudfunctions2_function.entry : function.build_config[0].entry_point == entry && function.build_config[0].runtime == "python313"])
    error_message = "Every function starts its own entry point, on a runtime that exists."
  }

  assert {
    condition     = alltrue([for function in google_cloudfunctions2_function.entry : function.service_config[0].available_cpu == "1"])
    error_message = "More than one request at once needs a whole CPU, and a start with less takes seconds."
  }

  assert {
    condition     = alltrue([for function in google_cloudfunctions2_function.entry : function.service_config[0].environment_variables["THREADS"] == tostring(function.service_config[0].max_instance_request_concurrency)])
    error_message = "Without as many threads as requests, requests wait inside the instance."
  }

  assert {
    condition     = { for entry, function in google_cloudfunctions2_function.entry : entry => function.service_config[0].timeout_seconds } == { webhook = 30, verify = 600, report = 600 }
    error_message = "Grafana waits 30 seconds; Cloud Tasks waits 600 seconds for verify."
  }

  assert {
    condition     = { for entry, function in google_cloudfunctions2_function.entry : entry => function.service_config[0].ingress_settings } == { webhook = "ALLOW_ALL", verify = "ALLOW_INTERNAL_ONLY", report = "ALLOW_INTERNAL_ONLY" }
    error_message = "Only the webhook can be reached from outside."
  }

  assert {
    condition     = alltrue([for function in google_cloudfunctions2_function.entry : function.service_config[0].max_instance_count <= 10])
    error_message = "Few instances are what bounds the cost of a flood."
  }

  assert {
    condition     = alltrue([for function in google_cloudfunctions2_function.entry : function.service_config[0].environment_variables["UNSTICK_CONFIG"] == "unstick.yaml" && !contains(keys(function.service_config[0].environment_variables), "UNSTICK_PAUSED")])
    error_message = "The configuration is the archive's, and nothing is paused unless asked for."
  }

  assert {
    condition     = alltrue([for function in google_cloudfunctions2_function.entry : length(function.service_config[0].secret_environment_variables) == 0 && length(function.service_config[0].direct_vpc_network_interface) == 0])
    error_message = "Secrets are read by reference, never from the environment; and there is no network unless asked for."
  }

  assert {
    condition = [for volume in google_cloudfunctions2_function.entry["webhook"].service_config[0].secret_volumes : "${volume.mount_path}/${volume.versions[0].path} ${volume.project_id} ${volume.secret} ${volume.versions[0].version}"] == [
      "/etc/secrets/example-project/unstick-grafana-hmac/latest example-project unstick-grafana-hmac latest",
      "/etc/secrets/example-project/unstick-signing-key/latest example-project unstick-signing-key latest",
    ] && google_cloudfunctions2_function.entry["webhook"].service_config[0].environment_variables["UNSTICK_SECRETS_DIR"] == "/etc/secrets"
    error_message = "What tells a forged request or approval link from a true one is a file where the function looks for it, and no other secret is."
  }

  assert {
    condition     = alltrue([for entry in ["verify", "report"] : length(google_cloudfunctions2_function.entry[entry].service_config[0].secret_volumes) == 0])
    error_message = "Nothing is mounted where nobody comes unauthenticated."
  }

  assert {
    condition     = google_storage_bucket_object.source.name == "unstick-${filesha256("../unstick.cloud.yaml")}.zip"
    error_message = "A change of the archive must be a change of its name, or the functions keep the old program."
  }
}

run "while_a_secret_is_rotated" {
  command = plan

  variables {
    config_file = "./tests/rotation.yaml"
  }

  assert {
    condition = toset([for volume in google_cloudfunctions2_function.entry["webhook"].service_config[0].secret_volumes : "${volume.secret} ${volume.versions[0].version}"]) == toset([
      "unstick-grafana-hmac-2 latest", "unstick-grafana-hmac 3", "unstick-signing-key latest",
    ])
    error_message = "Each secret is mounted with the version that the configuration names first: a volume has one."
  }

  assert {
    condition     = alltrue([for job in google_cloud_scheduler_job.job : job.time_zone == "UTC"])
    error_message = "Where the configuration names no time zone, jobs have the one that Unstick takes then."
  }
}

run "versions_of_a_secret" {
  command = plan

  variables {
    config_file = "./tests/rotation.yaml"
  }

  assert {
    condition = { for key, version in data.google_secret_manager_secret_version.named : key => version.secret } == {
      "unstick-grafana-hmac-2" = "unstick-grafana-hmac-2"
      "unstick-grafana-hmac/3" = "unstick-grafana-hmac"
      "unstick-grafana-hmac"   = "unstick-grafana-hmac"
      "unstick-signing-key"    = "unstick-signing-key"
    } && data.google_secret_manager_secret_version.named["unstick-grafana-hmac/3"].version == "3"
    error_message = "Each version that the configuration names must be there, else the plan fails."
  }
}

run "paused_and_inside_a_network" {
  command = plan

  variables {
    paused          = true
    network         = { network = "shared", subnetwork = "inside" }
    webhook_ingress = "ALLOW_INTERNAL_ONLY"
  }

  assert {
    condition     = alltrue([for function in google_cloudfunctions2_function.entry : function.service_config[0].ingress_settings == "ALLOW_INTERNAL_ONLY"])
    error_message = "With webhook_ingress the webhook is as private as the others."
  }

  assert {
    condition     = alltrue([for function in google_cloudfunctions2_function.entry : function.service_config[0].environment_variables["UNSTICK_PAUSED"] == "1"])
    error_message = "paused must reach every function."
  }

  assert {
    condition     = alltrue([for function in google_cloudfunctions2_function.entry : function.service_config[0].direct_vpc_egress == "VPC_EGRESS_PRIVATE_RANGES_ONLY" && function.service_config[0].direct_vpc_network_interface[0].subnetwork == "inside"])
    error_message = "network must reach every function, and chats and Google's own services stay outside of it."
  }
}

run "queue" {
  command = plan

  assert {
    condition     = google_cloud_tasks_queue.wakeups.name == "unstick" && google_cloud_tasks_queue.wakeups.location == "asia-northeast1"
    error_message = "The queue is the one that the configuration names."
  }

  assert {
    condition     = google_cloud_tasks_queue.wakeups.retry_config[0].max_attempts == -1 && google_cloud_tasks_queue.wakeups.retry_config[0].min_backoff == "2s" && google_cloud_tasks_queue.wakeups.retry_config[0].max_backoff == "60s"
    error_message = "A wake-up comes until it is taken, at most a minute apart."
  }

  assert {
    condition     = google_cloud_tasks_queue.wakeups.rate_limits[0].max_concurrent_dispatches == google_cloudfunctions2_function.entry["verify"].service_config[0].max_instance_count * google_cloudfunctions2_function.entry["verify"].service_config[0].max_instance_request_concurrency
    error_message = "More dispatches than verify takes at once are answered 429, which slows the queue down."
  }

  assert {
    condition     = google_cloud_tasks_queue.wakeups.stackdriver_logging_config[0].sampling_ratio == 1
    error_message = "Every dispatch is logged."
  }
}

run "store" {
  command = plan

  assert {
    condition     = google_storage_bucket.store.name == "example-project-unstick-store"
    error_message = "The bucket is the one that the configuration names."
  }

  assert {
    condition     = alltrue([for bucket in [google_storage_bucket.store, google_storage_bucket.source] : bucket.public_access_prevention == "enforced" && bucket.uniform_bucket_level_access])
    error_message = "No bucket is public, nor can an object be made so."
  }

  assert {
    condition     = google_storage_bucket.store.versioning[0].enabled && !google_storage_bucket.store.force_destroy
    error_message = "What was overwritten can be had back, and a bucket with incidents in it is not deleted."
  }

  assert {
    condition     = google_storage_bucket.store.deletion_policy == "ABANDON" && google_cloud_tasks_queue.wakeups.deletion_policy == "ABANDON"
    error_message = "Whoever removes the module's call keeps incidents and queue."
  }

  assert {
    condition     = alltrue([for rule in google_storage_bucket.store.lifecycle_rule : one(rule.action).type == "Delete"])
    error_message = "The action is spelled Delete."
  }

  assert {
    condition     = one(google_storage_bucket.store.lifecycle_rule[0].condition).age == 400 && one(google_storage_bucket.store.lifecycle_rule[0].condition).matches_prefix == tolist(["incidents/", "evidence/"])
    error_message = "Ended incidents and their evidence go after 400 days, and nothing but them: a target's document must never age away."
  }

  assert {
    condition     = one(google_storage_bucket.store.lifecycle_rule[1].condition).with_state == "ARCHIVED" && one(google_storage_bucket.store.lifecycle_rule[1].condition).days_since_noncurrent_time == 30
    error_message = "Old versions go after 30 days, live ones stay."
  }
}

run "schedule" {
  command = plan

  assert {
    condition     = google_cloud_scheduler_job.job["sweep"].schedule == "*/5 * * * *" && jsondecode(base64decode(google_cloud_scheduler_job.job["sweep"].http_target[0].body)) == {}
    error_message = "The sweep comes every five minutes and names no target."
  }

  assert {
    condition     = jsondecode(base64decode(google_cloud_scheduler_job.job["report"].http_target[0].body)) == { what = "report" } && jsondecode(base64decode(google_cloud_scheduler_job.job["check"].http_target[0].body)) == { check = true }
    error_message = "The report and the check say which they are."
  }

  assert {
    condition     = alltrue([for job in google_cloud_scheduler_job.job : can(regex("^([0-9*,/-]+ ){4}[0-9*,/-]+$", job.schedule)) && job.attempt_deadline == "600s" && job.time_zone == "Asia/Tokyo" && job.http_target[0].http_method == "POST"])
    error_message = "Jobs have five cron fields in the configuration's time zone, and wait in seconds for as long as the function may run."
  }
}

run "sizes_and_times_of_ones_own" {
  command = plan

  variables {
    functions = { webhook = { max_instances = 3, memory = null }, verify = { concurrency = 4 } }
    schedule  = { check = "0 8 * * *", report = null }
  }

  assert {
    condition = { for entry, function in google_cloudfunctions2_function.entry : entry => join(" ", [function.service_config[0].max_instance_count, function.service_config[0].max_instance_request_concurrency, function.service_config[0].available_memory]) } == {
      webhook = "3 16 1Gi"
      verify  = "5 4 512Mi"
      report  = "2 1 512Mi"
    }
    error_message = "What is given is taken; all else, and null, has its default."
  }

  assert {
    condition     = google_cloud_tasks_queue.wakeups.rate_limits[0].max_concurrent_dispatches == 20
    error_message = "No more wake-ups come at once than the instances of verify take."
  }

  assert {
    condition     = google_cloud_scheduler_job.job["check"].schedule == "0 8 * * *" && google_cloud_scheduler_job.job["report"].schedule == "0 9 * * 1"
    error_message = "A time that is given is taken; the other stays."
  }
}

run "schedule_by_hand" {
  command = plan

  assert {
    condition     = alltrue([for job in google_cloud_scheduler_job.job : job.paused == false])
    error_message = "A job that somebody paused by hand shows in the plan."
  }
}

run "watching" {
  command = plan

  variables {
    alert_emails = ["oncall@example.com"]
  }

  assert {
    condition     = toset(keys(google_monitoring_alert_policy.watched)) == toset(["no-sweep", "late-tasks", "failing-tasks", "turned-away"]) && toset(keys(google_monitoring_alert_policy.logged)) == toset(["errors", "lost-wakeups"])
    error_message = "There is an alert for errors, for wake-ups that are late, lost or fail, for alerts turned away, and for checks that do not come back."
  }

  assert {
    condition     = alltrue([for policy in google_monitoring_alert_policy.watched : can(regex("^[0-9]+s$", policy.conditions[0].condition_prometheus_query_language[0].duration))]) && alltrue([for policy in google_monitoring_alert_policy.logged : can(regex("^[0-9]+s$", policy.alert_strategy[0].notification_rate_limit[0].period))])
    error_message = "Durations are in seconds."
  }

  assert {
    condition     = google_monitoring_notification_channel.email["oncall@example.com"].user_labels["unstick"] == "unstick" && google_monitoring_alert_policy.watched["no-sweep"].user_labels["unstick"] == "unstick_watched_no-sweep" && google_monitoring_alert_policy.logged["errors"].user_labels["unstick"] == "unstick_logged_errors"
    error_message = "People find what Terraform made by these labels."
  }

  assert {
    condition     = google_monitoring_notification_channel.email["oncall@example.com"].labels["email_address"] == "oncall@example.com"
    error_message = "People are told by e-mail, without Unstick."
  }
}

run "a_key_of_ones_own" {
  command = plan

  variables {
    kms_key_name = "projects/example-project/locations/asia-northeast1/keyRings/ring/cryptoKeys/key"
  }

  assert {
    condition     = alltrue([for bucket in [google_storage_bucket.store, google_storage_bucket.source] : bucket.encryption[0].default_kms_key_name == var.kms_key_name])
    error_message = "Buckets are under the given key."
  }

  assert {
    condition     = alltrue([for function in google_cloudfunctions2_function.entry : function.kms_key_name == var.kms_key_name && google_artifact_registry_repository.images.kms_key_name == var.kms_key_name])
    error_message = "Functions and their images are under the given key."
  }
}

run "builder" {
  command = plan

  assert {
    condition     = toset([for grant in google_project_iam_member.builder : grant.role]) == toset(["roles/logging.logWriter", "roles/storage.objectViewer"]) && google_project_iam_member.builder["roles/storage.objectViewer"].condition[0].expression == "resource.name.startsWith(\"projects/_/buckets/example-project-unstick-source/objects/\") || (resource.name.startsWith(\"projects/_/buckets/gcf-v2-sources-\") && (resource.name.endsWith(\"/objects/unstick-report/function-source.zip\") || resource.name.endsWith(\"/objects/unstick-verify/function-source.zip\") || resource.name.endsWith(\"/objects/unstick-webhook/function-source.zip\")))"
    error_message = "The builder has the roles of a build, and reads the sources of this deployment alone: no incidents, nobody else's functions."
  }

  assert {
    condition     = google_artifact_registry_repository_iam_member.builder.repository == "unstick-functions" && google_artifact_registry_repository_iam_member.builder.role == "roles/artifactregistry.writer"
    error_message = "The builder writes images into this deployment's repository, and into nobody else's."
  }
}

run "builder_of_ones_own" {
  command = plan

  variables {
    build_account = "projects/example-project/serviceAccounts/builder@example-project.iam.gserviceaccount.com"
  }

  assert {
    condition     = length(google_project_iam_member.builder) == 0 && !contains(keys(google_service_account.role), "builder") && alltrue([for function in google_cloudfunctions2_function.entry : function.build_config[0].service_account == var.build_account]) && google_artifact_registry_repository_iam_member.builder.member == "serviceAccount:builder@example-project.iam.gserviceaccount.com"
    error_message = "An account that is given builds, and gets no rights on the project."
  }
}

run "a_limit_of_costs" {
  command = plan

  variables {
    daily_compute_limit = 2
  }

  assert {
    condition     = endswith(google_monitoring_alert_policy.watched["costs"].conditions[0].condition_prometheus_query_language[0].query, "* 0.0000265 > 2")
    error_message = "The alert compares a day's compute with the limit."
  }
}
