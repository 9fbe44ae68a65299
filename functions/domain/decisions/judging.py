"""Judges the queues of an incident, and holds a restart by what they show."""

import math
from collections.abc import Mapping
from datetime import datetime

from msgspec import Struct
from msgspec.structs import replace

from functions.domain.health.looks import judge_health
from functions.domain.health.proofs import LATE_FOR_S, Judgement
from functions.domain.health.rows import terms_of
from functions.domain.model.codes import Health, Mode, Proof, Reason
from functions.domain.model.events import Decision, Kind, hold
from functions.domain.model.incidents import Document, Incident, QueueState
from functions.domain.model.observations import NOT_CHECKED, ExecutionHistory, Observation, QueueSnapshot, Reading, Unknown
from functions.domain.model.runbooks import Rules, Runbook
from functions.runtime.text import Phrase, Text, join, named

QUESTION_S = 86400.0
PEOPLE_DECIDE: Mapping[Health, tuple[Reason, Phrase]] = {
    Health.GOING_ROUND: (
        Reason.GOING_ROUND,
        Text("A restart does not end a loop: look at why the application returns them, or crashes on them."),
    ),
    Health.NEVER_CONSUMED: (
        Reason.NEVER_CONSUMED,
        Text("If nobody is meant to consume it, as a dead-letter or delay queue, take it out of the alert's rule."),
    ),
}
"""States that are not healthy, but that a restart doesn't help."""


class HistoryUnknown(Exception):
    """A guard needs the history, which could not be read."""


class GuardContext(Struct, frozen=True):
    rules: Rules
    runbook: Runbook
    document: Document
    incident: Incident
    seen: Observation
    now: float
    approved: bool = False  # a person has read the reason for the hold and pressed the button

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

    def local_time(self) -> datetime:
        return datetime.fromtimestamp(self.now, self.rules.zone)


def judge_queues(context: GuardContext) -> list[tuple[Judgement, QueueState]]:
    """The current health of each queue of the incident, and its state including this observation."""
    return [_judge_queue(context, watched) for watched in context.incident.queues]


def _judge_queue(context: GuardContext, watched: QueueState) -> tuple[Judgement, QueueState]:
    runbook, seen = _runbook_of(context, watched), context.seen.queues.get(watched.queue.key, NOT_CHECKED)
    judged, state = judge_health(runbook.symptom, seen, watched, context.now, terms_of(runbook))
    return ask_opinion(context.incident, judged), state


def ask_opinion(incident: Incident, judged: Judgement) -> Judgement:
    """The judgement after the opinion of the evidence job, if it has one on the host that holds the messages."""
    opinion = incident.evidence.opinion if incident.evidence else None
    if opinion is None or not judged.held_by or any(channel.host != opinion.host for channel in judged.held_by):
        return judged
    says = Text("the evidence job says of {host}: {reason}", host=opinion.host, reason=opinion.reason)
    if opinion.healthy:
        return Judgement(Health.WELL, join((judged.why, says)))
    return replace(judged, health=Health.ILL, why=join((judged.why, says)), against="", settle="")


def _runbook_of(context: GuardContext, watched: QueueState) -> Runbook:
    return context.rules.runbooks.get(watched.runbook, context.runbook)


def symptom(context: GuardContext) -> Decision | None:
    """Holds for `symptom_gone`, `symptom_unknown`, `going_round`, `never_consumed`. One stuck queue is enough to restart."""
    judged = judge_queues(context)
    if any(one.health in (Health.ILL, Health.LIKELY) for one, _ in judged):
        return None
    if unknown := next((pair for pair in judged if pair[0].health is Health.UNKNOWN), None):
        return _hold_as_unknown(context, *unknown)
    unsure = [(one, watched) for one, watched in judged if one.health is Health.UNSURE]
    if unsure:
        one, watched = min(unsure, key=lambda pair: pair[0].again_in_s or math.inf)
        again_s = one.again_in_s or _runbook_of(context, watched).verify.every_s
        return hold(Reason.SYMPTOM_UNKNOWN, named(watched.queue.name, one.why), again_in_s=again_s, tell=False)
    for health, (reason, remedy) in PEOPLE_DECIDE.items():
        concerned = [(one, watched) for one, watched in judged if one.health is health]
        if concerned:
            return hold(reason, join(named(watched.queue.name, one.why) for one, watched in concerned), remedy=remedy)
    return hold(Reason.SYMPTOM_GONE, join(named(watched.queue.name, one.why) for one, watched in judged))


