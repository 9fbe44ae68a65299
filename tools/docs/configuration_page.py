"""Writes docs/configuration.md and unstick.schema.json from the types that read the file."""

import ast
import inspect
import json
from collections.abc import Container, Iterable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any, get_args

from msgspec import Struct
from msgspec.structs import fields

from functions.config.formats import show_duration
from functions.config.settings import File, adapter_names, load_adapter
from functions.config.validation import describe, expand_adapters, schema_of
from functions.runtime.text import languages

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "configuration.md"
SCHEMA = ROOT / "unstick.schema.json"
TEXT = Path(__file__).with_name("configuration_text.txt")
KINDS = {
    "runners": "Exactly one, at the top of the file.",
    "symptoms": "At least one, at the top of the file.",
    "stores": "Under `store:`.",
    "schedulers": "Under `scheduler:`.",
    "chats": "A channel's `type:`, with these keys beside it.",
}
SECTIONS = {
    "": "[Runners](#runners) and [symptoms](#symptoms) are keys here too. In parentheses: how to write it; its default.",
    "runbooks[]": "The first runbook that matches takes the alert. The times under `verify` count from the end of the restart.",
}
WORDS = {
    "integer": "number",
    "boolean": "boolean",
    "text": "text",
    "optional-text": "text",
    "name": "name",
    "duration": "duration",
    "secret": "secret",  # pragma: allowlist secret
    "base-url": "URL",
    "link": "URL",
    "moment": "RFC 3339 time",
    "header": "header name",
    "approver": "ID",
    "time-zone": "time zone",
    "template": "template",
    "evidence-template": "template",
    "argument": "argument",
    "matcher": "matcher",
    "pattern": "RE2 pattern",
    "pattern-anywhere": "RE2 pattern",
    "windows": "windows",
}
"""Formats in a word or two; the others are described in full."""
ANY_TEXT = {"type": ["string", "number", "boolean"]}
TEMPLATE = {**ANY_TEXT, "minLength": 1, "maxLength": 1024}
EDITOR: dict[str, dict[str, Any]] = {
    "integer": {"type": "integer"},
    "boolean": {"type": "boolean"},
    "text": {**ANY_TEXT, "minLength": 1},
    "optional-text": ANY_TEXT,
    "name": {**ANY_TEXT, "maxLength": 80},
    **dict.fromkeys(("template", "evidence-template", "argument"), TEMPLATE),
    "duration": {"type": ["string", "number"], "pattern": r"^\d+(\.\d+)?\s?[smhd]?$"},
    "secret": {"pattern": "^(env|file|sm)://.+"},
    "base-url": {"format": "uri", "pattern": "^https?://"},
    "link": {"format": "uri"},
    "language": {"enum": list(languages())},
    "clock": {"pattern": r"^\d\d:\d\d$"},
}
"""The part of a format that an editor can check. Editors parse YAML themselves, so 2026 is a number there."""


def documented(struct: type) -> dict[str, Any]:
    """The schema of a struct, with the docstrings of its fields as descriptions, and defaults as written in the file."""
    schema = json.loads(json.dumps(schema_of(struct)))
    _add_words(schema, struct)
    return schema


def _add_words(schema: dict[str, Any], struct: type) -> None:
    words = field_words(struct)
    for field in fields(struct):
        key = schema["properties"][field.encode_name]
        inner = key.get("items") or _values(key) or key
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


def _values(key: dict[str, Any]) -> dict[str, Any]:
    """The keys of each value, if it is a mapping of structs; else empty."""
    values = key.get("additionalProperties")
    return values if isinstance(values, dict) and _has_own_keys(values) else {}


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
        case "windows":
            return {show_duration(window_s): count for window_s, count in value}
    return value if isinstance(value, str | int | float) and value != "" else None


