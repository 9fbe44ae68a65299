"""What a flood of strangers may cost: a reading thread for ten seconds, and one line a second in the log."""

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
"""For a body to arrive. 2.6 MB of 1,000 alerts are there in this time at 2.1 Mbit/s."""

LOGGED_EVERY_S = 1.0
"""Refusals beyond are counted: 1,000 a second would be 40 GB of log a day."""

_LOOK_EVERY_S = 0.5


@contextmanager
def patience(request: Request) -> Iterator[None]:
    """Stop listening to a connection that has not sent its body in time: whoever reads from it sees its end.

    A server that has a thread for each of its readers, as gunicorn's, could else be kept from all others by a few senders
    of a byte now and then. Behind another server, as in tests, nothing is watched.
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
    """The connections that are read from, by a number of their own, and until when."""

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
    """One thread for the process, built on first use, since workers are forked. It sleeps while nothing is read."""
    watch = _Watch()
    threading.Thread(target=watch.run, daemon=True, name="flood-watch").start()
    return watch


class Sparing(Struct):
    """Lets one through in `LOGGED_EVERY_S` and counts the others."""

    next_at: float = float("-inf")
    held_back: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)

    def passes(self) -> str | None:
        """What its line ends with: how many were held back before it. None where it is held back too."""
        now = time.monotonic()
        with self.lock:
            if now < self.next_at:
                self.held_back += 1
                return None
            before, self.held_back, self.next_at = self.held_back, 0, now + LOGGED_EVERY_S
        return f" ({before} more were refused since the last such line)" if before else ""
