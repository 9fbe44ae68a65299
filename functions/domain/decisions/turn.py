"""One step in progress: its fixed inputs, the judgement of its queues with what holds by it, and its changes so far."""

import math
from functools import cached_property
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from functions.domain.cards.content import CardInput
from functions.domain.health.looks import Judgement, judge_health, note_snapshot, to_subject
from functions.domain.health.recovery import Since
from functions.domain.health.rows import Terms, terms_of
from functions.domain.model.alerts import MatchedAlert, QueueRef
from functions.domain.model.cards import CardKind
from functions.domain.model.codes import ASKED, Action, Health, Mode, Phase, Reason
from functions.domain.model.events import Act, AlertsReceived, Decision, Kind, Reply, hold
from functions.domain.model.incidents import Asked, Document, Incident, Opinion, QueueState
from functions.domain.model.observations import (
    NOT_CHECKED,
    ExecutionHistory,
    Observation,
    QueueSnapshot,
    Reading,
    Subject,
    Unknown,
)
from functions.domain.model.runbooks import Rules, Runbook
from functions.runtime.text import Phrase, Text, join, named

QUESTION_S = 86400.0
CLOCKS_APART_S = 90.0  # between two machines that run Unstick, at most; NTP keeps them within a second
REPLACED_KEPT = 20  # nonces of an incident's earlier cards
PEOPLE_DECIDE = {Health.GOING_ROUND: Reason.GOING_ROUND, Health.NEVER_CONSUMED: Reason.NEVER_CONSUMED}
"""States that are not healthy, but that a restart doesn't help."""

Judged = list[tuple[Judgement, QueueState]]


class HistoryUnknown(Exception):
    """A guard needs the history, which could not be read."""


class GuardContext(Struct, frozen=True, dict=True):
    rules: Rules
    runbook: Runbook
    document: Document
    incident: Incident
    seen: Observation
    now: float
    approved: Asked | None = None  # what a person has read and approved

    @property
    def between(self) -> bool:
        """Whether the incident has already had a restart."""
        return self.incident.restarts > 0

    @property
    def history(self) -> ExecutionHistory:
        """The history, for guards after `ledger_unknown`. Raises HistoryUnknown if it could not be read."""
        if isinstance(self.seen.history, Unknown):
            raise HistoryUnknown(self.seen.history.why)
        return self.seen.history

    def runbook_of(self, state: QueueState) -> Runbook:
        return self.rules.runbooks.get(state.runbook, self.runbook)

    @cached_property
    def judged(self) -> Judged:
        """The current health of each queue of the incident, and its state including this observation."""
        judged = []
        for state in self.incident.queues:
            runbook, reading = self.runbook_of(state), self.seen.reading_of(state.queue)
            terms = terms_for(runbook, self.document, state.queue)
            judgement, after = judge_health(runbook.symptom, reading, state, self.now, terms)
            judgement = ask_opinions(self.document.opinions, judgement)
            judged.append((self._confirm(judgement, to_subject(state, judgement, reading)), after))
        return judged

    def _confirm(self, judgement: Judgement, subject: Subject | None) -> Judgement:
        """The judgement after a person's approval: what the card named counts as proved, and nothing beside it."""
        subjects = self.approved.subjects if self.approved else ()
        asked = next((asked for asked in subjects if subject and asked.is_about(subject)), None)
        if asked is None or judgement.health is not Health.LIKELY:
            return judgement
        known = {channel.id for channel in asked.who}
        held_by = tuple(channel for channel in judgement.held_by if channel.id in known)
        return replace(judgement, health=Health.ILL, against="", held_by=held_by)

    def list_subjects(self) -> list[tuple[Subject, QueueState]]:
        """What stands still of the incident's queues now, with the queue."""
        pairs = [(to_subject(state, judged, self.seen.reading_of(state.queue)), state) for judged, state in self.judged]
        return [(subject, state) for subject, state in pairs if subject is not None]


def terms_for(runbook: Runbook, document: Document, queue: QueueRef) -> Terms:
    """The runbook's terms for this queue, with what was learned of it and what people said."""
    followed = (each for each in document.standstills if each.queue.key == queue.key and each.ended_at is None)
    on_purpose = frozenset(each.kind for each in followed if each.confirmed)
    return terms_of(runbook, document.stalls.get(queue.key), on_purpose)


