"""Writes docs/configuration.md and unstick.schema.json from the types that read the file."""

from __future__ import annotations

import ast
import inspect
import json
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any, get_args

from msgspec import Struct
from msgspec.structs import fields

from functions.config.formats import show_duration
from functions.config.schema import describe, expand_adapters, schema_of
from functions.config.settings import File
from functions.runtime import registry
from functions.runtime.text import languages

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "configuration.md"
SCHEMA = ROOT / "unstick.schema.json"
TEXT = Path(__file__).with_name("configuration_text.txt")
KINDS = {
    "runners": "A key at the top of the file; exactly one.",
    "symptoms": "A key at the top of the file; at least one.",
    "stores": "Under `store:`.",
    "schedulers": "Under `scheduler:`.",
    "chats": "A channel's `type:`, with these keys beside it.",
}
SECTIONS = {
    "The top of the file": "The runner (`rundeck:`) and the symptoms (`rabbitmq:`) are keys here too, see Runners and Symptoms.",
    "grafana.auth": "Any one that matches lets a request in. At least one is needed.",
    "runbooks[]": "The first runbook that matches, in this order, takes the alert.",
    "runbooks[].verify": "All times count from the end of the restart.",
}
ANY_TEXT = {"type": ["string", "number", "boolean"]}
TEMPLATE = {**ANY_TEXT, "minLength": 1, "maxLength": 1024}
EDITOR: dict[str, dict[str, Any]] = {
    "integer": {"type": "integer"},
    "number": {"type": "number"},
    "boolean": {"type": "boolean"},
    "text": {**ANY_TEXT, "minLength": 1},
    "optional-text": ANY_TEXT,
    "name": {**ANY_TEXT, "maxLength": 80},
    **dict.fromkeys(("template", "evidence-template"), TEMPLATE),
    "duration": {"type": ["string", "number"], "pattern": r"^\d+(\.\d+)?\s?[smhd]?$"},
    "size": {"type": ["string", "integer"], "pattern": r"^\d+\s?(B|KiB|MiB)?$"},
    "secret": {"pattern": "^(env|file|sm)://.+"},
    "base-url": {"format": "uri", "pattern": "^https?://"},
    "link": {"format": "uri"},
    "language": {"enum": list(languages())},
    "clock": {"pattern": r"^\d\d:\d\d$"},
}
"""What an editor can check of a format. It reads YAML by itself, where 2026 is a number."""


def documented(struct: type) -> dict[str, Any]:
    """The schema of a struct, with the text below each field as its description, and defaults as the file has them."""
    schema = json.loads(json.dumps(schema_of(struct)))
    _add_words(schema, struct)
    return schema


def _add_words(schema: dict[str, Any], struct: type) -> None:
    words = field_words(struct)
    for field in fields(struct):
        key = schema["properties"][field.encode_name]
        inner = key.get("items") or key
        for part in _structs(field.type):
            if _has_own_keys(inner):
                _add_words(inner, part)
        key["description"] = words.get(field.name, "")
        default = _default(key)
        key.pop("default", None)
        if default is not None:
            key["default"] = default


def _has_own_keys(part: dict[str, Any]) -> bool:
    """Whether it is a struct that is written as a mapping of its fields."""
    return "properties" in part and "format" not in part


def _structs(hint: Any) -> Iterator[type]:
    if isinstance(hint, type) and issubclass(hint, Struct):
        yield hint
    for inner in get_args(hint):
        yield from _structs(inner)


def _default(key: dict[str, Any]) -> Any:
    value = key.get("default")
    match key.get("format"):
        case "duration":
            return show_duration(value) if value is not None else None
        case "size":
            return f"{value // 1024 // 1024}MiB"
        case "windows":
            return {show_duration(window_s): count for window_s, count in value}
    return value if isinstance(value, str | int | float) and value != "" else None


def field_words(struct: type) -> dict[str, str]:
    """What each field means: the text below it in its class."""
    (class_,) = ast.parse(inspect.getsource(struct).strip()).body
    body = class_.body if isinstance(class_, ast.ClassDef) else []
    return {
        field.target.id: " ".join(below.value.value.split())
        for field, below in pairwise(body)
        if isinstance(field, ast.AnnAssign)
        and isinstance(field.target, ast.Name)
        and isinstance(below, ast.Expr)
        and isinstance(below.value, ast.Constant)
        and isinstance(below.value.value, str)
    }


# --- the schema -----------------------------------------------------------------------------------------------------------


