"""The whole system on a virtual clock, in one process: the real core and flow against models of everything outside.

Every invocation is a greenlet; it gives way at each outbound call, so others run, and faults strike, between any two of them.
A seed (or Hypothesis, through the same `Random` interface) gives the schedule.
"""

from __future__ import annotations

import dataclasses
import heapq
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import greenlet
import msgspec
from msgspec.structs import replace

from functions.application import intake, reconcile
from functions.application.documents import decode, encode
from functions.application.ports import Listed, Query, QueueOutcome, Stored
from functions.domain.model.alerts import Alert, MatchedAlert, QueueRef, Target
from functions.domain.model.codes import Mode
from functions.domain.model.events import Acknowledged, AlertsReceived, Approved, Declined, Reply, TimerFired
from functions.domain.model.incidents import Archive, Document
from functions.domain.model.messages import Card
from functions.domain.model.observations import Execution, ExecutionHistory, NodeOutput, Pause, QueueSnapshot, Statement
from functions.domain.model.runbooks import Restart, Rules, Runbook, Symptom
from functions.runtime.errors import Denied, DeniedCode, Unavailable
from tests.simulation.models import Chat, EvidenceRun, Faults, Run, Rundeck, Store, lost
from tests.simulation.queues import BOOTS_S, Broker, Queue
from tests.support.worlds.memory import EveryChannel, read_each

BEGIN = 1_800_000_000.0
WEBHOOK_BUDGET_S = 8.0
VERIFY_BUDGET_S = 120.0

SKEWS_S = (0.0, 0.0, -0.6, -20.0, 3.0, 45.0)
"""How far an invocation's clock is ahead. Behind by more than a second, it leaves its wake-up to the sweep."""
PROMETHEUS_SKEW_S = 5.0
"""With clocks further apart, what Prometheus says is no answer."""

BUSY = 0.1
"""How likely Rundeck answers that the evidence job is busy."""

MOST_INVOCATIONS, MOST_LEGS = 30_000, 1500
"""Of a schedule, and outbound calls of an invocation: what has more goes in circles."""

BEHIND_S = 1.0
"""What schedulers/cloud_tasks.py adds to the time of a wake-up."""


class Crashed(BaseException):
    """The process of an invocation was killed."""


class Endless(BaseException):
    """An invocation goes in circles."""


@dataclass
class Answered:
    """An alert that was answered 2xx."""

    alert: Alert
    asked_at: float
    at: float
    """When the answer was there: a holder may have stalled for minutes between the two."""
    replies: tuple[Reply, ...]


@dataclass(frozen=True)
class Said:
    """An opinion that the evidence job wrote."""

    incident: str
    host: str
    stuck: bool
    at: float


