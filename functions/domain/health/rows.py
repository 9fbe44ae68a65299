"""The rows of the verdict table (docs/rabbitmq.md). Held is not hung: what tells them apart is whether the application could take
more. What no row proves is `perhaps`, with what speaks against it."""

import math
from collections.abc import Iterable

from msgspec import Struct
from msgspec.structs import replace

from functions.domain.health.samples import (
    RECENT_S,
    SETTLED_S,
    drop_gaps,
    is_absent,
    lasting_s,
    rise_within,
    rises_in_both_halves,
    still_s,
    untouched_s,
    within,
)
from functions.domain.model.codes import Proof
from functions.domain.model.observations import Channel, QueueSnapshot, QueueStalls, StallKind
from functions.domain.model.runbooks import Runbook, Symptom
from functions.domain.texts.words import duration
from functions.runtime.text import COMMA, Phrase, Text, join

MORE_S = 20.0
"""`perhaps` takes so much longer: by then messages that wait, or a full window, would show, which prove more."""

GROWS_TIMES = 3  # what only grows takes so many times as long,
GROWS_S = 540.0  # but no longer than the broker keeps samples of 5 s, which is 600 s
YOUNG_S = 3600.0  # younger counters don't show that a queue never had a consumer

Flat = list[tuple[float, Channel]]


class Row(Struct, frozen=True):
    """A row of the table: a verdict once it has lasted for `needs_s`."""

    proof: Proof
    why: Phrase  # what was seen
    lasted_s: float
    needs_s: float
    channels: tuple[Channel, ...] = ()  # those that hold the messages
    against: Phrase = ""  # what speaks against it, so that it is likely at most; empty: it is proved
    kind: StallKind = StallKind.HELD  # whose stalls say how long it takes


class Trust(Struct, frozen=True):
    """What earlier readings say about the reliability of this one."""

    steady_s: float = math.inf  # how long the samples can be relied on: a node that left took all of its own with it
    unsure_s: float = 0.0  # for how long the queue has been unsure,
    unread_s: float = 0.0  # and for how long some of it could not be read
    consumed: bool = False  # the queue is known to have had a consumer (of `users`), whatever its counters say
    acked: bool = False  # a message of the queue is known to have been acknowledged, whatever its counters say
    gone_s: float = math.inf  # for how long no consumer (of `users`) has been there, if an earlier check saw one
    unconsumed: bool = False  # the queue is known to have had no consumer for a day
    same_oldest_s: float = 0.0  # seconds for which its oldest message has certainly been the same


NOTHING_LEARNED = QueueStalls(0.0)


class Terms(Struct, frozen=True):
    """What the runbook says beside the symptom, and what is known of the queue."""

    min_consumers: int = 1
    one_host: bool = False  # a restart may be limited to the host of whoever holds a message
    learned: QueueStalls = NOTHING_LEARNED
    on_purpose: frozenset[StallKind] = frozenset()  # a person said so of the standstill that goes on

    def with_deadline(self, symptom: Symptom, kind: StallKind) -> Symptom:
        """The symptom, whose `for` is the time from which on people are asked about this kind."""
        return replace(symptom, for_s=symptom.bound_s(self.learned.asks_s(kind)))

    def has_seen(self, users: Iterable[str]) -> bool:
        """Whether one of these users was ever seen to consume the queue."""
        return not set(users).isdisjoint(self.learned.users)

    def doubt(self, symptom: Symptom, kind: StallKind, lasted_s: float) -> Phrase:
        """What people said of this kind, or what was seen of it, against a proof by what has lasted for so long."""
        if kind in self.on_purpose:
            return Text("a person said that it stands still on purpose")
        if kind in self.learned.doubted:
            return Text("after the last restart for this, a person said that the application had been healthy")
        stalls = self.learned.of_kind(kind) if symptom.learns else []
        if stalls and not lasted_s >= self.learned.restarts_s(kind) <= symptom.for_at_most_s:
            return Text("it stood still for {age} before, and went on by itself", age=duration(stalls[0].lasted_s))
        return ""


def terms_of(runbook: Runbook, learned: QueueStalls | None = None, on_purpose: frozenset[StallKind] = frozenset()) -> Terms:
    """The terms of a runbook for a queue."""
    one_host = runbook.restart.holder is not None
    return Terms(runbook.recovered.min_consumers, one_host, learned or NOTHING_LEARNED, on_purpose)


