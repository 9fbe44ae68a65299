"""One world for a whole day: the same applications fall ill again and again, under every fault, so that documents grow old.

The schedules of scenario.py are short and many. What only time can show is here: whether a document keeps growing with each
incident, and whether an outcome, a hold or a thread of hours ago gets in the way of the next one.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from msgspec.structs import replace

from functions.adapters.symptoms.rabbitmq import to_queue
from functions.application.documents import decode
from functions.domain.decisions.endings import OUTCOMES_KEPT
from functions.domain.decisions.messages import HOLDS_KEPT, THREADS_KEPT
from functions.domain.model.alerts import Alert
from functions.domain.model.incidents import Document
from functions.domain.model.runbooks import Limits, Rules
from tests.simulation.broken import applied
from tests.simulation.checker.check import check
from tests.simulation.checker.history import Violation
from tests.simulation.models import Run
from tests.simulation.queues import Queue, Worker
from tests.simulation.scenario import PROFILES, Cause, Scenario, _after_restart, _sticks, _target_of
from tests.simulation.world import BEGIN, Host, World, a_runbook

DAY_S = 86400.0
CALM_S = 36000.0
"""After the day nothing goes wrong any more, and all that is open comes to its end."""

APPS = 4
LIMITS = Limits(cooldown_s=300.0, restarts=((3600.0, 3), (DAY_S, 100)))
"""More restarts a day than anybody would allow, so that each illness leads to one."""

PEOPLE_AFTER_S = 1200.0
"""What is ill for so long is mended by people."""

NODES = 90
"""Grafana has an alert for each node that sees the queue, with a fingerprint of its own."""

GAPS_S = (1500.0, 2400.0, 3600.0)
MOST_BYTES = 128 * 1024
"""Of any document at any time: 20 outcomes of up to 30 alerts, 50 holds, 20 threads, an incident, what waits for a chat."""


@dataclass(frozen=True, slots=True)
class Course:
    """What a day was like."""

    violations: list[Violation]
    illnesses: int
    restarts: int
    incidents: int
    largest_bytes: tuple[int, ...]
    """The largest document that was saved in each quarter of the day, the calm in the last one's place."""
    outcomes: int
    holds: int
    threads: int
    """The most that one document ever had."""


def day(seed: int) -> Course:
    """Live through it, and look at every document that was saved."""
    scenario = _built(random.Random(seed))
    world = scenario.world
    with applied((Host, "post", _in_threads)):
        world.run(BEGIN + DAY_S + CALM_S)
    saved = [(at, key, body) for at, key, body in world.saved if not key.startswith(("pause", "storm"))]
    documents = [decode(Document, body, key) for _, key, body in saved]
    bounds = [BEGIN + DAY_S / 4 * quarter for quarter in range(4)] + [BEGIN + DAY_S, float("inf")]
    largest = tuple(max((len(body) for at, _, body in saved if begin <= at < end), default=0) for begin, end in pairwise(bounds))
    most: Callable[[str], int] = lambda part: max(len(getattr(document, part)) for document in documents)  # noqa: E731
    violations = check(scenario) + _sizes(documents, largest)
    restarts = sum(not run.refused for run in world.rundeck.runs)
    archived = len(world.store.archived)
    return Course(violations, len(scenario.causes), restarts, archived, largest, most("outcomes"), most("holds"), most("threads"))


def _sizes(documents: list[Document], largest: tuple[int, ...]) -> list[Violation]:
    violations = [Violation("size", f"a document had {size} bytes") for size in largest if size > MOST_BYTES]
    for kept, part in ((OUTCOMES_KEPT, "outcomes"), (HOLDS_KEPT, "holds"), (THREADS_KEPT, "threads")):
        over = Counter(document.key for document in documents if len(getattr(document, part)) > kept)
        violations += [Violation("size", f"{key} had more than {kept} {part}, {times} times") for key, times in over.items()]
    return violations


def _in_threads(right: Any) -> Any:
    """A chat with threads, whose handles are kept."""

    def post(self: Host, channel: str, card: Any, thread: str | None, timeout_s: float) -> str:
        right(self, channel, card, thread, timeout_s)
        return thread or f"{channel}-{card.incident}"

    return post


