"""What one snapshot of a queue proves: that it is stuck, that it moves, or neither (docs/rabbitmq.md has the table).
A restart needs a proof that lasted all of the symptom's `for`. Unreadable figures never count as zero."""

import math
from collections.abc import Mapping
from itertools import pairwise

from msgspec import Struct
from msgspec.structs import replace

from functions.domain.health.samples import drop_gaps, lasting_s, rise_of, spacing_s, still_s, within
from functions.domain.model.codes import Health, Proof
from functions.domain.model.observations import Channel, QueueSnapshot, Samples, Unknown
from functions.domain.model.runbooks import Symptom
from functions.domain.texts.words import duration
from functions.runtime.text import COMMA, Phrase, Text, join

RECENT_S = 10.0  # three samples, 5 s apart. A working queue processes something in this time, or between its last three samples.
SAMPLE_LATE_S = 1.0  # the broker collects every 5 s, a little late at times. A check that comes too early costs another 5 s.

SOONEST_S = 1.0
SETTLED_S = 10.0
"""What RabbitMQ shows of a queue is up to 9 s old: without channels, a new consumer that was given the message of the one before
it looks like that one (measured)."""

LATE_FOR_S = 30.0  # seconds after which a problem that should pass by itself is reported to people
SLOW_AFTER = 3  # a queue that has been unsure for so many times `for`, and moved meanwhile, is a slow one


def reach_s(symptom: Symptom) -> float:
    """How far back, in seconds, the samples of a queue must go to judge it."""
    kept_s = symptom.keeps_s if symptom.keeps_s is not None and symptom.keeps_s < math.inf else 0.0
    return max(symptom.for_s, kept_s)


class Candidate(Struct, frozen=True):
    """Becomes a proof once it has lasted for all of `for`."""

    proof: Proof
    lasted_s: float
    channel: Channel | None = None


class Judgement(Struct, frozen=True):
    health: Health
    why: Phrase
    proof: Proof | None = None
    held_by: tuple[Channel, ...] = ()  # the channels that are proved to hold messages
    again_in_s: float | None = None  # when another check may prove it; None if only a change can


class Trust(Struct, frozen=True):
    """What earlier readings say about the reliability of this one."""

    steady_s: float = math.inf  # how long the samples can be relied on: a node that left took all of its own with it
    same_consumers_s: float = 0.0  # for how long the queue is known to have had the consumers that it has
    unsure_s: float = 0.0  # for how long the queue has been unsure
    consumed: bool = False  # the queue is known to have had a consumer, whatever its counters say
    same_oldest_s: float = 0.0  # seconds for which its oldest message has certainly been the same


def judge(symptom: Symptom, seen: QueueSnapshot, trust: Trust) -> Judgement:
    """Judge the queue by the samples of one snapshot.
    A channel that holds a message is a proof by itself, whatever else can't be seen: its counters exist as long as the
    channel."""
    for_s = max(symptom.for_s, RECENT_S)
    holding = find_holding(seen, trust)
    held_by = tuple(one.channel for one in holding if one.channel and one.lasted_s >= for_s)
    if held_by:
        return Judgement(Health.ILL, _say_held_by(seen, held_by, holding[0].lasted_s), Proof.HELD, held_by)
    oldest = find_oldest(symptom, seen, trust)
    if oldest is not None and oldest.lasted_s >= for_s:
        return Judgement(Health.ILL, _say_oldest(seen), Proof.OLDEST)
    if seen.depth == 0 or (seen.depth <= symptom.max_messages and not holding and oldest is None):
        return Judgement(Health.WELL, Text("depth {depth}", depth=seen.depth))
    moving = find_movement(symptom, seen)
    unseen = seen.blind if moving is None else seen.unseen
    if unseen is not None:
        return _judge_unseen(unseen, trust)
    still = [] if seen.blind is not None else find_still(symptom, seen, trust)
    lasting = [replace(one, lasted_s=min(one.lasted_s, trust.steady_s)) for one in still]
    if proved := next((one for one in lasting if one.lasted_s >= for_s), None):
        why = _say_still(seen, proved)
        if proved.proof is Proof.HELD and not seen.channels and trust.same_consumers_s < SETTLED_S:
            return Judgement(Health.UNSURE, Text("{held}; its consumers may be new", held=why), again_in_s=SETTLED_S)
        return Judgement(Health.ILL, why, proved.proof)
    return _judge_lasting(symptom, seen, trust, [*lasting, *holding, *([oldest] if oldest else [])], moving)


