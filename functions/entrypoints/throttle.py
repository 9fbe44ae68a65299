"""Limits what a flood of strangers' requests costs: threads, and one log line a second.

gunicorn has a thread for each request, and reads a body only while the function asks for it. So a body that comes slowly, or
never, occupies a thread. While more than half of the threads are occupied like that, bodies are cut off: those that come too
slowly, and those that had FAIR_S, the longest waiting first. How fast the others are doesn't count, or strangers would only
have to be faster than Grafana."""

import os
import socket
import threading
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import lru_cache
from io import BytesIO

from flask import Request, current_app, has_app_context
from flask import request as current_request
from msgspec import Struct, field

from functions.adapters.grafana import request as grafana
from functions.runtime import logs
from functions.runtime.errors import BadRequest

BODY_S = 10.0  # seconds for any body to arrive. 1,000 alerts (2.6 MB) take this long at 2.1 Mbit/s
BASE_S = 2.0
BYTES_PER_S = 256 * 1024  # a shorter body gets less: this time, and its announced length at this rate
REFUSED_S = 1.0  # seconds in which the body of an answered request may arrive
GRACE_S = 0.02  # seconds until the first bytes count as late: as long as a packet's way through a continent
LEAST_BYTES_PER_S = 64 * 1024  # half a megabit: slower bodies are cut off first while too many are awaited
FAIR_S = 0.5  # seconds that a body has all the same while too many are awaited: a notification of 32 kB, at that rate
WAIT_S = 0.05  # seconds that a new connection may occupy a thread without sending anything; gunicorn would wait for five
LINGERING = 256  # connections that wait for their senders to close them. Further ones are closed at once
LOGGED_EVERY_S = 1.0  # further refusals are only counted: 1,000 a second would be 40 GB of log a day
_LOOK_EVERY_S = 0.005


def _piece(received: int) -> int:
    """How much to read at a time: small at first, since gunicorn shows a piece only when it is whole."""
    return 1024 if not received else 4096 if received < 32 * 1024 else grafana.READ_BYTES


class _Reading(Struct, eq=False):
    """A body that is being read: its connection, what is left to read, and monotonic times."""

    connection: socket.socket
    stream: grafana.Stream
    began: float
    ends: float
    fair_s: float
    received: int = 0
    cut: bool = False

    def read(self, size: int, /) -> bytes:
        chunk = self.stream.read(min(size, _piece(self.received)))
        self.received += len(chunk)
        return chunk

    def cut_off(self) -> None:
        """Its reader still gets what has arrived, and then sees the end of the body."""
        self.cut = True
        with suppress(OSError):
            self.connection.shutdown(socket.SHUT_RD)

    def is_slow(self, now: float) -> bool:
        """Whether it comes more slowly than LEAST_BYTES_PER_S. The piece that is being read may have come almost entirely."""
        at_most = self.received + _piece(self.received)
        return at_most < (now - self.began - GRACE_S) * LEAST_BYTES_PER_S

    def may_be_cut(self, now: float) -> bool:
        return now - self.began > self.fair_s or self.is_slow(now)


@contextmanager
def _watched(stream: grafana.Stream, connection: socket.socket, allowed_s: float, fair_s: float) -> Iterator[_Reading]:
    now, watch = time.monotonic(), _watch()
    reading = _Reading(connection, stream, now, now + allowed_s, fair_s)
    watch.add(reading)
    try:
        yield reading
    finally:
        watch.open.discard(reading)


def read_body(request: Request, max_body: int) -> bytes:
    """`grafana.read_body`, for strangers: at most half of gunicorn's threads wait for bodies, and none longer than its length
    justifies. Other servers, as in tests, are not watched. Raises BadRequest, 503 for a body that was cut off: Alertmanager
    then sends it again."""
    connection, length = request.environ.get("gunicorn.socket"), request.content_length
    if connection is None:
        return grafana.read_body(request.stream, length, max_body, request.content_encoding)
    allowed_s = BODY_S if length is None else min(BODY_S, BASE_S + length / BYTES_PER_S)
    with _watched(request.stream, connection, allowed_s, FAIR_S) as reading:
        try:
            return grafana.read_body(reading, length, max_body, request.content_encoding)
        except BadRequest:
            if reading.cut:
                raise BadRequest(503, "The body did not arrive in time.") from None
            raise


