"""One world for a whole day: the same applications fall ill again and again, under every fault, so that documents grow old.

The schedules of scenario.py are short and many. What only time can show is here: whether a document keeps growing with each
incident, and whether an outcome, a hold or a thread of hours ago gets in the way of the next one.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import pytest
from msgspec.structs import replace

from functions.adapters.symptoms.rabbitmq import to_queue
from functions.domain.decisions.endings import OUTCOMES_KEPT
from functions.domain.decisions.messages import HOLDS_KEPT, THREADS_KEPT
from functions.domain.model.alerts import Alert
from functions.domain.model.codes import Mode
from functions.domain.model.runbooks import Limits, Rules, Verify
from tests.simulation.broken import applied
from tests.simulation.broker import Queue
from tests.simulation.checker.check import check
from tests.simulation.checker.past import look_back
from tests.simulation.courses.stuck import Cause, get_stuck, let_restart
from tests.simulation.host import Host
from tests.simulation.queues import Worker
from tests.simulation.scenario import PROFILES, Scenario, a_runbook, target_of
from tests.simulation.world import BEGIN, World

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
"""Of any document at any time: 20 outcomes of up to 30 alerts, 60 holds, 20 threads, an incident, what waits for a chat."""


@pytest.mark.long  # by day schedules of 60 seeds say that nothing goes wrong within hours
@pytest.mark.parametrize("seed", [0, 5])
def test_a_day_of_illnesses_leaves_small_documents_and_none_open(seed: int) -> None:
    """Each target has more incidents than a document keeps outcomes, threads and holds of: the limits are reached, and hold."""
    scenario = _build(random.Random(seed))
    with applied((Host, "post", _in_threads)):
        scenario.world.run(BEGIN + DAY_S + CALM_S)

    assert check(scenario) == []
    assert len(scenario.causes) > 100
    assert sum(not run.refused for run in scenario.world.rundeck.runs) > 40
    documents = [document for _, _, document in look_back(scenario).saves]
    assert max(len(document.outcomes) for document in documents) == OUTCOMES_KEPT
    assert max(len(document.threads) for document in documents) == THREADS_KEPT
    assert 30 < max(len(document.holds) for document in documents) <= HOLDS_KEPT
    assert max(len(body) for _, _, body in scenario.world.saved) < MOST_BYTES


def _in_threads(right: Any) -> Any:
    """A chat with threads, whose handles are kept."""

    def post(self: Host, channel: str, card: Any, thread: str | None, timeout_s: float) -> str:
        right(self, channel, card, thread, timeout_s)
        return thread or f"{channel}-{card.incident}"

    return post


def _build(rng: random.Random) -> Scenario:
    rules = Rules({"mail": a_runbook(Mode.AUTO, Verify(), LIMITS)}, ("ops",))
    world = World(rng, PROFILES["all"], rules, target_of, calm_from=BEGIN + DAY_S)
    world.rundeck.ahead_s = rng.choice([0.0, -90.0, 15.0])
    scenario = Scenario(world)
    for number in range(APPS):
        app, name = f"app{number}", f"app{number}.mail"
        world.queues[to_queue("/", name).key] = Queue(BEGIN - 1000.0, (Worker(f"{app}-old", rate=3.0),))
        let_restart(world, app, [name], scenario.causes)
        world.at(BEGIN + rng.random() * 900.0, _fall_ill(scenario, app, name))
    for hour in range(3, 24, 5):
        world.at(BEGIN + 3600.0 * hour, lambda: world.pause(on=True))
        world.at(BEGIN + 3600.0 * hour + rng.choice([60.0, 900.0]), lambda: world.pause(on=False))
    world.sweep_every(300.0, BEGIN + DAY_S + CALM_S)
    return scenario


def _fall_ill(scenario: Scenario, app: str, name: str) -> Callable[[], None]:
    """It gets stuck, Grafana notices, people fix what nothing else fixed; and again after a while."""
    world, rng = scenario.world, scenario.world.rng

    def happens() -> None:
        if world.now >= world.calm_from - PEOPLE_AFTER_S:
            return
        scenario.causes.append(Cause(app, name, world.now, rng.choice([1.0, 1.0, 1.0, 0.5, 0.0])))
        get_stuck(world, scenario.causes[-1])()
        starts_at = world.now + rng.choice([70.0, 90.0, 130.0])
        alerts = tuple(_alert(app, name, rng.randrange(NODES), starts_at) for _ in range(rng.choice([1, 1, 3, 30])))
        again = rng.choice([300.0, 900.0])
        for replica in range(rng.choice([1, 1, 2])):
            shifted = tuple(replace(alert, starts_at=starts_at + (rng.random() if replica else 0.0)) for alert in alerts)
            world.at(starts_at + 15.0 * replica + 1.0, _tell(world, shifted, again))
        if rng.random() < 0.2:
            world.at(starts_at + rng.choice([1000.0, 8000.0, 40000.0]), lambda: world.notify(alerts))
        world.at(world.now + PEOPLE_AFTER_S, lambda: _mend(world, app, name))
        world.at(world.now + rng.choice(GAPS_S), _fall_ill(scenario, app, name))

    return happens


def _alert(app: str, queue: str, node: int, starts_at: float) -> Alert:
    labels = {"alertname": "Stuck", "app": app, "queue": queue, "instance": f"rabbit-{node}"}
    return Alert(f"fp-{queue}-{node}", "grafana#1", True, labels, {}, starts_at)


def _is_ill(world: World, name: str) -> bool:
    queue = world.queues[to_queue("/", name).key]
    return queue.depth(world.now) > 0 and not queue.acked_within(world.now, 60.0)


def _mend(world: World, app: str, name: str) -> None:
    if _is_ill(world, name):
        world.note(f"people mend {name}")
        mended = Worker(f"{app}-mended-{world.now:.0f}", rate=6.0)
        world.queues[to_queue("/", name).key].turn(world.now, (mended,))


def _tell(world: World, alerts: tuple[Alert, ...], again: float) -> Callable[[], None]:
    """Grafana tells and repeats as long as it is ill, and says once that it is over."""

    def happens() -> None:
        firing = _is_ill(world, alerts[0].labels["queue"])
        over = tuple(replace(alert, firing=False, ends_at=world.now) for alert in alerts)
        world.notify(alerts if firing else over, again=300.0)
        if firing:
            world.at(world.now + again, happens)

    return happens
