variable "project_id" {
  description = "The Google Cloud project's id. It must exist and have billing on."
  type        = string
  nullable    = false

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{4,28}[a-z0-9]$", var.project_id))
    error_message = "project_id must be a project's id such as my-project-123, not its name or number."
  }
}

variable "region" {
  description = "Where everything runs, such as asia-northeast1. Near Grafana, Rundeck and RabbitMQ is best."
  type        = string
  nullable    = false

  validation {
    condition     = can(regex("^[a-z]+-[a-z]+[0-9]+$", var.region))
    error_message = "region must be a region such as asia-northeast1 or europe-west4, not a zone."
  }
}

variable "name" {
  description = "Prefix of every name, so that several deployments fit into one project."
  type        = string
  default     = "unstick"
  nullable    = false

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{1,18}[a-z0-9]$", var.name))
    error_message = "name must have 3 to 20 characters out of a-z, 0-9 and -, begin with a letter and not end with -: accounts are named NAME-scheduler and may have 30."
  }
}

variable "config_file" {
  description = "The configuration that the source archive holds as unstick.yaml. It alone names bucket, queue and secrets."
  type        = string
  nullable    = false

  validation {
    condition     = can(yamldecode(file(var.config_file)))
    error_message = "config_file must be a readable YAML file. `infra/package.py` writes it beside the archive."
  }
}

variable "source_zip" {
  description = "The source archive that `infra/package.py` makes. A changed archive changes the plan."
  type        = string
  nullable    = false

  validation {
    condition     = fileexists(var.source_zip)
    error_message = "source_zip does not exist. Build it first: infra/package.py --config unstick.yaml."
  }
}

variable "functions" {
  description = "Size of each function: memory, concurrency, min_instances and max_instances of webhook, verify and report, where they differ from functions.tf. max_instances bounds what a flood can cost; min_instances = 1 keeps the webhook warm, which is worth its price with network."
  type        = map(map(string)) # Terraform drops what an object type lacks, so a misspelled limit would not be set
  default     = {}
  nullable    = false

  validation {
    condition     = alltrue([for entry, size in var.functions : contains(keys(local.default_sizes), entry) && length(setsubtract(keys(size), keys(local.default_sizes.webhook))) == 0])
    error_message = "functions has webhook, verify and report, and each of them memory, concurrency, min_instances and max_instances."
  }

  validation {
    condition     = alltrue([for size in values(var.functions) : contains(["512Mi", "1Gi", "2Gi", "4Gi"], try(coalesce(size.memory), "1Gi"))])
    error_message = "memory must be 512Mi, 1Gi, 2Gi or 4Gi, the sizes that go with one CPU and hold the function."
  }

  validation {
    condition     = alltrue([for size in values(var.functions) : contains(formatlist("%d", range(1, 81)), try(coalesce(size.concurrency), "1"))])
    error_message = "concurrency must be a whole number from 1 to 80: each request is a thread."
  }

  validation {
    condition     = alltrue([for entry, size in var.functions : contains(formatlist("%d", range(1 + min(50, try(tonumber(coalesce(size.max_instances)), local.default_sizes[entry].max_instances, 0)))), try(coalesce(size.min_instances), "0"))])
    error_message = "min_instances must be a whole number from 0 to max_instances."
  }

  validation {
    condition     = alltrue([for size in values(var.functions) : contains(formatlist("%d", range(1, 51)), try(coalesce(size.max_instances), "1"))])
    error_message = "max_instances must be a whole number from 1 to 50: it is the limit to what a flood can cost."
  }
}

variable "network" {
  description = "Direct VPC egress to systems without a public address; null for none. network and subnetwork are both needed, for a shared VPC as full paths. egress is VPC_EGRESS_PRIVATE_RANGES_ONLY or VPC_EGRESS_ALL_TRAFFIC."
  type = object({
    network    = string
    subnetwork = string
    tags       = optional(list(string), [])
    egress     = optional(string, "VPC_EGRESS_PRIVATE_RANGES_ONLY")
  })
  default = null

  validation {
    condition     = var.network == null ? true : contains(["VPC_EGRESS_PRIVATE_RANGES_ONLY", "VPC_EGRESS_ALL_TRAFFIC"], var.network.egress)
    error_message = "network.egress must be VPC_EGRESS_PRIVATE_RANGES_ONLY or VPC_EGRESS_ALL_TRAFFIC."
  }
}

variable "public_webhook" {
  description = "Let everybody reach the webhook, which authenticates requests itself. false where a policy of the organisation forbids allUsers: see docs/google-cloud.md."
  type        = bool
  default     = true
  nullable    = false
}

