"""What a restart did not help: it is not restarted for the same message again, nor once it was escalated.

And that nothing is called healthy while a consumer hangs.
"""

from __future__ import annotations

from itertools import pairwise

from functions.application.documents import decode
from functions.domain.model.codes import Ending, Reason
from functions.domain.model.incidents import Archive, Document
from tests.simulation.checker.history import SKEW_S, Violation, incident_of, pressed
from tests.simulation.checker.pace import is_steady
from tests.simulation.courses.troubles import OF_THE_BROKER, SILENT
from tests.simulation.models import Run
from tests.simulation.queues import COUNTED_S
from tests.simulation.world import World

ESCALATION_HOLDS_S = 86400.0
LOOK_S = 3.0


def check_stickiness(world: World, records: dict[str, Archive], runs: list[Run]) -> list[Violation]:
    """All violations of two, of one target's restarts."""
    own = [run for run in runs if run.by == "unstick" and not pressed(world, run.target, run.sent_at)]
    return [*_for_the_same_message(world, records, own), *_after_an_escalation(world, records, own)]


def check_overlooked(world: World, records: list[Archive]) -> list[Violation]:
    """Where channels are seen, no application is called healthy while one of its consumers has hung for all of `for`."""
    if not world.broker.monitoring or not is_steady(world) or world.faults.scrape_s or world.nodes_lost:
        return []
    for_s = world.rules.runbooks["mail"].symptom.for_s + 2 * COUNTED_S
    return [
        Violation("seen", f"{record.incident.id}: {watched.queue.key} was called healthy, and a consumer hung")
        for record in records
        if record.outcome.reason is Reason.SYMPTOM_GONE
        for watched in record.incident.queues
        for worker in world.queues[watched.queue.key].hung(record.outcome.at - LOOK_S, for_s)
        if any(worker.id == one.id for one in world.queues[watched.queue.key].hung(record.outcome.at, for_s))
        if "one_clock" in world.options and not any(kind == SILENT for kind, _, _ in world.troubles)
    ]


def _for_the_same_message(world: World, records: dict[str, Archive], runs: list[Run]) -> list[Violation]:
    """Where channels are seen and nothing delays what is decided: the message that hung came first again, and hangs."""
    faults, seen = world.faults, world.broker.monitoring and not any(kind in OF_THE_BROKER for kind, _, _ in world.troubles)
    at_once = is_steady(world) and not (faults.broker_down or faults.broker_slow or faults.history_down or faults.scrape_s)
    violations = []
    for earlier, later in pairwise(runs):
        record = records.get(incident_of(later))
        if (
            not (seen and at_once)
            or record is None
            or incident_of(earlier) != incident_of(later)
            or earlier.status != "succeeded"
        ):
            continue
        for_s = world.rules.runbooks["mail"].symptom.for_s + 2 * COUNTED_S
        # A busy job may delay what was decided.
        at = min((sent["at"] for sent in world.sent if sent["tag"] == later.tag), default=later.sent_at)
        hung = [worker for key in _queues_when_sent(world, later) for worker in world.queues[key].hung(at, for_s)]
        again = [worker for worker in hung if worker.again > worker.done]
        if any(worker.came > earlier.sent_at for worker in again):
            violations.append(Violation("same", f"{later.id} was started though {again[0].id} hung on the same message again"))
    return violations


def _after_an_escalation(world: World, records: dict[str, Archive], runs: list[Run]) -> list[Violation]:
    """An escalation holds its own queues, until they are healthy or its alert is resolved."""
    violations = []
    for run in runs:
        queues = _queues_when_sent(world, run)
        for other in records.values():
            ended = other.outcome
            theirs = {watched.queue.key for watched in other.incident.queues}
            same_target = other.target is not None and other.target.key == run.target and other.incident.id != incident_of(run)
            past_s = run.sent_at - ended.at
            if ended.ending is not Ending.ESCALATED or not same_target or not SKEW_S < past_s < ESCALATION_HOLDS_S - SKEW_S:
                continue
            stood = any(_stood(world, key, ended.at - SKEW_S, run.sent_at) for key in theirs & queues)
            if stood:
                violations.append(Violation("I3", f"{run.id} came {past_s:.0f} s after {other.incident.id} was escalated"))
    return violations


def _queues_when_sent(world: World, run: Run) -> set[str]:
    """What the incident was about then: other queues may have joined it since."""
    bodies = [
        sent["document"] for sent in world.sent if sent["at"] == run.sent_at and sent["tag"] == run.tag and sent["document"]
    ]
    incidents = [decode(Document, body, "sent").incident for body in bodies]
    return {watched.queue.key for incident in incidents if incident for watched in incident.queues}


def _stood(world: World, key: str, begin: float, end: float) -> bool:
    """Whether the queue was never healthy in this time."""
    queue = world.queues[key]
    moments = [begin + 5.0 * step for step in range(int((end - begin) / 5.0) + 1)]
    return all(queue.depth(at) > 0 and not queue.acked_within(at, 70.0) for at in moments)