def ask_opinions(opinions: tuple[Opinion, ...], judgement: Judgement) -> Judgement:
    """The judgement after the evidence job's word on each host that holds messages: `healthy` takes its channels out, `stuck`
    proves them, and what is left decides. A word counts for the channels that held messages then, as long as they finish nothing.
    """
    said = {
        channel.id: opinion
        for opinion in opinions
        for channel in judgement.held_by
        if any(known.is_unmoved(channel) for known in opinion.who)
    }
    if not said:
        return judgement
    text = Text("the evidence job says of {host}: {reason}")
    words = dict.fromkeys(text.fill(host=opinion.host, reason=opinion.reason) for opinion in said.values())
    why = join((judgement.why, *words))
    left = tuple(channel for channel in judgement.held_by if channel.id not in said or not said[channel.id].healthy)
    stuck = tuple(channel for channel in left if channel.id in said)
    if not left:
        return Judgement(Health.WELL, why)
    if judgement.health is Health.LIKELY and stuck:
        return replace(judgement, health=Health.ILL, why=why, held_by=stuck, against="")
    return replace(judgement, why=why, held_by=left)


def _select(judged: Judged, *healths: Health) -> Judged:
    return [(judgement, state) for judgement, state in judged if judgement.health in healths]


def _say(judged: Judged) -> Phrase:
    return join(named(state.queue.name, judgement.why) for judgement, state in judged)


def symptom(context: GuardContext) -> Decision | None:
    """Holds for `symptom_gone`, `symptom_unknown`, `going_round`, `never_consumed`. One stuck queue is enough to restart."""
    judged = context.judged
    if _select(judged, Health.ILL, Health.LIKELY):
        return None
    if unknown := _select(judged, Health.UNKNOWN):
        return _hold_as_unknown(context, *unknown[0])
    if unsure := _select(judged, Health.UNSURE):
        soonest = min(unsure, key=lambda pair: pair[0].again_in_s or math.inf)
        again_s = soonest[0].again_in_s or context.runbook_of(soonest[1]).verify.every_s
        return hold(Reason.SYMPTOM_UNKNOWN, _say([soonest]), again_in_s=again_s, tell=False)
    for health, reason in PEOPLE_DECIDE.items():
        if concerned := _select(judged, health):
            return hold(reason, _say(concerned))
    return hold(Reason.SYMPTOM_GONE, _say(judged))


def _hold_as_unknown(context: GuardContext, judgement: Judgement, state: QueueState) -> Decision:
    reading = context.seen.reading_of(state.queue)
    unread = reading.blind or reading.unseen if isinstance(reading, QueueSnapshot) else None
    unread = reading if isinstance(reading, Unknown) else unread or NOT_CHECKED
    told = not context.incident.is_suspicion
    return hold_as_unread(context, Reason.SYMPTOM_UNKNOWN, _say([(judgement, state)]), unread, lasts=told)


def hold_as_unread(context: GuardContext, reason: Reason, why: Phrase, unread: Unknown, *, lasts: bool = False) -> Decision:
    """Wait for what can't be read. A clear refusal (token, ACL, job) needs a remedy; other problems may pass before `within`."""
    waited_s = context.now - context.incident.found.get(reason, context.now)
    tell = lasts or context.between or bool(unread.remedy) or waited_s >= context.runbook.verify.within_s
    return hold(reason, why, again_in_s=context.runbook.verify.every_s, remedy=unread.remedy, tell=tell)


def likely_stuck(context: GuardContext) -> Decision | None:
    """What is likely, and not proved, asks a person: once for each standstill."""
    judged = context.judged
    likely = _select(judged, Health.LIKELY)
    if context.runbook.mode is Mode.OBSERVE or not likely or _select(judged, Health.ILL):
        return None
    if all(_was_asked(context, subject, state) for subject, state in context.list_subjects() if not subject.proved):
        return hold(Reason.LIKELY_STUCK, _say(likely), tell=context.between)
    return Decision(Kind.ASK if context.rules.can_ask else Kind.HOLD, Reason.LIKELY_STUCK, _say(likely))