@dataclass
class World:
    """State, clock and event queue of one schedule."""

    rng: random.Random
    faults: Faults
    rules: Rules
    target_of: Callable[[Alert], tuple[Target, QueueRef]]
    trace: list[str] | None = None
    now: float = BEGIN
    store: Store = field(default_factory=Store)
    rundeck: Rundeck = field(default_factory=Rundeck)
    chat: Chat = field(default_factory=Chat)
    queues: dict[str, Queue] = field(default_factory=dict)
    broker: Broker = field(default_factory=Broker)
    grouped: str = ""
    """What Grafana sends together: "" an alert, "app" an application's, "all" everything."""
    login_refused: bool = False
    deleted: set[str] = field(default_factory=set)
    """Keys of queues that the broker does not have at the moment."""
    troubles: list[tuple[str, float, float]] = field(default_factory=list)
    """(kind, from, to): what people and machines did to the systems around, see troubles.py."""
    nodes_lost: list[float] = field(default_factory=list)
    answered: list[Answered] = field(default_factory=list)
    pauses: list[tuple[float, bool]] = field(default_factory=list)
    presses: list[tuple[float, str]] = field(default_factory=list)
    """(when, for which target) somebody pressed the button."""
    declines: list[tuple[float, str]] = field(default_factory=list)
    """(when, of which incident) somebody declined the restart."""
    takings: list[tuple[float, str]] = field(default_factory=list)
    """(when it was saved, of which incident) somebody took an escalation."""
    looks: dict[str, list[tuple[float, int, tuple[str, ...]]]] = field(default_factory=dict)
    """By queue: (when, depth, consumers that the broker showed), each time that it was asked."""
    kept: dict[tuple[str, str, float], bytes] = field(default_factory=dict)
    """(document's key, queue, time of a look) -> what its invocation saved next. Nobody else can know of the other looks."""
    asked: dict[str, list[tuple[float, str]]] = field(default_factory=dict)
    """By target: (when, by which invocation) its history was asked for, answered or not."""
    unread: list[float] = field(default_factory=list)
    """When the history could not be read; Rundeck's clock with it."""
    sent: list[dict[str, Any]] = field(default_factory=list)
    evidence_sent: list[dict[str, Any]] = field(default_factory=list)
    """Each start of the evidence job: when, for which tag, and whether the kill switch was on."""
    saved: list[tuple[float, str, bytes]] = field(default_factory=list)
    wakes: list[tuple[float, float, str]] = field(default_factory=list)
    """(when it was ordered, for when, for which document), of those that the scheduler took."""
    lost_lists: set[str] = field(default_factory=set)
    """Ids of alerts that were handed to the scheduler, which lost them: nobody else knows of them."""
    defects: list[str] = field(default_factory=list)
    annotations: dict[str, Mapping[str, str]] = field(default_factory=dict)
    """By queue: what its alerts say of the last day."""
    opinions: list[Said] = field(default_factory=list)
    """What the evidence job said of the application on a host."""
    spawned: int = 0
    on_restart: Callable[[World, Run], None] = lambda world, run: None
    calm_from: float = BEGIN + 7200.0
    options: frozenset[str] = frozenset()
    _events: list[tuple[float, int, Callable[[], None]]] = field(default_factory=list)
    _count: int = 0
    _until: float = BEGIN
    _idle: list[greenlet.greenlet] = field(default_factory=list)
    """Those that wait for an invocation."""

    def at(self, when: float, what: Callable[[], None]) -> None:
        self._count += 1
        heapq.heappush(self._events, (max(when, self.now), self._count, what))

    def chance(self, likely: float) -> bool:
        """Whether a fault strikes. In the end everything works, since promises are about what comes in the end."""
        return likely > 0 and self.now < self.calm_from and self.rng.random() < likely

    def note(self, text: str) -> None:
        if self.trace is not None:
            self.trace.append(f"{self.now - BEGIN:10.3f}  {text}")

    def skip(self, seconds: float) -> bool:
        """Let this time pass at once if nothing else happens in it; otherwise events come first."""
        after = self.now + seconds
        if after > self._until or (self._events and self._events[0][0] <= after):
            return False
        self._count += 1
        self.now = after
        return True

    def run(self, until: float) -> None:
        self._until = until
        while self._events and self._events[0][0] <= until:
            self.now, _, what = heapq.heappop(self._events)
            what()
        self.now = max(self.now, until)
        while self._idle:  # what a waiting greenlet holds, the garbage collector can't see
            self._idle.pop().throw()

    def spawn(self, name: str, work: Callable[[Host], None], ended: Callable[[bool], None] = lambda ok: None) -> None:
        """Run an invocation; `ended` learns whether it came to its end."""
        self.spawned += 1
        if self.spawned == MOST_INVOCATIONS:
            self.defects.append(f"{name}: invocation {MOST_INVOCATIONS}")
        if self.spawned >= MOST_INVOCATIONS:
            return
        skew_s = 0.0 if "one_clock" in self.options else self.rng.choice(SKEWS_S)
        skew_s += self.spawned % 1000 * 1e-6  # an incident's id has its time: two invocations never read the very same
        host = Host(self, name, skew_s=skew_s)

        def body() -> None:
            ok = False
            try:
                work(host)
                ok = True
            except Crashed:
                self.note(f"{name}: killed")
            except Endless:
                self.defects.append(f"{name}: more than {MOST_LEGS} outbound calls")
            except (Unavailable, Denied) as error:
                self.note(f"{name}: failed: {error}")
            except Exception as error:  # noqa: BLE001 - a defect of the code under test, kept as a finding
                self.defects.append(f"{name}: {type(error).__name__}: {error}")
            ended(ok)

        def begin() -> None:
            host.let = self._idle.pop() if self._idle else greenlet.greenlet(self._serve)
            host.let.switch(body)

        self.at(self.now, begin)

    def _serve(self, body: Callable[[], None]) -> None:
        """Run one invocation after the other: to set up a greenlet takes as long as a short one."""
        let = greenlet.getcurrent()
        while True:
            body()
            self._idle.append(let)
            body = let.parent.switch()

    # --- the scheduler

    def wake(self, at: float, content: Mapping[str, Any]) -> None:
        self.wakes.append((self.now, at, str(content.get("target", ""))))
        if self.chance(self.faults.wake_lost):
            self.lost_lists |= {str(entry["incident"]) for entry in content.get("deferred", ())}
            self.note(f"scheduler loses the wake-up {content}")
            return
        late = self.rng.choice([30.0, 400.0, 9000.0]) if self.chance(self.faults.wake_late) else self.rng.random()
        for extra in (0.0, self.rng.random() * 5) if self.chance(self.faults.wake_twice) else (0.0,):
            self._deliver(max(at + BEHIND_S, self.now) + late + extra, content, 0)

    def _deliver(self, when: float, content: Mapping[str, Any], tries: int) -> None:
        def ended(ok: bool) -> None:
            if not ok and tries < 200:
                self._deliver(self.now + min(10.0 * 2 ** min(tries, 5), 300.0), content, tries + 1)

        def begin() -> None:
            kind = "handed-over alerts" if "deferred" in content else "wake-up"
            self.spawn(f"{kind} {self._count}", lambda host: verify(host, content), ended)

        self.at(when, begin)

    def sweep_every(self, seconds: float, until: float) -> None:
        def begin() -> None:
            if self.now > until:
                return
            self.spawn(
                "sweep", lambda host: intake.sweep(host, reconcile.Budget(host, host.monotonic() + VERIFY_BUDGET_S)) and None
            )
            self.at(self.now + seconds, begin)

        self.at(self.now + seconds, begin)

    # --- Grafana

    def notify(self, alerts: tuple[Alert, ...], *, again: float | None = None) -> None:
        """Send alerts; if it is not answered with 2xx, send them again at the next flush."""
        done = {"ok": False}

        def work(host: Host) -> None:
            cases, asked_at = cases_of(self, alerts), self.now
            handled = intake.handle_notification(host, cases, reconcile.Budget(host, host.monotonic() + WEBHOOK_BUDGET_S))
            if handled.lost == 0 and "deaf" not in self.options:
                done["ok"] = True
                self.note(f"Grafana hears {[(r.action.value, r.reason.value if r.reason else None) for r in handled.replies]}")
                self.answered += [Answered(alert, asked_at, self.now, handled.replies) for alert in alerts if alert.firing]

        def ended(ok: bool) -> None:
            if not done["ok"] and again is not None:
                self.at(self.now + again, lambda: self.notify(alerts, again=again))

        self.spawn(f"webhook {self._count}", work, ended)

    # --- people

    def pause(self, *, on: bool) -> None:
        self.pauses.append((self.now, on))
        self.note(f"somebody turns the kill switch {'on' if on else 'off'}")
        stored = self.store.load("pause")
        self.store.save("pause", encode(Pause("test", "somebody", self.now, on=on)), stored.generation if stored else None, None)

    def paused_at(self, at: float) -> bool:
        state = False
        for when, on in self.pauses:
            if when <= at:
                state = on
        return state

    def approve(self, key: str, nonce: str) -> None:
        self.presses.append((self.now, key))
        self.spawn(
            "approval",
            lambda host: (
                reconcile.advance(
                    host, key, Approved(nonce, "somebody"), reconcile.Budget(host, host.monotonic() + WEBHOOK_BUDGET_S)
                )
                and None
            ),
        )

    def decline(self, key: str, incident: str, nonce: str) -> None:
        self.declines.append((self.now, incident))
        self.spawn(
            "decline",
            lambda host: (
                reconcile.advance(
                    host, key, Declined(nonce, "somebody"), reconcile.Budget(host, host.monotonic() + WEBHOOK_BUDGET_S)
                )
                and None
            ),
        )

    def take(self, key: str, incident: str) -> None:
        def ended(ok: bool) -> None:
            if ok:
                self.takings.append((self.now, incident))

        event = Acknowledged("somebody", incident)
        self.spawn(
            "acknowledgement",
            lambda host: (
                reconcile.advance(host, key, event, reconcile.Budget(host, host.monotonic() + WEBHOOK_BUDGET_S)) and None
            ),
            ended,
        )

    def say(self, run: EvidenceRun) -> str:
        """What the evidence job finds out of the application on its host: nothing, or the truth."""
        ended = run.ends is not None and run.ends <= self.now
        at = run.ends if ended and run.ends is not None else self.now
        pieces = [queue.piece(at) for queue in self.queues.values()]
        holding = [one for piece in pieces for one in piece.workers if run.host and one.host == run.host and one.holds]
        if not ended or not holding or (run.id % 3 == 0 and "opinions" not in self.options):
            return ""
        stuck = any(not one.on_purpose and not one.works for one in holding)
        said = Said(run.tag.rpartition(".")[0], run.host, stuck, at)
        if said not in self.opinions:
            self.opinions.append(said)
        return f"unstick: {'stuck' if stuck else 'healthy'} so it says\n"

    def documents(self) -> list[Document]:
        return [
            decode(Document, body, key)
            for key, (body, _, _) in self.store.bodies.items()
            if not key.startswith(("pause", "storm"))
        ]


