"""Room: cards on standard output, for terminals, logs and `make demo`."""

from __future__ import annotations

import contextlib
import os
import sys
from textwrap import wrap
from unicodedata import east_asian_width

from msgspec import Struct

from functions.adapters.chats import _plain
from functions.application.ports import Finding
from functions.domain.model.messages import Card

RULE = "─" * 72
COLUMNS = 96
COLOURS = {"act": "\x1b[1;31m", "watch": "\x1b[1;33m", "fine": "\x1b[1;32m"}
DIM, PLAIN = "\x1b[2m", "\x1b[0m"
MAX_CHARACTERS = 20_000
"""A terminal takes more, a reader does not."""


class Settings(Struct, frozen=True):
    """Nothing to set."""


def render(card: Card, language: str) -> str:
    """The card as plain text without colour. Mentions are left out: nobody is pinged by a terminal."""
    return _plain.fitted(card, language, lambda shown: _text(shown, language), lambda text: len(text) <= MAX_CHARACTERS)


def _text(card: Card, language: str) -> str:
    facts = [label for label, _ in card.facts]
    width = max((_width(label) for label in facts), default=0)
    aligned = tuple((label + " " * (width - _width(label)), text) for label, text in card.facts)
    paragraphs = [row for text in card.text for row in wrap(text, COLUMNS, break_long_words=False, break_on_hyphens=False)]
    body = [*paragraphs, *([""] if card.text and card.facts else []), *(f"{label}  {text}" for label, text in aligned)]
    rest = _plain.lines(Card(card.kind, card.urgency, "", evidence=card.evidence, curve=card.curve, links=card.links), language)
    below = (f"  {line}".rstrip() for line in (*body, *rest))
    return "\n".join((f"{_plain.SIGNS.get(card.urgency, '•')} {card.headline}", *below))


def _width(text: str) -> int:
    """Columns on a terminal: East Asian wide characters take two."""
    return sum(2 if east_asian_width(char) in "WF" else 1 for char in text)


def post(settings: Settings, card: Card, *, thread: str | None, language: str, timeout_s: float) -> None:
    """Print the card. A terminal that went away or can't show a character is no reason to fail."""
    text = render(card, language)
    if _coloured():
        head, _, rest = text.partition("\n")
        text = f"{DIM}{RULE}{PLAIN}\n{COLOURS.get(card.urgency, '')}{head}{PLAIN}\n{rest}\n"
    else:
        text = f"{RULE}\n{text}\n"
    encoding = getattr(sys.stdout, "encoding", None) or "utf-8"
    shown = text.encode(encoding, errors="replace").decode(encoding)
    with contextlib.suppress(OSError, ValueError):  # closed pipe, closed file
        print(shown, flush=True)


def _coloured() -> bool:
    """As https://no-color.org asks: only on a terminal, and never with NO_COLOR."""
    with contextlib.suppress(OSError, ValueError, AttributeError):
        return sys.stdout.isatty() and not os.environ.get("NO_COLOR")
    return False


def check(settings: Settings, *, timeout_s: float) -> list[Finding]:
    """Standard output needs nothing."""
    return [Finding("console", ok=True)]
