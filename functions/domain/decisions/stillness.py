"""How long a queue stood still and moved again by itself, by its samples: what a runbook's `for` has to be longer than.

A queue stands still where `judge_health` would call it stuck with a short `for`: over `max_messages`, and nothing acknowledged.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from itertools import pairwise
from statistics import median

from msgspec import Struct
from msgspec.structs import replace

from functions.domain.decisions.health import Samples, real_samples
from functions.domain.model.observations import Execution, QueueSnapshot

SHORTEST_S, LONGEST_S = 30.0, 3600.0
"""Of what is proposed: below, a busy machine looks stuck; as far back as RabbitMQ keeps samples."""

STEPS = 2
"""A stillness began up to one sample before the first that shows it, and ended up to one after the last."""

GAP = 2.5
"""Steps without a sample: one may be missing, two in a row may not."""

ROUND_S, ROUND_LONG_S = 10.0, 60.0
CLOCKS_S = 10.0
"""By which the clocks of broker and runner may differ, and the broker's figures be late."""


class Stillness(Struct, frozen=True):
    """Times are the sampler's. It lasted for at least `lasted_s`, and for up to two samples more."""

    began_at: float
    lasted_s: float
    step_s: float
    ended: bool
    """False: it lasts until the newest sample."""
    restarted: bool = False
    """Whether a restart ran meanwhile, so that it did not end by itself."""

    @property
    def ends_at(self) -> float:
        return self.began_at + self.lasted_s

    @property
    def healed(self) -> bool:
        return self.ended and not self.restarted

    @property
    def needs_s(self) -> float:
        """With a `for` of this length it would certainly not have been called stuck."""
        return self.lasted_s + STEPS * self.step_s


class History(Struct, frozen=True):
    """Samples over a stretch of time, evenly apart."""

    since: float
    step_s: float
    stillnesses: tuple[Stillness, ...]


def read_history(seen: QueueSnapshot, max_messages: int, restarts: Sequence[tuple[float, float]]) -> History | None:
    """The stillnesses of a snapshot's samples, oldest first. `restarts`: when each ran. None without samples."""
    if len(seen.depth_samples) < STEPS + 1:
        return None
    depths, done = real_samples(seen, seen.depth_samples), real_samples(seen, seen.ack_samples)
    step_s = median(later - earlier for (earlier, _), (later, _) in pairwise(seen.depth_samples))
    if done:  # the one may begin or end a sample earlier than the other
        depths = tuple((at, depth) for at, depth in depths if done[0][0] <= at <= done[-1][0])
    still = _find(depths, _movements(depths, done), max_messages, step_s)
    return History(seen.depth_samples[0][0], step_s, tuple(_mark_restarted(one, restarts) for one in still))


def _movements(depths: Samples, done: Samples) -> set[float]:
    """The samples before which something moved. Without a counter of work, a depth that fell is all that shows it."""
    if done:
        return {at for (_, before), (at, count) in pairwise(done) if count > before}
    return {at for (_, before), (at, depth) in pairwise(depths) if depth < before}


def _find(depths: Samples, moved: set[float], max_messages: int, step_s: float) -> list[Stillness]:
    found: list[Stillness] = []
    began_at: float | None = None
    for (before_at, before), (at, depth) in pairwise(depths):
        if at - before_at > GAP * step_s:
            began_at = None  # nobody knows what happened meanwhile
            continue
        still = depth > max_messages and at not in moved
        if still and began_at is None:
            began_at = before_at if before > max_messages else at
        elif not still and began_at is not None:
            found.append(Stillness(began_at, before_at - began_at, step_s, ended=True))
            began_at = None
    if began_at is not None and depths:
        found.append(Stillness(began_at, depths[-1][0] - began_at, step_s, ended=False))
    return [one for one in found if one.lasted_s > 0 or not one.ended]


def _mark_restarted(stillness: Stillness, restarts: Sequence[tuple[float, float]]) -> Stillness:
    begin, end = stillness.began_at - CLOCKS_S, stillness.ends_at + stillness.step_s + CLOCKS_S
    return replace(stillness, restarted=any(started_at <= end and ended_at >= begin for started_at, ended_at in restarts))


def restart_times(executions: Iterable[Execution], ahead_s: float, now: float) -> list[tuple[float, float]]:
    """When each restart ran, on our clock; the runner's is `ahead_s` ahead. One that still runs does so until now."""
    return [
        (one.runner_started_at - ahead_s, now if one.runner_ended_at is None else one.runner_ended_at - ahead_s)
        for one in executions
        if one.runner_started_at is not None and not one.refused
    ]


def healed_of(histories: Sequence[History]) -> list[Stillness]:
    """What healed by itself, the longest first. Where two histories overlap, the one with the finer samples tells."""
    found: list[Stillness] = []
    for history in histories:
        finer = [other.since for other in histories if other.step_s < history.step_s]
        until = min(finer, default=math.inf)
        found += [one for one in history.stillnesses if one.healed and one.began_at < until]
    return sorted(found, key=lambda one: -one.needs_s)


def propose_for(healed: Sequence[Stillness]) -> float:
    """A `for` that is longer than every one of them: whole tens of seconds, from five minutes on whole minutes.

    May be longer than LONGEST_S: then no `for` is long enough.
    """
    needed_s = max([SHORTEST_S, *(one.needs_s for one in healed)])
    unit_s = ROUND_S if needed_s <= 5 * ROUND_LONG_S else ROUND_LONG_S
    return math.ceil(needed_s / unit_s) * unit_s
