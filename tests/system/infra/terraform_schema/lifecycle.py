"""Plan, apply, read and import of every resource, so that Terraform itself can be run to the end.

What is applied is written to the file UNSTICK_FAKE_CLOUD, one JSON object a line; what was created there and not deleted can't be
created again, whatever state asks for it. Secrets are the names in the file UNSTICK_FAKE_SECRETS. The file UNSTICK_FAKE_FAILS
names a resource (TYPE:NAME) whose creation fails.
"""

import json
import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from protocol import UNKNOWN, read_value, to_mistake, to_path, to_value

Call = Callable[[Any], dict[str, Any]]
WHOLE = threading.Lock()  # Terraform applies ten resources at once, and a line of more than 8 kB is written in parts
LEGACY = {"legacy_type_system": True}
"""Terraform then holds a plan to less, as it does with most resources of Google's provider."""


def fill(block: dict[str, Any], value: Any, make: Callable[[str, Any, Any], Any]) -> Any:
    """The value with every computed attribute as `make` has it."""
    if not isinstance(value, dict):
        return value
    out = dict(value)
    for name, attribute in block.get("attributes", {}).items():
        if attribute.get("computed"):
            out[name] = make(name, attribute["type"], out.get(name))
    for name, nested in block.get("block_types", {}).items():
        items = out.get(name)
        if isinstance(items, list):
            out[name] = [fill(nested["block"], item, make) for item in items]
    return out


def unknown_where_unset(_name: str, _kind: Any, value: Any) -> Any:
    return UNKNOWN if value is None else value


def named(of: dict[str, Any]) -> str:
    return next((of[key] for key in ("account_id", "repository_id", "name") if isinstance(of.get(key), str)), "")


def empty(block: dict[str, Any]) -> dict[str, Any]:
    """Nothing of what the schema has."""
    nested = {name: [] if of["nesting_mode"] in ("list", "set") else None for name, of in block.get("block_types", {}).items()}
    return dict.fromkeys(block.get("attributes", {})) | nested


def given_out(resource: str, of: dict[str, Any]) -> Callable[[str, Any, Any], Any]:
    """What the service decides."""
    own = named(of) or resource

    def make(name: str, kind: Any, value: Any) -> Any:
        if value is not UNKNOWN:
            return value
        if kind == "string":
            email = f"{own}@my-project.iam.gserviceaccount.com"
            special = {
                "uri": f"https://{own}.run.app", "email": email, "member": f"serviceAccount:{email}", "id": f"{resource}/{own}",
                "name": f"projects/my-project/serviceAccounts/{of.get('display_name') if own == resource else email}",
            }  # fmt: skip
            return special.get(name, f"{name}-of-{own}")
        if kind in ("number", "bool"):
            return 0 if kind == "number" else False
        return {} if kind[0] == "map" else []

    return make


FIXED = ("project", "location", "region", "name", "account_id", "bucket", "secret_id", "member", "role", "condition")
"""Another value means another thing: what is there is deleted and made anew."""

UNIQUE = {
    "google_storage_bucket": "my-project", "google_cloud_tasks_queue": "queues", "google_service_account": "serviceAccounts",
    "google_cloudfunctions2_function": "functions", "google_cloud_scheduler_job": "jobs",
    "google_artifact_registry_repository": "repositories",
}  # fmt: skip
"""What has a name that nothing else in the project may have, and what stands before that name in the id to import it by."""


def read_lines(variable: str) -> list[str]:
    path = Path(os.environ.get(variable) or os.devnull)
    with WHOLE:
        return path.read_text(encoding="utf-8").splitlines() if path.exists() else []


def find(kind: str, name: str) -> Any:
    """What stands there under a unique name, or None."""
    changes = [one for one in map(json.loads, read_lines("UNSTICK_FAKE_CLOUD")) if (one["type"], one["name"]) == (kind, name)]
    return changes[-1]["after"] if kind in UNIQUE and changes else None


class Lifecycle:
    def __init__(self, schemas: dict[str, Any], data: dict[str, Any]) -> None:
        self.blocks = {kind: schema["block"] for kind, schema in (schemas | data).items()}

    def calls(self) -> dict[str, Call]:
        return {
            "UpgradeResourceState": self.upgrade,
            "ReadResource": lambda request: {"new_state": request.current_state},
            "PlanResourceChange": self.plan,
            "ApplyResourceChange": self.apply,
            "ImportResourceState": self.take,
            "ReadDataSource": self.read_data,
        }

    def upgrade(self, request: Any) -> dict[str, Any]:
        """A state is read as it was written."""
        return {"upgraded_state": to_value(json.loads(request.raw_state.json))}

    def read_data(self, request: Any) -> dict[str, Any]:
        """A version of a secret, without its value."""
        config = read_value(request.config)
        name = f"projects/555/secrets/{config['secret']}"
        if config["secret"] not in read_lines("UNSTICK_FAKE_SECRETS"):
            said = f"googleapi: Error 404: Secret [{name}] not found or has no versions."
            return {"diagnostics": [to_mistake([], f"error retrieving available secret manager secret versions: {said}")]}
        version = {"id": f"{name}/versions/1", "name": f"{name}/versions/1", "version": config["version"] or "1", "enabled": True}
        return {"state": to_value(empty(self.blocks[request.type_name]) | config | version)}

    def plan(self, request: Any) -> dict[str, Any]:
        before, proposed = read_value(request.prior_state), read_value(request.proposed_new_state)
        if proposed is not None and before is None:
            proposed = fill(self.blocks[request.type_name], proposed, unknown_where_unset)
        given = {name: value for name, value in (before or {}).items() if value is not None}  # of an import it is not much
        changed = [name for name in FIXED if proposed and name in given and given[name] != proposed.get(name)]
        return LEGACY | {"planned_state": to_value(proposed), "requires_replace": [to_path(name) for name in changed]}

    def apply(self, request: Any) -> dict[str, Any]:
        kind, before, planned = request.type_name, read_value(request.prior_state), read_value(request.planned_state)
        of = planned or before
        own = named(of)
        if planned is not None and before is None:
            said = f"Error 409: {kind} {own} already exists" if find(kind, own) else ""
            said = "Build failed" if f"{kind}:{own}" in read_lines("UNSTICK_FAKE_FAILS") else said
            if said:
                return LEGACY | {"new_state": to_value(None), "diagnostics": [to_mistake([], said)]}
        did = "create" if before is None else "delete" if planned is None else "update"
        after = fill(self.blocks[kind], planned, given_out(kind, of)) if planned is not None else None
        if path := os.environ.get("UNSTICK_FAKE_CLOUD"):
            with WHOLE, Path(path).open("a", encoding="utf-8") as log:
                log.write(json.dumps({"did": did, "type": kind, "name": own, "after": after}) + "\n")
        return LEGACY | {"new_state": to_value(after)}

    def take(self, request: Any) -> dict[str, Any]:
        """Import: the existing thing with the id that was asked for."""
        *_, place, name = request.id.split("/")
        thing = find(request.type_name, name.split("@")[0]) if place == UNIQUE.get(request.type_name) else None
        return {"imported_resources": [{"type_name": request.type_name, "state": to_value(thing)}] if thing else []}
