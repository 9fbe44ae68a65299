"""Plan, apply, read and import of every resource, so that Terraform itself can be run to the end.

What is applied is written to the file UNSTICK_FAKE_CLOUD, one JSON object a line. UNSTICK_FAKE_FAILS names a resource
(TYPE:NAME) whose creation fails, with the message in UNSTICK_FAKE_ERROR.
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


def given_out(resource: str, of: dict[str, Any]) -> Callable[[str, Any, Any], Any]:
    """What the service decides."""
    own = next((of[key] for key in ("name", "account_id", "secret_id", "service") if isinstance(of.get(key), str)), resource)

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


class Lifecycle:
    def __init__(self, schemas: dict[str, Any]) -> None:
        self.schemas = schemas

    def calls(self) -> dict[str, Call]:
        return {
            "UpgradeResourceState": self.upgrade,
            "ReadResource": lambda request, _: message(1, dict(fields(request))[2]),
            "PlanResourceChange": self.plan,
            "ApplyResourceChange": self.apply,
            "ImportResourceState": self.take,
        }

    def upgrade(self, request: bytes, _context: object) -> bytes:
        return message(1, message(2, dict(fields(dict(fields(request))[3]))[1]))

    def plan(self, request: bytes, _context: object) -> bytes:
        asked = dict(fields(request))
        proposed = decoded(asked[3])
        if proposed is not None and decoded(asked[2]) is None:
            proposed = fill(self.schemas[asked[1].decode()]["block"], proposed, unknown_where_unset)
        return message(1, encoded(proposed)) + number(5, LEGACY)

    def apply(self, request: bytes, _context: object) -> bytes:
        asked = dict(fields(request))
        kind, before, planned = asked[1].decode(), decoded(asked[2]), decoded(asked[3])
        of = planned or before
        own = next((of[key] for key in ("name", "account_id", "secret_id", "service") if isinstance(of.get(key), str)), "")
        if planned is not None and before is None and os.environ.get("UNSTICK_FAKE_FAILS") == f"{kind}:{own}":
            return message(1, encoded(None)) + message(3, mistake([], os.environ["UNSTICK_FAKE_ERROR"])) + number(4, LEGACY)
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
        block = self.schemas[kind]["block"]
        empty: dict[str, Any] = dict.fromkeys(block.get("attributes", {}))
        empty |= {name: [] for name, nested in block.get("block_types", {}).items() if nested["nesting_mode"] in ("list", "set")}
        empty |= {name: None for name, nested in block.get("block_types", {}).items() if nested["nesting_mode"] == "single"}
        empty["id"] = identity
        for name in ("name", "secret_id", "account_id"):
            if name in empty:
                empty[name] = identity.rsplit("/", 1)[-1]
        return message(1, text(1, kind) + message(2, encoded(empty)))
