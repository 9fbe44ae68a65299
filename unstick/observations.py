"""Made-up observations: nothing, a stuck queue with an empty history, or the content of a file."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import msgspec
from msgspec.structs import replace

from functions.domain.model.alerts import MatchedAlert
from functions.domain.model.observations import ExecutionHistory, Observation, Pause, QueueHistory, QueueSnapshot, Storm, Unknown
from functions.domain.model.runbooks import Symptom
from unstick.output import Unusable

Observe = Callable[[tuple[MatchedAlert, ...], float], Observation]
T = TypeVar("T")
STUCK_MESSAGES = 100  # messages of the made-up queue above its limit
DONE = 1000  # messages that the made-up queue's consumers acknowledged before it got stuck
SAMPLE_EVERY_S = 5
TIMES = frozenset({"at", "runner_started_at", "runner_ended_at", "runner_not_after", "head_at"})
ANY = "*"
EXAMPLE = '{"queues": {"*": {"depth": 362, "consumers": 1}}, "ledger": {"executions": []}, "pause": null}'


class _Seen(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    queues: dict[str, dict[str, Any]] = {}
    history: dict[str, Any] = msgspec.field(name="ledger", default_factory=dict)
    pause: dict[str, Any] | None = None
    storm: dict[str, Any] = {}


def unobserved(cases: tuple[MatchedAlert, ...], _now: float) -> Observation:
    """An observation in which nothing was read."""
    unknown = Unknown("it was not checked (--offline)")
    return Observation(unknown, {case.queue.key: unknown for case in cases if case.queue}, unknown, unknown)


def stuck(cases: tuple[MatchedAlert, ...], now: float) -> Observation:
    """Every queue is stuck with one consumer, there were no restarts, and the kill switch is off."""
    queues = {case.queue.key: _stuck(case.runbook.symptom, now) for case in cases if case.queue and case.runbook}
    return Observation(ExecutionHistory(now), queues, None, Storm())


def _stuck(symptom: Symptom, now: float) -> QueueSnapshot:
    depth = symptom.max_messages + STUCK_MESSAGES
    seen = QueueSnapshot(now, depth, depth, 0, consumers=1, consumer_ids=("consumer",), acks=DONE, deliveries=DONE)
    return _steady(seen, symptom.for_s)


def _steady(snapshot: QueueSnapshot, for_s: float) -> QueueSnapshot:
    """Add the broker's samples of a queue that has not changed for longer than `for_s`."""
    count = int(for_s) // SAMPLE_EVERY_S + 3
    times = [snapshot.at - SAMPLE_EVERY_S * back for back in reversed(range(count))]

    def still(value: int | None) -> tuple[tuple[float, int], ...]:
        return tuple((at, value or 0) for at in times)

    history = QueueHistory(ready=still(snapshot.ready), unacked=still(snapshot.unacked), deliveries=still(snapshot.deliveries))
    return replace(snapshot, ack_samples=still(snapshot.acks), depth_samples=still(snapshot.depth), history=history)


def from_file(path: str) -> Observe:
    """The observation in a JSON file; see `simulate --help`. Raises Unusable with the place of a mistake. `queues`: by
    `rabbitmq:VHOST:NAME`, or `*` for all others. A time of 0 or less is relative to now. A queue without samples has not
    changed for as long as the runbook requires."""
    try:
        seen = msgspec.json.decode(Path(path).read_bytes(), type=_Seen)
    except OSError as error:
        raise Unusable(f"{path}: can't be read ({type(error).__name__}). Name a JSON file such as {EXAMPLE}") from None
    except msgspec.ValidationError as error:
        raise _not_understood(path, error) from None
    except (ValueError, RecursionError):
        raise Unusable(f"{path}: is not JSON. Write for example {EXAMPLE}") from None
    for name in seen.queues:
        _snapshot(path, seen.queues, name, 0.0)  # so that a mistake is reported for this file, not for a recording

    def observe(cases: tuple[MatchedAlert, ...], now: float) -> Observation:
        history = _part(f"{path}: ledger", {"runner_now": now, **seen.history}, ExecutionHistory, now)
        switch = _part(f"{path}: pause", seen.pause, Pause, now) if seen.pause else None
        pause = None if isinstance(switch, Pause) and not switch.on else switch
        storm = _part(f"{path}: storm", seen.storm, Storm, now)
        snapshots = {
            case.queue.key: _queue(path, seen.queues, case.queue.key, case.runbook.symptom.for_s, now)
            for case in cases
            if case.queue and case.runbook
        }
        return Observation(history, snapshots, pause, storm)

    observe((), 0.0)
    return observe


def _queue(path: str, queues: dict[str, Any], key: str, for_s: float, now: float) -> QueueSnapshot | Unknown:
    name = key if key in queues else ANY
    if name not in queues:
        return Unknown(f"{path} says nothing of {key}")
    snapshot = _snapshot(path, queues, name, now)
    return snapshot if isinstance(snapshot, Unknown) or snapshot.depth_samples else _steady(snapshot, for_s)


def _snapshot(path: str, queues: dict[str, Any], name: str, now: float) -> QueueSnapshot | Unknown:
    given = queues[name]
    filled = {"at": now, "ready": given.get("depth", 0), "unacked": 0, "acks": DONE, "deliveries": DONE, **given}
    return _part(f"{path}: queues.{name}", given if "why" in given else filled, QueueSnapshot, now)


def _part(place: str, given: dict[str, Any], kind: type[T], now: float) -> T | Unknown:
    """One part, converted to its type; with `why`, the reason why it could not be read."""
    if "why" in given:
        return Unknown(str(given["why"]), remedy=str(given.get("remedy", "")))
    try:
        return msgspec.convert(_absolute(given, now), kind)
    except msgspec.ValidationError as error:
        raise _not_understood(place, error) from None


def _not_understood(place: str, error: msgspec.ValidationError) -> Unusable:
    return Unusable(f"{place} is not understood: {error}. Write for example {EXAMPLE}")


def _absolute(content: Any, now: float) -> Any:
    """Convert times of 0 or less from seconds relative to now."""
    if isinstance(content, list):
        return [_absolute(one, now) for one in content]
    if not isinstance(content, dict):
        return content
    return {
        name: now + value if name in TIMES and isinstance(value, int | float) and value <= 0 else _absolute(value, now)
        for name, value in content.items()
    }
