# Who may do what. Planned with addresses that the provider would give out at the apply: an apply in a test would have to
# tear down what prevent_destroy protects.

mock_provider "google" {
  source = "./tests/mocks"
}

override_resource {
  target          = google_service_account.role["webhook"]
  override_during = plan
  values = {
    name   = "projects/example-project/serviceAccounts/unstick-webhook@example-project.iam.gserviceaccount.com"
    email  = "unstick-webhook@example-project.iam.gserviceaccount.com"
    member = "serviceAccount:unstick-webhook@example-project.iam.gserviceaccount.com"
  }
}

override_resource {
  target          = google_service_account.role["verify"]
  override_during = plan
  values = {
    name   = "projects/example-project/serviceAccounts/unstick-verify@example-project.iam.gserviceaccount.com"
    email  = "unstick-verify@example-project.iam.gserviceaccount.com"
    member = "serviceAccount:unstick-verify@example-project.iam.gserviceaccount.com"
  }
}

override_resource {
  target          = google_service_account.role["report"]
  override_during = plan
  values = {
    name   = "projects/example-project/serviceAccounts/unstick-report@example-project.iam.gserviceaccount.com"
    email  = "unstick-report@example-project.iam.gserviceaccount.com"
    member = "serviceAccount:unstick-report@example-project.iam.gserviceaccount.com"
  }
}

override_resource {
  target          = google_service_account.role["tasks"]
  override_during = plan
  values = {
    name   = "projects/example-project/serviceAccounts/unstick-tasks@example-project.iam.gserviceaccount.com"
    email  = "unstick-tasks@example-project.iam.gserviceaccount.com"
    member = "serviceAccount:unstick-tasks@example-project.iam.gserviceaccount.com"
  }
}

override_resource {
  target          = google_service_account.role["scheduler"]
  override_during = plan
  values = {
    name   = "projects/example-project/serviceAccounts/unstick-scheduler@example-project.iam.gserviceaccount.com"
    email  = "unstick-scheduler@example-project.iam.gserviceaccount.com"
    member = "serviceAccount:unstick-scheduler@example-project.iam.gserviceaccount.com"
  }
}

override_resource {
  target          = google_cloudfunctions2_function.entry["webhook"]
  override_during = plan
  values          = { service_config = { uri = "https://unstick-webhook-mocked-an.a.run.app" } }
}

override_resource {
  target          = google_cloudfunctions2_function.entry["verify"]
  override_during = plan
  values          = { service_config = { uri = "https://unstick-verify-mocked-an.a.run.app" } }
}

override_resource {
  target          = google_cloudfunctions2_function.entry["report"]
  override_during = plan
  values          = { service_config = { uri = "https://unstick-report-mocked-an.a.run.app" } }
}

variables {
  project_id  = "example-project"
  region      = "asia-northeast1"
  config_file = "../unstick.cloud.yaml"
  source_zip  = "../unstick.cloud.yaml"

  alert_emails = ["oncall@example.com"]
}

run "callers" {
  command = plan

  assert {
    condition = { for entry, grant in google_cloud_run_v2_service_iam_binding.invoker : entry => "${join(" ", sort(grant.members))} ${grant.role} ${grant.name}" } == {
      webhook = "allUsers roles/run.invoker unstick-webhook"
      verify  = "serviceAccount:unstick-scheduler@example-project.iam.gserviceaccount.com serviceAccount:unstick-tasks@example-project.iam.gserviceaccount.com roles/run.invoker unstick-verify"
      report  = "serviceAccount:unstick-scheduler@example-project.iam.gserviceaccount.com roles/run.invoker unstick-report"
    }
    error_message = "The webhook, and it alone, can be called by everybody; verify by Cloud Tasks and Cloud Scheduler, report by Cloud Scheduler, neither by anybody else."
  }

  assert {
    condition     = { for entry, function in google_cloudfunctions2_function.entry : entry => function.service_config[0].service_account_email } == { for entry in ["webhook", "verify", "report"] : entry => "unstick-${entry}@example-project.iam.gserviceaccount.com" }
    error_message = "Every function runs as its own account."
  }
}

run "wake_ups" {
  command = plan

  assert {
    condition     = google_cloud_tasks_queue.wakeups.http_target[0].uri_override[0].host == "unstick-verify-mocked-an.a.run.app" && google_cloud_tasks_queue.wakeups.http_target[0].uri_override[0].scheme == "HTTPS" && google_cloud_tasks_queue.wakeups.http_target[0].uri_override[0].uri_override_enforce_mode == "ALWAYS"
    error_message = "Whatever address a task names, it goes to verify."
  }

  assert {
    condition     = google_cloud_tasks_queue.wakeups.http_target[0].oidc_token[0].audience == "https://unstick-verify-mocked-an.a.run.app" && google_cloud_tasks_queue.wakeups.http_target[0].oidc_token[0].service_account_email == "unstick-tasks@example-project.iam.gserviceaccount.com"
    error_message = "A task carries a token of the tasks account for verify."
  }

  assert {
    condition = toset([for grant in google_cloud_tasks_queue_iam_member.enqueuer : "${grant.member} ${grant.role} ${grant.name}"]) == toset([
      for entry in ["webhook", "verify"] : "serviceAccount:unstick-${entry}@example-project.iam.gserviceaccount.com roles/cloudtasks.enqueuer unstick"
    ])
    error_message = "webhook and verify make wake-ups, and nobody else."
  }

  assert {
    condition     = { for name, job in google_cloud_scheduler_job.job : name => job.http_target[0].uri } == { sweep = "https://unstick-verify-mocked-an.a.run.app", report = "https://unstick-report-mocked-an.a.run.app", check = "https://unstick-report-mocked-an.a.run.app" }
    error_message = "The sweep calls verify; the others call report."
  }

  assert {
    condition     = alltrue([for job in google_cloud_scheduler_job.job : job.http_target[0].oidc_token[0].audience == job.http_target[0].uri && job.http_target[0].oidc_token[0].service_account_email == "unstick-scheduler@example-project.iam.gserviceaccount.com"])
    error_message = "Every job carries a token of the scheduler account for the function that it calls."
  }
}

