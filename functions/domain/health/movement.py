"""What moves in a queue, and what leaves it."""

from itertools import pairwise

from functions.domain.health.rows import RECENT_S
from functions.domain.health.samples import drop_gaps, lasting_s, rise_of, rises_in_both_halves, spacing_s, still_s, within
from functions.domain.model.observations import QueueSnapshot
from functions.domain.model.runbooks import Symptom
from functions.runtime.text import Phrase, Text


def recent_s(seen: QueueSnapshot) -> float:
    """For how long work counts as recent: the time of two samples, or RECENT_S if that is longer."""
    return max(RECENT_S, 2 * spacing_s(seen.ack_samples))


def find_movement(symptom: Symptom, seen: QueueSnapshot) -> Phrase | None:
    """What was processed just now, if anything."""
    within_s = recent_s(seen)
    count = rise_of(within(drop_gaps(seen.ack_samples), within_s))
    if count:
        return Text("processed in the last {seconds} s: {count}", seconds=round(within_s), count=count)
    lately = [depth for _, depth in within(drop_gaps(seen.depth_samples), symptom.for_s)]
    if lately and seen.depth < min(lately):
        return Text("the depth is falling: {before} before, {now} now", before=min(lately), now=seen.depth)
    return None


def untouched_s(seen: QueueSnapshot, lasted_s: float) -> float:
    """For how much of `lasted_s` no message left though none was delivered: expired, purged, or counted by a node that was lost.
    The counter of publishes and the depth are up to two samples apart, so as much as comes in that time doesn't count."""
    depths = drop_gaps(seen.depth_samples)
    if not depths or seen.depth < depths[-1][1]:
        return 0.0
    fell_at = [at for (_, before), (at, after) in pairwise(depths) if after < before]
    untouched_s = min(lasted_s, depths[-1][0] - fell_at[-1]) if fell_at else lasted_s
    depths, published = within(depths, untouched_s), within(drop_gaps(seen.history.publishes), untouched_s)
    steps = [after - before for (_, before), (_, after) in pairwise(published)]
    gone = rise_of(published) - (depths[-1][1] - depths[0][1])
    return untouched_s if gone <= 2 * max(steps, default=0) else 0.0


def is_going_round(seen: QueueSnapshot, for_s: float) -> bool:
    """Whether for all of `for_s` messages were redelivered and none was acknowledged: a loop of crashes or requeues."""
    history = seen.history
    if not (history.deliveries and history.redeliveries and seen.ack_samples):
        return False
    if min(still_s(drop_gaps(seen.ack_samples)), lasting_s(drop_gaps(seen.depth_samples), bool)) < for_s:
        return False
    again = within(drop_gaps(history.redeliveries), for_s)
    delivered = rise_of(within(drop_gaps(history.deliveries), for_s))
    return rises_in_both_halves(again) and 2 * rise_of(again) >= delivered
