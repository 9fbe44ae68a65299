"""Escalations in people's hands: told again until somebody takes them, or their target is healthy."""

from __future__ import annotations

from msgspec.structs import replace

from functions.domain.cards.card_input import CardInput
from functions.domain.decisions.context import StepContext
from functions.domain.decisions.messages import NO_RUNBOOK, channels_for, enqueue_message
from functions.domain.decisions.phases import clear_escalation_if_healthy, evaluate_guards
from functions.domain.model.codes import Phase
from functions.domain.model.events import Acknowledged, RestartWanted, Step
from functions.domain.model.incidents import Document, Escalation, Incident, Outcome
from functions.domain.model.runbooks import Runbook

TOLD_AGAIN = 3
"""Times at most: whom three reminders did not wake, a fourth will not."""


def remind(document: Document, context: StepContext) -> Document:
    """Tell people again of an escalation that is due, unless its target is healthy.

    While an incident of the target is open, Unstick or whoever approved it is at work: the reminder waits.
    """
    escalation = document.escalation
    if escalation is None or not document.is_reminder_due(context.at):
        return document
    runbook = context.rules.runbooks.get(escalation.runbook)
    again_s = (runbook.escalation if runbook else NO_RUNBOOK).again_s
    if not again_s or document.escalated_at is None:
        return replace(document, escalation=replace(escalation, due=None))
    if document.incident is not None:
        return replace(document, escalation=replace(escalation, due=context.at + again_s))
    document = clear_escalation_if_healthy(document, runbook, context)
    if document.escalated_at is None:
        return document
    told = escalation.told + 1
    escalation = replace(escalation, told=told, due=context.at + again_s if told < TOLD_AGAIN else None)
    document = replace(document, escalation=escalation)
    card_input = _card_input("escalated_again", document, escalation, context)
    if context.rules.public_url and escalation.nonce:
        card_input = replace(card_input, acknowledge_url=f"{context.rules.public_url}/approve/#{escalation.nonce}")
    channels = _channels(document, escalation, runbook, context)
    return enqueue_message(document, context.rules, card_input, channels, f"{escalation.incident}-again-{told}")


def on_acknowledgement(document: Document, event: Acknowledged, context: StepContext) -> Step:
    """Somebody takes the escalation: nobody is told of it again. Who was first has it."""
    escalation = document.escalation
    if escalation is None or document.escalated_at is None or escalation.taken_by:
        return Step(document)
    if event.incident and event.incident != escalation.incident:
        return Step(document)
    runbook = context.rules.runbooks.get(escalation.runbook)
    escalation = replace(escalation, taken_by=event.by, taken_at=context.at, due=None)
    document = replace(document, escalation=escalation)
    card_input = _card_input("acknowledged", document, escalation, context)
    channels = _channels(document, escalation, runbook, context)
    return Step(enqueue_message(document, context.rules, card_input, channels, f"{escalation.incident}-acknowledged"))


def on_restart_wanted(document: Document, event: RestartWanted, context: StepContext) -> Step:
    """Restart once more, as a new incident that a person has approved. All guards that nobody may overrule still hold it."""
    escalation = document.escalation
    if escalation is None or document.escalated_at is None or document.incident is not None:
        return Step(document)
    outcome = _outcome(document, escalation)
    if event.incident != escalation.incident or outcome is None or escalation.runbook not in context.rules.runbooks:
        return Step(document)
    incident = Incident(
        event.id,
        Phase.WAITING,
        context.at,
        escalation.runbook,
        tuple(replace(watched, joined_at=context.at) for watched in escalation.queues),
        outcome.triggers,
        due=context.at,
        waits_from=context.at,
        approved_by=event.by,
        once=True,
        overruled=True,
        told=outcome.channels,
    )
    return evaluate_guards(replace(document, incident=incident), incident, context)


def _card_input(kind: str, document: Document, escalation: Escalation, context: StepContext) -> CardInput:
    outcome = _outcome(document, escalation)
    return CardInput(
        kind,
        context.at,
        context.rules.runbooks.get(escalation.runbook),
        document.target,
        reason=outcome.reason if outcome else None,
        trigger=outcome.triggers[0] if outcome and outcome.triggers else None,
        late_s=context.late_s,
        escalation=escalation,
    )


def _outcome(document: Document, escalation: Escalation) -> Outcome | None:
    return next((one for one in reversed(document.outcomes) if one.incident == escalation.incident), None)


def _channels(document: Document, escalation: Escalation, runbook: Runbook | None, context: StepContext) -> tuple[str, ...]:
    """Those that heard of the escalation; once it was told again, those of `escalate_further` too."""
    outcome = _outcome(document, escalation)
    further = runbook.escalate_further if runbook and escalation.told else ()
    first = outcome.channels if outcome else channels_for(context.rules, runbook)
    return tuple(dict.fromkeys((*further, *first)))
