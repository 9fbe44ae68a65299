"""How an incident waits, asks for approval, or ends."""

from __future__ import annotations

from datetime import datetime

from msgspec.structs import replace

from functions.domain.cards.card_input import CardInput
from functions.domain.decisions.context import StepContext, reply_for_incident
from functions.domain.decisions.guards import Decision, hold
from functions.domain.decisions.messages import (
    channels_for,
    close_incident,
    enqueue_hold,
    enqueue_message,
    may_overrule,
    was_told_recently,
)
from functions.domain.decisions.observing import observe_hold
from functions.domain.model.codes import Action, Ending, Mode, Phase, Reason
from functions.domain.model.events import Declined, Step
from functions.domain.model.incidents import Document, Incident
from functions.domain.model.observations import Execution, Unknown
from functions.domain.model.runbooks import Runbook
from functions.runtime.text import Phrase

GRACE_S = 900.0
"""Without a restart for `within` plus this time, an incident escalates."""

APPROVAL_S = 1800.0
ACKNOWLEDGE = "ack"
"""Stands in a nonce where an approval's has the number of the attempt."""
PASSED = frozenset({Reason.SYMPTOM_GONE, Reason.NOT_FIRING})
"""How a suspicion comes to nothing: the queue moves again."""

PASSED_DAYS = 32
"""Of which a document keeps how many suspicions came to nothing: the report covers 30."""


def handle_hold(document: Document, incident: Incident, runbook: Runbook, context: StepContext, decision: Decision) -> Step:
    """Wait if the hold passes by itself, ask if a person may overrule it, otherwise end."""
    incident = replace(incident, reason=decision.reason, detail=decision.detail)
    if decision.again_in_s is not None:
        return _wait(document, incident, runbook, context, decision)
    if incident.restarts > 0:
        return escalate(document, incident, runbook, context, decision.reason, decision.detail, remedy=decision.remedy)
    if decision.reason is Reason.OBSERVE_ONLY:
        return observe_hold(document, incident, runbook, context)
    if _may_ask(document, incident, runbook, context, decision):
        return request_approval(document, incident, runbook, context, decision)
    return end_as_held(document, incident, runbook, context, decision)


def _may_ask(document: Document, incident: Incident, runbook: Runbook, context: StepContext, decision: Decision) -> bool:
    """Whether to offer a person to overrule the hold: not with many targets, not again within the hour, not in mode observe."""
    if runbook.mode is Mode.OBSERVE or decision.reason is Reason.TOO_MANY_TARGETS or incident.overruled:
        return False
    told_recently = was_told_recently(document, incident.triggers, decision.reason, context.at)
    return may_overrule(decision.reason, context.rules) and not told_recently


def _wait(document: Document, incident: Incident, runbook: Runbook, context: StepContext, decision: Decision) -> Step:
    again = context.at + max(decision.again_in_s or 0.0, 1.0)
    if decision.reason is Reason.COOLDOWN:  # its end is known, so it does not escalate
        incident = replace(incident, waits_from=again)
    deadline = deadline_of(incident, runbook)
    if context.at >= deadline:
        if incident.is_suspicion and decision.reason is Reason.SYMPTOM_UNKNOWN and not decision.tell:
            return _end_as_passed(document, incident, runbook, context, decision)  # it kept moving, if rarely
        return escalate(
            document,
            incident,
            runbook,
            context,
            decision.reason,
            decision.detail,
            remedy=decision.remedy,
            about=decision.execution,
        )
    incident = replace(incident, phase=Phase.WAITING, due=min(again, deadline))
    document = replace(document, incident=incident)
    if decision.tell:
        card_input = replace(hold_card(document, incident, runbook, context, decision), again=True)
        document = enqueue_hold(document, context.rules, card_input, incident.triggers, f"{incident.id}-{incident.attempt}")
    return Step(document, reply=reply_for_incident(document, incident, runbook, Action.HELD, decision.reason))


