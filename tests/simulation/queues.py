"""RabbitMQ's queues on a virtual clock: what their consumers truly do, and what the broker shows of it, and how late.

tests/recordings/rabbitmq/README.md has the lags that were measured.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import NamedTuple

from msgspec.structs import replace as change

from functions.domain.model.observations import Channel, QueueHistory, QueueSnapshot, Samples, Statement, Unknown

COLLECTED_S = 5.0
GAUGES_LATE_S = 3.7
"""By how much at most figures that are no counters are older than the counters of the same collection."""
SAMPLES = 26
BOOTS_S = 12.0
"""What a broker that was restarted takes until its page answers."""
MISSED = 0.1
"""How likely a scrape is missing."""
RANGE = 4
"""How many scrapes a condition in PromQL looks back."""
COUNTED_S = 6.0
"""A stillness may look so much longer than it is: it is seen by samples, and these are late."""

Counts = tuple[int, int, int]
"""Deliveries, acknowledgements, redeliveries."""


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
    polls: bool = False
    """It takes messages by basic.get, so the broker lists no consumer."""

    @property
    def works(self) -> bool:
        return self.rate > 0 and self.ends != "return"

    def counts(self, more: float) -> Counts:
        done = int(self.done + more)
        rounds = done if self.ends == "return" else 0
        return done + self.holds, done if self.ends == "ack" else 0, self.again + rounds


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

    @property
    def consumers(self) -> tuple[Worker, ...]:
        return tuple(one for one in self.workers if not one.polls)

    def done_by(self, at: float, worker: Worker) -> float:
        return worker.rate * self.share * max(0.0, at - self.at)

    def depth_at(self, at: float) -> int:
        return int(max(0.0, self.depth + self.slope * max(0.0, at - self.at)) + 1e-6)

    def published_at(self, at: float) -> int:
        return int(self.published + self.publish * max(0.0, at - self.at))

    def move_to(self, at: float) -> Piece:
        """The same line from a later time on."""
        workers = tuple(replace(one, done=one.done + self.done_by(at, one)) for one in self.workers)
        passed = max(0.0, at - self.at)
        return replace(
            self, at=at, workers=workers, depth=self.depth + self.slope * passed, published=self.published + self.publish * passed
        )


class Sample(NamedTuple):
    """What the broker collected at one moment; the gauges are older than the counters."""

    counts: Counts
    depth: int
    held: int
    published: int
    late: Piece
    """The course at the moment of the gauges."""


class Collection(NamedTuple):
    """All that the broker has kept at one moment: of each figure its samples, and the newest as a whole."""

    counts: tuple[list[int], list[int], list[int]]
    depths: list[int]
    held: list[int]
    ready: list[int]
    published: list[int]
    newest: Sample


@dataclass
class Broker:
    """What its settings and its state let Unstick see."""

    monitoring: bool = True
    """The user's tag: whether channels and nodes can be seen."""
    statistics: bool = True
    page_slow: bool = False
    channels_slow: bool = False
    silent: set[str] = field(default_factory=set)
    """Nodes that send no statistics."""
    nodes: dict[str, float] = field(default_factory=lambda: {"a": -1e6, "b": -1e6})
    """Those that run: since when."""

    def connect(self, place: int) -> str:
        """The node that a new consumer gets."""
        running = sorted(self.nodes)
        return running[place % len(running)]


