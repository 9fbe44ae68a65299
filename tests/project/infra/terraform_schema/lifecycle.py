"""Plan, apply, read and import of every resource, so that Terraform itself can be run to the end.

What is applied is written to the file UNSTICK_FAKE_CLOUD, one JSON object a line; what was created there and not deleted can't be
created again, whatever state asks for it. Secrets are the names in the file UNSTICK_FAKE_SECRETS. The file UNSTICK_FAKE_FAILS
names a resource (TYPE:NAME) whose creation fails.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from messages import UNKNOWN, Unknown, decoded, fields, message, mistake, number, text

Call = Callable[[bytes, Any], bytes]
LEGACY = 1
"""Terraform then holds a plan to less, as it does with most resources of Google's provider."""


def encoded(value: Any) -> bytes:
    import msgpack

    def other(thing: object) -> Any:
        assert isinstance(thing, Unknown)
        return msgpack.ExtType(0, b"\0")

    return message(1, msgpack.packb(value, default=other))


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
    return next((of[key] for key in ("account_id", "secret_id", "name", "service") if isinstance(of.get(key), str)), "")


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
    "google_storage_bucket", "google_cloud_tasks_queue", "google_service_account", "google_cloudfunctions2_function",
    "google_cloud_scheduler_job", "google_logging_metric",
}  # fmt: skip
"""What has a name that nothing else in the project may have."""


def read_lines(variable: str) -> list[str]:
    path = Path(os.environ.get(variable) or os.devnull)
    return path.read_text(encoding="utf-8").splitlines() if path.exists() else []


def exists(kind: str, name: str) -> bool:
    changes = [one for one in map(json.loads, read_lines("UNSTICK_FAKE_CLOUD")) if (one["type"], one["name"]) == (kind, name)]
    return kind in UNIQUE and bool(changes) and changes[-1]["did"] != "delete"


class Lifecycle:
    def __init__(self, schemas: dict[str, Any], data: dict[str, Any]) -> None:
        self.schemas, self.data = schemas, data

    def calls(self) -> dict[str, Call]:
        return {
            "UpgradeResourceState": self.upgrade,
            "ReadResource": lambda request, _: message(1, dict(fields(request))[2]),
            "PlanResourceChange": self.plan,
            "ApplyResourceChange": self.apply,
            "ImportResourceState": self.take,
            "ReadDataSource": self.read_data,
        }

    def upgrade(self, request: bytes, _context: object) -> bytes:
        """A state is read as it was written; what it leaves out is empty."""
        asked = dict(fields(request))
        state = json.loads(dict(fields(asked[3]))[1])
        return message(1, message(2, json.dumps(empty(self.schemas[asked[1].decode()]["block"]) | state).encode()))

    def read_data(self, request: bytes, _context: object) -> bytes:
        """A version of a secret, without its value."""
        asked = dict(fields(request))
        kind, config = asked[1].decode(), decoded(asked[2])
        name = f"projects/555/secrets/{config['secret']}"
        if config["secret"] not in read_lines("UNSTICK_FAKE_SECRETS"):
            said = f"googleapi: Error 404: Secret [{name}] not found or has no versions."
            return message(2, mistake([], f"error retrieving available secret manager secret versions: {said}"))
        version = {"id": f"{name}/versions/1", "name": f"{name}/versions/1", "version": config["version"] or "1", "enabled": True}
        return message(1, encoded(empty(self.data[kind]["block"]) | config | version))

    def plan(self, request: bytes, _context: object) -> bytes:
        asked = dict(fields(request))
        before, proposed = decoded(asked[2]), decoded(asked[3])
        if proposed is not None and before is None:
            proposed = fill(self.schemas[asked[1].decode()]["block"], proposed, unknown_where_unset)
        known = {name: value for name, value in (before or {}).items() if value is not None}  # of an import it is not much
        changed = [name for name in FIXED if proposed and name in known and known[name] != proposed.get(name)]
        anew = b"".join(message(2, message(1, text(1, name))) for name in changed)
        return message(1, encoded(proposed)) + anew + number(5, LEGACY)

    def apply(self, request: bytes, _context: object) -> bytes:
        asked = dict(fields(request))
        kind, before, planned = asked[1].decode(), decoded(asked[2]), decoded(asked[3])
        of = planned or before
        own = named(of)
        if planned is not None and before is None:
            said = f"Error 409: {kind} {own} already exists" if exists(kind, own) else ""
            said = "Build failed" if f"{kind}:{own}" in read_lines("UNSTICK_FAKE_FAILS") else said
            if said:
                return message(1, encoded(None)) + message(3, mistake([], said)) + number(4, LEGACY)
        did = "create" if before is None else "delete" if planned is None else "update"
        if path := os.environ.get("UNSTICK_FAKE_CLOUD"):
            with Path(path).open("a", encoding="utf-8") as log:
                log.write(json.dumps({"did": did, "type": kind, "name": own}) + "\n")
        after = fill(self.schemas[kind]["block"], planned, given_out(kind, of)) if planned is not None else None
        return message(1, encoded(after)) + number(4, LEGACY)

    def take(self, request: bytes, _context: object) -> bytes:
        """Import: an existing thing with the id that was asked for."""
        asked = dict(fields(request))
        kind, identity = asked[1].decode(), asked[2].decode()
        imported = empty(self.schemas[kind]["block"])
        imported["id"] = identity
        for name in ("name", "secret_id", "account_id"):
            if name in imported:
                imported[name] = identity.rsplit("/", 1)[-1]
        return message(1, text(1, kind) + message(2, encoded(imported)))
