"""Composes the card of a drill."""

from __future__ import annotations

from collections.abc import Mapping

from msgspec import Struct

from functions.domain.cards.card import to_do
from functions.domain.cards.rendering import Content, render
from functions.domain.model.messages import Card
from functions.domain.model.runbooks import Rules
from functions.runtime.text import Phrase, Text, in_brackets

NAMES: Mapping[str, Text] = {
    "webhook": Text("Webhook"),
    "scheduler": Text("Wake-up delivered"),
    "refusal": Text("Job refuses a late start"),
}


class Leg(Struct, frozen=True):
    """One part of the drill: webhook, scheduler, or refusal."""

    name: str
    ok: bool
    seconds: float = 0.0
    detail: Phrase = ""
    remedy: Phrase = ""


def card(legs: tuple[Leg, ...], rules: Rules, at: float) -> Card:
    """The times of all parts. A failed part makes the card's urgency `act`."""
    failed = next((leg for leg in legs if not leg.ok), None)
    headline = Text("The drill succeeded from end to end")
    if failed:
        headline = Text("The drill failed at: {leg}. A real alert may be lost", leg=NAMES[failed.name])
    text: list[Phrase] = [Text("Test alerts were sent as Grafana sends them. Nothing was restarted.")]
    if failed and failed.remedy:
        text.append(to_do(failed.remedy))
    facts = [(NAMES[leg.name], _result(leg)) for leg in legs]
    return render(rules, "drill", Content("act" if failed else "fine", headline, text, facts), at)


def _result(leg: Leg) -> Phrase:
    seconds = Text("{seconds} s", seconds=f"{leg.seconds:.1f}")
    return seconds if leg.ok else in_brackets(Text("FAILED: {detail}", detail=leg.detail), seconds)