def stop_reading(request: Request) -> None:
    """Discard what arrives of an answered request's body within REFUSED_S. With a part unread the connection would be reset,
    and the sender might not see the answer. gunicorn would wait five seconds for the rest, in a thread; at the connection's
    end it would wait two seconds for the sender to close it, in the loop that accepts others. functions-framework would read
    the rest into memory without a limit."""
    stream, request.stream = request.stream, BytesIO()
    connection = request.environ.get("gunicorn.socket")
    if connection is None:
        return
    goes_on = "close" not in request.headers.get("Connection", "").lower() and request.environ["SERVER_PROTOCOL"] != "HTTP/1.0"
    if goes_on and not request.content_length and "Transfer-Encoding" not in request.headers:
        return
    is_whole = False
    with _watched(stream, connection, REFUSED_S, GRACE_S) as reading, suppress(BadRequest):
        while grafana.read_chunk(reading):
            pass
        is_whole = not reading.cut
    if not (is_whole and goes_on):
        reading.cut_off()


def guard_server() -> None:
    """Have gunicorn and functions-framework, which are about to serve in this process, wait for no stranger either."""
    from gunicorn import util
    from gunicorn.workers import gthread  # functions-framework imports it right after this

    gthread.DEFAULT_WORKER_DATA_TIMEOUT = WAIT_S
    util.close_graceful = _close_later
    if has_app_context():  # functions-framework loads main.py within its application's
        current_app.before_request(_answer_without_function)


def _answer_without_function() -> None:
    """For what functions-framework answers itself, such as 404 for /robots.txt: it would read the body without any limit."""
    if current_request.url_rule is None or current_request.url_rule.endpoint == "error":
        stop_reading(current_request)


def _close_later(connection: socket.socket, *_limits: float) -> None:
    """Instead of gunicorn's own: announce the end, and close when the sender has had time to read the answer."""
    with suppress(OSError):
        connection.shutdown(socket.SHUT_WR)
    _watch().linger(connection)


class _Watch(Struct):
    open: set[_Reading] = field(default_factory=set)
    lingering: deque[tuple[float, socket.socket]] = field(default_factory=deque)
    some: threading.Event = field(default_factory=threading.Event)
    lock: threading.Lock = field(default_factory=threading.Lock)
    most: int = max(1, int(os.environ.get("THREADS", (os.cpu_count() or 1) * 4)) // 2)
    """Half of the threads that functions-framework has gunicorn start."""

    def add(self, reading: _Reading) -> None:
        with self.lock:
            self.open.add(reading)
            self.some.set()

    def linger(self, connection: socket.socket) -> None:
        with self.lock:
            self.lingering.append((time.monotonic() + REFUSED_S, connection))
            if len(self.lingering) > LINGERING:
                self.lingering.popleft()[1].close()
            self.some.set()

    def run(self) -> None:
        while self.some.wait():
            time.sleep(_LOOK_EVERY_S)
            now = time.monotonic()
            self._cut(now)
            with self.lock:
                while self.lingering and self.lingering[0][0] < now:
                    self.lingering.popleft()[1].close()
                if not self.open and not self.lingering:
                    self.some.clear()

    def _cut(self, now: float) -> None:
        awaited = [reading for reading in self.open.copy() if not reading.cut]
        too_many = len(awaited) - self.most
        for reading in sorted(awaited, key=lambda reading: (not reading.is_slow(now), reading.began)):
            if reading.ends < now or (too_many > 0 and reading.may_be_cut(now)):
                reading.cut_off()
                too_many -= 1


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


@lru_cache(maxsize=16)
def _refusals(_status: int) -> Sparing:
    return Sparing()


def log_refusal(status: int, sentence: str) -> None:
    """Limits lines by status, so that strangers' 401 don't hide Grafana's own 400."""
    if (more := _refusals(status).passes()) is not None:
        logs.event("WARNING", f"refused with {status}: {sentence}{more}")
