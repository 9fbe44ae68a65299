"""Calls to several systems at the same time, on threads."""

import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from types import ModuleType
from typing import Any

from functions.runtime.errors import Unavailable
from functions.runtime.text import Text

MOST_THREADS = 32
"""Limit for one set of calls, however many systems an alert names: each thread costs memory here and a connection there."""

TIME = "time"  # placeholder for the system that did not answer, until the caller names it (`name_late`)
Calls = Sequence[Callable[[], Any]]


def run_parallel(calls: Calls, *, timeout_s: float, at_once: int = MOST_THREADS) -> list[Any]:
    """Run the calls on threads, `at_once` of them. Returns, in order, what each call returned or the exception that it raised. A
    call that is not done in time yields Unavailable with `late`. Its thread ends by its own time-out, and its result is dropped.
    A call for which no thread was free in that time is never made."""
    results: list[Any] = [Unavailable(TIME, Text("no answer in the time given"), late=True)] * len(calls)
    waiting = deque(enumerate(calls))
    ends = time.monotonic() + timeout_s

    def work() -> None:
        with suppress(IndexError):  # none is left
            while time.monotonic() < ends:
                place, call = waiting.popleft()
                results[place] = _outcome(call)

    threads = []
    with suppress(RuntimeError):  # no more threads for this process now
        for number in range(min(len(calls), at_once)):
            thread = threading.Thread(target=work, daemon=True, name=f"parallel-{number}")
            thread.start()
            threads.append(thread)
    for thread in threads:
        thread.join(max(0.0, ends - time.monotonic()))
    return list(results)


def unwrap(result: Any) -> Any:
    """Return the result of one of the calls, or raise it if it is an error."""
    if isinstance(result, BaseException):
        raise result
    return result


def name_late(outcome: Any, system: str) -> Any:
    """The result; if it timed out, an error that names the system."""
    if isinstance(outcome, Unavailable) and outcome.system == TIME:
        return Unavailable(system, outcome.detail, late=outcome.late)
    return outcome


def _outcome(call: Callable[[], Any]) -> Any:
    try:
        return call()
    except Exception as error:  # noqa: BLE001 - returned to the caller in place of the result
        return error


class Late:
    """A module of our own that is imported when one of its functions is first called. `load` imports and returns it."""

    def __init__(self, load: Callable[[], ModuleType]) -> None:
        self._load = load

    def __getattr__(self, name: str) -> Callable[..., Any]:
        def call(*given: Any, **named: Any) -> Any:
            return getattr(self._load(), name)(*given, **named)

        return call
