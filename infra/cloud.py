"""Everything in Google Cloud that Terraform doesn't do: APIs, the state's bucket, imports, and values of secrets."""

from __future__ import annotations

import getpass
import json
import sys
import tempfile
from typing import Any

import gcloud
from names import Deployed, Names
from place import Place, die

SERVICES = [
    f"{name}.googleapis.com"
    for name in (
        "artifactregistry", "cloudbuild", "cloudfunctions", "cloudresourcemanager", "cloudscheduler", "cloudtasks",
        "iam", "logging", "monitoring", "run", "secretmanager", "storage",
    )
]  # fmt: skip
"""Enabled before Terraform runs, which needs them to read the project and to import."""


_TYPES = {
    "source": "google_storage_bucket",
    "accounts": "google_service_account",
    "functions": "google_cloudfunctions2_function",
    "jobs": "google_cloud_scheduler_job",
    "metrics": "google_logging_metric",
    "dashboard": "google_monitoring_dashboard",
    "watched": "google_monitoring_alert_policy",
    "logged": "google_monitoring_alert_policy",
    "channels": "google_monitoring_notification_channel",
}
"""Kind in adopt.tf -> type of resource, for resources whose name or label doesn't depend on the configuration."""


def prepare(place: Place, *, must_exist: bool = False) -> None:
    """Enable the APIs and create the bucket for the state, if they are missing. `must_exist`: end if there is no bucket."""
    number = gcloud.run("projects", "describe", place.project, "--format=value(projectNumber)")
    bucket = f"gs://{place.state_bucket}"
    owner = gcloud.find("storage", "buckets", "describe", bucket, "--raw", "--format=value(projectNumber)")
    if owner is None and must_exist:
        die(f"nothing is deployed as {place.title}: there is no {bucket}.")
    enabled = set(
        gcloud.run("services", "list", "--enabled", f"--project={place.project}", "--format=value(config.name)").split()
    )
    if missing := [service for service in SERVICES if service not in enabled]:
        print(f"Enabling {len(missing)} APIs in {place.project}: {', '.join(missing)}", flush=True)
        gcloud.run("services", "enable", *missing, f"--project={place.project}")
    if owner is None:
        print(f"Creating {bucket} for Terraform's state.", flush=True)
        gcloud.run(
            "storage", "buckets", "create", bucket, f"--project={place.project}", f"--location={place.region}",
            "--uniform-bucket-level-access", "--public-access-prevention",
        )  # fmt: skip
        gcloud.run("storage", "buckets", "update", bucket, "--versioning")
    elif owner != number:
        die(f"{bucket} is in project {owner}, not in {place.project} ({number}): a state must not be put there.")


def find_existing(place: Place, names: Names, deployed: Deployed) -> dict[str, dict[str, str]]:
    """Resources that exist and are missing in the state: by kind, the key in Terraform and the id to import."""
    found = _find_named(place, names, deployed) | _find_fixed(place, deployed)
    found = {kind: of for kind, of in found.items() if of}
    for kind, of in found.items():
        print(f"Taking over what exists already: {kind}: {', '.join(of.values())}")
    return found


def _find_named(place: Place, names: Names, deployed: Deployed) -> dict[str, dict[str, str]]:
    """Those that the configuration names."""
    project, path = f"--project={place.project}", f"projects/{place.project}/locations/{place.region}"
    found: dict[str, dict[str, str]] = {}
    if "google_storage_bucket.store" not in deployed.addresses and _has_bucket(names.bucket):
        found["store"] = {"store": f"{place.project}/{names.bucket}"}
    if "google_cloud_tasks_queue.wakeups" not in deployed.addresses and queue_state(place, names.queue):
        found["queue"] = {"queue": f"{path}/queues/{names.queue}"}
    there = _listed("secrets", "list", project, "--format=value(name)")
    found["secrets"] = {
        name: f"projects/{place.project}/secrets/{name}"
        for name in names.secrets
        if name in there and f"google_secret_manager_secret.{name}" not in deployed.addresses
    }
    return found


def find_running(place: Place) -> list[str]:
    """The functions and jobs that exist, whatever the state says."""
    found = _find_fixed(place, Deployed())
    return [*found["functions"].values(), *found["jobs"].values()]


def _find_fixed(place: Place, deployed: Deployed) -> dict[str, dict[str, str]]:
    """Those with a fixed name. An interrupted apply leaves some of them, a lost state all."""
    project, region = f"--project={place.project}", f"--location={place.region}"
    path = f"projects/{place.project}/locations/{place.region}"
    source, domain = f"{place.project}-{place.name}-source", f"{place.project}.iam.gserviceaccount.com"
    emails = _listed("iam", "service-accounts", "list", project, "--format=value(email)")
    functions = _listed("functions", "list", "--v2", f"--regions={place.region}", project, "--format=value(name)")
    jobs = _listed("scheduler", "jobs", "list", region, project, "--format=value(name)")
    metrics = (gcloud.find("logging", "metrics", "list", project, "--format=value(name)") or "").split()
    found = {
        "source": {"source": f"{place.project}/{source}"} if _has_bucket(source) else {},
        "accounts": {
            role: f"projects/{place.project}/serviceAccounts/{place.name}-{role}@{domain}"
            for role in ("webhook", "verify", "report", "tasks", "scheduler", "builder")
            if f"{place.name}-{role}@{domain}" in emails
        },
        "functions": _named(place, ("webhook", "verify", "report"), functions, f"{path}/functions/"),
        "jobs": _named(place, ("sweep", "report", "drill", "check"), jobs, f"{path}/jobs/"),
        "metrics": {
            key: f"{place.project} {place.name}/{key}"
            for key in ("decisions", "outcomes", "errors")
            if f"{place.name}/{key}" in metrics
        },
    } | _find_monitoring(place)
    return {
        kind: {key: name for key, name in of.items() if f"{_TYPES[kind]}.{key}" not in deployed.addresses}
        for kind, of in found.items()
    }


