"""Renders phrases as a card's texts: translated, clean and within their limits."""

import re
from collections.abc import Iterable, Mapping
from datetime import datetime

from msgspec import Struct

from functions.domain.model.messages import Card, CardKind
from functions.domain.model.runbooks import Rules
from functions.domain.texts.sanitize import clean
from functions.domain.texts.words import URGENCIES
from functions.runtime.text import Phrase, Text, in_language, named

Fact = tuple[Phrase, Phrase]

NAME = 120
SENTENCE = 700
CUT = "…"
HEADLINE = 140  # Slack's header accepts 150 characters; a phone's notification shows about 100


def tidy(text: object, limit: int = NAME) -> str:
    """One line of untrusted text within `limit`."""
    return clean(text, limit, CUT)


def rendered(rules: Rules, phrase: Phrase, limit: int = SENTENCE, shared: Mapping[str, str] = {}) -> str:
    """One clean line in the configured language, within `limit`. `shared`: what a template may name without having it."""
    return tidy(in_language(rules.language, phrase, runner=rules.runner, **shared), limit)


class Content(Struct, frozen=True):
    """A card's content. The headline comes without its first words: `words`, or else those of the urgency."""

    urgency: str
    headline: Phrase
    text: Iterable[Phrase] = ()
    facts: Iterable[Fact] = ()
    links: Iterable[tuple[Phrase, str]] = ()
    words: Phrase = ""


def render(rules: Rules, kind: CardKind, content: Content, at: float, shared: Mapping[str, str] = {}) -> Card:
    """Render the card. `shared`: what headline and text may name without having it."""
    headline = named(content.words or URGENCIES.get(content.urgency, ""), content.headline)
    return Card(
        kind=kind,
        urgency=content.urgency,
        headline=rendered(rules, headline, HEADLINE, shared),
        facts=tuple((rendered(rules, label), rendered(rules, value)) for label, value in content.facts),
        text=tuple(rendered(rules, phrase, shared=shared) for phrase in content.text if phrase),
        links=tuple((rendered(rules, label), url) for label, url in content.links),
        at=at,
    )


def to_do(todo: Phrase) -> Text:
    """The sentence that says what to do."""
    return Text("What to do: {todo}", todo=todo)


def details(detail: Phrase) -> Text:
    """The exact detail, possibly quoted from elsewhere."""
    return Text("Details: {detail}", detail=detail)


def split_headline(card: Card) -> tuple[str, str]:
    """The headline's first words, which say how urgent it is, and the rest. The words are empty if the urgency has none."""
    words, *rest = re.split(": |：", card.headline, maxsplit=1)
    return (words, rest[0]) if rest and card.urgency in URGENCIES else ("", card.headline)


def clock(rules: Rules, at: float, form: str = "%Y-%m-%d %H:%M:%S %Z") -> str:
    """A time in the configured time zone, for people."""
    try:
        return datetime.fromtimestamp(at, rules.zone).strftime(form)
    except (OverflowError, ValueError, OSError):
        return "?"