def find_rows(symptom: Symptom, snapshot: QueueSnapshot, trust: Trust, terms: Terms) -> list[Row]:
    """The rows that the figures show, in the order of the table, however long they have lasted; each as strong as it can be.
    One that lasts until people are asked about its kind is likely, and one that lasts longer than what was seen is proved."""
    held = terms.with_deadline(symptom, StallKind.HELD)
    rows = find_held(held, snapshot, trust, terms)
    if snapshot.blind is None:
        rows += [*_find_growing(symptom, held.for_s, snapshot), *_find_waiting(symptom, snapshot, trust, terms)]
    if oldest := find_oldest(held, snapshot, trust):
        rows.append(oldest)
    doubted = [(row, terms.doubt(symptom, row.kind, row.lasted_s)) for row in rows]
    rows = [_doubt(row, against) if against else row for row, against in doubted]
    return sorted(rows, key=lambda row: row.proof is Proof.PERHAPS)


# --- messages that are held ---------------------------------------------------------------------------------------------------


def find_held(symptom: Symptom, snapshot: QueueSnapshot, trust: Trust, terms: Terms) -> list[Row]:
    """The rows about held messages that stand still."""
    rows = _find_by_channel(symptom, snapshot, trust)
    if snapshot.blind is None:
        rows += _find_by_queue(symptom, snapshot, trust)
    return [_weaken(row, symptom, snapshot, trust, terms) for row in rows]


def _find_flat(snapshot: QueueSnapshot, trust: Trust) -> Flat:
    """The consumers' channels that hold a message without working on it, and for how long (s), the longest first.
    By their own counters: RabbitMQ renews `idle_since` every 60 s, whatever a consumer does. The number of held messages is up to
    5 s ahead of the counters, so a message counts as held only once they show it. A consumer that rejects has more deliveries
    than acknowledgements for ever: what it holds counts from the first look on. Whoever holds a message of a queue that held none
    a moment ago was given it just now: after a first reject the counters look like those of one that holds it."""
    flat, channels = [], (snapshot.channels or ()) if snapshot.unacked else ()
    never_empty_s = lasting_s(snapshot.history.unacked, bool)
    most_s = never_empty_s + SETTLED_S if snapshot.history.unacked else math.inf
    own = sum(channel.held for channel in channels if not channel.shared)
    for channel in channels:
        others_only = channel.shared and own >= (snapshot.unacked or 0)  # what it holds is another queue's
        if channel.is_holding and not others_only:
            since_s = min(trust.unsure_s, never_empty_s) if channel.counted > channel.held else math.inf
            flat.append((min(still_s(channel.work), most_s, since_s), channel))
    return sorted(flat, key=lambda pair: -pair[0])


def _undelivered_s(symptom: Symptom, snapshot: QueueSnapshot) -> float:
    """For how long nothing was delivered or taken, but by strangers beside consumers of `users`; 0 if that isn't counted."""
    pushed = snapshot.history.pushed if symptom.users and snapshot.consumers else ()
    return still_s(pushed or snapshot.history.deliveries) if snapshot.deliveries is not None else 0.0


def _unacked_s(snapshot: QueueSnapshot) -> float:
    """For how long nothing was acknowledged. The counter is absent until the first message is."""
    return still_s(snapshot.ack_samples) if snapshot.ack_samples else math.inf


def _find_by_channel(symptom: Symptom, snapshot: QueueSnapshot, trust: Trust) -> list[Row]:
    flat = _find_flat(snapshot, trust)
    full = [pair for pair in flat if pair[1].is_full]
    opens = [pair for pair in flat if not pair[1].is_full]
    rows = [_by_channel(Proof.FULL, symptom, snapshot, full)] if full else []
    active = snapshot.consumers if snapshot.active is None else snapshot.active
    if flat and snapshot.blind is None and snapshot.ready and active:
        waits_s = min(lasting_s(snapshot.history.ready, bool), _undelivered_s(symptom, snapshot), trust.steady_s)
        rows.append(_by_channel(Proof.WORK_WAITS, symptom, snapshot, flat, waits_s))
    if opens:
        perhaps = _by_channel(Proof.PERHAPS, symptom, snapshot, opens)
        if not symptom.keeps_nothing:
            against = _say_open_window(perhaps.channels[0])
            perhaps = replace(perhaps, needs_s=symptom.for_s + MORE_S, against=against)
        rows.append(perhaps)
    return rows


