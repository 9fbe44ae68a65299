# What earlier builds managed and this one does not: Terraform forgets it, and changes nothing in Google Cloud.

removed {
  from = google_secret_manager_secret.named

  lifecycle {
    destroy = false
  }
}

removed {
  from = google_project_service.used

  lifecycle {
    destroy = false
  }
}

# google_cloud_run_v2_service_iam_binding.invoker has all callers now; taking these off would take them off there.
removed {
  from = google_cloud_run_v2_service_iam_member.invoker

  lifecycle {
    destroy = false
  }
}

removed {
  from = google_cloud_run_v2_service_iam_member.public

  lifecycle {
    destroy = false
  }
}