run "documents" {
  command = plan

  assert {
    condition = toset([for grant in google_storage_bucket_iam_member.store : "${grant.member} ${grant.role} ${grant.bucket}"]) == toset([
      "serviceAccount:unstick-webhook@example-project.iam.gserviceaccount.com roles/storage.objectUser example-project-unstick-store",
      "serviceAccount:unstick-verify@example-project.iam.gserviceaccount.com roles/storage.objectUser example-project-unstick-store",
      "serviceAccount:unstick-report@example-project.iam.gserviceaccount.com roles/storage.objectUser example-project-unstick-store",
    ])
    error_message = "The functions read and write documents, and nobody may write the program's bucket."
  }
}

run "secrets" {
  command = plan

  assert {
    condition     = toset(keys(data.google_secret_manager_secret_version.named)) == toset(["unstick-grafana-hmac", "unstick-rundeck-token", "unstick-rabbitmq-password", "unstick-signing-key", "unstick-chat-ops"])
    error_message = "Each secret that the configuration names is looked for, and no other."
  }

  assert {
    condition     = alltrue([for version in data.google_secret_manager_secret_version.named : version.fetch_secret_data == false && version.project == "example-project"])
    error_message = "A value that Terraform reads is a value in its state."
  }

  assert {
    condition = toset([for grant in google_secret_manager_secret_iam_member.accessor : "${grant.secret_id} ${grant.member}"]) == toset([
      "unstick-grafana-hmac serviceAccount:unstick-webhook@example-project.iam.gserviceaccount.com",
      "unstick-grafana-hmac serviceAccount:unstick-report@example-project.iam.gserviceaccount.com",
      "unstick-rundeck-token serviceAccount:unstick-webhook@example-project.iam.gserviceaccount.com",
      "unstick-rundeck-token serviceAccount:unstick-verify@example-project.iam.gserviceaccount.com",
      "unstick-rundeck-token serviceAccount:unstick-report@example-project.iam.gserviceaccount.com",
      "unstick-rabbitmq-password serviceAccount:unstick-webhook@example-project.iam.gserviceaccount.com",
      "unstick-rabbitmq-password serviceAccount:unstick-verify@example-project.iam.gserviceaccount.com",
      "unstick-rabbitmq-password serviceAccount:unstick-report@example-project.iam.gserviceaccount.com",
      "unstick-signing-key serviceAccount:unstick-report@example-project.iam.gserviceaccount.com",
      "unstick-signing-key serviceAccount:unstick-webhook@example-project.iam.gserviceaccount.com",
      "unstick-signing-key serviceAccount:unstick-verify@example-project.iam.gserviceaccount.com",
      "unstick-chat-ops serviceAccount:unstick-webhook@example-project.iam.gserviceaccount.com",
      "unstick-chat-ops serviceAccount:unstick-verify@example-project.iam.gserviceaccount.com",
      "unstick-chat-ops serviceAccount:unstick-report@example-project.iam.gserviceaccount.com",
    ])
    error_message = "An account reads the secrets that its function needs: verify never that of Grafana; report all of them, since it checks them."
  }

  assert {
    condition     = alltrue([for grant in google_secret_manager_secret_iam_member.accessor : grant.role == "roles/secretmanager.secretAccessor"])
    error_message = "Nobody may do more with a secret than read it."
  }
}

run "optional_secrets" {
  command = plan

  variables {
    config_file = "./tests/optional-secrets.yaml"
  }

  assert {
    condition = { for name in ["annotator", "metrics", "bot", "signed"] : name => join(" ", sort([for one in local.accessors : one.reader if one.secret == name])) } == {
      annotator = "report verify webhook"
      metrics   = "report verify webhook"
      bot       = "report verify webhook"
      signed    = "report webhook"
    }
    error_message = "webhook and verify end incidents, look at queues and post; a press in Slack is checked by webhook alone: verify takes it signed by Unstick."
  }

  assert {
    condition     = local.door["signed"] == "latest" && !contains(keys(local.door), "bot") && !contains(keys(local.door), "annotator")
    error_message = "What tells a true press from a forged one is mounted; what is needed later is not."
  }

  assert {
    condition     = endswith(output.grafana.secret, "--secret=unstick-grafana-hmac")
    error_message = "The token of annotations is not taken for the contact point's secret."
  }
}

run "what_to_paste_into_grafana" {
  command = plan

  assert {
    condition = output.grafana == {
      url              = "https://unstick-webhook-123456789012.asia-northeast1.run.app"
      http_method      = "POST"
      signature_header = "X-Grafana-Alerting-Signature"
      timestamp_header = "X-Grafana-Alerting-Timestamp"
      secret           = "gcloud secrets versions access latest --project=example-project --secret=unstick-grafana-hmac"
    }
    error_message = "The output has the address that approval links have too, both header names, and where the secret is."
  }

  assert {
    condition     = toset(regexall(" add ([^ ]+) --project=example-project ", output.secrets)[*][0]) == local.secrets
    error_message = "There is a command for each secret."
  }
}

run "nobody_but_callers_of_ones_own" {
  command = plan

  variables {
    public_webhook = false
  }

  assert {
    condition     = toset(keys(google_cloud_run_v2_service_iam_binding.invoker)) == toset(["verify", "report"])
    error_message = "Where a policy forbids allUsers, the module says nothing about who reaches the webhook."
  }
}
