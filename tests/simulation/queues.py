"""The true course of RabbitMQ's queues on a virtual clock: straight lines, by what their consumers do. broker.py shows them."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace

COUNTED_S = 6.0
"""A stillness may look so much longer than it is: it is seen by samples, and these are late."""

Counts = tuple[int, int, int]
"""Deliveries, acknowledgements, redeliveries."""
STRANGER = "somebody else"
"""The user of consumers that are not the application's. They stay whatever becomes of it."""


@dataclass(frozen=True)
class Worker:
    """A consumer with a channel of its own. What it holds and does not finish at any rate, it hangs with."""

    id: str
    node: str = "a"
    """The node of its connection, with a number for each of that node's lives."""
    rate: float = 0.0
    """Messages a second that it can finish."""
    holds: int = 0
    ends: str = "ack"
    """How it finishes them: ack, reject, or return, so that they come again."""
    done: float = 0.0
    again: int = 0
    """Of its deliveries, those that had been delivered before."""
    came: float = -math.inf
    window: int | None = 1
    """How many messages it may hold, as its channel shows it; 0: any number, None: not shown."""
    host: str = ""
    user: str = ""
    on_purpose: bool = False
    """It keeps what it holds: a countdown, a lock. Otherwise it hangs."""
    gets: bool = False
    """It takes messages by basic.get, so nobody sees it."""

    @property
    def works(self) -> bool:
        return self.rate > 0 and self.ends != "return"

    def counts(self, more: float) -> Counts:
        done = int(self.done + more)
        rounds = done if self.ends == "return" else 0
        return done + self.holds, done if self.ends == "ack" else 0, self.again + rounds

    def hold(self, holds: int, rate: float) -> Worker:
        """What it no longer holds, it has finished."""
        return replace(self, holds=holds, done=self.done + max(0, self.holds - holds), rate=rate)


@dataclass(frozen=True)
class Piece:
    """A straight line of a queue's course."""

    at: float
    depth: float
    publish: float
    """Messages a second."""
    workers: tuple[Worker, ...] = ()
    share: float = 1.0
    """Of its rate, what each worker has to do."""
    slope: float = 0.0
    published: float = 0.0
    left: tuple[tuple[str, Counts], ...] = ()
    """By node: what those counted that are gone."""
    returned: int = 0
    """Messages that were held by those, and wait to be delivered again."""
    stale: tuple[str, ...] = ()
    """Consumers of a lost node, which stay listed for good."""
    forgotten: Counts = (0, 0, 0)
    """What was counted before the broker was restarted."""

    def done_by(self, at: float, worker: Worker) -> float:
        return worker.rate * self.share * max(0.0, at - self.at)

    def depth_at(self, at: float) -> int:
        return int(max(0.0, self.depth + self.slope * max(0.0, at - self.at)) + 1e-6)

    def published_at(self, at: float) -> int:
        return int(self.published + self.publish * max(0.0, at - self.at))

    def count(self, at: float, hidden: frozenset[str] = frozenset()) -> Counts:
        """What was counted up to then, without what these nodes counted."""
        each = [counts for node, counts in self.left if node not in hidden]
        each += [worker.counts(self.done_by(at, worker)) for worker in self.workers if worker.node not in hidden]
        return each[0] if len(each) == 1 else add_up(each)

    def move_to(self, at: float) -> Piece:
        """The same line from a later time on."""
        passed = max(0.0, at - self.at)
        return replace(
            self,
            at=at,
            workers=tuple(replace(worker, done=worker.done + self.done_by(at, worker)) for worker in self.workers),
            depth=self.depth + self.slope * passed,
            published=self.published + self.publish * passed,
        )


