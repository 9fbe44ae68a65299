"""Escalations that people handle: reminders until somebody takes them or their target is healthy."""

from msgspec.structs import replace

from functions.domain.cards.content import CardInput
from functions.domain.decisions.messages import REMINDED_EVERY_S, channels_for, end_escalation
from functions.domain.decisions.phases import clear_escalation_if_healthy
from functions.domain.decisions.turn import Turn
from functions.domain.model.events import Acknowledged, Resumed
from functions.domain.model.incidents import Escalation
from functions.domain.model.messages import CardKind
from functions.runtime.text import in_brackets

TOLD_AGAIN = 3  # maximum number of reminders: a fourth wouldn't help if three didn't


def remind(turn: Turn) -> None:
    """Remind people of a due escalation, unless its target is healthy."""
    escalation = turn.document.escalation
    if escalation is None or not turn.document.is_reminder_due(turn.at):
        return
    if turn.document.escalated_at is None:
        return _keep(turn, replace(escalation, due=None))
    turn.document = clear_escalation_if_healthy(turn, turn.rules.runbooks.get(escalation.runbook))
    if turn.document.escalated_at is None:
        return
    told = escalation.told + 1
    escalation = replace(escalation, told=told, due=turn.at + REMINDED_EVERY_S if told < TOLD_AGAIN else None)
    _keep(turn, escalation)
    shown, public_url = replace(escalation, queues=turn.note_figures(escalation.queues)), turn.rules.public_url
    url = f"{public_url}/approve/#{escalation.nonce}" if public_url and escalation.nonce else ""
    _post(turn, CardKind.ESCALATED_AGAIN, shown, f"again-{told}", url)


def _keep(turn: Turn, escalation: Escalation) -> None:
    turn.document = replace(turn.document, escalation=escalation)


def on_acknowledgement(turn: Turn, event: Acknowledged) -> None:
    """Somebody takes the escalation, which ends the reminders. Only the first person counts."""
    escalation = turn.document.escalation
    if escalation is None or turn.document.escalated_at is None or escalation.taken_by:
        return
    if event.incident and event.incident != escalation.incident:
        return
    escalation = replace(escalation, taken_by=event.by, taken_at=turn.at, due=None)
    _keep(turn, escalation)
    _post(turn, CardKind.ACKNOWLEDGED, escalation, "acknowledged")


def on_resume(turn: Turn, event: Resumed) -> None:
    """Somebody allows restarts of the target again."""
    document = turn.document
    if document.escalated_at is None:
        return
    card_input = CardInput(CardKind.RESUMED, turn.at, target=document.target, detail=in_brackets(event.reason, event.by))
    channels = document.outcomes[-1].channels if document.outcomes else turn.rules.default_channels
    turn.document = end_escalation(document)
    turn.post(card_input, f"resumed-{turn.at:.0f}", channels)


def _post(turn: Turn, kind: CardKind, escalation: Escalation, mark: str, url: str = "") -> None:
    """Post to the channels that got the escalation."""
    outcome, runbook = turn.document.find_outcome(escalation.incident), turn.rules.runbooks.get(escalation.runbook)
    reason, trigger = (outcome.reason, next(iter(outcome.triggers), None)) if outcome else (None, None)
    card_input = CardInput(kind, turn.at, runbook, turn.document.target, reason=reason, trigger=trigger, acknowledge_url=url)
    channels = outcome.channels if outcome else channels_for(turn.rules, runbook)
    restarts = outcome.restarts if outcome else 0
    card_input = replace(card_input, late_s=turn.late_s, escalation=escalation, restarts=restarts)
    turn.post(card_input, f"{escalation.incident}-{mark}", channels)
