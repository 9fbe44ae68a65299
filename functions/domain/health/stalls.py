"""Learns how long a queue stands still while its application is healthy: the progress deadline rests on it (docs/rabbitmq.md).
Only what ended by itself teaches: not what a restart, a new connection, a broker or a purge ended."""

from collections.abc import Iterable
from hashlib import blake2s

from msgspec.structs import replace

from functions.domain.health.rows import Row, Trust, find_rows, terms_of
from functions.domain.health.samples import RECENT_S, drop_gaps, has_risen, rise_within, steps_of
from functions.domain.model.alerts import QueueRef
from functions.domain.model.observations import (
    Channel,
    QueueSnapshot,
    QueueStalls,
    Reading,
    Samples,
    Stall,
    StallKind,
    Standstill,
    Statement,
)
from functions.domain.model.runbooks import Runbook, Symptom
from functions.domain.texts.words import duration
from functions.runtime.text import COMMA, Phrase, Text, join

LOOK_S = 540.0  # RabbitMQ keeps samples of 5 s for 600 s, so what ended between two looks is known to 10 s
KNOWN_TO_S = 10.0
KEPT, KEPT_S = 16, 90 * 86400.0
LATELY = 6  # samples
LATE_S = 60.0  # that a look may come after it was due


def add_stall(learned: QueueStalls, stall: Stall) -> QueueStalls:
    """Add it. Stalls that overlap count once, as the longest: one cause holds several channels. Of one after the other, without a
    pause, the second may seem to begin before the first has ended."""
    from_s, until_s = stall.began_at + KNOWN_TO_S, stall.ended_at - KNOWN_TO_S
    same = [known for known in learned.stalls if known.kind is stall.kind and stall.ended_at - known.ended_at < KEPT_S]
    others = tuple(known for known in learned.stalls if known.kind is not stall.kind)
    overlaps = [known for known in same if known.began_at < until_s and from_s < known.ended_at]
    confirmed = stall.confirmed or any(known.confirmed for known in overlaps)
    longest = replace(max([*overlaps, stall], key=lambda known: known.lasted_s), confirmed=confirmed)
    kept = sorted([longest, *(known for known in same if known not in overlaps)], key=lambda known: -known.lasted_s)
    doubted = tuple(kind for kind in learned.doubted if kind is not stall.kind)
    return replace(learned, stalls=(*others, *kept[:KEPT]), doubted=doubted)


# --- a standstill from its first look to its end ------------------------------------------------------------------------------


def find_standstills(queue: QueueRef, runbook: Runbook, reading: Reading, trust: Trust) -> list[Standstill]:
    """What has stood still for `for` or longer, one of each kind."""
    symptom = runbook.symptom
    if isinstance(reading, Statement):
        if reading.stuck_s is None or reading.stuck_s < symptom.for_s:
            return []
        return [Standstill(queue, runbook.name, StallKind.HELD, reading.at - reading.stuck_s, reading.at + LOOK_S, reading.at)]
    if not isinstance(reading, QueueSnapshot):
        return []
    rows = find_rows(symptom, reading, trust, terms_of(runbook))
    rows = [row for row in rows if row.lasted_s >= symptom.for_s and _is_own(row, symptom, reading)]
    first = {row.kind: row for row in reversed(rows)}
    return [_begin(queue, runbook, row, reading) for row in first.values()]


def _is_own(row: Row, symptom: Symptom, snapshot: QueueSnapshot) -> bool:
    """Whether it is about the application's own consumers. What a channel holds is shown by that channel alone."""
    if not row.channels:
        return row.kind is not StallKind.HELD and _are_own(symptom.users, snapshot)
    return not symptom.users or row.channels[0].user in symptom.users


def _are_own(users: tuple[str, ...], snapshot: QueueSnapshot) -> bool:
    """Whether only the application's users consume it: then its counters say what they do."""
    return not users or (snapshot.owners is not None and set(users).issuperset(snapshot.owners))


def _begin(queue: QueueRef, runbook: Runbook, row: Row, snapshot: QueueSnapshot) -> Standstill:
    began = Standstill(queue, runbook.name, row.kind, snapshot.at - row.lasted_s, snapshot.at + LOOK_S, snapshot.at)
    if row.channels:
        channel = row.channels[0]
        known = replace(began, channel=channel.id, connected_at=channel.connected_at, tags=channel.tags)
        return replace(known, work=_count_work(channel), done=channel.finished, redeliveries=channel.returned)
    acks = snapshot.acks or 0
    left = snapshot.published - snapshot.depth - acks if snapshot.published is not None else None
    who, again = _digest(snapshot), snapshot.redeliveries
    return replace(began, work=acks, done=acks, consumers=who, redeliveries=again, left=left)


def _count_work(channel: Channel) -> int:
    return channel.work[-1][1] if channel.work else 0


def _digest(snapshot: QueueSnapshot) -> str:
    ids = sorted(snapshot.consumer_ids) if snapshot.consumer_ids is not None else [str(snapshot.consumers)]
    return blake2s("\n".join(ids).encode(), digest_size=8).hexdigest()


def look_again(standstill: Standstill, reading: Reading, users: tuple[str, ...] = ()) -> Standstill | None:
    """The standstill after this reading, with its end if it has ended; None if it ended in a way that teaches nothing.
    `users`: those of the application, if they are known."""
    after = _look(standstill, reading, users) if standstill.ended_at is None else standstill
    return None if after is not None and after.ended_at is not None and _is_miscounted(after, reading) else after


def _look(standstill: Standstill, reading: Reading, users: tuple[str, ...]) -> Standstill | None:
    if isinstance(reading, Statement):
        return _look_at_statement(standstill, reading)
    if not isinstance(reading, QueueSnapshot) or reading.blind is not None:
        return standstill
    if reading.nodes_up_s is not None and reading.nodes_up_s < reading.at - standstill.began_at:
        return None
    return _look_at_channel(standstill, reading) if standstill.channel else _look_at_queue(standstill, reading, users)


