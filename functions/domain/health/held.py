"""The rows about messages that are held. Held is not hung: what tells them apart is whether the application could take more."""

import math

from msgspec.structs import replace

from functions.domain.health import doubts
from functions.domain.health.movement import untouched_s
from functions.domain.health.rows import SETTLED_S, Candidate, Terms, Trust, held_some_s, needed_s, waiting_s
from functions.domain.health.samples import drop_gaps, lasting_s, rises_in_both_halves, still_s, within
from functions.domain.model.codes import Proof
from functions.domain.model.observations import Channel, QueueSnapshot
from functions.domain.model.runbooks import Symptom
from functions.runtime.text import Phrase, join

KEPT_MORE_S = 20.0  # longer than `for`: by then waiting messages or a full window would show, which prove more
SWALLOWED_TIMES = 3  # times `for`
Flat = list[tuple[float, Channel]]  # seconds for which a channel has held messages and done nothing, the longest first


def find_held(symptom: Symptom, seen: QueueSnapshot, trust: Trust, terms: Terms) -> list[Candidate]:
    """The rows about held messages, in the order of the table, as strong as they can be."""
    rows = _find_by_channel(symptom, seen, trust)
    if seen.blind is None:
        rows += [*_find_by_queue(symptom, seen, trust), *_find_swallowed(symptom, seen)]
    return [_weaken(row, symptom, seen, trust, terms) for row in rows]


def find_flat(seen: QueueSnapshot, trust: Trust) -> Flat:
    """The consumers' channels that hold a message without working on it.
    By their own counters: RabbitMQ renews `idle_since` every 60 s, whatever a consumer does. The number of held messages is up to
    5 s ahead of the counters, so a message counts as held only once they show it. A consumer that rejects has more deliveries
    than acknowledgements for ever: what it holds counts from the first look on. Whoever holds a message of a queue that held none
    a moment ago was given it just now: after a first reject the counters look like those of one that holds it."""
    flat, channels = [], (seen.channels or ()) if seen.unacked else ()
    never_empty_s = held_some_s(seen)
    known_s = never_empty_s + SETTLED_S if seen.history.unacked else math.inf
    own = sum(one.held for one in channels if not one.shared)
    for channel in channels:
        others_only = channel.shared and own >= (seen.unacked or 0)  # what it holds is another queue's
        if channel.held and channel.counted > 0 and channel.work and channel.work[-1][1] and not others_only:
            most_s = min(trust.unsure_s, never_empty_s) if channel.counted > channel.held else math.inf
            flat.append((min(still_s(drop_gaps(channel.work)), known_s, most_s), channel))
    return sorted(flat, key=lambda one: -one[0])


def is_full(symptom: Symptom, channel: Channel) -> bool:
    """Whether the channel holds as many messages as it may, by its counters too: `flat` is since their last change."""
    window = symptom.window if symptom.window is not None else channel.window
    return bool(window) and channel.sure >= (window or 0)


def _find_by_channel(symptom: Symptom, seen: QueueSnapshot, trust: Trust) -> list[Candidate]:
    flat = find_flat(seen, trust)
    full = [one for one in flat if is_full(symptom, one[1])]
    rows = [_row(Proof.HELD, symptom, full)] if full else []
    if flat and seen.blind is None and seen.ready and (seen.consumers if seen.active is None else seen.active):
        waits_s = min(waiting_s(seen), _undelivered_s(seen), trust.steady_s)
        rows.append(_row(Proof.WORK_WAITS, symptom, flat, most_s=waits_s))
    if opens := [one for one in flat if not is_full(symptom, one[1])]:
        kept = _row(Proof.KEPT, symptom, opens)
        more_s = KEPT_MORE_S if symptom.keeps is None else 0.0
        against = doubts.say_open_window(symptom, kept.channels[0])
        rows.append(replace(kept, needs_s=kept.needs_s + more_s, against=against, settle=doubts.KEEPS))
    return rows


def _row(proof: Proof, symptom: Symptom, flat: Flat, *, most_s: float = math.inf) -> Candidate:
    """The row for the channels that have lasted long enough, those of the application's own users first; otherwise for all."""
    needs_s = needed_s(symptom)
    lasting = [one for one in flat if one[0] >= needs_s] or flat
    lasting = [one for one in lasting if _is_own(symptom, one[1])] or lasting
    return Candidate(proof, min(lasting[0][0], most_s), needs_s, tuple(channel for _, channel in lasting))


def _is_own(symptom: Symptom, channel: Channel) -> bool:
    return not symptom.users or channel.user in symptom.users


def _undelivered_s(seen: QueueSnapshot) -> float:
    """For how long nothing was delivered or taken; 0 if that isn't counted."""
    return still_s(drop_gaps(seen.history.deliveries)) if seen.deliveries is not None else 0.0


