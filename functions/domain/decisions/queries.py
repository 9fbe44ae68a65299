"""Decides what to observe before a step, and what is due."""

from collections.abc import Mapping
from typing import Any

from msgspec import Struct, field
from msgspec.structs import replace

from functions.domain.decisions.endings import APPROVAL_S
from functions.domain.decisions.messages import NO_RUNBOOK
from functions.domain.decisions.observing import AT_MOST_S
from functions.domain.model.alerts import MatchedAlert, QueueRef, Target
from functions.domain.model.bounds import QUEUES_KEPT
from functions.domain.model.codes import Ending, Phase
from functions.domain.model.events import AlertsReceived, Approved, Event, RestartWanted, TimerFired
from functions.domain.model.firings import new_alerts
from functions.domain.model.incidents import Document, Evidence, Hold, Incident, Looks, Observed
from functions.domain.model.runbooks import EvidenceJob, Rules, Runbook

AHEAD_S = 120.0  # seconds that `due` may be further ahead than the longest wait before it counts as a clock's step
REPLACED_S = 10.0  # seconds after `due` from which any wake-up is accepted: its own may be lost or failing

Queues = dict[str, tuple[QueueRef, Runbook | None]]  # queue key -> the queue, and the runbook that judges it


class Wanted(Struct, frozen=True):
    """The observation that one step needs, besides the kill switch and the storm."""

    target: Target | None
    queues: Queues
    follow: str | None = None  # the execution to follow, by id
    tail: bool = False  # whether to read its last log lines
    channels: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """By the queue's key: the channels that were proved to hold messages, to be read before others."""


def has_firing_target(event: AlertsReceived) -> bool:
    """Whether these alerts may lead to a restart."""
    return event.cases[0].target is not None and any(case.alert.firing for case in event.cases)


def undo_set_back(document: Document, rules: Rules, now: float) -> Document:
    """The document as if our clock had never been ahead, if something in it is due later than any wait can be: else an incident
    would stand still until the clock has caught up. What is due then is decided now, and no age is negative."""
    incident, escalation, due = document.incident, document.escalation, document.due
    if incident is not None and incident.due > now + longest_wait_s(incident, rules):
        document, due = replace(document, incident=_clamp(incident, now), holds=_past(document.holds, now)), now
    if escalation is not None and escalation.due is not None:
        runbook = rules.runbooks.get(escalation.runbook)
        if escalation.due > now + (runbook.escalation if runbook else NO_RUNBOOK).again_s + AHEAD_S:
            document, due = replace(document, escalation=replace(escalation, due=now)), now
    if (document.to_tell or document.to_archive) and document.due is not None and document.due > now + AHEAD_S:
        due = now  # unposted messages are tried again every minute
    return document if due == document.due else replace(document, due=due)


def longest_wait_s(incident: Incident, rules: Rules) -> float:
    """How far ahead the incident's next step can be due."""
    runbook = rules.runbooks.get(incident.runbook)
    if runbook is None:
        return AHEAD_S
    look_s = max(runbook.verify.first_s, runbook.verify.every_s)
    match incident.phase:
        case Phase.STARTING:
            return look_s + runbook.restart.start_within_s + AHEAD_S
        case Phase.ASKED:
            return APPROVAL_S + AHEAD_S
        case Phase.WAITING:
            return max(look_s, runbook.limits.cooldown_s + runbook.verify.within_s) + AHEAD_S
        case Phase.OBSERVING:
            return max(look_s, AT_MOST_S) + AHEAD_S
    return look_s + AHEAD_S


def _clamp(incident: Incident, now: float) -> Incident:
    """Move times that lie ahead of our clock, which was set back, to now. The runner's times stay: its clock is its own."""
    queues = tuple(
        replace(watched, joined_at=min(watched.joined_at, now), looks=replace(watched.looks, **_moments(watched.looks, now)))
        for watched in incident.queues
    )
    evidence, expires_at = incident.evidence, incident.approval.expires_at
    if evidence is not None and evidence.asked_at is not None and evidence.asked_at > now:
        evidence = replace(evidence, asked_at=now, until=evidence.until - evidence.asked_at + now)
    expires_at = expires_at if expires_at is None else min(expires_at, now + APPROVAL_S)
    return replace(
        incident,
        **_moments(incident, now),
        observed=replace(incident.observed, **_moments(incident.observed, now)),
        due=now,
        approval=replace(incident.approval, expires_at=expires_at),
        evidence=evidence,
        queues=queues,
    )


