"""One step in progress: its fixed inputs, and its changes so far."""

from typing import Any

from msgspec.structs import replace

from functions.domain.cards.content import CardInput
from functions.domain.decisions.judging import GuardContext
from functions.domain.health.looks import note_snapshot
from functions.domain.health.recovery import be_patient
from functions.domain.model.alerts import MatchedAlert
from functions.domain.model.codes import Action, Phase, Reason
from functions.domain.model.events import Act, AlertsReceived, Reply
from functions.domain.model.incidents import Document, Incident, QueueState
from functions.domain.model.messages import CardKind
from functions.domain.model.observations import ExecutionHistory, Observation, Reading, Unknown
from functions.domain.model.runbooks import Rules, Runbook
from functions.runtime.text import Phrase


class Turn:
    """One step in progress. It is the only mutable object in the core, and never leaves `step`."""

    def __init__(self, document: Document, rules: Rules, seen: Observation, at: float) -> None:
        self.document = document  # its current state
        self.rules = rules
        self.seen = seen
        self.at = at
        self.crowd = False
        self.was_saved = True  # the incident was in the document before this step, so people expect an outcome
        self.wake_at: float | None = None  # of the wake-up that was created during the observation, before anything was decided
        self.entered = False  # whether the phase of the incident takes its step with this one
        self.acts: list[Act] = []  # ordered so far
        self.reply: Reply | None = None  # the answer to Grafana; the last one counts

    def due_within(self, seconds: float) -> float:
        """When to check, at most `seconds` from now: at the existing wake-up if that comes earlier."""
        latest = self.at + seconds
        return self.wake_at if self.wake_at is not None and self.at < self.wake_at <= latest else latest

    @property
    def history(self) -> ExecutionHistory | None:
        """The runner's history; None if it could not be read."""
        return self.seen.history if isinstance(self.seen.history, ExecutionHistory) else None

    @property
    def incident(self) -> Incident:
        """The open incident. Raises TypeError if there is none."""
        if self.document.incident is None:
            raise TypeError("no incident is open")
        return self.document.incident

    @property
    def runbook(self) -> Runbook:
        """The incident's runbook. Raises KeyError if the configuration no longer has it: `run_phase` ends such an incident."""
        return self.rules.runbooks[self.incident.runbook]

    @property
    def tag(self) -> str:
        return f"{self.incident.id}.{self.incident.attempt}"

    @property
    def mark(self) -> str:
        """Identifies a message that is posted once an attempt."""
        return f"{self.incident.id}-{self.incident.attempt}"

    def forget_followed(self) -> None:
        """Forget the execution that was read, since the incident follows another one from now on."""
        if self.history is not None:
            self.seen = replace(self.seen, history=replace(self.history, followed=None, tail=None))

    def snapshot_of(self, state: QueueState) -> Reading:
        return self.seen.reading_of(state.queue)

    def note_figures(self, queues: tuple[QueueState, ...]) -> tuple[QueueState, ...]:
        """The queues with their current figures, where these can be read. Nothing is judged by them."""
        return tuple(note_snapshot(state, self.snapshot_of(state)) for state in queues)

    def runbook_of(self, state: QueueState) -> Runbook:
        return self.rules.runbooks.get(state.runbook, self.runbook)

    def patient_runbook_of(self, state: QueueState) -> Runbook:
        """What judges the queue after a restart, with the stalls that are known of it."""
        return be_patient(self.runbook_of(state), self.document.stalls.get(state.queue.key))

    def guard_context(self, *, approved: bool = False) -> GuardContext:
        return GuardContext(self.rules, self.runbook, self.document, self.incident, self.seen, self.at, approved=approved)

    def open(self, incident: Incident) -> None:
        self.document = replace(self.document, incident=incident)

    def change(self, **changes: Any) -> None:
        """Change these fields of the open incident. mypy knows them: tools/typed_replace.py."""
        self.open(replace(self.incident, **changes))

    def change_approval(self, **changes: Any) -> None:
        self.change(approval=replace(self.incident.approval, **changes))

    def change_run(self, **changes: Any) -> None:
        self.change(run=replace(self.incident.run, **changes))

    def enter(self, phase: Phase) -> None:
        """Go on to this phase, whose step is taken at once: see `run_entered`."""
        self.change(phase=phase)
        self.entered = True

    def withdraw_question(self) -> None:
        """Go on without an answer: the link that people got approves nothing any more."""
        self.change(waits_from=self.at)
        self.change_approval(nonce="", expires_at=None)
        self.enter(Phase.WAITING)

    def card(
        self, kind: CardKind, reason: Reason | None = None, detail: Phrase = "", incident: Incident | None = None
    ) -> CardInput:
        """The card of the incident, by default the open one."""
        incident = incident or self.incident
        runbook, target = self.rules.runbooks.get(incident.runbook), self.document.target
        return CardInput(kind, self.at, runbook, target, incident, reason, detail)

    def answer(self, action: Action, reason: Reason | None, about: Incident | None = None) -> None:
        """Answer Grafana. `about`: the incident as the answer shows it, by default the open one."""
        incident = about or self.incident
        runbook = incident.runbook if incident.runbook in self.rules.runbooks else ""
        target = self.document.target.name if self.document.target else ""
        self.reply = Reply(incident.id, runbook, target, action, reason, incident.execution)

    def answer_alerts(self, event: AlertsReceived, case: MatchedAlert, action: Action, reason: Reason) -> None:
        """Answer Grafana for alerts that changed nothing."""
        incident, runbook, target = self.document.incident, case.runbook.name if case.runbook else "", case.target
        about, execution = (incident.id, incident.execution) if incident else (event.incident, None)
        self.reply = Reply(about, runbook, target.name if target else "", action, reason, execution)


def has_unseen(seen: Observation) -> bool:
    """Whether something could not be read in time, so that a later observation may succeed."""
    parts = (seen.history, seen.pause, seen.storm, *seen.queues.values())
    return any(isinstance(part, Unknown) and part.late for part in parts)


def is_all_resolved(incident: Incident) -> bool:
    """Whether Grafana has resolved every alert of the incident."""
    return bool(incident.triggers) and all(trigger.resolved_at is not None for trigger in incident.triggers)
