"""I5 and I13: what is called healthy is, what is healthy is left alone, and what is only likely is a calm question."""

from __future__ import annotations

from itertools import pairwise

from functions.domain.model.codes import Ending, Phase, Reason
from functions.domain.model.incidents import Archive
from tests.simulation.broker import RANGE, Queue
from tests.simulation.checker.past import LOOK_AND_FENCE_S, SKEW_S, Past, Violation, incident_of
from tests.simulation.courses.held import LEARNS, TARGET, Held
from tests.simulation.courses.troubles import OF_THE_BROKER, SILENT
from tests.simulation.models import Run
from tests.simulation.queues import COUNTED_S

LEAVING_S = 10.0
"""A consumer of before may take so long to leave; one that is there still is one that stays."""
MOVED_S = 20.0
LOOK_S = 10.0
"""Its parts are asked at once, and answer when they do."""
KNOWN_S = 2.0
"""Rundeck's Date has whole seconds, and a queue's answer may come up to half a second from it, at both looks."""
MAY_HANG = "may hang"
CALLED = "boss"
"""The channel of the held application's `escalate`."""


def check_outcomes(past: Past) -> list[Violation]:
    """All violations of these two."""
    violations = [*_recovered(past), *_overlooked(past), *_asked_again(past), *_never_calm(past)]
    case = past.scenario.held
    return violations + (_healthy_restarted(past, case) if case is not None and case.kind not in LEARNS else [])


def _recovered(past: Past) -> list[Violation]:
    """Recovered is said only of queues that were well in two looks after the restart's end, or moved until the time was up."""
    violations = []
    said: set[str] = set()
    for at, key, document in past.saves:
        for outcome in document.outcomes:
            if outcome.ending is not Ending.RECOVERED or outcome.incident in said:
                continue
            said.add(outcome.incident)
            run = _run_of(past, key, past.records.get(outcome.incident))
            if run is None or run.ends is None or run.ends > at:
                violations.append(Violation("I5", f"{outcome.incident} of {key} recovered without a restart that had ended"))
                continue
            violations += [
                Violation("I5", f"{outcome.incident}: {name} was not well when it was called recovered")
                for name in {trigger.queue for trigger in outcome.triggers}
                if not _is_seen_well(past, name, run, at) and not _is_moving(past, name, run.ends, at)
            ]
    return violations


def _run_of(past: Past, target: str, record: Archive | None) -> Run | None:
    execution = record.incident.execution if record else None
    ids = {execution.id} if execution is not None else set()
    return next((run for run in past.runs.get(target, []) if ids & {str(retry.id) for retry in run.chain()}), None)


def _is_seen_well(past: Past, name: str, run: Run, until: float) -> bool:
    """Whether two looks, `every` apart, found it well."""
    world, ended = past.world, run.ends or 0.0
    range_s = RANGE * world.faults.scrape_s
    looks = [at for at in world.looks.get(name, []) if ended + range_s - KNOWN_S * bool(range_s) < at <= until]
    for_s = past.runbook.symptom.for_s
    well = [at for at in looks if _is_well(world.queues[name], run, at, world.faults.scrape_s, for_s)]
    if not well:
        return False
    # Without Rundeck's clock, what lies between two looks is by the clocks of those who look. A look takes up to LOOK_S.
    unread = any(well[0] - LOOK_S <= at <= well[-1] + LOOK_S for at in world.unread)
    return well[-1] - well[0] >= (0.1 if unread else max(past.runbook.verify.every_s, range_s) - KNOWN_S)


def _is_well(queue: Queue, run: Run, at: float, scrape_s: float, for_s: float) -> bool:
    """Whether a consumer that came with the restart or stays is there, nothing waits or messages are finished, and none hangs.
    What Prometheus looks back on may be over: it shows consumers that were there in that time."""
    ended = run.ends or 0.0
    old = () if at >= ended + LEAVING_S else queue.consumers(run.started)
    moved_s = (RANGE + 1) * scrape_s or for_s / 2 + 2 * COUNTED_S
    empty = any(queue.depth(moment) == 0 for moment in (at, at - scrape_s))
    moves = queue.acks(at) > queue.acks(max(ended, at - moved_s)) and (scrape_s or at >= ended + for_s)
    hangs = queue.hung(at, moved_s) and not scrape_s
    moments = (at, max(ended + LEAVING_S, at - moved_s)) if scrape_s else (at,)
    present = any(one not in old for moment in moments for one in queue.consumers(moment))
    return (empty or (moves and not hangs)) and present


