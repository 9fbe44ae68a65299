"""Requests on raw sockets, with the times of their last byte out and first byte back. No HTTP library's own time is in them."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from typing import Self

TIMEOUT_S = 60.0
LOOK_AGAIN_S = 0.002


@dataclass(frozen=True, slots=True)
class Exchange:
    """One request and its answer. Times are Unix seconds."""

    began_at: float
    """Before the first byte was sent, with the connection open."""
    sent_at: float
    """When the last byte was handed to the kernel."""
    answered_at: float
    status: int
    """0: the connection ended without an answer."""

    @property
    def took_s(self) -> float:
        return self.answered_at - self.began_at

    def expected(self, *statuses: int) -> Self:
        """Itself. Raises RuntimeError where the answer was another: what did not do its work must have no figure."""
        if self.status not in statuses:
            raise RuntimeError(f"answered {self.status or 'nothing'} instead of {' or '.join(map(str, statuses))}")
        return self


def message(path: str, headers: Mapping[str, str], body: bytes) -> bytes:
    """A whole POST; its connection is closed after the answer."""
    lines = [f"POST {path} HTTP/1.1", "Host: 127.0.0.1", f"Content-Length: {len(body)}", "Connection: close"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    return "\r\n".join([*lines, "", ""]).encode() + body


def exchange(port: int, sent: bytes) -> Exchange:
    """Send one message on a connection of its own, and read the answer to its end."""
    with closing(socket.create_connection(("127.0.0.1", port), timeout=TIMEOUT_S)) as line:
        return _exchanged(line, sent)


def _exchanged(line: socket.socket, sent: bytes) -> Exchange:
    began_at = time.time()
    line.sendall(sent)
    sent_at = time.time()
    try:
        head = line.recv(65536)
        answered_at = time.time()
        while line.recv(65536):
            pass
    except ConnectionError:
        return Exchange(began_at, sent_at, time.time(), 0)
    return Exchange(began_at, sent_at, answered_at, int(head.split(b" ", 2)[1]) if head else 0)


def first(port: int, sent: bytes, *, within_s: float) -> Exchange:
    """As `exchange`, with a server that is only being started: its first open port gets the message."""
    ends = time.monotonic() + within_s
    while True:
        try:
            return exchange(port, sent)
        except ConnectionRefusedError:
            if time.monotonic() > ends:
                raise
            time.sleep(LOOK_AGAIN_S)


def at_once(port: int, messages: Sequence[bytes]) -> list[Exchange]:
    """All messages at the same time, each on a connection of its own."""
    gate = threading.Barrier(len(messages))

    def send(sent: bytes) -> Exchange:
        with closing(socket.create_connection(("127.0.0.1", port), timeout=TIMEOUT_S)) as line:
            gate.wait(TIMEOUT_S)
            return _exchanged(line, sent)

    with ThreadPoolExecutor(len(messages)) as pool:
        return list(pool.map(send, messages))


def rate(port: int, sent: bytes, *, status: int, for_s: float, connections: int) -> float:
    """Answers a second of the same message, sent over and over by this many senders. RuntimeError if one has another status."""
    ends = time.monotonic() + for_s

    def send(_place: int) -> int:
        count = 0
        while time.monotonic() < ends:
            exchange(port, sent).expected(status)
            count += 1
        return count

    began = time.monotonic()
    with ThreadPoolExecutor(connections) as pool:
        return sum(pool.map(send, range(connections))) / (time.monotonic() - began)
