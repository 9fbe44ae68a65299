"""Workers of a queue as threads of the test's own process: forty applications on two cores, each with habits of its own.

worker = Worker([amqp_url], "mail.delivery", Habit(hangs=True), name="mail-1")
worker.start_soon()
worker.wait()
worker.kill()                # the connection is gone, as after kill -9
"""

import threading
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Any, Self

import pika
from pika.exceptions import AMQPError

STEP_S = 0.3
START_S = 60.0
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
    """What it does with a message that it is through with: `ack`, `reject`, `requeue`, `keep` or `crash`."""
    gets: bool = False
    """Ask for messages (basic.get) instead of consuming them."""
    used_up: bool = False
    """Its channel's limit of one message is used up by another queue, so it is registered and takes nothing."""
    arguments: dict[str, Any] | None = None
    exclusive: bool = False


class Worker:
    """One connection with one channel that consumes these queues.

    `urls`: where that is lost, or the queue's node takes the queue with it, it connects to the next of them after `back_s`, if
    there is such a time.
    """

    def __init__(
        self, urls: list[str], queues: str | tuple[str, ...], habit: Habit, *, name: str, back_s: float | None = None
    ) -> None:
        self.urls, self.habit, self.name, self.back_s = urls, habit, name, back_s
        self.queues = (queues,) if isinstance(queues, str) else queues
        self.acked: list[float] = []
        """When each message was through."""
        self.done: list[str] = []
        """What was in each of them."""
        self.held: list[float] = []
        """When it began to hang."""
        self.began = threading.Event()
        self._stop = threading.Event()
        self._forget()
        self._thread = threading.Thread(target=self._run, daemon=True, name=f"worker of {self.queues[0]}")

    def start_soon(self) -> None:
        """Begin to consume, some time from now."""
        self._thread.start()

    def wait(self) -> None:
        """Until it is registered with the broker."""
        if not self.began.wait(START_S):
            raise RuntimeError(f"no worker of {self.queues} within {START_S:g} s")

    def end(self) -> None:
        """It is about to end, without a word to the broker but the closed connection."""
        self._stop.set()

    def kill(self) -> None:
        """End it, and wait until it has."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join(START_S)

    @property
    def alive(self) -> bool:
        return self._thread.is_alive()

    def _forget(self) -> None:
        self._waiting: list[tuple[Any, bytes]] = []
        self._through: list[tuple[int, bytes]] = []
        self._busy = self._hung = False
        self._batch_at = time.monotonic() + self.habit.batch_s

    def _run(self) -> None:
        turn = 0
        while not self._stop.is_set():
            self._live(self.urls[turn % len(self.urls)])
            turn += 1
            if self.back_s is None or self._stop.wait(self.back_s):
                break
            self._forget()
        self.began.set()

    def _live(self, url: str) -> None:
        connection = None
        try:
            parameters = pika.URLParameters(url)
            parameters.heartbeat = 60
            parameters.client_properties = {"connection_name": self.name}
            connection = self.connection = pika.BlockingConnection(parameters)
            self.channel = connection.channel()
            cancelled = threading.Event()
            if self.back_s is not None:
                self.channel.add_on_cancel_callback(lambda _method: cancelled.set())
            self._consume()
            self.began.set()
            while not self._stop.is_set() and not cancelled.is_set():
                connection.process_data_events(time_limit=STEP_S)
                self._step()
        except LOST:
            pass
        finally:
            if connection is not None:
                drop(connection)

    def _consume(self) -> None:
        habit = self.habit
        if habit.used_up:
            self._use_up_the_limit()
        elif not habit.auto_ack and habit.prefetch:
            self.channel.basic_qos(prefetch_count=habit.prefetch)
        for queue in () if habit.gets else self.queues:
            self.channel.basic_consume(
                queue, self._take, auto_ack=habit.auto_ack, exclusive=habit.exclusive, arguments=habit.arguments
            )

    def _use_up_the_limit(self) -> None:
        self.channel.basic_qos(prefetch_count=1, global_qos=True)
        own = self.channel.queue_declare("", exclusive=True).method.queue
        self.channel.basic_publish("", own, b"held")
        held: list[bytes] = []
        self.channel.basic_consume(own, lambda _channel, _method, _properties, body: held.append(body))
        while not held and not self._stop.is_set():
            self.connection.process_data_events(time_limit=STEP_S)

    def _step(self) -> None:
        if self.habit.gets and not self._busy and not self._hung:
            method, _, body = self.channel.basic_get(self.queues[0], auto_ack=self.habit.auto_ack)
            if method:
                self._take(self.channel, method, None, body)
        if self.habit.batch_s and self._through and time.monotonic() > self._batch_at:
            self.channel.basic_ack(max(tag for tag, _ in self._through), multiple=True)
            for _, body in self._through:
                self._count(body)
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
            self.held.append(time.time())
            return
        work_s = self.habit.work_s() if callable(self.habit.work_s) else self.habit.work_s
        if work_s:
            self._busy = True
            self.connection.call_later(work_s, partial(self._end, method, body))
        else:
            self._end(method, body)

    def _end(self, method: Any, body: bytes) -> None:
        self._busy = False
        said = "none" if self.habit.auto_ack else self.habit.verdict(method)
        if said == "crash":
            raise AssertionError("the worker dies of this message")
        if self.habit.batch_s:
            self._through.append((method.delivery_tag, body))
        elif said in {"reject", "requeue"}:
            self.channel.basic_reject(method.delivery_tag, requeue=said == "requeue")
        elif said == "ack":
            self.channel.basic_ack(method.delivery_tag)
        if said in {"ack", "none"} and not self.habit.batch_s:
            self._count(body)
        if self._waiting:
            self.connection.call_later(0, self._next)

    def _count(self, body: bytes) -> None:
        self.acked.append(time.time())
        self.done.append(body.decode())


def drop(connection: Any) -> None:
    """Close the socket, with no farewell of the protocol."""
    with suppress(*LOST):
        connection._impl._transport.abort()
        connection.process_data_events(time_limit=0)
    with suppress(*LOST):
        connection._cleanup()  # its loop has sockets of its own


class Publisher:
    """Puts messages into queues, this many a second each, on one connection for all of them."""

    def __init__(self, urls: str | Iterable[str], exchange: str = "") -> None:
        self.urls, self.exchange = [urls] if isinstance(urls, str) else list(urls), exchange
        self.rates: dict[str, Callable[[float], float]] = {}
        """Queue -> messages a second, by the seconds since the publisher began."""
        self.messages: dict[str, Callable[[str], tuple[bytes, pika.BasicProperties]]] = {}
        """Queue -> what a message with this content is, where that is more than the content."""
        self.sent: dict[str, int] = {}
        self._stop = threading.Event()
        self._owed: dict[str, float] = {}
        self._thread = threading.Thread(target=self._run, daemon=True, name="publisher")

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join(START_S)

    def _run(self) -> None:
        self._began, turn = time.monotonic(), 0
        while not self._stop.is_set():
            try:
                connection = pika.BlockingConnection(pika.URLParameters(self.urls[turn % len(self.urls)]))
                channel, last = connection.channel(), time.monotonic()
                while not self._stop.is_set():
                    connection.process_data_events(time_limit=0.1)
                    last = self._publish(channel, last)
                drop(connection)
            except LOST:
                turn += 1
                self._stop.wait(0.5)

    def _publish(self, channel: Any, last: float) -> float:
        now = time.monotonic()
        for queue, rate in list(self.rates.items()):
            self._owed[queue] = self._owed.get(queue, 0.0) + rate(now - self._began) * (now - last)
            while self._owed[queue] >= 1:
                self._owed[queue] -= 1
                self.sent[queue] = self.sent.get(queue, 0) + 1
                body, made = self.messages.get(queue, _stamped)(f"{queue} {self.sent[queue]}")
                channel.basic_publish(self.exchange, queue, body, made)
        return now


def _stamped(content: str) -> tuple[bytes, pika.BasicProperties]:
    return content.encode(), pika.BasicProperties(timestamp=int(time.time()), delivery_mode=2)
