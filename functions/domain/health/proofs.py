"""Judges one snapshot of a queue: stuck for certain, likely stuck, moving, or unknown (docs/rabbitmq.md has the table).
A restart needs a proof that lasted until the deadline, without a gap. Unreadable figures never count as zero."""

from msgspec import Struct

from functions.domain.health.rows import Row, Terms, Trust, find_oldest, find_rows, is_young, over_limit_s, was_consumed
from functions.domain.health.samples import RECENT_S, drop_gaps, find_movement, is_going_round, rise_of, spacing_s, within
from functions.domain.model.codes import Health, Proof
from functions.domain.model.observations import Channel, QueueSnapshot, Unknown
from functions.domain.model.runbooks import Symptom
from functions.runtime.text import Phrase, Text

SAMPLE_LATE_S = 1.0  # the broker collects every 5 s, a little late at times. A check that comes too early costs another 5 s.

SOONEST_S = 1.0

LATE_FOR_S = 30.0  # seconds after which a problem that should pass by itself is reported to people
SLOW_AFTER = 3  # a queue that has been unsure for so many times `for`, and moved meanwhile, is a slow one
NO_TERMS = Terms()


class Judgement(Struct, frozen=True):
    health: Health
    why: Phrase
    proof: Proof | None = None  # the row of the table that holds
    held_by: tuple[Channel, ...] = ()  # the channels that hold the messages
    again_in_s: float | None = None  # when another check may prove it; None if only a change can
    against: Phrase = ""  # if it is likely: what speaks against it,
    settle: str = ""  # and the line of configuration that settles it


def judge(
    symptom: Symptom, snapshot: QueueSnapshot, trust: Trust, terms: Terms = NO_TERMS, *, deadline_s: float | None = None
) -> Judgement:
    """Judge the queue by the samples of one snapshot. The first proved row of the table decides, else the first likely one.
    A channel that holds a message proves by itself, whatever else can't be seen: its counters exist as long as the channel.
    `deadline_s`: how long a row must last; by default the symptom's `for`."""
    deadline_s = max(symptom.for_s if deadline_s is None else deadline_s, RECENT_S)
    rows = find_rows(symptom, snapshot, trust, terms, deadline_s)
    lasting = [row for row in rows if row.lasted_s >= row.needs_s]
    if lasting:
        row = next((row for row in lasting if not row.against), lasting[0])
        health = Health.LIKELY if row.against else Health.ILL
        return Judgement(health, row.why, row.proof, row.channels, against=row.against, settle=row.settle)
    if snapshot.depth == 0 or (snapshot.depth <= symptom.max_messages and not rows):
        return Judgement(Health.WELL, Text("depth {depth}", depth=snapshot.depth))
    moving = find_movement(symptom, snapshot)
    unseen = snapshot.blind if moving is None else snapshot.unseen
    if unseen is not None:
        return _judge_unseen(unseen, trust)
    if is_going_round(snapshot, deadline_s):
        count = rise_of(within(drop_gaps(snapshot.history.deliveries), deadline_s))
        text = Text("the same messages come back: {count} deliveries in {seconds} s, none acknowledged")
        return Judgement(Health.GOING_ROUND, text.fill(count=count, seconds=round(deadline_s)))
    if snapshot.unseen is not None:
        return _judge_unseen(snapshot.unseen, trust)
    if oldest := find_oldest(symptom, snapshot, trust, deadline_s):
        return Judgement(Health.UNSURE, oldest.why, again_in_s=max(oldest.needs_s - oldest.lasted_s, SOONEST_S))
    if moving is not None and max((row.lasted_s for row in rows), default=0.0) <= RECENT_S:
        return Judgement(Health.WELL, moving)
    return _judge_unproved(symptom, snapshot, rows, trust, deadline_s)


def _judge_unseen(unseen: Unknown, trust: Trust) -> Judgement:
    """Work, or a hanging consumer, may be hidden. A cause that should pass is reported only if it hasn't."""
    late = unseen.late and trust.unsure_s < LATE_FOR_S
    return Judgement(Health.UNSURE if late else Health.UNKNOWN, unseen.why, again_in_s=RECENT_S if late else None)


def _judge_unproved(symptom: Symptom, snapshot: QueueSnapshot, rows: list[Row], trust: Trust, deadline_s: float) -> Judgement:
    """Neither stuck nor certainly healthy: a deployment, a slow job, or the beginning of a stuck queue."""
    lasted_s, shown_s = max((row.lasted_s for row in rows), default=0.0), round(deadline_s)
    done = rise_of(within(drop_gaps(snapshot.ack_samples), deadline_s))
    # What stands still now may be the beginning of a stuck queue, and the next alert may be long in coming.
    if done and lasted_s <= deadline_s / 2 and trust.unsure_s >= SLOW_AFTER * deadline_s:
        moved = Text("processed in the last {seconds} s: {count}, by every consumer", seconds=shown_s, count=done)
        return Judgement(Health.WELL, moved)
    waits_s = over_limit_s(symptom, snapshot)
    young = is_young(snapshot) and not trust.unconsumed
    if (
        snapshot.consumers == 0
        and not snapshot.unacked
        and not was_consumed(snapshot, trust)
        and not young
        and waits_s >= deadline_s
    ):
        return Judgement(
            Health.NEVER_CONSUMED, Text("{count} messages wait, and no consumer was ever seen", count=snapshot.depth)
        )
    # Whatever is only perhaps stuck by now may be proved once the deadline is over.
    ends = ((row.lasted_s, deadline_s if row.lasted_s < deadline_s else row.needs_s) for row in rows)
    left_s = min((ends_s - lasted_s for lasted_s, ends_s in ends), default=deadline_s)
    if done:
        why = Text("processed in the last {seconds} s: {count}, but nothing right now", seconds=shown_s, count=done)
    elif waits_s < deadline_s:
        why = Text("depth over {limit} for less than {seconds} s", limit=symptom.max_messages, seconds=shown_s)
    else:
        why = Text("depth {depth}, still for {seconds} s", depth=snapshot.depth, seconds=round(lasted_s))
    return Judgement(Health.UNSURE, why, again_in_s=max(left_s - _sampled_ago_s(snapshot) + SAMPLE_LATE_S, SOONEST_S))


def _sampled_ago_s(snapshot: QueueSnapshot) -> float:
    """Age of the newest sample, so that the next check comes with a sample; 0 if the clocks differ too much to tell."""
    ago_s = snapshot.at - snapshot.depth_samples[-1][0] if snapshot.depth_samples else 0.0
    return ago_s if 0.0 <= ago_s <= spacing_s(snapshot.depth_samples) else 0.0
