"""Limits what a flood of strangers' requests costs: one reading thread for ten seconds, and one log line a second."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import lru_cache
from typing import TYPE_CHECKING

from msgspec import Struct, field

if TYPE_CHECKING:
    from flask import Request

BODY_S = 10.0
"""Seconds for a body to arrive. 1,000 alerts (2.6 MB) take this long at 2.1 Mbit/s."""

LOGGED_EVERY_S = 1.0
"""Further refusals are only counted: 1,000 a second would be 40 GB of log a day."""

_LOOK_EVERY_S = 0.5


@contextmanager
def patience(request: Request) -> Iterator[None]:
    r"""Close a connection that has not sent its body in time; its reader sees the end of the body.

    Without it, a few senders of a byte now and then could occupy all threads of gunicorn. Other servers, as in tests, are not
    watched.
    """
    connection = request.environ.get("gunicorn.socket")
    if connection is None:
        yield
        return
    watch = _watch()
    place = watch.add(connection, time.monotonic() + BODY_S)
    try:
        yield
    finally:
        watch.open.pop(place, None)


class _Watch(Struct):
    """The connections being read, by number, with their deadlines."""

    open: dict[int, tuple[float, socket.socket]] = field(default_factory=dict)
    some: threading.Event = field(default_factory=threading.Event)
    number: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)

    def add(self, connection: socket.socket, ends: float) -> int:
        with self.lock:
            self.number += 1
            self.open[self.number] = (ends, connection)
            self.some.set()
            return self.number

    def run(self) -> None:
        while self.some.wait():
            time.sleep(_LOOK_EVERY_S)
            for place, (ends, connection) in list(self.open.items()):
                if ends < time.monotonic():
                    self.open.pop(place, None)
                    with suppress(OSError):
                        connection.shutdown(socket.SHUT_RD)
            with self.lock:
                if not self.open:
                    self.some.clear()


@lru_cache(maxsize=1)
def _watch() -> _Watch:
    """The watching thread, one a process, started on first use because servers fork their workers. Sleeps while idle."""
    watch = _Watch()
    threading.Thread(target=watch.run, daemon=True, name="flood-watch").start()
    return watch


class Sparing(Struct):
    """Lets one line through in `LOGGED_EVERY_S` seconds and counts the others."""

    next_at: float = float("-inf")
    held_back: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)

    def passes(self) -> str | None:
        """The suffix for this line: how many lines were held back before it. None if this one is held back too."""
        now = time.monotonic()
        with self.lock:
            if now < self.next_at:
                self.held_back += 1
                return None
            before, self.held_back, self.next_at = self.held_back, 0, now + LOGGED_EVERY_S
        return f" ({before} more were refused since the last such line)" if before else ""
