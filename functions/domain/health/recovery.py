"""Says when a queue is well: after a restart, a question, a hold or an escalation, by figures from after it alone.
Live totals count immediately. The rest of RabbitMQ's figures are up to 9 s late: counters count from SETTLED_S on
(tests/recordings/rabbitmq/README.md)."""

import math

from msgspec import Struct
from msgspec.structs import replace

from functions.domain.health.looks import note_snapshot
from functions.domain.health.rows import NOTHING_LEARNED, Terms, Trust, find_held, find_rows, terms_of
from functions.domain.health.samples import (
    RECENT_S,
    SETTLED_S,
    drop_gaps,
    has_risen,
    rise_within,
    rises_in_both_halves,
    spacing_s,
    still_s,
    within,
)
from functions.domain.model.codes import Verdict
from functions.domain.model.incidents import AfterRestart, QueueState
from functions.domain.model.observations import Channel, QueueSnapshot, QueueStalls, Reading, StallKind, Statement, Unknown
from functions.domain.model.runbooks import Runbook, Symptom
from functions.runtime.text import Phrase, Text


class Since(Struct, frozen=True):
    """The time of a check. The runner's clock, `ahead_s` ahead of ours, is known to the second."""

    age_s: float  # seconds since the restart ended, people were told, or the alert ended: older figures show nothing
    now: float
    ahead_s: float = 0.0
    error_s: float = 0.0  # by how much the time may be wrong: two looks have to be so much further apart
    confirmed: bool = False  # a person approved the restart: what is held the same way again is not kept on purpose
    learned: QueueStalls | None = None  # what is known of the queue: for as long, it may stand still after a restart, too


def be_patient(runbook: Runbook, learned: QueueStalls | None) -> Runbook:
    """The runbook for a queue that may hold messages for as long as was seen, and that may stand still for the longest of all."""
    symptom, stalls = runbook.symptom, learned or NOTHING_LEARNED
    deadlines_s = {kind: symptom.bound_s(stalls.restarts_s(kind)) for kind in StallKind}
    longest_s = max(deadlines_s.values())
    if longest_s <= symptom.for_s:
        return runbook
    verify = replace(runbook.verify, patience_s=max(runbook.verify.patience_s, longest_s))
    return replace(runbook, symptom=replace(symptom, for_s=deadlines_s[StallKind.HELD]), verify=verify)


def judge_recovery(runbook: Runbook, snapshot: Reading, state: QueueState, since: Since) -> QueueState:
    """Check the queue after the restart ended, and return it with its new verdict.
    It counts at the time of the check, however long the process took to get here. Checks are timed by the runner's clock, since
    two checks may run on machines whose clocks differ."""
    if isinstance(snapshot, Unknown):
        return replace(state, after=replace(state.after, verdict=Verdict.UNKNOWN, well_at=None, proven=False))
    at, age_s = float(round(snapshot.at + since.ahead_s)), since.age_s - (since.now - snapshot.at)
    if age_s <= 0:
        return state
    well_by, runbook = runbook, be_patient(runbook, since.learned)
    if isinstance(snapshot, Statement):
        return _judge_statement(runbook, snapshot, state, since, age_s)
    state = _note_polled(state, snapshot)
    state = replace(state, after=_note_movement(runbook.symptom, state, snapshot, age_s, at))
    well = is_well(well_by, snapshot, state, age_s, since.learned)
    after = _note_well(state.after, at, runbook.verify.every_s + since.error_s, well=well)
    after = replace(after, survivor=_find_survivor(state, snapshot, age_s, at))
    held_again, same_again = (0, False) if well else find_held_again(runbook, snapshot, replace(state, after=after), since, age_s)
    after = replace(after, held_again=held_again, same_again=same_again)
    since_s = min(age_s, snapshot.at - state.joined_at)
    after = replace(after, verdict=_verdict(runbook, after, well=well, since_s=since_s, at=at))
    gone, consumers = state.may_be_gone or _may_be_gone(state.before, snapshot), _count_consumers(runbook, state, snapshot, age_s)
    return replace(note_snapshot(state, snapshot), after=after, consumers=consumers, may_be_gone=gone)


def _judge_statement(runbook: Runbook, said: Statement, state: QueueState, since: Since, age_s: float) -> QueueState:
    """A condition counts once all that it looks back on is after the restart, and twice once none of it is the same."""
    after, for_s, at = state.after, runbook.symptom.for_s, float(round(said.at + since.ahead_s))
    state = note_snapshot(state, said)
    well = is_well(runbook, said, state, age_s)
    after = _note_well(after, at, max(runbook.verify.every_s, said.range_s) + since.error_s, well=well)
    patience_s = max(runbook.verify.patience_s, for_s + said.range_s)
    lasts = not said.recovered and (said.stuck_s or 0.0) >= for_s
    stuck = lasts and min(age_s, said.at - state.joined_at) >= patience_s
    verdict = Verdict.RECOVERED if well else Verdict.STUCK if stuck else None
    depth = said.figures.depth if said.figures else None
    return replace(state, after=replace(after, verdict=verdict, depth=depth))


