"""What deployer and prices are said to be is what the module has."""

from __future__ import annotations

import re
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parents[3]
INFRA, MODULE = ROOT / "infra", ROOT / "infra" / "module"

NEEDED = {
    "google_artifact_registry_repository": "artifactregistry.repositories.{create,delete,get,update}",
    "google_cloud_run_v2_service_iam_member": "run.services.{get,getIamPolicy,setIamPolicy}",
    "google_cloud_scheduler_job": "cloudscheduler.jobs.{create,delete,enable,get,update} iam.serviceAccounts.actAs",
    "google_cloud_tasks_queue": "cloudtasks.queues.{create,get,update} iam.serviceAccounts.actAs",
    "google_cloud_tasks_queue_iam_member": "cloudtasks.queues.{getIamPolicy,setIamPolicy}",
    "google_cloudfunctions2_function": "cloudfunctions.functions.{create,delete,get,update} cloudfunctions.operations.get "
    "iam.serviceAccounts.actAs compute.subnetworks.{get,use}",
    "google_logging_metric": "logging.logMetrics.{create,delete,get,update}",
    "google_monitoring_alert_policy": "monitoring.alertPolicies.{create,delete,get,update}",
    "google_monitoring_dashboard": "monitoring.dashboards.{create,delete,get,update}",
    "google_monitoring_notification_channel": "monitoring.notificationChannels.{create,delete,get,update}",
    "google_project_iam_member": "",  # only without build_account: the page says what it takes then
    "google_project_service": "serviceusage.services.{enable,get,list} resourcemanager.projects.get",
    "google_secret_manager_secret": "secretmanager.secrets.{create,delete,get,update}",
    "google_secret_manager_secret_iam_member": "secretmanager.secrets.{getIamPolicy,setIamPolicy}",
    "google_service_account": "iam.serviceAccounts.{create,delete,get,update}",
    "google_service_account_iam_member": "iam.serviceAccounts.{getIamPolicy,setIamPolicy}",
    "google_storage_bucket": "storage.buckets.{create,delete,get,update}",
    "google_storage_bucket_iam_member": "storage.buckets.{getIamPolicy,setIamPolicy}",
    "google_storage_bucket_object": "storage.objects.{create,delete,get,list,update}",
}
"""Resource of the module -> permissions of whoever applies it."""

CALLED = {
    ("projects", "describe"): "resourcemanager.projects.get",
    ("services", "list"): "serviceusage.services.list",
    ("services", "enable"): "serviceusage.services.enable",
    ("storage", "buckets", "describe"): "storage.buckets.get",
    ("storage", "buckets", "create"): "storage.buckets.create",
    ("storage", "buckets", "update"): "storage.buckets.update",
    ("storage", "ls"): "storage.objects.list",
    ("storage", "cp"): "storage.objects.get",
    ("tasks", "queues", "describe"): "cloudtasks.queues.get",
    ("tasks", "queues", "pause"): "cloudtasks.queues.pause",
    ("tasks", "queues", "resume"): "cloudtasks.queues.resume",
    ("secrets", "list"): "secretmanager.secrets.list",
    ("secrets", "create"): "secretmanager.secrets.create",
    ("secrets", "versions", "list"): "secretmanager.versions.list",
    ("secrets", "versions", "add"): "secretmanager.versions.add",
    ("iam", "service-accounts", "list"): "iam.serviceAccounts.list",
    ("functions", "list"): "cloudfunctions.functions.list",
    ("scheduler", "jobs", "list"): "cloudscheduler.jobs.list",
    ("scheduler", "jobs", "run"): "cloudscheduler.jobs.run",
    ("logging", "metrics", "list"): "logging.logMetrics.list",
    ("monitoring", "dashboards", "list"): "monitoring.dashboards.list",
    ("alpha", "monitoring", "policies", "list"): "monitoring.alertPolicies.list",
    ("beta", "monitoring", "channels", "list"): "monitoring.notificationChannels.list",
    ("logging", "read"): "logging.logEntries.list",
}
"""gcloud's command -> the permission that it takes."""


def permissions(text: str) -> set[str]:
    found = set()
    for word in text.split():
        head, _, several = word.partition("{")
        found |= {head + one for one in several.rstrip("}").split(",")} if several else {word}
    return found


def resources() -> set[str]:
    text = "".join(path.read_text(encoding="utf-8") for path in MODULE.glob("*.tf"))
    return set(re.findall(r'^resource "(google_\w+)"', text, re.MULTILINE))


def commands() -> set[tuple[str, ...]]:
    """The commands of gcloud that deploy.sh calls, as far as they are words."""
    text = "".join(path.read_text(encoding="utf-8") for path in INFRA.glob("*.py"))
    calls = re.findall(r"(?:gcloud\.(?:run|find)|_listed)\(\s*((?:\"[a-z][a-z-]*\",?\s*)+)", text)
    return {tuple(re.findall(r'"([a-z-]+)"', call)) for call in calls}


def test_the_deployers_role_has_what_is_called_and_nothing_else() -> None:
    """Instead of Owner: each permission is there for a resource of the module or a command of deploy.sh."""
    assert set(NEEDED) == resources()
    assert set(CALLED) == commands()
    role = yaml.safe_load((INFRA / "deployer-role.yaml").read_text(encoding="utf-8"))["includedPermissions"]
    assert role == sorted(set(role))
    assert set(role) == set().union(*map(permissions, NEEDED.values())) | set(CALLED.values())
    assert "resourcemanager.projects.setIamPolicy" not in role
