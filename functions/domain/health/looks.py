"""Judges a queue before a restart: stuck for certain, likely stuck, moving, or unknown (docs/rabbitmq.md has the table).
By one snapshot, and by what the incident remembers of earlier readings. A restart needs a proof that lasted for all of `for`,
without a gap. Unreadable figures never count as zero."""

import math
from hashlib import blake2s

from msgspec import Struct
from msgspec.structs import replace

from functions.domain.health.rows import Row, Terms, Trust, find_oldest, find_rows, is_young, over_limit_s, was_consumed
from functions.domain.health.samples import RECENT_S, find_movement, has_risen, is_going_round, rise_within
from functions.domain.model.alerts import ACKED_1D, CONSUMERS_1D, Alert
from functions.domain.model.codes import Health, Proof
from functions.domain.model.incidents import Looks, QueueState, Subject
from functions.domain.model.observations import (
    Channel,
    QueueHistory,
    QueueSnapshot,
    Reading,
    Samples,
    StallKind,
    Statement,
    Unknown,
    figures_of,
)
from functions.domain.model.runbooks import Symptom
from functions.runtime.text import Phrase, Text

CURVE_POINTS = 120
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
    kind: StallKind = StallKind.HELD  # whose stalls say how long it takes


def to_subject(state: QueueState, judged: Judgement, reading: Reading) -> Subject | None:
    """What stands still by this judgement; None if nothing does."""
    if judged.proof is None:
        return None
    who = tuple(replace(channel, work=channel.work[-1:], acks=(), redeliveries=()) for channel in judged.held_by)
    acks = reading.acks if isinstance(reading, QueueSnapshot) and not who else None
    return Subject(state.queue.key, judged.kind, who, acks, proved=judged.health is Health.ILL)


def judge_health(
    symptom: Symptom, snapshot: Reading, state: QueueState, now: float, terms: Terms = NO_TERMS
) -> tuple[Judgement, QueueState]:
    """Whether a queue is stuck, why, and its state to remember for the next check."""
    looks = state.looks
    if isinstance(snapshot, Unknown):
        looks = replace(looks, unsure_at=None, oldest_from=None)
        return Judgement(Health.UNKNOWN, snapshot.why), replace(state, looks=looks)
    if isinstance(snapshot, Statement):
        judged = _judge_statement(symptom, snapshot, terms)
    else:
        looks = _note_looks(state, snapshot)
        state = replace(state, may_be_gone=state.may_be_gone or _may_be_gone(state.looks, snapshot))
        judged = judge(symptom, snapshot, to_trust(looks, snapshot, now), terms)
    unsure_at = now if looks.unsure_at is None else looks.unsure_at
    open_end = judged.health in (Health.UNSURE, Health.UNKNOWN, Health.LIKELY)
    looks = replace(looks, unsure_at=unsure_at if open_end else None)
    return judged, replace(note_snapshot(state, snapshot), looks=looks)


def _judge_statement(symptom: Symptom, said: Statement, terms: Terms) -> Judgement:
    """One condition alone is an answer. Both, or neither, mean that a figure is missing, or that a condition is wrong."""
    if said.recovered and said.stuck_s is not None:
        return Judgement(Health.UNKNOWN, Text("`stuck` and `recovered` both hold"))
    if said.recovered:
        return Judgement(Health.WELL, Text("`recovered` holds"))
    if said.stuck_s is None:
        return Judgement(Health.UNKNOWN, Text("neither `stuck` nor `recovered` holds: a figure may be missing"))
    why = Text("`stuck` has held for {seconds} s", seconds=round(said.stuck_s))
    deadline_s = terms.with_deadline(symptom, StallKind.HELD).for_s
    if said.stuck_s < deadline_s:
        return Judgement(Health.UNSURE, why, again_in_s=max(deadline_s - said.stuck_s, SOONEST_S))
    if against := terms.doubt(symptom, StallKind.HELD):
        return Judgement(Health.LIKELY, why, Proof.STATED, against=against)
    return Judgement(Health.ILL, why, Proof.STATED)


