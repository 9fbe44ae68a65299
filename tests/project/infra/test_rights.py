"""What the deployer is said to need is what the module and the page take."""

from __future__ import annotations

import re
from pathlib import Path

import yaml

from tools.docs.pages import sections

ROOT = Path(__file__).resolve().parents[3]
INFRA, MODULE, PAGE = ROOT / "infra", ROOT / "infra" / "module", ROOT / "docs" / "google-cloud.md"

NEEDED = {
    "google_artifact_registry_repository": "artifactregistry.repositories.{create,delete,get,update}",
    "google_cloud_run_v2_service_iam_binding": "run.services.{get,getIamPolicy,setIamPolicy}",
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
    "google_secret_manager_secret_version": "secretmanager.versions.get",
    "google_secret_manager_secret_iam_member": "secretmanager.secrets.{getIamPolicy,setIamPolicy}",
    "google_service_account": "iam.serviceAccounts.{create,delete,get,update}",
    "google_service_account_iam_member": "iam.serviceAccounts.{getIamPolicy,setIamPolicy}",
    "google_storage_bucket": "storage.buckets.{create,delete,get,update}",
    "google_storage_bucket_iam_member": "storage.buckets.{getIamPolicy,setIamPolicy}",
    "google_storage_bucket_object": "storage.objects.{create,delete,get,list,update}",
}
"""Resource of the module -> permissions of whoever applies it."""

CALLED = {
    ("logging", "read"): "logging.logEntries.list",
    ("scheduler", "jobs", "run"): "cloudscheduler.jobs.run",
    ("storage", "cp"): "storage.objects.get",
    ("storage", "ls"): "storage.objects.list",
    ("tasks", "queues", "pause"): "cloudtasks.queues.pause",
    ("tasks", "queues", "resume"): "cloudtasks.queues.resume",
}
"""gcloud's command -> the permission that it takes, of whoever deploys."""

ONCE = {
    *(("services", "enable"), ("storage", "buckets", "create"), ("storage", "buckets", "update"), ("projects", "describe")),
    *(("secrets", "describe"), ("secrets", "create"), ("secrets", "versions", "add")),
    *(("iam", "roles", "create"), ("iam", "service-accounts", "create"), ("projects", "add-iam-policy-binding")),
}
"""What somebody with more rights does: project, secrets, and the deployer's role."""

BY_HAND = {("storage", "rm"), ("tasks", "queues", "delete"), ("run", "services", "update")}
"""What the page offers beside, without the role for it."""


def permissions(text: str) -> set[str]:
    words = set()
    for word in text.split():
        head, _, several = word.partition("{")
        words |= {head + one for one in several.rstrip("}").split(",")} if several else {word}
    return words


def resources() -> set[str]:
    text = "".join(path.read_text(encoding="utf-8") for path in MODULE.glob("*.tf"))
    return set(re.findall(r'^(?:resource|data) "(google_\w+)"', text, re.MULTILINE))


def commands() -> set[tuple[str, ...]]:
    """The commands of gcloud on the page, as far as they are words. Those of networks are for whoever has the network."""
    policies = sections(MODULE / "README.md", 2)["Policies of the organisation"]
    typed = re.findall(r"gcloud ((?:[a-z][a-z-]* )+)", PAGE.read_text(encoding="utf-8") + policies)
    known = {*CALLED, *ONCE, *BY_HAND}
    every = {tuple(one.split()) for one in typed if not one.startswith(("compute ", "auth "))}
    return {next((one for one in known if words[: len(one)] == one), words) for words in every}


def test_the_deployers_role_has_what_is_called_and_nothing_else() -> None:
    """Instead of Owner: each permission is there for a resource of the module or a command of the page."""
    assert set(NEEDED) == resources()
    assert {*CALLED, *ONCE, *BY_HAND} == commands()
    role = yaml.safe_load((INFRA / "deployer-role.yaml").read_text(encoding="utf-8"))["includedPermissions"]
    assert role == sorted(set(role))
    assert set(role) == set().union(*map(permissions, NEEDED.values())) | set(CALLED.values())
    assert not [one for one in role if one.startswith("resourcemanager.")]


def test_the_page_enables_each_api() -> None:
    """Terraform doesn't: it needs them to read the project, and to find the secrets while it plans."""
    enabled = re.search(r"gcloud services enable \{([a-z,]+)\}\.googleapis\.com", PAGE.read_text(encoding="utf-8"))
    assert enabled
    apis = {permission.split(".")[0] for permission in set().union(*map(permissions, NEEDED.values()))} - {"compute"}
    assert set(enabled[1].split(",")) == apis | {"cloudbuild", "cloudresourcemanager"}
