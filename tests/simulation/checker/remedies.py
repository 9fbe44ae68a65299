"""Remedies after the restart: each at most once an incident, in their order, only for its condition, and only by a person."""

from __future__ import annotations

from functions.adapters.symptoms.rabbitmq import to_queue
from functions.domain.model.alerts import MOVES
from tests.simulation.checker.history import LOOK_AND_FENCE_S, Violation, effective, incident_of, known, pressed
from tests.simulation.models import Run
from tests.simulation.queues import COUNTED_S
from tests.simulation.scenario import HARDER, PARK, REMEDIES
from tests.simulation.world import World


def check_remedies(world: World) -> list[Violation]:
    """All violations of "remedy"."""
    violations = []
    for target, runs in effective(world).items():
        own = [run for run in runs if run.by == "unstick"]
        for place, run in enumerate(own):
            earlier = [one for one in own[:place] if incident_of(one) == incident_of(run)]
            last = max((REMEDIES.index(one.job) for one in earlier if one.job in REMEDIES), default=-1)
            if run.job in {one.job for one in earlier} & {*REMEDIES}:
                violations.append(Violation("twice", f"{run.tag} is the second {run.job} of its incident"))
            elif last >= 0 and (run.job not in REMEDIES or REMEDIES.index(run.job) < last):
                violations.append(Violation("order", f"{run.tag} came after {REMEDIES[last]}"))
            if run.job == HARDER.job and _has_left(world, run, runs):
                violations.append(Violation("condition", f"{run.tag} was sent though restarts were left"))
            if run.job == PARK.job:
                violations += _moving(world, run, pressings=sum(key == target for _, key in world.presses))
        parks = sum(run.job == PARK.job for run in own)
        if parks > sum(key == target for _, key in world.presses):
            violations.append(Violation("person", f"{target}: {parks} times {PARK.name}, and fewer presses"))
    return violations


def _has_left(world: World, run: Run, runs: list[Run]) -> bool:
    """Whether restarts were left. Somebody's may have been adopted, or an earlier incident's for the same cause."""
    count = sum(one.sent_at < run.sent_at and one.job not in REMEDIES for one in runs)
    return count < (1 if incident_of(run) in world.wanted else world.rules.runbooks["mail"].limits.attempts)


def _moving(world: World, run: Run, *, pressings: int) -> list[Violation]:
    """Whether exactly what was held was moved, after a restart that had not helped and a press."""
    violations = []
    if not pressings or not pressed(world, run.target, run.sent_at):
        violations.append(Violation("person", f"{run.tag} was started though nobody pressed"))
    vhost, name, count = (run.options[option] for option in MOVES)
    queue, for_s = world.queues[to_queue(vhost, name).key], world.rules.runbooks["mail"].symptom.for_s - COUNTED_S
    earlier = [one for one in effective(world)[run.target] if one.job != PARK.job and known(one, run.sent_at)]
    ended = [one.ends for one in earlier if one.ends and one.ends < run.sent_at]
    moments = [run.sent_at - LOOK_AND_FENCE_S + step for step in range(int(LOOK_AND_FENCE_S) + 1)]
    hung = [[one for one in queue.hung(at, for_s) if one.again and one.came >= max(ended, default=run.sent_at)] for at in moments]
    if not any(hung):
        violations.append(Violation("condition", f"{run.tag} was sent though nothing hung on the same message again"))
    elif all(int(count) != sum(one.holds for one in queue.hung(at, for_s)) for at in moments):
        violations.append(Violation("condition", f"{run.tag} was to move {count} messages, which are not those that were held"))
    return violations
