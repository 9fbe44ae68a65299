"""Documents as JSON, and back. Documents of a newer release are left alone."""

from __future__ import annotations

from typing import TypeVar

import msgspec
from msgspec.structs import replace

from functions.application.decoding import decoder
from functions.domain.model.codes import VERSION
from functions.domain.model.incidents import Document
from functions.runtime.errors import Denied
from functions.runtime.text import Text

T = TypeVar("T")


def encode(document: object) -> bytes:
    """A Struct of the model as JSON, in the form and with the version of this release."""
    return msgspec.json.encode(replace(document, version=VERSION) if isinstance(document, Document) else document)


def decode(kind: type[T], body: bytes, name: str) -> T:
    """The Struct of a stored JSON text. Missing fields get their defaults, unknown ones are ignored.

    Raises Denied if the text has a newer version, or is not such a document.
    """
    try:
        value: T = decoder(kind).decode(body)
    except (msgspec.ValidationError, msgspec.DecodeError, RecursionError) as error:
        version = _version(body)
        if version > VERSION:
            raise _newer_release(name, version) from None
        raise Denied(
            "store",
            Text("the document {name} can't be read: {error}", name=name, error=str(error)),
            code="document",
            remedy=Text("Check it, and move it away if it is broken: its target then starts afresh."),
        ) from None
    version = getattr(value, "version", VERSION)
    if version > VERSION:
        raise _newer_release(name, version)
    return value


def _version(body: bytes) -> int:
    try:
        value = msgspec.json.decode(body)
    except (msgspec.DecodeError, RecursionError):
        return 0
    version = value.get("version") if isinstance(value, dict) else 0
    return version if isinstance(version, int) else 0


def _newer_release(name: str, version: int) -> Denied:
    return Denied(
        "store",
        Text(
            "the document {name} was written by a newer release (version {version}; this release reads up to {known})",
            name=name,
            version=version,
            known=VERSION,
        ),
        code="newer",
        remedy=Text("Deploy the newer release again, or let it finish the incident first."),
    )