def schema() -> dict[str, Any]:
    """JSON Schema of the file, for editors. Unstick itself finds more: what several keys need together."""
    top = _for_editors(documented(File))
    systems = {kind: {name: _settings(kind, name) for name in registry.adapter_names(kind)} for kind in ("runners", "symptoms")}
    top["properties"] |= {name: settings for named in systems.values() for name, settings in named.items()}
    one_of = [{"required": [name]} for name in systems["runners"]]
    any_of = [{"required": [name]} for name in systems["symptoms"]]
    dialect = "https://json-schema.org/draft/2020-12/schema"
    return {"$schema": dialect, "title": "unstick.yaml", **top, "oneOf": one_of, "anyOf": any_of}


def _settings(kind: str, name: str) -> dict[str, Any]:
    module = registry.load_adapter(kind.rpartition("/")[2], name)
    return _for_editors(documented(module.Symptom if kind == "runbook/symptoms" else module.Settings))


def _for_editors(part: Any) -> Any:
    if isinstance(part, list):
        return [_for_editors(one) for one in part]
    if not isinstance(part, dict):
        return part
    if kind := part.get("adapters"):
        names = registry.adapter_names(kind.rpartition("/")[2])
        words = {"description": part["description"]} if "description" in part else {}
        return words | expand_adapters(kind, {name: _settings(kind, name) for name in names})
    keys = {key: value if key in ("default", "enum", "required") else _for_editors(value) for key, value in part.items()}
    if isinstance(form := part.get("format"), str):
        shown = {key: value for key, value in keys.items() if key != "format"} | EDITOR.get(form, {})
        types = [shown["type"]] if isinstance(shown["type"], str) else shown["type"]
        return {**shown, "type": [*types, "null"]} if "null" in part["type"] and "null" not in types else shown
    return keys


# --- the page -------------------------------------------------------------------------------------------------------------


def page() -> str:
    """docs/configuration.md: the text, with the example and the tables in their places."""
    tables = [*_tables("The top of the file", documented(File))]
    for kind, where in KINDS.items():
        tables.append(f"## {kind.capitalize()}\n\n{where}\n")
        for name in registry.adapter_names(kind):
            module = registry.load_adapter(kind, name)
            tables.append(f"### {name}\n\n{' '.join((inspect.getdoc(module.Settings) or '').split())}\n")
            tables.append(_table(documented(module.Settings), name))
            if kind == "symptoms":
                tables.append(f"In a runbook, under `symptom: {{{name}: ...}}`:\n\n{_table(documented(module.Symptom), '')}")
    example = (ROOT / "unstick.yaml").read_text(encoding="utf-8")
    text = TEXT.read_text(encoding="utf-8")
    return text.replace("EXAMPLE\n", example).replace("TABLES\n", "\n".join(table for table in tables if table))


def _tables(title: str, schema: dict[str, Any]) -> Iterator[str]:
    said = f"{SECTIONS[title]}\n\n" if title in SECTIONS else ""
    prefix = "" if title == "The top of the file" else f"{title}."
    yield f"## {title}\n\n{said}{_table(schema, prefix.rstrip('.'))}"
    for name, key in schema["properties"].items():
        mark, inner = ("[]", key["items"]) if "items" in key else ("", key)
        if _has_own_keys(inner):
            yield from _tables(f"{prefix}{name}{mark}", inner)


def _table(schema: dict[str, Any], prefix: str) -> str:
    if not schema["properties"]:
        return ""
    rows = ["| key | written as | default | meaning |", "| --- | --- | --- | --- |"]
    for name, key in schema["properties"].items():
        default = "required" if name in schema["required"] else _shown(key.get("default"))
        cells = (f"`{name}`", _written(key, f"{prefix}.{name}".lstrip(".")), default, key["description"])
        rows.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    return "\n".join(rows) + "\n"


def _written(key: dict[str, Any], title: str) -> str:
    if _has_own_keys(key):
        return f"see {title}"
    if _has_own_keys(key.get("items", {})):
        return f"a list of mappings, see {title}[]"
    if isinstance(values := key.get("additionalProperties"), dict) and "format" not in key:
        return f"name: {describe(values)}"
    return describe(key)


def _shown(value: Any) -> str:
    if isinstance(value, dict):
        return "`{" + ", ".join(f"{key}: {one}" for key, one in value.items()) + "}`"
    return "" if value is None else f"`{str(value).lower() if isinstance(value, bool) else value}`"


def main() -> None:
    """Write both files."""
    PAGE.write_text(page(), encoding="utf-8")
    SCHEMA.write_text(json.dumps(schema(), indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
