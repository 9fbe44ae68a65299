"""How one value of unstick.yaml is written: read by what its place asks for, and described for people and editors."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping
from typing import Any
from urllib.parse import urlsplit

from msgspec import Struct

from functions.config.yaml_nodes import CONTROL, FAILED, Node, Reading
from functions.runtime.secrets import FORMS, SecretRef, is_reference

MONTH_S = 30 * 86400.0  # Cloud Tasks takes no wake-up further ahead
_DURATION = re.compile(r"(\d{1,9}(?:\.\d{1,6})?)\s?(s|m|h|d)?", re.ASCII)
_UNITS_S = {None: 1.0, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_WHOLE = re.compile(r"\d{1,12}", re.ASCII)
_NUMBER = re.compile(r"\d{1,12}(?:\.\d{1,6})?", re.ASCII)


class Kind(Struct, frozen=True):
    """How one value is written: words for people, the reader, and the JSON Schema for editors."""

    words: str
    read: Callable[[Node, Reading], Any]
    schema: Mapping[str, Any]
    """`struct`, `rooms` and `symptoms` stand for what config_docs.py fills in: a Struct's keys, or those of rooms."""


def _text(node: Node, reading: Reading) -> Any:
    if not isinstance(node.value, str):
        return reading.wrong(node, "is not a text", "Write one text")
    return node.value


def scalar(words: str, mistake_of: Callable[[str], str], schema: Mapping[str, Any], made: Callable[[str], Any] = str) -> Kind:
    """A kind that is written as one text. `mistake_of` returns what is wrong with a text, empty if nothing is."""

    def read(node: Node, reading: Reading) -> Any:
        found = _text(node, reading)
        if found is FAILED:
            return FAILED
        mistake = mistake_of(found)
        return reading.wrong(node, mistake, f"Write {words}") if mistake else made(found)

    return Kind(words, read, schema)


def _text_mistake(text: str) -> str:
    if not text.strip():
        return "is empty"
    if "${" in text:
        return "has a ${, which is filled in nowhere but in options, vhost and queue of a runbook"
    return "holds control characters" if CONTROL.search(text) else ""


TEXT = scalar("a text", _text_mistake, {"type": ["string", "number", "boolean"], "minLength": 1})
OPTIONAL_TEXT = scalar("a text", lambda text: _text_mistake(text) if text else "", {"type": ["string", "number", "boolean"]})
FLAG = scalar(
    "true or false",
    lambda text: "" if text in ("true", "false") else "is neither true nor false",
    {"type": "boolean"},
    lambda text: text == "true",
)


def url_mistake(text: str) -> str:
    """What is wrong with a base URL, empty if nothing is."""
    try:
        parts = urlsplit(text)
        host, _ = parts.hostname, parts.port
    except ValueError:
        return "is no URL"
    if parts.scheme not in ("http", "https") or not host or not text.isprintable() or " " in text:
        return "is no http or https URL"
    if "@" in parts.netloc:
        return "holds a user or password, which belong into keys of their own"
    return "has a query or fragment" if "?" in text or "#" in text else ""


URL = scalar(
    "a base URL such as https://host:port/path",
    url_mistake,
    {"type": "string", "format": "uri", "pattern": "^https?://"},
    lambda text: text.rstrip("/"),
)


def whole(least: int, most: int | None = None) -> Kind:
    """A whole number between two bounds, both included."""
    words = f"a whole number from {least} to {most}" if most is not None else f"a whole number of {least} or more"

    def mistake_of(text: str) -> str:
        fits = _WHOLE.fullmatch(text) and least <= int(text) and (most is None or int(text) <= most)
        return "" if fits else f"is not {words}"

    return scalar(words, mistake_of, {"type": "integer", "minimum": least} | ({} if most is None else {"maximum": most}), int)


def number(words: str) -> Kind:
    """A number of 0 or more."""
    schema = {"type": "number", "minimum": 0}
    return scalar(words, lambda text: "" if _NUMBER.fullmatch(text) else f"is not {words}", schema, float)


