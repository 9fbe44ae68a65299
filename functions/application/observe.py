"""Shell: look at everything that one step needs, at once."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from functions.application.ports import Budget, Outside
from functions.application.serialization import decoded
from functions.domain.model.alerts import Case, QueueRef, Target
from functions.domain.model.codes import Ending
from functions.domain.model.events import Alerted, Event
from functions.domain.model.incidents import Document
from functions.domain.model.observations import Observation, Pause, Storm, Unknown
from functions.domain.model.runbooks import Rules, Runbook
from functions.runtime.errors import Denied, Unavailable

LOOK_SHARE = 0.5
"""Of the time left, for the look; the rest is for saving and acting."""

LOOK_S = 20.0
NOTHING_SEEN = Observation(Unknown("it was not looked at"), {}, Unknown("it was not looked at"), Unknown("it was not looked at"))


def asked_of(cases: tuple[Case, ...]) -> tuple[Target | None, dict[str, tuple[QueueRef, Runbook | None]]]:
    """The target and the queues of one target's cases."""
    queues = {case.queue.key: (case.queue, case.runbook) for case in cases if case.queue is not None}
    return cases[0].target, queues


def look(outside: Outside, document: Document, event: Event, budget: Budget) -> tuple[Observation, str | None]:
    """Look at everything that this document speaks of, at once."""
    target, queues = asked_of(event.cases) if isinstance(event, Alerted) else (document.target, {})
    incident, follow, tail = document.incident, None, False
    if document.escalated_at is not None:
        runbook = next(iter(queues.values()))[1] if queues else None
        last = next((outcome for outcome in reversed(document.outcomes) if outcome.ending is Ending.ESCALATED), None)
        for queue in last.queues if last else ():
            queues.setdefault(queue.key, (queue, runbook))
    if incident is not None:
        for watched in incident.queues:
            queues.setdefault(watched.queue.key, (watched.queue, outside.rules.runbooks.get(watched.runbook)))
        follow = incident.execution.id if incident.execution else None
        tail = follow is not None and incident.tail is None
    timeout_s = budget.at_most(LOOK_S) * LOOK_SHARE
    calls, read = looks(outside, target, queues, follow, tail=tail, rules=outside.rules, timeout_s=timeout_s)
    return read(outside.together(calls, timeout_s))


def looks(
    outside: Outside,
    target: Target | None,
    queues: Mapping[str, tuple[QueueRef, Runbook | None]],
    follow: str | None,
    *,
    tail: bool,
    rules: Rules,
    timeout_s: float,
) -> tuple[list[Callable[[], Any]], Callable[[list[Any]], tuple[Observation, str | None]]]:
    """The calls of one look, and what makes an observation of their results."""
    since_s = max((_history_s(runbook) for runbook in rules.runbooks.values()), default=86400.0)
    keys = list(queues)
    calls: list[Callable[[], Any]] = [partial(read_pause, outside, timeout_s), lambda: outside.load("storm", timeout_s)]
    if target is not None:
        calls.append(lambda: outside.ledger(target, since_s, follow, timeout_s, tail=tail))
    for queue, runbook in queues.values():
        calls.append(partial(outside.sighting, queue, runbook.symptom.for_s if runbook else 60.0, timeout_s))

    def read(results: list[Any]) -> tuple[Observation, str | None]:
        pause, stored, rest = results[0], results[1], results[2:]
        ledger = rest[0] if target is not None else Unknown("the document names no target")
        sightings = rest[1:] if target is not None else rest
        storm, generation = _storm(stored)
        seen = dict(zip(keys, map(or_unknown, sightings), strict=True))
        return Observation(or_unknown(ledger), seen, or_unknown(pause), storm), generation

    return calls, read


def _history_s(runbook: Runbook) -> float:
    """How far back the history matters to this runbook's guards."""
    limits = runbook.limits
    return max([limits.cooldown_s, *(window_s for window_s, _ in limits.restarts)]) + runbook.restart.max_run_s


def read_pause(outside: Outside, timeout_s: float) -> Pause | None:
    """The kill switch: by environment, else the document `pause`. Never kept."""
    if outside.paused_here():
        return Pause("UNSTICK_PAUSED=1 is set", "the environment")
    stored = outside.load("pause", timeout_s)
    pause = decoded(Pause, stored.body, "pause") if stored else None
    return pause if pause and pause.on else None


def _storm(stored: Any) -> tuple[Storm | Unknown, str | None]:
    if isinstance(stored, Exception):
        return or_unknown(stored), None
    if stored is None:
        return Storm(), None
    try:
        return decoded(Storm, stored.body, "storm"), stored.generation
    except Denied as denied:
        return or_unknown(denied), None


def or_unknown(result: Any) -> Any:
    """A result, or why there is none."""
    if isinstance(result, Unavailable):
        return Unknown(str(result), late=result.late)
    if isinstance(result, Denied):
        return Unknown(str(result), remedy=result.remedy)
    return raised(result)


def raised(result: Any) -> Any:
    """A result of `together`, or raise the error that it is."""
    if isinstance(result, BaseException):
        raise result
    return result