def _look_at_statement(standstill: Standstill, said: Statement) -> Standstill | None:
    """It ended once `recovered` held. If `stuck` began anew meanwhile, the end was not seen."""
    if said.recovered and said.free_s is not None:
        is_known = said.at - standstill.seen_at <= LOOK_S + LATE_S
        return replace(standstill, ended_at=said.at - said.free_s if is_known else standstill.seen_at)
    if said.stuck_s is None:
        return standstill
    begun_anew = said.stuck_s < min(said.at - standstill.began_at - said.range_s, LOOK_S)
    return None if begun_anew else replace(standstill, seen_at=said.at)


def _look_at_channel(standstill: Standstill, snapshot: QueueSnapshot) -> Standstill | None:
    """It ended once the same consumer itself finished a message that came to it for the first time: a hang ends by a new
    connection, a reopened channel (RabbitMQ's `consumer_timeout` on 3.x and 4.0), a new consumer on it (on 4.3), or others' work.
    """
    channel = next((channel for channel in snapshot.channels or () if channel.id == standstill.channel), None)
    if channel is None:
        return standstill if snapshot.channels is None or snapshot.unseen is not None else None
    if None not in (channel.connected_at, standstill.connected_at) and channel.connected_at != standstill.connected_at:
        return None
    reopened = channel.tags != standstill.tags or _count_work(channel) < standstill.work
    if reopened or has_risen(standstill.redeliveries, channel.returned):
        return None
    if _count_work(channel) == standstill.work:
        return replace(standstill, seen_at=snapshot.at) if channel.held else _end_by_reject(standstill, snapshot)
    # What it holds may be older than its counters: a message that was delivered just now looks like one that is done.
    if channel.finished - rise_within(channel.work, RECENT_S) <= standstill.done:
        return replace(standstill, due=min(standstill.due, snapshot.at + 2 * RECENT_S))
    return replace(standstill, ended_at=_find_end(standstill, channel.work, snapshot.at))


def _end_by_reject(standstill: Standstill, snapshot: QueueSnapshot) -> Standstill | None:
    """A reject moves no counter of the channel: the queue shows when it was, if nobody else holds a message."""
    samples = drop_gaps(snapshot.history.unacked)
    held = [at for at, count in samples if count]
    is_known = bool(held) and not snapshot.unacked
    return replace(standstill, ended_at=snapshot.at - (samples[-1][0] - held[-1])) if is_known else None


def _look_at_queue(standstill: Standstill, snapshot: QueueSnapshot, users: tuple[str, ...]) -> Standstill | None:
    """It ended once a message was acknowledged, and the consumers had stayed; or had come back, if they were gone."""
    gone, acks = standstill.kind is StallKind.GONE, snapshot.acks or 0
    changed = _digest(snapshot) != standstill.consumers or has_risen(standstill.redeliveries, snapshot.redeliveries)
    if (changed and not gone) or acks < standstill.done:  # which begins anew with the broker
        return None
    if acks == standstill.done:
        return replace(standstill, seen_at=snapshot.at)
    ended = replace(standstill, ended_at=_find_end(standstill, snapshot.ack_samples, snapshot.at))
    return ended if _are_own(users, snapshot) else None


def _is_miscounted(standstill: Standstill, reading: Reading) -> bool:
    """Whether more left the queue since it began than was acknowledged (a purge, an expiry), or less (a node's counters came
    back). Both counters are up to two samples late, so as much as moves in that time doesn't count."""
    if not isinstance(reading, QueueSnapshot) or standstill.left is None or reading.published is None:
        return False
    counters = (reading.history.publishes, reading.ack_samples)
    steps = [step for counter in counters for step in steps_of(drop_gaps(counter)[-LATELY:])]
    left = reading.published - reading.depth - (reading.acks or 0)
    return abs(left - standstill.left) > 4 * max(steps, default=0)


def _find_end(standstill: Standstill, counter: Samples, now: float) -> float:
    """When the counter left its value; the last time that it was seen to stand where no sample shows that."""
    samples = drop_gaps(counter)
    moved = [at for at, value in samples if value > standstill.work]
    if not moved:
        return now
    return now - (samples[-1][0] - moved[0]) if len(moved) < len(samples) else standstill.seen_at


def say_stalls(symptom: Symptom, learned: QueueStalls, kinds: Iterable[StallKind] = tuple(StallKind)) -> Phrase:
    """How often and how long it stood still and went on, and when it is called stuck; empty if nothing was seen."""
    said: list[Phrase] = []
    for kind in kinds:
        if stalls := learned.of_kind(kind):
            text = Text(
                "it stood still {count} time, for up to {longest}, and went on; people are asked after {asks}",
                "it stood still {count} times, for up to {longest}, and went on; people are asked after {asks}",
            )
            asks, restarts_s = duration(symptom.bound_s(learned.asks_s(kind))), symptom.bound_s(learned.restarts_s(kind))
            text = text.fill(count=len(stalls), longest=duration(stalls[0].lasted_s), asks=asks)
            restarts = Text("it is restarted after {restarts}", restarts=duration(restarts_s))
            said.append(join((text, restarts if learned.restarts_s(kind) <= symptom.for_at_most_s else ""), COMMA))
    return join(said)


def end_of(standstill: Standstill) -> Stall | None:
    """What a standstill that has ended teaches."""
    if standstill.ended_at is None:
        return None
    lasted_s = standstill.ended_at - standstill.began_at
    return Stall(standstill.kind, standstill.ended_at, lasted_s, standstill.confirmed)