def _built(rng: random.Random) -> Scenario:
    rules = Rules({"mail": a_runbook(limits=LIMITS)}, ("ops",))
    world = World(rng, PROFILES["all"], rules, _target_of, calm_from=BEGIN + DAY_S)
    world.rundeck.ahead_s = rng.choice([0.0, -90.0, 15.0])
    scenario = Scenario(world)
    for number in range(APPS):
        app = f"app{number}"
        name = f"{app}.mail"
        world.queues[to_queue("/", name).key] = Queue(BEGIN - 1000.0, (Worker(f"{app}-old", rate=3.0),))
        world.on_restart = _restarted(scenario, app, name, world.on_restart)
        world.at(BEGIN + rng.random() * 900.0, _falls_ill(scenario, app, name))
    for hour in range(3, 24, 5):
        world.at(BEGIN + 3600.0 * hour, lambda: world.pause(on=True))
        world.at(BEGIN + 3600.0 * hour + rng.choice([60.0, 900.0]), lambda: world.pause(on=False))
    world.sweep_every(300.0, BEGIN + DAY_S + CALM_S)
    return scenario


def _restarted(scenario: Scenario, app: str, name: str, before: Callable[[World, Run], None]) -> Callable[[World, Run], None]:
    def happens(world: World, run: Run) -> None:
        before(world, run)
        if run.target == f"target-{app}":
            _after_restart(scenario, app, [name], run)

    return happens


def _falls_ill(scenario: Scenario, app: str, name: str) -> Callable[[], None]:
    """It gets stuck, Grafana notices, people fix what nothing else fixed; and again after a while."""
    world, rng = scenario.world, scenario.world.rng

    def happens() -> None:
        if world.now >= world.calm_from - PEOPLE_AFTER_S:
            return
        cause = Cause(app, name, world.now, rng.choice([1.0, 1.0, 1.0, 0.5, 0.0]))
        scenario.causes.append(cause)
        _sticks(world, cause)()
        starts_at = world.now + rng.choice([70.0, 90.0, 130.0])
        alerts = tuple(_alert(app, name, rng.randrange(NODES), starts_at) for _ in range(rng.choice([1, 1, 3, 30])))
        again = rng.choice([300.0, 900.0])
        for replica in range(rng.choice([1, 1, 2])):
            shifted = tuple(replace(alert, starts_at=starts_at + (rng.random() if replica else 0.0)) for alert in alerts)
            world.at(starts_at + 15.0 * replica + 1.0, _tells(world, shifted, again))
        if rng.random() < 0.2:
            world.at(starts_at + rng.choice([1000.0, 8000.0, 40000.0]), lambda: world.notify(alerts))
        world.at(world.now + PEOPLE_AFTER_S, lambda: _mended(world, app, name))
        world.at(world.now + rng.choice(GAPS_S), _falls_ill(scenario, app, name))

    return happens


def _alert(app: str, queue: str, node: int, starts_at: float) -> Alert:
    labels = {"alertname": "Stuck", "app": app, "queue": queue, "instance": f"rabbit-{node}"}
    return Alert(f"fp-{queue}-{node}", "grafana#1", True, labels, {}, starts_at)


def _ill(world: World, name: str) -> bool:
    queue = world.queues[to_queue("/", name).key]
    return queue.depth(world.now) > 0 and not queue.acked_within(world.now, 60.0)


def _mended(world: World, app: str, name: str) -> None:
    if _ill(world, name):
        world.note(f"people mend {name}")
        world.queues[to_queue("/", name).key].turn(world.now, (Worker(f"{app}-mended-{world.now:.0f}", rate=6.0),))


def _tells(world: World, alerts: tuple[Alert, ...], again: float) -> Callable[[], None]:
    """Grafana tells and repeats as long as it is ill, and says once that it is over."""

    def happens() -> None:
        firing = _ill(world, alerts[0].labels["queue"])
        over = tuple(replace(alert, firing=False, ends_at=world.now) for alert in alerts)
        world.notify(alerts if firing else over, again=300.0)
        if firing:
            world.at(world.now + again, happens)

    return happens