def deadline_of(incident: Incident, runbook: Runbook) -> float:
    """Until when an incident may wait for what passes by itself. Each cooldown, approval and start restarts the count."""
    ends = [
        attempt.execution.runner_ended_at - incident.runner_ahead_s
        for attempt in incident.tries
        if attempt.execution and attempt.execution.runner_ended_at
    ]
    if incident.phase is Phase.STARTING and incident.runner_not_after is not None:
        ends.append(incident.runner_not_after - incident.runner_ahead_s)
    return max([incident.began_at, incident.waits_from, *ends]) + runbook.verify.within_s + GRACE_S


def look_again(document: Document, incident: Incident, runbook: Runbook, context: StepContext, unseen: Unknown) -> Step:
    """Check for the start again, since the history can't be read.

    After `within` people are notified; at the deadline the incident escalates.
    """
    reason, deadline = Reason.LEDGER_UNKNOWN, deadline_of(incident, runbook)
    if context.at >= deadline:
        return escalate(document, incident, runbook, context, reason, unseen.why, remedy=unseen.remedy)
    incident = replace(incident, reason=reason, detail=unseen.why, due=min(context.at + runbook.verify.every_s, deadline))
    document = replace(document, incident=incident)
    if context.at >= deadline - GRACE_S:
        card_input = hold_card(document, incident, runbook, context, hold(reason, unseen.why, remedy=unseen.remedy))
        document = enqueue_hold(document, context.rules, card_input, incident.triggers, f"{incident.id}-{incident.attempt}")
    return Step(document, reply=reply_for_incident(document, incident, runbook, Action.DEFERRED, reason))


def request_approval(document: Document, incident: Incident, runbook: Runbook, context: StepContext, decision: Decision) -> Step:
    """Ask a person, with a link that works once and until it expires."""
    expires_at = context.at + APPROVAL_S
    nonce = f"{incident.id}.{incident.attempt}.{context.seen.nonce}"
    incident = replace(incident, phase=Phase.ASKED, nonce=nonce, expires_at=expires_at, due=expires_at)
    document = replace(document, incident=incident)
    approve_url = f"{context.rules.public_url}/approve/#{nonce}"
    card_input = replace(hold_card(document, incident, runbook, context, decision), approve_url=approve_url)
    message_id = f"{incident.id}-{incident.attempt}-asked"
    document = enqueue_hold(document, context.rules, card_input, incident.triggers, message_id, always=True)
    action = Action.ASKED if decision.reason is Reason.AWAITING_APPROVAL else Action.HELD
    return Step(document, reply=reply_for_incident(document, incident, runbook, action, decision.reason))


def end_as_not_approved(document: Document, incident: Incident, runbook: Runbook, context: StepContext) -> Step:
    """End the incident since nobody pressed the button in time."""
    ending = Ending.HELD if incident.restarts == 0 else Ending.ESCALATED
    card_input = CardInput(
        "not_approved", context.at, runbook, document.target, incident, incident.reason, incident.detail, late_s=context.late_s
    )
    if ending is Ending.ESCALATED:
        card_input = replace(card_input, acknowledge_url=_acknowledge_url(incident, context))
    channels = channels_for(context.rules, runbook)
    document = enqueue_message(document, context.rules, card_input, channels, f"{incident.id}-not-approved")
    document = close_incident(document, context.rules, incident, ending, card_input, tell=False)
    return Step(document)


def end_as_declined(
    document: Document, incident: Incident, runbook: Runbook | None, context: StepContext, declined: Declined
) -> Step:
    """End the incident since a person decided against the restart.

    It is no escalation, so it stands in the way of no other alert. Its own alerts are settled: see `Outcome.settles`.
    """
    incident = replace(incident, reason=Reason.DECLINED, detail=declined.why, declined_by=declined.by, nonce="")
    card_input = CardInput(
        "declined", context.at, runbook, document.target, incident, Reason.DECLINED, declined.why, late_s=context.late_s
    )
    channels = tuple(dict.fromkeys((*channels_for(context.rules, runbook), *incident.told)))
    document = enqueue_message(document, context.rules, card_input, channels, f"{incident.id}-declined")
    document = close_incident(document, context.rules, incident, Ending.HELD, card_input, tell=False)
    return Step(document, reply=reply_for_incident(document, incident, runbook, Action.HELD, Reason.DECLINED))