def cases_of(world: World, alerts: tuple[Alert, ...]) -> list[MatchedAlert]:
    cases = []
    for alert in alerts:
        runbook = world.rules.runbooks[alert.labels.get("runbook", "mail")]
        target, queue = world.target_of(alert)
        cases.append(MatchedAlert(alert, runbook, target, queue))
    return cases


def verify(host: Host, content: Mapping[str, Any]) -> None:
    """What service.deliver does, on the host's models."""
    if "deferred" in content:
        for entry in content["deferred"]:
            alerts = msgspec.convert(entry["alerts"], tuple[Alert, ...])
            cases = cases_of(host.world, alerts)
            event = AlertsReceived(tuple(cases), entry["incident"], crowd=entry["crowd"], handed_over_at=entry["at"])
            reconcile.advance(host, intake.document_key(cases[0]), event, reconcile.Budget(host, host.monotonic() + 30.0))
        return
    reconcile.advance(
        host, content["target"], TimerFired(content["due"]), reconcile.Budget(host, host.monotonic() + VERIFY_BUDGET_S)
    )


@dataclass
class Host:
    """The outside as one invocation meets it."""

    world: World
    name: str
    skew_s: float = 0.0
    let: Any = None
    legs: int = 0
    looked: dict[str, float] = field(default_factory=dict)
    """Queue -> when it was last looked at: what was looked at before was incomplete."""

    @property
    def rules(self) -> Rules:
        return self.world.rules

    def now(self) -> float:
        return self.world.now + self.skew_s

    def monotonic(self) -> float:
        return self.world.now

    def _pass(self, seconds: float) -> None:
        if not self.world.skip(seconds):
            self.world.at(self.world.now + seconds, self.let.switch)
            self.let.parent.switch()

    def _leg(self, what: str) -> None:
        """The way to a system: time passes, others run, the process may be killed or frozen."""
        world = self.world
        self.legs += 1
        if self.legs > MOST_LEGS:
            raise Endless
        if world.chance(world.faults.crash):
            raise Crashed
        if world.chance(world.faults.stall):
            world.note(f"{self.name}: stalls before {what}")
            self._pass(world.rng.choice([5.0, 40.0, 110.0, 200.0]))
        self._pass(world.rng.choice([1.0, 4.0]) if world.chance(world.faults.slow) else 0.02 + world.rng.random() * 0.1)

    def _back(self, what: str) -> None:
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
        new_generation = self.world.store.save(key, body, generation, due, compare="no_compare" not in self.world.options)
        self.world.saved.append((self.world.now, key, body))
        for queue, at in self.looked.items():
            self.world.kept.setdefault((key, queue, at), body)
        if self.world.trace is not None and not key.startswith(("pause", "storm")):
            self.world.note(f"{self.name}: saves {_shown(body)}")
        if self.world.chance(self.world.faults.store_lost):
            self.world.note(f"{self.name}: the answer of that save is lost")
            raise lost("store")
        self._back("save")
        return new_generation

    def list_documents(self, *, timeout_s: float) -> list[Listed]:
        self._leg("list")
        return self.world.store.list_documents()

    def archive(self, path: str, body: bytes, *, timeout_s: float) -> None:
        self._leg("archive")
        self._down(self.world.faults.store_down, "store")
        self.world.store.archived[path] = body
        self._back("archive")

    def wake(self, at: float, content: Mapping[str, Any], *, timeout_s: float) -> None:
        self._leg("wake")
        self._down(self.world.faults.wake_down, "scheduler")
        # The task's time is given by our clock and kept by the scheduler's.
        self.world.wake(at, content)
        self._back("wake")

    # --- RabbitMQ and Rundeck

    def look(self, target: Target, *, since_s: float, follow: str | None, tail: bool, timeout_s: float) -> ExecutionHistory:
        self.world.asked.setdefault(target.key, []).append((self.world.now, self.name))
        self._leg("history")
        try:
            self._down(self.world.faults.history_down, "rundeck")
            history = self.world.rundeck.read_history(target, self.world.now, since_s, follow)
        except (Unavailable, Denied):
            self.world.unread.append(self.world.now)
            raise
        return replace(history, read_at=self.now())

    @property
    def symptoms(self) -> Mapping[str, Host]:
        return dict.fromkeys(("rabbitmq", "prometheus"), self)

    def look_all(self, queries: Sequence[Query], *, timeout_s: float) -> list[QueueOutcome]:
        return read_each(self.read_queue, queries, timeout_s)

    def read_queue(self, queue: QueueRef, for_s: float, timeout_s: float) -> QueueSnapshot | Statement:
        self._leg("queue")
        self._down(self.world.faults.broker_down, "rabbitmq")
        if self.world.login_refused:
            raise Denied("rabbitmq", "the login failed", code=DeniedCode.LOGIN, remedy="Mend the password.")
        simulated = self.world.queues.get(queue.key)
        if simulated is None or queue.key in self.world.deleted:
            raise Denied("rabbitmq", "no such queue")
        if simulated.up_since + BOOTS_S > self.world.now >= simulated.up_since:
            raise Unavailable("rabbitmq", "is starting")
        if self.world.faults.scrape_s:
            if abs(self.skew_s) > PROMETHEUS_SKEW_S:
                raise Denied("prometheus", "its clock and ours are apart")
            said = simulated.read_stated(self.world.now, self.world.faults.scrape_s, for_s, ahead_s=self.skew_s)
            self.world.looks.setdefault(queue.key, []).append((self.world.now, simulated.depth(self.world.now), ()))
            self.looked[queue.key] = self.world.now
            return said
        broker, slow = self.world.broker, self.world.faults.broker_slow
        page_slow, channels_slow = broker.page_slow or self.world.chance(slow), broker.channels_slow or self.world.chance(slow)
        if page_slow or channels_slow:
            broker = dataclasses.replace(broker, page_slow=page_slow, channels_slow=channels_slow)
        seen = simulated.read(self.world.now, broker, ahead_s=self.skew_s)
        self.world.looks.setdefault(queue.key, []).append((self.world.now, seen.depth, seen.consumer_ids or ()))
        self.looked[queue.key] = self.world.now
        return seen

    def run(self, target: Target, *, tag: str, runner_not_after: float, timeout_s: float) -> Execution:
        world, faults = self.world, self.world.faults
        sent_at = world.now
        stored = world.store.load(target.key)
        world.sent.append(
            {
                "at": sent_at, "tag": tag, "target": target.key,
                "paused": world.paused_at(sent_at - 1.5) and world.paused_at(sent_at),
                "document": stored.body if stored else b"", "awaited": True,
            }
        )  # fmt: skip
        world.note(f"{self.name}: POST {tag}")
        if world.chance(faults.crash):
            raise Crashed
        if world.chance(faults.stall):
            world.note(f"{self.name}: stalls before the POST leaves")
            self._pass(world.rng.choice([5.0, 40.0, 110.0]))
        lag = world.rng.random() * faults.history_lag_s
        if world.chance(faults.run_late):
            late = world.rng.choice([8.0, 25.0, 50.0, 200.0])
            world.at(world.now + late, lambda: accepted(world, target, tag, runner_not_after, sent_at, lag))
            self._pass(min(timeout_s, 10.0))
            raise Unavailable("rundeck", "did not answer in time", late=True)
        if world.chance(faults.run_error):
            self._pass(0.05)
            if world.rng.random() < 0.5 and not world.rundeck.running(target.key, world.now - 0.05):
                accepted(world, target, tag, runner_not_after, sent_at, lag)
            raise Unavailable("rundeck", "answered 500")
        self._pass(0.05)
        if world.rundeck.passive:
            raise Denied("rundeck", "is in passive mode and starts nothing", code=DeniedCode.PASSIVE, remedy="Set it to active.")
        if world.rundeck.forbidden:
            raise Denied("rundeck", "answered 403", code=DeniedCode.TOKEN, remedy="Make a new token.")
        if world.rundeck.running(target.key, world.now - 0.05):
            raise Denied("rundeck", "busy", code=DeniedCode.BUSY, status=409)
        run = accepted(world, target, tag, runner_not_after, sent_at, lag)
        if world.chance(faults.run_lost):
            raise lost("rundeck")
        self._back("POST")
        return run.state(world.now, world.rundeck.ahead_s)

    def abort(self, execution: str, *, timeout_s: float) -> Execution:
        self._leg("abort")
        return Execution(execution, "", "aborted")

    def start_page(self, target: Target) -> str:
        return f"{target.url}/start/{target.key}"

    def start_evidence(self, job: str, options: Mapping[str, str], *, tag: str, timeout_s: float) -> Execution:
        world, faults, sent_at = self.world, self.world.faults, self.world.now
        paused = world.paused_at(sent_at - 1.5) and world.paused_at(sent_at)
        world.evidence_sent.append({"at": sent_at, "tag": tag, "paused": paused})
        world.note(f"{self.name}: POST {tag}")
        self._leg("the evidence job")
        lag, host = world.rng.random() * faults.history_lag_s, options.get("host", "")

        def accepted_later() -> None:
            world.rundeck.collect(tag, world.now, sent_at, world.rng, lag).host = host

        if world.chance(faults.run_late):
            world.at(world.now + world.rng.choice([2.0, 8.0, 50.0]), accepted_later)
            self._pass(timeout_s)
            raise Unavailable("rundeck", "did not answer in time", late=True)
        if world.chance(faults.run_error):
            if world.rng.random() < 0.5:
                accepted_later()
            raise Unavailable("rundeck", "answered 500")
        if world.rundeck.passive or world.rundeck.forbidden:
            raise Denied("rundeck", "answered 403", code=DeniedCode.TOKEN, remedy="Make a new token.")
        if world.rng.random() < BUSY:
            raise Denied("rundeck", "busy", code=DeniedCode.BUSY, status=409)
        run = world.rundeck.collect(tag, world.now, sent_at, world.rng, lag)
        run.host = host
        if world.chance(faults.run_lost):
            raise lost("rundeck")
        self._back("POST")
        return run.state(world.now, world.rundeck.ahead_s)

    def read_evidence(
        self, job: str, *, tag: str, execution: str | None, partial: bool, timeout_s: float
    ) -> tuple[Execution | None, tuple[NodeOutput, ...] | None]:
        world = self.world
        self._leg("the evidence run")
        self._down(world.faults.history_down, "rundeck")
        if world.rundeck.forbidden:
            raise Denied("rundeck", "answered 403", code=DeniedCode.TOKEN, remedy="Make a new token.")
        runs = [run for run in world.rundeck.evidence if execution == str(run.id) or (execution is None and run.tag == tag)]
        run = next((run for run in runs if execution is not None or run.seen_from <= world.now), None)
        if run is None:
            return None, None
        state = run.state(world.now, world.rundeck.ahead_s)
        output = NodeOutput("worker-1", f"stack of {tag}\n>> in recv (mail.py:41)\n{world.say(run)}")
        return state, (output,) if state.ended else None

    # --- people

    def post(self, channel: str, card: Card, thread: str | None, timeout_s: float) -> str | None:
        self._leg("chat")
        self.world.chat.tries.append((self.world.now, channel, card))
        if "slow_chat" in self.world.options:
            self._pass(2.0)
        if self.world.chance(self.world.faults.chat_down):
            self._pass(self.world.rng.choice([0.05, min(timeout_s, 10.0)]))  # it refuses (429), or does not answer
            raise Unavailable("chat", "did not take the message")
        self.world.chat.post(self.world.now, channel, card)
        self.world.note(f"{self.name}: tells {channel}: {card.kind}: {card.headline}")
        if self.world.chance(self.world.faults.chat_lost):
            raise lost("chat")
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