def _was_asked(context: GuardContext, subject: Subject, state: QueueState) -> bool:
    """Whether another incident asked about this standstill; where its known stalls exceed the deadline, about the queue today."""
    learned, symptom = context.document.stalls.get(subject.queue), context.runbook_of(state).symptom
    told = context.document.list_told(subject)
    if learned is not None and learned.asks_s(subject.kind) > symptom.for_at_most_s:
        told += [each for each in context.document.told if each.subject.queue == subject.queue]
    asked = (each for each in told if each.reason in (*ASKED, Reason.DECLINED))  # that Unstick is paused, asks nothing
    return any(each.incident != context.incident.id and context.now - each.at < QUESTION_S for each in asked)


def delivery_limit(context: GuardContext) -> Decision | None:
    """A restart that may cost messages needs a person, whatever the mode."""
    limits = []
    for queue in (state.queue for state in context.incident.queues):
        reading = context.seen.reading_of(queue)
        returns = reading.returns if isinstance(reading, QueueSnapshot) and reading.unacked else None
        if returns is not None and not returns.left and not returns.dead_letters:
            limit = returns.limit if returns.limit is not None else Text("unknown")
            limits.append(named(queue.name, Text("delivery limit {limit}", limit=limit)))
    if not limits:
        return None
    detail = named(Text("a restart may make RabbitMQ drop the messages that are held"), join(limits))
    return Decision(Kind.ASK if context.rules.can_ask else Kind.HOLD, Reason.AWAITING_APPROVAL, detail)


def with_terms(rules: Rules, document: Document) -> Rules:
    """The rules with the runbooks of what is open in the document, as they were, that the configuration no longer has."""
    gone = {name: book for name, book in document.terms.items() if name not in rules.runbooks}
    return replace(rules, runbooks={**rules.runbooks, **gone}) if gone else rules


class Turn:
    """One step in progress. It is the only mutable object in the core, and never leaves `step`."""

    def __init__(self, document: Document, rules: Rules, seen: Observation, at: float) -> None:
        self.document = document  # its current state
        self.configured = frozenset(rules.runbooks)
        self.rules = with_terms(rules, document)
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
        """The incident's runbook, as it was if the configuration no longer has it."""
        return self.rules.runbooks[self.incident.runbook]

    @property
    def is_runbook_gone(self) -> bool:
        """Whether the configuration no longer has the incident's runbook: what is open goes on, and nothing is started."""
        return self.incident.runbook not in self.configured

    @property
    def ahead_s(self) -> float:
        """How far the runner's clock is ahead of ours, as far as that is known."""
        known = self.document.incident.runner_ahead_s if self.document.incident else 0.0
        return known if self.history is None else self.history.ahead_s(self.at)

    @property
    def clock_error_s(self) -> float:
        """By how much a time may be wrong that is told by the runner's clock: `ahead_s` may be that of another machine."""
        return CLOCKS_APART_S if self.history is None else 0.0

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

    def since(self, state: QueueState, age_s: float, *, confirmed: bool = False) -> Since:
        learned = self.document.stalls.get(state.queue.key)
        return Since(age_s, self.at, self.ahead_s, self.clock_error_s, confirmed=confirmed, learned=learned)

    def guard_context(self) -> GuardContext:
        approved = self.incident.approval.approved
        return GuardContext(self.rules, self.runbook, self.document, self.incident, self.seen, self.at, approved)

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
        approval = self.incident.approval
        replaced = (*approval.replaced, *filter(None, (approval.nonce,)))[-REPLACED_KEPT:]
        self.change(phase=Phase.WAITING, found={})
        self.change_approval(nonce="", expires_at=None, replaced=replaced)

    def card(
        self, kind: CardKind, reason: Reason | None = None, detail: Phrase = "", incident: Incident | None = None
    ) -> CardInput:
        """The card of the incident, by default the open one."""
        incident = incident or self.incident
        runbook, target = self.rules.runbooks.get(incident.runbook), self.document.target
        return CardInput(kind, self.at, runbook, target, incident, reason, detail, outcomes=self.document.outcomes)

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
