"""Models of the systems outside, on a virtual clock: Rundeck, the store and the chat; broker.py has RabbitMQ.

Each knows the whole truth and shows what the real one would show: late statistics, lagging histories, lost answers.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field, replace

from functions.application.ports import Listed, Stored
from functions.domain.model.cards import Card
from functions.domain.model.incidents import Document
from functions.domain.model.observations import Execution, ExecutionHistory
from functions.runtime.errors import Conflict, Denied, DeniedCode


@dataclass(frozen=True)
class Faults:
    """How likely each fault is, from 0 to 1, by call."""

    crash: float = 0.0
    stall: float = 0.0
    slow: float = 0.0
    store_lost: float = 0.0
    store_down: float = 0.0
    wake_lost: float = 0.0
    wake_twice: float = 0.0
    wake_late: float = 0.0
    wake_down: float = 0.0
    run_lost: float = 0.0
    run_late: float = 0.0
    run_error: float = 0.0
    """5xx: half of the time after it was accepted."""
    history_down: float = 0.0
    history_lag_s: float = 0.0
    broker_down: float = 0.0
    broker_slow: float = 0.0
    """Its page and its channels, each by itself: both have a deadline of their own."""
    chat_down: float = 0.0
    chat_lost: float = 0.0
    scrape_s: float = 0.0
    """The symptom's figures come by Prometheus, which scrapes them so seldom; 0: live ones of RabbitMQ."""


@dataclass
class Run:
    """One execution, of a job that restarts or of the evidence job, with what only the model knows."""

    id: int
    tag: str
    target: str
    started: float
    ends: float | None
    status: str
    sent_at: float
    seen_from: float
    not_after: float | None = None
    refused: bool = False
    by: str = "unstick"
    retried: Run | None = None
    """The run that Rundeck started when this one had failed, since the job says so."""
    is_retry: bool = False
    host: str = ""
    """The one that it was limited to; "": all."""
    goes_on_s: float = 0.0
    """For how long its command goes on once Rundeck says that it has ended: a connection was cut, its server restarted."""

    @property
    def over(self) -> float | None:
        """When its command is over, and has restarted what it restarts."""
        return None if self.ends is None else self.ends + self.goes_on_s

    def chain(self) -> list[Run]:
        """The run and its retries."""
        return [self, *(self.retried.chain() if self.retried else [])]

    def has_ended(self, at: float) -> bool:
        return self.ends is not None and self.ends <= at

    def state(self, now: float, ahead_s: float) -> Execution:
        planned, over = self.started > now, self.has_ended(now)
        return Execution(
            str(self.id),
            f"http://rundeck/execution/{self.id}",
            "scheduled" if planned else self.status if over else "running",
            self.started + ahead_s,
            self.ends + ahead_s if over and self.ends is not None else None,
            self.tag,
            self.not_after,
            self.by,
            scheduled=planned,
            host=self.host,
            over=over and not self.goes_on_s,
        )


@dataclass(frozen=True)
class Sent:
    """A start that left for Rundeck."""

    at: float
    tag: str
    target: str
    paused: bool
    """Whether the kill switch was on then, and had been for a while."""
    document: Document | None
    """The target's as it was saved then."""