def _judge_lasting(
    symptom: Symptom, seen: QueueSnapshot, trust: Trust, lasting: list[Candidate], moving: Phrase | None
) -> Judgement:
    for_s = max(symptom.for_s, RECENT_S)
    if is_going_round(seen, for_s):
        return Judgement(Health.GOING_ROUND, _say_going_round(seen, for_s))
    if seen.unseen is not None:
        return _judge_unseen(seen.unseen, trust)
    longest_s = max((one.lasted_s for one in lasting), default=0.0)
    if any(one.proof is Proof.OLDEST for one in lasting):
        return Judgement(Health.UNSURE, _say_oldest(seen), again_in_s=max(for_s - longest_s, SOONEST_S))
    if moving is not None and longest_s <= RECENT_S:
        return Judgement(Health.WELL, moving)
    return _judge_unproved(symptom, seen, longest_s, trust)


def _judge_unseen(unseen: Unknown, trust: Trust) -> Judgement:
    """Work, or a hanging consumer, may be hidden. A cause that should pass is reported only if it hasn't."""
    late = unseen.late and trust.unsure_s < LATE_FOR_S
    return Judgement(Health.UNSURE if late else Health.UNKNOWN, unseen.why, again_in_s=RECENT_S if late else None)


def _judge_unproved(symptom: Symptom, seen: QueueSnapshot, lasted_s: float, trust: Trust) -> Judgement:
    """Neither stuck nor certainly healthy: a deployment, a slow job, or the beginning of a stuck queue."""
    for_s = max(symptom.for_s, RECENT_S)
    done = rise_of(within(real(seen, seen.ack_samples), for_s))
    # What stands still now may be the beginning of a stuck queue, and the next alert may be long in coming.
    if done and lasted_s <= for_s / 2 and trust.unsure_s >= SLOW_AFTER * for_s:
        moved = Text("processed in the last {seconds} s: {count}, by every consumer", seconds=round(for_s), count=done)
        return Judgement(Health.WELL, moved)
    waits = lasting_s(real(seen, seen.depth_samples), lambda depth: depth > symptom.max_messages)
    if seen.consumers == 0 and not _was_consumed(seen, trust) and waits >= for_s:
        return Judgement(Health.NEVER_CONSUMED, Text("{count} messages wait, and no consumer was ever seen", count=seen.depth))
    again_in_s = max(for_s - lasted_s - _sampled_ago_s(seen) + SAMPLE_LATE_S, SOONEST_S)
    if done:
        why = Text("processed in the last {seconds} s: {count}, but nothing right now", seconds=round(for_s), count=done)
    elif waits < for_s:
        why = Text("depth over {limit} for less than {seconds} s", limit=symptom.max_messages, seconds=round(for_s))
    else:
        why = Text("depth {depth}, still for {seconds} s", depth=seen.depth, seconds=round(lasted_s))
    return Judgement(Health.UNSURE, why, again_in_s=again_in_s)


def _sampled_ago_s(seen: QueueSnapshot) -> float:
    """Age of the newest sample, so that the next check comes with a sample; 0 if the clocks differ too much to tell."""
    ago_s = seen.at - seen.behind_s - seen.depth_samples[-1][0] if seen.depth_samples else 0.0
    return ago_s if 0.0 <= ago_s <= spacing_s(seen.depth_samples) else 0.0


def real(seen: QueueSnapshot, samples: Samples) -> Samples:
    """The samples that were actually taken."""
    return samples if seen.zeros else drop_gaps(samples)


