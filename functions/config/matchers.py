"""Reads matchers of alerts, such as service="mail", and finds runbooks whose matchers overlap."""

import re
from collections.abc import Mapping

from msgspec import Struct

from functions.domain.decisions.matching import matches
from functions.domain.model.runbooks import Matcher, Runbook
from functions.domain.texts.patterns import pattern_mistake

_NAME = r'"(?:[^"\\]|\\.)*"|[^\s{}!=~,\\"\'`]+'
_MATCHER = rf"({_NAME})\s*(=~|!=|!~|=)\s*(.*)"
_ESCAPE = r"(?s)\\(.)"
_ESCAPED = {"n": "\n", '"': '"', "\\": "\\"}


def parse_matcher(text: str) -> Matcher:
    r"""Read one matcher as Alertmanager does (prometheus/alertmanager, pkg/labels/parse.go): the value in double quotes or
    bare, with `\n`, `\"` and `\\` as escapes and any other backslash literally. Raises ValueError with what is wrong.
    """
    parts = re.fullmatch(_MATCHER, text.strip(), re.DOTALL)
    if not parts:
        raise ValueError('is not a matcher such as service="mail" (operators: =, !=, =~, !~)')
    label, op, value = parts[1], parts[2], parts[3]
    label = _unquoted(label[1:-1]) if label.startswith('"') else label
    if value.startswith('"'):
        if len(value) < 2 or not value.endswith('"'):
            raise ValueError("has a value without its closing quote, or text behind it")
        value = value[1:-1]
    elif "," in value or "}" in value:
        raise ValueError("holds more than one matcher, or a value with a comma or brace that is not quoted")
    value = _unquoted(value)
    if op in ("=~", "!~") and (mistake := pattern_mistake(value)):
        raise ValueError(mistake)
    return Matcher(label, op, value)


def _unquoted(text: str) -> str:
    bare = re.sub(_ESCAPE, "", text)
    if '"' in bare:
        raise ValueError('holds a double quote that is not escaped (write \\"), or more than one matcher')
    if bare.endswith("\\"):
        raise ValueError("ends in a backslash that escapes nothing (write \\\\)")
    return re.sub(_ESCAPE, lambda escape: _ESCAPED.get(escape[1], escape[0]), text)


class Overlap(Struct, frozen=True):
    """Two runbooks; the earlier one takes all alerts that the later one matches (`always`), or some."""

    earlier: str
    later: str
    always: bool


def overlaps(runbooks: Mapping[str, Runbook]) -> list[Overlap]:
    """Overlaps by which the file's order hides a runbook, doubtful ones too. A narrower runbook before a wider one is normal."""
    overlapping, ordered = [], list(runbooks.values())
    for place, later in enumerate(ordered):
        for earlier in ordered[:place]:
            first, second = set(earlier.match), set(later.match)
            if first <= second:
                overlapping.append(Overlap(earlier.name, later.name, always=True))
            elif not second <= first and not any(_apart(one, other) for one in first for other in second):
                overlapping.append(Overlap(earlier.name, later.name, always=False))
    return overlapping


def _apart(one: Matcher, other: Matcher) -> bool:
    """Whether no labels can satisfy both."""
    if one.label != other.label:
        return False
    pairs = ((one, other), (other, one))
    if any(equal.op == "=" and not matches(any_matcher, {equal.label: equal.value}) for equal, any_matcher in pairs):
        return True
    opposite = {("=~", "!~"), ("!~", "=~"), ("=", "!="), ("!=", "=")}
    return (one.op, other.op) in opposite and one.value == other.value
