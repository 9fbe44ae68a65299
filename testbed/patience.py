"""How long a test waits for what must happen: far longer than it takes, since a busy machine may stop a process for seconds.

assert wait_until(lambda: double.asked) == ["/api/overview"]
seen = wait_until(look, lambda one: one.depth == 3)
"""

import time
from collections.abc import Callable
from typing import Any, TypeVar

Seen = TypeVar("Seen")

PATIENCE_S = 60.0
"""It costs nothing where all is well: the wait ends with what it waits for."""

MORE_TIME_S = (0.5, 5.0, 30.0)
"""For a call that is to run out of its time, but not before it has done its part: where that was too short, the next."""

POLL_S = 0.05


def wait_until(
    look: Callable[[], Seen], right: Callable[[Seen], Any] = bool, *, what: Callable[[], str] = str, within_s: float = PATIENCE_S
) -> Seen:
    """What `look` returns as soon as it is right; fails with the last that it returned, and with `what`."""
    ends = time.monotonic() + within_s
    while not right(seen := look()):
        if time.monotonic() > ends:
            raise AssertionError(f"not within {within_s:g} s, but {seen!r} {what()}")
        time.sleep(POLL_S)
    return seen
