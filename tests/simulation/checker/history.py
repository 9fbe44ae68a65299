"""What the models saw of one schedule, as the checks read it."""

from __future__ import annotations

from dataclasses import dataclass, replace

from functions.application.documents import decode
from functions.domain.model.incidents import Archive
from tests.simulation.models import Run
from tests.simulation.queues import Queue
from tests.simulation.world import World

SKEW_S = 70.0
"""Clocks in the model differ by up to this, less a little."""

LOOK_AND_FENCE_S = 35.0
"""What is sent rests on a look that is at most `start_within` old."""


YOUNG_S = 3700.0
"""For so long the counters of a node that came back say nothing about before."""


@dataclass(frozen=True)
class Violation:
    invariant: str
    text: str


def records(world: World) -> dict[str, Archive]:
    """What was archived, by incident."""
    archives = [decode(Archive, body, path) for path, body in world.store.archived.items() if path.startswith("incidents/")]
    return {record.incident.id: record for record in archives}


def queues_of(world: World, target: str) -> list[Queue]:
    """The queues of an application, by its target."""
    return [queue for key, queue in world.queues.items() if key.startswith(f"rabbitmq:/:{target.removeprefix('target-')}.")]


def is_perhaps_gone(world: World, target: str, at: float) -> bool:
    """Whether people may be asked about a queue without consumers: while a node's counters are young, nobody knows of any."""
    lately = any(lost < at < lost + YOUNG_S for lost in world.nodes_lost)
    return lately and any(queue.depth(at) and not queue.consumers(at) for queue in queues_of(world, target))


def effective(world: World) -> dict[str, list[Run]]:
    """The runs that did restart something, by target, oldest first. One that Rundeck itself tried again is one, to its end."""
    runs: dict[str, list[Run]] = {}
    for run in sorted(world.rundeck.runs, key=lambda r: r.started):
        if not run.refused and not run.is_retry:
            last = [one for one in run.chain() if not one.refused][-1]
            runs.setdefault(run.target, []).append(replace(run, ends=last.ends, status=last.status))
    return runs


def incident_of(run: Run) -> str:
    """The incident that a run's tag names; "" for somebody's."""
    return run.tag.rpartition(".")[0]


def pressed(world: World, target: str, at: float) -> bool:
    """Whether somebody pressed the button of this target before: a person may overrule."""
    return any(key == target and when <= at for when, key in world.presses)


def known(run: Run, sent_at: float) -> bool:
    """Whether the look behind what was sent then could see this run in the history."""
    return max(run.seen_from, run.started) <= sent_at - LOOK_AND_FENCE_S
