"""Judges one snapshot of a queue: stuck or healthy before a restart, and the verdict after it.

docs/rabbitmq.md has the facts about RabbitMQ's figures: live totals count immediately, everything on the queue's own page is up
to 9 s old, and a sample that falls between two collections reads 0. docs/symptoms.md has those about Prometheus: everything is
as old as its sample.
"""

from __future__ import annotations

import math
from itertools import pairwise

from msgspec.structs import replace

from functions.domain.model.codes import Health, Verdict
from functions.domain.model.incidents import AfterRestart, QueueState, StuckChecks
from functions.domain.model.observations import QueueSnapshot, Unknown
from functions.domain.model.runbooks import Recovered, Runbook, Symptom
from functions.runtime.text import Phrase, Text

SETTLED_S = 10.0
"""From then on counter and consumers are of the time after the restart (RabbitMQ's page was up to 8.9 s late)."""

RECENT_S = 10.0
"""Three samples, 5 s apart. A working queue processes something in this time, or between its last three samples."""

MIN_SAMPLES = 3
SAMPLE_LATE_S = 1.0
"""The broker collects every 5 s, a little late at times. A check that comes too early costs another 5 s."""

CURVE_POINTS = 120

Samples = tuple[tuple[float, int], ...]
"""(broker's time, value), oldest first."""


def judge_health(
    symptom: Symptom, seen: QueueSnapshot | Unknown, watched: QueueState, now: float
) -> tuple[Health, Phrase, QueueState]:
    """Whether a queue is stuck, why, and its state to remember for the next check."""
    if isinstance(seen, Unknown):
        return Health.UNKNOWN, seen.why, replace(watched, stuck=StuckChecks())
    watched = note_snapshot(watched, seen)
    if seen.depth <= symptom.max_messages:
        return Health.WELL, Text("depth {depth}", depth=seen.depth), replace(watched, stuck=StuckChecks())
    sampled = _by_samples(symptom, seen)
    if seen.blind is not None and (sampled is None or sampled[0] is not Health.WELL):
        sampled = Health.UNSURE if seen.blind.late else Health.UNKNOWN, seen.blind.why
    if sampled is not None:
        return *sampled, replace(watched, stuck=StuckChecks())
    return _by_looks(symptom, seen, watched, now)


def _by_samples(symptom: Symptom, seen: QueueSnapshot) -> tuple[Health, Phrase] | None:
    """Judge by the broker's own samples; None if they can't tell.

    A queue that has stopped, but moved inside `for_s`, is neither stuck nor healthy yet: a deployment looks like that, and
    so does the beginning of a stuck queue.
    """
    depths = _window(seen.depth_samples, symptom.for_s)
    acks = _window(seen.ack_samples, max(symptom.for_s, RECENT_S))
    recent_s = max(RECENT_S, 2 * _spacing_s(seen.ack_samples))
    recent = _window(seen.ack_samples, recent_s)
    acked_now, acked = _rise_of(real_samples(seen, recent or ())), _rise_of(real_samples(seen, acks or ()))
    if acked_now:
        return Health.WELL, Text("processed in the last {seconds} s: {count}", seconds=round(recent_s), count=acked_now)
    if depths is None or (seen.ack_samples and acks is None):
        return None
    over = [depth for _, depth in real_samples(seen, depths)]
    if seen.depth < min(over):
        return Health.WELL, Text("the depth is falling: {before} before, {now} now", before=min(over), now=seen.depth)
    if acked:
        paused = Text("processed in the last {seconds} s: {count}, but nothing right now", seconds=symptom.for_s, count=acked)
        return Health.UNSURE, paused
    if min(over) <= symptom.max_messages:
        lately = Text("depth over {limit} for less than {seconds} s", limit=symptom.max_messages, seconds=symptom.for_s)
        return Health.UNSURE, lately
    stuck = Text("depth {depth} and nothing processed for {seconds} s", depth=seen.depth, seconds=symptom.for_s)
    return Health.ILL, stuck


