"""The whole system on a virtual clock, in one process: the real core and flow against models of everything outside.

Every invocation is a greenlet; it gives way at each outbound call, so others run, and faults strike, between any two of them.
A seed gives the schedule.
"""

from __future__ import annotations

import heapq
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import greenlet
import msgspec

from functions.application import intake, reconcile
from functions.application.documents import decode, encode
from functions.domain.model.alerts import Alert, MatchedAlert, QueueRef, Target
from functions.domain.model.events import Acknowledged, AlertsReceived, Approved, Declined, Event, Reply, TimerFired
from functions.domain.model.incidents import Document
from functions.domain.model.observations import Pause
from functions.domain.model.runbooks import Rules, Runbook
from functions.runtime.errors import Denied, Unavailable
from tests.simulation.broker import Broker, Queue
from tests.simulation.host import Crashed, Endless, Host
from tests.simulation.models import Chat, Faults, Run, Rundeck, Sent, Store

BEGIN = 1_800_000_000.0
WEBHOOK_BUDGET_S = 8.0
HANDED_OVER_BUDGET_S = 30.0
VERIFY_BUDGET_S = 120.0

SKEWS_S = (0.0, 0.0, -0.6, -20.0, 3.0, 45.0)
"""How far an invocation's clock is ahead. Behind by more than a second, it leaves its wake-up to the sweep."""
MOST_INVOCATIONS = 100_000
"""Of a schedule: what has more goes in circles."""
CUT = ("failed", "aborted", "timedout", "incomplete")
RENAMED = " renamed"
BEHIND_S = 1.0
"""What schedulers/cloud_tasks.py adds to the time of a wake-up."""


@lru_cache(maxsize=50)
def read_document(body: bytes, key: str) -> Document:
    """A stored document, which is read again and again."""
    return decode(Document, body, key)


@dataclass
class Answered:
    """A firing alert that was answered 2xx."""

    alert: Alert
    asked_at: float
    at: float
    """When the answer was there: a holder may have stalled for minutes between the two."""
    replies: tuple[Reply, ...]