def find_holding(seen: QueueSnapshot, trust: Trust) -> list[Candidate]:
    """The consumers' channels that hold a message without working on it, each with the seconds; the longest first.
    By their own counters: RabbitMQ renews `idle_since` every 60 s, whatever a consumer does. The number of held messages is up to
    5 s ahead of the counters, so a message counts as held only once they show it. A consumer that rejects has more deliveries
    than acknowledgements for ever: what it holds counts from the first look on. Whoever holds a message of a queue that held none
    a moment ago was given it just now: after a first reject the counters look like those of one that holds it."""
    candidates = []
    never_empty_s = _held_some_s(seen)
    known_s = never_empty_s + SETTLED_S if seen.history.unacked else math.inf
    for channel in (seen.channels or ()) if seen.unacked else ():
        if channel.held and channel.counted > 0 and channel.work and channel.work[-1][1] and not channel.shared:
            most_s = min(trust.unsure_s, never_empty_s) if channel.counted > channel.held else math.inf
            candidates.append(Candidate(Proof.HELD, min(still_s(drop_gaps(channel.work)), known_s, most_s), channel))
    return sorted(candidates, key=lambda one: -one.lasted_s)


def find_oldest(symptom: Symptom, seen: QueueSnapshot, trust: Trust) -> Candidate | None:
    """The oldest message, if it is older than it may be and somebody holds messages."""
    if symptom.oldest_s is None or seen.head_at is None or not seen.unacked or seen.at - seen.head_at <= symptom.oldest_s:
        return None
    return Candidate(Proof.OLDEST, trust.same_oldest_s)


def find_still(symptom: Symptom, seen: QueueSnapshot, trust: Trust) -> list[Candidate]:
    """What stands still for the queue as a whole."""
    if seen.depth <= symptom.max_messages:
        return []
    over_s = lasting_s(real(seen, seen.depth_samples), lambda depth: depth > symptom.max_messages)
    if seen.ready is None or seen.unacked is None:
        worked = not seen.ack_samples or find_movement(symptom, seen) is not None
        return [Candidate(Proof.STILL, 0.0 if worked else min(over_s, still_s(real(seen, seen.ack_samples))))]
    if seen.uncounted and seen.consumers:
        still = [Candidate(Proof.HELD, _flat_s(seen))] if seen.unacked else []
    elif seen.unacked:
        still = _find_held(seen)
    else:
        still = _find_waiting(seen, over_s, trust)
    return [replace(one, lasted_s=_untouched_s(seen, one.lasted_s)) for one in still]


def _find_held(seen: QueueSnapshot) -> list[Candidate]:
    shared = any(channel.shared for channel in seen.channels or ())
    # Channels of its own show who holds what, so that the queue's figures add no proof.
    if seen.deliveries is None or seen.unseen is not None or (seen.channels and not shared):
        return []
    shared_s = [still_s(drop_gaps(channel.work)) for channel in seen.channels or () if channel.held and channel.work]
    delivered_s, acked_s = still_s(drop_gaps(seen.history.deliveries)), still_s(drop_gaps(seen.ack_samples))
    return [Candidate(Proof.HELD, min(_held_some_s(seen), delivered_s, acked_s, max(shared_s, default=math.inf)))]


def _find_waiting(seen: QueueSnapshot, over_s: float, trust: Trust) -> list[Candidate]:
    waiting_s = min(over_s, lasting_s(drop_gaps(seen.history.unacked), lambda count: count == 0))
    if seen.consumers is None or not (seen.consumers or _was_consumed(seen, trust)):
        return []
    proof = Proof.UNSERVED if seen.consumers else Proof.UNATTENDED
    if seen.deliveries is not None:
        return [Candidate(proof, min(waiting_s, still_s(drop_gaps(seen.history.deliveries))))]
    # No counter: none was delivered, if the channel of each consumer is seen, and lives on a node whose statistics count.
    counted = bool(seen.channels) and len(seen.channels or ()) == seen.consumers and seen.unseen is None
    return [Candidate(proof, waiting_s)] if counted or not seen.consumers else []


def _held_some_s(seen: QueueSnapshot) -> float:
    return lasting_s(drop_gaps(seen.history.unacked), lambda count: count > 0)


def _flat_s(seen: QueueSnapshot) -> float:
    """For how long ready and unacknowledged have been exactly what they are now, and nothing came.
    A consumer that finishes a message just as the next comes looks still where publishes can't be seen and nothing waits."""
    if seen.published is None and not seen.ready:
        return 0.0
    ready_s = lasting_s(drop_gaps(seen.history.ready), lambda count: count == seen.ready)
    unacked_s = lasting_s(drop_gaps(seen.history.unacked), lambda count: count == seen.unacked)
    came_s = math.inf if seen.published is None else still_s(drop_gaps(seen.history.publishes))
    return min(came_s, ready_s, unacked_s)


