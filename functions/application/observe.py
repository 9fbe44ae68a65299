"""Reads everything that one step needs, all systems at the same time."""

import secrets
from collections.abc import Callable, Mapping
from functools import partial
from itertools import islice
from typing import Any

from msgspec.structs import replace

from functions.application.documents import load_pause, load_storm
from functions.application.ports import Budget, Ports, Query, QueueOutcome
from functions.domain.decisions.evidence import evidence_to_read, is_awaited
from functions.domain.decisions.step import Queues, Wanted, what_to_observe
from functions.domain.model.events import Event
from functions.domain.model.incidents import Document, Evidence, EvidenceRun, Incident
from functions.domain.model.observations import NOT_CHECKED, EvidenceReading, ExecutionHistory, Observation, Pause, Unknown
from functions.domain.model.runbooks import Runbook, Symptom
from functions.domain.texts.patterns import mask
from functions.runtime.errors import Denied, Unavailable
from functions.runtime.parallel import Calls, name_late, unwrap
from functions.runtime.secrets import redact
from functions.runtime.text import Text

LOOK_SHARE = 0.5  # the observation's share of the time left; the rest is for saving and acting
LOOK_S = 20.0
REACH_S = 600.0  # what stands still is looked at every nine minutes until it ends, and wake-ups come late
READ_EVIDENCE_S = 3.0  # seconds for each check of the run. The last check may end this long after `within`
STORE = "store"  # names the call in the note about a time-out
NOTHING_SEEN = Observation(NOT_CHECKED, {}, NOT_CHECKED, NOT_CHECKED)


def observe(ports: Ports, document: Document, event: Event, budget: Budget) -> Observation:
    """Read everything that this document names, at the same time."""
    readings = read_evidence(ports, document.incident, budget)
    if any(reading.awaited for reading in readings or ()):
        return replace(NOTHING_SEEN, evidence=readings)
    timeout_s = budget.at_most(LOOK_S) * LOOK_SHARE
    _, observation = read_all(ports, what_to_observe(document, event, ports.rules), timeout_s)
    return replace(observation, evidence=readings)


def read_all(
    ports: Ports, wanted: Wanted, timeout_s: float, ahead: Calls = (), ahead_s: float = 0.0
) -> tuple[list[Any], Observation]:
    """Read everything at the same time. `ahead`: other calls that are made beside, in `ahead_s`; their results come first."""
    target = wanted.target
    since_s = max(map(_history_s, ports.rules.runbooks.values()), default=86400.0)
    queue_calls, read_queues = plan_queues(ports, wanted.queues, timeout_s, wanted.channels)
    look = partial(ports.runner.look, since_s=since_s, follow=wanted.follow, timeout_s=timeout_s, tail=wanted.tail)
    runner_calls = [partial(look, target)] if target is not None else []
    store_calls: Calls = [partial(read_pause, ports, timeout_s), partial(load_storm, ports, timeout_s)]
    calls: Calls = [*ahead, *store_calls, *runner_calls, *queue_calls]
    results = iter(ports.run_parallel(calls, max(timeout_s, ahead_s)))
    first = list(islice(results, len(ahead)))
    pause, storm = (or_unknown(name_late(result, STORE)) for result in islice(results, len(store_calls)))
    history, start_page = Unknown(Text("the document has no target")), ""
    if target is not None:
        history, start_page = or_unknown(name_late(next(results), ports.rules.runner)), ports.runner.start_page(target)
    queues = {key: or_unknown(snapshot) for key, snapshot in read_queues(list(results)).items()}
    history, nonce = _mask_tail(history, ports.rules.mask), secrets.token_urlsafe(12)
    return first, Observation(history, queues, pause, storm, start_page, nonce=nonce)


