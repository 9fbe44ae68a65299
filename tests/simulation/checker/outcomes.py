"""I13: what is healthy is left alone, and what is only likely is a calm question."""

from __future__ import annotations

from itertools import pairwise

from functions.domain.model.codes import Ending, Reason
from tests.simulation.checker.past import LOOK_AND_FENCE_S, SKEW_S, Past, Violation, incident_of
from tests.simulation.courses.held import LEARNS, TARGET, Held
from tests.simulation.courses.troubles import OF_THE_BROKER

MAY_HANG = "may hang"
CALLED = "boss"
"""The channel of the held application's `escalate`."""


def check_outcomes(past: Past) -> list[Violation]:
    """All violations of it."""
    violations = _never_calm(past)
    case = past.scenario.held
    return violations + (_healthy_restarted(past, case) if case is not None and case.kind not in LEARNS else [])


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


def _never_calm(past: Past) -> list[Violation]:
    """A question mentions nobody, calls nobody else but whom the incident had called before, and escalates nothing."""
    violations, posts = list[Violation](), past.world.chat.posts
    called = {card.incident for _, to, card in posts if to == CALLED and card.urgency == "act" and MAY_HANG not in card.headline}
    for incident, record in past.records.items():
        if record.outcome.reason is not Reason.LIKELY_STUCK or record.incident.restarts:
            continue
        if record.outcome.ending is Ending.ESCALATED:
            violations.append(Violation("I13", f"{incident} asked, and was escalated"))
        violations += [
            Violation("I13", f"{incident} asked, and its {card.kind} called people")
            for _, channel, card in posts
            if card.incident == incident and (card.kind == "not_approved" or MAY_HANG in card.headline)
            if (channel == CALLED and incident not in called) or card.mention
        ]
    return violations
