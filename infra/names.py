"""The names of Unstick's resources: in the configuration, and in a Terraform state."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

REFERENCE = re.compile(r"sm://[a-z0-9-]+/([A-Za-z0-9_-]+)")
ENVIRONMENT = re.compile(r"[a-z][a-z0-9-]{0,10}[a-z0-9]")
"""NAME-scheduler is the name of an account, which may have 30 characters."""


@dataclass(frozen=True)
class Names:
    """The names in a configuration; empty if missing."""

    bucket: str = ""
    queue: str = ""
    secrets: tuple[str, ...] = ()


@dataclass(frozen=True)
class Deployed:
    """The deployment that a state describes. Empty if nothing was deployed, or too little to tell."""

    project: str = ""
    region: str = ""
    name: str = ""
    bucket: str = ""
    queue: str = ""
    source_bucket: str = ""
    archive: str = ""
    addresses: frozenset[str] = field(default_factory=frozenset)


def read_names(config: Path) -> Names:
    """Raises OSError or yaml.YAMLError if the file can't be read."""
    text = config.read_text(encoding="utf-8")
    content = yaml.safe_load(text)
    store, scheduler = (_part(content, kind, name) for kind, name in (("store", "cloud_storage"), ("scheduler", "cloud_tasks")))
    secrets = dict.fromkeys(REFERENCE.findall(_flat(content)))
    return Names(str(store.get("bucket", "")), str(scheduler.get("queue", "")).rsplit("/", 1)[-1], tuple(secrets))


def _part(content: Any, *names: str) -> dict[str, Any]:
    for name in names:
        content = content.get(name) if isinstance(content, dict) else None
    return content if isinstance(content, dict) else {}


def _flat(content: Any) -> str:
    """All texts in it, without the file's comments."""
    if isinstance(content, dict):
        return "\n".join(map(_flat, content.values()))
    if isinstance(content, list):
        return "\n".join(map(_flat, content))
    return str(content)


def read_state(state: dict[str, Any]) -> Deployed:
    """Read `terraform state pull`: its output `deployment`, otherwise its resources."""
    found: dict[tuple[str, str], dict[str, Any]] = {}
    projects, regions = set(), set()
    for resource in state.get("resources", []):
        if resource.get("mode") != "managed":
            continue
        for instance in resource.get("instances", []):
            values = instance.get("attributes") or {}
            found[resource["type"], str(instance.get("index_key", resource["name"]))] = values
            projects.add(values.get("project"))
            if resource["type"] in ("google_cloudfunctions2_function", "google_cloud_tasks_queue"):
                regions.add(values.get("location"))
    deployed = state.get("outputs", {}).get("deployment", {}).get("value") or {}
    name = re.sub(r"-webhook$", "", str(found.get(("google_service_account", "webhook"), {}).get("account_id", "")))

    def get(key: str, kind: str, index: str, otherwise: str = "") -> str:
        return str(deployed.get(key) or found.get((kind, index), {}).get("name") or otherwise)

    return Deployed(
        project=_only(projects) or deployed.get("project", ""),
        region=_only(regions) or deployed.get("region", ""),
        name=name or deployed.get("name", ""),
        bucket=get("bucket", "google_storage_bucket", "store"),
        queue=get("queue", "google_cloud_tasks_queue", "wakeups"),
        source_bucket=get("source_bucket", "google_storage_bucket", "source"),
        archive=get("archive", "google_storage_bucket_object", "source"),
        addresses=frozenset(f"{kind}.{index}" for kind, index in found),
    )


def _only(values: set[Any]) -> str:
    """The one value; several are joined, so that they differ from any requested one."""
    return " and ".join(sorted(str(value) for value in values if value))
