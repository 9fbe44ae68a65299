"""What the models saw of one schedule, as the checks read it."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, replace

from functions.application.documents import decode
from functions.domain.model.cards import Card
from functions.domain.model.incidents import Archive, Document
from functions.domain.model.runbooks import Runbook
from tests.simulation.broker import Queue
from tests.simulation.courses.held import RUNBOOK, Held
from tests.simulation.models import Run
from tests.simulation.scenario import Scenario
from tests.simulation.world import World

SKEW_S = 70.0
"""Clocks in the model differ by up to this, less a little."""
LOOK_AND_FENCE_S = 35.0
"""What is sent rests on a look that is at most `start_within` old."""
YOUNG_S = 3700.0
"""For so long the counters of a node that came back say nothing about before."""
DAY_S = 86400.0


@dataclass(frozen=True)
class Violation:
    invariant: str
    text: str


@dataclass(frozen=True)
class Past:
    """One schedule, looked back on."""

    scenario: Scenario
    world: World
    saves: list[tuple[float, str, Document]]
    """(when, key, document), of targets and bundles."""
    records: dict[str, Archive]
    """What was archived, by incident."""
    cards: list[tuple[float, str, Card]]
    """(when it was saved, for which target, what), of all that people were to be told."""
    runs: dict[str, list[Run]]
    """The runs that did restart something, by target, oldest first. One that Rundeck itself tried again is one, to its end."""

    @property
    def runbook(self) -> Runbook:
        return self.world.book("mail")

    def book_of(self, queue: str) -> Runbook:
        return self.world.book(RUNBOOK) if queue == Held.key else self.runbook

    def named(self, card: Card) -> list[str]:
        """The keys of the queues that the card names, as people read it."""
        said = [card.headline, *card.text, *(text for fact in card.facts for text in fact)]
        return [key for key in self.world.queues if any(key.rpartition(":")[2] in text for text in said)]

    @property
    def is_steady(self) -> bool:
        """Whether no process, store, scheduler or network ever got in the way."""
        faults = self.world.faults
        return not any((
            faults.crash, faults.stall, faults.slow, faults.store_lost, faults.store_down,
            faults.wake_lost, faults.wake_twice, faults.wake_late, faults.wake_down,
        ))  # fmt: skip

    def saved(self, target: str, until: float) -> list[Document]:
        """A target's document, each time that it was saved."""
        return [document for at, key, document in self.saves if key == target and at <= until]

    def is_pressed(self, target: str, at: float, since: float = 0.0) -> bool:
        """Whether somebody pressed the button of this target before: a person may overrule."""
        return any(key == target and since <= when <= at for when, key in self.world.presses)

    def is_perhaps_gone(self, target: str, at: float) -> bool:
        """Whether people may be asked about a queue without consumers: while a node's counters are young, nobody knows of any."""
        lately = any(lost < at < lost + YOUNG_S for lost in self.world.nodes_lost)
        return lately and any(queue.depth(at) and not queue.consumers(at) for queue in queues_of(self.world, target))


def look_back(scenario: Scenario) -> Past:
    """Read all that a finished schedule left."""
    world = scenario.world
    saves = [(at, key, decode(Document, body, key)) for at, key, body in world.saved if not key.startswith(("pause", "storm"))]
    archived = [decode(Archive, body, path) for path, body in world.store.archived.items() if path.startswith("incidents/")]
    runs: dict[str, list[Run]] = defaultdict(list)
    for run in sorted(world.rundeck.runs, key=lambda run: run.started):
        if not run.refused and not run.is_retry:
            last = [retry for retry in run.chain() if not retry.refused][-1]
            runs[run.target].append(replace(run, ends=last.ends, status=last.status))
    told = {message.id: (at, key, message.card) for at, key, document in reversed(saves) for message in document.to_tell}
    return Past(scenario, world, saves, {record.incident.id: record for record in archived}, list(told.values()), dict(runs))


def queues_of(world: World, target: str) -> list[Queue]:
    """The queues of an application, by its target."""
    return [queue for key, queue in world.queues.items() if key.startswith(f"rabbitmq:/:{target.removeprefix('target-')}.")]


def incident_of(tag: str) -> str:
    """The incident that a run's tag names; "" for somebody's."""
    return tag.rpartition(".")[0]
