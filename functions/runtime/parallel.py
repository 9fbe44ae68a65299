"""Ask several systems at once."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

from functions.runtime.errors import Unavailable


def run_parallel(calls: list[Callable[[], Any]], *, timeout_s: float) -> list[Any]:
    """Run the calls on threads and return, in order, what each returned or the exception that it raised.

    A call that is not done in time yields Unavailable with `late`; its thread ends by its own time-out, and what it brings is
    dropped.
    """
    if len(calls) == 1 and timeout_s > 0:
        return [_outcome(calls[0])]
    results: list[Any] = [Unavailable("time", "no answer in the time given", late=True)] * len(calls)
    done = [threading.Event() for _ in calls]

    def work(place: int) -> None:
        outcome = _outcome(calls[place])
        results[place] = outcome
        done[place].set()

    ends = time.monotonic() + timeout_s
    for place in range(len(calls)):
        try:
            threading.Thread(target=work, args=(place,), daemon=True, name=f"together-{place}").start()
        except RuntimeError:  # the machine gives this process no more threads; later it may
            results[place] = Unavailable("time", "there is no thread left to ask with", late=True)
            done[place].set()
    for event in done:
        event.wait(max(0.0, ends - time.monotonic()))
    return list(results)


def _outcome(call: Callable[[], Any]) -> Any:
    try:
        return call()
    except Exception as error:  # noqa: BLE001 - not handled here: handed to the caller in the result's place
        return error
