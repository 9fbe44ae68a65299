"""What is learned of stalls, and what follows: only what ended by itself, no longer than it truly was; an application that stalls
as it did before is left alone, and a hang is acted on once the deadline is over."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from statistics import median

from functions.domain.model.observations import MARGIN, QueueStalls, Stall, StallKind
from tests.simulation.broker import RANGE, REACH_S, Queue
from tests.simulation.checker.past import DAY_S, SKEW_S, Past, Violation
from tests.simulation.courses.held import LEARNS, TARGET, Held
from tests.simulation.models import Faults

LATE_S = 15.0
"""By how much at most a length is wrong where all clocks are one."""
SETTLED_S = 60.0  # a run of the job that begins so soon after the end may have caused it
SOON_S = 45.0
"""Beyond the deadline: the first message that waits, the rule's next evaluation, the next sample."""

Counter = Callable[[float], int | None]


def check_learned(past: Past) -> list[Violation]:
    """All violations of these three."""
    known = {
        (target, key, stall)
        for _, target, document in past.saves
        for key, learned in document.stalls.items()
        for stall in learned.stalls
    }
    violations = [
        Violation("learned", f"{key} was {stall.kind.value} for {stall.lasted_s:.0f} s until {stall.ended_at:.0f}: {why}")
        for target, key, stall in sorted(known, key=lambda one: one[2].ended_at)
        if (why := _why_not(past, target, past.world.queues[key], stall))
    ]
    case = past.scenario.held
    if case is not None and case.kind in LEARNS:
        violations += [*_restarted_early(past, case), *_overlooked(past, case)]
    return violations


def _why_not(past: Past, target: str, queue: Queue, stall: Stall) -> str:
    """Why it should not have been learned; empty if it is true."""
    world = past.world
    late_s = LATE_S + 2 * RANGE * world.faults.scrape_s + (0.0 if "one_clock" in world.options else SKEW_S)
    begin, end = stall.began_at + late_s, stall.ended_at - late_s
    if any(run.started < end + SETTLED_S and (run.ends or world.now) > begin for run in past.runs.get(target, [])):
        return "a run of the job lay in it"
    if any(begin < at < end for at in queue.upset):
        return "the broker was restarted, or messages were purged"
    counters = _counters(queue, stall, late_s) if not world.faults.scrape_s else [queue.acks]
    soon = stall.ended_at + late_s
    # Where it could not be read for a while, it counts until it was last seen.
    until = soon if _is_calm(past) else max(soon, min(world.now, end + DAY_S))
    lengths = [one for counter in counters for one in _lengths(counter, end, (soon, until), stall.lasted_s)]
    return "" if any(stall.lasted_s <= length + late_s for length in lengths) else f"in truth {lengths}"


def _is_calm(past: Past) -> bool:
    return past.world.faults == Faults() and past.world.options >= {"untroubled", "one_clock"}


def _counters(queue: Queue, stall: Stall, late_s: float) -> list[Counter]:
    """What stood still: each consumer that held messages, by what it finished; or the queue, by what was acknowledged."""
    kind, at = stall.kind, stall.ended_at - late_s
    if kind is StallKind.HELD:
        pieces = [queue.piece(at), *(piece for piece in queue.pieces if at < piece.at < stall.ended_at + late_s)]
        return [_finished(queue, name) for name in {worker.id for piece in pieces for worker in piece.workers if worker.holds}]
    if kind is StallKind.GONE:
        return [queue.acks]
    stay = queue.consumers(at)  # before the first look at them nobody knows when they came
    return [lambda at: queue.acks(at) if queue.consumers(at) == stay or not queue.consumers(at) else None]


def _finished(queue: Queue, name: str) -> Counter:
    def finished(at: float) -> int | None:
        piece = queue.piece(at)
        return next((int(one.done + piece.done_by(at, one)) for one in piece.workers if one.id == name), None)

    return finished


def _lengths(counter: Counter, at: float, ends: tuple[float, float], most_s: float) -> Iterator[float]:
    """For how long it had stood still, not further back than needed, each time that it moved: until the first of `ends`, or, if
    it did not by then, until the second."""
    while at < ends[1]:
        before, after = counter(at), counter(at + 1.0)
        at += 1.0
        if before is not None and after is not None and after > before:
            begin = at - 1.0
            while at - begin < most_s and counter(begin - 1.0) == before:
                begin -= 1.0
            yield at - begin
            if at > ends[0]:
                return


def _deadline_s(past: Past, case: Held, stalls: QueueStalls | None) -> float:
    symptom = past.runbook.symptom
    lengths = sorted((one.lasted_s for one in stalls.stalls if one.kind is case.stalls), reverse=True) if stalls else []
    spread = lengths[0] / median(lengths) - 1 if lengths else 0.0
    return max(symptom.for_s, min(lengths[0] * (MARGIN + 2 * spread), symptom.for_at_most_s) if lengths else 0.0)


def _restarted_early(past: Past, case: Held) -> list[Violation]:
    """While it is healthy, no stall shorter than one and a half times the longest before it is restarted."""
    violations = []
    for start in past.world.sent:
        if start.target != TARGET or start.document is None or past.is_pressed(TARGET, start.at):
            continue
        deadline_s = _deadline_s(past, case, start.document.stalls.get(case.key))
        lasted_s = start.at - max((at for at in case.began if at <= start.at), default=0.0)
        if lasted_s < deadline_s - LATE_S - (0.0 if "one_clock" in past.world.options else SKEW_S):
            violations.append(Violation("learned", f"{start.tag} after {lasted_s:.0f} s, the deadline is {deadline_s:.0f} s"))
    return violations


def _overlooked(past: Past, case: Held) -> list[Violation]:
    """Where nothing gets in the way, a hang is restarted as soon as the deadline is over."""
    world = past.world
    free = _is_calm(past) and "auto" in world.options and not world.pauses
    seen = world.broker.monitoring and world.broker.statistics and not world.rundeck.one_at_a_time
    many = len({answer.alert.labels["app"] for answer in world.answered}) > world.rules.storm_targets
    before = [run for run in past.runs.get(TARGET, []) if run.sent_at < case.hangs_for_good]
    if not (free and seen) or many or before or case.hangs_for_good == math.inf:
        return []
    documents = past.saved(TARGET, case.hangs_for_good + REACH_S)
    due = case.hangs_for_good + SOON_S + _deadline_s(past, case, documents[-1].stalls.get(case.key) if documents else None)
    if any(start.target == TARGET and start.at <= due for start in world.sent):
        return []
    return [Violation("soon", f"{case.kind}: hung at {case.hangs_for_good:.0f}, and was not restarted until {due:.0f}")]
