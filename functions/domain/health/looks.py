"""Judges a queue before a restart: stuck for certain, likely stuck, moving, or unknown (docs/rabbitmq.md has the table).
By one snapshot, and by what the incident remembers of earlier readings. A restart needs a proof that lasted for all of `for`,
without a gap. Unreadable figures never count as zero."""

import math
from hashlib import blake2s

from msgspec import Struct
from msgspec.structs import replace

from functions.domain.health.rows import Terms, Trust, find_oldest, find_rows, is_young, over_limit_s, was_consumed
from functions.domain.health.samples import RECENT_S, count_own, find_movement, find_round_s, has_risen, is_absent, rise_within
from functions.domain.model.alerts import ACKED_1D, CONSUMERS_1D, Alert
from functions.domain.model.codes import Health, Proof
from functions.domain.model.incidents import Looks, QueueState
from functions.domain.model.observations import (
    Channel,
    QueueHistory,
    QueueSnapshot,
    Reading,
    Samples,
    StallKind,
    Statement,
    Subject,
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
        looks = _note_looks(state, snapshot, count_own(symptom, snapshot), known=terms.has_seen(symptom.users))
        judged = judge(symptom, snapshot, to_trust(looks, snapshot, now), terms)
        loses = judged.health is Health.GOING_ROUND and snapshot.returns is not None  # it returns to the limit if nobody ends it
        state = replace(state, may_be_gone=state.may_be_gone or loses or _may_be_gone(state.looks, snapshot))
    unsure_at = now if looks.unsure_at is None else looks.unsure_at
    stands = judged.health in (Health.UNSURE, Health.UNKNOWN, Health.LIKELY, Health.ILL)
    looks = replace(looks, unsure_at=unsure_at if stands else None)
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
    if against := terms.doubt(symptom, StallKind.HELD, said.stuck_s):
        return Judgement(Health.LIKELY, why, Proof.STATED, against=against)
    return Judgement(Health.ILL, why, Proof.STATED)


def to_trust(looks: Looks, snapshot: QueueSnapshot, now: float) -> Trust:
    """How far this reading can be relied on, by what the incident remembers."""
    steady_s = math.inf if looks.steady_at is None else snapshot.at - looks.steady_at
    return Trust(
        steady_s=min(steady_s, math.inf if snapshot.nodes_up_s is None else snapshot.nodes_up_s),
        unsure_s=0.0 if looks.unsure_at is None else now - looks.unsure_at,
        unread_s=0.0 if looks.unread_at is None else snapshot.at - looks.unread_at,
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


def _note_looks(state: QueueState, snapshot: QueueSnapshot, own: int | None, *, known: bool) -> Looks:
    """Remember of this snapshot what reveals a discontinuity in the next one. `own`: how many consumers of `users` it has;
    `known`: whether it is known to have had one."""
    looks, had_any = state.looks, bool(state.consumers or snapshot.consumers)
    is_unread = snapshot.blind is not None or snapshot.unseen is not None
    nodes = blake2s("\n".join(snapshot.nodes).encode(), digest_size=8).hexdigest() if snapshot.nodes else looks.nodes
    unsteady = (
        has_risen(snapshot.deliveries, looks.deliveries)
        or (looks.nodes and nodes != looks.nodes)
        or (snapshot.node_down and looks.steady_at is None)
    )
    return replace(
        looks,
        nodes=nodes,
        unread_at=(looks.unread_at or snapshot.at) if is_unread else None,
        steady_at=snapshot.at if unsteady else looks.steady_at,
        # Since when its consumers are gone: idle ones, or those beside others', leave no other trace in the samples.
        left_at=None if own != 0 else looks.left_at or (snapshot.at if had_any else None),
        deliveries=snapshot.deliveries,
        redeliveries=snapshot.redeliveries,
        left=snapshot.returns.left if snapshot.returns else looks.left and max(looks.left - _returned(looks, snapshot), 0),
        consumed=looks.consumed or known or bool(own),
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
    moving = None if is_absent(symptom, snapshot, seen=trust.consumed) else find_movement(symptom, snapshot)
    symptom = replace(symptom, for_s=max(symptom.for_s, RECENT_S))
    deadline_s = terms.with_deadline(symptom, StallKind.HELD).for_s
    round_s = find_round_s(snapshot, deadline_s)
    rows = find_rows(symptom, snapshot, trust, terms)
    lasting = [row for row in rows if row.lasted_s >= row.needs_s]
    if lasting:
        row = next((row for row in lasting if not row.against), lasting[0])
        health = Health.LIKELY if row.against else Health.ILL
        return Judgement(health, row.why, row.proof, row.channels, against=row.against, kind=row.kind)
    if snapshot.depth == 0 or (snapshot.depth <= symptom.max_messages and not rows and not round_s):
        return Judgement(Health.WELL, Text("depth {depth}", depth=snapshot.depth))
    if round_s >= deadline_s:
        count = rise_within(snapshot.history.deliveries, deadline_s)
        text = Text("the same messages come back: {count} deliveries in {seconds} s, none acknowledged")
        return Judgement(Health.GOING_ROUND, text.fill(count=count, seconds=round(deadline_s)))
    unseen = snapshot.unseen if moving is not None else snapshot.blind or snapshot.unseen
    if unseen is not None:
        # Work, or a hanging consumer, may be hidden. A cause that should pass is reported only if it hasn't.
        late = unseen.late and trust.unread_s < LATE_FOR_S
        return Judgement(Health.UNSURE if late else Health.UNKNOWN, unseen.why, again_in_s=RECENT_S if late else None)
    if oldest := find_oldest(symptom, snapshot, trust):
        return Judgement(Health.UNSURE, oldest.why, again_in_s=max(oldest.needs_s - oldest.lasted_s, SOONEST_S))
    spans = [*((row.lasted_s, row.needs_s) for row in rows), *([(round_s, deadline_s)] if round_s else [])]
    if moving is not None and max((lasted_s for lasted_s, _ in spans), default=0.0) <= RECENT_S:
        return Judgement(Health.WELL, moving)
    return _judge_unproved(symptom, snapshot, spans, trust)


def _judge_unproved(symptom: Symptom, snapshot: QueueSnapshot, spans: list[tuple[float, float]], trust: Trust) -> Judgement:
    """Neither stuck nor certainly healthy: a deployment, a slow job, or the beginning of a stuck queue. `spans`: for how long
    something has stood still, and how long it takes."""
    lasted_s, shown_s = max((lasted_s for lasted_s, _ in spans), default=0.0), round(symptom.for_s)
    done = 0 if is_absent(symptom, snapshot, seen=trust.consumed) else rise_within(snapshot.ack_samples, symptom.for_s)
    # What stands still now may be the beginning of a stuck queue, and the next alert may be long in coming.
    if done and lasted_s <= symptom.for_s / 2 and trust.unsure_s >= SLOW_AFTER * symptom.for_s:
        moved = Text("processed in the last {seconds} s: {count}, by every consumer", seconds=shown_s, count=done)
        return Judgement(Health.WELL, moved)
    is_unused = snapshot.consumers == 0 and not snapshot.unacked and not was_consumed(snapshot, trust)
    young = is_young(snapshot) and not trust.unconsumed
    if is_unused and not young and over_limit_s(symptom, snapshot) >= symptom.for_s:
        never = Text("{count} messages wait, and no consumer was ever seen", count=snapshot.depth)
        return Judgement(Health.NEVER_CONSUMED, never)
    # Whatever is only perhaps stuck by now may be proved once the deadline is over.
    ends = ((span_s, symptom.for_s if span_s < symptom.for_s else needs_s) for span_s, needs_s in spans)
    left_s = min((ends_s - span_s for span_s, ends_s in ends), default=symptom.for_s)
    if done:
        why = Text("processed in the last {seconds} s: {count}, but nothing right now", seconds=shown_s, count=done)
    else:
        why = Text("depth {depth}, still for {seconds} s", depth=snapshot.depth, seconds=round(lasted_s))
    return Judgement(Health.UNSURE, why, again_in_s=max(left_s + SAMPLE_LATE_S, SOONEST_S))
