"""How an incident waits, asks for approval, or ends."""

from __future__ import annotations

from msgspec.structs import replace

from functions.domain.cards.card_input import CardInput
from functions.domain.decisions.context import StepContext, reply_for_incident
from functions.domain.decisions.guards import Decision
from functions.domain.decisions.messages import (
    channels_for,
    close_incident,
    enqueue_hold,
    enqueue_message,
    may_overrule,
    was_told_recently,
)
from functions.domain.model.codes import Action, Ending, Mode, Phase, Reason
from functions.domain.model.events import Step
from functions.domain.model.incidents import Document, Incident
from functions.domain.model.runbooks import Runbook
from functions.runtime.text import Phrase

GRACE_S = 900.0
"""Without a restart for `within` plus this time, an incident escalates."""

APPROVAL_S = 1800.0


def handle_hold(document: Document, incident: Incident, runbook: Runbook, now: StepContext, decision: Decision) -> Step:
    """Wait if the hold passes by itself, ask if a person may overrule it, otherwise end."""
    incident = replace(incident, reason=decision.reason, detail=decision.detail)
    if decision.again_in_s is not None:
        return _wait(document, incident, runbook, now, decision)
    if incident.restarts > 0:
        return escalate(document, incident, runbook, now, decision.reason, decision.detail, remedy=decision.remedy)
    if _may_ask(document, incident, runbook, now, decision):
        return request_approval(document, incident, runbook, now, decision)
    return end_as_held(document, incident, runbook, now, decision)


def _may_ask(document: Document, incident: Incident, runbook: Runbook, now: StepContext, decision: Decision) -> bool:
    """Whether to offer a person to overrule the hold: not with many targets, not again within the hour, not in mode observe."""
    if runbook.mode is Mode.OBSERVE or decision.reason is Reason.TOO_MANY_TARGETS or incident.overruled:
        return False
    lately = was_told_recently(document, incident.triggers, decision.reason, now.at)
    return may_overrule(decision.reason, now.rules) and not lately


def _wait(document: Document, incident: Incident, runbook: Runbook, now: StepContext, decision: Decision) -> Step:
    again = now.at + max(decision.again_in_s or 0.0, 1.0)
    if decision.reason is Reason.COOLDOWN:  # its end is known, so it does not escalate
        incident = replace(incident, waits_from=again)
    deadline = deadline_of(incident, runbook)
    if now.at >= deadline:
        return escalate(document, incident, runbook, now, decision.reason, decision.detail, remedy=decision.remedy)
    incident = replace(incident, phase=Phase.WAITING, due=min(again, deadline))
    document = replace(document, incident=incident)
    if decision.tell:
        story = CardInput(
            "held",
            now.at,
            runbook,
            document.target,
            incident,
            decision.reason,
            decision.detail,
            decision.remedy,
            late_s=now.late_s,
            again=True,
        )
        document = enqueue_hold(document, now.rules, story, incident.triggers, f"{incident.id}-{incident.attempt}")
    return Step(document, reply=reply_for_incident(document, incident, runbook, Action.HELD, decision.reason))


def deadline_of(incident: Incident, runbook: Runbook) -> float:
    """Until when an incident may wait for what passes by itself. Each cooldown, approval and start restarts the count."""
    ends = [
        t.execution.runner_ended_at - incident.runner_ahead_s
        for t in incident.tries
        if t.execution and t.execution.runner_ended_at
    ]
    if incident.phase is Phase.STARTING and incident.runner_not_after is not None:
        ends.append(incident.runner_not_after - incident.runner_ahead_s)
    return max([incident.began_at, incident.waits_from, *ends]) + runbook.verify.within_s + GRACE_S


def look_again(
    document: Document,
    incident: Incident,
    runbook: Runbook,
    now: StepContext,
    reason: Reason,
    detail: Phrase,
    *,
    remedy: Phrase = "",
) -> Step:
    """Stay in the phase and check again. After `within` people are notified; at the deadline the incident escalates."""
    deadline = deadline_of(incident, runbook)
    if now.at >= deadline:
        return escalate(document, incident, runbook, now, reason, detail, remedy=remedy)
    incident = replace(incident, reason=reason, detail=detail, due=min(now.at + runbook.verify.every_s, deadline))
    document = replace(document, incident=incident)
    if now.at >= deadline - GRACE_S:
        story = CardInput("held", now.at, runbook, document.target, incident, reason, detail, remedy, late_s=now.late_s)
        document = enqueue_hold(document, now.rules, story, incident.triggers, f"{incident.id}-{incident.attempt}")
    return Step(document, reply=reply_for_incident(document, incident, runbook, Action.DEFERRED, reason))