def _find_monitoring(place: Place) -> dict[str, dict[str, str]]:
    """Dashboard, alert policies and channels, whose names Google chooses: by the title and the labels that the module sets."""
    project = f"--project={place.project}"

    def read(listed: str | None) -> list[tuple[str, dict[str, Any]]]:
        """(name, content) of each. With the project's id in the name: its number would be another project to Terraform."""
        found = json.loads(listed or "[]")
        return [(f"projects/{place.project}/{one['name'].split('/', 2)[2]}", one) for one in found]

    dashboards = read(gcloud.find("monitoring", "dashboards", "list", project, "--format=json"))
    policies = read(gcloud.find("alpha", "monitoring", "policies", "list", project, "--format=json"))
    channels = read(gcloud.find("beta", "monitoring", "channels", "list", project, "--format=json"))
    found: dict[str, dict[str, str]] = {"dashboard": {}, "watched": {}, "logged": {}, "channels": {}}
    for name, one in dashboards:
        if one["displayName"] == f"Unstick ({place.name})":
            found["dashboard"]["overview"] = name
    for name, one in policies:
        of, _, label = one.get("userLabels", {}).get("unstick", "").partition("_")
        kind, _, key = label.partition("_")
        if of == place.name and kind in ("watched", "logged"):
            found[kind][key] = name
    for name, one in channels:
        if one.get("userLabels", {}).get("unstick") == place.name:
            found["channels"][one["labels"]["email_address"]] = name
    return found


def _listed(*arguments: str) -> set[str]:
    """The last parts of the names that gcloud lists."""
    return {name.rsplit("/", 1)[-1] for name in (gcloud.find(*arguments) or "").split()}


def _named(place: Place, keys: tuple[str, ...], there: set[str], path: str) -> dict[str, str]:
    return {key: f"{path}{place.name}-{key}" for key in keys if f"{place.name}-{key}" in there}


def _has_bucket(name: str) -> bool:
    return bool(name) and gcloud.find("storage", "buckets", "describe", f"gs://{name}", "--format=value(name)") is not None


def queue_state(place: Place, queue: str) -> str:
    """RUNNING or PAUSED; empty if there is no queue."""
    if not queue:
        return ""
    where = (f"--project={place.project}", f"--location={place.region}")
    return gcloud.find("tasks", "queues", "describe", queue, *where, "--format=value(state)") or ""


def find_empty_secrets(place: Place, names: Names) -> list[str]:
    """Secrets without a value. Cloud Run refuses a function that mounts one."""
    project = f"--project={place.project}"
    there = _listed("secrets", "list", project, "--format=value(name)")
    return [name for name in names.secrets if name not in there or not _has_value(place, name)]


def _has_value(place: Place, name: str) -> bool:
    enabled = ("--filter=state:ENABLED", "--limit=1", "--format=value(name)")
    return bool(gcloud.run("secrets", "versions", "list", name, f"--project={place.project}", *enabled))


def refuse_lost_values(place: Place, changes: list[dict[str, Any]]) -> None:
    """Refuse a plan that deletes or replaces a secret with a value: people typed the value, and it is stored nowhere else."""
    there = _listed("secrets", "list", f"--project={place.project}", "--format=value(name)")
    for change in changes:
        if change["type"] != "google_secret_manager_secret" or "delete" not in change["change"].get("actions", ()):
            continue
        name = change["change"]["before"]["secret_id"]
        if name in there and _has_value(place, name):
            die(
                f"this would delete the secret {name} and its values. Nothing was changed. If nobody needs them any more: "
                f"gcloud secrets delete {name} --project={place.project}"
            )


def fill_secrets(place: Place, empty: list[str], changes: list[dict[str, Any]]) -> None:
    """Create each as planned, and pass its value from the terminal to gcloud: never to Terraform, its state or a log."""
    planned = {
        change["change"]["after"]["secret_id"]: change["change"]
        for change in changes
        if change["type"] == "google_secret_manager_secret" and change["change"]["after"]
    }
    print(f"These secrets have no value yet: {', '.join(empty)}. Type or paste each; it is not shown.", flush=True)
    for name in empty:
        value = getpass.getpass(f"{name}: ") if sys.stdin.isatty() else sys.stdin.readline().rstrip("\n")
        if not value:
            die(f"{name} was left without a value. The same command again goes on from here.")
        if planned[name]["before"] is None:
            _make_secret(place, name, planned[name]["after"]["replication"][0])
        gcloud.run("secrets", "versions", "add", name, f"--project={place.project}", "--data-file=-", stdin=value)
        print(f"{name}: stored", flush=True)


def _make_secret(place: Place, name: str, replication: dict[str, Any]) -> None:
    def key(of: dict[str, Any]) -> dict[str, Any]:
        encrypted = of.get("customer_managed_encryption") or []
        return {"customerManagedEncryption": {"kmsKeyName": encrypted[0]["kms_key_name"]}} if encrypted else {}

    if replication.get("user_managed"):
        replicas = replication["user_managed"][0]["replicas"]
        policy = {"userManaged": {"replicas": [{"location": one["location"], **key(one)} for one in replicas]}}
    else:
        policy = {"automatic": {}}
    with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
        json.dump(policy, file)
        file.flush()
        gcloud.run("secrets", "create", name, f"--project={place.project}", f"--replication-policy-file={file.name}")
