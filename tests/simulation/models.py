"""Models of the systems outside, on a virtual clock: RabbitMQ, Rundeck, the store, the scheduler and the chat.

Each knows the whole truth and shows what the real one would show: late statistics, lagging histories, lost answers.
"""

from __future__ import annotations

import math
import random
from dataclasses import dataclass, field, replace

from functions.application.ports import Listed, Stored
from functions.domain.model.alerts import Target
from functions.domain.model.messages import Card
from functions.domain.model.observations import Execution, ExecutionHistory, QueueHistory, QueueSnapshot
from functions.runtime.errors import Conflict, Denied, Unavailable

MISSED = 0.1
"""How likely a scrape is missing."""
EXPORTER_LATE_S = 5.0
"""How much older than its scrape a figure may be; `delay` in unstick.yaml says so."""


@dataclass
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
    chat_down: float = 0.0
    chat_lost: float = 0.0
    scrape_s: float = 0.0
    """The symptom's figures come by Prometheus, which scrapes them so seldom; 0: live ones of RabbitMQ."""


@dataclass
class Segment:
    at: float
    depth: float
    slope: float
    ack_rate: float
    consumers: tuple[str, ...]
    acks: float = 0.0


class Queue:
    """One queue's true course: pieces of straight lines."""

    def __init__(self, at: float, depth: float, slope: float, ack_rate: float, consumers: tuple[str, ...]) -> None:
        self.pieces = [Segment(at, depth, slope, ack_rate, consumers)]

    def _piece(self, at: float) -> Segment:
        for piece in reversed(self.pieces):
            if piece.at <= at:
                return piece
        return self.pieces[0]

    def depth(self, at: float) -> int:
        piece = self._piece(at)
        if piece.slope == 0.0 or at <= piece.at:
            return int(max(0.0, piece.depth))
        return int(max(0.0, piece.depth + piece.slope * (at - piece.at)))

    def acks(self, at: float) -> int:
        piece = self._piece(at)
        if piece.ack_rate == 0.0 or at <= piece.at:
            return int(piece.acks)
        return int(piece.acks + piece.ack_rate * (at - piece.at))

    def consumers(self, at: float) -> tuple[str, ...]:
        return self._piece(at).consumers

    def turn(self, at: float, *, slope: float, ack_rate: float, consumers: tuple[str, ...]) -> None:
        """From now on it goes this way."""
        self.pieces = [piece for piece in self.pieces if piece.at < at] or self.pieces[:1]
        self.pieces.append(Segment(at, float(self.depth(at)), slope, ack_rate, consumers, float(self.acks(at))))

    def leave(self, at: float, gone: tuple[str, ...]) -> None:
        """These consumers go; all else stays as it is."""
        piece = self._piece(at)
        here = tuple(one for one in piece.consumers if one not in gone)
        self.turn(at, slope=piece.slope, ack_rate=piece.ack_rate, consumers=here)

    def acked_within(self, at: float, seconds: float) -> bool:
        return self.acks(at) > self.acks(at - seconds)

    def ill_within(self, begin: float, end: float, for_s: float) -> bool:
        """Whether it was ill at some moment: over the limit and nothing acknowledged for `for_s`, page lag allowed for."""
        at = begin
        while at <= end:
            if self.depth(at) > 0 and not self.acked_within(at - 10.0, for_s - 25.0):
                return True
            at += 1.0
        return False

    def read_queue(self, at: float, lag_s: float, *, statistics: bool, ahead_s: float = 0.0) -> QueueSnapshot:
        """What the broker shows, its times by a clock that is ahead by so much."""
        depth = self.depth(at)
        late = at - lag_s
        ids = tuple(c for c in self.consumers(at - min(lag_s, 4.6)) if c in self.consumers(at))
        if not statistics:
            return QueueSnapshot(at + ahead_s, depth, depth, 0, consumers=len(ids), consumer_ids=ids)
        grid = [late - 5.0 * n for n in range(25, -1, -1)]
        counter = tuple([(g + ahead_s, self.acks(g)) for g in grid])
        depths = tuple([(g + ahead_s, self.depth(g)) for g in grid])
        return QueueSnapshot(
            at + ahead_s,
            depth,
            depth,
            0,
            consumers=len(ids),
            consumer_ids=ids,
            acks=self.acks(late),
            ack_samples=counter,
            depth_samples=depths,
            deliveries=self.acks(late),
            history=QueueHistory(depths, tuple([(when, 0) for when, _ in depths]), counter),
        )

    def read_scraped(
        self, at: float, scrape_s: float, rng: random.Random, *, ahead_s: float = 0.0
    ) -> tuple[float, QueueSnapshot]:
        """What Prometheus shows, and when that was so: its exporter is late, and a scrape may be missing."""
        first = self.pieces[0].at % scrape_s
        scraped_at = first + scrape_s * math.floor((at - first) / scrape_s - (rng.random() < MISSED))
        grid = [scraped_at - scrape_s * back for back in range(max(int(300 / scrape_s), 4), -1, -1)]
        collected = [when - when * 0.618 % EXPORTER_LATE_S for when in grid]
        acks = 0
        acks_at = [acks := max(acks, self.acks(when)) for when in collected]
        return collected[-1], QueueSnapshot(
            at + ahead_s,
            self.depth(collected[-1]),
            consumers=len(self.consumers(collected[-1])),
            acks=acks_at[-1],
            ack_samples=tuple(zip(grid, acks_at, strict=True)),
            depth_samples=tuple((when, self.depth(true)) for when, true in zip(grid, collected, strict=True)),
            behind_s=at - scraped_at + EXPORTER_LATE_S,
            zeros=True,
        )


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
        status = "failed" if late or kind < 0.1 else "succeeded"
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
            raise Denied("rundeck", "answered 403", code="token", remedy="Make a new token.")
        if self.hidden:
            raise Denied("rundeck", "hides rows", code="ledger_hidden", remedy="Allow read.")
        mine = [
            run for run in self.runs if run.target == target.key and run.seen_from <= now and (run.ends or now) > now - since_s
        ]
        states = [run.state(now, self.ahead_s) for run in mine]
        if self.evidence_as_restarts:
            states += [run.state(now, self.ahead_s) for run in self.evidence if run.seen_from <= now]
        found = sorted(states, key=lambda e: -(e.runner_started_at or 0.0))
        followed = next((run.chain()[-1].state(now, self.ahead_s) for run in self.runs if str(run.id) == follow), None)
        unfinished = [*self.running(target.key, now), *(run for run in self.runs if run.started > now and self.one_at_a_time)]
        busy = [run for run in unfinished if run.target != target.key and run.seen_from <= now]
        others = tuple(run.state(now, self.ahead_s) for run in busy)
        return ExecutionHistory(
            float(int(now + self.ahead_s)), tuple(found), others, followed, ("done",) if followed and followed.ended else None
        )


@dataclass
class Store:
    bodies: dict[str, tuple[bytes, int, float | None]] = field(default_factory=dict)
    archived: dict[str, bytes] = field(default_factory=dict)
    generation: int = 0

    def load(self, key: str) -> Stored | None:
        found = self.bodies.get(key)
        return Stored(found[0], str(found[1])) if found else None

    def save(self, key: str, body: bytes, generation: str | None, due: float | None, *, compare: bool = True) -> str:
        found = self.bodies.get(key)
        if compare and (str(found[1]) if found else None) != generation:
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