def note_well(runbook: Runbook, reading: Reading, state: QueueState, since: Since) -> QueueState:
    """Look at a queue of which people were told, and for which nothing was restarted since: two looks that find it well, `every`
    apart, are its end. Its figures are noted for people, too."""
    if isinstance(reading, Unknown):
        return replace(state, after=replace(state.after, well_at=None, proven=False))
    state = note_snapshot(state, reading)
    range_s = reading.range_s if isinstance(reading, Statement) else 0.0
    state = _note_polled(state, reading) if isinstance(reading, QueueSnapshot) else state
    well = is_well(runbook, reading, state, since.age_s - (since.now - reading.at), since.learned)
    at = float(round(reading.at + since.ahead_s))
    needs_s = max(runbook.verify.every_s, range_s) + since.error_s
    return replace(state, after=_note_well(state.after, at, needs_s, well=well))


def _note_polled(state: QueueState, snapshot: QueueSnapshot) -> QueueState:
    """If the broker was restarted, its counters show only now that messages are taken by basic.get."""
    polled = state.looks.polled or (snapshot.polled and not state.looks.consumed)
    return replace(state, looks=replace(state.looks, polled=polled))


def _note_well(after: AfterRestart, at: float, needs_s: float, *, well: bool) -> AfterRestart:
    """Record whether this check found it healthy, and whether it has been so for as long as it takes. A queue that is well has
    moved: `patience` begins anew."""
    well_at = (after.well_at if after.well_at is not None else at) if well else None
    moved_at = at if well else after.moved_at
    proven = well_at is not None and at - well_at >= needs_s
    return replace(after, well_at=well_at, proven=proven, looked_at=at, moved_at=moved_at)


def _note_movement(symptom: Symptom, state: QueueState, snapshot: QueueSnapshot, age_s: float, at: float) -> AfterRestart:
    """Record movement between the previous check and this one, dated at the previous check."""
    after, own = state.after, _find_own(symptom, snapshot, state)
    done = snapshot.acks if own is None else sum(channel.finished for channel in own)
    # A node that sends no statistics takes its counts out of the sum. They come back with it, and nobody has acknowledged them.
    acks = done if age_s >= SETTLED_S and snapshot.blind is None else None
    moved_at = after.moved_at
    if (own is None and has_risen(snapshot.depth, after.depth)) or has_risen(after.acks, acks):
        moved_at = at if after.looked_at is None else after.looked_at
    return replace(after, depth=snapshot.depth, acks=acks if acks is not None else after.acks, moved_at=moved_at)


def _verdict(runbook: Runbook, after: AfterRestart, *, well: bool, since_s: float, at: float) -> Verdict | None:
    if well:
        return Verdict.RECOVERED
    # Before SETTLED_S nothing shows whether the connections are those of before the restart.
    patience_s = max(runbook.verify.patience_s, SETTLED_S)
    if after.held_again or (after.survivor and since_s >= patience_s):
        return Verdict.STUCK
    # It moved between the check at `moved_at` and the next, one interval later.
    quiet_s = since_s if after.moved_at is None else min(since_s, at - after.moved_at - runbook.verify.every_s)
    if quiet_s >= patience_s:
        return Verdict.STUCK
    return Verdict.DRAINING if after.moved_at is not None else None


