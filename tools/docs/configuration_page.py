"""Writes docs/configuration.md and unstick.schema.json from the types that read the file."""

from __future__ import annotations

import ast
import inspect
import json
from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any

from msgspec.structs import fields

from functions.config.keys import SPECIAL, File, Grafana, StormKeys, SymptomKeys
from functions.config.kinds import Kind, spelled
from functions.config.reading import NONE_SPECIAL, Key, Special, keys
from functions.config.settings import Annotations, Auth, Basic, Bearer, Hmac, Report
from functions.domain.model.runbooks import Limits, Recovered, Restart, Runbook, Verify
from functions.runtime import registry
from tools.docs.configuration_words import EXPLAINED, INTRODUCTION, MISTAKES, SECTIONS, WORDS

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "configuration.md"
SCHEMA = ROOT / "unstick.schema.json"
EXAMPLE = ROOT / "unstick.yaml"
TITLES: dict[type, str] = {
    File: "The top of the file",
    Grafana: "grafana",
    Annotations: "grafana.annotations",
    Auth: "grafana.auth",
    Hmac: "grafana.auth.hmac",
    Basic: "grafana.auth.basic",
    Bearer: "grafana.auth.bearer",
    StormKeys: "storm",
    Report: "report",
    Runbook: "runbooks[]",
    Restart: "runbooks[].restart",
    SymptomKeys: "runbooks[].symptom.KIND",
    Recovered: "runbooks[].recovered",
    Verify: "runbooks[].verify",
    Limits: "runbooks[].limits",
}
ROOMS = {
    "runners": "Key at the top of the file; exactly one.",
    "symptoms": "Key at the top of the file; at least one.",
    "stores": "Under `store:`.",
    "schedulers": "Under `scheduler:`.",
    "chats": "A channel's `type:`, with these keys beside it.",
}


def field_words(made: type) -> dict[str, str]:
    """What each field means: from WORDS, else from the text that stands below the field in its class."""
    (found_class,) = ast.parse(inspect.getsource(made).strip()).body
    body = found_class.body if isinstance(found_class, ast.ClassDef) else []
    found = {name: text for above, below in pairwise(body) if (name := _field(above)) and (text := _text(below))}
    return found | {one.name: WORDS[made.__name__, one.name] for one in fields(made) if (made.__name__, one.name) in WORDS}


def _field(statement: ast.stmt) -> str:
    return statement.target.id if isinstance(statement, ast.AnnAssign) and isinstance(statement.target, ast.Name) else ""


def _text(statement: ast.stmt) -> str:
    value = statement.value if isinstance(statement, ast.Expr) else None
    return " ".join(value.value.split()) if isinstance(value, ast.Constant) and isinstance(value.value, str) else ""


# --- the schema -----------------------------------------------------------------------------------------------------------


def schema() -> dict[str, Any]:
    """JSON Schema of the file, for editors. What several keys need together only config.py can tell."""
    top = _object(File, SPECIAL)
    for kind in ("runners", "symptoms"):
        for name in registry.adapter_names(kind):
            top["properties"][name] = _room(kind, name)
    one_of = [{"required": [name]} for name in registry.adapter_names("runners")]
    any_of = [{"required": [name]} for name in registry.adapter_names("symptoms")]
    dialect = "https://json-schema.org/draft/2020-12/schema"
    return {"$schema": dialect, "title": "unstick.yaml", **top, "oneOf": one_of, "anyOf": any_of}


def _object(made: type, special: Special) -> dict[str, Any]:
    words, known = field_words(made), keys(made, special)
    properties = {name: _described(_filled(key.kind.schema), words.get(key.field, ""), key) for name, key in known.items()}
    required = [name for name, key in known.items() if key.required]
    return {"type": "object", "additionalProperties": False, "required": required, "properties": properties}


def _described(made: dict[str, Any], words: str, key: Key) -> dict[str, Any]:
    default = _plain_default(key)
    return {**({"description": words} if words else {}), **made, **({} if default is None else {"default": default})}


