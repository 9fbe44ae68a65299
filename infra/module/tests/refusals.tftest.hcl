# Mistakes that end the plan with a sentence, and not in the middle of a deployment.

mock_provider "google" {
  source = "./tests/mocks"
}

variables {
  project_id  = "example-project"
  region      = "asia-northeast1"
  config_file = "../unstick.cloud.yaml"
  source_zip  = "../unstick.cloud.yaml"

  alert_emails = ["oncall@example.com"]
}

run "project_by_name" {
  command = plan
  variables {
    project_id = "My Project"
  }
  expect_failures = [var.project_id]
}

run "zone_for_region" {
  command = plan
  variables {
    region = "asia-northeast1-a"
  }
  expect_failures = [var.region]
}

run "name_too_long_for_an_account" {
  command = plan
  variables {
    name = "a-name-of-more-than-twenty"
  }
  expect_failures = [var.name]
}

run "no_archive_built" {
  command = plan
  variables {
    source_zip = "./no-such.zip"
  }
  expect_failures = [var.source_zip]
}

run "no_configuration" {
  command = plan
  variables {
    config_file = "./no-such.yaml"
  }
  expect_failures = [var.config_file]
}

run "a_limit_that_does_not_exist" {
  command = plan
  variables {
    functions = { webhook = { max_instance = 2 } }
  }
  expect_failures = [var.functions]
}

run "a_function_that_does_not_exist" {
  command = plan
  variables {
    functions = { web = {} }
  }
  expect_failures = [var.functions]
}

run "a_job_that_does_not_exist" {
  command = plan
  variables {
    schedule = { chek = "0 9 * * 1" }
  }
  expect_failures = [var.schedule]
}

run "instances_that_are_no_number" {
  command = plan
  variables {
    functions = { webhook = { max_instances = "many" } }
  }
  expect_failures = [var.functions]
}

run "more_instances_kept_than_allowed" {
  command = plan
  variables {
    functions = { report = { min_instances = 3 } }
  }
  expect_failures = [var.functions]
}

run "no_concurrency" {
  command = plan
  variables {
    functions = { verify = { concurrency = 0 } }
  }
  expect_failures = [var.functions]
}

run "too_little_memory" {
  command = plan
  variables {
    functions = { webhook = { memory = "256M" } }
  }
  expect_failures = [var.functions]
}

run "instances_without_bound" {
  command = plan
  variables {
    functions = { webhook = { max_instances = 1000 } }
  }
  expect_failures = [var.functions]
}

run "egress_that_is_none" {
  command = plan
  variables {
    network = { network = "shared", subnetwork = "inside", egress = "ALL" }
  }
  expect_failures = [var.network]
}

run "cron_with_four_fields" {
  command = plan
  variables {
    schedule = { report = "0 9 * *" }
  }
  expect_failures = [var.schedule]
}

run "archive_shorter_than_a_report" {
  command = plan
  variables {
    archive_days = 7
  }
  expect_failures = [var.archive_days]
}

run "email_that_is_none" {
  command = plan
  variables {
    alert_emails = ["oncall"]
  }
  expect_failures = [var.alert_emails]
}

run "configuration_of_another_project" {
  command = plan
  variables {
    project_id = "another-project"
  }
  expect_failures = [terraform_data.config]
}

run "configuration_with_secrets_of_this_machine" {
  command = plan
  variables {
    config_file = "./tests/local-secrets.yaml"
  }
  expect_failures = [terraform_data.config]
}

run "configuration_with_a_local_store" {
  command = plan
  variables {
    config_file = "./tests/local-store.yaml"
  }
  expect_failures = [terraform_data.config]
}

run "the_address_of_another_function" {
  command = plan
  variables {
    config_file = "./tests/other-url.yaml"
  }
  expect_failures = [terraform_data.config]
}

run "ingress_that_is_none" {
  command = plan
  variables {
    webhook_ingress = "ALLOW_VPC"
  }
  expect_failures = [var.webhook_ingress]
}

run "a_load_balancer_whose_host_nobody_is_told" {
  command = plan
  variables {
    webhook_ingress = "ALLOW_INTERNAL_AND_GCLB"
  }
  expect_failures = [terraform_data.config]
}

run "another_deployment_by_name_alone" {
  command = plan
  variables {
    name = "second"
  }
  expect_failures = [terraform_data.config]
}

run "nobody_is_notified" {
  command = plan
  variables {
    alert_emails = []
  }
  expect_failures = [check.somebody_is_notified]
}

run "a_limit_of_nothing" {
  command = plan
  variables {
    daily_compute_limit = 0
  }
  expect_failures = [var.daily_compute_limit]
}

run "a_key_of_another_region" {
  command = plan
  variables {
    kms_key_name = "projects/example-project/locations/europe-west4/keyRings/ring/cryptoKeys/key"
  }
  expect_failures = [var.kms_key_name]
}

run "a_version_of_a_secret_that_was_destroyed" {
  command = plan

  override_data {
    target = data.google_secret_manager_secret_version.named["unstick-rundeck-token"]
    values = { destroy_time = "2026-11-30T00:00:00Z" }
  }

  expect_failures = [data.google_secret_manager_secret_version.named["unstick-rundeck-token"]]
}