def _was_consumed(seen: QueueSnapshot, trust: Trust) -> bool:
    """Whether the queue ever had a consumer: absent counters don't show that it had none."""
    return bool(trust.consumed or seen.consumed or seen.deliveries or any(count for _, count in seen.history.unacked))


def find_movement(symptom: Symptom, seen: QueueSnapshot) -> Phrase | None:
    """What was processed just now, if anything."""
    recent_s = max(RECENT_S, 2 * spacing_s(seen.ack_samples))
    count = rise_of(within(real(seen, seen.ack_samples), recent_s))
    if count:
        return Text("processed in the last {seconds} s: {count}", seconds=round(recent_s), count=count)
    lately = [depth for _, depth in within(real(seen, seen.depth_samples), symptom.for_s)]
    if lately and seen.depth < min(lately):
        return Text("the depth is falling: {before} before, {now} now", before=min(lately), now=seen.depth)
    return None


def _untouched_s(seen: QueueSnapshot, lasted_s: float) -> float:
    """For how much of `lasted_s` no message left though none was delivered: expired, purged, or counted by a node that was lost.
    The counter of publishes and the depth are up to two samples apart, so as much as comes in that time doesn't count."""
    depths = real(seen, seen.depth_samples)
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
    first, second = again[: len(again) // 2 + 1], again[len(again) // 2 :]
    return bool(rise_of(first) and rise_of(second)) and 2 * rise_of(again) >= delivered


def _say_still(seen: QueueSnapshot, proved: Candidate) -> Phrase:
    seconds, count = round(proved.lasted_s), (seen.unacked if proved.proof is Proof.HELD else seen.ready) or 0
    if proved.proof not in STILL:
        return Text("depth {depth} and nothing processed for {seconds} s", depth=seen.depth, seconds=seconds)
    return STILL[proved.proof].fill(count=count, seconds=seconds)


STILL: Mapping[Proof, Text] = {
    Proof.HELD: Text(
        "{count} message is held, and nothing was delivered or acknowledged for {seconds} s",
        "{count} messages are held, and nothing was delivered or acknowledged for {seconds} s",
    ),
    Proof.UNSERVED: Text(
        "{count} message waits, and the consumers were given nothing for {seconds} s",
        "{count} messages wait, and the consumers were given nothing for {seconds} s",
    ),
    Proof.UNATTENDED: Text(
        "{count} message has waited for {seconds} s, and the consumer is gone",
        "{count} messages have waited for {seconds} s, and the consumer is gone",
    ),
}


def _say_oldest(seen: QueueSnapshot) -> Phrase:
    return Text("the oldest message is {age} old and still in the queue", age=duration(seen.at - (seen.head_at or seen.at)))


def _say_held_by(seen: QueueSnapshot, held_by: tuple[Channel, ...], lasted_s: float) -> Phrase:
    names = tuple(dict.fromkeys(channel.name or channel.host or channel.id for channel in held_by))
    text = Text("held by {names} for {seconds} s: {count} message", "held by {names} for {seconds} s: {count} messages")
    count = sum(channel.held for channel in held_by)
    held = text.fill(names=join(names[:3], COMMA), seconds=round(lasted_s), count=count)
    idle = [one for one in seen.channels or () if one.held and still_s(drop_gaps(one.work)) >= RECENT_S]
    moves = rise_of(within(drop_gaps(seen.ack_samples), RECENT_S))
    others = (seen.consumers or 0) - len(idle) if moves else 0
    work = Text("{count} other consumer works", "{count} other consumers work", count=others) if others > 0 else ""
    return join((held, work))


def _say_going_round(seen: QueueSnapshot, for_s: float) -> Phrase:
    count = rise_of(within(drop_gaps(seen.history.deliveries), for_s))
    text = Text("the same messages come back: {count} deliveries in {seconds} s, none acknowledged")
    return text.fill(count=count, seconds=round(for_s))