def _unacked_s(seen: QueueSnapshot) -> float:
    """For how long nothing was acknowledged. The counter is absent until the first message is."""
    return still_s(drop_gaps(seen.ack_samples)) if seen.ack_samples else math.inf


def _find_by_queue(symptom: Symptom, seen: QueueSnapshot, trust: Trust) -> list[Candidate]:
    """Where no channel shows who holds what: basic.get, no `monitoring`, beyond the bounds of a look, AMQP 1.0, MQTT.
    It is proved where messages wait in every sample, too."""
    shown = any(channel.held for channel in seen.channels or ()) and seen.unseen is None and not seen.uncounted
    if not seen.unacked or seen.ready is None or seen.depth <= symptom.max_messages or shown:
        return []
    proof = Proof.HELD_UNSEEN if seen.consumers else Proof.HELD_BY_GET
    if seen.uncounted and seen.consumers:
        lasted_s = _unchanged_s(seen)
    else:
        lasted_s = min(held_some_s(seen), _undelivered_s(seen), _unacked_s(seen))
    lasted_s = min(untouched_s(seen, lasted_s), trust.steady_s)
    row = Candidate(proof, lasted_s, needed_s(symptom))
    return [
        replace(row, lasted_s=min(lasted_s, waiting_s(seen))),
        replace(row, against=doubts.NOTHING_WAITS, settle=doubts.KEEPS),
    ]


def _unchanged_s(seen: QueueSnapshot) -> float:
    """For how long ready and unacknowledged have been exactly what they are now, and nothing came.
    A consumer that finishes a message just as the next comes looks still where publishes can't be seen and nothing waits."""
    if seen.published is None and not seen.ready:
        return 0.0
    ready_s = lasting_s(drop_gaps(seen.history.ready), lambda count: count == seen.ready)
    unacked_s = lasting_s(drop_gaps(seen.history.unacked), lambda count: count == seen.unacked)
    came_s = math.inf if seen.published is None else still_s(drop_gaps(seen.history.publishes))
    return min(came_s, ready_s, unacked_s)


def _find_swallowed(symptom: Symptom, seen: QueueSnapshot) -> list[Candidate]:
    """Without a limit a consumer is given all that comes, so neither its channel nor the queue ever stands still."""
    unlimited = tuple(one for one in seen.channels or () if one.held and one.window == 0 and symptom.window is None)
    grows_s = _growing_s(seen)
    if not unlimited or not seen.unacked or not grows_s:
        return []
    lasted_s, needs_s = min(grows_s, _unacked_s(seen)), SWALLOWED_TIMES * needed_s(symptom)
    delivered = within(drop_gaps(seen.history.deliveries), min(lasted_s, needs_s))
    if not rises_in_both_halves(delivered):
        return []
    return [Candidate(Proof.SWALLOWED, lasted_s, needs_s, unlimited, doubts.SWALLOWED, doubts.KEEPS)]


def _growing_s(seen: QueueSnapshot) -> float:
    """For how long the number of held messages has only grown; 0 if it hasn't."""
    counts = drop_gaps(seen.history.unacked)
    begin = len(counts) - 1
    while begin > 0 and 0 < counts[begin - 1][1] <= counts[begin][1]:
        begin -= 1
    grows = begin >= 0 and len(counts) > 1 and counts[begin][1] < counts[-1][1]
    return counts[-1][0] - counts[begin][0] if grows else 0.0


def _weaken(row: Candidate, symptom: Symptom, seen: QueueSnapshot, trust: Trust, terms: Terms) -> Candidate:
    """The row with all that speaks against it."""
    row = _apply_keeps(row, symptom)
    never = symptom.keeps is not None and symptom.keeps.most_s == 0
    if row.proof is not Proof.SWALLOWED and not (never or seen.acks or trust.acked or seen.uncounted):
        row = replace(row, proof=Proof.LOCK, against=doubts.LOCK, settle=doubts.KEEPS)
    users = [channel.user for channel in row.channels] or list(seen.users)
    others = sorted({user for user in users if user not in symptom.users}) if symptom.users else []
    if others:
        row = _doubt(row, doubts.say_other_users(others), "")
    if terms.one_host and row.channels and not symptom.users:
        row = _doubt(row, doubts.NO_USERS, doubts.line_of_users(seen.users))
    return row


def _apply_keeps(row: Candidate, symptom: Symptom) -> Candidate:
    if symptom.keeps is None:
        return row
    most_s = symptom.keeps.most_s
    if most_s is None:
        return row if row.against else replace(row, against=doubts.ALWAYS)
    if most_s == 0:
        return replace(row, against="", settle="") if row.proof is not Proof.SWALLOWED else row
    return replace(row, needs_s=max(row.needs_s, most_s), kept=most_s > row.needs_s)


def _doubt(row: Candidate, against: Phrase, settle: str) -> Candidate:
    return replace(row, against=join((row.against, against)), settle=settle or row.settle)
