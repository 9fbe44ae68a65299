"""Calls several systems at once."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from functions.runtime.errors import Unavailable
from functions.runtime.text import Text

MOST_THREADS = 32
"""At once for one set of calls, whatever an alert names: each thread costs memory here and a connection there."""

TIME = "time"
"""Stands for the system that did not answer, until whoever made the calls names it."""


def run_parallel(calls: list[Callable[[], Any]], *, timeout_s: float) -> list[Any]:
    """Run the calls on threads and return, in order, what each returned or the exception that it raised.

    A call that is not done in time yields Unavailable with `late`; its thread ends by its own time-out, and its result
    is dropped. A call for which no thread was free in that time is never made.
    """
    if len(calls) == 1 and timeout_s > 0:
        return [_outcome(calls[0])]
    results: list[Any] = [Unavailable(TIME, Text("no answer in the time given"), late=True)] * len(calls)
    done = [threading.Event() for _ in calls]
    waiting = deque(range(len(calls)))
    ends = time.monotonic() + timeout_s

    def work() -> None:
        while time.monotonic() < ends:
            try:
                place = waiting.popleft()
            except IndexError:
                return
            results[place] = _outcome(calls[place])
            done[place].set()

    started = 0
    for number in range(min(len(calls), MOST_THREADS)):
        try:
            threading.Thread(target=work, daemon=True, name=f"parallel-{number}").start()
        except RuntimeError:  # the machine gives this process no more threads; later it may
            break
        started += 1
    if not started and calls:
        return [Unavailable(TIME, Text("no thread is left to ask with"), late=True)] * len(calls)
    for event in done:
        event.wait(max(0.0, ends - time.monotonic()))
    return list(results)


def name_late(outcome: Any, system: str) -> Any:
    """The outcome; where the time ran out, with the system that did not answer."""
    if isinstance(outcome, Unavailable) and outcome.system == TIME:
        return Unavailable(system, outcome.detail, late=outcome.late)
    return outcome


def run_in_batches(
    run: Callable[..., list[Any]], calls: Sequence[Callable[[], Any]], *, timeout_s: float, at_once: int
) -> Iterator[Any]:
    """Yield the results of the calls in order, as `run` (a `run_parallel`) has them. Each `at_once` of them have `timeout_s`."""
    for start in range(0, len(calls), at_once):
        yield from run([*calls[start : start + at_once]], timeout_s=timeout_s)


def _outcome(call: Callable[[], Any]) -> Any:
    try:
        return call()
    except Exception as error:  # noqa: BLE001 - not handled here: handed to the caller in the result's place
        return error
