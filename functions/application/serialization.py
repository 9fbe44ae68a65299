"""Encodes documents as JSON, and decodes them. Refuses documents of a newer release.

The parts of an incident and of its queues are stored flat, beside the other fields. So archive records keep their shape, and
the former release can read what this one writes, during a rolling deployment and after a rollback."""

from collections.abc import Callable
from typing import Any, TypeVar

import msgspec
from msgspec.structs import replace

from functions.domain.model.codes import FIRST_VERSION, VERSION
from functions.domain.model.incidents import INCIDENT_PARTS, QUEUE_PARTS, Document
from functions.runtime.decoding import convert
from functions.runtime.errors import Denied
from functions.runtime.text import Text

T = TypeVar("T")


PARTS = (*INCIDENT_PARTS, *QUEUE_PARTS)  # fields of incidents and queues that are stored flat
Reshape = Callable[[dict[str, Any]], dict[str, Any]]


def encode(document: object) -> bytes:
    """Encode a Struct of the model as JSON, in this release's form and version."""
    return msgspec.json.encode(to_stored(replace(document, version=VERSION) if isinstance(document, Document) else document))


def to_stored(value: object) -> Any:
    """Convert a Struct of the model to JSON values in the stored form."""
    return _reshape(msgspec.to_builtins(value), _flatten)


def _flatten(value: dict[str, Any]) -> dict[str, Any]:
    flat = {key: one for key, one in value.items() if key not in PARTS}
    for part in PARTS:
        flat |= value.get(part, {})
    return flat


def _nest(value: dict[str, Any]) -> dict[str, Any]:
    """Offer all fields to each part: fields are stored flat, and a part ignores those that it doesn't have."""
    return value | dict.fromkeys(PARTS, value)


def _reshape(value: Any, reshape: Reshape) -> Any:
    """Reshape the incidents and queues in a document, archive record, incident or escalation."""
    if not isinstance(value, dict):
        return value
    value = dict(value)
    for name in ("incident", "escalation"):
        if name in value:
            value[name] = _reshape(value[name], reshape)
    for name in ("to_archive", "queues"):
        if isinstance(value.get(name), list | tuple):
            value[name] = [_reshape(one, reshape) for one in value[name]]
    return reshape(value)


def decode(kind: type[T], body: bytes, name: str) -> T:
    """Decode a stored Struct: defaults for missing fields, unknown ones ignored. Raises Denied for a newer or broken document."""
    try:
        return _decode(kind, body, name)
    except (msgspec.ValidationError, msgspec.DecodeError, RecursionError) as error:
        detail = Text("the document {name} can't be read: {error}", name=name, error=str(error))
        remedy = Text("Check it, and move it away if it is broken: its target then starts afresh.")
        raise Denied("store", detail, remedy=remedy) from None


def _decode(kind: type[T], body: bytes, name: str) -> T:
    raw = msgspec.json.decode(body)
    version = raw.get("version") if isinstance(raw, dict) else None
    if isinstance(version, int) and version > VERSION:
        raise _newer_release(name, version)
    try:
        return convert(_reshape(raw, _nest), kind)
    except msgspec.ValidationError:
        if version not in (None, FIRST_VERSION):
            raise
        return convert(_reshape(_upgrade(raw), _nest), kind)


def _upgrade(value: Any) -> Any:
    """Upgrade JSON of version 1 to today's queues: its only symptom was RabbitMQ's."""
    if isinstance(value, list):
        return [_upgrade(one) for one in value]
    if not isinstance(value, dict):
        return value
    if not {"vhost", "name"} <= value.keys():
        return {key: _upgrade(one) for key, one in value.items()}
    kind, vhost, queue = value.get("kind", "rabbitmq"), value["vhost"], value["name"]
    name = queue if vhost == "/" else f"{queue} (vhost {vhost})"
    return {"kind": kind, "key": f"{kind}:{vhost}:{queue}", "name": name, "keys": {"vhost": vhost, "queue": queue}}


def _newer_release(name: str, version: int) -> Denied:
    detail = Text(
        "the document {name} was written by a newer release (version {version}; this release reads up to {known})",
        name=name,
        version=version,
        known=VERSION,
    )
    remedy = Text("Deploy the newer release again, or let it finish the incident first.")
    return Denied("store", detail, remedy=remedy)