def _hold_as_unknown(context: GuardContext, judged: Judgement, watched: QueueState) -> Decision:
    seen = context.seen.queues.get(watched.queue.key, NOT_CHECKED)
    unread = (seen.blind or seen.unseen) if isinstance(seen, QueueSnapshot) else seen if isinstance(seen, Unknown) else None
    unread = seen.blind or seen.unseen if isinstance(seen, QueueSnapshot) else None
    unseen = seen if isinstance(seen, Unknown) else unread or NOT_CHECKED
    since = [at for at in (watched.looks.unread_at, watched.looks.unsure_at) if at is not None]
    lasts = not context.incident.is_suspicion or (bool(since) and context.now - min(since) >= LATE_FOR_S)
    return hold_as_unread(context, Reason.SYMPTOM_UNKNOWN, named(watched.queue.name, judged.why), unseen, lasts=lasts)


def hold_as_unread(context: GuardContext, reason: Reason, why: Phrase, unseen: Unknown, *, lasts: bool = False) -> Decision:
    """Wait for what can't be read. A clear refusal (token, ACL, job) needs a remedy; other problems may pass before `within`."""
    waited_s = context.now - max(context.incident.began_at, context.incident.waits_from)
    tell = lasts or context.between or bool(unseen.remedy) or waited_s >= context.runbook.verify.within_s
    return hold(reason, why, again_in_s=context.runbook.verify.every_s, remedy=unseen.remedy, tell=tell)


def likely_stuck(context: GuardContext) -> Decision | None:
    """What is likely, and not proved, asks a person: once in a day for each queue and verdict."""
    if context.runbook.mode is Mode.OBSERVE:
        return None
    judged = judge_queues(context)
    likely = [(one, watched) for one, watched in judged if one.health is Health.LIKELY]
    if not likely or any(one.health is Health.ILL for one, _ in judged):
        return None
    detail = join(named(watched.queue.name, one.why) for one, watched in likely)
    if all(was_asked(context.document, watched, one, context.now) for one, watched in likely):
        return hold(Reason.LIKELY_STUCK, detail, tell=context.between)
    return Decision(Kind.ASK, Reason.LIKELY_STUCK, detail) if context.rules.can_ask else hold(Reason.LIKELY_STUCK, detail)


def was_asked(document: Document, watched: QueueState, judged: Judgement, now: float) -> bool:
    """Whether people were asked about this queue and verdict within a day."""
    return now - document.questions.get(question_key(watched, judged.proof), -math.inf) < QUESTION_S


def question_key(watched: QueueState, proof: Proof | None) -> str:
    """What a question is about."""
    return f"{watched.queue.key}|{proof.value if proof else ''}"


def delivery_limit(queues: tuple[QueueState, ...], readings: Mapping[str, Reading], *, can_ask: bool) -> Decision | None:
    """A restart that may cost messages needs a person, whatever the mode."""
    limits = []
    for watched in queues:
        seen = readings.get(watched.queue.key, NOT_CHECKED)
        if isinstance(seen, QueueSnapshot) and seen.returns is not None and seen.returns.may_drop:
            limit = seen.returns.limit if seen.returns.limit is not None else Text("unknown")
            limits.append(named(watched.queue.name, Text("delivery limit {limit}", limit=limit)))
    if not limits:
        return None
    detail = named(Text("a restart may make RabbitMQ drop the messages that are held"), join(limits))
    return Decision(Kind.ASK if can_ask else Kind.HOLD, Reason.AWAITING_APPROVAL, detail)
