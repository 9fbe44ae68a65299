"""What RabbitMQ, and Prometheus, show of a queue's course, and how late. tests/recordings/rabbitmq/README.md has the lags."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from msgspec.structs import replace as change

from functions.domain.model.observations import Channel, QueueHistory, QueueSnapshot, Samples, Statement, Unknown
from tests.simulation.queues import Counts, Course, Piece, Worker

COLLECTED_S = 5.0
GAUGES_LATE_S = 3.7
"""By how much at most figures that are no counters are older than the counters of the same collection."""
SAMPLES = 121
REACH_S = 600.0
"""For how long both know what was."""
BOOTS_S = 12.0
"""What a broker that was restarted takes until its page answers."""
MISSED = 0.1
"""How likely a scrape is missing."""
RANGE = 4
"""How many scrapes a condition in PromQL looks back."""


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


class Queue(Course):
    """A course, and what is shown of it."""

    def __init__(self, at: float, workers: tuple[Worker, ...] = (), *, publish: float = 0.5, depth: float = 0.0) -> None:
        self.phase = at * 0.618 % COLLECTED_S
        self._kept: dict[frozenset[str] | str, tuple[float, list[Any]]] = {}
        super().__init__(at, workers, publish=publish, depth=depth)

    def read(self, at: float, broker: Broker, *, ahead_s: float = 0.0) -> QueueSnapshot:
        """The queue as RabbitMQ shows it, its times by a clock that is ahead by so much."""
        piece = self.piece(at)
        depth = piece.depth_at(at)
        unacked = min(depth, sum(worker.holds for worker in piece.workers))
        seen = QueueSnapshot(at + ahead_s, depth, depth - unacked, unacked)
        if not broker.statistics or broker.page_slow:
            why = "the page is slow" if broker.statistics else "the statistics are off"
            return change(seen, blind=Unknown(why, late=broker.statistics))
        hidden = frozenset((*broker.silent, *(node for when, node in self.lost if when <= at)))
        grid, stamps = self._grid(at, ahead_s)
        rows = self._keep(hidden, grid, lambda when: self._collect(when, hidden))
        *figures, late = zip(*rows, strict=True)
        gap, counted = _gap(at), rows[-1][0] > 0
        deliveries, acks, redeliveries, depths, held, published, pushed = (_series(stamps, values, gap) for values in figures)
        ready = tuple((stamp, depth - holds) for (stamp, depth), (_, holds) in zip(depths, held, strict=True))
        seen = _with_consumers(seen, at, (piece, late[-1]), broker)
        seen = change(
            seen,
            acks=acks[-1][1] if counted else None,
            ack_samples=acks if counted else (),
            depth_samples=depths,
            deliveries=deliveries[-1][1] if counted else None,
            redeliveries=redeliveries[-1][1] if counted else None,
            published=published[-1][1],
            history=QueueHistory(
                ready, held, deliveries if counted else (), redeliveries if counted else (), published, pushed if counted else ()
            ),
        )
        if unacked and seen.consumers and not counted and not seen.uncounted and seen.blind is None:
            seen = change(seen, blind=Unknown("nobody counts its deliveries", late=True))
        return self._with_channels(seen, at, broker, (grid, stamps)) if broker.monitoring else seen

    def _grid(self, at: float, ahead_s: float) -> tuple[list[float], list[float]]:
        """When the broker collected its samples, and the times that it shows for them: rounded up to the next step."""
        last = math.floor((at - 0.1 - self.phase) / COLLECTED_S)
        grid = [self.phase + COLLECTED_S * place for place in range(last - SAMPLES + 1, last + 1)]
        grid = [when for when in grid if when >= self.up_since]
        return grid, [when + ahead_s + COLLECTED_S - self.phase for when in grid]

    def _keep(self, of: frozenset[str] | str, grid: list[float], collect: Callable[[float], Any]) -> list[Any]:
        """What the broker collected at these moments: the past stays as it was, so only what is new is computed."""
        first, rows = self._kept.get(of, (math.inf, []))
        dropped = round(grid[0] - first) // round(COLLECTED_S) if first <= grid[0] else len(rows)
        rows = rows[dropped:]
        rows += [collect(when) for when in grid[len(rows) :]]
        self._kept[of] = grid[0], rows
        return rows

    def _collect(self, when: float, hidden: frozenset[str]) -> tuple[int, int, int, int, int, int, int, Piece]:
        """What the broker collected then: counts, depth, held, published, what was pushed, and the course at the moment of the
        gauges, which are older than the counters."""
        gauges_at = when - GAUGES_LATE_S * _chance(when)
        piece, late = self.piece(when), self.piece(gauges_at)
        depth = late.depth_at(gauges_at)
        held = min(depth, sum(worker.holds for worker in late.workers))
        counts, got = (
            piece.count(when, hidden),
            sum(int(one.done + piece.done_by(when, one)) for one in piece.workers if one.gets),
        )
        return *counts, depth, held, piece.published_at(when), counts[0] - got, late

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
        named = seen.consumer_ids or ()
        listed = [one for one in self.piece(at).workers if one.node not in broker.silent and one.id in named]
        shown = [worker for worker in listed if worker.came + COLLECTED_S * _chance(worker.came, worker.id) <= at]
        held_at = at - (at - self.phase - COLLECTED_S / 2) % COLLECTED_S
        unseen = Unknown("channels can't be seen", late=True) if len(shown) < len(listed) else None
        return change(seen, unseen=unseen, channels=tuple(self._channel(worker, times, held_at) for worker in shown))

    def _channel(self, worker: Worker, times: tuple[list[float], list[float]], held_at: float) -> Channel:
        """Its number of messages is of another moment than its counters, which are absent before its first delivery."""
        grid, stamps = times
        held = next((one.holds for one in self.piece(held_at).workers if one.id == worker.id), 0)
        if not (taken := self._keep(worker.id, grid, lambda when: self._count(when, worker.id)))[-1][0]:
            return Channel(worker.id, worker.host, held=held, user=worker.user, window=worker.window)
        work = [counts[0] + counts[1] for counts in taken]
        if _chance(grid[-1], worker.id) < MISSED and len(work) > 3:
            work[-3] = work[-4]
        return Channel(
            worker.id,
            worker.host,
            held=held,
            counted=taken[-1][0] - taken[-1][1],
            work=tuple(zip(stamps, work, strict=True)),
            acks=tuple(zip(stamps, [counts[1] for counts in taken], strict=True)),
            redeliveries=tuple(zip(stamps, [counts[2] for counts in taken], strict=True)),
            user=worker.user,
            window=worker.window,
            connected_at=worker.came if worker.host else None,
            tags=(worker.id,),
        )

    def _count(self, when: float, name: str) -> Counts:
        """What its channel had counted then."""
        piece = self.piece(when)
        return next((one.counts(piece.done_by(when, one)) for one in piece.workers if one.id == name), (0, 0, 0))

    def read_stated(self, at: float, scrape_s: float, for_s: float, *, ahead_s: float = 0.0) -> Statement:
        """What two conditions in PromQL say: jobs are there and none was done in `range`; none is there, or one was done."""
        step_s = for_s / 4
        stuck, recovered = self._conditions(at, scrape_s)
        before = range(1, int(REACH_S / step_s) + 1)
        turned = next((back for back in before if self._conditions(at - step_s * back, scrape_s)[0] != stuck), None)
        return Statement(
            at + ahead_s,
            RANGE * scrape_s,
            stuck_s=((turned or len(before) + 1) - 1) * step_s if stuck else None,
            recovered=recovered,
            free_s=turned * step_s if turned and not stuck else None,
            figures=QueueSnapshot(at + ahead_s, self.depth(at)),
        )

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
    workers = [worker for worker in piece.workers if not worker.gets]
    listed = [worker for worker in workers if worker.came + 0.9 + 3.7 * _chance(worker.came, worker.id) <= at]
    count = sum(not worker.gets for worker in late.workers)
    nameless = [f"{name} stale" for name in piece.stale] if count else []
    unnamed = any(worker.node in broker.silent for worker in listed)
    ids = tuple(sorted([worker.id for worker in listed] + nameless))
    known, owners = len(listed) + len(piece.stale), tuple(sorted(worker.user for worker in listed))
    return change(
        seen,
        users=tuple(dict.fromkeys(filter(None, owners))),
        owners=owners if all(owners) and len(ids) == len(owners) else None,
        consumers=max(count, len(ids)),
        consumer_ids=ids,
        uncounted=bool(nameless or unnamed),
        consumed=known > 0,
        blind=Unknown("consumers that the statistics don't show", late=True) if count > known else None,
    )


def _gap(at: float) -> int | None:
    """Which sample falls between two collections, and is shown as 0; mostly none."""
    return 3 + int(at) % (SAMPLES - 6) if _chance(at) < MISSED else None


def _series(stamps: list[float], values: Sequence[int], gap: int | None) -> Samples:
    if gap is not None and gap < len(values) - 1:
        values = [*values[:gap], 0, *values[gap + 1 :]]
    return tuple(zip(stamps, values, strict=True))


def _chance(at: float, of: str = "") -> float:
    """A number from 0 to 1 that is the same for the same moment."""
    return (at * 0.618 + sum(map(ord, of)) * 0.137) % 1.0
