"""Composes the cards of a drill, and of a check from inside the deployed function."""

from collections.abc import Mapping, Sequence

from msgspec import Struct

from functions.domain.cards.card import to_do
from functions.domain.cards.rendering import Content, render, tidy
from functions.domain.model.messages import Card, CardKind
from functions.domain.model.runbooks import Rules
from functions.runtime.text import COMMA, Phrase, Text, in_brackets, join, named

NAMES: Mapping[str, Text] = {
    "webhook": Text("Webhook"),
    "scheduler": Text("Wake-up delivered"),
    "refusal": Text("Job refuses a late start"),
}

CHECKED = Text("Unstick checked every system from where it runs. Nothing was restarted.")
MOST = 8  # lines on the card of a check; the log has all of them


class Leg(Struct, frozen=True):
    name: str  # one of NAMES
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
    facts = []
    for leg in legs:
        seconds = Text("{seconds} s", seconds=f"{leg.seconds:.1f}")
        result = seconds if leg.ok else in_brackets(Text("FAILED: {detail}", detail=leg.detail), seconds)
        facts.append((NAMES[leg.name], result))
    return render(rules, CardKind.DRILL, Content("act" if failed else "fine", headline, text, facts), at)


def deployed(version: str, rules: Rules, at: float) -> Card:
    """The check of a new deployment found no problems."""
    headline = Text("Unstick {version} was deployed, and its check found no problems", version=version)
    return render(rules, CardKind.CHECK, Content("fine", headline, [CHECKED]), at)


def check(failed: Sequence[tuple[str, Phrase, Phrase, Phrase]], rules: Rules, at: float) -> Card:
    """`failed`: system, what, detail and remedy of each."""
    systems = join(dict.fromkeys(tidy(system) for system, *_ in failed), COMMA)
    remedies = dict.fromkeys(remedy for _, _, _, remedy in failed[:MOST] if remedy)
    headline = Text("The check failed at {system}. Restarts may not work", system=systems)
    facts = [(tidy(system), named(what, detail)) for system, what, detail, _ in failed[:MOST]]
    content = Content("act", headline, [CHECKED, *map(to_do, remedies)], facts)
    return render(rules, CardKind.CHECK, content, at)