@dataclass
class Rundeck:
    ahead_s: float = 0.0
    runs: list[Run] = field(default_factory=list)
    evidence: list[Run] = field(default_factory=list)
    honours_fence: bool = True
    one_at_a_time: bool = False
    """All targets share one job that allows one execution."""
    hidden: bool = False
    """Its ACL hides rows of the history."""
    forbidden: bool = False
    """The token has expired."""
    passive: bool = False
    retries: bool = False
    """The job says that a failed run is tried once more."""
    count: int = 100

    def running(self, target: str, now: float) -> list[Run]:
        mine = [run for run in self.runs if run.target == target or self.one_at_a_time]
        return [run for run in mine if run.started <= now and not run.has_ended(now)]

    def refuse(self, target: str, now: float) -> None:
        """Raise Denied where it does not start this target's job now."""
        if self.passive:
            raise Denied("rundeck", "is in passive mode and starts nothing", code=DeniedCode.PASSIVE, remedy="Set it to active.")
        self.refuse_token()
        if self.running(target, now):
            raise Denied("rundeck", "busy", code=DeniedCode.BUSY, status=409)

    def refuse_token(self) -> None:
        if self.forbidden:
            raise Denied("rundeck", "answered 403", code=DeniedCode.TOKEN, remedy="Make a new token.")

    def accept(self, tag: str, target: str, not_after: float, times: tuple[float, float, float], rng: random.Random) -> Run:
        """Start the job. `times`: now, when it was sent, and how much later the history shows it."""
        now, sent_at, lag_s = times
        late = self.honours_fence and now + self.ahead_s > not_after
        self.count += 1
        kind = rng.random()
        length = 0.5 if late else rng.choice([2.0, 8.0, 30.0])
        status = "failed" if late or kind < 0.1 else "succeeded"
        ends = None if kind > 0.97 and not late else now + length
        run = Run(self.count, tag, target, now + 0.01, ends, status, sent_at, now + lag_s, not_after, late)
        self.runs.append(run)
        return run

    def retry(self, failed: Run, now: float, rng: random.Random) -> Run:
        """Rundeck itself runs the same again, with the same options; the job refuses it if it is too late by now."""
        self.count += 1
        late = self.honours_fence and failed.not_after is not None and now + self.ahead_s > failed.not_after
        status = "succeeded" if rng.random() < 0.7 and not late else "failed"
        again = replace(failed, id=self.count, started=now, status=status, refused=late, is_retry=True, seen_from=now)
        again.ends = now + (rng.choice([0.5, 20.0]) if late else 8.0)
        failed.retried = again
        self.runs.append(again)
        return again

    def collect(self, tag: str, host: str, times: tuple[float, float, float], rng: random.Random) -> Run:
        """A run of the evidence job: it may be quick, slow or hang, and it may fail."""
        now, sent_at, lag_s = times
        self.count += 1
        length = rng.choice([0.5, 3.0, 8.0, 30.0, None])
        status = "failed" if rng.random() < 0.15 else "succeeded"
        run = Run(self.count, tag, "", now, None if length is None else now + length, status, sent_at, now + lag_s, host=host)
        self.evidence.append(run)
        return run

    def read_history(self, target: str, now: float, since_s: float, follow: str | None) -> ExecutionHistory:
        self.refuse_token()
        if self.hidden:
            raise Denied("rundeck", "hides rows", remedy="Allow read.")
        shown = [run for run in self.runs if run.seen_from <= now]
        states = [run.state(now, self.ahead_s) for run in shown if run.target == target and (run.ends or now) > now - since_s]
        executions = sorted(states, key=lambda execution: -(execution.runner_started_at or 0.0))
        followed = next((run.chain()[-1].state(now, self.ahead_s) for run in self.runs if str(run.id) == follow), None)
        busy = [run for run in shown if run.target != target and not run.has_ended(now)] if self.one_at_a_time else []
        others = tuple(run.state(now, self.ahead_s) for run in busy)
        tail = ("done",) if followed and followed.ended else None
        return ExecutionHistory(float(int(now + self.ahead_s)), tuple(executions), others, followed, tail)


@dataclass
class Store:
    bodies: dict[str, tuple[bytes, int, float | None]] = field(default_factory=dict)
    archived: dict[str, bytes] = field(default_factory=dict)
    generation: int = 0

    def load(self, key: str) -> Stored | None:
        stored = self.bodies.get(key)
        return Stored(stored[0], str(stored[1])) if stored else None

    def save(self, key: str, body: bytes, generation: str | None, due: float | None) -> str:
        stored = self.bodies.get(key)
        if (str(stored[1]) if stored else None) != generation:
            raise Conflict(key)
        self.generation += 1
        self.bodies[key] = (body, self.generation, due)
        return str(self.generation)

    def list_documents(self) -> list[Listed]:
        return [Listed(key, due) for key, (_, _, due) in self.bodies.items()]


@dataclass
class Chat:
    posts: list[tuple[float, str, Card]] = field(default_factory=list)
    tries: list[tuple[float, str, Card]] = field(default_factory=list)
    """Whatever reached it, taken or not."""
