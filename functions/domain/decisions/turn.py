"""One step in progress: its fixed inputs, and its changes so far."""

from __future__ import annotations

from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from functions.domain.cards.card_input import CardInput
from functions.domain.decisions.guards import GuardContext
from functions.domain.decisions.messages import channels_for, close_incident, enqueue_hold, enqueue_message
from functions.domain.model.alerts import MatchedAlert
from functions.domain.model.codes import Action, Ending, Phase, Reason
from functions.domain.model.events import Act, AlertsReceived, Reply
from functions.domain.model.incidents import Document, Incident, change
from functions.domain.model.observations import ExecutionHistory, Observation, Unknown
from functions.domain.model.runbooks import Rules, Runbook
from functions.runtime.text import Phrase


class StepContext(Struct, frozen=True):
    """The inputs of a step, which don't change."""

    rules: Rules
    seen: Observation
    at: float
    late_s: float = 0.0
    crowd: bool = False
    was_saved: bool = True  # the incident was in the document before this step, so people expect an outcome
    wake_at: float | None = None  # the time of the wake-up that was created during the observation, before anything was decided

    def due_within(self, seconds: float) -> float:
        """When to check, at most `seconds` from now: at the existing wake-up if that comes earlier."""
        latest = self.at + seconds
        return self.wake_at if self.wake_at is not None and self.at < self.wake_at <= latest else latest

    @property
    def ledger(self) -> ExecutionHistory | Unknown:
        return self.seen.ledger


class Turn:
    r"""One step in progress. It is the only mutable object in the core, and never leaves `step`.

    `document`: its current state. `acts`: ordered so far. `reply`: the answer to Grafana; the last one counts.
    """

    def __init__(self, document: Document, context: StepContext) -> None:
        self.document = document
        self.context = context
        self.acts: list[Act] = []
        self.reply: Reply | None = None

    @property
    def at(self) -> float:
        return self.context.at

    @property
    def ledger(self) -> ExecutionHistory | Unknown:
        return self.context.ledger

    @property
    def incident(self) -> Incident:
        """The open incident. Raises TypeError if there is none."""
        if self.document.incident is None:
            raise TypeError("no incident is open")
        return self.document.incident

    @property
    def runbook(self) -> Runbook:
        """The incident's runbook. Raises KeyError if the configuration no longer has it: `run_phase` ends such an incident."""
        return self.context.rules.runbooks[self.incident.runbook]

    @property
    def tag(self) -> str:
        """The tag of the incident's current attempt; a remedy's names it."""
        starts = self.incident.phase is Phase.STARTING and self.incident.approval.remedy
        return f"{self.incident.id}.{self.incident.attempt}{f'-{starts}' if starts else ''}"

    @property
    def mark(self) -> str:
        """Identifies a message that is posted once an attempt."""
        return f"{self.incident.id}-{self.incident.attempt}"

    def guard_context(self, *, approved: bool = False) -> GuardContext:
        context = self.context
        return GuardContext(
            context.rules, self.runbook, self.document, self.incident, context.seen, context.at, approved=approved
        )

    def open(self, incident: Incident) -> None:
        """Make this the open incident, replacing one that is open."""
        self.document = replace(self.document, incident=incident)

    def change(self, **changes: Any) -> None:
        """Change these fields of the open incident."""
        self.open(change(self.incident, **changes))

    def drop(self) -> None:
        """Discard the incident without an outcome or a record."""
        self.document = replace(self.document, incident=None)

    def order(self, act: Act) -> None:
        self.acts.append(act)

    def card(self, kind: str, reason: Reason | None = None, detail: Phrase = "", **more: Any) -> CardInput:
        """The card of the open incident."""
        incident = more.pop("incident", self.document.incident)
        runbook = self.context.rules.runbooks.get(incident.runbook) if incident else None
        target, late_s = self.document.target, self.context.late_s
        return CardInput(kind, self.at, runbook, target, incident, reason, detail, late_s=late_s, **more)

    def post(self, card_input: CardInput, mark: str, channels: tuple[str, ...] | None = None) -> None:
        """Post a message once, to these channels or those of its runbook. `mark` identifies the message."""
        if channels is None:
            channels = channels_for(self.context.rules, card_input.runbook)
        self.document = enqueue_message(self.document, self.context.rules, card_input, channels, mark)

    def post_hold(self, card_input: CardInput, mark: str, *, bundle: str = "", always: bool = False) -> None:
        """Post a hold, at most once an hour for the same alerts."""
        self.document = enqueue_hold(self.document, self.context.rules, card_input, mark, bundle=bundle, always=always)

    def close(self, ending: Ending, card_input: CardInput, *, tell: bool = True) -> None:
        """End the incident, with an outcome and a record."""
        self.document = close_incident(self.document, self.context.rules, self.incident, ending, card_input, tell=tell)

    def answer(self, action: Action, reason: Reason | None, about: Incident | None = None) -> None:
        """Answer Grafana. `about`: the incident as the answer shows it, by default the open one."""
        incident = about or self.incident
        runbook = self.context.rules.runbooks.get(incident.runbook)
        target = self.document.target.name if self.document.target else ""
        self.reply = Reply(incident.id, runbook.name if runbook else "", target, action, reason, incident.execution)

    def answer_alerts(self, event: AlertsReceived, case: MatchedAlert, action: Action, reason: Reason) -> None:
        """Answer Grafana for alerts that changed nothing."""
        incident = self.document.incident
        self.reply = Reply(
            incident.id if incident else event.incident,
            case.runbook.name if case.runbook else "",
            case.target.name if case.target else "",
            action,
            reason,
            incident.execution if incident else None,
        )


def has_unseen(context: StepContext) -> bool:
    """Whether something could not be read in time, so that a later observation may succeed."""
    parts = (context.seen.ledger, context.seen.pause, context.seen.storm, *context.seen.queues.values())
    return any(isinstance(part, Unknown) and part.late for part in parts)


def is_all_resolved(incident: Incident) -> bool:
    """Whether Grafana has resolved every alert of the incident."""
    return bool(incident.triggers) and all(trigger.resolved_at is not None for trigger in incident.triggers)