def read_evidence(ports: Ports, incident: Incident | None, budget: Budget) -> tuple[EvidenceReading, ...] | None:
    """Read the evidence runs, side by side; None for an incident that collects none."""
    evidence = evidence_to_read(incident)
    if evidence is None:
        return None
    timeout_s = budget.at_most(READ_EVIDENCE_S)
    calls = [partial(_read_run, ports, evidence, run, timeout_s) for run in evidence.runs]
    readings = []
    for run, result in zip(evidence.runs, ports.run_parallel(calls, timeout_s), strict=True):
        late = isinstance(result, Unavailable)
        reading = EvidenceReading(run.execution, problem=result.text) if late else unwrap(result)
        readings.append(replace(reading, awaited=is_awaited(run, evidence, reading, ports.now())))
    return tuple(readings)


def _read_run(ports: Ports, evidence: Evidence, run: EvidenceRun, timeout_s: float) -> EvidenceReading:
    if run.execution is None or run.missing:
        return EvidenceReading(run.execution)
    partly = ports.now() >= evidence.until  # then nobody waits for the rest
    try:
        execution, output = ports.runner.read_evidence(run.execution.id, partial=partly, timeout_s=timeout_s)
    except (Denied, Unavailable) as error:
        return EvidenceReading(run.execution, problem=error.text)
    masked = output and tuple(replace(part, text=mask(redact(part.text), ports.rules.mask)) for part in output)
    return EvidenceReading(execution, masked)


def _mask_tail(history: Any, patterns: tuple[str, ...]) -> Any:
    if not isinstance(history, ExecutionHistory) or not history.tail:
        return history
    tail = redact("\n".join(history.tail))
    return replace(history, tail=tuple((mask(tail, patterns) if patterns else tail).split("\n")))


def plan_queues(
    ports: Ports, queues: Queues, timeout_s: float, channels: Mapping[str, tuple[str, ...]] | None = None
) -> tuple[Calls, Callable[[list[Any]], dict[str, Any]]]:
    """The queries for these queues, one for each symptom, and the function that sorts the snapshots and errors by queue.
    `channels`: those to read first, by the queue's key."""
    groups: dict[str, list[Query]] = {}
    for key, (queue, runbook) in queues.items():
        symptom = runbook.symptom if runbook else Symptom(queue.kind)
        reach_s = max(symptom.for_at_most_s, REACH_S) if symptom.learns else 0.0
        query = Query(queue, symptom.for_s, (channels or {}).get(key, ()), reach_s)
        groups.setdefault(queue.kind, []).append(query)

    def read(results: list[Any]) -> dict[str, Any]:
        snapshots: dict[str, Any] = {}
        for group, result in zip(groups.values(), results, strict=True):
            each = [name_late(result, group[0].queue.kind)] * len(group) if isinstance(result, BaseException) else result
            snapshots |= {query.queue.key: snapshot for query, snapshot in zip(group, each, strict=True)}
        return snapshots

    return [partial(_look_all, ports, kind, group, timeout_s) for kind, group in groups.items()], read


def _look_all(ports: Ports, kind: str, queries: list[Query], timeout_s: float) -> list[QueueOutcome]:
    symptom = ports.symptoms.get(kind)
    if symptom is None:
        raise Denied(kind, Text("is not in the configuration"), remedy=Text("Add `{kind}` to the configuration.", kind=kind))
    return symptom.look_all(queries, timeout_s=timeout_s)


def _history_s(runbook: Runbook) -> float:
    limits = runbook.limits
    return max([limits.cooldown_s, *(window_s for window_s, _ in limits.restarts)]) + runbook.restart.max_run_s


def read_pause(ports: Ports, timeout_s: float) -> Pause | None:
    """Read the kill switch: the environment, otherwise the document `pause`. Never cached."""
    if ports.is_paused_by_environment():
        return Pause(Text("UNSTICK_PAUSED=1 is set"))
    pause, _ = load_pause(ports, timeout_s)
    return pause if pause and pause.holds_at(ports.now()) else None


def or_unknown(result: Any) -> Any:
    """The result, or Unknown with the reason."""
    if isinstance(result, Unavailable):
        return Unknown(result.text, late=result.late, remedy=result.remedy)
    if isinstance(result, Denied):
        return Unknown(result.text, remedy=result.remedy)
    return unwrap(result)
