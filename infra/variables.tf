# What is not set here has the module's default. infra/module/variables.tf says what each allows.

variable "project" {
  description = "The Google Cloud project's id."
  type        = string
}

variable "region" {
  description = "Where everything runs, such as asia-northeast1."
  type        = string
}

variable "name" {
  description = "Prefix of every name, and name of the archive in build/. Each environment needs its own."
  type        = string
  default     = "unstick"
}

variable "functions" {
  description = "Memory, concurrency and instances of each function."
  type        = any
  default     = null

  # Terraform drops what the module's type doesn't have.
  validation {
    condition = var.functions == null ? true : alltrue([
      for entry, size in var.functions :
      contains(["webhook", "verify", "report"], entry) && length(setsubtract(keys(size), ["memory", "concurrency", "min_instances", "max_instances"])) == 0
    ])
    error_message = "functions has webhook, verify and report, and each of them memory, concurrency, min_instances and max_instances."
  }
}

variable "network" {
  description = "Direct VPC egress: network, subnetwork, tags, egress."
  type        = any
  default     = null
}

variable "public_webhook" {
  description = "Let everybody reach the webhook, which authenticates by itself."
  type        = any
  default     = null
}

variable "webhook_ingress" {
  description = "From where the webhook can be reached: all, internal, or a load balancer."
  type        = any
  default     = null
}

variable "paused" {
  description = "The kill switch by environment."
  type        = any
  default     = null
}

variable "schedule" {
  description = "When check and report run, as cron."
  type        = any
  default     = null

  validation {
    condition     = var.schedule == null ? true : length(setsubtract(keys(var.schedule), ["report", "check"])) == 0
    error_message = "schedule has report and check."
  }
}

variable "archive_days" {
  description = "How long ended incidents and their evidence are kept."
  type        = any
  default     = null
}

variable "rollback_days" {
  description = "How long former archives are kept."
  type        = any
  default     = null
}

variable "alert_emails" {
  description = "Who is notified when Unstick itself fails."
  type        = any
  default     = null
}

variable "notification_channels" {
  description = "Further notification channels of Cloud Monitoring."
  type        = any
  default     = null
}

variable "daily_compute_limit" {
  description = "US dollars of compute in 24 hours above which to alert."
  type        = any
  default     = null
}

variable "build_account" {
  description = "An existing account that builds the functions."
  type        = any
  default     = null
}

variable "kms_key_name" {
  description = "A key of Cloud KMS instead of Google's keys."
  type        = any
  default     = null
}
