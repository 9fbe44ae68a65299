"""The outside as one invocation meets it: each call takes time, lets others run, and may be struck by a fault."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from msgspec.structs import replace

from functions.application.documents import decode
from functions.application.ports import Budget, Listed, Query, QueueOutcome, Stored
from functions.domain.model.alerts import QueueRef, Target
from functions.domain.model.cards import Card
from functions.domain.model.incidents import Archive, Document
from functions.domain.model.observations import Execution, ExecutionHistory, NodeOutput, QueueSnapshot, Statement
from functions.domain.model.runbooks import Rules
from functions.runtime.errors import Denied, DeniedCode, Unavailable
from tests.simulation.broker import BOOTS_S
from tests.simulation.models import Sent
from tests.support.worlds.memory import EveryChannel, read_each

if TYPE_CHECKING:
    from tests.simulation.world import World

PROMETHEUS_SKEW_S = 5.0
"""With clocks further apart, what Prometheus says is no answer."""
BUSY = 0.1
"""How likely Rundeck answers that the evidence job is busy."""
MOST_LEGS = 1500
"""Outbound calls of an invocation: what has more goes in circles."""
PAUSE_SEEN_S = 1.5
"""The kill switch is read with the save, and once more if that took over a second."""


class Crashed(BaseException):
    """The process of an invocation was killed."""


class Endless(BaseException):
    """An invocation goes in circles."""


@dataclass
class Host:
    """All ports of one invocation."""

    world: World
    name: str
    skew_s: float = 0.0
    let: Any = None
    legs: int = 0

    @property
    def rules(self) -> Rules:
        return self.world.rules

    def now(self) -> float:
        return self.world.now + self.skew_s

    def monotonic(self) -> float:
        return self.world.now

    def budget(self, seconds: float) -> Budget:
        return Budget(self, self.monotonic() + seconds)

    def _pass(self, seconds: float) -> None:
        if not self.world.skip(seconds):
            self.world.at(self.world.now + seconds, self.let.switch)
            self.let.parent.switch()

    def _leg(self, what: str) -> None:
        """The way to a system: time passes, others run, the process may be killed or frozen."""
        world = self.world
        self.legs += 1
        if self.legs > MOST_LEGS:
            raise Endless(f"more than {MOST_LEGS} outbound calls")
        self._may_stop(what, [5.0, 40.0, 110.0, 200.0])
        self._pass(world.rng.choice([1.0, 4.0]) if world.chance(world.faults.slow) else 0.02 + world.rng.random() * 0.1)

    def _may_stop(self, what: str, lengths_s: list[float]) -> None:
        if self.world.chance(self.world.faults.crash):
            raise Crashed
        if self.world.chance(self.world.faults.stall):
            self.world.note(f"{self.name}: stalls before {what}")
            self._pass(self.world.rng.choice(lengths_s))

    def _back(self, what: str, lost: float = 0.0) -> None:
        """The way back: the answer may be lost, and the process killed."""
        if self.world.chance(lost):
            self.world.note(f"{self.name}: the answer of {what} is lost")
            raise Unavailable(what, "the answer was lost")
        self._pass(0.01)
        if self.world.chance(self.world.faults.crash):
            self.world.note(f"{self.name}: is killed after {what}")
            raise Crashed

    def _down(self, likely: float, system: str) -> None:
        if self.world.chance(likely):
            raise Unavailable(system, "is down")

    def run_parallel(self, calls: list[Callable[[], Any]], timeout_s: float) -> list[Any]:
        """One after the other in any order, which is how they may take effect."""
        results: list[Any] = [None] * len(calls)
        order = list(range(len(calls)))
        self.world.rng.shuffle(order)
        for place in order:
            try:
                results[place] = calls[place]()
            except Exception as error:  # noqa: BLE001 - handed to the caller, as the real one does
                results[place] = error
        return results

    # --- store and scheduler

    @property
    def store(self) -> Host:
        return self

    @property
    def runner(self) -> Host:
        return self

    @property
    def chats(self) -> EveryChannel:
        return EveryChannel(self)

    def load(self, key: str, *, timeout_s: float) -> Stored | None:
        self._leg(f"load {key}")
        self._down(self.world.faults.store_down, "store")
        return self.world.store.load(key)

    def save(self, key: str, body: bytes, *, generation: str | None, due: float | None, timeout_s: float) -> str:
        self._leg(f"save {key}")
        self._down(self.world.faults.store_down, "store")
        new_generation = self.world.store.save(key, body, generation, due)
        self.world.saved.append((self.world.now, key, body))
        if self.world.trace is not None and not key.startswith(("pause", "storm")):
            self.world.note(f"{self.name}: saves {_show(decode(Document, body, key), self.world.now)}")
        self._back(f"saving {key}", self.world.faults.store_lost)
        return new_generation

    def list_documents(self, *, timeout_s: float) -> list[Listed]:
        self._leg("list")
        return self.world.store.list_documents()

    def archive(self, path: str, body: bytes, *, timeout_s: float) -> None:
        self._leg("archive")
        self._down(self.world.faults.store_down, "store")
        self.world.store.archived[path] = body
        self._back("archiving")

    def wake(self, at: float, content: Mapping[str, Any], *, timeout_s: float) -> None:
        """The task's time is given by our clock and kept by the scheduler's."""
        self._leg("wake")
        self._down(self.world.faults.wake_down, "scheduler")
        self.world.wake(at, content)
        self._back("ordering a wake-up")

    # --- RabbitMQ and Prometheus

    @property
    def symptoms(self) -> Mapping[str, Host]:
        return dict.fromkeys(("rabbitmq", "prometheus"), self)

    def look_all(self, queries: Sequence[Query], *, timeout_s: float) -> list[QueueOutcome]:
        return read_each(self.read_queue, queries, timeout_s)

    def read_queue(self, queue: QueueRef, for_s: float, timeout_s: float) -> QueueSnapshot | Statement:
        world = self.world
        self._leg("queue")
        self._down(world.faults.broker_down, "rabbitmq")
        if world.login_refused:
            raise Denied("rabbitmq", "the login failed", code=DeniedCode.LOGIN, remedy="Mend the password.")
        simulated = world.queues.get(queue.key)
        if simulated is None or queue.key in world.deleted:
            raise Denied("rabbitmq", "no such queue")
        away = any(begin <= world.now < end for begin, end in world.aways)
        if away or simulated.up_since + BOOTS_S > world.now >= simulated.up_since:
            raise Unavailable("rabbitmq", "is starting")
        if world.faults.scrape_s and abs(self.skew_s) > PROMETHEUS_SKEW_S:
            raise Denied("prometheus", "its clock and ours are apart")
        world.looks.setdefault(queue.key, []).append(world.now)
        world.taken_in |= {world.now} if self.name.startswith("webhook") else set()
        if world.faults.scrape_s:
            return simulated.read_stated(world.now, world.faults.scrape_s, for_s, ahead_s=self.skew_s)
        broker, slow = world.broker, world.faults.broker_slow
        page_slow, channels_slow = broker.page_slow or world.chance(slow), broker.channels_slow or world.chance(slow)
        broker = dataclasses.replace(broker, page_slow=page_slow, channels_slow=channels_slow)
        return simulated.read(world.now, broker, ahead_s=self.skew_s)

    # --- Rundeck

    def look(self, target: Target, *, since_s: float, follow: str | None, tail: bool, timeout_s: float) -> ExecutionHistory:
        self.world.asked.setdefault(target.key, []).append((self.world.now, self.name))
        self._leg("history")
        try:
            self._down(self.world.faults.history_down, "rundeck")
            history = self.world.rundeck.read_history(target.key, self.world.now, since_s, follow)
        except (Unavailable, Denied):
            self.world.unread.append(self.world.now)
            raise
        return replace(history, read_at=self.now())

    def run(self, target: Target, *, tag: str, runner_not_after: float, timeout_s: float) -> Execution:
        world, faults, sent_at = self.world, self.world.faults, self.world.now
        world.sent.append(self._sent(tag, target.key))
        self._may_stop("the POST leaves", [5.0, 40.0, 110.0])
        lag_s = world.rng.random() * faults.history_lag_s
        if world.chance(faults.run_late):
            late = world.rng.choice([8.0, 25.0, 50.0, 200.0])
            world.at(world.now + late, lambda: world.accept(tag, target, runner_not_after, sent_at, lag_s))
            self._pass(min(timeout_s, 10.0))
            raise Unavailable("rundeck", "did not answer in time", late=True)
        if world.chance(faults.run_error):
            self._pass(0.05)
            if world.rng.random() < 0.5 and not world.rundeck.running(target.key, world.now - 0.05):
                world.accept(tag, target, runner_not_after, sent_at, lag_s)
            raise Unavailable("rundeck", "answered 500")
        self._pass(0.05)
        world.rundeck.refuse(target.key, world.now - 0.05)
        run = world.accept(tag, target, runner_not_after, sent_at, lag_s)
        self._back("the POST", faults.run_lost)
        return run.state(world.now, world.rundeck.ahead_s)

    def _sent(self, tag: str, target: str) -> Sent:
        world = self.world
        world.note(f"{self.name}: POST {tag}")
        stored = world.store.load(target)
        document = decode(Document, stored.body, target) if stored else None
        paused = world.is_paused(world.now - PAUSE_SEEN_S) and world.is_paused(world.now)
        return Sent(world.now, tag, target, paused, document)

    def abort(self, execution: str, *, timeout_s: float) -> Execution:
        self._leg("abort")
        return Execution(execution, "", "aborted")

    def start_page(self, target: Target) -> str:
        return f"{target.url}/start/{target.key}"

    def start_evidence(self, job: str, options: Mapping[str, str], *, tag: str, timeout_s: float) -> Execution:
        world, faults, sent_at = self.world, self.world.faults, self.world.now
        world.evidence_sent.append(self._sent(tag, ""))
        self._leg("the evidence job")
        lag_s, host = world.rng.random() * faults.history_lag_s, options.get("host", "")
        accept: Callable[[], Any] = lambda: world.rundeck.collect(tag, host, (world.now, sent_at, lag_s), world.rng)  # noqa: E731
        if world.chance(faults.run_late):
            world.at(world.now + world.rng.choice([2.0, 8.0, 50.0]), accept)
            self._pass(timeout_s)
            raise Unavailable("rundeck", "did not answer in time", late=True)
        if world.chance(faults.run_error):
            if world.rng.random() < 0.5:
                accept()
            raise Unavailable("rundeck", "answered 500")
        if world.rundeck.passive or world.rng.random() < BUSY:
            raise Denied("rundeck", "busy", code=DeniedCode.BUSY, status=409)
        world.rundeck.refuse_token()
        run = accept()
        self._back("the POST", faults.run_lost)
        return run.state(world.now, world.rundeck.ahead_s)

    def read_evidence(
        self, execution: str, *, partial: bool, timeout_s: float
    ) -> tuple[Execution | None, tuple[NodeOutput, ...] | None]:
        world = self.world
        self._leg("the evidence run")
        self._down(world.faults.history_down, "rundeck")
        world.rundeck.refuse_token()
        run = next(run for run in world.rundeck.evidence if str(run.id) == execution)
        state = run.state(world.now, world.rundeck.ahead_s)
        output = NodeOutput("worker-1", f"stack of {run.tag}\n>> in recv (mail.py:41)\n{world.say(run)}")
        double = [NodeOutput("worker-2", f"unstick {run.tag} healthy nothing is held here\n")] if world.doubles else []
        return state, (output, *double) if state.ended else None

    # --- people

    def post(self, channel: str, card: Card, thread: str | None, timeout_s: float) -> str | None:
        world = self.world
        self._leg("chat")
        world.chat.tries.append((world.now, channel, card))
        if "slow_chat" in world.options:
            self._pass(2.0)
        if world.chance(world.faults.chat_down):
            self._pass(world.rng.choice([0.05, min(timeout_s, 10.0)]))  # it refuses (429), or does not answer
            raise Unavailable("chat", "did not take the message")
        world.chat.posts.append((world.now, channel, card))
        world.note(f"{self.name}: tells {channel}: {card.kind}: {card.headline}")
        self._back("the chat", world.faults.chat_lost)
        return None

    def annotate(self, record: Archive, *, timeout_s: float) -> None:
        """Grafana is no part of it."""

    def sign_approval(self, key: str, nonce: str, expires_at: float) -> str:
        return f"{key}~{nonce}"

    def sign_reading(self, incident: str, expires_at: float) -> str:
        return incident

    def is_paused_by_environment(self) -> bool:
        return False

    def log(self, severity: str, message: str, **fields: object) -> None:
        if severity in ("WARNING", "ERROR"):
            self.world.note(f"{self.name}: log {severity} {message}")


def _show(document: Document, now: float) -> str:
    incident = document.incident
    shown = "no incident"
    if incident:
        shown = f"{incident.id[-8:]} {incident.phase.value} attempt {incident.attempt} {incident.reason or ''}"
    outcomes = [outcome.ending.value for outcome in document.outcomes]
    due = f", due in {document.due - now:.1f} s" if document.due is not None else ""
    return f"{document.key}: {shown}, to tell {len(document.to_tell)}, outcomes {outcomes}{due}"