class Course:
    """One queue's true course, some of it laid out ahead."""

    def __init__(self, at: float, workers: tuple[Worker, ...] = (), *, publish: float = 0.5, depth: float = 0.0) -> None:
        self.pieces = [Piece(at, depth, publish)]
        self.lost: list[tuple[float, str]] = []
        self.up_since = -math.inf
        """When its broker was restarted, if it was."""
        self.upset: list[float] = []
        """When its broker was restarted, or messages were purged."""
        self.turn(at, workers)

    # --- the truth

    def piece(self, at: float) -> Piece:
        for piece in reversed(self.pieces):
            if piece.at <= at:
                return piece
        return self.pieces[0]

    def depth(self, at: float) -> int:
        return self.piece(at).depth_at(at)

    def consumers(self, at: float) -> tuple[str, ...]:
        """The application's own."""
        return tuple(worker.id for worker in self.piece(at).workers if worker.user != STRANGER)

    def acks(self, at: float) -> int:
        """What was acknowledged, by whomever."""
        piece = self.piece(at)
        return piece.count(at)[1] + piece.forgotten[1]

    def done(self, at: float) -> int:
        """What the application itself acknowledged."""
        return self.acks(at) - self._of_strangers(at)[1]

    def acked_within(self, at: float, seconds: float) -> bool:
        return self.acks(at) > self.acks(at - seconds)

    def hung(self, at: float, seconds: float) -> list[Worker]:
        """The consumers that have held a message for so long and done nothing, and not on purpose."""
        piece, before = self.piece(at), self.piece(at - seconds)
        earlier = {worker.id: (worker.counts(before.done_by(at - seconds, worker)), worker.holds) for worker in before.workers}
        return [
            worker
            for worker in piece.workers
            if worker.holds
            and not worker.on_purpose
            and earlier.get(worker.id) == (worker.counts(piece.done_by(at, worker)), worker.holds)
        ]

    def stuck(self, at: float, seconds: float) -> bool:
        """Whether for so long a consumer has hung, or messages have waited and nobody was given any though somebody once was."""
        if self.hung(at, seconds):
            return True
        waits = self.depth(at) > 0 and self.depth(at - seconds) > 0 and any(piece.workers for piece in self.pieces)
        return waits and self._moves(at) == self._moves(at - seconds)

    def ill_within(self, begin: float, end: float, for_s: float) -> bool:
        """Whether it was stuck for `for_s` at some moment, by figures that are late."""
        return any(self.stuck(begin + step, for_s - COUNTED_S) for step in range(int(end - begin) + 1))

    def _moves(self, at: float) -> int:
        """What was delivered to the application, and finished by it."""
        piece = self.piece(at)
        (deliveries, acks, _), before = piece.count(at), piece.forgotten
        return deliveries + acks + before[0] + before[1] - sum(self._of_strangers(at)[:2])

    def _of_strangers(self, at: float) -> Counts:
        piece = self.piece(at)
        return add_up(one.counts(piece.done_by(at, one)) for one in piece.workers if one.user == STRANGER)

    # --- what happens

    def turn(self, at: float, workers: tuple[Worker, ...], *, publish: float | None = None) -> None:
        """From now on these consumers are there, beside strangers; those of the same id go on counting."""
        self.pieces = [piece for piece in self.pieces if piece.at < at] or self.pieces[:1]
        now, named = self.pieces[-1].move_to(at), {worker.id for worker in workers}
        workers += tuple(one for one in now.workers if one.user == STRANGER and one.id not in named)
        before, stay = {worker.id: worker for worker in now.workers}, {worker.id for worker in workers}
        left, returned = dict(now.left), now.returned
        for worker in now.workers:
            if worker.id not in stay:
                left[worker.node] = add_up([worker.counts(0.0), left.get(worker.node, (0, 0, 0))])
                returned += worker.holds
        here = []
        for worker in workers:
            if worker.id in before:
                held = before[worker.id].hold(worker.holds, worker.rate)
                here.append(replace(held, on_purpose=worker.on_purpose))
                continue
            again = min(returned, max(worker.holds, int(worker.works)))
            returned = 0 if worker.works else returned - again
            here.append(replace(worker, came=at, again=again))
        finished = sum(max(0, before[worker.id].holds - worker.holds) for worker in workers if worker.id in before)
        publish = now.publish if publish is None else publish
        now = replace(now, depth=max(0.0, now.depth - finished), left=tuple(left.items()), returned=returned, publish=publish)
        self._lay(replace(now, workers=tuple(here)))

    def _lay(self, piece: Piece) -> None:
        """Append the line from here, and the one after it if the backlog comes to its end."""
        stands = sum(worker.holds for worker in piece.workers if not worker.works)
        missing = max(0.0, stands - piece.depth)
        piece = replace(piece, depth=piece.depth + missing, published=piece.published + missing)
        able = sum(worker.rate for worker in piece.workers if worker.works)
        backlog = piece.depth - stands > 0.5 or piece.publish > able
        workers = tuple(worker.hold(int(backlog), worker.rate) if worker.works else worker for worker in piece.workers)
        share = 1.0 if backlog or not able else piece.publish / able
        slope = piece.publish - able * share
        self.pieces.append(replace(piece, workers=workers, share=share, slope=slope))
        if slope < 0:
            ends = piece.at + (piece.depth - stands) / -slope
            self._lay(replace(self.pieces[-1].move_to(ends), depth=float(stands)))

    def hold(self, at: float, holds: int) -> None:
        """Its consumers get a message each, or finish the one that they hold."""
        self.turn(at, tuple(replace(worker, holds=holds, rate=float(not holds)) for worker in self.piece(at).workers))

    def leave(self, at: float, gone: tuple[Worker, ...]) -> None:
        """These consumers go; all else stays as it is."""
        names = {worker.id for worker in gone}
        self.turn(at, tuple(worker for worker in self.piece(at).workers if worker.id not in names))

    def lose(self, at: float, node: str) -> list[Worker]:
        """A node is gone, with its consumers, their messages' deliveries and its counters of all times."""
        gone = [worker for worker in self.piece(at).workers if worker.node == node]
        self.leave(at, tuple(gone))
        self.lost.append((at, node))
        self.pieces[-1:] = [replace(self.pieces[-1], stale=(*self.pieces[-1].stale, *(worker.id for worker in gone)))]
        return gone

    def come_back(self, at: float, gone: list[Worker], node: str) -> None:
        """Consumers that were cut off connect again, unless they were restarted, and go on as before: what hung hangs again."""
        here = self.piece(at).workers
        if all(worker.came < max(when for when, _ in self.lost) for worker in here):
            back = (Worker(f"{worker.id}'", node, worker.rate, worker.holds, worker.ends) for worker in gone)
            self.turn(at, (*here, *back))

    def restart_broker(self, at: float) -> None:
        """All connections end, and all that was counted is forgotten."""
        self.turn(at, ())
        last = self.pieces[-1]
        forgotten = add_up([last.forgotten, *(counts for _, counts in last.left)])
        self.pieces[-1:] = [replace(last, left=(), published=0.0, forgotten=forgotten)]
        self.up_since = at
        self.upset.append(at)

    def purge(self, at: float) -> None:
        """All messages that wait are gone."""
        self.turn(at, self.piece(at).workers)
        self.pieces[-1:] = [replace(self.pieces[-1], depth=float(sum(worker.holds for worker in self.pieces[-1].workers)))]
        self.upset.append(at)


def add_up(each: Iterable[Counts]) -> Counts:
    """Counts of several, added."""
    deliveries = acks = redeliveries = 0
    for delivered, acked, again in each:
        deliveries, acks, redeliveries = deliveries + delivered, acks + acked, redeliveries + again
    return deliveries, acks, redeliveries
