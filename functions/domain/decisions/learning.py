"""Follows what stands still to its end, in every mode and whatever becomes of the incident, and learns from it how long the
application stalls. One look in nine minutes is enough: RabbitMQ's samples show what happened in between."""

import math
from collections.abc import Iterable

from msgspec.structs import replace

from functions.domain.decisions.turn import Turn
from functions.domain.health.looks import to_trust
from functions.domain.health.rows import Trust
from functions.domain.health.samples import rise_within
from functions.domain.health.stalls import LOOK_S, add_stall, end_of, find_standstills, look_again
from functions.domain.model.alerts import QueueRef
from functions.domain.model.events import AlertsReceived, Event, WasHealthy
from functions.domain.model.incidents import Document, QueueState
from functions.domain.model.observations import NOT_CHECKED, QueueSnapshot, QueueStalls, Reading, Standstill, Statement, Subject
from functions.domain.model.runbooks import Runbook

CAUSED_S = 60.0
"""A run of the job that begins so soon after the end may have caused it: the clocks differ, and so do the figures."""

QUEUES_KEPT = 100  # labels may choose the queue


def learn(turn: Turn) -> None:
    """Look at all that stands still, and note what has ended. What teaches nothing, such as a hang whose connection is lost, is
    followed until the queue moves: what follows it before that teaches nothing either."""
    followed = []
    for standstill in turn.document.standstills:
        reading, book = turn.seen.reading_of(standstill.queue), turn.rules.runbooks.get(standstill.runbook)
        after = None if standstill.spoiled else look_again(standstill, reading, book.symptom.users if book else ())
        if after is None or _is_spoiled(turn, after):
            if _stands_still(reading, book):
                followed.append(_look_later(turn, replace(standstill, spoiled=True, ended_at=None)))
        elif stall := end_of(after):
            if turn.history is not None and turn.at >= stall.ended_at + CAUSED_S:
                _note(turn, standstill.queue, add_stall(_learned(turn, standstill.queue), stall))
            else:
                followed.append(replace(after, due=max(stall.ended_at + CAUSED_S, turn.at + CAUSED_S / 2)))
        else:
            followed.append(_look_later(turn, after))
    turn.document = replace(turn.document, standstills=tuple(followed))


def _look_later(turn: Turn, standstill: Standstill) -> Standstill:
    return replace(standstill, due=turn.at + LOOK_S) if turn.at >= standstill.due else standstill


def _stands_still(reading: Reading, runbook: Runbook | None) -> bool:
    """Whether the queue stands still, as far as is known: nothing was acknowledged for all of `for`, and it is not empty."""
    if not isinstance(reading, QueueSnapshot) or reading.blind is not None or runbook is None:
        return runbook is not None and not (isinstance(reading, Statement) and reading.recovered)
    collected = tuple((at, count) for at, count in reading.ack_samples if count)  # 0 where a node's counters were away
    return reading.depth > 0 and not rise_within(collected, runbook.symptom.for_s)


def begin(turn: Turn, queues: Iterable[QueueState]) -> None:
    """Follow what stands still from now on of the queues of this step."""
    for state in queues:
        _begin(turn, state)


def _begin(turn: Turn, state: QueueState) -> None:
    reading, runbook = turn.seen.reading_of(state.queue), turn.rules.runbooks.get(state.runbook)
    if runbook is None or reading is NOT_CHECKED:
        return
    _note_users(turn, state.queue, runbook, reading)
    if not runbook.symptom.learns:
        return
    trust = to_trust(state.looks, reading, turn.at) if isinstance(reading, QueueSnapshot) else Trust()
    followed = turn.document.standstills
    if any(known.ended_at is None and known.queue.key == state.queue.key for known in followed):
        return
    found = find_standstills(state.queue, runbook, reading, trust)
    new = (replace(begun, spoiled=_is_spoiled(turn, begun)) for begun in found)
    turn.document = replace(turn.document, standstills=(*followed, *new))


def _note_users(turn: Turn, queue: QueueRef, runbook: Runbook, reading: Reading) -> None:
    """Note that the queue was looked at, and which of `users` consume it: once these are gone, it is theirs that are gone."""
    learned, owners = _learned(turn, queue), reading.owners if isinstance(reading, QueueSnapshot) else None
    users = tuple(sorted({*learned.users, *set(runbook.symptom.users).intersection(owners or ())}))
    if queue.key not in turn.document.stalls or users != learned.users:
        _note(turn, queue, replace(learned, users=users))


def _is_spoiled(turn: Turn, standstill: Standstill) -> bool:
    """Whether a run of the target's job, whoever started it, lay in it or within a minute of its end. A planned run counts: once
    its time has come, a runner may show it as scheduled still."""
    until = turn.at if standstill.ended_at is None else standstill.ended_at + CAUSED_S
    ahead_s = turn.history.ahead_s(turn.at) if turn.history else 0.0
    runs = turn.history.executions if turn.history else ()
    spans = ((run.runner_started_at, run.runner_ended_at or math.inf) for run in runs if not run.refused)
    return any(began and began - ahead_s < until and ended - ahead_s > standstill.began_at for began, ended in spans)


def _learned(turn: Turn, queue: QueueRef) -> QueueStalls:
    return turn.document.stalls.get(queue.key) or QueueStalls(turn.at)


def _note(turn: Turn, queue: QueueRef, learned: QueueStalls) -> None:
    stalls = {**turn.document.stalls, queue.key: learned}
    if len(stalls) > QUEUES_KEPT:
        del stalls[min(stalls, key=lambda key: (bool(stalls[key].stalls), stalls[key].since))]
    turn.document = replace(turn.document, stalls=stalls)


def confirm(document: Document, subjects: Iterable[Subject]) -> Document:
    """The document after a person said that these stand still on purpose: the length of what is only likely to hang counts."""
    keys = {(subject.queue, subject.kind) for subject in subjects if not subject.proved}
    said = (replace(each, confirmed=True) if (each.queue.key, each.kind) in keys else each for each in document.standstills)
    return replace(document, standstills=tuple(said))


def on_healthy(turn: Turn, event: WasHealthy) -> None:
    """A person says that the restart met a healthy application: people are asked until one such stall has ended by itself."""
    outcome = turn.document.find_doubtable(event.nonce)
    if outcome is None:
        return
    kinds = {subject.queue: subject.kind for subject in outcome.subjects}
    for queue in outcome.queues:
        learned, kind = _learned(turn, queue), kinds.get(queue.key)
        if kind is not None and kind not in learned.doubted:
            _note(turn, queue, replace(learned, doubted=(*learned.doubted, kind)))


def queues_of_step(before: Document, after: Document, event: Event, at: float) -> list[QueueState]:
    """Each queue of this step's incident or alerts, or that is followed, as it is known now."""
    cases = event.cases if isinstance(event, AlertsReceived) else ()
    states = [QueueState(case.queue, case.runbook.name, at) for case in cases if case.queue and case.runbook]
    states += [QueueState(standstill.queue, standstill.runbook, at) for standstill in before.standstills]
    for document in (before, after):
        states += document.incident.queues if document.incident else ()
    return list({state.queue.key: state for state in states}.values())