def accepted(world: World, target: Target, tag: str, not_after: float, sent_at: float, lag_s: float) -> Run:
    run = world.rundeck.accept(target, tag, not_after, world.now, sent_at, world.rng, lag_s)
    world.note(f"Rundeck starts {run.id} for {tag}{' and refuses it, too late' if run.refused else ''}")
    _ends(world, run)
    return run


def _ends(world: World, run: Run) -> None:
    """When it has ended, the application was restarted, unless the job refused it; what failed may be tried once more."""
    if run.ends is None:
        return

    def over() -> None:
        if not run.refused:
            world.on_restart(world, run)
        if world.rundeck.retries and run.status == "failed" and not run.is_retry:
            again = world.rundeck.retry(run, world.now, world.rng)
            world.note(f"Rundeck tries {run.id} again as {again.id}")
            _ends(world, again)

    world.at(run.ends, over)


def _shown(body: bytes) -> str:
    document = decode(Document, body, "trace")
    incident = document.incident
    shown = "no incident"
    if incident:
        shown = f"{incident.id[-8:]} {incident.phase.value} attempt {incident.attempt} {incident.reason or ''}"
    outcomes = [outcome.ending.value for outcome in document.outcomes]
    due = f", due {document.due - BEGIN:.1f}" if document.due is not None else ""
    return f"{document.key}: {shown}, to tell {len(document.to_tell)}, outcomes {outcomes}{due}"


def a_runbook(**changes: Any) -> Runbook:
    return replace(
        Runbook(
            "mail", (), Restart("job"), Symptom("rabbitmq", {"vhost": "/", "queue": "mail"}), mode=Mode.AUTO, notify=("ops",)
        ),
        **changes,
    )