def _plain_default(key: Key) -> Any:
    if key.field.endswith("_s") and isinstance(key.default, float):
        return spelled(key.default)
    return key.default if isinstance(key.default, str | int | float) and key.default != "" else None


def _filled(part: Any) -> Any:
    """A kind's schema with what its marks stand for."""
    if isinstance(part, list):
        return [_filled(one) for one in part]
    if not isinstance(part, Mapping):
        return part
    if "struct" in part:
        return _object(part["struct"], SPECIAL)
    if "symptoms" in part:
        return _exactly_one({name: _object(part["symptoms"], SPECIAL) for name in registry.adapter_names("symptoms")})
    if part.get("rooms") == "chats":
        return {"oneOf": [_chat(name) for name in registry.adapter_names("chats")]}
    if "rooms" in part:
        return _exactly_one({name: _room(part["rooms"], name) for name in registry.adapter_names(part["rooms"])})
    return {name: _filled(one) for name, one in part.items()}


def _exactly_one(properties: dict[str, Any]) -> dict[str, Any]:
    return {"type": "object", "additionalProperties": False, "minProperties": 1, "maxProperties": 1, "properties": properties}


def _room(kind: str, name: str) -> dict[str, Any]:
    return _object(registry.load_adapter(kind, name).Settings, NONE_SPECIAL)


def _chat(name: str) -> dict[str, Any]:
    made = _room("chats", name)
    return {**made, "required": ["type", *made["required"]], "properties": {"type": {"const": name}, **made["properties"]}}


# --- the page -------------------------------------------------------------------------------------------------------------


def page() -> str:
    """docs/configuration.md."""
    parts = [INTRODUCTION, f"```yaml\n{EXAMPLE.read_text(encoding='utf-8')}```\n", EXPLAINED]
    for made, title in TITLES.items():
        said = f"{SECTIONS[title]}\n\n" if title in SECTIONS else ""
        parts.append(f"## {title}\n\n{said}{_table(made, SPECIAL)}")
    for kind, where in ROOMS.items():
        parts.append(f"## {kind.capitalize()}\n\n{where}\n")
        parts += [_room_section(kind, name) for name in registry.adapter_names(kind)]
    return "\n".join([*parts, MISTAKES])


def _room_section(kind: str, name: str) -> str:
    made = registry.load_adapter(kind, name).Settings
    said = " ".join((inspect.getdoc(made) or "").split())
    return f"### {name}\n\n{said}\n\n{_table(made, NONE_SPECIAL)}" if fields(made) else f"### {name}\n\n{said}\n"


def _table(made: type, special: Special) -> str:
    words = field_words(made)
    rows = ["| key | written as | default | meaning |", "| --- | --- | --- | --- |"]
    for name, key in keys(made, special).items():
        cells = (f"`{name}`", _written(key.kind), _default(key), words.get(key.field, ""))
        rows.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    return "\n".join(rows) + "\n"


def _written(kind: Kind) -> str:
    plain = (kind.schema.get("anyOf") or [kind.schema])[0].get("struct")  # itself, or what may be null
    if plain is None:
        return "a list of mappings, see runbooks[]" if kind.schema.get("items") == {"struct": Runbook} else kind.words
    return f"see {TITLES[plain]}"


def _default(key: Key) -> str:
    """As it is written in the file."""
    if key.required:
        return "required"
    value = key.default
    if isinstance(value, float) and key.field.endswith("_s"):
        return f"`{spelled(value)}`"
    if key.field == "max_body":
        return f"`{value // 1024 // 1024}MiB`"
    if key.field == "restarts":
        return "`{" + ", ".join(f"{spelled(window_s)}: {count}" for window_s, count in value) + "}`"
    if value is None or value in ("", (), {}) or type(value) in TITLES:
        return ""
    return f"`{value}`"


def main() -> None:
    """Write both files."""
    PAGE.parent.mkdir(exist_ok=True)
    PAGE.write_text(page(), encoding="utf-8")
    SCHEMA.write_text(json.dumps(schema(), indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
