"""The formats of values in unstick.yaml: how each is read from its text, and how it is described to people.

`read` raises ValueError: without a message if the text simply doesn't have the format, otherwise with the mistake, a predicate
that never repeats the value, which might be a secret."""

import re
from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import datetime
from types import MappingProxyType
from typing import Any
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo

from msgspec import Struct, to_builtins

from functions.domain.decisions.matching import HOLDER_HOST, template_labels, template_options
from functions.domain.model.runbooks import Matcher
from functions.domain.texts.patterns import compiled
from functions.runtime.secrets import FORMS, is_reference
from functions.runtime.text import languages

DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
MIDNIGHT = 24 * 60
CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029]")
MAX_TEXT = 1024  # characters of a matcher, pattern or template
_DURATION = re.compile(r"(\d{1,9}(?:\.\d{1,6})?)\s?(s|m|h|d)?", re.ASCII)
_UNITS_S = {None: 1.0, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_CLOCK = "([01][0-9]|2[0-3]):[0-5][0-9]|24:00"
_HEADER = r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,100}"  # a token of RFC 9110, 5.6.2
_APPROVER = r"[UW][A-Z0-9]{2,30}|[^@\s]{1,100}@[^@\s]{1,100}"
_NAME = r'"(?:[^"\\]|\\.)*"|[^\s{}!=~,\\"\'`]+'
_MATCHER = rf"({_NAME})\s*(=~|!=|!~|=)\s*(?:\"((?:[^\"\\]|\\.)*)\"|((?:[^\",}}\\]|\\.)*))"
_ESCAPE = r"(?s)\\(.)"
_ESCAPED = {"n": "\n", '"': '"', "\\": "\\"}
TEXT = MappingProxyType({"type": "string"})


class Format(Struct, frozen=True):
    words: str
    read: Callable[[Any], Any]  # converts a text, or a mapping that fits its schema, to the JSON value that the types expect
    schema: Mapping[str, Any] = TEXT


def _matching(pattern: str, read: Callable[[str], Any] = str) -> Callable[[str], Any]:

    def read_matching(text: str) -> Any:
        if not re.fullmatch(pattern, text):
            raise ValueError
        return read(text)

    return read_matching


def read_duration(text: str) -> float:
    """Read `30s`, `5m`, `1h`, `2d` or plain seconds. Returns seconds."""
    match = _DURATION.fullmatch(text)
    if not match:
        raise ValueError("is not a duration (30s, 5m, 1h, 2d, or a number of seconds)")
    return float(match[1]) * _UNITS_S[match[2]]


def show_duration(value_s: float) -> str:
    """Format seconds as in the file, in the largest unit that divides them."""
    for unit, unit_s in (("d", 86400.0), ("h", 3600.0), ("m", 60.0)):
        if value_s >= unit_s and value_s % unit_s == 0 and (unit != "d" or value_s > unit_s):
            return f"{value_s / unit_s:.0f}{unit}"
    return f"{value_s:.6f}".rstrip("0").rstrip(".") + "s"


def _read_text(text: str) -> str:
    if not text.strip():
        raise ValueError("is empty")
    if "${" in text:
        raise ValueError("has a ${, which is filled in nowhere but in a runbook's options and symptom")
    if CONTROL.search(text):
        raise ValueError("holds control characters")
    return text


def pattern_mistake(pattern: str) -> str:
    """What is wrong with a regular expression, or the empty string. Compiling loads google-re2 (6 ms)."""
    import re2

    try:
        compiled(pattern)
    except re2.error as error:
        message = error.args[0].decode(errors="replace") if error.args else "it can't be compiled"
        return f"is not a regular expression of RE2 ({message.partition(': ')[0]})"
    except UnicodeEncodeError:
        return "is not valid Unicode"
    return ""


def parse_matcher(text: str) -> Matcher:
    r"""Read one matcher as Alertmanager does (prometheus/alertmanager, pkg/labels/parse.go): the value in double quotes or
    bare, with `\n`, `\"` and `\\` as escapes and any other backslash literally. Raises ValueError with what is wrong.
    """
    parts = re.fullmatch(_MATCHER, text.strip(), re.DOTALL)
    if not parts:
        raise ValueError('is not a matcher such as service="mail" (operators: =, !=, =~, !~)')
    label, op, quoted, bare = parts.groups()
    label = _unescaped(label[1:-1]) if label.startswith('"') else label
    value = _unescaped(bare if quoted is None else quoted)
    if op in ("=~", "!~") and (mistake := pattern_mistake(value)):
        raise ValueError(mistake)
    return Matcher(label, op, value)


def _unescaped(text: str) -> str:
    return re.sub(_ESCAPE, lambda escape: _ESCAPED.get(escape[1], escape[0]), text)


def _filled(places: Callable[[str], Any]) -> Callable[[str], str]:

    def read_template(text: str) -> str:
        if not text or CONTROL.search(text):
            raise ValueError("is empty or holds control characters")
        places(_limited(text))
        return text

    return read_template


def _read_pattern(text: str) -> str:
    if mistake := pattern_mistake(_limited(text)):
        raise ValueError(mistake)
    return text


def _limited(text: str) -> str:
    if len(text) > MAX_TEXT:
        raise ValueError(f"has more than {MAX_TEXT} characters")
    return text


def _read_secret(text: str) -> dict[str, str]:
    if not is_reference(text):
        raise ValueError("is not a reference to a secret (it is not repeated here)" if text else "has no value")
    return {"reference": text}


