"""What was only observed: it starts nothing, and its record says how it really went."""

from __future__ import annotations

from functions.domain.decisions.following import FOLLOWED_S
from functions.domain.model.incidents import Archive
from tests.simulation.checker.history import LOOK_AND_FENCE_S, SKEW_S, Violation, effective, known, records
from tests.simulation.world import World


def check_observed(world: World) -> list[Violation]:
    """All violations of I3 and I5 by incidents that were only observed."""
    violations = []
    starts = {sent["tag"].rpartition(".")[0] for sent in world.sent}
    for record in records(world).values():
        if record.incident.observed.observed_at is None:
            continue
        if record.incident.id in starts:
            violations.append(Violation("I3", f"{record.incident.id} was only observed, and started the job"))
        violations += _healed(world, record) + _by_hand(world, record)
    return violations


def _healed(world: World, record: Archive) -> list[Violation]:
    """What is recorded as recovered was not stuck during all checks; what is not was followed for a day."""
    incident, ended_at = record.incident, record.outcome.at
    if incident.observed.healed_at is None:
        followed_s = ended_at - (incident.observed.observed_at or 0.0)
        too_short = followed_s < FOLLOWED_S - SKEW_S
        return [Violation("I5", f"{incident.id} was followed for {followed_s:.0f} s only")] if too_short else []
    moments = range(int(incident.observed.healed_at - SKEW_S), int(ended_at + SKEW_S))
    return [
        Violation("I5", f"{incident.id}: {watched.queue.key} is recorded as healed, and was stuck")
        for watched in incident.queues
        for queue in [world.queues[watched.queue.key]]
        if all(queue.depth(at) > 0 and not queue.acked_within(at, 60.0) for at in moments)
        if not any(one.on_purpose for one in queue.piece(ended_at).workers)
    ]


def _by_hand(world: World, record: Archive) -> list[Violation]:
    """A restart by hand that the history showed in time stands in the record."""
    incident, ended_at = record.incident, record.outcome.at
    runs = effective(world).get(record.target.key, []) if record.target else []
    unseen = [
        run
        for run in runs
        if run.by != "unstick"
        and run.started > (incident.observed.observed_at or 0.0) + SKEW_S
        and known(run, ended_at - LOOK_AND_FENCE_S - SKEW_S)
    ]
    if unseen and incident.execution is None:
        return [Violation("I5", f"{incident.id} knows nothing of {unseen[-1].id}, which somebody started")]
    return []
