"""What Grafana tells of a queue: an alert that fires, repeats and resolves, and a suspicion that comes and goes."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from msgspec.structs import replace

from functions.adapters.symptoms.rabbitmq import to_queue
from functions.domain.model.alerts import SUSPICION, Alert
from tests.simulation.world import BEGIN, World

SUSPECTS_S = 20.0
EVALUATED_S = 10.0
SUSPECTED_UNTIL_S = 900.0
FIRES_UNTIL_S = 20000.0


def raise_alert(
    world: World, app: str, queue: str, starts_at: float, runbook: str = "mail", annotations: Mapping[str, str] = {}
) -> None:
    """Grafana notices, tells, repeats, from one or two replicas, and says resolved when the queue is healthy."""
    labels = {"alertname": "Stuck", "app": app, "queue": queue, "runbook": runbook}
    alert = Alert(f"fp-{queue}", "grafana#1", True, labels, annotations, starts_at)
    world.alerts.append(alert)
    again = world.rng.choice([300.0, 900.0, 14400.0])
    for replica in range(world.rng.choice([1, 1, 2])):
        shifted = replace(alert, starts_at=alert.starts_at + (world.rng.random() if replica else 0.0))
        world.at(starts_at + 15.0 * replica + 1.0, _flush(world, shifted, again))
    if world.rng.random() < 0.2:
        world.at(starts_at + 1.0, _flush(world, alert, again))
    if world.wants("lagging figures", 0.1):  # then it ends by figures of before, and begins anew
        ended = world.more.choice([60.0, 120.0, 400.0])
        world.at(starts_at + ended, lambda: world.notify((replace(alert, firing=False, ends_at=world.now),)))
    if world.rng.random() < 0.1:
        # Somebody sends an old body again, as it was: its alert still says firing.
        world.at(starts_at + world.rng.choice([100.0, 1000.0, 8000.0]), lambda: world.notify((alert,)))


def suspect(world: World, app: str, queue: str, begins: float, runbook: str = "mail", until_s: float = SUSPECTED_UNTIL_S) -> None:
    """A rule that is evaluated every few seconds, without `for`: it fires and resolves as the queue stands still and moves."""
    labels = {"alertname": "Suspected", "app": app, "queue": queue, "runbook": runbook, SUSPICION[0]: SUSPICION[1]}
    firing: list[Alert] = []

    def evaluated() -> None:
        now, course = world.now, world.queues[to_queue("/", queue).key]
        still = course.depth(now) > 0 and course.depth(now - SUSPECTS_S) > 0 and not course.acked_within(now, SUSPECTS_S)
        if still and not firing:
            firing.append(Alert(f"fs-{queue}", "grafana#1", True, labels, {}, now))
            world.notify((firing[0],), again=EVALUATED_S)
        elif firing and not still:
            world.notify((replace(firing.pop(), firing=False, ends_at=now),))
        if now < begins + until_s:
            world.at(now + EVALUATED_S, evaluated)

    world.at(begins + EVALUATED_S, evaluated)


def _flush(world: World, alert: Alert, again: float) -> Callable[[], None]:
    def happens() -> None:
        # Grafana sends the group whole, what has begun by now; `maxAlerts` cuts it off.
        group = _latest(world, alert)
        cut = world.rng.choice([1, len(group), len(group), len(group)])
        fires = _fires(world, alert)
        now = (one if _fires(world, one) else replace(one, firing=False, ends_at=world.now) for one in group[:cut])
        world.notify(tuple(now), again=300.0 if fires else None)
        if fires and world.now < BEGIN + FIRES_UNTIL_S:
            world.at(world.now + again, happens)

    return happens


def _fires(world: World, alert: Alert) -> bool:
    queue = world.queues[to_queue("/", alert.labels["queue"]).key]
    quiet = not queue.acked_within(world.now, 60.0) or queue.stuck(world.now, 60.0) or alert.labels["runbook"] != "mail"
    return (queue.depth(world.now) > 0 and quiet) or world.now < alert.starts_at + 20.0


def _latest(world: World, alert: Alert) -> list[Alert]:
    """The alert, and the newest one of each other queue that Grafana groups with it."""
    mine = alert.labels
    newest = {
        other.labels["queue"]: other
        for other in world.alerts
        if other.starts_at <= world.now
        and (world.grouped == "all" or (world.grouped == "app" and other.labels["app"] == mine["app"]))
    }
    return [alert, *(other for queue, other in newest.items() if queue != mine["queue"])]