def request_approval(document: Document, incident: Incident, runbook: Runbook, now: StepContext, decision: Decision) -> Step:
    """Ask a person, with a link that works once and until it expires."""
    expires_at = now.at + APPROVAL_S
    nonce = f"{incident.id}.{incident.attempt}.{now.at:.0f}"
    incident = replace(incident, phase=Phase.ASKED, nonce=nonce, expires_at=expires_at, due=expires_at)
    document = replace(document, incident=incident)
    story = CardInput(
        "held",
        now.at,
        runbook,
        document.target,
        _with_execution(incident, decision),
        decision.reason,
        decision.detail,
        decision.remedy,
        approve_url=f"{now.rules.public_url}/approve/{nonce}",
        late_s=now.late_s,
    )
    mark = f"{incident.id}-{incident.attempt}-asked"
    document = enqueue_hold(document, now.rules, story, incident.triggers, mark, always=True)
    action = Action.ASKED if decision.reason is Reason.AWAITING_APPROVAL else Action.HELD
    return Step(document, reply=reply_for_incident(document, incident, runbook, action, decision.reason))


def end_as_not_approved(document: Document, incident: Incident, runbook: Runbook, now: StepContext) -> Step:
    """End the incident since nobody pressed the button in time."""
    ending = Ending.HELD if incident.restarts == 0 else Ending.ESCALATED
    mention = runbook.mention if ending is Ending.ESCALATED else ()
    story = CardInput(
        "not_approved",
        now.at,
        runbook,
        document.target,
        incident,
        incident.reason,
        incident.detail,
        late_s=now.late_s,
        mention=mention,
    )
    where = channels_for(now.rules, runbook, escalate=ending is Ending.ESCALATED)
    document = enqueue_message(document, now.rules, story, where, f"{incident.id}-not-approved")
    document = close_incident(document, now.rules, incident, ending, story, tell=False)
    return Step(document)


def end_as_held(document: Document, incident: Incident, runbook: Runbook, now: StepContext, decision: Decision) -> Step:
    """End the incident as held. Only an incident that was saved before has an outcome to keep."""
    shown = _with_execution(incident, decision)
    story = CardInput(
        "held", now.at, runbook, document.target, shown, decision.reason, decision.detail, decision.remedy, late_s=now.late_s
    )
    answer = reply_for_incident(document, shown, runbook, Action.HELD, decision.reason)
    if now.was_saved:
        document = close_incident(document, now.rules, incident, Ending.HELD, story)
        return Step(document, reply=answer)
    crowded = now.crowd or decision.reason is Reason.TOO_MANY_TARGETS
    bundle = decision.reason.value if crowded and decision.reason else ""
    document = enqueue_hold(document, now.rules, story, incident.triggers, incident.id, bundle=bundle)
    return Step(replace(document, incident=None), reply=answer)


def _with_execution(incident: Incident, decision: Decision) -> Incident:
    """Add the execution that the hold is about, for people to open; the incident itself does not follow it."""
    return replace(incident, execution=incident.execution or decision.execution)


def escalate(
    document: Document,
    incident: Incident,
    runbook: Runbook | None,
    now: StepContext,
    reason: Reason | None,
    detail: Phrase,
    *,
    remedy: Phrase = "",
) -> Step:
    """Hand the incident to people, with everything that is known."""
    incident = replace(incident, reason=reason, detail=detail)
    story = CardInput("escalated", now.at, runbook, document.target, incident, reason, detail, remedy, late_s=now.late_s)
    answer = reply_for_incident(document, incident, runbook, Action.HELD, reason)
    document = close_incident(document, now.rules, incident, Ending.ESCALATED, story)
    return Step(document, reply=answer)


def end_as_recovered(document: Document, incident: Incident, runbook: Runbook, now: StepContext, *, moving: bool = False) -> Step:
    """End the incident as recovered. `moving`: the queue moves again, with messages left."""
    story = CardInput("recovered", now.at, runbook, document.target, incident, moving=moving, late_s=now.late_s)
    document = close_incident(document, now.rules, incident, Ending.RECOVERED, story)
    return Step(document)
