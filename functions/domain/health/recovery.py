"""Judges a queue after a restart, using only figures from after the restart's end.
Live totals count immediately. The rest of RabbitMQ's figures are up to 9 s late: counters count from SETTLED_S on
(tests/recordings/rabbitmq/README.md)."""

import math

from msgspec import Struct
from msgspec.structs import replace

from functions.domain.health.looks import note_snapshot
from functions.domain.health.rows import NOTHING_LEARNED, Terms, Trust, find_held
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
from functions.domain.model.runbooks import Recovered, Runbook, Symptom
from functions.runtime.text import Phrase, Text


class Since(Struct, frozen=True):
    """The time of a check. The runner's clock, `ahead_s` ahead of ours, is known to the second."""

    age_s: float  # seconds since the restart ended
    now: float
    ahead_s: float = 0.0
    confirmed: bool = False  # a person approved the restart: what is held the same way again is not kept on purpose


def be_patient(runbook: Runbook, learned: QueueStalls | None) -> Runbook:
    """The runbook for a queue of which stalls are known: after a restart, too, it may stand still for as long."""
    symptom, stalls = runbook.symptom, learned or NOTHING_LEARNED
    deadlines_s = {kind: symptom.bound_s(stalls.deadline_s(kind)) for kind in StallKind}
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
    if isinstance(snapshot, Statement):
        return _judge_statement(runbook, snapshot, state, at, age_s)
    # If the broker was restarted, its counters show only now that messages are taken by basic.get.
    polled = state.looks.polled or (snapshot.polled and not state.looks.consumed)
    state = replace(state, looks=replace(state.looks, polled=polled))
    after = _note_movement(state, snapshot, age_s, at)
    consumers = _count_consumers(snapshot, after, age_s)
    # A restart that may have cost messages is not judged before their returns are counted.
    may_lose = state.before is not None and state.before.returns is not None
    well = is_well(runbook.recovered, snapshot.depth, consumers, polled=polled)
    well = well or (age_s >= runbook.symptom.for_s + SETTLED_S and keeps_moving(runbook, snapshot))
    same_oldest = bool(snapshot.depth) and _has_same_oldest(runbook.symptom, state.before, snapshot.head_at)
    well = well and not same_oldest and (age_s >= SETTLED_S or not may_lose)
    after = _note_well(after, at, runbook.verify.every_s, well=well)
    after = replace(after, survivor=_find_survivor(state, snapshot, age_s, at))
    held_again, same_again = (0, False) if well else find_held_again(runbook, snapshot, replace(state, after=after), since, age_s)
    after = replace(after, held_again=held_again, same_again=same_again)
    since_s = min(age_s, snapshot.at - state.joined_at)
    after = replace(after, verdict=_verdict(runbook, after, well=well, since_s=since_s, at=at))
    gone = state.may_be_gone or _may_be_gone(state.before, snapshot)
    return replace(note_snapshot(state, snapshot), after=after, consumers=consumers, may_be_gone=gone)


def _judge_statement(runbook: Runbook, said: Statement, state: QueueState, at: float, age_s: float) -> QueueState:
    """A condition counts once all that it looks back on is after the restart, and twice once none of it is the same."""
    after, for_s = state.after, runbook.symptom.for_s
    state = note_snapshot(state, said)
    well = looks_well(runbook, said) and age_s >= said.range_s
    if well and after.well_at is not None and at - after.well_at < said.range_s:
        return state
    after = _note_well(after, at, runbook.verify.every_s, well=well)
    patience_s = max(runbook.verify.patience_s, for_s + said.range_s)
    lasts = not said.recovered and (said.stuck_s or 0.0) >= for_s
    stuck = lasts and min(age_s, said.at - state.joined_at) >= patience_s
    verdict = Verdict.RECOVERED if well else Verdict.STUCK if stuck else None
    depth = said.figures.depth if said.figures else None
    return replace(state, after=replace(after, verdict=verdict, depth=depth))