def _by_channel(proof: Proof, symptom: Symptom, snapshot: QueueSnapshot, flat: Flat, most_s: float = math.inf) -> Row:
    """The row for the channels that have lasted long enough, those of the application's own users first; otherwise for all."""
    lasting = [pair for pair in flat if pair[0] >= symptom.for_s] or flat
    lasting = [pair for pair in lasting if not symptom.users or pair[1].user in symptom.users] or lasting
    lasted_s, channels = min(lasting[0][0], most_s), tuple(channel for _, channel in lasting)
    waits = Text("{count} message waits, and none is delivered", "{count} messages wait, and none is delivered")
    waiting = waits.fill(count=snapshot.ready or 0) if proof is Proof.WORK_WAITS else ""
    return Row(proof, join((_say_held_by(channels, lasted_s), waiting, _say_others(snapshot))), lasted_s, symptom.for_s, channels)


def _find_by_queue(symptom: Symptom, snapshot: QueueSnapshot, trust: Trust) -> list[Row]:
    """Where no channel shows who holds what: all that can be read of the queue stands still."""
    shown = any(channel.held for channel in snapshot.channels or ()) and snapshot.unseen is None and not snapshot.uncounted
    if not snapshot.unacked or snapshot.ready is None or snapshot.depth <= symptom.max_messages or shown:
        return []
    if snapshot.uncounted and snapshot.consumers:
        lasted_s = _unchanged_s(snapshot)
    else:
        lasted_s = min(lasting_s(snapshot.history.unacked, bool), _undelivered_s(symptom, snapshot), _unacked_s(snapshot))
    lasted_s = min(untouched_s(snapshot, lasted_s), trust.steady_s)
    held = Text(
        "{count} message is held, and nothing was delivered or acknowledged for {seconds} s",
        "{count} messages are held, and nothing was delivered or acknowledged for {seconds} s",
    )
    why = held.fill(count=snapshot.unacked, seconds=_shown_s(lasted_s))
    return [Row(Proof.PERHAPS, why, lasted_s, symptom.for_s + MORE_S, against=_say_unseen(snapshot))]


def _unchanged_s(snapshot: QueueSnapshot) -> float:
    """For how long ready and unacknowledged have been exactly what they are now, and nothing came.
    A consumer that finishes a message just as the next comes looks still where publishes can't be seen and nothing waits."""
    if snapshot.published is None and not snapshot.ready:
        return 0.0
    ready_s = lasting_s(snapshot.history.ready, lambda count: count == snapshot.ready)
    unacked_s = lasting_s(snapshot.history.unacked, lambda count: count == snapshot.unacked)
    came_s = math.inf if snapshot.published is None else still_s(snapshot.history.publishes)
    return min(came_s, ready_s, unacked_s)


def _find_growing(symptom: Symptom, deadline_s: float, snapshot: QueueSnapshot) -> list[Row]:
    """Without a limit a consumer is given all that comes, so neither its channel nor the queue ever stands still."""
    counts = drop_gaps(snapshot.history.unacked)
    begin = len(counts) - 1
    while begin > 0 and 0 < counts[begin - 1][1] <= counts[begin][1]:
        begin -= 1
    if not snapshot.unacked or snapshot.uncounted or len(counts) < 2 or counts[begin][1] == counts[-1][1]:
        return []
    needs_s = max(min(GROWS_TIMES * symptom.for_s, GROWS_S), deadline_s)
    lasted_s = min(counts[-1][0] - counts[begin][0], _unacked_s(snapshot))
    if not rises_in_both_halves(within(drop_gaps(snapshot.history.deliveries), min(lasted_s, needs_s))):
        return []
    grows = Text(
        "{count} message is held, and none was acknowledged for {seconds} s while more are delivered",
        "{count} messages are held, and none was acknowledged for {seconds} s while more are delivered",
    )
    why = grows.fill(count=snapshot.unacked, seconds=_shown_s(lasted_s))
    holders = tuple(channel for channel in snapshot.channels or () if channel.held)
    against = Text("large batches, and consumers that acknowledge many at once, look like this")
    return [Row(Proof.PERHAPS, why, lasted_s, needs_s, holders, against)]


def find_oldest(symptom: Symptom, snapshot: QueueSnapshot, trust: Trust) -> Row | None:
    """The oldest message, if it is older than it may be and somebody holds messages, whatever else moves."""
    age_s = snapshot.at - snapshot.head_at if snapshot.head_at is not None else 0.0
    if symptom.oldest_s is None or not snapshot.unacked or age_s <= symptom.oldest_s:
        return None
    why = Text("the oldest message is {age} old and still in the queue", age=duration(age_s))
    against = Text("publishers set the time of a message, and a long job looks like this")
    return Row(Proof.PERHAPS, why, trust.same_oldest_s, symptom.for_s + MORE_S, against=against)


