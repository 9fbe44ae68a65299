"""A consumer that speaks AMQP 1.0 (OASIS, 2012): it attaches to a queue and accepts each message, or hangs with the first.

Only as much of the protocol as that takes: no library of PyPI that speaks it comes without a compiler.
"""

import socket
import struct
import threading
import time
from contextlib import suppress
from typing import Self

OPEN, BEGIN, ATTACH, FLOW, TRANSFER, DISPOSITION = 0x10, 0x11, 0x12, 0x13, 0x14, 0x15
SASL_INIT = 0x41
ENDINGS = (0x16, 0x17, 0x18)
"""Detach, end and close."""
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
    """On a thread of its own, with one message in hand."""

    def __init__(self, port: int, user: str, password: str, address: str, *, hangs: bool = False, work_s: float = 0.0) -> None:
        self.port, self.login, self.address = port, f"\0{user}\0{password}".encode(), address
        self.hangs, self.work_s = hangs, work_s
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
            self._first_frame_id = number(self._answer_to(BEGIN)[1])
            self._first_delivery = number(self._answer_to(ATTACH)[9])
            self._give_credit(0)
            self._began.set()
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

    def _answer_to(self, code: int) -> list[bytes]:
        """The fields of the next frame of this kind. Raises OSError where the broker says no instead."""
        while (frame := self._frame())[2] != code:
            if frame[2] in ENDINGS:
                raise OSError(f"the broker refused: {frame!r}")
        return fields_of(frame)

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
            if frame[2:3] != bytes([TRANSFER]):
                continue
            received += 1
            if self.hangs or self.held:
                self.held.append(time.time())
            elif not self._stop.wait(self.work_s):
                self._send(DISPOSITION, b"\x41", uint(number(fields_of(frame)[1])), NULL, b"\x41", described(ACCEPTED))
                self._give_credit(received)

    def _give_credit(self, received: int) -> None:
        next_frame, delivery = (first + received & 0xFFFFFFFF for first in (self._first_frame_id, self._first_delivery))
        self._send(FLOW, uint(next_frame), uint(2048), uint(0), uint(2048), uint(0), uint(delivery), uint(1))

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


def fields_of(frame: bytes) -> list[bytes]:
    """The encoded fields of the list that a frame's descriptor describes."""
    head = {0xC0: 3, 0xD0: 9}[frame[3]]
    rest, found = frame[3 + head :], []
    while rest:
        size = _size(rest)
        found.append(rest[:size])
        rest = rest[size:]
    return found


def _size(content: bytes) -> int:
    """Of the value that begins here, by the first half of its constructor (part 1, section 1.2 of the standard)."""
    kind = content[0] >> 4
    if content[0] == 0:
        descriptor = _size(content[1:])
        return 1 + descriptor + _size(content[1 + descriptor :])
    if kind < 0xA:
        return 1 + {4: 0, 5: 1, 6: 2, 7: 4, 8: 8, 9: 16}[kind]
    return 2 + content[1] if kind % 2 == 0 else 5 + int.from_bytes(content[1:5], "big")


def number(field: bytes) -> int:
    """An unsigned number, however it is encoded; 0 for none."""
    return int.from_bytes(field[1:], "big")
