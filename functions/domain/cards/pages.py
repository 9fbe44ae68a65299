"""What the pages for people are made of, besides their answers: the card of an incident as it stands, the rows of the list, and
one line about each queue as it is now."""

from collections import Counter
from collections.abc import Iterable, Mapping

from msgspec import Struct
from msgspec.structs import replace

from functions.domain.cards import card
from functions.domain.cards.card_input import CardInput
from functions.domain.cards.queue_facts import QUEUE_NAME
from functions.domain.cards.rendering import tidy
from functions.domain.cards.timeline import Known, describe
from functions.domain.model.codes import ASKED, Ending, Health, Phase, Reason
from functions.domain.model.incidents import Incident
from functions.domain.model.messages import Card, CardKind
from functions.domain.model.observations import QueueSnapshot, Unknown
from functions.domain.model.runbooks import Rules
from functions.domain.texts.words import worded
from functions.runtime.text import COMMA, Phrase, Text, join, named

DONE = Text("done")
HELD_S = 3600.0  # a hold that goes on is told again, as a newer incident, an hour later
KINDS: Mapping[Ending, CardKind] = {
    Ending.RECOVERED: CardKind.RECOVERED,
    Ending.ESCALATED: CardKind.ESCALATED,
    Ending.HELD: CardKind.HELD,
}
HEALTH = {
    Health.ILL: Text("Stuck"),
    Health.LIKELY: Text("Likely stuck"),
    Health.WELL: Text("Not stuck"),
    Health.UNSURE: Text("Not yet clear whether it is stuck"),
}


class Row(Struct, frozen=True):
    card: Card
    began_at: float
    runs: Phrase
    rank: int  # 0: open, 1: ended, and still to be dealt with, 2: over


def to_row(known: Known, rules: Rules, now: float) -> Row:
    """Reduce an incident to its row in the list."""
    card_input = to_card_input(known, rules, now)
    shown = card.compose(card_input, rules)
    rank = 0 if known.outcome is None else 2 if card_input.is_over or shown.urgency == "fine" else 1
    bare = replace(shown, facts=(), text=(), evidence=(), curve=(), links=())
    return Row(bare, known.incident.first_alert_at, count_runs(known.incident), rank)


def sort_rows(rows: Iterable[Row]) -> list[Row]:
    """What burns first: open, then what a person still has to deal with, then ended; the newest first of each."""
    distinct = {row.card.incident: row for row in sorted(rows, key=lambda row: row.rank)}  # one may just be archived

    def order(row: Row) -> tuple[float, ...]:
        return row.rank, row.rank == 0 and row.card.urgency != "act", -row.card.at, -row.began_at

    return sorted(distinct.values(), key=order)


def to_card_input(known: Known, rules: Rules, now: float) -> CardInput:
    """What the card that tells how it ended, or where it stands, is made from."""
    incident, outcome = known.incident, known.outcome
    runbook = rules.runbooks.get(incident.runbook)
    card_input = CardInput(CardKind.STARTED, now, runbook, known.target, incident, incident.reason, incident.detail)
    if outcome is None:
        if incident.phase is Phase.OBSERVING:
            return replace(card_input, kind=CardKind.HELD, reason=Reason.OBSERVE_ONLY)
        is_held = incident.phase in (Phase.ASKED, Phase.WAITING) and incident.reason is not None
        return replace(card_input, kind=CardKind.HELD, again=incident.phase is Phase.WAITING) if is_held else card_input
    kind, escalation, at = KINDS[outcome.ending], known.escalation, outcome.at
    if escalation is not None and escalation.taken_by:
        kind, at = CardKind.ACKNOWLEDGED, escalation.taken_at or at
    elif outcome.reason is Reason.DECLINED:
        kind = CardKind.DECLINED
    elif outcome.reason in ASKED and incident.approval.nonce and kind != CardKind.RECOVERED:
        kind = CardKind.NOT_APPROVED
    most = runbook.recovered.max_messages if runbook else 0
    return replace(
        card_input,
        kind=kind,
        at=at,
        reason=outcome.reason,
        detail=incident.detail if outcome.reason else "",
        moving=any((watched.after.depth or 0) > most for watched in incident.queues),
        escalation=escalation,
        is_over=escalation is None and (outcome.ending is Ending.ESCALATED or now - outcome.at > HELD_S),
    )


def count_runs(incident: Incident) -> Phrase:
    """Its restarts by how they ended, such as `2 done, 1 failed by hand`."""
    counted = Counter((execution.status, not execution.tag) for execution in incident.executions)
    each = Text("{count} {status}"), Text("{count} {status} by hand")
    ended = {status: DONE if status == "succeeded" else worded(status) for status, _ in counted}
    return join((each[by_hand].fill(count=n, status=ended[status]) for (status, by_hand), n in counted.items()), COMMA)


def say_now(name: str, seen: QueueSnapshot | Unknown, health: Health) -> Phrase:
    """The line about a queue as it is now."""
    if isinstance(seen, Unknown):
        return named(tidy(name, QUEUE_NAME), Text("It can't be read: {why}", why=seen.why))
    return named(Text("{queue} now", queue=tidy(name, QUEUE_NAME)), join((HEALTH.get(health, ""), describe(seen)), COMMA))