def seconds_until_sure(symptom: Symptom, seen: QueueSnapshot | Unknown) -> float | None:
    """How long until the broker's samples cover `for_s` without movement, if nothing moves meanwhile. None without samples.

    The newest sample is visible now, so the one that tells is visible when as much time has passed as lies between the two.
    """
    if isinstance(seen, Unknown) or _window(seen.depth_samples, 0.0) is None:
        return None
    newest, spacing_s = seen.depth_samples[-1][0], _spacing_s(seen.depth_samples)
    depths, acks = real_samples(seen, seen.depth_samples), real_samples(seen, seen.ack_samples)
    not_over = [at for at, depth in depths if depth <= symptom.max_messages]
    before_a_rise = [at for (at, count), (_, later) in pairwise(acks) if later > count]
    still_from = max([*not_over, *before_a_rise], default=newest - symptom.for_s)
    steps = math.floor(round((still_from + max(symptom.for_s, RECENT_S) - newest) / spacing_s, 3)) + 1
    return max(steps, 1) * spacing_s + SAMPLE_LATE_S


def _by_looks(symptom: Symptom, seen: QueueSnapshot, watched: QueueState, now: float) -> tuple[Health, Phrase, QueueState]:
    """Judge by live checks alone, over `for_s`: whether the depth falls, the head changes, or the counter of work rises."""
    before = watched.stuck
    since, depth = before.since, before.depth
    acks = None if seen.ack_samples else seen.acks  # where there are samples, they say what the counter says, and when it rose
    first = now if since is None else since
    remembered = replace(watched, stuck=StuckChecks(first, seen.depth, seen.head_at, acks))
    if since is None:
        again = Text(
            "depth {depth}; without earlier figures it takes {seconds} s to tell", depth=seen.depth, seconds=symptom.for_s
        )
        return Health.UNSURE, again, remembered
    head_moved = None not in (seen.head_at, before.head_at) and seen.head_at != before.head_at
    if seen.depth < depth or head_moved:
        moving = Text("it is moving: depth {before} before, {now} now", before=depth, now=seen.depth)
        return Health.WELL, moving, replace(watched, stuck=StuckChecks())
    if acks is not None and before.acks is not None and acks > before.acks:
        worked = Text("processed since the check before: {count}", count=acks - before.acks)
        return Health.WELL, worked, replace(watched, stuck=StuckChecks())
    seconds = round(now - since)
    if now - since < symptom.for_s:
        return Health.UNSURE, Text("depth {depth}, watched for {seconds} s", depth=seen.depth, seconds=seconds), remembered
    return Health.ILL, Text("depth {depth}, not falling for {seconds} s", depth=seen.depth, seconds=seconds), remembered


def _window(samples: Samples, for_s: float) -> Samples | None:
    """The samples of the last `for_s` seconds, or None if there are not enough. One may be missing."""
    if len(samples) < MIN_SAMPLES:
        return None
    newest = samples[-1][0]
    if newest - samples[0][0] < for_s - _spacing_s(samples):
        return None
    return tuple((at, value) for at, value in samples if newest - at <= for_s)


def _spacing_s(samples: Samples) -> float:
    return samples[-1][0] - samples[-2][0] if len(samples) > 1 else 0.0


def real_samples(seen: QueueSnapshot, samples: Samples) -> Samples:
    """Those that were really taken."""
    return samples if seen.zeros else _drop_gaps(samples)


def _drop_gaps(samples: Samples) -> Samples:
    """Drop single zeros between other values: they are gaps in the collection, not an empty queue."""
    without_gaps = []
    for place, (at, value) in enumerate(samples):
        is_gap = value == 0 and all(samples[near][1] > 0 for near in (place - 1, place + 1) if 0 <= near < len(samples))
        if not is_gap:
            without_gaps.append((at, value))
    return tuple(without_gaps) or samples


def _rise_of(counters: Samples) -> int:
    """By how much a counter rose. One that restarts counts from zero."""
    return sum(max(0, later - earlier) for (_, earlier), (_, later) in pairwise(counters))


def note_snapshot(watched: QueueState, seen: QueueSnapshot) -> QueueState:
    """Add the snapshot to the figures that people see."""
    if watched.curve and watched.curve[-1][0] == seen.at:
        return watched
    curve = (*watched.curve, (seen.at, seen.depth))
    if not watched.curve and seen.depth_samples:
        ahead = seen.at - seen.depth_samples[-1][0]
        curve = (*((at + ahead, depth) for at, depth in seen.depth_samples[-24:-1]), *curve)
    return replace(
        watched,
        curve=_thin_out(curve),
        head_at=seen.head_at,
        head_bytes=seen.head_bytes,
        held_bytes=seen.held_bytes,
        consumers=seen.consumers,
        holders=seen.holders,
    )


