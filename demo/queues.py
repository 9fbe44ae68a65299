"""RabbitMQ, or a stand-in where none can be had, and the mails that come in: RATE a second."""

import subprocess
import threading
import time
from collections import deque
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path
from secrets import token_urlsafe
from typing import Protocol

from testbed import broker as brokers
from testbed import debian
from testbed.broker import Broker
from testbed.doubles.rabbitmq import Queue, RabbitDouble, User
from testbed.workers.crew import Publisher
from testbed.workers.relay import Relay

QUEUE = "mail.delivery"
RATE = 8.0
USER = "unstick"
MAIL_USER = "mail"
"""The stand-in's user of the workers; on a real broker they are its administrator."""
PASSWORD = token_urlsafe(12)


@dataclass(frozen=True, slots=True)
class Worker:
    """One worker of the mail service, on a host of its own as far as RabbitMQ can see."""

    name: str
    host: str


WORKERS = tuple(Worker(f"mail-worker-{number}", f"127.0.1.{number}") for number in (1, 2, 3))


class Queues(Protocol):
    """RabbitMQ, as far as the demo has to do with it."""

    @property
    def url(self) -> str: ...
    @property
    def description(self) -> str: ...
    def flow(self, stack: ExitStack) -> None:
        """Mails come in from now on."""

    def arguments(self, worker: Worker, /) -> list[str]:
        """What its process is told of the broker."""

    def follow(self, worker: Worker, process: subprocess.Popen[str], /) -> None:
        """Called with a worker's process once it consumes."""


@dataclass(frozen=True, slots=True)
class RealQueues:
    broker: Broker
    relay: Relay

    @property
    def url(self) -> str:
        return self.broker.url

    @property
    def description(self) -> str:
        version = self.broker.api("GET", "overview")["rabbitmq_version"]
        return f"RabbitMQ {version} is up, the real one, on {self.url}"

    def flow(self, stack: ExitStack) -> None:
        publisher = Publisher(self.broker.amqp_url())
        publisher.rates[QUEUE] = lambda _since: RATE
        stack.enter_context(publisher)

    def arguments(self, worker: Worker, /) -> list[str]:
        url = self.broker.amqp_url().replace(f":{self.broker.amqp_port}/", f":{self.relay.port_as(worker.host)}/")
        return ["--broker", url, "--queue", QUEUE]

    def follow(self, _worker: Worker, process: subprocess.Popen[str], /) -> None:
        """The broker sees by itself what a worker does."""
        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                pipe.close()


@dataclass(slots=True, eq=False)
class _Consumer:
    process: subprocess.Popen[str]
    figures: Queue
    """Of its channel."""
    mail: str = ""
    """What it holds."""


@dataclass(slots=True)
class StandInQueues:
    """A queue of this process. It hands mails to the workers' inputs, and shows RabbitMQ's figures of that."""

    double: RabbitDouble
    why: str
    waiting: deque[tuple[str, bool]] = field(default_factory=deque)
    """Each mail, and whether it had been delivered before."""
    consumers: dict[str, _Consumer] = field(default_factory=dict)
    """By the name of the connection; the one whose turn it is comes first."""
    lock: threading.Lock = field(default_factory=threading.Lock)
    sent: int = 0

    @property
    def url(self) -> str:
        return self.double.url

    @property
    def description(self) -> str:
        return f"RabbitMQ {self.why}: a stand-in takes its place, on {self.url}"

    def flow(self, stack: ExitStack) -> None:
        over = threading.Event()
        thread = threading.Thread(target=self._publish, args=(over,), daemon=True, name="publisher")
        thread.start()
        stack.callback(thread.join)
        stack.callback(over.set)

    def arguments(self, _worker: Worker, /) -> list[str]:
        return []

    def follow(self, worker: Worker, process: subprocess.Popen[str], /) -> None:
        peer = f"{worker.host}:{10_000 + process.pid % 50_000} -> 127.0.0.1:5672"
        with self.lock:
            self.consumers[peer] = _Consumer(process, Queue(consumers=(), named=worker.name, consumed=False))
            self._hand_out()
        threading.Thread(target=self._read, args=(peer,), daemon=True, name=worker.name).start()

    def _publish(self, over: threading.Event) -> None:
        while not over.wait(1 / RATE):
            with self.lock:
                self.sent += 1
                self.waiting.append((f"{QUEUE} {self.sent}", False))
                self._hand_out()

    def _read(self, peer: str) -> None:
        """What a worker says that it has done, until it is gone."""
        consumer = self.consumers[peer]
        for _ in consumer.process.stdout or ():
            with self.lock:
                consumer.mail = ""
                consumer.figures.set(unacked=0, acks=consumer.figures.acks + 1)
                self._queue.acks += 1
                self._hand_out()
        with suppress(OSError), consumer.process:
            pass  # closes its pipes, of which the one to it may have something left in it
        with self.lock:
            del self.consumers[peer]
            if consumer.mail:
                self._queue.returned.append(time.time())
                self.waiting.appendleft((consumer.mail, True))
            self._hand_out()

    @property
    def _queue(self) -> Queue:
        return self.double.queue(QUEUE, consumers=())

    def _hand_out(self) -> None:
        """One mail to each worker that has none, as long as there are any; call it with the lock."""
        for peer, consumer in list(self.consumers.items()):
            if self.waiting and not consumer.mail:
                consumer.mail, again = self.waiting.popleft()
                if again:
                    consumer.figures.redelivered.append(time.time())
                    self._queue.redelivered.append(time.time())
                consumer.figures.set(unacked=1)
                self.consumers[peer] = self.consumers.pop(peer)
                with suppress(OSError):  # it was killed just now
                    print(consumer.mail, file=consumer.process.stdin, flush=True)
        held = sum(bool(one.mail) for one in self.consumers.values())
        channels = {peer: one.figures for peer, one in self.consumers.items()}
        self._queue.set(ready=len(self.waiting), unacked=held, consumers=tuple(channels), channels=channels)


def open_queues(stack: ExitStack, folder: Path, *, stand_in: bool) -> Queues:
    """A real RabbitMQ: the one that is there, else installed where that needs no question. Else the stand-in, and why."""
    why = "was not asked for"
    if not stand_in:
        why = "can't be had here without asking"
        if brokers.available() or (debian.ensure("rabbitmq-server") and brokers.available()):
            try:
                return _open_real(stack, folder)
            except (RuntimeError, OSError):
                why = "is there but did not start"
    double = stack.enter_context(RabbitDouble())
    double.users[USER] = User(PASSWORD)
    return StandInQueues(double, why)


def _open_real(stack: ExitStack, folder: Path) -> RealQueues:
    broker = stack.enter_context(brokers.broker(folder / "broker"))
    broker.add_user(USER, PASSWORD, tags="monitoring", vhosts=["/"])
    with broker.channel() as channel:
        channel.queue_declare(QUEUE, durable=True)
    return RealQueues(broker, stack.enter_context(Relay(broker.amqp_port)))
