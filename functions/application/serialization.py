"""Encodes documents as JSON, as their structs are typed, and decodes them. Refuses documents of a newer release."""

from typing import TypeVar

import msgspec

from functions.domain.model.codes import VERSION
from functions.runtime.errors import Denied
from functions.runtime.structs import convert
from functions.runtime.text import Text

T = TypeVar("T")


def encode(document: object) -> bytes:
    """Encode a Struct of the model as JSON."""
    return msgspec.json.encode(document)


def decode(kind: type[T], body: bytes, name: str) -> T:
    """Decode a stored Struct: defaults for missing fields, unknown ones ignored. Raises Denied for a newer or broken document."""
    try:
        raw = msgspec.json.decode(body)
        version = raw.get("version") if isinstance(raw, dict) else None
        if isinstance(version, int) and version > VERSION:
            raise _newer_release(name, version)
        return convert(raw, kind)
    except (msgspec.ValidationError, msgspec.DecodeError, RecursionError) as error:
        detail = Text("the document {name} can't be read: {error}", name=name, error=str(error))
        remedy = Text("Check it, and move it away if it is broken: its target then starts afresh.")
        raise Denied("store", detail, remedy=remedy) from None


def _newer_release(name: str, version: int) -> Denied:
    detail = Text(
        "the document {name} was written by a newer release (version {version}; this release reads up to {known})",
        name=name,
        version=version,
        known=VERSION,
    )
    remedy = Text("Deploy the newer release again, or let it finish the incident first.")
    return Denied("store", detail, remedy=remedy)