def is_well(runbook: Runbook, reading: Reading, state: QueueState, age_s: float, learned: QueueStalls | None = None) -> bool:
    """Whether this look finds the queue well by its own runbook, `age_s` after whatever should have ended it.

    No row of the table shows, likely ones included; what stood still has let go of what it held; and either the queue is empty
    and has consumers, or messages are acknowledged through all of `for`. Where `users` is set, only their consumers and channels
    count: who else takes messages neither proves nor disproves anything of the application. What can't be read is not well."""
    if isinstance(reading, Statement):
        return reading.recovered and reading.stuck_s is None and age_s >= reading.range_s
    if not isinstance(reading, QueueSnapshot) or age_s <= 0:
        return False
    if any(known.is_unmoved(channel) for known in state.held_by for channel in reading.channels or () if channel.held):
        return False
    # A restart that may have cost messages is not judged before their returns are counted.
    may_lose = state.before is not None and state.before.returns is not None
    same_oldest = bool(reading.depth) and _has_same_oldest(runbook.symptom, state.before, reading.head_at)
    present = _count_consumers(runbook, state, reading, age_s)
    if same_oldest or (may_lose and age_s < SETTLED_S) or not are_enough(runbook, state, present):
        return False
    symptom, terms, trust = runbook.symptom, terms_of(runbook, learned), Trust(unsure_s=math.inf, consumed=True, acked=True)
    rows = [(row.lasted_s, terms.with_deadline(symptom, row.kind).for_s) for row in find_rows(symptom, reading, trust, terms)]
    lasts = max((min(lasted_s, age_s) / for_s for lasted_s, for_s in rows), default=0.0)
    if reading.depth <= runbook.recovered.max_messages:
        return lasts < 1.0
    held = be_patient(runbook, learned).symptom
    return age_s >= held.for_s + SETTLED_S and lasts < 0.5 and _keeps_moving(held, reading, state)


def _find_own(symptom: Symptom, snapshot: QueueSnapshot, state: QueueState) -> list[Channel] | None:
    """The channels of the application's users; None where they can't be told from others', so that the queue's totals count."""
    if not symptom.users or snapshot.channels is None or state.looks.polled:
        return None
    return [channel for channel in snapshot.channels if channel.user in symptom.users]


def _keeps_moving(symptom: Symptom, snapshot: QueueSnapshot, state: QueueState) -> bool:
    """Whether messages were acknowledged through all of `for`, and nobody holds any without work: a backlog may stay."""
    if snapshot.channels is None or snapshot.blind is not None or snapshot.unseen is not None:
        return False
    own = _find_own(symptom, snapshot, state)
    # A channel that only rejects has no acknowledgements.
    counters = [snapshot.ack_samples] if own is None else [channel.acks or channel.work for channel in own]
    moves = any(rises_in_both_halves(within(drop_gaps(counter), symptom.for_s)) for counter in counters)
    holding = (channel for channel in snapshot.channels if channel.is_holding)
    return moves and all(still_s(channel.work) < symptom.for_s / 2 for channel in holding)


def are_enough(runbook: Runbook, state: QueueState, consumers: int | None) -> bool:
    """Whether there are as many consumers as there should be: none of a queue from which the application takes by basic.get."""
    return (consumers or 0) >= (0 if state.looks.polled else runbook.recovered.min_consumers)


def is_moving(runbook: Runbook, state: QueueState, at: float, learned: QueueStalls | None = None) -> bool:
    """Whether it moved recently, with consumers present. `at` is on the runner's clock."""
    moved_at = state.after.moved_at
    moves = moved_at is not None and at - moved_at < be_patient(runbook, learned).verify.patience_s
    return (
        are_enough(runbook, state, state.consumers)
        and moves
        and not _has_same_oldest(runbook.symptom, state.before, state.head_at)
    )


def _has_same_oldest(symptom: Symptom, before: QueueSnapshot | None, head_at: float | None) -> bool:
    """Whether a message that was older than it may be before the restart is still the oldest."""
    if symptom.oldest_s is None or before is None or before.head_at is None:
        return False
    return head_at == before.head_at and before.at - before.head_at > symptom.oldest_s


def find_held_again(runbook: Runbook, snapshot: QueueSnapshot, state: QueueState, since: Since, age_s: float) -> tuple[int, bool]:
    """How many consumers have held a message for all of `for` since the restart, and whether one of these messages had been
    delivered before it.
    Judged by channels where they can be seen, otherwise by the queue: redeliveries rose, but no longer do, as they would in a
    loop, and nothing was acknowledged for SETTLED_S more."""
    for_s, before = runbook.symptom.for_s, state.before
    if snapshot.channels is not None:
        # Before SETTLED_S a connection from before the restart can't be told from a new one.
        counts = age_s >= max(for_s, SETTLED_S)
        hanging = find_hanging(runbook.symptom, snapshot, confirmed=since.confirmed) if counts else []
        held = [channel for channel in hanging if channel.id != state.after.survivor]
        return len(held), any(map(_was_redelivered, held))
    if before is None or None in (before.redeliveries, snapshot.redeliveries, before.acks, snapshot.acks) or not snapshot.unacked:
        return 0, False
    rises = rise_within(snapshot.history.redeliveries, for_s - SETTLED_S)
    returned = (snapshot.redeliveries or 0) > (before.redeliveries or 0) and not rises
    same = age_s >= for_s + SETTLED_S and returned and snapshot.acks == before.acks
    return int(same), same


