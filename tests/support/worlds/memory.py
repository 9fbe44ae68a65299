"""An outside that is all in memory: a store, a scheduler, a chat and a clock, and a record of who was called when."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from functions.application.documents import decode, encode
from functions.application.ports import Budget, Listed, Query, QueueOutcome, Stored
from functions.domain.model.alerts import QueueRef, Target
from functions.domain.model.cards import Card
from functions.domain.model.incidents import Archive, Document
from functions.domain.model.observations import Execution, ExecutionHistory, NodeOutput, Pause, QueueSnapshot, Statement
from functions.domain.model.runbooks import Rules
from functions.runtime.errors import Conflict, Denied, Unavailable
from tests.support.worlds.scenes import AHEAD_S, NOW, rules, snapshot


def read_each(
    read_queue: Callable[[QueueRef, float, float], QueueSnapshot | Statement], queries: Sequence[Query], timeout_s: float
) -> list[QueueOutcome]:
    """One queue after the other; an error takes the place of its queue."""
    snapshots: list[QueueOutcome] = []
    for query in queries:
        try:
            snapshots.append(read_queue(query.queue, query.for_s, timeout_s))
        except (Unavailable, Denied) as error:
            snapshots.append(error)
    return snapshots


class Poster(Protocol):
    def post(self, channel: str, card: Card, thread: str | None, timeout_s: float) -> str | None: ...


@dataclass(frozen=True)
class Channel:
    """A chat whose posts all go to one object, which is told the channel."""

    poster: Poster
    name: str

    def post(self, card: Card, *, thread: str | None, language: str, timeout_s: float) -> str | None:
        return self.poster.post(self.name, card, thread, timeout_s)


@dataclass(frozen=True)
class EveryChannel:
    """`ports.chats`, with a channel for each name."""

    poster: Poster

    def get(self, name: str) -> Channel:
        return Channel(self.poster, name)


@dataclass
class Memory:
    """`before` is called with the name of each call as it begins: it may raise, change the world, or let time pass."""

    rules: Rules = field(default_factory=rules)
    clock: float = NOW
    bodies: dict[str, tuple[bytes, int, float | None]] = field(default_factory=dict)
    archived: dict[str, bytes] = field(default_factory=dict)
    executions: list[Execution] = field(default_factory=list)
    mail: Callable[[float], QueueSnapshot] = lambda at: snapshot(at=at)
    before: Callable[[str], None] = lambda name: None
    calls: list[tuple[int, str]] = field(default_factory=list)
    """(leg, name): calls that are made at once share a leg."""
    wakes: list[tuple[float, Mapping[str, Any]]] = field(default_factory=list)
    posts: list[tuple[str, Card]] = field(default_factory=list)
    evidence: Execution | None = None
    evidence_options: dict[str, str] = field(default_factory=dict)
    output: str | None = None
    so_far: str | None = None
    """What the evidence run has written though it has not ended."""
    aborted: list[str] = field(default_factory=list)
    logged: list[str] = field(default_factory=list)
    by_environment: bool = False
    leg: int = 0
    _at_once: bool = False

    @property
    def names(self) -> list[str]:
        return [name for _, name in self.calls]

    def budget(self, seconds: float = 8.0) -> Budget:
        return Budget(self, self.clock + seconds)

    def put(self, key: str, document: object, due: float | None = None) -> None:
        """Somebody else saves this."""
        generation = self.bodies[key][1] + 1 if key in self.bodies else 1
        self.bodies[key] = (encode(document), generation, getattr(document, "due", due))

    def document(self, key: str) -> Document:
        return decode(Document, self.bodies[key][0], key)

    def pause(self) -> None:
        self.put("pause", Pause("migration", "anna", self.clock))

    def _call(self, name: str) -> None:
        if not self._at_once:
            self.leg += 1
        self.calls.append((self.leg, name))
        self.clock += 0.01
        self.before(name)

    # --- what the application asks for

    def now(self) -> float:
        return self.clock

    def monotonic(self) -> float:
        return self.clock

    def run_parallel(self, calls: list[Callable[[], Any]], timeout_s: float) -> list[Any]:
        results: list[Any] = []
        begun, latest, was = self.clock, self.clock, self._at_once
        self.leg += not was
        self._at_once = True
        for call in calls:
            self.clock = begun
            try:
                results.append(call())
            except Exception as error:  # noqa: BLE001 - handed to the caller, as the real one does
                results.append(error)
            latest = max(latest, self.clock)
        self.clock, self._at_once = latest, was
        return results

    @property
    def store(self) -> Memory:
        return self

    @property
    def runner(self) -> Memory:
        return self

    @property
    def chats(self) -> EveryChannel:
        return EveryChannel(self)

    def load(self, key: str, *, timeout_s: float) -> Stored | None:
        self._call(f"load {key}")
        stored = self.bodies.get(key)
        return Stored(stored[0], str(stored[1])) if stored else None

    def save(self, key: str, body: bytes, *, generation: str | None, due: float | None, timeout_s: float) -> str:
        self._call(f"save {key}")
        stored = self.bodies.get(key)
        if (str(stored[1]) if stored else None) != generation:
            raise Conflict(key)
        self.bodies[key] = (body, stored[1] + 1 if stored else 1, due)
        return str(self.bodies[key][1])

    def list_documents(self, *, timeout_s: float) -> list[Listed]:
        self._call("list")
        return [Listed(key, due) for key, (_, _, due) in self.bodies.items()]

    def archive(self, path: str, body: bytes, *, timeout_s: float) -> None:
        self._call("archive")
        self.archived[path] = body

    def wake(self, at: float, content: Mapping[str, Any], *, timeout_s: float) -> None:
        self._call("wake")
        self.wakes.append((at, content))

    def look(self, target: Target, *, since_s: float, follow: str | None, tail: bool, timeout_s: float) -> ExecutionHistory:
        self._call("history")
        return ExecutionHistory(self.clock + AHEAD_S, tuple(self.executions), read_at=self.clock)

    @property
    def symptoms(self) -> Mapping[str, Memory]:
        return dict.fromkeys(("rabbitmq", "prometheus"), self)

    def look_all(self, queries: Sequence[Query], *, timeout_s: float) -> list[QueueOutcome]:
        return read_each(self.read_queue, queries, timeout_s)

    def read_queue(self, queue: QueueRef, for_s: float, timeout_s: float) -> QueueSnapshot:
        self._call(f"queue {queue.name}")
        return self.mail(self.clock)

    def run(self, target: Target, *, tag: str, runner_not_after: float, timeout_s: float) -> Execution:
        self._call(f"run {tag}")
        number = str(len(self.executions) + 1)
        started = Execution(number, f"http://rundeck/{number}", "running", self.clock + AHEAD_S, None, tag, runner_not_after)
        self.executions.insert(0, started)
        return started

    def abort(self, execution: str, *, timeout_s: float) -> Execution:
        self._call("abort")
        self.aborted.append(execution)
        now = self.clock + AHEAD_S
        return Execution(execution, f"http://rundeck/{execution}", "aborted", now, now, aborted_by="unstick")

    def start_page(self, target: Target) -> str:
        return f"{target.url}/start/{target.job}"

    def start_evidence(self, job: str, options: Mapping[str, str], *, tag: str, timeout_s: float) -> Execution:
        self._call(f"collect {tag}")
        self.evidence_options = dict(options)
        self.evidence = Execution("evidence-1", "http://rundeck/evidence-1", "running", self.clock + AHEAD_S, None, tag)
        return self.evidence

    def read_evidence(
        self, execution: str, *, partial: bool, timeout_s: float
    ) -> tuple[Execution | None, tuple[NodeOutput, ...] | None]:
        self._call(f"evidence {execution}")
        output = self.so_far if partial and self.output is None else self.output
        return self.evidence, None if output is None else (NodeOutput("worker-1", output),)

    def post(self, channel: str, card: Card, thread: str | None, timeout_s: float) -> str | None:
        self._call(f"post {channel}")
        self.posts.append((channel, card))
        return f"thread of {channel}"

    def annotate(self, record: Archive, *, timeout_s: float) -> None:
        """Grafana is not asked for that here."""

    def sign_approval(self, key: str, nonce: str, expires_at: float) -> str:
        return f"{key}~{nonce}~{expires_at:.0f}"

    def sign_reading(self, incident: str, expires_at: float) -> str:
        return incident

    def is_paused_by_environment(self) -> bool:
        return self.by_environment

    def log(self, severity: str, message: str, **fields: object) -> None:
        self.logged.append(message)


DOWN = Unavailable("store", "is down")


def fails(*names: str, error: Exception = DOWN, times: int = 10_000) -> Callable[[str], None]:
    """What makes calls whose name begins with one of these fail, the first `times` of them."""
    left = [times]

    def before(name: str) -> None:
        if name.startswith(names) and left[0] > 0:
            left[0] -= 1
            raise error

    return before


def once(name: str, act: Callable[[], None], *, at: int = 1) -> Callable[[str], None]:
    """What does something as the `at`-th call whose name begins so begins."""
    count = [0]

    def before(called: str) -> None:
        count[0] += called.startswith(name)
        if called.startswith(name) and count[0] == at:
            act()

    return before