@dataclass
class World:
    """State, clock and event queue of one schedule."""

    rng: random.Random
    more: random.Random
    """What came to be drawn later: `rng` gives what it gave before."""
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
    aways: list[tuple[float, float]] = field(default_factory=list)
    """When the broker's pages did not answer."""
    mended: set[str] = field(default_factory=set)
    """Keys of queues whose consumers somebody has replaced."""
    reads_s: float = 0.0
    """How long people take from reading a question to their answer."""
    cut: float = 0.0
    """How likely Rundeck says that a run has ended while its command goes on."""
    doubles: bool = False
    """A node that holds nothing says in each evidence run that it is healthy."""
    alerts: list[Alert] = field(default_factory=list)
    """All that Grafana has or will have, as they begin."""
    answered: list[Answered] = field(default_factory=list)
    pauses: list[tuple[float, bool]] = field(default_factory=list)
    presses: list[tuple[float, str]] = field(default_factory=list)
    """(when, for which target) somebody pressed the button."""
    declines: list[tuple[float, str, str]] = field(default_factory=list)
    """(when, of which incident, by which link) somebody declined the restart."""
    looks: dict[str, list[float]] = field(default_factory=dict)
    """By queue: each time that the broker showed it."""
    taken_in: set[float] = field(default_factory=set)
    """Of these, the looks of notifications: they judge nothing that is not due."""
    asked: dict[str, list[tuple[float, str]]] = field(default_factory=dict)
    """By target: (when, by which invocation) its history was asked for, answered or not."""
    unread: list[float] = field(default_factory=list)
    """When the history could not be read; Rundeck's clock with it."""
    sent: list[Sent] = field(default_factory=list)
    evidence_sent: list[Sent] = field(default_factory=list)
    saved: list[tuple[float, str, bytes]] = field(default_factory=list)
    wakes: list[tuple[float, float, str]] = field(default_factory=list)
    """(when it was ordered, for when, for which document), of those that the scheduler took."""
    lost_lists: set[str] = field(default_factory=set)
    """Ids of alerts that were handed to the scheduler, which lost them: nobody else knows of them."""
    defects: list[str] = field(default_factory=list)
    spawned: int = 0
    on_restart: Callable[[World, Run], None] = lambda world, run: None
    calm_from: float = BEGIN + 7200.0
    options: frozenset[str] = frozenset()
    _events: list[tuple[float, int, Callable[[], object]]] = field(default_factory=list)
    _count: int = 0
    _until: float = BEGIN
    _idle: list[greenlet.greenlet] = field(default_factory=list)
    """Those that wait for an invocation."""

    def wants(self, name: str, likely: float) -> bool:
        """Whether this schedule has it: an option names it, or it is drawn."""
        return name in self.options or (self.more.random() < likely and not self.options)

    def book(self, name: str) -> Runbook:
        """The runbook, which somebody may have renamed."""
        books = self.rules.runbooks
        return books.get(name) or books[f"{name}{RENAMED}"]

    def at(self, when: float, what: Callable[[], object]) -> None:
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

    def spawn(self, name: str, work: Callable[[Host], object], ended: Callable[[bool], None] = lambda ok: None) -> None:
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
            except Endless as error:
                self.defects.append(f"{name}: {error}")
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
            self.spawn(f"{kind} {self._count}", lambda host: self._verify(host, content), ended)

        self.at(when, begin)

    def _verify(self, host: Host, content: Mapping[str, Any]) -> None:
        """What entrypoints/verify.py does with a payload."""
        for entry in content.get("deferred", ()):
            cases = self.match(msgspec.convert(entry["alerts"], tuple[Alert, ...]))
            event = AlertsReceived(tuple(cases), entry["incident"], crowd=entry["crowd"])
            reconcile.advance(host, intake.document_key(cases[0]), event, host.budget(HANDED_OVER_BUDGET_S))
        if "target" in content:
            reconcile.advance(host, content["target"], TimerFired(content["due"]), host.budget(VERIFY_BUDGET_S))

    def sweep_every(self, seconds: float, until: float) -> None:
        def begin() -> None:
            if self.now <= until:
                self.spawn("sweep", lambda host: intake.sweep(host, host.budget(VERIFY_BUDGET_S)))
                self.at(self.now + seconds, begin)

        self.at(self.now + seconds, begin)

    # --- Grafana

    def match(self, alerts: tuple[Alert, ...]) -> list[MatchedAlert]:
        return [MatchedAlert(alert, self.book(alert.labels.get("runbook", "mail")), *self.target_of(alert)) for alert in alerts]

    def notify(self, alerts: tuple[Alert, ...], *, again: float | None = None) -> None:
        """Send alerts; if it is not answered with 2xx, send them again at the next flush."""
        answers: list[bool] = []

        def work(host: Host) -> None:
            cases, asked_at = self.match(alerts), self.now
            handled = intake.handle_notification(host, cases, host.budget(WEBHOOK_BUDGET_S))
            if handled.lost == 0:
                answers.append(True)
                self.note(f"Grafana hears {[(r.action.value, r.reason.value if r.reason else None) for r in handled.replies]}")
                self.answered += [Answered(alert, asked_at, self.now, handled.replies) for alert in alerts if alert.firing]

        def ended(ok: bool) -> None:
            if not answers and again is not None:
                self.at(self.now + again, lambda: self.notify(alerts, again=again))

        self.spawn(f"webhook {self._count}", work, ended)

    # --- people

    def pause(self, *, on: bool) -> None:
        self.pauses.append((self.now, on))
        self.note(f"somebody turns the kill switch {'on' if on else 'off'}")
        stored = self.store.load("pause")
        self.store.save("pause", encode(Pause("test", "somebody", self.now, on=on)), stored.generation if stored else None, None)

    def is_paused(self, at: float) -> bool:
        return next((on for when, on in reversed(self.pauses) if when <= at), False)

    def approve(self, key: str, nonce: str) -> None:
        self.presses.append((self.now, key))
        self._answer("approval", key, Approved(nonce, "somebody"))

    def decline(self, key: str, incident: str, nonce: str, *, on_purpose: bool = False) -> None:
        self.declines.append((self.now, incident, nonce))
        self._answer("decline", key, Declined(nonce, "somebody", on_purpose=on_purpose))

    def take(self, key: str, incident: str) -> None:
        self._answer("acknowledgement", key, Acknowledged("somebody", incident))

    def _answer(self, name: str, key: str, event: Event) -> None:
        self.spawn(name, lambda host: reconcile.advance(host, key, event, host.budget(WEBHOOK_BUDGET_S)))

    def documents(self) -> list[Document]:
        bodies = self.store.bodies.items()
        return [read_document(body, key) for key, (body, _, _) in bodies if not key.startswith(("pause", "storm"))]

    # --- Rundeck

    def accept(self, tag: str, target: Target, not_after: float, sent_at: float, lag_s: float) -> Run:
        run = self.rundeck.accept(tag, target.key, not_after, (self.now, sent_at, lag_s), self.rng)
        run.host = target.options.get(target.holder, "")
        if not run.refused and run.ends is not None and self.more.random() < self.cut:
            run.status, run.goes_on_s = self.more.choice(CUT), self.more.choice((20.0, 95.0, 400.0))
        self.note(f"Rundeck starts {run.id} for {tag}{' and refuses it, too late' if run.refused else ''}")
        self._ends(run)
        return run

    def _ends(self, run: Run) -> None:
        """When its command is over, the application was restarted, unless the job refused it; what failed may be tried again."""

        def over() -> None:
            if not run.refused:
                self.on_restart(self, run)
            if self.rundeck.retries and run.status == "failed" and not run.is_retry and not run.goes_on_s:
                again = self.rundeck.retry(run, self.now, self.rng)
                self.note(f"Rundeck tries {run.id} again as {again.id}")
                self._ends(again)

        if run.over is not None:
            self.at(run.over, over)

    def say(self, run: Run) -> str:
        """What the evidence job finds out of the application on its host: nothing, or the truth."""
        if run.ends is None or not run.has_ended(self.now):
            return ""
        workers = [worker for queue in self.queues.values() for worker in queue.piece(run.ends).workers]
        holding = [worker for worker in workers if run.host and worker.host == run.host and worker.holds]
        if not holding or run.id % 3 == 0:
            return ""
        stuck = any(not worker.on_purpose and not worker.works for worker in holding)
        return f"unstick {run.tag} {'stuck' if stuck else 'healthy'} so it says\n"
