"""The part of PromQL that is needed to put labels into a query, and to find the series that it uses."""

import re
from collections.abc import Callable, Iterator
from functools import lru_cache, partial

from msgspec import Struct

_PARTS = r"""(?x)
    (?P<space> \s+ | \#[^\n]* )
  | (?P<string> "(?:[^"\\]|\\.)*" | '(?:[^'\\]|\\.)*' | `[^`]*` )
  | (?P<number> \.?[0-9][0-9a-zA-Z_.]* )
  | (?P<word> [a-zA-Z_:][a-zA-Z0-9_:]* )
  | (?P<sign> =~ | !~ | != | == | <= | >= | [-=<>+*/%^(){}\[\],@] )
"""
_LABEL = r"\$\{labels\.([^${}]+)\}"
LABEL_LISTS = frozenset({"by", "without", "on", "ignoring", "group_left", "group_right"})
"""Words before a list of labels in brackets."""
WORDS = frozenset({"and", "or", "unless", "atan2", "bool", "inf", "nan"})
AGGREGATIONS = frozenset(
    {
        *("sum", "min", "max", "avg", "count", "group", "stddev", "stdvar", "topk", "bottomk"),
        *("count_values", "quantile", "limitk", "limit_ratio"),
    }
)
RATES = frozenset({"rate", "irate", "increase", "delta", "idelta", "deriv"})  # functions whose result isn't a counter
CLOSING = {"(": ")", "{": "}", "[": "]"}


class Token(Struct, frozen=True):
    kind: str
    text: str
    begin: int


@lru_cache(maxsize=256)
def tokens(query: str) -> tuple[Token, ...]:
    """The query's tokens without space and comments. Raises ValueError for anything else."""
    listed, at = [], 0
    pattern = re.compile(_PARTS)
    while at < len(query):
        match = pattern.match(query, at)
        if match is None:
            what = "a label outside of quotes" if query.startswith("${", at) else "a sign that PromQL has not"
            raise ValueError(f"has {what} at character {at + 1}")
        if match.lastgroup != "space":
            listed.append(Token(match.lastgroup or "", match[0], at))
        at = match.end()
    return tuple(listed)


@lru_cache(maxsize=256)
def selectors(query: str) -> tuple[str, ...]:
    """The series in the query, each as `name{labels}`. Raises ValueError if the query isn't about current figures."""
    selectors, listed = dict[str, None](), tokens(query)
    at = 0
    while at < len(listed):
        token = listed[at]
        following = listed[at + 1].text if at + 1 < len(listed) else ""
        word = token.text.lower() if token.kind == "word" else ""
        if word == "offset" or token.text == "@":
            raise ValueError("has `offset` or `@`: its figures would not be of now")
        if word in LABEL_LISTS and following == "(":
            at = _closing(listed, at + 1)
        elif token.text == "[":
            at = _closing(listed, at)
        elif token.text == "{" or (word and following == "{"):
            last = _closing(listed, at if token.text == "{" else at + 1)
            end = listed[last]
            selectors[query[token.begin : end.begin + len(end.text)]] = None
            at = last
        elif word and following != "(" and word not in WORDS | LABEL_LISTS | AGGREGATIONS:
            selectors[token.text] = None
        at += 1
    if not selectors:
        raise ValueError("names no metric")
    if any(re.search(r"__name__\s*[=!]~", selector) for selector in selectors):
        raise ValueError("selects metrics by a pattern for their names: name each, with + between them")
    return tuple(selectors)


def _closing(listed: tuple[Token, ...], opening: int) -> int:
    depth, sign = 0, listed[opening].text
    for at in range(opening, len(listed)):
        depth += (listed[at].text == sign) - (listed[at].text == CLOSING[sign])
        if depth == 0:
            return at
    raise ValueError(f"has a {sign} without its {CLOSING[sign]}")


def has_rate(query: str) -> bool:
    """Whether the query has a function whose result isn't a counter."""
    return any(token.kind == "word" and token.text in RATES for token in tokens(query))


def fill(query: str, value_of: Callable[[str], str]) -> str:
    """The query with each label inside of its strings filled in, so that a value stays a part of its string, whatever it is.
    Behind `=~` and `!~` it matches itself only. Raises ValueError if a label is outside quotes that can be escaped."""
    parts, at, place = [], 0, re.compile(_LABEL)
    for begin, end, text, is_pattern in _strings(query):
        if text.startswith("`") and place.search(text):
            raise ValueError("has a label in backticks, where nothing can be escaped; use quotes")
        escape = partial(_as_pattern if is_pattern else _as_text, quote=text[0])
        parts += [query[at:begin], place.sub(_filled(value_of, escape), text)]
        at = end
    return "".join((*parts, query[at:]))


def _strings(query: str) -> Iterator[tuple[int, int, str, bool]]:
    """(begin, end, text, whether it is a regular expression) of each string."""
    before = ""
    for token in tokens(query):
        if token.kind == "string":
            yield token.begin, token.begin + len(token.text), token.text, before in ("=~", "!~")
        before = token.text


def _filled(value_of: Callable[[str], str], escape: Callable[[str], str]) -> Callable[[re.Match[str]], str]:
    return lambda place: escape(value_of(place[1]))


def _as_text(value: str, quote: str) -> str:
    """Escape only the string's own quote: Prometheus refuses a backslash before the other one (promql/parser/lex.go)."""
    escaped = {"\\": "\\\\", quote: f"\\{quote}", "\n": "\\n"}
    return "".join(escaped.get(sign, sign) for sign in value)


def _as_pattern(value: str, quote: str) -> str:
    """Escape for RE2, which accepts a backslash before any ASCII punctuation, and before nothing else."""
    return _as_text("".join(f"\\{sign}" if sign.isascii() and not sign.isalnum() else sign for sign in value), quote)
