"""One application of the town: its queue, its workers, what happens to it, and the job that restarts it."""

import json
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, suppress
from dataclasses import dataclass, field
from enum import StrEnum
from itertools import pairwise
from typing import Any

import pika
from pika.exceptions import AMQPError

from testbed.broker import Broker
from testbed.workers.crew import Habit, Publisher, Worker
from testbed.workers.relay import Relay

Make = Callable[[str], tuple[bytes, pika.BasicProperties]]
"""Makes a message of its content, as the application's library does it."""
Other = Callable[[], AbstractContextManager[Any]]
"""Makes a consumer that speaks something else than AMQP 0.9.1, or a process that uses another library."""
Play = Callable[["Scene"], None]
Hired = tuple[Habit, int, tuple[str, ...]]
"""Habit, how many, of which queues."""


class Truth(StrEnum):
    """What is right to do with an application."""

    HEALTHY = "healthy"
    """It is never restarted."""
    STUCK = "stuck"
    """It is restarted within `for` and 15 s."""
    ONE = "one of several"
    """One of its workers hangs: restarted within `for` and 15 s, and the others never pause for more than a second."""
    LIKELY = "likely"
    """It hangs, and some healthy applications look the same: it is restarted, or a person is asked, within `for` and 45 s."""
    TELL = "people"
    """A restart would not help, or there can be no proof: people are told, and nothing is restarted."""


@dataclass(frozen=True)
class Pattern:
    """How an application behaves, and the truth about it."""

    name: str
    truth: Truth
    says: str
    play: Play
    arguments: Mapping[str, Any] = field(default_factory=dict)
    home: int = 0
    """The node on which its queue is declared."""
    works_on: int | None = None
    """The node to which its workers connect first; in turn to all, where it is not given."""
    vhost: str = "/"
    symptom: Mapping[str, Any] = field(default_factory=dict)
    """What its owner has added to the symptom, as docs/libraries.md says."""
    remembers: Mapping[str, str] = field(default_factory=dict)
    """Annotations of its alerts, by which Prometheus remembers what was before the broker's restart."""
    counted: bool = True
    """Whether each message is worked on at least once, or still there at the end: none may be lost."""
    loses: bool = False
    """What it holds when it is restarted is lost, as it acknowledged that before: this is counted, and no fault."""
    learned: bool = False
    """It is there from the beginning, and Unstick sees it stall before it gets stuck."""
    survives: bool = False
    """Its job ends nothing: it starts a process beside the one that hangs."""


@dataclass
class Place:
    """What all applications of a town share."""

    nodes: Sequence[Broker]
    publishers: Mapping[str, Publisher]
    """By vhost."""
    topics: Publisher
    """Into the exchange of MQTT's topics."""
    relay: Relay
    version: str
    """Of the broker, as it says itself."""
    mqtt_port: int
    """0: there is none."""
    over: threading.Event = field(default_factory=threading.Event)
    acts: threading.Event = field(default_factory=threading.Event)
    """Set once Unstick no longer only observes: who gets stuck without having been seen comes then."""
    observed_s: float = 0.0
    stuck_after_s: float = 30.0
    """When those that get stuck do: until then they are healthy, as what gets stuck has been."""

    @property
    def amqp_port(self) -> int:
        return self.nodes[0].amqp_port


class Over(Exception):
    """The town closes."""


