"""A consumer that speaks AMQP 1.0 (OASIS, 2012): it attaches to a queue and accepts each message, or hangs with the first.

Only as much of the protocol as that takes: no library of PyPI that speaks it comes without a compiler.
"""

from __future__ import annotations

import socket
import struct
import threading
import time
from contextlib import suppress
from typing import Any, Self

OPEN, BEGIN, ATTACH, FLOW, TRANSFER, DISPOSITION = 0x10, 0x11, 0x12, 0x13, 0x14, 0x15
SASL_INIT = 0x41
SOURCE, TARGET, ACCEPTED = 0x28, 0x29, 0x24
NULL = b"\x40"
ALIVE_EVERY_S = 10.0


def text(value: str) -> bytes:
    return b"\xa1" + bytes([len(value.encode())]) + value.encode()


def uint(value: int) -> bytes:
    return b"\x70" + struct.pack(">I", value)


def described(code: int, *fields: bytes) -> bytes:
    """A list of fields that this descriptor describes."""
    content = b"".join(fields)
    return b"\x00\x53" + bytes([code]) + b"\xd0" + struct.pack(">II", len(content) + 4, len(fields)) + content


class Amqp10Consumer:
    """On a thread of its own. `credit`: how many messages it may have in hand."""

    def __init__(
        self, port: int, user: str, password: str, address: str, *, hangs: bool = False, work_s: float = 0.0, credit: int = 1
    ) -> None:
        self.port, self.login, self.address = port, f"\0{user}\0{password}".encode(), address
        self.hangs, self.work_s, self.credit = hangs, work_s, credit
        self.acked: list[float] = []
        self.held: list[float] = []
        self._began, self._stop = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True, name=f"AMQP 1.0 consumer of {address}")

    def __enter__(self) -> Self:
        self._thread.start()
        if not self._began.wait(30):
            raise RuntimeError(f"no AMQP 1.0 consumer of {self.address}")
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join(10)

    def _run(self) -> None:
        with socket.create_connection(("127.0.0.1", self.port)) as self.line, suppress(OSError):
            self.line.settimeout(20)
            self._log_in()
            self._send(OPEN, text(f"consumer of {self.address}"), text("vhost:/"))
            self._send(BEGIN, NULL, uint(0), uint(2048), uint(2048))
            source, target = described(SOURCE, text(self.address)), described(TARGET, NULL)
            self._send(ATTACH, text("link"), uint(0), b"\x41", NULL, NULL, source, target)
            self._give_credit(0)
            self.line.settimeout(0.3)
            self._consume()

    def _log_in(self) -> None:
        self.line.sendall(b"AMQP\x03\x01\x00\x00")
        self._exactly(8)
        self._frame()  # the mechanisms
        mechanism = b"\xa3\x05PLAIN"
        self._send(SASL_INIT, mechanism, b"\xa0" + bytes([len(self.login)]) + self.login, kind=1)
        self._frame()  # the outcome
        self.line.sendall(b"AMQP\x00\x01\x00\x00")
        self._exactly(8)

    def _consume(self) -> None:
        alive_at, received = time.monotonic(), 0
        while not self._stop.is_set():
            if time.monotonic() - alive_at > ALIVE_EVERY_S:
                self.line.sendall(struct.pack(">IBBH", 8, 2, 0, 0))
                alive_at = time.monotonic()
            try:
                frame = self._frame()
            except TimeoutError:
                continue
            if frame[:3] == bytes([0, 0x53, ATTACH]):
                self._began.set()
            if frame[:3] != bytes([0, 0x53, TRANSFER]):
                continue
            received += 1
            if self.hangs or self.held:
                self.held.append(time.time())
            elif not self._stop.wait(self.work_s):
                self._send(DISPOSITION, b"\x41", uint(delivery_id(frame)), NULL, b"\x41", described(ACCEPTED))
                self.acked.append(time.time())
                self._give_credit(received)

    def _give_credit(self, received: int) -> None:
        self._send(FLOW, uint(received), uint(2048), uint(0), uint(2048), uint(0), uint(received), uint(self.credit))

    def _send(self, code: int, *fields: bytes, kind: int = 0) -> None:
        body = described(code, *fields)
        self.line.sendall(struct.pack(">IBBH", len(body) + 8, 2, kind, 0) + body)

    def _frame(self) -> bytes:
        """The body of the next frame. Raises TimeoutError where none begins in time."""
        size, offset, _, _ = struct.unpack(">IBBH", self._exactly(8))
        self.line.settimeout(20)
        body = self._exactly(size - 8)
        self.line.settimeout(0.3 if self._began.is_set() else 20)
        return body[offset * 4 - 8 :]

    def _exactly(self, count: int) -> bytes:
        found = b""
        while len(found) < count:
            part = self.line.recv(count - len(found))
            if not part:
                raise OSError("the broker hung up")
            found += part
        return found


def delivery_id(transfer: bytes) -> int:
    """The second field of a transfer's list."""
    head = {0xC0: 3, 0xD0: 9}[transfer[3]]
    _, rest = _unsigned(transfer[3 + head :])
    value, _ = _unsigned(rest)
    return value


def _unsigned(content: bytes) -> tuple[int, Any]:
    if content[0] == 0x43:
        return 0, content[1:]
    if content[0] == 0x52:
        return content[1], content[2:]
    return struct.unpack(">I", content[1:5])[0], content[5:]
