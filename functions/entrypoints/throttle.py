"""Limits what a flood of strangers' requests costs: half of the threads for seconds, and one log line a second."""

import os
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import lru_cache

from flask import Request
from msgspec import Struct, field

from functions.adapters.grafana import request as grafana
from functions.runtime.errors import BadRequest

BODY_S = 10.0  # seconds for any body to arrive. 1,000 alerts (2.6 MB) take this long at 2.1 Mbit/s
BASE_S = 2.0
BYTES_PER_S = 256 * 1024  # a shorter body gets less: this time, and its announced length at this rate
REFUSED_S = 1.0  # seconds in which the body of a refused request may arrive
GRACE_S = 0.02  # seconds that each body may take while too many are awaited: as long as a packet's way through a continent
LOGGED_EVERY_S = 1.0  # further refusals are only counted: 1,000 a second would be 40 GB of log a day
_LOOK_EVERY_S = 0.005


class _Reading(Struct, eq=False):
    """A body that is being read: its connection, what is left to read, and monotonic times."""

    connection: socket.socket
    stream: grafana.Stream
    began: float
    ends: float
    received: int = 0
    cut: bool = False

    def read(self, size: int, /) -> bytes:
        chunk = self.stream.read(size)
        self.received += len(chunk)
        return chunk

    def cut_off(self) -> None:
        """Its reader still gets what has arrived, and then sees the end of the body."""
        self.cut = True
        with suppress(OSError):
            self.connection.shutdown(socket.SHUT_RD)


@contextmanager
def _watched(request: Request, connection: socket.socket, allowed_s: float) -> Iterator[_Reading]:
    now, watch = time.monotonic(), _watch()
    reading = _Reading(connection, request.stream, now, now + allowed_s)
    watch.add(reading)
    try:
        yield reading
    finally:
        watch.open.discard(reading)


def read_body(request: Request, max_body: int) -> bytes:
    """`grafana.read_body`, for strangers: at most half of gunicorn's threads wait for bodies, and none longer than its length
    justifies. If more wait, the slowest are cut off; otherwise a few senders of single bytes could occupy all threads. Other
    servers, as in tests, are not watched. Raises BadRequest, 503 for a body that was cut off: Alertmanager then sends it
    again."""
    connection, length = request.environ.get("gunicorn.socket"), request.content_length
    if connection is None:
        return grafana.read_body(request.stream, length, max_body, request.headers)
    allowed_s = BODY_S if length is None else min(BODY_S, BASE_S + length / BYTES_PER_S)
    with _watched(request, connection, allowed_s) as reading:
        try:
            return grafana.read_body(reading, length, max_body, request.headers)
        except BadRequest:
            if reading.cut:
                raise BadRequest(503, "The body did not arrive in time.") from None
            raise


def stop_reading(request: Request) -> None:
    """Discard what arrives of a refused request's body within REFUSED_S. With a part unread the connection would be reset, and
    the sender might not see the answer. gunicorn would wait five seconds for the rest, in a thread; at the connection's end it
    would wait two seconds for the sender to close it, in the loop that accepts others."""
    connection = request.environ.get("gunicorn.socket")
    if connection is None:
        return
    goes_on = "close" not in request.headers.get("Connection", "").lower() and request.environ["SERVER_PROTOCOL"] != "HTTP/1.0"
    is_whole = False
    with _watched(request, connection, REFUSED_S) as reading, suppress(BadRequest):
        while grafana.read_chunk(reading):
            pass
        is_whole = not reading.cut
    if not (is_whole and goes_on):
        reading.cut_off()


class _Watch(Struct):
    open: set[_Reading] = field(default_factory=set)
    some: threading.Event = field(default_factory=threading.Event)
    lock: threading.Lock = field(default_factory=threading.Lock)
    most: int = max(1, int(os.environ.get("THREADS", (os.cpu_count() or 1) * 4)) // 2)
    """Half of the threads that functions-framework has gunicorn start."""

    def add(self, reading: _Reading) -> None:
        with self.lock:
            self.open.add(reading)
            self.some.set()

    def run(self) -> None:
        while self.some.wait():
            time.sleep(_LOOK_EVERY_S)
            now, awaited = time.monotonic(), [reading for reading in self.open.copy() if not reading.cut]
            slowest_first = sorted(awaited, key=lambda reading: reading.received / (now - reading.began + _LOOK_EVERY_S))
            for place, reading in enumerate(slowest_first):
                too_many = len(awaited) - place > self.most and now - reading.began > GRACE_S
                if too_many or reading.ends < now:
                    reading.cut_off()
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