class Queue:
    """One queue's true course: straight lines, some of them laid out ahead."""

    def __init__(self, at: float, workers: tuple[Worker, ...], *, publish: float = 0.5, depth: float = 0.0) -> None:
        self.pieces = [Piece(at, depth, publish)]
        self.lost: list[tuple[float, str]] = []
        self.phase = at * 0.618 % COLLECTED_S
        self.up_since = -math.inf
        """When its broker was restarted, if it was."""
        self._collected: dict[tuple[float, frozenset[str]], Sample] = {}
        self._kept: dict[tuple[float, frozenset[str]], Collection] = {}
        self._courses: dict[tuple[str, float], list[Counts]] = {}
        self.turn(at, workers)

    def piece(self, at: float) -> Piece:
        for piece in reversed(self.pieces):
            if piece.at <= at:
                return piece
        return self.pieces[0]

    # --- the truth

    def depth(self, at: float) -> int:
        return self.piece(at).depth_at(at)

    def ready(self, at: float) -> int:
        return max(0, self.depth(at) - sum(one.holds for one in self.piece(at).workers))

    def consumers(self, at: float) -> tuple[str, ...]:
        return tuple(one.id for one in self.piece(at).workers)

    def acks(self, at: float) -> int:
        """What was finished, by rejects too."""
        return self._count(at)[1] + self.piece(at).forgotten[1]

    def counted(self, at: float) -> Counts:
        """What the broker counted, as far as it remembers."""
        return self._count(at)

    def acked_within(self, at: float, seconds: float) -> bool:
        return self.acks(at) > self.acks(at - seconds)

    def was_consumed(self) -> bool:
        return any(piece.workers for piece in self.pieces)

    def hung(self, at: float, seconds: float, *, kept: bool = False) -> list[Worker]:
        """The consumers that have held a message for so long and done nothing. `kept`: also those that do so on purpose."""
        piece, before = self.piece(at), self.piece(at - seconds)
        earlier = {one.id: (one.counts(before.done_by(at - seconds, one)), one.holds) for one in before.workers}
        return [
            one
            for one in piece.workers
            if one.holds
            and (kept or not one.on_purpose)
            and earlier.get(one.id) == (one.counts(piece.done_by(at, one)), one.holds)
        ]

    def stuck(self, at: float, seconds: float) -> bool:
        """Whether for so long a consumer has hung, or messages have waited and nobody was given any though somebody once was."""
        if self.hung(at, seconds):
            return True
        waits = self.depth(at) > 0 and self.depth(at - seconds) > 0 and self.was_consumed()
        return waits and self.moves(at) == self.moves(at - seconds)

    def ill_within(self, begin: float, end: float, for_s: float) -> bool:
        """Whether it was stuck for `for_s` at some moment, by figures that are late."""
        return any(self.stuck(begin + step, for_s - COUNTED_S) for step in range(int(end - begin) + 1))

    def moves(self, at: float) -> int:
        """What was delivered and finished."""
        (deliveries, acks, _), before = self._count(at), self.piece(at).forgotten
        return deliveries + acks + before[0] + before[1]

    def _count(self, at: float, hidden: frozenset[str] = frozenset()) -> Counts:
        """What was counted up to then, without what these nodes counted."""
        piece = self.piece(at)
        each = [counts for node, counts in piece.left if node not in hidden]
        each += [one.counts(piece.done_by(at, one)) for one in piece.workers if one.node not in hidden]
        return each[0] if len(each) == 1 else _sum(each)

    def is_polled(self, at: float) -> bool:
        """Whether all that was ever delivered was taken by basic.get."""
        return any(one.polls for piece in self.pieces for one in piece.workers if piece.at <= at) and not any(
            piece.consumers for piece in self.pieces if piece.at <= at
        )

    # --- what happens

    def turn(self, at: float, workers: tuple[Worker, ...], *, publish: float | None = None, purge: bool = False) -> None:
        """From now on these consumers are there; those of the same id go on counting."""
        self.pieces = [piece for piece in self.pieces if piece.at < at] or self.pieces[:1]
        now = self.pieces[-1].move_to(at)
        known, stay = {one.id: one for one in now.workers}, {one.id for one in workers}
        gone = [one for one in now.workers if one.id not in stay]
        returned = now.returned + sum(one.holds for one in gone)
        left = dict(now.left)
        for one in gone:
            left[one.node] = _sum([one.counts(0.0), left.get(one.node, (0, 0, 0))])
        here = []
        for worker in workers:
            before = known.get(worker.id)
            if before is None:
                again = min(returned, max(worker.holds, int(worker.works)))
                returned = 0 if worker.works else returned - again
                here.append(replace(worker, came=at, again=again))
            else:
                here.append(replace(_hold(before, worker.holds, rate=worker.rate), on_purpose=worker.on_purpose))
        finished = sum(max(0, known[one.id].holds - one.holds) for one in workers if one.id in known)
        depth = 0.0 if purge else max(0.0, now.depth - finished)
        now = replace(
            now, depth=depth, left=tuple(left.items()), returned=returned, publish=now.publish if publish is None else publish
        )
        self._lay(replace(now, workers=tuple(here)))

    def _lay(self, piece: Piece) -> None:
        """Append the line from here, and the one after it if the backlog comes to its end."""
        stands = sum(one.holds for one in piece.workers if not one.works)
        missing = max(0.0, stands - piece.depth)
        piece = replace(piece, depth=piece.depth + missing, published=piece.published + missing)
        able = sum(one.rate for one in piece.workers if one.works)
        backlog = piece.depth - stands > 0.5 or piece.publish > able
        workers = tuple(_hold(one, int(backlog)) if one.works else one for one in piece.workers)
        share = 1.0 if backlog or not able else piece.publish / able
        slope = piece.publish - able * share
        self.pieces.append(replace(piece, workers=workers, share=share, slope=slope))
        if slope < 0:
            ends = piece.at + (piece.depth - stands) / -slope
            self._lay(replace(self.pieces[-1].move_to(ends), depth=float(stands)))

    def hold(self, at: float, holds: int) -> None:
        """Its consumers get a message each, or finish the one that they hold."""
        self.turn(at, tuple(replace(one, holds=holds, rate=float(not holds)) for one in self.piece(at).workers))

    def leave(self, at: float, gone: tuple[Worker, ...]) -> None:
        """These consumers go; all else stays as it is."""
        names = {one.id for one in gone}
        self.turn(at, tuple(one for one in self.piece(at).workers if one.id not in names))

    def lose(self, at: float, node: str) -> None:
        """A node is gone, with its consumers, their messages' deliveries and its counters of all times."""
        gone = tuple(one.id for one in self.piece(at).workers if one.node == node)
        self.turn(at, tuple(one for one in self.piece(at).workers if one.node != node))
        self.lost.append((at, node))
        self.pieces[-1:] = [replace(self.pieces[-1], stale=(*self.pieces[-1].stale, *gone))]

    def restart_broker(self, at: float) -> None:
        """All connections end, and all that was counted is forgotten."""
        self.turn(at, ())
        last = self.pieces[-1]
        forgotten = _sum([last.forgotten, *(counts for _, counts in last.left)])
        self.pieces[-1:] = [replace(last, left=(), published=0.0, forgotten=forgotten)]
        self.up_since = at

    def come_back(self, at: float, gone: list[Worker], node: str) -> None:
        """Consumers that were cut off connect again, unless they were restarted, and go on as before: what hung hangs again."""
        if any(one.came >= max(when for when, _ in self.lost) for one in self.piece(at).workers):
            return
        here = self.piece(at).workers
        self.turn(at, (*here, *(Worker(f"{one.id}'", node, one.rate, one.holds, one.ends) for one in gone)))

    # --- what the broker shows

    def read(self, at: float, broker: Broker, *, ahead_s: float = 0.0) -> QueueSnapshot:
        """The queue as RabbitMQ shows it, its times by a clock that is ahead by so much."""
        piece = self.piece(at)
        depth = piece.depth_at(at)
        unacked = min(depth, sum(one.holds for one in piece.workers))
        seen = QueueSnapshot(at + ahead_s, depth, depth - unacked, unacked)
        if not broker.statistics or broker.page_slow:
            why = "the page is slow" if broker.statistics else "the statistics are off"
            return change(seen, blind=Unknown(why, late=broker.statistics))
        hidden = frozenset((*broker.silent, *(node for when, node in self.lost if when <= at)))
        grid, stamps = self._grid(at, ahead_s)
        kept, gap = self._keep(grid, hidden), _gap(at)
        newest = kept.newest
        deliveries, acks, redeliveries = (_series(stamps, values, gap) for values in kept.counts)
        seen = _with_consumers(seen, at, (piece, newest.late), broker)
        counted = newest.counts[0] > 0
        seen = change(
            seen,
            polled=counted and self.is_polled(at),
            acks=newest.counts[1] if counted else None,
            ack_samples=acks if counted else (),
            depth_samples=_series(stamps, kept.depths, gap),
            deliveries=newest.counts[0] if counted else None,
            redeliveries=newest.counts[2] if counted else None,
            published=newest.published,
            history=QueueHistory(
                _series(stamps, kept.ready, gap),
                _series(stamps, kept.held, gap),
                deliveries if counted else (),
                redeliveries if counted else (),
                _series(stamps, kept.published, gap),
            ),
        )
        if unacked and seen.consumers and not counted and not seen.uncounted and seen.blind is None:
            seen = change(seen, blind=Unknown("nobody counts its deliveries", late=True))
        return self._with_channels(seen, at, broker, (grid, stamps)) if broker.monitoring else seen

    def _keep(self, grid: list[float], hidden: frozenset[str]) -> Collection:
        """What the broker collected at these moments, which are the same until it collects again."""
        if (grid[-1], hidden) not in self._kept:
            samples = [self._collect(when, hidden) for when in grid]
            deliveries, acks, redeliveries = map(list, zip(*(one.counts for one in samples), strict=True))
            depths, held = [one.depth for one in samples], [one.held for one in samples]
            ready = [one.depth - one.held for one in samples]
            published = [one.published for one in samples]
            counts = (deliveries, acks, redeliveries)
            self._kept[grid[-1], hidden] = Collection(counts, depths, held, ready, published, samples[-1])
        return self._kept[grid[-1], hidden]

    def _collect(self, when: float, hidden: frozenset[str]) -> Sample:
        """What the broker collected then. The past stays as it was, and is read again and again."""
        if (when, hidden) not in self._collected:
            gauges_at = when - GAUGES_LATE_S * _chance(when)
            late = self.piece(gauges_at)
            depth = late.depth_at(gauges_at)
            held = min(depth, sum(one.holds for one in late.workers))
            counts, published = self._count(when, hidden), self.piece(when).published_at(when)
            self._collected[when, hidden] = Sample(counts, depth, held, published, late)
        return self._collected[when, hidden]

    def _grid(self, at: float, ahead_s: float) -> tuple[list[float], list[float]]:
        """When the broker collected its samples, and the times that it shows for them: rounded up to the next step."""
        last = math.floor((at - 0.1 - self.phase) / COLLECTED_S)
        grid = [self.phase + COLLECTED_S * place for place in range(last - SAMPLES + 1, last + 1)]
        grid = [when for when in grid if when >= self.up_since]
        return grid, [when + ahead_s + COLLECTED_S - self.phase for when in grid]

    def _with_channels(
        self, seen: QueueSnapshot, at: float, broker: Broker, times: tuple[list[float], list[float]]
    ) -> QueueSnapshot:
        """With the channels of its consumers, and the cluster's nodes."""
        nodes = tuple(sorted(broker.nodes))
        up_s = min(at - since for since in (*broker.nodes.values(), self.up_since))
        seen = change(seen, nodes=nodes, node_down=len({node[0] for node in nodes}) < 2, nodes_up_s=up_s)
        if broker.silent and seen.blind is None:
            seen = change(seen, blind=Unknown("nodes send no statistics"))
        if broker.channels_slow:
            return change(seen, unseen=Unknown("the channels are slow", late=True))
        listed = [
            one for one in self.piece(at).consumers if one.node not in broker.silent and one.id in (seen.consumer_ids or ())
        ]
        shown = [one for one in listed if one.came + COLLECTED_S * _chance(one.came, one.id) <= at]
        held_at = at - (at - self.phase - COLLECTED_S / 2) % COLLECTED_S
        unseen = Unknown("channels can't be seen", late=True) if len(shown) < len(listed) else None
        return change(seen, unseen=unseen, channels=tuple(self._channel(one, times, held_at) for one in shown))

    def _channel(self, worker: Worker, times: tuple[list[float], list[float]], held_at: float) -> Channel:
        """Its number of messages is of another moment than its counters, which are absent before its first delivery."""
        grid, stamps = times
        held = next((one.holds for one in self.piece(held_at).workers if one.id == worker.id), 0)
        if not held or not (taken := self._course_of(worker.id, grid))[-1][0]:
            return Channel(worker.id, worker.host, held=held, user=worker.user, window=worker.window)
        work = [counts[0] + counts[1] for counts in taken]
        if _chance(grid[-1], worker.id) < MISSED and len(work) > 3:
            work[-3] = work[-4]
        counted = taken[-1][0] - taken[-1][1]
        work_samples = tuple(zip(stamps, work, strict=True))
        return Channel(
            worker.id, worker.host, held=held, counted=counted, work=work_samples, returned=taken[-1][2], user=worker.user,
            window=worker.window, connected_at=worker.came if worker.host else None,
        )  # fmt: skip

    def _course_of(self, worker: str, grid: list[float]) -> list[Counts]:
        """What its channel had counted at these moments."""
        if (worker, grid[-1]) not in self._courses:
            self._courses[worker, grid[-1]] = [self._counts_of(worker, when) for when in grid]
        return self._courses[worker, grid[-1]]

    def _counts_of(self, worker: str, at: float) -> Counts:
        piece = self.piece(at)
        return next((one.counts(piece.done_by(at, one)) for one in piece.workers if one.id == worker), (0, 0, 0))

    def read_stated(self, at: float, scrape_s: float, for_s: float, *, ahead_s: float = 0.0) -> Statement:
        """What two conditions in PromQL say: jobs are there and none was done in `range`; none is there, or one was done."""
        step_s = for_s / 4
        said = [self._conditions(at - step_s * back, scrape_s) for back in range(5)]
        held = next((back for back, (stuck, _) in enumerate(said) if not stuck), len(said))
        figures = QueueSnapshot(at + ahead_s, self.depth(at))
        return Statement(at + ahead_s, RANGE * scrape_s, (held - 1) * step_s if held else None, said[0][1], figures)

    def _conditions(self, at: float, scrape_s: float) -> tuple[bool, bool]:
        """Whether it is stuck, and whether it works, by the scrapes of `range`; neither while the last one is missing."""
        first = at - (at - self.pieces[0].at) % scrape_s
        scraped = [when for when in (first - scrape_s * back for back in range(RANGE)) if _chance(when) >= MISSED]
        if first not in scraped or len(scraped) < 2:
            return False, False
        works = self.depth(first) == 0 or self.acks(first) > self.acks(scraped[-1])
        return not works, works