def read_url(text: str) -> str:
    """Read a base URL. Returns it without a trailing slash."""
    try:
        parts = urlsplit(text)
        host, _ = parts.hostname, parts.port
    except ValueError:
        raise ValueError("is not a URL") from None
    if parts.scheme not in ("http", "https") or not host or not text.isprintable() or " " in text:
        raise ValueError("is not an http or https URL")
    if "@" in parts.netloc:
        raise ValueError("holds a user or password; they have keys of their own")
    if "?" in text or "#" in text:
        raise ValueError("has a query or fragment")
    return text.rstrip("/")


def _read_link(text: str) -> str:
    if text:
        read_url(text.partition("?")[0].partition("#")[0])
    return text


def _read_zone(name: str) -> str:
    try:
        ZoneInfo(_limited(name))
    except (KeyError, OSError, ValueError):  # unknown zone, a folder, or an invalid path
        raise ValueError("is not a time zone that this machine knows") from None
    return name


def _read_moment(text: str) -> str:
    with suppress(ValueError):  # its message repeats the text
        if not text or datetime.fromisoformat(text).tzinfo:
            return text
    raise ValueError


def _read_minute(clock: str) -> int:
    return int(clock[:2]) * 60 + int(clock[3:])


def read_days(text: str) -> frozenset[int]:
    """Read `daily`, or days and ranges separated by commas (`mon-fri`, `sat,sun`, `fri-mon`). Returns numbers; 0 is Monday."""
    if text == "daily":
        return frozenset(range(7))
    days: set[int] = set()
    for part in text.split(","):
        first, dash, last = part.strip().partition("-")
        if first not in DAYS or (dash and last not in DAYS):
            raise ValueError("names no days")
        begin, length = DAYS.index(first), (DAYS.index(last or first) - DAYS.index(first)) % 7
        days.update((begin + day) % 7 for day in range(length + 1))
    return frozenset(days)


def _read_freeze(window: Mapping[str, str]) -> dict[str, Any]:
    start, end = _read_minute(window["from"]), _read_minute(window["to"])
    if start in (end, MIDNIGHT):
        raise ValueError("has no length; a whole day is from '00:00' to '24:00'")
    text = f"{window['days']} {window['from']}-{window['to']}"
    return {"days": list(read_days(window["days"])), "start_minute": start, "end_minute": end, "text": text}


def _read_windows(counts: Mapping[str, str]) -> list[tuple[float, int]]:
    try:
        windows = {read_duration(window): int(count) for window, count in counts.items()}
    except ValueError:
        raise ValueError("has a window that is not a duration such as 1h") from None
    return sorted(windows.items())


_FREEZE = {key: {**TEXT, "format": form} for key, form in (("days", "days"), ("from", "clock"), ("to", "clock"))}
_COUNT = {**TEXT, "format": "integer", "minimum": 1, "maximum": 100}
FORMATS: Mapping[str, Format] = {
    "integer": Format("a whole number", _matching("[0-9]{1,12}", int)),
    "boolean": Format("true or false", _matching("true|false", lambda text: text == "true")),
    "text": Format("a text", _read_text),
    "optional-text": Format("a text", lambda text: text and _read_text(text)),
    "name": Format("a name of 1 to 80 characters", _matching("(?s).{1,80}", _read_text)),
    "duration": Format("a duration (30s, 5m, 2h)", read_duration),
    "never": Format("never", _matching("never")),
    "secret": Format(f"a secret: {FORMS}", _read_secret),
    "base-url": Format("a base URL such as https://host:port/path", read_url),
    "link": Format("a link", _read_link),
    "moment": Format("a time with its zone, such as 2026-12-26T11:15:56Z", _read_moment),
    "language": Format(f"one of {', '.join(languages())}", _matching("|".join(languages()))),
    "header": Format("a header's name", _matching(_HEADER)),
    "approver": Format("a user's id in Slack (U...) or an address such as anna@example.com", _matching(_APPROVER)),
    "time-zone": Format("a time zone such as Asia/Tokyo", _read_zone),
    "template": Format("a text, with ${labels.NAME} for a label of the alert", _filled(template_labels)),
    "argument": Format("a text, with ${option.NAME} for an option of the runbook", _filled(template_options)),
    "evidence-template": Format(
        f"a text, with ${{labels.NAME}} for a label of the alert; or {HOLDER_HOST} and nothing else",
        lambda text: text if text == HOLDER_HOST else _filled(template_labels)(text),
    ),
    "matcher": Format(
        "a matcher in Alertmanager's syntax, such as 'service=\"mail\"'", lambda text: to_builtins(parse_matcher(_limited(text)))
    ),
    "pattern": Format(
        "a regular expression of RE2 that the whole value must match, such as '[a-z0-9][a-z0-9-]{0,39}'", _read_pattern
    ),
    "pattern-anywhere": Format("a regular expression of RE2, found anywhere, such as 'customer-[0-9]+'", _read_pattern),
    "days": Format("days such as mon-fri, 'sat,sun' or daily", read_days),
    "clock": Format("a time such as '09:00', up to '24:00'", _matching(_CLOCK, _read_minute)),
    "freeze": Format(
        "{days: mon-fri, from: '09:00', to: '10:00'}",
        _read_freeze,
        {"type": "object", "properties": _FREEZE, "required": list(_FREEZE), "additionalProperties": False},
    ),
    "windows": Format(
        "windows and how many restarts fill each, such as {1h: 3, 24h: 7}",
        _read_windows,
        {"type": "object", "additionalProperties": _COUNT, "minProperties": 1},
    ),
}
STRUCTS = {"SecretRef": "secret", "Matcher": "matcher", "Freeze": "freeze"}
"""Structs that have a format of their own."""