def to_trust(looks: Looks, snapshot: QueueSnapshot, now: float) -> Trust:
    """How far this reading can be relied on, by what the incident remembers."""
    steady_s = math.inf if looks.steady_at is None else snapshot.at - looks.steady_at
    return Trust(
        steady_s=min(steady_s, math.inf if snapshot.nodes_up_s is None else snapshot.nodes_up_s),
        unsure_s=0.0 if looks.unsure_at is None else now - looks.unsure_at,
        consumed=looks.consumed,
        acked=looks.acked,
        gone_s=math.inf if looks.left_at is None else snapshot.at - looks.left_at,
        unconsumed=looks.unconsumed and not snapshot.consumers,
        same_oldest_s=snapshot.at - (looks.oldest_from or snapshot.at),
    )


def remember_history(state: QueueState, alert: Alert) -> QueueState:
    """Add what the alert's annotations say of the last day: the broker's own counters end with it."""
    consumers, acked = alert.history_of(CONSUMERS_1D), alert.history_of(ACKED_1D)
    looks = replace(
        state.looks,
        consumed=state.looks.consumed or bool(consumers),
        acked=state.looks.acked or bool(acked),
        unconsumed=state.looks.unconsumed if consumers is None else consumers == 0,
    )
    return replace(state, looks=looks)


def _note_looks(state: QueueState, snapshot: QueueSnapshot) -> Looks:
    """Remember of this snapshot what reveals a discontinuity in the next one."""
    looks = state.looks
    nodes = blake2s("\n".join(snapshot.nodes).encode(), digest_size=8).hexdigest() if snapshot.nodes else looks.nodes
    unsteady = (
        has_risen(snapshot.deliveries, looks.deliveries)
        or (looks.nodes and nodes != looks.nodes)
        or (snapshot.node_down and looks.steady_at is None)
    )
    return replace(
        looks,
        nodes=nodes,
        steady_at=snapshot.at if unsteady else looks.steady_at,
        # Since when its consumers are gone: idle ones leave no other trace in the samples.
        left_at=None if snapshot.consumers != 0 else snapshot.at if state.consumers else looks.left_at,
        deliveries=snapshot.deliveries,
        redeliveries=snapshot.redeliveries,
        left=snapshot.returns.left if snapshot.returns else looks.left and max(looks.left - _returned(looks, snapshot), 0),
        consumed=looks.consumed or bool(snapshot.consumers),
        acked=looks.acked or bool(snapshot.acks),
        polled=looks.polled or snapshot.polled,
        oldest_from=looks.oldest_from if looks.oldest_from and snapshot.head_at == state.head_at else snapshot.at,
    )


def _may_be_gone(looks: Looks, snapshot: QueueSnapshot) -> bool:
    """Whether a message may have returned more often since the last check than it may: a crash loop drops it, held or not."""
    return (
        has_risen(looks.redeliveries, snapshot.redeliveries)
        and looks.left is not None
        and _returned(looks, snapshot) >= looks.left
    )


def _returned(looks: Looks, snapshot: QueueSnapshot) -> int:
    """How many messages returned since the last check, at most."""
    return max((snapshot.redeliveries or 0) - (looks.redeliveries or 0), 0)


def note_snapshot(state: QueueState, reading: Reading) -> QueueState:
    """Add the reading to the figures that people see."""
    snapshot = figures_of(reading)
    if snapshot is None or (state.curve and state.curve[-1][0] == snapshot.at):
        return state
    return replace(
        state,
        curve=extend(state.curve, snapshot.at, snapshot.depth, snapshot.depth_samples),
        head_at=snapshot.head_at,
        consumers=snapshot.consumers,
        holders=snapshot.holders,
    )


def before_restart(snapshot: QueueSnapshot) -> QueueSnapshot:
    """The figures of the last snapshot before a restart."""
    snapshot = replace(snapshot, ack_samples=(), depth_samples=(), history=QueueHistory(), consumer_ids=None)
    return replace(snapshot, channels=None, blind=None, unseen=None)


def extend(curve: Samples, at: float, value: int, samples: Samples) -> Samples:
    """Append the newest value to the curve. An empty curve first gets the samples that the broker kept."""
    if not curve and samples:
        ahead = at - samples[-1][0]
        curve = tuple((when + ahead, before) for when, before in samples[-24:-1])
    return (*curve, (at, value))[-CURVE_POINTS:]


# --- one snapshot -------------------------------------------------------------------------------------------------------------