def _with_consumers(seen: QueueSnapshot, at: float, pieces: tuple[Piece, Piece], broker: Broker) -> QueueSnapshot:
    """With its consumers: those that left are gone at once, new ones come late, and the count of them is later still."""
    piece, late = pieces
    listed = [one for one in piece.consumers if one.came + 0.9 + 3.7 * _chance(one.came, one.id) <= at]
    nameless = [f"{one} stale" for one in piece.stale] if late.consumers else []
    unnamed = [one.id for one in listed if one.node in broker.silent]
    ids = tuple(sorted([one.id for one in listed] + nameless))
    known = len(listed) + len(piece.stale)
    count = len(late.consumers)
    return change(
        seen,
        users=tuple(sorted({one.user for one in listed if one.user})),
        consumers=max(count, len(ids)),
        consumer_ids=ids,
        uncounted=bool(nameless or unnamed),
        consumed=known > 0,
        blind=Unknown("consumers that the statistics don't show", late=True) if count > known else None,
    )


def _hold(worker: Worker, holds: int, *, rate: float | None = None) -> Worker:
    """What it no longer holds, it has finished."""
    done = worker.done + max(0, worker.holds - holds)
    return replace(worker, holds=holds, done=done, rate=worker.rate if rate is None else rate)


def _sum(each: Iterable[Counts]) -> Counts:
    deliveries = acks = redeliveries = 0
    for one, two, three in each:
        deliveries, acks, redeliveries = deliveries + one, acks + two, redeliveries + three
    return deliveries, acks, redeliveries


def _gap(at: float) -> int | None:
    """Which sample falls between two collections, and is shown as 0; mostly none."""
    return 3 + int(at) % 15 if _chance(at) < MISSED else None


def _series(stamps: list[float], values: list[int], gap: int | None) -> Samples:
    if gap is not None and gap < len(values) - 1:
        values = [*values[:gap], 0, *values[gap + 1 :]]
    return tuple(zip(stamps, values, strict=True))


def _chance(at: float, of: str = "") -> float:
    """A number from 0 to 1 that is the same for the same moment."""
    return (at * 0.618 + sum(map(ord, of)) * 0.137) % 1.0