def _is_moving(past: Past, name: str, ended: float, at: float) -> bool:
    """At the end of `within`: it has consumers, and moved lately."""
    queue, verify = past.world.queues[name], past.runbook.verify
    unread = any(at - LOOK_AND_FENCE_S <= when <= at for when in past.world.unread)
    late = at >= ended + verify.within_s - (SKEW_S if unread else KNOWN_S)
    lately = max(ended, at - verify.patience_s - 2 * MOVED_S)
    return late and bool(queue.consumers(at)) and queue.acks(at) > queue.acks(lately)


def _overlooked(past: Past) -> list[Violation]:
    """Where channels are seen, no application is called healthy while one of its consumers has hung for all of `for`."""
    world = past.world
    unseen = world.faults.scrape_s or world.nodes_lost or any(kind == SILENT for kind, _, _ in world.troubles)
    if not world.broker.monitoring or not past.is_steady or unseen or "one_clock" not in world.options:
        return []
    for_s = past.runbook.symptom.for_s + 2 * COUNTED_S
    violations = []
    for incident, record in past.records.items():
        if record.outcome.reason is not Reason.SYMPTOM_GONE:
            continue
        for queue in (world.queues[watched.queue.key] for watched in record.incident.queues):
            before, after = (
                {worker.id for worker in queue.hung(at, for_s)} for at in (record.outcome.at - LOOK_S, record.outcome.at)
            )
            if before & after:
                violations.append(Violation("seen", f"{incident} was called healthy, and {before & after} hung"))
    return violations


def _healthy_restarted(past: Past, case: Held) -> list[Violation]:
    """What keeps messages, is a lock, or was scaled to zero, is never restarted without a person; nor is anything for a
    connection that the restart before did not end, where channels are seen."""
    world, violations = past.world, []
    runs = past.runs.get(TARGET, [])
    for run in runs:
        record = past.records.get(incident_of(run.tag))
        since = record.incident.began_at - SKEW_S if record else 0.0
        if run.by == "unstick" and run.sent_at < case.hangs_from and not past.is_pressed(TARGET, run.sent_at, since):
            violations.append(Violation("I13", f"{run.tag} restarted an application that is healthy: {case.kind}"))
    faults = world.faults
    disturbed = faults.broker_down or faults.broker_slow or faults.history_down or world.nodes_lost or not past.is_steady
    if disturbed or not world.broker.monitoring or any(kind in OF_THE_BROKER for kind, _, _ in world.troubles):
        return violations
    return violations + [
        Violation("I13", f"{later.tag} was sent though {case.survivor} holds its messages still")
        for earlier, later in pairwise(runs)
        if incident_of(earlier.tag) and incident_of(earlier.tag) == incident_of(later.tag) and earlier.status == "succeeded"
        if any(worker.id == case.survivor for worker in case.queue.hung(later.sent_at, LOOK_AND_FENCE_S))
    ]


def _asked_again(past: Past) -> list[Violation]:
    """One question for each queue and verdict in a day; a schedule is shorter, but where it only observes."""
    asked: dict[str, set[tuple[str, str]]] = {}
    nonces: set[str] = set()
    violations = []
    for _, key, document in past.saves:
        incident = document.incident
        if incident is None or incident.phase is not Phase.ASKED or incident.reason is not Reason.LIKELY_STUCK:
            continue
        if incident.approval.nonce in nonces:
            continue
        nonces.add(incident.approval.nonce)
        about = {(one.queue.key, one.proof.value if one.proof else "") for one in incident.queues if one.is_likely}
        if about <= asked.setdefault(key, set()):
            violations.append(Violation("I13", f"{incident.id} asked once more about {sorted(about)}"))
        asked[key] |= about
    return violations


def _never_calm(past: Past) -> list[Violation]:
    """A question mentions nobody, calls nobody else, and escalates nothing."""
    violations = []
    for incident, record in past.records.items():
        if record.outcome.reason is not Reason.LIKELY_STUCK or record.incident.restarts:
            continue
        if record.outcome.ending is Ending.ESCALATED:
            violations.append(Violation("I13", f"{incident} asked, and was escalated"))
        violations += [
            Violation("I13", f"{incident} asked, and its {card.kind} called people")
            for _, channel, card in past.world.chat.posts
            if card.incident == incident and (card.kind == "not_approved" or MAY_HANG in card.headline)
            if channel == CALLED or card.mention
        ]
    return violations
