"""Interprets samples of a figure over time, and what moves in a queue by them.
RabbitMQ rounds a sample's time up to the next step, so the newest is up to one step ahead, and reports 0 for a sample between two
of its collections (measured: tests/recordings/rabbitmq/README.md)."""

from collections.abc import Callable
from itertools import pairwise

from functions.domain.model.observations import QueueSnapshot, Samples
from functions.domain.model.runbooks import Symptom
from functions.runtime.text import Phrase, Text

RECENT_S = 10.0  # three samples, 5 s apart. A working queue processes something in this time, or between its last three samples.

SETTLED_S = 10.0
"""What RabbitMQ shows of a queue is up to 9 s old: without channels, a new consumer that was given the message of the one before
it looks like that one (measured)."""

GAP = 2.5  # as a multiple of the usual sample interval: one missing sample is fine, two in a row aren't


def spacing_s(samples: Samples) -> float:
    """The usual time between two samples."""
    steps = sorted([later - earlier for (earlier, _), (later, _) in pairwise(samples)])
    return steps[len(steps) // 2] if steps else 0.0


def drop_gaps(samples: Samples) -> Samples:
    """Drop single zeros between other values: they are gaps in the collection, not an empty queue."""
    values = [value for _, value in samples]
    if 0 not in values:
        return samples
    around = zip([1, *values[:-1]], samples, [*values[1:], 1], strict=True)
    return tuple(sample for before, sample, after in around if sample[1] or not (before and after)) or samples


def lasting_s(samples: Samples, holds: Callable[[int], bool]) -> float:
    """Seconds, up to the newest sample, for which each sample was like this; 0 if even the newest isn't. A gap ends the time."""
    samples = drop_gaps(samples)
    if not samples or not holds(samples[-1][1]):
        return 0.0
    widest_s, since = GAP * spacing_s(samples), samples[-1][0]
    for at, value in reversed(samples):
        if not holds(value) or since - at > widest_s:
            break
        since = at
    return samples[-1][0] - since


def still_s(samples: Samples) -> float:
    """Seconds, up to the newest sample, for which a counter has certainly not changed."""
    samples = drop_gaps(samples)
    return lasting_s(samples, lambda value: value == samples[-1][1])


def within(samples: Samples, seconds: float) -> Samples:
    """The samples of the last `seconds` before the newest."""
    return tuple((at, value) for at, value in samples if samples[-1][0] - at <= seconds)


def steps_of(counter: Samples) -> list[int]:
    """By how much a counter rose from sample to sample. One that restarts counts from zero."""
    return [max(0, later - earlier) for (_, earlier), (_, later) in pairwise(counter)]


def rise_of(counter: Samples) -> int:
    """How much a counter rose."""
    return sum(steps_of(counter))


def rise_within(counter: Samples, seconds: float) -> int:
    """How much a counter rose in the last `seconds` before its newest sample, whatever was not collected."""
    return rise_of(within(drop_gaps(counter), seconds))


def has_risen(before: int | None, now: int | None) -> bool:
    """Whether a figure is higher than it was; False where either isn't known."""
    return before is not None and now is not None and now > before


def rises_in_both_halves(counter: Samples) -> bool:
    """Whether the counter goes on rising: once, or in one burst, is not enough."""
    middle = len(counter) // 2
    return bool(rise_of(counter[: middle + 1]) and rise_of(counter[middle:]))


def count_own(symptom: Symptom, snapshot: QueueSnapshot) -> int | None:
    """The queue's consumers: those of `users` where these are named and the user of each is known, otherwise all."""
    if not symptom.users or snapshot.owners is None:
        return snapshot.consumers
    return sum(owner in symptom.users for owner in snapshot.owners)


def is_absent(symptom: Symptom, snapshot: QueueSnapshot, *, seen: bool) -> bool:
    """Whether messages wait, and the application that was `seen` to consume them is away, whoever else takes some."""
    waits, is_known = (snapshot.ready or 0) > symptom.max_messages, symptom.users and snapshot.owners is not None
    return bool(waits and seen and is_known and not count_own(symptom, snapshot))


def find_movement(symptom: Symptom, snapshot: QueueSnapshot) -> Phrase | None:
    """What was processed just now, if anything."""
    within_s = max(RECENT_S, 2 * spacing_s(snapshot.ack_samples))  # a working queue processes something in this time
    count = rise_within(snapshot.ack_samples, within_s)
    if count:
        return Text("processed in the last {seconds} s: {count}", seconds=round(within_s), count=count)
    lately = [depth for _, depth in within(drop_gaps(snapshot.depth_samples), symptom.for_s)]
    if lately and snapshot.depth < min(lately):
        return Text("the depth is falling: {before} before, {now} now", before=min(lately), now=snapshot.depth)
    return None


def untouched_s(snapshot: QueueSnapshot, lasted_s: float) -> float:
    """For how much of `lasted_s` no message left though none was delivered: expired, purged, or counted by a node that was lost.
    The counter of publishes and the depth are up to two samples apart, so as much as comes in that time doesn't count."""
    depths = drop_gaps(snapshot.depth_samples)
    if not depths or snapshot.depth < depths[-1][1]:
        return 0.0
    fell_at = [at for (_, before), (at, after) in pairwise(depths) if after < before]
    untouched_s = min(lasted_s, depths[-1][0] - fell_at[-1]) if fell_at else lasted_s
    depths, published = within(depths, untouched_s), within(drop_gaps(snapshot.history.publishes), untouched_s)
    gone = rise_of(published) - (depths[-1][1] - depths[0][1])
    return untouched_s if gone <= 2 * max(steps_of(published), default=0) else 0.0


def find_round_s(snapshot: QueueSnapshot, deadline_s: float) -> float:
    """For how long messages have been there without any being acknowledged, if at least half of what was delivered meanwhile
    (within `deadline_s`) had been delivered before: a loop of crashes or requeues, however slow. 0 if not."""
    # The counter is absent until the first message is acknowledged.
    unacked_s = still_s(snapshot.ack_samples) if snapshot.ack_samples else deadline_s
    lasted_s = min(unacked_s, lasting_s(snapshot.depth_samples, bool), deadline_s)
    again, all_ = (rise_within(counter, lasted_s) for counter in (snapshot.history.redeliveries, snapshot.history.deliveries))
    return lasted_s if again and 2 * again >= all_ > 0 else 0.0
