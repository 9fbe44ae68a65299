"""A subscriber that speaks MQTT 3.1.1 (OASIS, 2014) in a lasting session: it confirms each message, or hangs with the first."""

import socket
import struct
import threading
import time
from contextlib import suppress
from typing import Self

CONNECT, PUBLISH, PUBACK, SUBSCRIBE, SUBSCRIBED, PING = 0x10, 0x30, 0x40, 0x82, 0x90, 0xC0
CLEAN, NAMED, WITH_PASSWORD = 0x02, 0x80, 0x40
ALIVE_EVERY_S = 10.0


def text(value: str) -> bytes:
    return struct.pack(">H", len(value.encode())) + value.encode()


class MqttSubscriber:
    """On a thread of its own. RabbitMQ names its queue mqtt-subscription-NAMEqos1."""

    def __init__(
        self, port: int, user: str, password: str, name: str, topic: str, *, hangs: bool = False, work_s: float = 0.0
    ) -> None:
        self.port, self.user, self.password, self.name, self.topic = port, user, password, name, topic
        self.hangs, self.work_s = hangs, work_s
        self.held: list[float] = []
        self._began, self._stop = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True, name=f"MQTT subscriber of {topic}")

    @property
    def queue(self) -> str:
        return f"mqtt-subscription-{self.name}qos1"

    def __enter__(self) -> Self:
        self._thread.start()
        if not self._began.wait(30):
            raise RuntimeError(f"no MQTT subscriber of {self.topic}")
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join(10)

    def _run(self) -> None:
        with socket.create_connection(("127.0.0.1", self.port)) as self.line, suppress(OSError):
            self.line.settimeout(20)
            head = text("MQTT") + bytes([4, NAMED | WITH_PASSWORD]) + struct.pack(">H", 60)
            self._send(CONNECT, head + text(self.name) + text(self.user) + text(self.password))
            self._packet()
            self._send(SUBSCRIBE, struct.pack(">H", 1) + text(self.topic) + b"\x01")
            self.line.settimeout(0.3)
            self._consume()

    def _consume(self) -> None:
        alive_at = time.monotonic()
        while not self._stop.is_set():
            if time.monotonic() - alive_at > ALIVE_EVERY_S:
                self._send(PING, b"")
                alive_at = time.monotonic()
            try:
                kind, body = self._packet()
            except TimeoutError:
                continue
            if kind & 0xF0 == SUBSCRIBED:  # what the session held before comes ahead of it
                self._began.set()
            if kind & 0xF0 != PUBLISH or not kind & 0x06:
                continue
            if self.hangs or self.held:
                self.held.append(time.time())
            elif not self._stop.wait(self.work_s):
                (topic_bytes,) = struct.unpack(">H", body[:2])
                self._send(PUBACK, body[2 + topic_bytes : 4 + topic_bytes])

    def _send(self, kind: int, body: bytes) -> None:
        left, length = len(body), b""
        while True:
            left, digit = divmod(left, 128)
            length += bytes([digit | (0x80 if left else 0)])
            if not left:
                break
        self.line.sendall(bytes([kind]) + length + body)

    def _packet(self) -> tuple[int, bytes]:
        """Its first byte and its content. Raises TimeoutError where none begins in time."""
        kind = self._exactly(1)[0]
        self.line.settimeout(20)
        length, shift = 0, 0
        while True:
            digit = self._exactly(1)[0]
            length |= (digit & 0x7F) << shift
            shift += 7
            if not digit & 0x80:
                break
        body = self._exactly(length)
        self.line.settimeout(0.3)
        return kind, body

    def _exactly(self, count: int) -> bytes:
        found = b""
        while len(found) < count:
            part = self.line.recv(count - len(found))
            if not part:
                raise OSError("the broker hung up")
            found += part
        return found
