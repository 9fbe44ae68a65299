"""Kinds of values that only a runbook configuration has: matchers, patterns, templates, days, windows, sizes."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any
from zoneinfo import ZoneInfo

from functions.config.kinds import Kind, mapped, scalar, seconds, url_mistake, whole
from functions.config.reading import unknown
from functions.config.yaml_nodes import CONTROL, FAILED, Node, Reading
from functions.domain.decisions.matching import parse_matcher, pattern_mistake, template_labels
from functions.domain.model.runbooks import Freeze

DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
DAY_MINUTES = 24 * 60
MAX_TEXT = 1024  # characters of a name, matcher, pattern or template: enough for all of them, and a bound for what follows
_CLOCK = re.compile(r"([01]\d|2[0-4]):([0-5]\d)", re.ASCII)
_SIZE = re.compile(r"(\d{1,9})\s?(B|KiB|MiB)?", re.ASCII)
_SIZE_BYTES = {None: 1, "B": 1, "KiB": 1024, "MiB": 1024 * 1024}
_HEADER = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,100}")  # a token of RFC 9110, 5.6.2


def _zone(name: str) -> None:
    """ValueError where this machine knows no time zone of that name."""
    try:
        ZoneInfo(name)
    except (KeyError, OSError, ValueError):  # unknown, a folder, a path
        raise ValueError("is no time zone that this machine knows") from None


def _mistake_in(read: Callable[[str], Any]) -> Callable[[str], str]:
    """A mistake_of for a kind whose reader raises ValueError with the mistake."""

    def mistake_of(text: str) -> str:
        if len(text) > MAX_TEXT:
            return f"has more than {MAX_TEXT} characters"
        try:
            read(text)
        except ValueError as error:
            return str(error)
        return ""

    return mistake_of


def _template(text: str) -> None:
    if not text or CONTROL.search(text):
        raise ValueError("is empty or holds control characters")
    template_labels(text)


def _size(text: str) -> int:
    found = _SIZE.fullmatch(text)
    if not found or not 1024 <= (size := int(found[1]) * _SIZE_BYTES[found[2]]) <= 32 * 1024 * 1024:
        raise ValueError("is not a size from 1KiB to 32MiB, which is Cloud Run's own limit")
    return size


def _name(text: str) -> None:
    if not text.strip() or len(text) > 80 or CONTROL.search(text) or "${" in text:
        raise ValueError("is not a name of 1 to 80 characters")


_STRING = {"type": "string", "maxLength": MAX_TEXT}
NAME = scalar("a name of 1 to 80 characters", _mistake_in(_name), {"type": "string", "minLength": 1, "maxLength": 80})
TEMPLATE = scalar(
    "a text, with ${labels.NAME} for a label of the alert",
    _mistake_in(_template),
    {"type": ["string", "number", "boolean"], "minLength": 1, "maxLength": MAX_TEXT},
)
PATTERN = scalar(
    "a regular expression of RE2 that the whole value must match, such as '[a-z0-9-]{1,40}'",
    lambda text: _mistake_in(len)(text) or pattern_mistake(text),
    _STRING,
)
MATCHER = scalar(
    "a matcher in Alertmanager's syntax, such as 'service=\"mail\"'", _mistake_in(parse_matcher), _STRING, parse_matcher
)
SIZE = scalar(
    "a size such as 8MiB", _mistake_in(_size), {"type": ["string", "integer"], "pattern": r"^\d+\s?(B|KiB|MiB)?$"}, _size
)
ZONE = scalar("a time zone such as Asia/Tokyo", _mistake_in(_zone), {"type": "string"})
HEADER = scalar("a header's name", lambda text: "" if _HEADER.fullmatch(text) else "is no header's name", {"type": "string"})
LINK = scalar(
    "a link",
    lambda text: url_mistake(text.partition("?")[0].partition("#")[0]) if text else "",
    {"type": "string", "format": "uri"},
)


# --- freeze and limits.restarts -----------------------------------------------------------------------------------------


def _minute(text: str) -> int:
    found = _CLOCK.fullmatch(text)
    minute = int(found[1]) * 60 + int(found[2]) if found else DAY_MINUTES + 1
    if minute > DAY_MINUTES:
        raise ValueError("is no time of the day")
    return minute


def days_of(text: str) -> frozenset[int]:
    """`daily`, days and ranges of days with commas between them (`mon-fri`, `sat,sun`, `fri-mon`); 0 is Monday."""
    if text == "daily":
        return frozenset(range(7))
    found: set[int] = set()
    for part in text.split(","):
        first, dash, last = part.strip().partition("-")
        if first not in DAYS or (dash and last not in DAYS):
            raise ValueError("names no days")
        begin, length = DAYS.index(first), (DAYS.index(last or first) - DAYS.index(first)) % 7
        found.update((begin + day) % 7 for day in range(length + 1))
    return frozenset(found)


CLOCK = scalar("a time such as '09:00', up to '24:00'", _mistake_in(_minute), {"type": "string", "pattern": r"^\d\d:\d\d$"})
WEEKDAYS = scalar("days such as mon-fri, 'sat,sun' or daily", _mistake_in(days_of), {"type": "string"})
FREEZE_KINDS: Mapping[str, Kind] = {"days": WEEKDAYS, "from": CLOCK, "to": CLOCK}


def _read_freeze(node: Node, reading: Reading) -> Any:
    if not isinstance(node.value, dict):
        return reading.wrong(node, "is not a mapping", "Write {days: mon-fri, from: '09:00', to: '10:00'}")
    for key, child in node.value.items():
        if key not in FREEZE_KINDS:
            unknown(child, key, tuple(FREEZE_KINDS), reading)
    made = {}
    for key, kind in FREEZE_KINDS.items():
        child = node.under(key)
        lacking = f"lacks the key {key}"
        made[key] = kind.read(child, reading) if child else reading.wrong(node, lacking, f"Add `{key}:`, {kind.words}")
    if FAILED in made.values():
        return FAILED
    start, end = _minute(made["from"]), _minute(made["to"])
    if start in (end, DAY_MINUTES):
        return reading.wrong(node, "has no length", "For a whole day write from '00:00' to '24:00'")
    return Freeze(days_of(made["days"]), start, end, f"{made['days']} {made['from']}-{made['to']}")


_COUNT = whole(1, 100)


def _read_windows(node: Node, reading: Reading) -> Any:
    counts = mapped(_COUNT, "duration", least=1).read(node, reading)
    if counts is FAILED:
        return FAILED
    windows: dict[float, int] = {}
    for key, count in counts.items():
        window_s, here = seconds(key), node.under(key) or node
        if not window_s:
            return reading.wrong(here, "is no duration", "Write windows such as {1h: 3, 24h: 7}")
        if window_s in windows:
            return reading.wrong(here, "is a window that stands here already", "Keep one of them")
        windows[window_s] = count
    return tuple(sorted(windows.items()))


_FREEZE_SCHEMA = {
    "type": "object",
    "additionalProperties": False,
    "required": list(FREEZE_KINDS),
    "properties": {key: kind.schema for key, kind in FREEZE_KINDS.items()},
}
FREEZE = Kind("{days, from, to}", _read_freeze, _FREEZE_SCHEMA)
WINDOWS = Kind(
    "windows and how many restarts fill each, such as {1h: 3, 24h: 7}", _read_windows, mapped(_COUNT, "duration", 1).schema
)
