"""Cleans untrusted texts and links for display. Each channel escapes its own markup."""

import re
import unicodedata
from urllib.parse import urlsplit

MAX_URL = 2000  # Slack accepts 3,000 characters, and browsers handle about 2,000

# Not compiled here: that would add 1.5 ms to each start, and `re` caches compiled patterns.
ANSI = r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]{0,4096}(?:\x07|\x1b\\)|[@-Z\\-_])"
_URL = r"https?://[^\s<>\"'`{}|\\^\x00-\x20\x7f]+"
_DROPPED = {"Cc", "Cf", "Cs", "Co", "Cn"}  # control, format (bidi, zero width, tags), surrogates, private, unassigned
_MARKS_KEPT = 2  # the most combining accents on a letter: a stack of them covers the lines above


def clean(text: object, limit: int, mark: str, *, lines: bool = False) -> str:
    """At most `limit` characters, none of them invisible or reordering; `mark` shows that something is missing.
    With `lines` newlines stay; otherwise all white space becomes single spaces. The time depends only on `limit`."""
    taken = str(text)[: limit * 4 + 64]
    joined = taken if taken.isascii() and taken.isprintable() else _keep_visible(taken, lines=lines)
    joined = "\n".join(line.rstrip() for line in joined.split("\n")).strip("\n") if lines else " ".join(joined.split())
    return shorten(joined, limit, mark, more=len(str(text)) > len(taken))


def _keep_visible(text: str, *, lines: bool) -> str:
    kept: list[str] = []
    marks = 0
    for char in re.sub(ANSI, "", text):
        category = unicodedata.category(char)
        marks = marks + 1 if category in ("Mn", "Me") else 0
        if char in "\n\t\r" or category in ("Zl", "Zp"):
            kept.append("\n" if lines and char == "\n" else " ")
        elif category not in _DROPPED and marks <= _MARKS_KEPT:
            kept.append(char)
    return "".join(kept)


def shorten(text: str, limit: int, mark: str, *, more: bool = False) -> str:
    """The text within `limit` characters, ending in `mark` if something is missing (`more`: it was already cut)."""
    if len(text) <= limit and not more:
        return text
    return (text[: max(0, limit - len(mark))].rstrip() + mark)[: max(0, limit)]


def safe_url(url: object) -> str:
    """The URL if it is http or https with a host, and without a name or password; otherwise an empty string."""
    text = str(url)[: MAX_URL + 1].strip()
    if len(text) > MAX_URL or not re.fullmatch(_URL, text, re.IGNORECASE):
        return ""
    if any(unicodedata.category(char) in _DROPPED for char in text):
        return ""
    try:
        parts = urlsplit(text)
        host, _ = parts.hostname, parts.port
    except ValueError:
        return ""
    return text if host and "@" not in parts.netloc else ""