def end_as_held(document: Document, incident: Incident, runbook: Runbook, context: StepContext, decision: Decision) -> Step:
    """End the incident as held. Only an incident that was saved before has an outcome to keep."""
    if incident.is_suspicion and decision.reason in PASSED:
        return _end_as_passed(document, incident, runbook, context, decision)
    card_input = hold_card(document, incident, runbook, context, decision)
    with_execution = _with_execution(incident, decision.execution)
    reply = reply_for_incident(document, with_execution, runbook, Action.HELD, decision.reason)
    if context.was_saved:
        document = close_incident(document, context.rules, incident, Ending.HELD, card_input)
        return Step(document, reply=reply)
    crowded = context.crowd or decision.reason is Reason.TOO_MANY_TARGETS
    bundle = decision.reason.value if crowded and decision.reason else ""
    document = enqueue_hold(document, context.rules, card_input, incident.triggers, incident.id, bundle=bundle)
    return Step(replace(document, incident=None), reply=reply)


def _end_as_passed(document: Document, incident: Incident, runbook: Runbook, context: StepContext, decision: Decision) -> Step:
    """End a suspicion that came to nothing: count it, and tell nobody.

    It is counted here and not in the archive: the document is saved in any case, and a queue that is suspected every minute
    would fill the archive with records that nobody reads.
    """
    today = datetime.fromtimestamp(context.at, context.rules.zone).strftime("%Y-%m-%d")
    counts = {**document.passed, today: document.passed.get(today, 0) + 1}
    kept = dict(sorted(counts.items())[-PASSED_DAYS:])
    reply = reply_for_incident(document, incident, runbook, Action.HELD, decision.reason)
    return Step(replace(document, incident=None, passed=kept), reply=reply)


def hold_card(document: Document, incident: Incident, runbook: Runbook, context: StepContext, decision: Decision) -> CardInput:
    """What people read about a hold."""
    return CardInput(
        "held",
        context.at,
        runbook,
        document.target,
        _with_execution(incident, decision.execution),
        decision.reason,
        decision.detail,
        decision.remedy,
        late_s=context.late_s,
    )


def _with_execution(incident: Incident, execution: Execution | None) -> Incident:
    """Add the execution that a card is about, for people to open; the incident itself does not follow it."""
    if incident.execution is not None or execution is None:
        return incident
    return replace(incident, execution=execution, adopted=not execution.tag.startswith(f"{incident.id}."))


def escalate(
    document: Document,
    incident: Incident,
    runbook: Runbook | None,
    context: StepContext,
    reason: Reason | None,
    detail: Phrase,
    *,
    remedy: Phrase = "",
    about: Execution | None = None,
) -> Step:
    """Hand the incident to people, with everything that is known. `about`: an execution to open that it does not follow."""
    incident = replace(incident, reason=reason, detail=detail)
    shown = _with_execution(incident, about)
    card_input = CardInput(
        "escalated", context.at, runbook, document.target, shown, reason, detail, remedy, late_s=context.late_s
    )
    card_input = replace(card_input, acknowledge_url=_acknowledge_url(incident, context), about=about)
    reply = reply_for_incident(document, incident, runbook, Action.HELD, reason)
    document = close_incident(document, context.rules, incident, Ending.ESCALATED, card_input)
    return Step(document, reply=reply)


def _acknowledge_url(incident: Incident, context: StepContext) -> str:
    """The link with which somebody takes the escalation. Its nonce is random, as an approval's is, so nobody else can name it."""
    if not context.rules.public_url or not context.seen.nonce:
        return ""
    return f"{context.rules.public_url}/approve/#{incident.id}.{ACKNOWLEDGE}.{context.seen.nonce}"


def end_as_recovered(
    document: Document, incident: Incident, runbook: Runbook, context: StepContext, *, moving: bool = False
) -> Step:
    """End the incident as recovered. `moving`: the queue moves again, with messages left."""
    card_input = CardInput("recovered", context.at, runbook, document.target, incident, moving=moving, late_s=context.late_s)
    document = close_incident(document, context.rules, incident, Ending.RECOVERED, card_input)
    return Step(document)
