"""Workers of a queue as threads of the test's own process: forty applications on two cores, each with habits of its own.

with Worker(amqp_url, "mail.delivery", Habit(hangs=1, work_s=0.5)) as worker:
    ...
    worker.kill()                # the connection is gone, as after kill -9
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Self

import pika
from pika.exceptions import AMQPError

STEP_S = 0.2
LOST = (AMQPError, OSError, AttributeError, AssertionError, IndexError)
"""What pika raises of a connection that another thread or the broker has ended."""


@dataclass(frozen=True, slots=True)
class Habit:
    """How a worker treats messages. It does one after the other, however many it has prefetched."""

    prefetch: int = 1
    auto_ack: bool = False
    work_s: float | Callable[[], float] = 0.0
    """Of one message, before it is acknowledged."""
    hangs: bool | Callable[[bytes], bool] = False
    """Whether it never ends the work on this message, and so takes no other. Heartbeats are answered."""
    batch_s: float = 0.0
    """Acknowledge everything at once so often, instead of each message."""
    verdict: Callable[[Any], str] = lambda _method: "ack"
    """What it does with a message that it is through with: `ack`, `reject`, `requeue` or `keep`."""
    gets: bool = False
    """Ask for messages (basic.get) instead of consuming them."""
    tag: str = ""
    arguments: dict[str, Any] | None = None
    exclusive: bool = False


class Worker:
    """One connection with one channel that consumes these queues."""

    def __init__(self, url: str, queues: str | tuple[str, ...], habit: Habit, *, name: str = "", heartbeat_s: int = 60) -> None:
        self.queues, self.habit = (queues,) if isinstance(queues, str) else queues, habit
        self.parameters = pika.URLParameters(url)
        self.parameters.heartbeat = heartbeat_s
        self.parameters.client_properties = {"connection_name": name} if name else None
        self.acked: list[float] = []
        """When each message was through."""
        self.held: list[bytes] = []
        self.cancelled = False
        self.began = threading.Event()
        self._stop = threading.Event()
        self._waiting: list[tuple[Any, bytes]] = []
        self._busy = self._hung = False
        self._batch_at = 0.0
        self._through: list[int] = []
        self._thread = threading.Thread(target=self._run, daemon=True, name=f"worker of {self.queues[0]}")

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()

    def start(self) -> Self:
        """Begin to consume. It is registered with the broker when this returns."""
        self._thread.start()
        if not self.began.wait(60):
            raise RuntimeError(f"no worker of {self.queues} within 60 s")
        return self

    def kill(self) -> None:
        """End without a word to the broker but the closed connection."""
        self._stop.set()
        self._thread.join(60)

    @property
    def alive(self) -> bool:
        return self._thread.is_alive()

    def _run(self) -> None:
        connection = None
        try:
            connection = pika.BlockingConnection(self.parameters)
            self.channel = connection.channel()
            self.connection = connection
            self.channel.add_on_cancel_callback(lambda _method: setattr(self, "cancelled", True))
            if not self.habit.auto_ack and self.habit.prefetch:
                self.channel.basic_qos(prefetch_count=self.habit.prefetch)
            if not self.habit.gets:
                for number, queue in enumerate(self.queues):
                    self.channel.basic_consume(
                        queue,
                        self._take,
                        auto_ack=self.habit.auto_ack,
                        exclusive=self.habit.exclusive,
                        consumer_tag=self.habit.tag and f"{self.habit.tag}-{number}",
                        arguments=self.habit.arguments,
                    )
            self.began.set()
            while not self._stop.is_set():
                connection.process_data_events(time_limit=STEP_S)
                self._step()
        except LOST:
            pass
        finally:
            self.began.set()
            if connection is not None:
                _drop(connection)

    def _step(self) -> None:
        if self.habit.gets and not self._busy and not self._hung:
            method, _, body = self.channel.basic_get(self.queues[0], auto_ack=self.habit.auto_ack)
            if method:
                self._take(self.channel, method, None, body)
        if self.habit.batch_s and self._through and time.monotonic() > self._batch_at:
            self.channel.basic_ack(max(self._through), multiple=True)
            self.acked += [time.time()] * len(self._through)
            self._through.clear()
            self._batch_at = time.monotonic() + self.habit.batch_s

    def _take(self, _channel: Any, method: Any, _properties: Any, body: bytes) -> None:
        self._waiting.append((method, body))
        self._next()

    def _next(self) -> None:
        if self._busy or self._hung or not self._waiting:
            return
        method, body = self._waiting.pop(0)
        hangs = self.habit.hangs
        if hangs(body) if callable(hangs) else hangs:
            self._hung = True
            self.held.append(body)
            return
        work_s = self.habit.work_s() if callable(self.habit.work_s) else self.habit.work_s
        if work_s:
            self._busy = True
            self.connection.call_later(work_s, partial(self._end, method))
        else:
            self._end(method)

    def _end(self, method: Any) -> None:
        self._busy = False
        said = "none" if self.habit.auto_ack else self.habit.verdict(method)
        if self.habit.batch_s:
            self._through.append(method.delivery_tag)
        elif said in {"reject", "requeue"}:
            self.channel.basic_reject(method.delivery_tag, requeue=said == "requeue")
        elif said == "ack":
            self.channel.basic_ack(method.delivery_tag)
        if said in {"ack", "none"} and not self.habit.batch_s:
            self.acked.append(time.time())
        if self._waiting:
            self.connection.call_later(0, self._next)


def _drop(connection: Any) -> None:
    """Close the socket, with no farewell of the protocol."""
    try:
        connection._impl._transport.abort()
        connection.process_data_events(time_limit=0)
    except LOST:
        pass


@dataclass
class Publisher:
    """Puts messages into queues, so many a second, on one connection for all of them."""

    url: str
    rates: dict[str, Callable[[float], float]] = field(default_factory=dict)
    """Queue -> messages a second, by the seconds since it began."""
    properties: dict[str, pika.BasicProperties] = field(default_factory=dict)
    sent: dict[str, list[float]] = field(default_factory=dict)
    exchange: str = ""

    def __post_init__(self) -> None:
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True, name="publisher")

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join(60)

    def _run(self) -> None:
        began, last, owed = time.monotonic(), time.monotonic(), dict.fromkeys(self.rates, 0.0)
        while not self._stop.is_set():
            try:
                connection = pika.BlockingConnection(pika.URLParameters(self.url))
                channel = connection.channel()
                while not self._stop.is_set():
                    connection.process_data_events(time_limit=0.1)
                    now = time.monotonic()
                    for queue, rate in list(self.rates.items()):
                        owed[queue] = owed.get(queue, 0.0) + rate(now - began) * (now - last)
                        while owed[queue] >= 1:
                            owed[queue] -= 1
                            body = f"{queue} {len(self.sent.setdefault(queue, []))}".encode()
                            properties = self.properties.get(queue) or pika.BasicProperties(timestamp=int(time.time()))
                            channel.basic_publish(self.exchange, queue, body, properties)
                            self.sent[queue].append(time.time())
                    last = now
                _drop(connection)
            except LOST:
                time.sleep(0.5)