@dataclass
class Scene:
    """A pattern that is played."""

    pattern: Pattern
    place: Place
    workers: list[Worker] = field(default_factory=list)
    restarted: list[tuple[float, str]] = field(default_factory=list)
    """When, and of which host only; empty: all of it."""
    began_at: float | None = None
    """When it got stuck."""
    former: list[Worker] = field(default_factory=list)
    broken: str = ""
    """What went wrong with the play itself."""
    lost: list[str] = field(default_factory=list)
    """Messages that nobody was through with, and that are nowhere at the end."""

    def __post_init__(self) -> None:
        self._after: Hired | None = None
        self._hired: Hired | None = None
        self._others: list[tuple[Other, ExitStack]] = []
        self._declared: set[str] = set()
        self._sent: set[str] = set()
        self.processes: list[Any] = []
        """Processes of other libraries that were there, with what they were through with."""
        self.other_after: Other | None = None
        """What the job starts anew instead of workers."""
        self._lock = threading.RLock()

    @property
    def name(self) -> str:
        return self.pattern.name

    @property
    def queue(self) -> str:
        return f"{self.name}.work"

    def run(self) -> None:
        """Play it until the town closes."""
        try:
            self.declare(self.queue, self.pattern.arguments)
            while not (self.pattern.learned or self.pattern.truth is Truth.HEALTHY or self.place.acts.is_set()):
                self.sleep(0.2)
            self.pattern.play(self)
            self.place.over.wait()
        except Over:
            pass
        except Exception as error:
            self.broken = repr(error)
            raise
        finally:
            self.leave()

    def sleep(self, seconds: float) -> None:
        if self.place.over.wait(seconds):
            raise Over

    # --- the queue

    def declare(self, queue: str, arguments: Mapping[str, Any]) -> None:
        self._declared.add(queue)
        self._ask(lambda channel: channel.queue_declare(queue, durable=True, arguments=dict(arguments)))

    def delete(self) -> None:
        self._ask(lambda channel: channel.queue_delete(self.queue))

    def publish(self, count: int, queue: str = "", body: str = "", make: Make | None = None, **properties: Any) -> None:
        """So many messages at once, each with a content of its own that begins with `body`."""
        bodies = [f"{body or self.name} {len(self._sent) + number} of {self.name}" for number in range(count)]
        self._sent |= set(bodies)

        def put(channel: Any) -> None:
            for content in bodies:
                stamped = pika.BasicProperties(timestamp=int(time.time()), delivery_mode=2, **properties)
                written, described = make(content) if make else (content.encode(), stamped)
                channel.basic_publish("", queue or self.queue, written, described)

        if count:
            self._ask(put)

    def flow(self, rate: float, make: Make | None = None) -> None:
        """From now on this many messages a second."""
        to = self.place.publishers[self.pattern.vhost]
        if make:
            to.messages[self.queue] = make
        to.rates[self.queue] = lambda _since: rate

    def _ask(self, do: Callable[[Any], Any]) -> None:
        for url in self._urls_from(self.pattern.home) * 20:
            with suppress(AMQPError, OSError):
                connection = pika.BlockingConnection(pika.URLParameters(url))
                try:
                    do(connection.channel())
                finally:
                    with suppress(AMQPError, OSError):
                        connection.close()
                return
            self.sleep(1.0)
        raise RuntimeError(f"no broker for {self.name}")

    def _urls_from(self, node: int) -> list[str]:
        """Those of all nodes, beginning with this one."""
        urls = [one.amqp_url(self.pattern.vhost) for one in self.place.nodes]
        first = node % len(urls)
        return urls[first:] + urls[:first]

    # --- the workers

    def hire(self, habit: Habit, count: int = 1, *, queues: tuple[str, ...] = (), hosts: Sequence[str] = ()) -> list[Worker]:
        """So many workers. `hosts`: where each is, for those of which one may be restarted alone."""
        with self._lock:
            if self.place.over.is_set():
                raise Over
            self._hired = habit, count, queues
            workers = [self._worker(habit, number, queues, hosts[number] if hosts else "") for number in range(count)]
            for one in workers:
                one.start_soon()
            for one in workers:
                one.wait()
            return workers

    def _worker(self, habit: Habit, number: int, queues: tuple[str, ...], host: str) -> Worker:
        urls = self._urls_from(number if self.pattern.works_on is None else self.pattern.works_on)
        if host:
            port = urls[0].partition("@")[2].partition("/")[0]
            urls = [urls[0].replace(port, f"127.0.0.1:{self.place.relay.port_as(host)}")]
        worker = Worker(urls, queues or self.queue, habit, name=f"{self.name}-{number}", back_s=16.0 if len(urls) > 1 else None)
        self.workers.append(worker)
        return worker

    @property
    def url(self) -> str:
        return self._urls_from(0)[0]

    def enter(self, other: Other) -> Any:
        """A consumer of another protocol, or a process of another library."""
        with self._lock:
            if self.place.over.is_set():
                raise Over
            living = ExitStack()
            process = living.enter_context(other())
            self._others.append((other, living))
            self.processes.append(process)
            return process

    def then(self, habit: Habit, count: int = 1) -> None:
        """What the job starts anew."""
        self._after = habit, count, ()

    def leave(self, workers: Sequence[Worker] | None = None) -> None:
        """These workers, or all of them, are killed."""
        with self._lock:
            while workers is None and self._others:
                self._others.pop()[1].close()
            leaving = list(self.workers if workers is None else workers)
            for one in leaving:
                one.end()
            for one in leaving:
                one.kill()
            self.former += leaving
            self.workers = [one for one in self.workers if one not in leaving]

    def stuck(self, at: float | None = None) -> None:
        """It got stuck just now."""
        self.began_at = at or time.time()

    def until_held(self, workers: Sequence[Any], count: int = 1) -> None:
        """Wait until so many of these hang: then it got stuck."""
        while sum(bool(one.held) for one in workers) < count:
            self.sleep(0.1)
        self.stuck(max((one.held[0] for one in workers if one.held), default=None))

    def restart(self, options: Mapping[str, str]) -> None:
        """The job: kills all workers, or those of `host`, and starts new ones."""
        host = options.get("host", "")
        with self._lock:
            if self.place.over.is_set():
                return
            self.restarted.append((time.time(), host))
            if host:
                self._restart_only(host)
                return
            other = self.other_after or next((one for one, _ in self._others), None)
            if not self.pattern.survives:
                self.leave()
            with suppress(Over):
                if other:
                    self.enter(other)
                if after := self._after or self._hired:
                    self.hire(after[0], after[1], queues=after[2])

    def _restart_only(self, host: str) -> None:
        port = str(self.place.relay.port_as(host))
        there = [one for one in self.workers if port in one.urls[0]]
        self.leave(there)
        if self._after:
            with suppress(Over):
                self.hire(self._after[0], len(there), hosts=[host] * len(there))

    # --- what was seen

    @property
    def finished(self) -> list[tuple[float, str]]:
        """When somebody of this application was through with which message."""
        workers = [pair for one in (*self.workers, *self.former) for pair in zip(one.acked, one.done, strict=False)]
        return workers + [pair for one in self.processes for pair in getattr(one, "done", ())]

    def count(self) -> None:
        """Take what is left out of the queues, and compare by content what was sent with what somebody was through with.

        Nobody publishes or consumes any more.
        """
        left: set[str] = set()

        def take(channel: Any) -> None:
            for queue in sorted(self._declared):
                while (message := channel.basic_get(queue, auto_ack=True))[0]:
                    left.add(content_of(message[2]))

        self._ask(take)
        done = [body for _, body in self.finished]
        sent = self.place.publishers[self.pattern.vhost].sent
        flowed = {f"{queue} {number}" for queue in self._declared for number in range(1, sent.get(queue, 0) + 1)}
        self.lost = sorted((self._sent | flowed) - set(done) - left)

    def longest_pause_s(self, since: float, until: float) -> float:
        """The longest time in which nobody of this application acknowledged anything."""
        acked = sorted(at for at, _ in self.finished if since <= at <= until)
        moments = [since, *acked, until]
        return max(later - earlier for earlier, later in pairwise(moments))


def content_of(body: bytes) -> str:
    """What a message says, whoever wrote it."""
    if not body.startswith((b"{", b"[")):
        return body.decode()
    task = json.loads(body)
    return str((task["args"] if isinstance(task, dict) else task[0])[0])
