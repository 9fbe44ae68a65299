"""One deadline for all of an HTTP exchange: connecting, TLS, sending, status line, headers, 1xx answers, body and trailers.

requests and urllib3 bound each read alone (urllib3.readthedocs.io, `util.Timeout`), so whoever sends a byte now and then would
never be late. Looking up a name is bounded by the resolver alone. Imported with the first request: it takes 70 ms and 10 MiB.
"""

from __future__ import annotations

import io
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from http.client import HTTPResponse
from typing import TYPE_CHECKING, Any

import requests
from urllib3.connection import HTTPConnection, HTTPSConnection

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

CONNECT_TIMEOUT_S = 3.05  # a little over the 3 s after which TCP retransmits its first packet
_SLICE = 16 * 1024  # one record of TLS: `sendall` of more begins its time-out anew with each of them
_ENDS: ContextVar[float] = ContextVar("ends")


@contextmanager
def deadline(ends: float) -> Iterator[None]:
    """Every exchange of this context by an `Adapter` is over at `ends` (monotonic): TimeoutError, in what its caller wraps it."""
    before = _ENDS.set(ends)
    try:
        yield
    finally:
        _ENDS.reset(before)


def _left_s() -> float:
    left_s = _ENDS.get() - time.monotonic()
    if left_s <= 0:
        raise TimeoutError
    return left_s


class _Reads(io.RawIOBase):
    """What comes from a socket, each read with the time that is left."""

    def __init__(self, line: io.RawIOBase, sock: socket.socket) -> None:
        self._line, self._sock = line, sock

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: WriteableBuffer, /) -> int | None:
        self._sock.settimeout(_left_s())
        return self._line.readinto(buffer)

    def close(self) -> None:
        self._line.close()
        super().close()


class _Answer(HTTPResponse):
    def __init__(self, sock: socket.socket, *arguments: Any, **named: Any) -> None:
        super().__init__(sock, *arguments, **named)
        self.fp = io.BufferedReader(_Reads(self.fp.detach(), sock))


class _Bounded(HTTPConnection):
    response_class: Any = _Answer

    def _new_conn(self) -> socket.socket:
        """Connects to the first of the name's addresses that takes it, all of them within the deadline."""
        failed = OSError("no address")
        for family, kind, protocol, _, address in socket.getaddrinfo(self._dns_host, self.port, type=socket.SOCK_STREAM):
            sock = socket.socket(family, kind, protocol)
            try:
                for option in self.socket_options or ():
                    sock.setsockopt(*option)
                sock.settimeout(min(CONNECT_TIMEOUT_S, _left_s()))
                sock.connect(address)
                sock.settimeout(_left_s())  # for all of the handshake of TLS
            except OSError as error:
                sock.close()
                failed = error
            else:
                return sock
        raise failed

    def send(self, data: Any) -> None:
        for at in range(0, len(data), _SLICE):
            if self.sock is not None:
                self.sock.settimeout(_left_s())
            super().send(data[at : at + _SLICE])


class _BoundedTls(_Bounded, HTTPSConnection): ...


class Adapter(requests.adapters.HTTPAdapter):
    """Of requests, with exchanges that keep to the `deadline`."""

    def get_connection_with_tls_context(self, *arguments: Any, **named: Any) -> Any:
        pool: Any = super().get_connection_with_tls_context(*arguments, **named)
        pool.ConnectionCls = {"http": _Bounded, "https": _BoundedTls}[pool.scheme]
        return pool