def judge(symptom: Symptom, snapshot: QueueSnapshot, trust: Trust, terms: Terms = NO_TERMS) -> Judgement:
    """Judge the queue by the samples of one snapshot. The first proved row of the table decides, else the first likely one.
    A channel that holds a message proves by itself, whatever else can't be seen: its counters exist as long as the channel."""
    moving = find_movement(symptom, snapshot)
    symptom = replace(symptom, for_s=max(symptom.for_s, RECENT_S))
    rows = find_rows(symptom, snapshot, trust, terms)
    lasting = [row for row in rows if row.lasted_s >= row.needs_s]
    if lasting:
        row = next((row for row in lasting if not row.against), lasting[0])
        health = Health.LIKELY if row.against else Health.ILL
        return Judgement(health, row.why, row.proof, row.channels, against=row.against, kind=row.kind)
    if snapshot.depth == 0 or (snapshot.depth <= symptom.max_messages and not rows):
        return Judgement(Health.WELL, Text("depth {depth}", depth=snapshot.depth))
    unseen = snapshot.blind if moving is None else snapshot.unseen
    if unseen is not None:
        return _judge_unseen(unseen, trust)
    if is_going_round(snapshot, symptom.for_s):
        count = rise_within(snapshot.history.deliveries, symptom.for_s)
        text = Text("the same messages come back: {count} deliveries in {seconds} s, none acknowledged")
        return Judgement(Health.GOING_ROUND, text.fill(count=count, seconds=round(symptom.for_s)))
    if snapshot.unseen is not None:
        return _judge_unseen(snapshot.unseen, trust)
    if oldest := find_oldest(symptom, snapshot, trust):
        return Judgement(Health.UNSURE, oldest.why, again_in_s=max(oldest.needs_s - oldest.lasted_s, SOONEST_S))
    if moving is not None and max((row.lasted_s for row in rows), default=0.0) <= RECENT_S:
        return Judgement(Health.WELL, moving)
    return _judge_unproved(symptom, snapshot, rows, trust)


def _judge_unseen(unseen: Unknown, trust: Trust) -> Judgement:
    """Work, or a hanging consumer, may be hidden. A cause that should pass is reported only if it hasn't."""
    late = unseen.late and trust.unsure_s < LATE_FOR_S
    return Judgement(Health.UNSURE if late else Health.UNKNOWN, unseen.why, again_in_s=RECENT_S if late else None)


def _judge_unproved(symptom: Symptom, snapshot: QueueSnapshot, rows: list[Row], trust: Trust) -> Judgement:
    """Neither stuck nor certainly healthy: a deployment, a slow job, or the beginning of a stuck queue."""
    lasted_s, shown_s = max((row.lasted_s for row in rows), default=0.0), round(symptom.for_s)
    done = rise_within(snapshot.ack_samples, symptom.for_s)
    # What stands still now may be the beginning of a stuck queue, and the next alert may be long in coming.
    if done and lasted_s <= symptom.for_s / 2 and trust.unsure_s >= SLOW_AFTER * symptom.for_s:
        moved = Text("processed in the last {seconds} s: {count}, by every consumer", seconds=shown_s, count=done)
        return Judgement(Health.WELL, moved)
    waits_s = over_limit_s(symptom, snapshot)
    young = is_young(snapshot) and not trust.unconsumed
    if (
        snapshot.consumers == 0
        and not snapshot.unacked
        and not was_consumed(snapshot, trust)
        and not young
        and waits_s >= symptom.for_s
    ):
        return Judgement(
            Health.NEVER_CONSUMED, Text("{count} messages wait, and no consumer was ever seen", count=snapshot.depth)
        )
    # Whatever is only perhaps stuck by now may be proved once the deadline is over.
    ends = ((row.lasted_s, symptom.for_s if row.lasted_s < symptom.for_s else row.needs_s) for row in rows)
    left_s = min((ends_s - lasted_s for lasted_s, ends_s in ends), default=symptom.for_s)
    if done:
        why = Text("processed in the last {seconds} s: {count}, but nothing right now", seconds=shown_s, count=done)
    else:
        why = Text("depth {depth}, still for {seconds} s", depth=snapshot.depth, seconds=round(lasted_s))
    return Judgement(Health.UNSURE, why, again_in_s=max(left_s + SAMPLE_LATE_S, SOONEST_S))