def _note_well(after: AfterRestart, at: float, needs_s: float, *, well: bool) -> AfterRestart:
    """Record whether this check found it healthy, and whether it has been so for as long as it takes."""
    well_at = (after.well_at if after.well_at is not None else at) if well else None
    return replace(after, well_at=well_at, proven=well_at is not None and at - well_at >= needs_s, looked_at=at)


def _note_movement(state: QueueState, snapshot: QueueSnapshot, age_s: float, at: float) -> AfterRestart:
    """Record movement between the previous check and this one, dated at the previous check."""
    after = state.after
    # A node that sends no statistics takes its counts out of the sum. They come back with it, and nobody has acknowledged them.
    acks = snapshot.acks if age_s >= SETTLED_S and snapshot.blind is None else None
    moved_at = after.moved_at
    if has_risen(snapshot.depth, after.depth) or has_risen(after.acks, acks):
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


def is_well(recovered: Recovered, depth: int, consumers: int | None, *, polled: bool = False) -> bool:
    """Whether these figures show a working queue. Invisible consumers don't count."""
    return depth <= recovered.max_messages and are_enough(recovered, consumers, polled=polled)


def looks_well(runbook: Runbook, snapshot: Reading | None) -> bool:
    """Whether this reading, by itself, shows a working queue."""
    if isinstance(snapshot, Statement):
        return snapshot.recovered and snapshot.stuck_s is None
    if not isinstance(snapshot, QueueSnapshot):
        return False
    empty = is_well(runbook.recovered, snapshot.depth, snapshot.consumers, polled=snapshot.polled)
    return empty or keeps_moving(runbook, snapshot)


def keeps_moving(runbook: Runbook, snapshot: QueueSnapshot) -> bool:
    """Whether messages were acknowledged through all of `for`, and nobody holds any without work: a backlog may stay."""
    for_s, present = runbook.symptom.for_s, are_enough(runbook.recovered, snapshot.consumers, polled=snapshot.polled)
    if not present or snapshot.channels is None or snapshot.blind is not None or snapshot.unseen is not None:
        return False
    holding = (channel for channel in snapshot.channels if channel.is_holding)
    moves = rises_in_both_halves(within(drop_gaps(snapshot.ack_samples), for_s))
    return moves and all(still_s(channel.work) < for_s / 2 for channel in holding)


def are_enough(recovered: Recovered, consumers: int | None, *, polled: bool) -> bool:
    """Whether there are as many consumers as there should be: none of a queue from which the application takes by basic.get."""
    return (consumers or 0) >= (0 if polled else recovered.min_consumers)


def is_moving(runbook: Runbook, state: QueueState, at: float) -> bool:
    """Whether it moved recently, with consumers present. `at` is on the runner's clock."""
    present = are_enough(runbook.recovered, state.consumers, polled=state.looks.polled)
    moved_at = state.after.moved_at
    moves = moved_at is not None and at - moved_at < runbook.verify.patience_s
    return present and moves and not _has_same_oldest(runbook.symptom, state.before, state.head_at)


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


def _count_consumers(snapshot: QueueSnapshot, after: AfterRestart, age_s: float) -> int | None:
    """The number of consumers that certainly exist after the restart; before SETTLED_S those of before may still be shown."""
    if age_s < SETTLED_S:
        return None
    present = len(snapshot.consumer_ids) if snapshot.consumer_ids is not None else snapshot.consumers
    # Consumers can't be seen, but somebody took messages after the restart ended.
    return 1 if present is None and after.moved_at is not None else present


def _may_be_gone(before: QueueSnapshot | None, snapshot: QueueSnapshot) -> bool:
    """Whether RabbitMQ may have dropped or dead-lettered what was held: it came back as often as the delivery limit allows.
    Workers that stop one after the other hand on what they held, so one restart may return a message once for each of them."""
    if before is None or before.returns is None:
        return False
    returned, left = (snapshot.redeliveries or 0) - (before.redeliveries or 0), before.returns.left
    # Where one restart can't use up what is left, it takes a loop of crashes, in which the others that were held return, too.
    others = (before.unacked or 1) - 1 if left >= max(before.consumers or 1, 1) else 0
    return returned >= left + others
