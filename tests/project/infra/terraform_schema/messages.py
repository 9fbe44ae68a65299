"""As much of protobuf as Terraform's provider protocol 5 needs here: schemas out, configurations in."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

VARINT, BYTES = 0, 2
"""The two wire types that this protocol's messages have here."""

NESTING = {"single": 1, "list": 2, "set": 3, "map": 4, "group": 5}
SEVERITY_ERROR = 1
SERVER_CAPABILITIES, SCHEMA_ONCE = 6, 2
"""Fields of GetProviderSchema.Response and in it, by which Terraform asks for the schema once instead of for each walk."""


class Unknown:
    """A value that only the apply would tell."""

    def __repr__(self) -> str:
        return "UNKNOWN"


UNKNOWN = Unknown()

# --- out -------------------------------------------------------------------------------------------------------------------


def _varint(number: int) -> bytes:
    out = bytearray()
    while True:
        seven = number & 0x7F
        number >>= 7
        out.append(seven | (0x80 if number else 0))
        if not number:
            return bytes(out)


def number(field: int, value: int) -> bytes:
    return _varint(field << 3 | VARINT) + _varint(value) if value else b""


def message(field: int, content: bytes) -> bytes:
    return _varint(field << 3 | BYTES) + _varint(len(content)) + content


def text(field: int, value: str) -> bytes:
    return message(field, value.encode()) if value else b""


def _described(field: int, part: dict[str, Any]) -> bytes:
    return text(field, part.get("description", "")) + number(field + 1, part.get("description_kind") == "markdown")


def _attribute(name: str, part: dict[str, Any]) -> bytes:
    """Schema.Attribute. Flags go by their numbers in tfplugin5; the description's kind has one that is not beside it."""
    flags = {"required": 4, "optional": 5, "computed": 6, "sensitive": 7, "deprecated": 9, "write_only": 10}
    return b"".join(
        [
            text(1, name),
            message(2, json.dumps(part["type"]).encode()),
            text(3, part.get("description", "")),
            *(number(field, part.get(flag, False)) for flag, field in flags.items()),
            number(8, part.get("description_kind") == "markdown"),
            text(11, part.get("deprecation_message", "")),
        ]
    )


def _nested(name: str, part: dict[str, Any]) -> bytes:
    return b"".join(
        [
            text(1, name), message(2, _block(part["block"])), number(3, NESTING[part["nesting_mode"]]),
            number(4, part.get("min_items", 0)), number(5, part.get("max_items", 0)),
        ]
    )  # fmt: skip


def _block(block: dict[str, Any]) -> bytes:
    return b"".join(
        [
            *(message(2, _attribute(name, part)) for name, part in sorted(block.get("attributes", {}).items())),
            *(message(3, _nested(name, part)) for name, part in sorted(block.get("block_types", {}).items())),
            _described(4, block),
            number(6, block.get("deprecated", False)),
        ]
    )


def _schema(schema: dict[str, Any]) -> bytes:
    return number(1, schema.get("version", 0)) + message(2, _block(schema["block"]))


def schemas(provider: dict[str, Any]) -> bytes:
    """GetProviderSchema.Response."""
    out = message(1, _schema(provider.get("provider", {"block": {}})))
    for field, table in ((2, "resource_schemas"), (3, "data_source_schemas"), (8, "ephemeral_resource_schemas")):
        for name, schema in sorted(provider.get(table, {}).items()):
            out += message(field, text(1, name) + message(2, _schema(schema)))
    return out + message(SERVER_CAPABILITIES, number(SCHEMA_ONCE, 1))


def mistake(path: list[str | int], sentence: str) -> bytes:
    """A Diagnostic that is an error, with the place in the configuration that it is about."""
    steps = b"".join(message(1, text(1, step) if isinstance(step, str) else _varint(3 << 3) + _varint(step)) for step in path)
    said = number(1, SEVERITY_ERROR) + text(2, "Invalid configuration") + text(3, sentence)
    return said + (message(4, steps) if steps else b"")


# --- in --------------------------------------------------------------------------------------------------------------------


def fields(content: bytes) -> Iterator[tuple[int, Any]]:
    """(field, value) of each field of a message: a number, or bytes."""
    at = 0

    def varint() -> int:
        nonlocal at
        value = shift = 0
        while True:
            byte = content[at]
            at += 1
            value |= (byte & 0x7F) << shift
            shift += 7
            if not byte & 0x80:
                return value

    while at < len(content):
        key = varint()
        if key & 7 == VARINT:
            yield key >> 3, varint()
        elif key & 7 == BYTES:
            size = varint()
            yield key >> 3, content[at : at + size]
            at += size
        else:
            raise ValueError(f"wire type {key & 7}")


def decoded(dynamic: bytes) -> Any:
    """A DynamicValue: MessagePack, in which an extension stands for what is not known yet, or JSON."""
    import msgpack

    for field, value in fields(dynamic):
        if field == 1:
            return msgpack.unpackb(value, raw=False, strict_map_key=False, ext_hook=lambda _code, _data: UNKNOWN)
        if field == 2:
            return json.loads(value)
    return None
