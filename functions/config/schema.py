"""Builds the JSON Schema of unstick.yaml from the types and the formats of formats.py.

Every scalar is a text here, as it stands in the file, and has a format. The keyword `adapters` stands for the keys of whichever
adapter the file names there."""

from collections.abc import Mapping
from functools import lru_cache
from types import MappingProxyType
from typing import Any

import msgspec

from functions.config import registry
from functions.config.formats import FORMATS, STRUCTS, show_duration
from functions.config.settings import File

Schema = Mapping[str, Any]


@lru_cache
def schema_of(struct: type) -> Schema:
    """The schema of a struct, with those of its parts inlined. Unknown keys are mistakes."""
    schema = msgspec.json.schema(struct)
    return _written({"$ref": schema["$ref"]}, schema["$defs"])


def adapter_schema(kind: str, name: str) -> Schema:
    """The keys of one adapter. `runbook/symptoms` stands for the keys of a symptom in a runbook."""
    if kind == "runbook/symptoms":
        return schema_of(registry.load_adapter("symptoms", name).Keys)
    return schema_of(registry.load_adapter(kind, name))


@lru_cache
def file_schema() -> Schema:
    """The schema of the whole file, including the top-level keys of the runner and the symptoms."""
    top = schema_of(File)
    systems = {name: adapter_schema(kind, name) for kind in ("runners", "symptoms") for name in registry.adapter_names(kind)}
    return {**top, "properties": {**top["properties"], **systems}}


def describe(schema: Schema) -> str:
    """Describe to people how a value is written."""
    if "format" in schema:
        words = FORMATS[schema["format"]].words + _describe_bounds(schema)
    elif "enum" in schema:
        words = "one of " + ", ".join(schema["enum"])
    elif "adapters" in schema:
        return describe(expand_adapters(schema["adapters"]))
    elif "maxProperties" in schema:
        words = f"{{NAME: {{...}}}} with NAME one of {', '.join(schema['properties'])}"
    elif "allOf" in schema:
        words = f"{{type: {'|'.join(schema['properties']['type']['enum'])}, ...}}"
    elif "items" in schema:
        words = f"a list, each {describe(schema['items'])}"
    else:
        words = "a mapping, its keys below it or in {...}"
    return f"{words}, or null" if "null" in schema.get("type", ()) else words


def _describe_bounds(schema: Schema) -> str:
    show = show_duration if schema["format"] == "duration" else str
    match schema:
        case {"minimum": low, "maximum": high}:
            return f" from {show(low)} to {show(high)}"
        case {"minimum": low}:
            return f" of {show(low)} or more"
    return ""


def _written(part: Schema, structs: Schema) -> dict[str, Any]:
    if "adapters" in part:
        return {"adapters": part["adapters"]}
    if "anyOf" in part:  # a type or null; flat, so that mistakes are reported for the type alone
        inner = _written(part["anyOf"][0], structs)
        return {**inner, "type": [inner["type"], "null"], "default": part["default"]}
    name = part.get("$ref", "").rpartition("/")[2]
    whole = {**({"format": STRUCTS[name]} if name in STRUCTS else structs.get(name, {})), **part}
    part = {key: value for key, value in whole.items() if key not in ("$ref", "title")}
    match part:
        case {"format": form}:
            kept = {key: part[key] for key in ("format", "minimum", "maximum", "default") if key in part}
            part = dict(FORMATS[form].schema) | kept
        case {"properties": properties}:
            part["properties"] = {key: _written(one, structs) for key, one in properties.items()}
            part["additionalProperties"] = False
        case {"items": one}:
            part["items"] = _written(one, structs)
        case {"additionalProperties": one}:
            part["additionalProperties"] = _written(one, structs)
        case {"type": "string"}:
            part["format"] = "optional-text" if part.get("default") == "" else "text"
        case {"type": scalar}:
            least = {"minimum": 0} if scalar == "integer" else {}
            part = {**least, **part, "type": "string", "format": scalar}
    return part


def expand_adapters(kind: str, named: Mapping[str, Schema] = MappingProxyType({})) -> dict[str, Any]:
    """The schema of one adapter: a chat has a key `type` beside its own keys; others are a mapping with one key, the name.
    `named`: the adapters whose keys are included; the others are listed by name only, and not imported."""
    settings = {name: named.get(name, {}) for name in registry.adapter_names(kind.rpartition("/")[2])}
    if kind != "chats":
        one = {"properties": settings, "additionalProperties": False, "minProperties": 1, "maxProperties": 1}
        return {"type": "object", **one}
    chats = [
        {
            "if": {"type": "object", "properties": {"type": {"const": name}}, "required": ["type"]},
            "then": {**keys, "properties": {"type": {}, **keys["properties"]}},
        }
        for name, keys in settings.items()
        if keys
    ]
    return {"type": "object", "properties": {"type": {"enum": list(settings)}}, "required": ["type"], "allOf": chats}
