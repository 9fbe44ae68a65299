"""Judges a queue before a restart: by one snapshot (`proofs`), and by what the incident remembers of earlier readings."""

import math
from hashlib import blake2s

from msgspec.structs import replace

from functions.domain.health.proofs import NO_TERMS, SOONEST_S, Judgement, judge
from functions.domain.health.rows import Terms, Trust
from functions.domain.model.alerts import ACKED_1D, CONSUMERS_1D, Alert
from functions.domain.model.codes import Health, Proof
from functions.domain.model.incidents import Looks, QueueState
from functions.domain.model.observations import (
    Holder,
    QueueHistory,
    QueueSnapshot,
    Reading,
    Samples,
    Statement,
    Unknown,
    figures_of,
)
from functions.domain.model.runbooks import Symptom
from functions.runtime.text import Text

CURVE_POINTS = 120
CONSUMERS_CHARACTERS = 2000  # of the consumers' ids that a document keeps


def judge_health(
    symptom: Symptom, snapshot: Reading, state: QueueState, now: float, terms: Terms = NO_TERMS
) -> tuple[Judgement, QueueState]:
    """Whether a queue is stuck, why, and its state to remember for the next check."""
    looks = state.looks
    if isinstance(snapshot, Unknown):
        unread_at = now if looks.unread_at is None else looks.unread_at
        looks = replace(looks, unsure_at=None, unread_at=unread_at, oldest_from=None)
        return Judgement(Health.UNKNOWN, snapshot.why), replace(state, looks=looks)
    if isinstance(snapshot, Statement):
        judged = _judge_statement(symptom, snapshot)
    else:
        looks = _note_looks(state, snapshot)
        state = replace(state, may_be_gone=state.may_be_gone or _may_be_gone(state.looks, snapshot))
        judged = judge(symptom, snapshot, _to_trust(looks, snapshot, now), terms)
    unsure_at = now if looks.unsure_at is None else looks.unsure_at
    open_end = judged.health in (Health.UNSURE, Health.UNKNOWN, Health.LIKELY)
    looks = replace(looks, unsure_at=unsure_at if open_end else None, unread_at=None)
    return judged, replace(note_snapshot(state, snapshot), looks=looks)


def _judge_statement(symptom: Symptom, said: Statement) -> Judgement:
    """One condition alone is an answer. Both, or neither, mean that a figure is missing, or that a condition is wrong."""
    if said.recovered and said.stuck_s is not None:
        return Judgement(Health.UNKNOWN, Text("`stuck` and `recovered` hold both"))
    if said.recovered:
        return Judgement(Health.WELL, Text("`recovered` holds"))
    if said.stuck_s is None:
        return Judgement(Health.UNKNOWN, Text("neither `stuck` nor `recovered` holds: a figure may be missing"))
    why = Text("`stuck` has held for {seconds} s", seconds=round(said.stuck_s))
    if said.stuck_s < symptom.for_s:
        return Judgement(Health.UNSURE, why, again_in_s=max(symptom.for_s - said.stuck_s, SOONEST_S))
    return Judgement(Health.ILL, why, Proof.STATED)


def _to_trust(looks: Looks, snapshot: QueueSnapshot, now: float) -> Trust:
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
    fell = None not in (snapshot.deliveries, looks.deliveries) and (snapshot.deliveries or 0) < (looks.deliveries or 0)
    nodes = _digest(snapshot.nodes) if snapshot.nodes else looks.nodes
    unsteady = fell or (looks.nodes and nodes != looks.nodes) or (snapshot.node_down and looks.steady_at is None)
    return replace(
        looks,
        nodes=nodes,
        steady_at=snapshot.at if unsteady else looks.steady_at,
        left_at=_left_at(state, snapshot),
        deliveries=snapshot.deliveries,
        redeliveries=snapshot.redeliveries,
        consumed=looks.consumed or bool(snapshot.consumers),
        acked=looks.acked or bool(snapshot.acks),
        polled=looks.polled or snapshot.polled,
        oldest_from=looks.oldest_from if looks.oldest_from and snapshot.head_at == state.head_at else snapshot.at,
    )


def _left_at(state: QueueState, snapshot: QueueSnapshot) -> float | None:
    """Since when its consumers are gone: idle ones leave no other trace in the samples."""
    if snapshot.consumers != 0:
        return None
    return snapshot.at if state.consumers else state.looks.left_at


def _may_be_gone(looks: Looks, snapshot: QueueSnapshot) -> bool:
    """Whether messages returned since the last check and are held without a return left: a crash loop drops them."""
    returned = None not in (looks.redeliveries, snapshot.redeliveries) and (snapshot.redeliveries or 0) > (
        looks.redeliveries or 0
    )
    return returned and snapshot.returns is not None and snapshot.returns.left == 0


def _digest(names: tuple[str, ...]) -> str:
    return blake2s("\n".join(names).encode(), digest_size=8).hexdigest()


def note_snapshot(state: QueueState, reading: Reading) -> QueueState:
    """Add the reading to the figures that people see."""
    snapshot = figures_of(reading)
    if snapshot is None or (state.curve and state.curve[-1][0] == snapshot.at):
        return state
    return replace(
        state,
        curve=extend(state.curve, snapshot.at, snapshot.depth, snapshot.depth_samples),
        held_curve=extend(state.held_curve, snapshot.at, snapshot.unacked, snapshot.history.unacked),
        head_at=snapshot.head_at,
        head_bytes=snapshot.head_bytes,
        held_bytes=snapshot.held_bytes,
        holding=snapshot.holding,
        consumers=snapshot.consumers,
        holders=tuple(_held_on(state, holder, snapshot.holders) for holder in snapshot.holders),
        alarm=snapshot.alarm,
    )


def before_restart(snapshot: QueueSnapshot) -> QueueSnapshot:
    """The part of the last snapshot before a restart to keep: the figures, and the consumers, to recognize new ones."""
    fits = sum(map(len, snapshot.consumer_ids or ())) <= CONSUMERS_CHARACTERS
    snapshot = replace(snapshot, ack_samples=(), depth_samples=(), history=QueueHistory(), channels=None, blind=None, unseen=None)
    return snapshot if fits else replace(snapshot, consumer_ids=None)


def extend(curve: Samples, at: float, value: int | None, samples: Samples) -> Samples:
    """Append the newest value to the curve. An empty curve first gets the samples that the broker kept."""
    if value is None:
        return curve
    if not curve and samples:
        ahead = at - samples[-1][0]
        curve = tuple((when + ahead, before) for when, before in samples[-24:-1])
    curve = (*curve, (at, value))
    if len(curve) > CURVE_POINTS:  # drop every other point of the older half
        half = len(curve) // 2
        curve = curve[:half:2] + curve[half:]
    return curve


def _held_on(state: QueueState, holder: Holder, all_now: tuple[Holder, ...]) -> Holder:
    """The holder, with since when it has held messages: earlier looks reach further back than samples.
    Only if it stood still at the last look already, and no other has its host and name."""
    who, last_at = (holder.host, holder.name), state.curve[-1][0] if state.curve else -math.inf
    same = [other for other in state.holders if (other.host, other.name) == who]
    alone = len(same) == 1 == sum((other.host, other.name) == who for other in all_now)
    if not alone or holder.since is None or same[0].since is None or holder.since > last_at:
        return holder
    return replace(holder, since=min(holder.since, same[0].since))
