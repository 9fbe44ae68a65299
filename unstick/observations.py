"""Made-up observations: nothing, a stuck queue with an empty history, or the content of a file."""

from pathlib import Path
from typing import Any, TypeVar

import msgspec
from msgspec.structs import replace

from functions.domain.model.events import AlertsReceived
from functions.domain.model.incidents import Document
from functions.domain.model.observations import (
    ExecutionHistory,
    Observation,
    Pause,
    QueueHistory,
    QueueSnapshot,
    Reading,
    Statement,
    Storm,
    Unknown,
)
from unstick.output import Unusable
from unstick.simulation import Observe

T = TypeVar("T")
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


def unobserved() -> Observe:
    """Nothing was read."""
    unknown = {"why": "it was not checked (--offline)"}
    return _observe_as("--offline", _Seen({ANY: unknown}, unknown, unknown, unknown))


def from_file(path: str) -> Observe:
    """The observation in a JSON file; see `simulate --help`. Raises Unusable with the place of a mistake. `queues`: by
    `rabbitmq:VHOST:NAME`, or `*` for all others; with `stuck_s` or `recovered`, what its conditions say. A time of 0 or less is
    relative to now. A queue without samples has not changed for as long as the runbook requires."""
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
    observe = _observe_as(path, seen)
    observe("", AlertsReceived((), ""), 0.0)
    return observe


def _observe_as(place: str, seen: _Seen) -> Observe:
    """The observation, without any document."""

    def observe(key: str, event: AlertsReceived, now: float) -> tuple[Document, Observation]:
        history = _part(f"{place}: ledger", {"runner_now": now, **seen.history}, ExecutionHistory, now)
        switch = _part(f"{place}: pause", seen.pause, Pause, now) if seen.pause else None
        pause = None if isinstance(switch, Pause) and not switch.on else switch
        storm = _part(f"{place}: storm", seen.storm, Storm, now)
        snapshots = {
            case.queue.key: _queue(place, seen.queues, case.queue.key, case.runbook.symptom.for_s, now)
            for case in event.cases
            if case.queue and case.runbook
        }
        return Document(key), Observation(history, snapshots, pause, storm)

    return observe


def _queue(place: str, queues: dict[str, Any], key: str, for_s: float, now: float) -> Reading:
    name = key if key in queues else ANY
    if name not in queues:
        return Unknown(f"{place} says nothing of {key}")
    reading = _snapshot(place, queues, name, now)
    return _steady(reading, for_s) if isinstance(reading, QueueSnapshot) and not reading.depth_samples else reading


def _snapshot(place: str, queues: dict[str, Any], name: str, now: float) -> Reading:
    given = queues[name]
    if not {"stuck_s", "recovered"}.isdisjoint(given):
        return _part(f"{place}: queues.{name}", {"at": now, "range_s": 0.0, **given}, Statement, now)
    filled = {"at": now, "ready": given.get("depth", 0), "unacked": 0, "acks": DONE, "deliveries": DONE, "channels": [], **given}
    return _part(f"{place}: queues.{name}", given if "why" in given else filled, QueueSnapshot, now)


def _steady(snapshot: QueueSnapshot, for_s: float) -> QueueSnapshot:
    """Add the broker's samples of a queue that has not changed for longer than `for_s`."""
    times = [snapshot.at - SAMPLE_EVERY_S * back for back in reversed(range(int(for_s) // SAMPLE_EVERY_S + 3))]

    def still(value: int | None) -> tuple[tuple[float, int], ...]:
        return tuple((at, value or 0) for at in times)

    history = QueueHistory(ready=still(snapshot.ready), unacked=still(snapshot.unacked), deliveries=still(snapshot.deliveries))
    return replace(snapshot, ack_samples=still(snapshot.acks), depth_samples=still(snapshot.depth), history=history)


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
        return [_absolute(item, now) for item in content]
    if not isinstance(content, dict):
        return content
    return {
        name: now + value if name in TIMES and isinstance(value, int | float) and value <= 0 else _absolute(value, now)
        for name, value in content.items()
    }
