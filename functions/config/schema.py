"""The JSON Schema of the types. A format of formats.py and our keyword `adapters` say more than the type."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import msgspec

from functions.config.formats import FORMATS, STRUCTS
from functions.config.settings import File
from functions.runtime import registry

Schema = Mapping[str, Any]


@lru_cache
def schema_of(struct: type) -> Schema:
    """The schema of a struct, with those of its parts in their places. An unknown key is a mistake."""
    schema = msgspec.json.schema(struct)
    written: Schema = _written(schema, schema["$defs"])
    return written


def adapter_schema(kind: str, name: str) -> Schema:
    """The keys of one adapter; of a symptom, those in a runbook are `runbook/symptoms`."""
    if kind == "runbook/symptoms":
        return schema_of(registry.load_adapter("symptoms", name).Symptom)
    return schema_of(registry.load_adapter(kind, name).Settings)


@lru_cache
def file_schema() -> Schema:
    """The schema of the whole file: the runner and the symptoms have keys of their own at its top."""
    top = schema_of(File)
    systems = {name: adapter_schema(kind, name) for kind in ("runners", "symptoms") for name in registry.adapter_names(kind)}
    return {**top, "properties": {**top["properties"], **systems}}


def describe(schema: Schema) -> str:
    """How a value is written, for people."""
    if "anyOf" in schema:
        return f"{describe(schema['anyOf'][0])}, or null"
    if "format" in schema:
        return FORMATS[schema["format"]].words
    if "enum" in schema:
        return "one of " + ", ".join(schema["enum"])
    if "adapters" in schema:
        kind = schema["adapters"].rpartition("/")[2]
        names = registry.adapter_names(kind)
        return (
            f"{{type: {'|'.join(names)}, ...}}" if kind == "chats" else f"{{NAME: {{...}}}} with NAME one of {', '.join(names)}"
        )
    if schema.get("type") == "array":
        return f"a list, each {describe(schema['items'])}"
    if schema.get("type") == "integer":
        low, high = schema["minimum"], schema.get("maximum")
        return f"a whole number of {low} or more" if high is None else f"a whole number from {low} to {high}"
    words = {"boolean": "true or false", "number": "a number of 0 or more"}
    return words.get(schema.get("type", ""), "a mapping, its keys below it or in {...}")


def _written(part: Any, structs: Schema) -> Any:
    if isinstance(part, list):
        return [_written(one, structs) for one in part]
    if not isinstance(part, dict):
        return part
    if "adapters" in part:
        return {"adapters": part["adapters"]}
    part = {key: value for key, value in part.items() if key not in ("$defs", "title")}
    if name := part.pop("$ref", "").rpartition("/")[2]:
        struct = {"format": STRUCTS[name]} if name in STRUCTS else structs[name]
        return {**_written(struct, structs), **part}
    if part.get("type") == "string" and not part.keys() & {"format", "enum"}:
        part["format"] = "optional-text" if part.get("default") == "" else "text"
    if "format" in part:
        kept = {key: part[key] for key in ("format", "minimum", "maximum", "default") if key in part}
        return {**FORMATS[part["format"]].schema, **kept}
    if "properties" in part:
        properties = {key: _written(value, structs) for key, value in part.pop("properties").items()}
        return {**part, "properties": properties, "additionalProperties": False}
    if part.get("type") == "integer":
        part.setdefault("minimum", 0)
    plain = ("default", "enum", "required")
    return {key: value if key in plain else _written(value, structs) for key, value in part.items()}