def _weaken(row: Row, symptom: Symptom, snapshot: QueueSnapshot, trust: Trust, terms: Terms) -> Row:
    """The row with all that speaks against it."""
    proves = symptom.keeps_nothing and row.channels
    if not (proves or snapshot.acks or trust.acked or snapshot.uncounted):
        lock = Text("no message of this queue is known to have been acknowledged, ever: locks and leases look like this")
        needs_s = row.needs_s if row.proof is Proof.PERHAPS else row.needs_s + MORE_S
        row = replace(row, proof=Proof.PERHAPS, needs_s=needs_s, against=lock)
    row = _doubt_users(row, symptom, [channel.user for channel in row.channels] or snapshot.users)
    if terms.one_host and row.channels and not symptom.users:
        no_users = Text("without `users`, whoever may consume from the queue decides which host is restarted")
        row = _doubt(row, no_users)
    return row


def _doubt_users(row: Row, symptom: Symptom, users: Iterable[str]) -> Row:
    others = sorted(set(users).difference(symptom.users)) if symptom.users else []
    if not others:
        return row
    said = Text("it is consumed by {users}, not listed in `users`", users=join(others, COMMA))
    return _doubt(row, said)


def _doubt(row: Row, against: Phrase) -> Row:
    return replace(row, against=join((row.against, against)))


# --- messages that wait -------------------------------------------------------------------------------------------------------


def _find_waiting(symptom: Symptom, snapshot: QueueSnapshot, trust: Trust, terms: Terms) -> list[Row]:
    """The rows about waiting messages. What expires without a consumer is no movement."""
    if absent := is_absent(symptom, snapshot, seen=trust.consumed):
        waited_s = lasting_s(snapshot.history.ready, lambda count: count > symptom.max_messages)
        if snapshot.history.pushed and not snapshot.consumers:
            waited_s = min(waited_s, still_s(snapshot.history.pushed))
    elif snapshot.depth <= symptom.max_messages or snapshot.unacked != 0 or snapshot.consumers is None:
        return []
    else:
        waited_s = min(over_limit_s(symptom, snapshot), lasting_s(snapshot.history.unacked, lambda count: count == 0))
        # What was taken before the last delivery is none of what left without one.
        waited_s = min(waited_s, _undelivered_s(symptom, snapshot)) if snapshot.deliveries is not None else waited_s
    # A node that was lost looks like an expiry where the nodes can't be seen. Beside others' consumers earlier looks count.
    is_sure = absent if snapshot.consumers else bool(snapshot.nodes)
    waited_s = min(waited_s if is_sure else untouched_s(snapshot, waited_s), trust.steady_s)
    if snapshot.consumers and not absent:
        return _find_unserved(terms.with_deadline(symptom, StallKind.UNSERVED), snapshot, waited_s)
    return _find_gone(terms.with_deadline(symptom, StallKind.GONE), snapshot, trust, terms, waited_s)


def over_limit_s(symptom: Symptom, snapshot: QueueSnapshot) -> float:
    """For how long the depth has exceeded what may wait."""
    return lasting_s(snapshot.depth_samples, lambda depth: depth > symptom.max_messages)


def _find_unserved(symptom: Symptom, snapshot: QueueSnapshot, waited_s: float) -> list[Row]:
    channels = snapshot.channels or ()
    all_seen = snapshot.channels is not None and snapshot.unseen is None and not snapshot.uncounted
    # An absent counter means that nothing was delivered only where the channel of each consumer shows the same.
    if snapshot.deliveries is None and not (all_seen and channels and len(channels) == snapshot.consumers):
        return []
    unserved = Text(
        "{count} message waits, and the consumers were given nothing for {seconds} s",
        "{count} messages wait, and the consumers were given nothing for {seconds} s",
    )
    why = unserved.fill(count=snapshot.ready or 0, seconds=_shown_s(waited_s))
    row = Row(Proof.UNSERVED, why, waited_s, symptom.for_s, kind=StallKind.UNSERVED)
    elsewhere: Phrase = ""
    if any(channel.held for channel in channels):
        elsewhere = Text("its consumers hold messages of other queues, and one prefetch may be for all of them (global QoS)")
    elif not all_seen:
        elsewhere = _say_unseen(snapshot)
    if elsewhere:
        row = replace(row, proof=Proof.PERHAPS, needs_s=symptom.for_s + MORE_S, against=elsewhere)
    return [_doubt_users(row, symptom, snapshot.users)]


