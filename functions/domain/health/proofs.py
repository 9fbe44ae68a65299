"""Judges one snapshot of a queue: stuck for certain, likely stuck, moving, or unknown (docs/rabbitmq.md has the table).
A restart needs a proof that lasted all of the symptom's `for`. Unreadable figures never count as zero."""

from collections.abc import Mapping

from msgspec import Struct

from functions.domain.health.held import find_held
from functions.domain.health.movement import find_movement, is_going_round
from functions.domain.health.rows import RECENT_S, SETTLED_S, Candidate, Terms, Trust, needed_s
from functions.domain.health.samples import drop_gaps, rise_of, spacing_s, still_s, within
from functions.domain.health.waiting import find_waiting, is_young, over_limit_s, was_consumed
from functions.domain.model.codes import Health, Proof
from functions.domain.model.observations import Channel, QueueSnapshot, Unknown
from functions.domain.model.runbooks import Symptom
from functions.domain.texts.words import duration
from functions.runtime.text import COMMA, Phrase, Text, join

SAMPLE_LATE_S = 1.0  # the broker collects every 5 s, a little late at times. A check that comes too early costs another 5 s.

SOONEST_S = 1.0
KEPT_LOOK_S = 60.0  # how often to check while `keeps` allows what is held: something else may be stuck by then

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
    kept: bool = False  # it is not judged yet only because consumers may keep a message for so long


def reach_s(symptom: Symptom) -> float:
    """How far back, in seconds, the samples of a queue must go to judge it."""
    return max(symptom.for_s, (symptom.keeps.most_s if symptom.keeps else None) or 0.0)


def judge(symptom: Symptom, seen: QueueSnapshot, trust: Trust, terms: Terms = NO_TERMS) -> Judgement:
    """Judge the queue by the samples of one snapshot. The first proved row of the table decides, else the first likely one.
    A channel that holds a message proves by itself, whatever else can't be seen: its counters exist as long as the channel."""
    held, oldest = find_held(symptom, seen, trust, terms), find_oldest(symptom, seen, trust)
    rows = [*held, *([oldest] if oldest else []), *find_waiting(symptom, seen, trust, terms)]
    lasting = [row for row in rows if row.lasted_s >= row.needs_s]
    holds = next((row for row in lasting if not row.against), lasting[0] if lasting else None)
    if holds is not None:
        return _to_judgement(seen, holds, trust)
    if seen.depth == 0 or (seen.depth <= symptom.max_messages and not rows):
        return Judgement(Health.WELL, Text("depth {depth}", depth=seen.depth))
    moving = find_movement(symptom, seen)
    unseen = seen.blind if moving is None else seen.unseen
    if unseen is not None:
        return _judge_unseen(unseen, trust)
    return _judge_lasting(symptom, seen, trust, rows, moving)


def _to_judgement(seen: QueueSnapshot, row: Candidate, trust: Trust) -> Judgement:
    why = _say(seen, row)
    unseen = row.proof in (Proof.HELD_UNSEEN, Proof.LOCK) and not row.channels and bool(seen.consumers)
    if unseen and not seen.channels and trust.same_consumers_s < SETTLED_S:
        return Judgement(Health.UNSURE, Text("{held}; its consumers may be new", held=why), again_in_s=SETTLED_S)
    health = Health.LIKELY if row.against else Health.ILL
    return Judgement(health, why, row.proof, row.channels, against=row.against, settle=row.settle)


def _judge_lasting(
    symptom: Symptom, seen: QueueSnapshot, trust: Trust, rows: list[Candidate], moving: Phrase | None
) -> Judgement:
    for_s = needed_s(symptom)
    if is_going_round(seen, for_s):
        return Judgement(Health.GOING_ROUND, _say_going_round(seen, for_s))
    if seen.unseen is not None:
        return _judge_unseen(seen.unseen, trust)
    if kept := [row for row in rows if row.kept and row.lasted_s >= for_s]:
        left_s = min(row.needs_s - row.lasted_s for row in kept)
        why = Text("{held}; `keeps` allows that", held=_say(seen, kept[0]))
        return Judgement(Health.UNSURE, why, again_in_s=min(max(left_s, SOONEST_S), KEPT_LOOK_S), kept=True)
    if oldest := next((row for row in rows if row.proof is Proof.OLDEST), None):
        return Judgement(Health.UNSURE, _say_oldest(seen), again_in_s=max(oldest.needs_s - oldest.lasted_s, SOONEST_S))
    if moving is not None and max((row.lasted_s for row in rows), default=0.0) <= RECENT_S:
        return Judgement(Health.WELL, moving)
    return _judge_unproved(symptom, seen, rows, trust)


def _judge_unseen(unseen: Unknown, trust: Trust) -> Judgement:
    """Work, or a hanging consumer, may be hidden. A cause that should pass is reported only if it hasn't."""
    late = unseen.late and trust.unsure_s < LATE_FOR_S
    return Judgement(Health.UNSURE if late else Health.UNKNOWN, unseen.why, again_in_s=RECENT_S if late else None)


