resource "google_storage_bucket" "store" {
  project                     = var.project_id
  name                        = local.bucket
  location                    = var.region
  uniform_bucket_level_access = true
  public_access_prevention    = "enforced"
  force_destroy               = false

  dynamic "encryption" {
    for_each = var.kms_key_name == null ? [] : [var.kms_key_name]
    content {
      default_kms_key_name = encryption.value
    }
  }

  versioning {
    enabled = true
  }

  lifecycle_rule {
    action {
      type = "Delete"
    }
    condition {
      age            = var.archive_days
      matches_prefix = ["incidents/", "evidence/"]
      with_state     = "LIVE"
    }
  }

  # What was overwritten or deleted can be had back for a month.
  lifecycle_rule {
    action {
      type = "Delete"
    }
    condition {
      days_since_noncurrent_time = 30
      with_state                 = "ARCHIVED"
    }
  }

  # Open incidents and the archive. A plan that deletes it is refused, and it is left standing where the module's call is removed.
  deletion_policy = "ABANDON"

  lifecycle {
    prevent_destroy = true
  }
}

# Apart from the store: an account that may write documents must not be able to write the program.
resource "google_storage_bucket" "source" {
  project                     = var.project_id
  name                        = "${var.project_id}-${var.name}-source"
  location                    = var.region
  uniform_bucket_level_access = true
  public_access_prevention    = "enforced"
  force_destroy               = true # everything in it can be built again

  dynamic "encryption" {
    for_each = var.kms_key_name == null ? [] : [var.kms_key_name]
    content {
      default_kms_key_name = encryption.value
    }
  }

  # Former archives stay for a rollback: each is deleted from the plan when the next one replaces it, but not from the bucket.
  versioning {
    enabled = true
  }

  lifecycle_rule {
    action {
      type = "Delete"
    }
    condition {
      days_since_noncurrent_time = var.rollback_days
      with_state                 = "ARCHIVED"
    }
  }
}

resource "google_storage_bucket_object" "source" {
  bucket = google_storage_bucket.source.name
  name   = "${var.name}-${filesha256(var.source_zip)}.zip"
  source = var.source_zip

  # The functions still name the former archive until they are updated. The name has the content's hash; the path differs from one
  # checkout to the next, and would replace the archive by itself: made anew under its name, then deleted.
  lifecycle {
    create_before_destroy = true
    ignore_changes        = [source]
  }
}
