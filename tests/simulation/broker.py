"""What RabbitMQ, and Prometheus, show of a queue's course, and how late. tests/recordings/rabbitmq/README.md has the lags."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import NamedTuple

from msgspec.structs import replace as change

from functions.domain.model.observations import Channel, QueueHistory, QueueSnapshot, Samples, Statement, Unknown
from tests.simulation.queues import Counts, Course, Piece, Worker

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


class Collection(NamedTuple):
    """All that the broker has kept at one moment, of each figure its samples. The gauges are older than the counters."""

    counts: tuple[list[int], list[int], list[int]]
    depths: list[int]
    held: list[int]
    ready: list[int]
    published: list[int]
    late: Piece
    """The course at the moment of the newest gauges."""


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

    samples = SAMPLES
    """How many the broker keeps of each figure."""

    def __init__(self, at: float, workers: tuple[Worker, ...] = (), *, publish: float = 0.5, depth: float = 0.0) -> None:
        self.phase = at * 0.618 % COLLECTED_S
        # The past stays as it was, and is read again and again.
        self._kept: dict[tuple[float, frozenset[str]], Collection] = {}
        self._collected: dict[tuple[float, frozenset[str]], tuple[Counts, int, int, int, Piece]] = {}
        self._courses: dict[tuple[str, float], list[Counts]] = {}
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
        kept, gap = self._keep(grid, hidden), _gap(at)
        deliveries, acks, redeliveries = (_series(stamps, values, gap) for values in kept.counts)
        seen = _with_consumers(seen, at, (piece, kept.late), broker)
        counted = kept.counts[0][-1] > 0
        seen = change(
            seen,
            polled=counted and self._is_polled(at),
            acks=kept.counts[1][-1] if counted else None,
            ack_samples=acks if counted else (),
            depth_samples=_series(stamps, kept.depths, gap),
            deliveries=kept.counts[0][-1] if counted else None,
            redeliveries=kept.counts[2][-1] if counted else None,
            published=kept.published[-1],
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

    def _is_polled(self, at: float) -> bool:
        """Whether all that was ever delivered was taken by basic.get."""
        workers = [worker for piece in self.pieces if piece.at <= at for worker in piece.workers]
        return bool(workers) and all(worker.polls for worker in workers)

    def _grid(self, at: float, ahead_s: float) -> tuple[list[float], list[float]]:
        """When the broker collected its samples, and the times that it shows for them: rounded up to the next step."""
        last = math.floor((at - 0.1 - self.phase) / COLLECTED_S)
        grid = [self.phase + COLLECTED_S * place for place in range(last - self.samples + 1, last + 1)]
        grid = [when for when in grid if when >= self.up_since]
        return grid, [when + ahead_s + COLLECTED_S - self.phase for when in grid]

    def _keep(self, grid: list[float], hidden: frozenset[str]) -> Collection:
        """What the broker collected at these moments, which are the same until it collects again."""
        if (grid[-1], hidden) not in self._kept:
            counts, depths, held, published, late = zip(*(self._collect(when, hidden) for when in grid), strict=True)
            deliveries, acks, redeliveries = map(list, zip(*counts, strict=True))
            ready = [depth - holds for depth, holds in zip(depths, held, strict=True)]
            figures = (deliveries, acks, redeliveries), list(depths), list(held), ready, list(published)
            self._kept[grid[-1], hidden] = Collection(*figures, late[-1])
        return self._kept[grid[-1], hidden]

    def _collect(self, when: float, hidden: frozenset[str]) -> tuple[Counts, int, int, int, Piece]:
        """What the broker collected then: counts, depth, held, published, and the course at the moment of the gauges."""
        if (when, hidden) not in self._collected:
            gauges_at = when - GAUGES_LATE_S * _chance(when)
            piece, late = self.piece(when), self.piece(gauges_at)
            depth = late.depth_at(gauges_at)
            held = min(depth, sum(worker.holds for worker in late.workers))
            self._collected[when, hidden] = piece.count(when, hidden), depth, held, piece.published_at(when), late
        return self._collected[when, hidden]

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
        listed = [one for one in self.piece(at).consumers if one.node not in broker.silent and one.id in named]
        shown = [worker for worker in listed if worker.came + COLLECTED_S * _chance(worker.came, worker.id) <= at]
        held_at = at - (at - self.phase - COLLECTED_S / 2) % COLLECTED_S
        unseen = Unknown("channels can't be seen", late=True) if len(shown) < len(listed) else None
        return change(seen, unseen=unseen, channels=tuple(self._channel(worker, times, held_at) for worker in shown))

    def _channel(self, worker: Worker, times: tuple[list[float], list[float]], held_at: float) -> Channel:
        """Its number of messages is of another moment than its counters, which are absent before its first delivery."""
        grid, stamps = times
        held = next((one.holds for one in self.piece(held_at).workers if one.id == worker.id), 0)
        if not (taken := self._course_of(worker.id, grid))[-1][0]:
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
            redeliveries=tuple(zip(stamps, [counts[2] for counts in taken], strict=True)),
            user=worker.user,
            window=worker.window,
            connected_at=worker.came if worker.host else None,
        )

    def _course_of(self, name: str, grid: list[float]) -> list[Counts]:
        """What its channel had counted at these moments."""
        if (name, grid[-1]) not in self._courses:
            pieces = [(when, self.piece(when)) for when in grid]
            self._courses[name, grid[-1]] = [
                next((worker.counts(piece.done_by(when, worker)) for worker in piece.workers if worker.id == name), (0, 0, 0))
                for when, piece in pieces
            ]
        return self._courses[name, grid[-1]]

    def read_stated(self, at: float, scrape_s: float, for_s: float, *, ahead_s: float = 0.0) -> Statement:
        """What two conditions in PromQL say: jobs are there and none was done in `range`; none is there, or one was done."""
        step_s = for_s / 4
        said = [self._conditions(at - step_s * back, scrape_s) for back in range(5)]
        held = next((back for back, (stuck, _) in enumerate(said) if not stuck), len(said))
        last = next((back for back, (stuck, _) in enumerate(said) if stuck), 0)
        return Statement(
            at + ahead_s,
            RANGE * scrape_s,
            stuck_s=(held - 1) * step_s if held else None,
            recovered=said[0][1],
            free_s=last * step_s if last else None,
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
    listed = [worker for worker in piece.consumers if worker.came + 0.9 + 3.7 * _chance(worker.came, worker.id) <= at]
    nameless = [f"{name} stale" for name in piece.stale] if late.consumers else []
    unnamed = any(worker.node in broker.silent for worker in listed)
    ids = tuple(sorted([worker.id for worker in listed] + nameless))
    known, count = len(listed) + len(piece.stale), len(late.consumers)
    return change(
        seen,
        users=tuple(sorted({worker.user for worker in listed if worker.user})),
        consumers=max(count, len(ids)),
        consumer_ids=ids,
        uncounted=bool(nameless or unnamed),
        consumed=known > 0,
        blind=Unknown("consumers that the statistics don't show", late=True) if count > known else None,
    )


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