def find_hanging(symptom: Symptom, snapshot: QueueSnapshot, *, confirmed: bool) -> list[Channel]:
    """The channels that are proved to hang with messages. `confirmed`: also those that are only likely to."""
    rows = find_held(symptom, snapshot, Trust(unsure_s=math.inf, acked=True), Terms())
    proved = (row for row in rows if row.lasted_s >= row.needs_s and not row.against)
    hold = (row for row in rows if row.lasted_s >= symptom.for_s) if confirmed else proved
    return list({channel.id: channel for row in hold for channel in row.channels}.values())


def _find_survivor(state: QueueState, snapshot: QueueSnapshot, age_s: float, at: float) -> str:
    """A channel that held messages before the restart and has done nothing since: the broker still has its connection."""
    if age_s < SETTLED_S:
        return ""
    connected_at = {channel.id: channel.connected_at for channel in state.held_by}
    for channel in snapshot.channels or ():
        if channel.id not in connected_at or not channel.held:
            continue
        before, now = connected_at[channel.id], channel.connected_at
        if before != now and None not in (before, now):
            continue  # another connection of the same name
        # Samples may not go back to the restart. An earlier check did, or it is the same connection for certain.
        work, needs_s = drop_gaps(channel.work), age_s
        if channel.id == state.after.survivor:
            needs_s = min(needs_s, at - (state.after.looked_at or 0.0))
        if before is not None and before == now and work:
            needs_s = min(needs_s, work[-1][0] - work[0][0] + SETTLED_S)
        if still_s(work) >= max(needs_s - SETTLED_S, RECENT_S):
            return channel.id
    return ""


def say_survivor(state: QueueState) -> Phrase:
    """That the broker still has the connection, and how to close it."""
    connection = state.after.survivor.rpartition(" (")[0]
    text = Text(
        "the restart did not end the connection {connection}: RabbitMQ still has it, and keeps its messages for it; find its pid "
        "with `rabbitmqctl list_connections pid name`, and close it with `rabbitmqctl close_connection PID hung`"
    )
    return text.fill(connection=connection or state.after.survivor)


def find_survivor(queues: tuple[QueueState, ...]) -> QueueState | None:
    """The first queue whose messages are still held by a connection from before the restart."""
    return next((state for state in queues if state.after.survivor), None)


def find_same_again(queues: tuple[QueueState, ...]) -> QueueState | None:
    """The first queue that hangs on the same message again."""
    return next((state for state in queues if state.after.same_again), None)


SAME_AGAIN = Text("it hangs on the same message again, so another restart would not help")


def _was_redelivered(channel: Channel) -> bool:
    """Whether the newest messages that the channel received may be redeliveries. A new channel gets them first, so it holds none
    once it has finished as many (a message moves `work` twice); one that worked before may have finished others before it.
    """
    again, work = drop_gaps(channel.redeliveries), drop_gaps(channel.work)
    if not again or not work or not again[-1][1] or still_s(again) > still_s(work) + spacing_s(again):
        return False
    at = next((at for at, count in reversed(again) if count != again[-1][1]), -math.inf)
    begun = next((count for when, count in reversed(work) if when <= at), work[0][1])
    return begun > 0 or work[-1][1] < 2 * (channel.held + again[-1][1])


def _count_consumers(runbook: Runbook, state: QueueState, snapshot: QueueSnapshot, age_s: float) -> int | None:
    """The number of consumers of `users` that certainly exist, without `users` of all; None if it can't be known. Before
    SETTLED_S those of before a restart may still be shown."""
    if age_s < SETTLED_S:
        return None
    if runbook.symptom.users and not snapshot.uncounted:  # consumers by AMQP 1.0 and MQTT show no user
        owners = snapshot.owners
        return None if owners is None else sum(owner in runbook.symptom.users for owner in owners)
    present = len(snapshot.consumer_ids) if snapshot.consumer_ids is not None else snapshot.consumers
    # Consumers can't be seen, but somebody took messages after the restart ended.
    return 1 if present is None and state.after.moved_at is not None else present


def _may_be_gone(before: QueueSnapshot | None, snapshot: QueueSnapshot) -> bool:
    """Whether RabbitMQ may have dropped or dead-lettered what was held: it came back as often as the delivery limit allows.
    Workers that stop one after the other hand on what they held, so one restart may return a message once for each of them."""
    if before is None or before.returns is None:
        return False
    returned, left = (snapshot.redeliveries or 0) - (before.redeliveries or 0), before.returns.left
    # Where one restart can't use up what is left, it takes a loop of crashes, in which the others that were held return, too.
    others = (before.unacked or 1) - 1 if left >= max(before.consumers or 1, 1) else 0
    return returned >= left + others