def _find_gone(symptom: Symptom, snapshot: QueueSnapshot, trust: Trust, terms: Terms, waited_s: float) -> list[Row]:
    waiting = snapshot.ready or 0
    if was_consumed(snapshot, trust):
        gone = Text(
            "{count} message has waited for {seconds} s, and the consumer is gone",
            "{count} messages have waited for {seconds} s, and the consumer is gone",
        )
        lasted_s = min(waited_s, trust.gone_s)
        why = gone.fill(count=waiting, seconds=_shown_s(lasted_s))
        row = Row(Proof.GONE, why, lasted_s, symptom.for_s, kind=StallKind.GONE)
        return [replace(row, against=_doubt_gone(symptom, snapshot, terms, lasted_s))]
    if not is_young(snapshot) or trust.unconsumed:
        return []
    nobody = Text(
        "{count} message has waited for {seconds} s, and there is no consumer",
        "{count} messages have waited for {seconds} s, and there is no consumer",
    )
    young = Text("RabbitMQ started {age} ago, and the queue may never have had a consumer: dead-letter queues look like this")
    why, against = nobody.fill(count=waiting, seconds=_shown_s(waited_s)), young.fill(age=duration(snapshot.nodes_up_s or 0.0))
    return [Row(Proof.PERHAPS, why, waited_s, symptom.for_s + MORE_S, against=against, kind=StallKind.GONE)]


def _doubt_gone(symptom: Symptom, snapshot: QueueSnapshot, terms: Terms, lasted_s: float) -> Phrase:
    if not terms.min_consumers:
        return Text(
            "no consumer is required (`min_consumers: 0`): applications scaled to zero and nightly workers look like this"
        )
    if any("${" in template for template in symptom.keys.values()) and not terms.has_seen(symptom.users):
        return Text("the alert names the queue, and no consumer of `users` was ever seen there: it may be somebody else's")
    if snapshot.unacked and not snapshot.consumers and lasting_s(snapshot.history.unacked, bool) >= lasted_s:
        return _say_unseen(snapshot)
    return ""


def was_consumed(snapshot: QueueSnapshot, trust: Trust) -> bool:
    """Whether the queue ever had a consumer: absent counters don't show that it had none."""
    remembered = trust.consumed or trust.acked
    return bool(remembered or snapshot.consumed or snapshot.deliveries or any(count for _, count in snapshot.history.unacked))


def is_young(snapshot: QueueSnapshot) -> bool:
    """Whether the broker's counters are too young to show that the queue never had a consumer."""
    return snapshot.nodes_up_s is not None and snapshot.nodes_up_s < YOUNG_S


# --- in words -----------------------------------------------------------------------------------------------------------------


def _shown_s(seconds: float) -> int:
    return round(min(seconds, 1e6))


def _say_held_by(channels: tuple[Channel, ...], lasted_s: float) -> Phrase:
    names = tuple(dict.fromkeys(channel.name or channel.host or channel.id for channel in channels))
    text = Text("held by {names} for {seconds} s: {count} message", "held by {names} for {seconds} s: {count} messages")
    count = sum(channel.held for channel in channels)
    return text.fill(names=join(names[:3], COMMA), seconds=_shown_s(lasted_s), count=count)


def _say_others(snapshot: QueueSnapshot) -> Phrase:
    """How many other consumers work, if any does."""
    idle = [channel for channel in snapshot.channels or () if channel.held and still_s(channel.work) >= RECENT_S]
    moves = rise_within(snapshot.ack_samples, RECENT_S)
    others = (snapshot.consumers or 0) - len(idle) if moves else 0
    return Text("{count} other consumer works", "{count} other consumers work", count=others) if others > 0 else ""


def _say_open_window(channel: Channel) -> Phrase:
    """That the application could take more."""
    holds = Text("it holds {held}, and may be able to take more: Celery's countdowns, batches and delays look like this")
    return holds.fill(held=channel.sure)


def _say_unseen(snapshot: QueueSnapshot) -> Phrase:
    """Why no channel shows who holds what."""
    if snapshot.unseen is not None:
        return Text("its consumers' channels can't be seen: {why}", why=snapshot.unseen.why)
    if snapshot.consumers and snapshot.uncounted:
        return Text("RabbitMQ counts no work of AMQP 1.0 and MQTT consumers")
    if snapshot.consumers and snapshot.channels is None:
        return Text("its consumers' channels can't be seen: RabbitMQ's user lacks the tag `monitoring`")
    return Text("no consumer's channel holds them: they were taken by basic.get, or by a consumer that was cancelled")
