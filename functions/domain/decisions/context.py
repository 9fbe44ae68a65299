"""The context of one step, and the answers to Grafana."""

from __future__ import annotations

from msgspec import Struct

from functions.domain.model.alerts import MatchedAlert
from functions.domain.model.codes import Action, Reason
from functions.domain.model.events import AlertsReceived, Reply
from functions.domain.model.incidents import Document, Incident
from functions.domain.model.observations import ExecutionHistory, Observation, Unknown
from functions.domain.model.runbooks import Rules, Runbook


class StepContext(Struct, frozen=True):
    """What stays the same during one step."""

    rules: Rules
    seen: Observation
    at: float
    late_s: float = 0.0
    crowd: bool = False
    was_saved: bool = True
    """The incident was in the document before this step, so people expect an outcome."""
    wake_at: float | None = None
    """When a wake-up comes that was created beside the observation, before anything was decided."""

    def due_within(self, seconds: float) -> float:
        """When to check, at the latest `seconds` from now: when the wake-up comes that exists already, otherwise then."""
        latest = self.at + seconds
        return self.wake_at if self.wake_at is not None and self.at < self.wake_at <= latest else latest

    @property
    def ledger(self) -> ExecutionHistory | Unknown:
        return self.seen.ledger


def has_unseen(context: StepContext) -> bool:
    """Whether something could not be read in time, so that a later observation may succeed."""
    parts = (context.seen.ledger, context.seen.pause, context.seen.storm, *context.seen.queues.values())
    return any(isinstance(part, Unknown) and part.late for part in parts)


def is_all_resolved(incident: Incident) -> bool:
    """Whether Grafana has resolved every alert of the incident."""
    return bool(incident.triggers) and all(trigger.resolved_at is not None for trigger in incident.triggers)


def reply_for_incident(
    document: Document, incident: Incident, runbook: Runbook | None, action: Action, reason: Reason | None
) -> Reply:
    """The answer to Grafana for this incident."""
    target = document.target.name if document.target else ""
    return Reply(incident.id, runbook.name if runbook else "", target, action, reason, incident.execution)


def reply_for_alerts(document: Document, event: AlertsReceived, case: MatchedAlert, action: Action, reason: Reason) -> Reply:
    """The answer to Grafana for alerts that changed nothing."""
    incident = document.incident
    return Reply(
        incident.id if incident else event.incident,
        case.runbook.name if case.runbook else "",
        case.target.name if case.target else "",
        action,
        reason,
        incident.execution if incident else None,
    )
