"""Models of the systems outside, on a virtual clock: Rundeck, the store, the scheduler and the chat; queues.py has RabbitMQ.

Each knows the whole truth and shows what the real one would show: late statistics, lagging histories, lost answers.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field, replace

from functions.application.ports import Listed, Stored
from functions.domain.model.alerts import Target
from functions.domain.model.messages import Card
from functions.domain.model.observations import Execution, ExecutionHistory
from functions.runtime.errors import Conflict, Denied, DeniedCode, Unavailable


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
    """One execution, with what only the model knows."""

    id: int
    target: str
    options: dict[str, str]
    tag: str
    not_after: float | None
    started: float
    ends: float | None
    status: str
    refused: bool
    seen_from: float
    sent_at: float
    by: str = "unstick"
    retried: Run | None = None
    """The run that Rundeck started when this one had failed, since the job says so."""
    is_retry: bool = False

    def chain(self) -> list[Run]:
        """The run and its retries."""
        return [self, *(self.retried.chain() if self.retried else [])]

    def state(self, now: float, ahead_s: float) -> Execution:
        over = self.ends is not None and self.ends <= now
        planned = self.started > now
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
        )


@dataclass
class EvidenceRun:
    """One execution of the evidence job."""

    id: int
    tag: str
    started: float
    ends: float | None
    status: str
    seen_from: float
    sent_at: float
    host: str = ""
    """The one that it was limited to."""

    def running(self, at: float) -> bool:
        return self.started <= at and (self.ends is None or self.ends > at)

    def state(self, now: float, ahead_s: float) -> Execution:
        ended = self.ends is not None and self.ends <= now
        ends_at = self.ends + ahead_s if ended and self.ends is not None else None
        status = self.status if ended else "running"
        return Execution(
            str(self.id), f"http://rundeck/execution/{self.id}", status, self.started + ahead_s, ends_at, self.tag, user="unstick"
        )


@dataclass
class Rundeck:
    ahead_s: float = 0.0
    runs: list[Run] = field(default_factory=list)
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
    fails: float = 0.1
    count: int = 100
    evidence: list[EvidenceRun] = field(default_factory=list)
    evidence_as_restarts: bool = False
    """The evidence job is the job that restarts, with the same options: the configuration refuses that, and it does no harm."""

    def running(self, target: str, now: float) -> list[Run]:
        mine = [run for run in self.runs if run.target == target or self.one_at_a_time]
        return [run for run in mine if (run.ends is None or run.ends > now) and run.started <= now]

    def accept(
        self, target: Target, tag: str, not_after: float, now: float, sent_at: float, rng: random.Random, lag_s: float
    ) -> Run:
        late = self.honours_fence and now + self.ahead_s > not_after
        self.count += 1
        kind = rng.random()
        length = 0.5 if late else rng.choice([2.0, 8.0, 30.0])
        status = "failed" if late or kind < self.fails else "succeeded"
        ends = None if kind > 0.97 and not late else now + length
        run = Run(
            self.count, target.key, dict(target.options), tag, not_after, now + 0.01, ends, status, late, now + lag_s, sent_at
        )
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

    def collect(self, tag: str, now: float, sent_at: float, rng: random.Random, lag_s: float) -> EvidenceRun:
        """A run of the evidence job: it may be quick, slow or hang, and it may fail."""
        self.count += 1
        length = rng.choice([0.5, 3.0, 8.0, 30.0, None])
        ends = None if length is None else now + length
        run = EvidenceRun(self.count, tag, now, ends, "failed" if rng.random() < 0.15 else "succeeded", now + lag_s, sent_at)
        self.evidence.append(run)
        return run

    def read_history(self, target: Target, now: float, since_s: float, follow: str | None) -> ExecutionHistory:
        if self.forbidden:
            raise Denied("rundeck", "answered 403", code=DeniedCode.TOKEN, remedy="Make a new token.")
        if self.hidden:
            raise Denied("rundeck", "hides rows", remedy="Allow read.")
        mine = [
            run for run in self.runs if run.target == target.key and run.seen_from <= now and (run.ends or now) > now - since_s
        ]
        states = [run.state(now, self.ahead_s) for run in mine]
        if self.evidence_as_restarts:
            states += [run.state(now, self.ahead_s) for run in self.evidence if run.seen_from <= now]
        executions = sorted(states, key=lambda e: -(e.runner_started_at or 0.0))
        followed = next((run.chain()[-1].state(now, self.ahead_s) for run in self.runs if str(run.id) == follow), None)
        unfinished = [*self.running(target.key, now), *(run for run in self.runs if run.started > now and self.one_at_a_time)]
        busy = [run for run in unfinished if run.target != target.key and run.seen_from <= now]
        others = tuple(run.state(now, self.ahead_s) for run in busy)
        return ExecutionHistory(
            float(int(now + self.ahead_s)),
            tuple(executions),
            others,
            followed,
            ("done",) if followed and followed.ended else None,
        )


@dataclass
class Store:
    bodies: dict[str, tuple[bytes, int, float | None]] = field(default_factory=dict)
    archived: dict[str, bytes] = field(default_factory=dict)
    generation: int = 0

    def load(self, key: str) -> Stored | None:
        stored = self.bodies.get(key)
        return Stored(stored[0], str(stored[1])) if stored else None

    def save(self, key: str, body: bytes, generation: str | None, due: float | None, *, compare: bool = True) -> str:
        stored = self.bodies.get(key)
        if compare and (str(stored[1]) if stored else None) != generation:
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

    def post(self, now: float, channel: str, card: Card) -> None:
        self.posts.append((now, channel, card))


def lost(system: str) -> Unavailable:
    return Unavailable(system, "the answer was lost")