def _thin_out(curve: tuple[tuple[float, int], ...]) -> tuple[tuple[float, int], ...]:
    """At most CURVE_POINTS points: drop every other point of the older half if there are more."""
    if len(curve) <= CURVE_POINTS:
        return curve
    half = len(curve) // 2
    return curve[:half:2] + curve[half:]


def judge_recovery(
    runbook: Runbook, seen: QueueSnapshot | Unknown, watched: QueueState, *, age_s: float, now: float, ahead_s: float = 0.0
) -> QueueState:
    """Check the queue `age_s` after the restart ended, and return it with its new verdict.

    Only figures of after the end count, each once: the time of the figures is that of the check, however long the process took
    to get here, and of what is behind the time of the samples.
    Checks are timed by the runner's clock, `ahead_s` ahead of ours, since two checks may come from machines whose clocks differ.
    The runner's clock is known to the second.
    """
    if isinstance(seen, Unknown):
        return replace(watched, after=replace(watched.after, verdict=Verdict.UNKNOWN, well_at=None))
    last = watched.after
    at, age_s = float(round(seen.at - seen.behind_s + ahead_s)), age_s - (now - seen.at) - seen.behind_s
    # Clocks of machines differ, and the runner's may not be known now: the sample's own time tells whether it was seen before.
    sample_at = seen.depth_samples[-1][0] if seen.behind_s and seen.depth_samples else None
    known = at <= (last.looked_at or 0.0) or (sample_at is not None and sample_at == last.sample_at)
    if age_s <= 0 or (seen.behind_s and known):
        return watched
    consumers = _count_new_consumers(seen, watched, age_s)
    acks = seen.acks if age_s >= SETTLED_S else None
    fell = last.depth is not None and seen.depth < last.depth
    acked = last.acks is not None and acks is not None and acks > last.acks
    # It moved at some time between the two checks; after a late check that may have been long ago.
    before_at = last.looked_at if last.looked_at is not None else at
    if consumers is None and (fell or last.moved_at is not None) and age_s >= SETTLED_S:
        consumers = 1  # they can't be seen, but somebody took messages after the restart ended
    well = is_well(runbook.recovered, seen.depth, consumers)
    moved_at = before_at if fell or acked else last.moved_at
    since_s = min(age_s, seen.at - seen.behind_s - watched.joined_at)
    after = AfterRestart(
        depth=seen.depth,
        acks=acks if acks is not None else last.acks,
        moved_at=moved_at,
        well_at=(last.well_at if last.well_at is not None else at) if well else None,
        verdict=Verdict.RECOVERED if well else _verdict(runbook, moved_at, since_s=since_s, at=at),
        looked_at=at,
        sample_at=sample_at,
    )
    return replace(note_snapshot(watched, seen), consumers=consumers, after=after)


def _verdict(runbook: Runbook, moved_at: float | None, *, since_s: float, at: float) -> Verdict | None:
    """The verdict on a queue that is not healthy."""
    # It moved between the check at `moved_at` and the next, one interval later.
    quiet_s = since_s if moved_at is None else min(since_s, at - moved_at - runbook.verify.every_s)
    if quiet_s >= runbook.verify.patience_s:
        return Verdict.STUCK
    return Verdict.DRAINING if moved_at is not None else None


def is_well(recovered: Recovered, depth: int, consumers: int | None) -> bool:
    """Whether these figures show a working queue. Consumers that can't be seen don't count."""
    return depth <= recovered.max_messages and (consumers or 0) >= recovered.min_consumers


def is_moving(runbook: Runbook, watched: QueueState, at: float) -> bool:
    """Whether it moved recently, with consumers present. `at` is on the runner's clock."""
    present = (watched.consumers or 0) >= runbook.recovered.min_consumers
    moved_at = watched.after.moved_at
    return present and moved_at is not None and at - moved_at < runbook.verify.patience_s


def _count_new_consumers(seen: QueueSnapshot, watched: QueueState, age_s: float) -> int | None:
    """How many consumers certainly connected after the restart ended."""
    if age_s >= SETTLED_S:
        return len(seen.consumer_ids) if seen.consumer_ids is not None else seen.consumers
    if seen.consumer_ids is None or watched.before is None or watched.before.consumer_ids is None:
        return None
    return len(set(seen.consumer_ids) - set(watched.before.consumer_ids))
