"""Shared by the clients of all symptoms: asks several paths at once, and reads the answers."""

import time
from collections.abc import Callable, Collection, Mapping
from functools import partial
from typing import Any, TypeVar

import msgspec

from functions.runtime.errors import Denied, Unavailable
from functions.runtime.http_client import Answer
from functions.runtime.parallel import MOST_THREADS, name_late, run_parallel
from functions.runtime.structs import convert
from functions.runtime.text import Phrase, Text

T = TypeVar("T")
OK, FORBIDDEN, SERVER_ERROR = 200, frozenset({401, 403}), 500


def ask_all(
    system: str, limits: Mapping[str, float], ends: float, get: Callable[[str, float], Answer], *, at_once: int = MOST_THREADS
) -> dict[str, Any]:
    """Get all paths, so many at once, each within its limit (s) and until `ends` (monotonic): the Answer, or error, of each."""
    left_s = ends - time.monotonic()
    calls = [partial(get, path, min(left_s, limit_s)) for path, limit_s in limits.items()]
    outcomes = [name_late(outcome, system) for outcome in run_parallel(calls, timeout_s=left_s, at_once=at_once)]
    return dict(zip(limits, outcomes, strict=True))


def require_ok(system: str, answer: Answer, *, passing: Collection[int], remedy: Phrase) -> Answer:
    """Return a success. Raises Unavailable for 5xx and the statuses in `passing`, otherwise Denied, with the remedy for a wrong
    `url`."""
    status, what = answer.status, Text("answered {status}", status=str(answer.status))
    if status == OK:
        return answer
    if status >= SERVER_ERROR or status in passing:
        raise Unavailable(system, what)
    raise Denied(system, what, remedy=remedy, status=status)


def shaped(system: str, value: Any, shape: type[T]) -> T:
    """The answer as its type; raises Unavailable if the form isn't that of a known API."""
    try:
        return convert(value, shape)
    except (msgspec.ValidationError, UnicodeEncodeError) as error:  # the latter of half a surrogate pair
        raise Unavailable(system, Text("sent an unknown form of answer: {error}", error=str(error))) from None
