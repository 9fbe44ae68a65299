"""One look at one queue."""

from collections.abc import Callable
from typing import Any

from functions.application.ports import Query, QueueOutcome
from functions.domain.model.alerts import QueueRef
from functions.domain.model.observations import QueueSnapshot, figures_of
from testbed.patience import PATIENCE_S


def look_once(
    look_all: Callable[..., list[QueueOutcome]],
    settings: Any,
    queue: QueueRef,
    *,
    for_s: float = 60.0,
    timeout_s: float = PATIENCE_S,
) -> QueueSnapshot:
    """The queue as `look_all` of a symptom's client reads it. Raises its error."""
    (seen,) = look_all(settings, [Query(queue, for_s)], timeout_s=timeout_s)
    if isinstance(seen, Exception):
        raise seen
    snapshot = figures_of(seen)
    assert snapshot is not None
    return snapshot