def _judge_unproved(symptom: Symptom, seen: QueueSnapshot, rows: list[Candidate], trust: Trust) -> Judgement:
    """Neither stuck nor certainly healthy: a deployment, a slow job, or the beginning of a stuck queue."""
    for_s, lasted_s = needed_s(symptom), max((row.lasted_s for row in rows), default=0.0)
    done = rise_of(within(drop_gaps(seen.ack_samples), for_s))
    # What stands still now may be the beginning of a stuck queue, and the next alert may be long in coming.
    if done and lasted_s <= for_s / 2 and trust.unsure_s >= SLOW_AFTER * for_s:
        moved = Text("processed in the last {seconds} s: {count}, by every consumer", seconds=round(for_s), count=done)
        return Judgement(Health.WELL, moved)
    waits = over_limit_s(symptom, seen)
    young = is_young(seen) and not trust.unconsumed
    if seen.consumers == 0 and not seen.unacked and not was_consumed(seen, trust) and not young and waits >= for_s:
        return Judgement(Health.NEVER_CONSUMED, Text("{count} messages wait, and no consumer was ever seen", count=seen.depth))
    left_s = min((row.needs_s - row.lasted_s for row in rows), default=for_s)
    if done:
        why = Text("processed in the last {seconds} s: {count}, but nothing right now", seconds=round(for_s), count=done)
    elif waits < for_s:
        why = Text("depth over {limit} for less than {seconds} s", limit=symptom.max_messages, seconds=round(for_s))
    else:
        why = Text("depth {depth}, still for {seconds} s", depth=seen.depth, seconds=round(lasted_s))
    return Judgement(Health.UNSURE, why, again_in_s=max(left_s - _sampled_ago_s(seen) + SAMPLE_LATE_S, SOONEST_S))


def _sampled_ago_s(seen: QueueSnapshot) -> float:
    """Age of the newest sample, so that the next check comes with a sample; 0 if the clocks differ too much to tell."""
    ago_s = seen.at - seen.depth_samples[-1][0] if seen.depth_samples else 0.0
    return ago_s if 0.0 <= ago_s <= spacing_s(seen.depth_samples) else 0.0


def find_oldest(symptom: Symptom, seen: QueueSnapshot, trust: Trust) -> Candidate | None:
    """The oldest message, if it is older than it may be and somebody holds messages."""
    if symptom.oldest_s is None or seen.head_at is None or not seen.unacked or seen.at - seen.head_at <= symptom.oldest_s:
        return None
    return Candidate(Proof.OLDEST, trust.same_oldest_s, needed_s(symptom))


def _say(seen: QueueSnapshot, row: Candidate) -> Phrase:
    if row.proof is Proof.OLDEST:
        return _say_oldest(seen)
    if row.channels:
        return _say_held_by(seen, row)
    seconds = round(min(row.lasted_s, 1e6))
    waiting = row.proof in (Proof.UNSERVED, Proof.UNATTENDED, Proof.PERHAPS_UNATTENDED)
    said = STILL[row.proof].fill(count=(seen.ready if waiting else seen.unacked) or 0, seconds=seconds)
    uncounted = row.proof is Proof.HELD_UNSEEN and seen.uncounted
    return join((said, Text("RabbitMQ counts no work of AMQP 1.0 and MQTT consumers") if uncounted else ""))


HELD_STILL = Text(
    "{count} message is held, and nothing was delivered or acknowledged for {seconds} s",
    "{count} messages are held, and nothing was delivered or acknowledged for {seconds} s",
)
STILL: Mapping[Proof, Text] = {
    Proof.LOCK: HELD_STILL,
    Proof.HELD_UNSEEN: HELD_STILL,
    Proof.HELD_BY_GET: Text(
        "{count} message was taken by basic.get or a cancelled consumer, and nothing was taken or acknowledged for {seconds} s",
        "{count} messages were taken by basic.get or a cancelled consumer, and nothing was taken or acknowledged for {seconds} s",
    ),
    Proof.UNSERVED: Text(
        "{count} message waits, and the consumers were given nothing for {seconds} s",
        "{count} messages wait, and the consumers were given nothing for {seconds} s",
    ),
    Proof.UNATTENDED: Text(
        "{count} message has waited for {seconds} s, and the consumer is gone",
        "{count} messages have waited for {seconds} s, and the consumer is gone",
    ),
    Proof.PERHAPS_UNATTENDED: Text(
        "{count} message has waited for {seconds} s, and there is no consumer",
        "{count} messages have waited for {seconds} s, and there is no consumer",
    ),
}


def _say_oldest(seen: QueueSnapshot) -> Phrase:
    return Text("the oldest message is {age} old and still in the queue", age=duration(seen.at - (seen.head_at or seen.at)))


def _say_held_by(seen: QueueSnapshot, row: Candidate) -> Phrase:
    names = tuple(dict.fromkeys(channel.name or channel.host or channel.id for channel in row.channels))
    text = Text("held by {names} for {seconds} s: {count} message", "held by {names} for {seconds} s: {count} messages")
    count = sum(channel.held for channel in row.channels)
    held = text.fill(names=join(names[:3], COMMA), seconds=round(row.lasted_s), count=count)
    if row.proof is Proof.SWALLOWED:
        grows = Text(
            "{count} message is held, and none was acknowledged for {seconds} s while more are delivered",
            "{count} messages are held, and none was acknowledged for {seconds} s while more are delivered",
        )
        return grows.fill(count=count, seconds=round(row.lasted_s))
    waits = Text("{count} message waits, and none is delivered", "{count} messages wait, and none is delivered")
    waiting = waits.fill(count=seen.ready or 0) if row.proof is Proof.WORK_WAITS else ""
    idle = [one for one in seen.channels or () if one.held and still_s(drop_gaps(one.work)) >= RECENT_S]
    moves = rise_of(within(drop_gaps(seen.ack_samples), RECENT_S))
    others = (seen.consumers or 0) - len(idle) if moves else 0
    work = Text("{count} other consumer works", "{count} other consumers work", count=others) if others > 0 else ""
    return join((held, waiting, work))


def _say_going_round(seen: QueueSnapshot, for_s: float) -> Phrase:
    count = rise_of(within(drop_gaps(seen.history.deliveries), for_s))
    text = Text("the same messages come back: {count} deliveries in {seconds} s, none acknowledged")
    return text.fill(count=count, seconds=round(for_s))
