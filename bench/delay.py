"""A line to another port of this machine on which everything that is sent takes a fixed time to arrive."""

from __future__ import annotations

import queue
import socket
import threading
import time
from contextlib import suppress
from types import TracebackType
from typing import Self
from urllib.parse import urlsplit

CHUNK = 65536


class Delayed:
    """`with Delayed(url, delay_s=0.05) as line:` serves on `line.url`. Requests are late by `delay_s`, answers are not: so
    one call and its answer take one delay. Connections are opened without one, as a warm pool's are open already.
    """

    def __init__(self, url: str, *, delay_s: float) -> None:
        place = urlsplit(url)
        self._to = (place.hostname or "127.0.0.1", place.port or 80)
        self._delay_s = delay_s
        self._door = socket.create_server(("127.0.0.1", 0), backlog=128)
        self._open: list[socket.socket] = []
        self.url = f"http://127.0.0.1:{self._door.getsockname()[1]}"

    def __enter__(self) -> Self:
        threading.Thread(target=self._take, daemon=True).start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        for line in (self._door, *self._open):
            with suppress(OSError):
                line.shutdown(socket.SHUT_RDWR)
            line.close()

    def _take(self) -> None:
        with suppress(OSError):
            while True:
                near, _ = self._door.accept()
                far = socket.create_connection(self._to)
                self._open += (near, far)
                for line in (near, far):
                    line.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                under_way: queue.SimpleQueue[tuple[float, bytes]] = queue.SimpleQueue()
                for work, arguments in (
                    (self._read, (near, under_way)),
                    (_write_when_due, (far, under_way)),
                    (_pass_on, (far, near)),
                ):
                    threading.Thread(target=work, args=arguments, daemon=True).start()

    def _read(self, near: socket.socket, under_way: queue.SimpleQueue[tuple[float, bytes]]) -> None:
        data = b"-"
        while data:
            try:
                data = near.recv(CHUNK)
            except OSError:
                data = b""
            under_way.put((time.monotonic() + self._delay_s, data))


def _write_when_due(far: socket.socket, under_way: queue.SimpleQueue[tuple[float, bytes]]) -> None:
    with suppress(OSError):
        while True:
            due, data = under_way.get()
            time.sleep(max(0.0, due - time.monotonic()))
            if not data:
                far.shutdown(socket.SHUT_WR)
                return
            far.sendall(data)


def _pass_on(far: socket.socket, near: socket.socket) -> None:
    with suppress(OSError):
        while data := far.recv(CHUNK):
            near.sendall(data)
        near.shutdown(socket.SHUT_WR)