variable "webhook_ingress" {
  description = "From where the webhook can be reached: ALLOW_ALL, ALLOW_INTERNAL_ONLY (Grafana and browsers in the VPC) or ALLOW_INTERNAL_AND_GCLB (a load balancer of yours, whose host is public_url)."
  type        = string
  default     = "ALLOW_ALL"
  nullable    = false

  validation {
    condition     = contains(["ALLOW_ALL", "ALLOW_INTERNAL_ONLY", "ALLOW_INTERNAL_AND_GCLB"], var.webhook_ingress)
    error_message = "webhook_ingress must be ALLOW_ALL, ALLOW_INTERNAL_ONLY or ALLOW_INTERNAL_AND_GCLB."
  }
}

variable "paused" {
  description = "The kill switch by environment: true holds every restart from the next deployment on. `unstick pause` needs no deployment."
  type        = bool
  default     = false
  nullable    = false
}

variable "schedule" {
  description = "When report and check run, as cron in the configuration's time zone: report = \"0 9 * * 1\" and check = \"0 10 * * 1\" unless set."
  type        = map(string) # as for functions
  default     = {}
  nullable    = false

  validation {
    condition     = length(setsubtract(keys(var.schedule), ["report", "check"])) == 0
    error_message = "schedule has report and check."
  }

  validation {
    condition     = alltrue([for cron in values(var.schedule) : cron == null || can(regex("^([0-9A-Za-z*,/-]+ ){4}[0-9A-Za-z*,/-]+$", cron))])
    error_message = "schedule must be cron with five fields, such as 0 9 * * 1 for Mondays at nine."
  }
}

variable "archive_days" {
  description = "How long ended incidents and their evidence are kept. The report looks back over this archive."
  type        = number
  default     = 400
  nullable    = false

  validation {
    condition     = var.archive_days >= 62 && floor(var.archive_days) == var.archive_days
    error_message = "archive_days must be a whole number of at least 62: the report compares a month with the month before."
  }
}

variable "alert_emails" {
  description = "Who is notified when Unstick itself fails. Choose an address that does not depend on what Unstick restarts."
  type        = set(string)
  default     = []
  nullable    = false

  validation {
    condition     = alltrue([for address in var.alert_emails : can(regex("^[^@[:space:]]+@[^@[:space:]]+\\.[^@[:space:]]+$", address))])
    error_message = "alert_emails must be addresses such as oncall@example.com."
  }
}

variable "notification_channels" {
  description = "Further notification channels of Cloud Monitoring, by full name: projects/PROJECT/notificationChannels/ID."
  type        = set(string)
  default     = []
  nullable    = false

  validation {
    condition     = alltrue([for channel in var.notification_channels : can(regex("^projects/[^/]+/notificationChannels/[^/]+$", channel))])
    error_message = "notification_channels must be full names: projects/PROJECT/notificationChannels/ID."
  }
}

variable "daily_compute_limit" {
  description = "US dollars: alert when the functions' compute time of the last 24 hours costs more at list prices (docs/costs.md); null for no alert."
  type        = number
  default     = null

  validation {
    condition     = var.daily_compute_limit == null ? true : var.daily_compute_limit > 0
    error_message = "daily_compute_limit must be above 0."
  }
}

variable "build_account" {
  description = "An existing account that builds the functions: projects/PROJECT/serviceAccounts/EMAIL. null creates NAME-builder with the roles that a build needs."
  type        = string
  default     = null

  validation {
    condition     = var.build_account == null ? true : can(regex("^projects/[^/]+/serviceAccounts/[^/@]+@[^/@]+$", var.build_account))
    error_message = "build_account must be a full name: projects/PROJECT/serviceAccounts/EMAIL."
  }
}

variable "kms_key_name" {
  description = "A key of Cloud KMS in the same region that encrypts buckets, sources and images: projects/P/locations/REGION/keyRings/R/cryptoKeys/K. null takes Google's keys. Secrets get theirs from whoever makes them."
  type        = string
  default     = null

  validation {
    condition     = var.kms_key_name == null ? true : can(regex("^projects/[^/]+/locations/${var.region}/keyRings/[^/]+/cryptoKeys/[^/]+$", var.kms_key_name))
    error_message = "kms_key_name must be a key in ${var.region}: projects/PROJECT/locations/${var.region}/keyRings/RING/cryptoKeys/KEY."
  }
}

variable "rollback_days" {
  description = "How long former archives stay in the source's bucket, for a rollback."
  type        = number
  default     = 90
  nullable    = false

  validation {
    condition     = var.rollback_days >= 1 && floor(var.rollback_days) == var.rollback_days
    error_message = "rollback_days must be a whole number of at least 1."
  }
}
