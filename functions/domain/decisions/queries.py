"""Decides what to observe before a step, and what is due."""

from collections.abc import Mapping

from msgspec import Struct, field

from functions.domain.model.alerts import MatchedAlert, QueueRef, Target
from functions.domain.model.codes import Phase
from functions.domain.model.events import AlertsReceived, Approved, Event, TimerFired
from functions.domain.model.incidents import QUEUES_KEPT, Document, Evidence, Incident, new_alerts
from functions.domain.model.runbooks import EvidenceJob, Rules, Runbook

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


def needs_observation(document: Document, event: Event, now: float) -> bool:
    """Whether the step on this event depends on more than the document."""
    incident = document.incident
    match event:
        case AlertsReceived():
            if event.cases[0].target is None:
                return False
            if incident is None:
                # An escalation ends only when its queues are healthy again.
                return has_firing_target(event) or document.escalation is not None
            return now >= incident.due or incident.phase in (Phase.ASKED, Phase.OBSERVING)
        case TimerFired():
            due = incident is not None and (now >= incident.due or is_decided_at_once(incident, event))
            return not is_replaced(document, event, now) and (due or document.is_reminder_due(now))
        case Approved():
            return incident is not None
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
    if document.incident is not None or document.escalation is not None:
        return False
    # If there are many queues, the ones that were read may all belong to an outcome.
    return len(wanted.queues) < QUEUES_KEPT or not document.outcomes


def what_to_observe(document: Document, event: Event, rules: Rules) -> Wanted:
    """Everything that the step on this event may need."""
    wanted = Wanted(document.target, {})
    if isinstance(event, AlertsReceived):
        wanted = of_alerts(new_alerts(document, event.cases) or event.cases)
    queues = dict(wanted.queues)
    for part in (document.escalation, document.incident):
        for state in part.queues if part is not None else ():
            queues.setdefault(state.queue.key, (state.queue, rules.runbooks.get(state.runbook)))
    incident = document.incident
    if incident is None:
        return Wanted(wanted.target, queues)
    follow = incident.execution.id if incident.execution and incident.phase is not Phase.OBSERVING else None
    channels = {state.queue.key: tuple(held.id for held in state.held_by) for state in incident.queues if state.held_by}
    return Wanted(wanted.target, queues, follow, tail=follow is not None and incident.run.tail is None, channels=channels)


def evidence_to_read(incident: Incident | None, rules: Rules) -> tuple[EvidenceJob, Evidence] | None:
    """The evidence job whose run the incident waits for, and what is known of it; None if it waits for none."""
    if incident is None or incident.phase is not Phase.COLLECTING or incident.evidence is None:
        return None
    runbook = rules.runbooks.get(incident.runbook)
    return (runbook.evidence, incident.evidence) if runbook and runbook.evidence else None