def _moments(part: Incident | Observed | Looks, now: float) -> dict[str, Any]:
    """The moments that were noted on our clock, by the names of their fields: those that lie ahead as now."""
    noted = {name: getattr(part, name) for name in part.__struct_fields__ if name.endswith(("_at", "_from"))}
    return {name: at if at is None else min(at, now) for name, at in noted.items()}


def _past(holds: Mapping[str, Hold], now: float) -> dict[str, Hold]:
    """Without holds that were told later than now: they would be kept back for more than their hour."""
    return {key: one for key, one in holds.items() if one.at <= now}


def needs_observation(document: Document, event: Event, now: float) -> bool:
    """Whether the step on this event depends on more than the document."""
    incident = document.incident
    match event:
        case AlertsReceived():
            if event.cases[0].target is None:
                return False
            if incident is None:
                # An escalation ends only when its queues are healthy again.
                return has_firing_target(event) or document.escalated_at is not None
            return now >= incident.due or incident.phase in (Phase.ASKED, Phase.OBSERVING)
        case TimerFired():
            due = incident is not None and (now >= incident.due or is_decided_at_once(incident, event))
            return not is_replaced(document, event, now) and (due or document.is_reminder_due(now))
        case Approved():
            return incident is not None
        case RestartWanted():
            return document.escalation is not None
    return False


def is_decided_at_once(incident: Incident, event: TimerFired) -> bool:
    """Whether the process that deferred the decision makes it itself, before the wake-up."""
    return event.at_once and incident.phase is Phase.DEFERRED


def is_replaced(document: Document, event: TimerFired, now: float) -> bool:
    """Whether another wake-up exists for what is due now.
    Processes that step a document at the same moment each create the next wake-up, and one of them saves: from then on the
    others' would come at the same time, each with an observation of its own."""
    is_due_late = document.due is not None and now >= document.due + REPLACED_S
    return event.due not in (None, document.due) and not is_due_late


def of_alerts(cases: tuple[MatchedAlert, ...]) -> Wanted:
    """The observation for the alerts of one target, whatever its document says: as many queues as fit into an incident."""
    queues: Queues = {}
    for case in cases:
        if case.queue is not None and len(queues) < QUEUES_KEPT:
            queues.setdefault(case.queue.key, (case.queue, case.runbook))
    return Wanted(cases[0].target, queues)


def is_enough(wanted: Wanted, document: Document) -> bool:
    """Whether the observation for the alerts alone is all that the step needs."""
    if document.incident is not None or document.escalated_at is not None:
        return False
    # If there are many queues, the ones that were read may all belong to an outcome.
    return len(wanted.queues) < QUEUES_KEPT or not document.outcomes


def what_to_observe(document: Document, event: Event, rules: Rules) -> Wanted:
    """Everything that the step on this event may need."""
    wanted = Wanted(document.target, {})
    if isinstance(event, AlertsReceived):
        wanted = of_alerts(new_alerts(document, event.cases) or event.cases)
    queues = dict(wanted.queues)
    if document.escalated_at is not None:
        runbook = next(iter(queues.values()))[1] if queues else None
        last = next((outcome for outcome in reversed(document.outcomes) if outcome.ending is Ending.ESCALATED), None)
        for watched in document.escalation.queues if document.escalation else ():
            queues.setdefault(watched.queue.key, (watched.queue, rules.runbooks.get(watched.runbook)))
        for queue in last.queues if last else ():
            queues.setdefault(queue.key, (queue, runbook))
    incident = document.incident
    if incident is None:
        return Wanted(wanted.target, queues)
    for watched in incident.queues:
        queues.setdefault(watched.queue.key, (watched.queue, rules.runbooks.get(watched.runbook)))
    target, runbook = wanted.target, rules.runbooks.get(incident.runbook)
    if target is not None and runbook is not None:  # the incident may be older than the configuration, or the reverse
        remedies = dict.fromkeys((*target.remedies, *(remedy.job for remedy in runbook.remedies)))
        target = replace(target, remedies=tuple(remedies))
    follow = incident.execution.id if incident.execution and incident.phase is not Phase.OBSERVING else None
    channels = {one.queue.key: tuple(held.id for held in one.held_by) for one in incident.queues if one.held_by}
    return Wanted(target, queues, follow, tail=follow is not None and incident.run.tail is None, channels=channels)


def evidence_to_read(incident: Incident | None, rules: Rules) -> tuple[EvidenceJob, Evidence] | None:
    """The evidence job whose run the incident waits for, and what is known of it; None if it waits for none."""
    if incident is None or incident.phase is not Phase.COLLECTING or incident.evidence is None:
        return None
    runbook = rules.runbooks.get(incident.runbook)
    return (runbook.evidence, incident.evidence) if runbook and runbook.evidence else None