def field_words(struct: type) -> dict[str, str]:
    """The meaning of each field: its docstring, in its class or a base class."""
    if struct is Struct:
        return {}
    (class_,) = ast.parse(inspect.getsource(struct).strip()).body
    body = class_.body if isinstance(class_, ast.ClassDef) else []
    return field_words(struct.__mro__[1]) | {
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
    """JSON Schema of the file, for editors. Unstick itself also checks what several keys need together."""
    top = _for_editors(documented(File))
    systems = {kind: {name: _settings(kind, name) for name in adapter_names(kind)} for kind in ("runners", "symptoms")}
    top["properties"] |= {name: settings for named in systems.values() for name, settings in named.items()}
    one_of = [{"required": [name]} for name in systems["runners"]]
    any_of = [{"required": [name]} for name in systems["symptoms"]]
    dialect = "https://json-schema.org/draft/2020-12/schema"
    return {"$schema": dialect, "title": "unstick.yaml", **top, "oneOf": one_of, "anyOf": any_of}


def _settings(kind: str, name: str) -> dict[str, Any]:
    return _for_editors(documented(_keys(kind, name)))


def _keys(kind: str, name: str) -> type:
    """The struct of an adapter's keys. `runbook/symptoms` stands for the keys of a symptom in a runbook."""
    if kind == "runbook/symptoms":
        return load_adapter("symptoms", name).Keys
    return load_adapter(kind, name)


def _for_editors(part: Any) -> Any:
    if isinstance(part, list):
        return [_for_editors(one) for one in part]
    if not isinstance(part, dict):
        return part
    if kind := part.get("adapters"):
        names = adapter_names(kind.rpartition("/")[2])
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
    """docs/configuration.md: the text with its lists inserted."""
    lists = [*_lists(documented(File))]
    for kind, where in KINDS.items():
        lists.append(f"## {kind.capitalize()}\n\n{where}\n")
        if kind not in ("runners", "symptoms"):
            lists.append(_short_list(kind))
            continue
        for name in adapter_names(kind):
            lists.append(f"### {name}\n")
            lists.append(_list(_rows(documented(_keys(kind, name)))))
            if kind == "symptoms":
                own = _list(_rows(documented(_keys("runbook/symptoms", name))))
                lists.append(f"In a runbook, under `symptom: {{{name}: ...}}`:\n\n{own}")
    return TEXT.read_text(encoding="utf-8").replace("LISTS\n", "\n".join(lists))


def _lists(schema: dict[str, Any]) -> Iterator[str]:
    """A list of the top-level keys, and one for each section; deeper keys are dotted."""
    parts = {}
    for name, key in schema["properties"].items():
        title, inner = (f"{name}[]", key["items"]) if "items" in key else (name, key)
        if _has_own_keys(inner):
            parts[title] = inner
    yield f"## The top of the file\n\n{SECTIONS['']}\n\n{_list(_rows(schema, parts))}"
    for title, inner in parts.items():
        said = f"{SECTIONS[title]}\n\n" if title in SECTIONS else ""
        yield f"## {title}\n\n{said}{_list(_rows(inner))}"


def _rows(schema: dict[str, Any], parts: Container[str] = (), prefix: str = "") -> Iterator[tuple[str, str, str]]:
    for name, key in schema["properties"].items():
        optional = "default" not in key and name not in schema["required"] and key.get("required")  # else its keys say it all
        if not _has_own_keys(key) or name in parts or optional:
            yield f"`{prefix}{name}`", _value(schema, name), key["description"]
        if _has_own_keys(key) and name not in parts:
            yield from _rows(key, parts, f"{prefix}{name}.")
        if "items" in key and _has_own_keys(key["items"]) and f"{name}[]" not in parts:
            yield from _rows(key["items"], parts, f"{prefix}{name}[].")
        if values := _values(key):
            yield from _rows(values, parts, f"{prefix}{name}.NAME.")


def _list(rows: Iterable[tuple[str, str, str]]) -> str:
    return "".join(f"- {key} ({value}): {meaning}\n" for key, value, meaning in rows)


def _short_list(kind: str) -> str:
    """One line for each adapter, where adapters have few keys."""
    rows = []
    for name in adapter_names(kind):
        settings = load_adapter(kind, name)
        schema = documented(settings)
        words = [" ".join((inspect.getdoc(settings) or "").split())]
        words += [
            f"`{key}` ({_value(schema, key)}): {one['description']}"
            for key, one in schema["properties"].items()
            if one["description"]
        ]
        rows.append(f"- `{name}`: {' '.join(words)}")
    return "\n".join(rows) + "\n"


def _value(schema: dict[str, Any], name: str) -> str:
    """How the key's value is written, and its default."""
    key = schema["properties"][name]
    if name in schema["required"]:
        return f"{_written(key, name)}, **required**"
    default = _shown(key.get("default"))
    return f"{_written(key, name)}; {default}" if default else _written(key, name)


def _written(key: dict[str, Any], name: str) -> str:
    if _has_own_keys(key) or _values(key):
        return "mapping"
    if _has_own_keys(key.get("items", {})):
        return f"[list](#{name})" if name == "runbooks" else "list"
    if "items" in key:
        return _plural(key["items"]) if key["items"].get("format") in WORDS else f"list of {_plural(key['items'])}"
    if isinstance(values := key.get("additionalProperties"), dict) and "format" not in key:
        return f"mapping of {_plural(values)}"
    return _words(key)


def _plural(schema: dict[str, Any]) -> str:
    return _words(schema) + ("s" if schema.get("format") in WORDS else "")


def _words(schema: dict[str, Any]) -> str:
    """The name of a value's format, as explained at the top of the page, with its bounds."""
    form = schema.get("format", "")
    if "adapters" in schema:
        kind = schema["adapters"].rpartition("/")[2]
        return f"[{kind}](#{kind})"
    if form not in WORDS:
        return describe(schema)
    low, high = (schema.get(bound) for bound in ("minimum", "maximum"))
    show = show_duration if form == "duration" else str
    bounds = f" {show(low)}–{show(high)}" if low is not None and high is not None else f" ≥ {show(low)}" if low else ""
    return WORDS[form] + bounds


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
