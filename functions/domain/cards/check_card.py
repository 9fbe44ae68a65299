"""Composes a card from the problems that a check from inside the deployed function found."""

from __future__ import annotations

from collections.abc import Sequence

from functions.domain.cards.card import to_do
from functions.domain.cards.rendering import Content, render, tidy
from functions.domain.model.messages import Card
from functions.domain.model.runbooks import Rules
from functions.runtime.text import COMMA, Phrase, Text, join, named

MOST = 8  # lines on one card; the log has all of them


def card(failed: Sequence[tuple[str, Phrase, Phrase, Phrase]], rules: Rules, at: float) -> Card:
    """`failed`: system, what, detail and remedy of each."""
    systems = join(dict.fromkeys(tidy(system) for system, *_ in failed), COMMA)
    remedies = dict.fromkeys(remedy for _, _, _, remedy in failed[:MOST] if remedy)
    content = Content(
        "act",
        Text("The check failed at {system}. Restarts may not work", system=systems),
        [
            Text("Unstick checked every system from where it runs. Nothing was restarted."),
            *(to_do(remedy) for remedy in remedies),
        ],
        [(tidy(system), named(what, detail)) for system, what, detail, _ in failed[:MOST]],
    )
    return render(rules, "check", content, at)