def seconds(text: str) -> float | None:
    """A duration (`30s`, `5m`, `1h`, `2d`, or plain seconds) in seconds; None if it is none."""
    found = _DURATION.fullmatch(text)
    return float(found[1]) * _UNITS_S[found[2]] if found else None


def duration(least_s: float, most_s: float = MONTH_S) -> Kind:
    """A duration between two bounds, both included; read as seconds."""
    words = f"a duration such as {spelled(max(least_s, min(300.0, most_s)))}"

    def mistake_of(text: str) -> str:
        found = seconds(text)
        if found is None:
            return "is not a duration (30s, 5m, 1h, 2d, or a number of seconds)"
        if not least_s <= found <= most_s:
            return f"is not between {spelled(least_s)} and {spelled(most_s)}"
        return ""

    schema = {"type": ["string", "number"], "pattern": r"^\d+(\.\d+)?\s?[smhd]?$", "minimum": least_s, "maximum": most_s}
    return scalar(words, mistake_of, schema, lambda text: seconds(text) or 0.0)


def spelled(value_s: float) -> str:
    """Seconds as they are written in the file, in the largest unit that is whole."""
    for unit, unit_s in (("d", 86400.0), ("h", 3600.0), ("m", 60.0)):
        if value_s >= unit_s and value_s % unit_s == 0 and (unit != "d" or value_s > unit_s):
            return f"{value_s / unit_s:.0f}{unit}"
    return f"{value_s:.6f}".rstrip("0").rstrip(".") + "s"


def choice(names: Collection[str], made: Callable[[str], Any] = str) -> Kind:
    """One of a few words."""
    words = "one of " + ", ".join(names)
    return scalar(words, lambda text: "" if text in names else f"is not {words}", {"enum": list(names)}, made)


def _read_secret(node: Node, reading: Reading) -> Any:
    if isinstance(node.value, str) and is_reference(node.value):
        return SecretRef(node.value)
    mistake = "has no value" if node.value in (None, "") else "is not a reference to a secret (it is not repeated here)"
    return reading.wrong(node, mistake, f"Put the secret elsewhere and write {FORMS} here")


SECRET = Kind(f"a secret: {FORMS}", _read_secret, {"type": "string", "pattern": "^(env|file|sm)://.+"})


def listing(item: Kind, least: int = 0) -> Kind:
    """A list; `least`: how many there must be."""

    def read(node: Node, reading: Reading) -> Any:
        if not isinstance(node.value, list):
            return reading.wrong(node, "is not a list", f"Write a list, each item {item.words}: [...]")
        if len(node.value) < least:
            return reading.wrong(node, "is empty", f"Name at least {least}")
        made = [item.read(one, reading) for one in node.value]
        return tuple(one for one in made if one is not FAILED)

    schema = {"type": "array", "items": item.schema, "minItems": least}
    return Kind(f"a list, each {item.words}", read, schema)


def mapped(value: Kind, key_words: str, least: int = 0) -> Kind:
    """A mapping from names that the user chooses to one kind of value."""

    def read(node: Node, reading: Reading) -> Any:
        if not isinstance(node.value, dict):
            return reading.wrong(node, "is not a mapping", f"Write {{{key_words}: {value.words}}}")
        if len(node.value) < least:
            return reading.wrong(node, "is empty", f"Name at least {least}")
        made = {key: value.read(one, reading) for key, one in node.value.items()}
        return {key: one for key, one in made.items() if one is not FAILED}

    schema = {"type": "object", "additionalProperties": value.schema, "minProperties": least}
    return Kind(f"{key_words}: {value.words}", read, schema)


def nullable(kind: Kind) -> Kind:
    """The same, or `null`."""

    def read(node: Node, reading: Reading) -> Any:
        return None if node.value is None else kind.read(node, reading)

    return Kind(f"{kind.words}, or null", read, {"anyOf": [kind.schema, {"type": "null"}]})
