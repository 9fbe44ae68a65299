"""Applications that get stuck once or twice, and such that are only busy, idle or slow though an alert says otherwise."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from functions.adapters.symptoms.rabbitmq import to_queue
from tests.simulation.broker import Queue
from tests.simulation.courses.alerts import raise_alert, suspect
from tests.simulation.models import Run
from tests.simulation.queues import Worker
from tests.simulation.world import BEGIN, World

SUSPECTED = 0.4
"""Of the applications: a second rule suspects them long before the alert fires."""
SLOW = 0.04
"""Messages a second of a slow consumer: a suspicion flaps, and nothing is stuck."""
HOW = ("all hang", "all hang", "one hangs", "one hangs", "unserved", "unattended", "goes round")
"""What becomes of an application's consumers. Prometheus does not tell the last from a queue that stands still."""
BUSY = ("busy", "slow", "idle", "rejects", "never consumed")
"""What an alert may be wrong about; Prometheus does not tell the last two from queues that stand still."""
IDLE_S, TAKES_S = 100.0, 4.0
"""Between two messages of an idle queue, and how long each takes."""
ABLE = 3.0
"""Messages a second that all consumers of a queue can finish; a sixth of that comes."""
DEAD_LETTERS = 0.1


@dataclass
class Cause:
    """One time that a target's application got stuck, and what helps."""

    target: str
    queue: str
    began: float
    heals: float
    """Likelihood that a restart helps."""
    self_heals: float | None = None
    how: str = "all hang"
    """Of HOW."""


def add_application(world: World, app: str) -> list[Cause]:
    """Draw one with one or two queues, and what goes wrong with it."""
    rng = world.rng
    names = [f"{app}.mail"] + ([f"{app}.post"] if rng.random() < 0.3 or "two_queues" in world.options else [])
    suspected = rng.random() < SUSPECTED or "suspected" in world.options
    if (rng.random() < 0.15 and "sick" not in world.options) or "busy" in world.options:
        _only_busy(world, app, names, suspected=suspected)
        return []
    for name in names:
        workers = tuple(make_worker(world, f"{app}-old-{number}", number, 3) for number in range(rng.choice([1, 3])))
        world.queues[to_queue("/", name).key] = Queue(BEGIN - 1000.0, workers)
    begins, causes = BEGIN + rng.random() * 200.0, []
    for _ in range(rng.choice([1, 1, 2])):
        heals = rng.choice([1.0, 1.0, 0.5, 0.0])
        self_heals = begins + rng.choice([20.0, 150.0, 900.0]) if rng.random() < 0.15 else None
        how = _draw_how(world)
        for name in names:
            causes.append(Cause(app, name, begins, heals, self_heals, how))
            world.at(begins, get_stuck(world, causes[-1]))
            if self_heals is not None:
                world.at(self_heals, _mend(world, causes[-1]))
            raise_alert(world, app, name, begins + rng.choice([70.0, 90.0, 130.0]))
            if suspected:
                suspect(world, app, name, begins + rng.random() * 10.0)
        begins += rng.choice([900.0, 3000.0, 6000.0])
    if rng.random() < DEAD_LETTERS and "sick" not in world.options and not world.faults.scrape_s:
        _never_consumed(world, app)
    let_restart(world, app, names, causes)
    return causes


def _draw_how(world: World) -> str:
    """The one that an option names; where all must be seen to be stuck, one that always is."""
    named = [how for how in HOW if how in world.options]
    seen = HOW[:-1] if world.faults.scrape_s else HOW
    return world.rng.choice(named or (("all hang",) if "sick" in world.options else seen))


def make_worker(world: World, name: str, number: int, of: int, rate: float = ABLE) -> Worker:
    """A consumer of an application that has so many."""
    return Worker(name, world.broker.connect(number), rate / of)


def _only_busy(world: World, app: str, names: list[str], *, suspected: bool) -> None:
    """Nothing is stuck: an alert that is wrong, or a suspicion that comes and goes with each message of a slow consumer."""
    kinds = BUSY[: 3 if world.faults.scrape_s else 5]
    for name in names:
        kind = "slow" if suspected else world.rng.choice(kinds)
        if kind == "never consumed":
            _never_consumed(world, app)
            continue
        rate = SLOW if kind == "slow" else ABLE
        ends = "reject" if kind == "rejects" or (kind == "idle" and world.rng.random() < 0.5) else "ack"
        comes, waits = (0.0, 3.0) if kind == "idle" else (rate, 40.0)
        before = make_worker(world, f"{app}-before", 0, 1)
        queue = world.queues[to_queue("/", name).key] = Queue(BEGIN - 1000.0, (before,), publish=comes, depth=waits)
        queue.turn(BEGIN - 990.0, (replace(make_worker(world, f"{app}-old", 1, 1, rate), ends=ends),))
        if kind == "idle":
            _one_by_one(world, queue, BEGIN + 100.0 - world.rng.random() * TAKES_S)
        if suspected:
            suspect(world, app, name, BEGIN)
        else:
            raise_alert(world, app, name, BEGIN + 100.0)


def _never_consumed(world: World, app: str) -> None:
    """A queue of dead letters, and an alert for it."""
    name = f"{app}.dead"
    world.queues[to_queue("/", name).key] = Queue(BEGIN - 1000.0, publish=0.002, depth=3.0)
    raise_alert(world, app, name, BEGIN + 100.0)


def _one_by_one(world: World, queue: Queue, at: float) -> None:
    """A message now and then, which is finished soon."""
    for number in range(-10, 20):
        for when, holds in ((at + IDLE_S * number, 1), (at + IDLE_S * number + TAKES_S, 0)):
            if when > world.now:
                world.at(when, lambda holds=holds: queue.hold(world.now, holds))
            else:
                queue.hold(when, holds)


def get_stuck(world: World, cause: Cause) -> Callable[[], None]:
    """What happens to its queue then."""

    def happens() -> None:
        queue = world.queues[to_queue("/", cause.queue).key]
        world.note(f"{cause.queue} gets stuck: {cause.how}")
        here = queue.piece(world.now).workers or (make_worker(world, f"{cause.target}-late", 0, 1),)
        queue.turn(world.now, _stuck(world, here, cause, cause.target))

    return happens


def _stuck(world: World, workers: tuple[Worker, ...], cause: Cause, prefix: str) -> tuple[Worker, ...]:
    """What the illness makes of these consumers."""
    if cause.how == "unattended":
        return ()
    if cause.how == "goes round":
        return (Worker(f"{prefix}-round-{world.now:.0f}", world.broker.connect(0), 0.5, 1, "return"),)
    if cause.how == "unserved":
        return tuple(replace(worker, rate=0.0, holds=0) for worker in workers)
    hang = workers[:1] if cause.how == "one hangs" else workers
    return tuple(replace(worker, rate=0.0, holds=1) if worker in hang else worker for worker in workers)


def _mend(world: World, cause: Cause) -> Callable[[], None]:
    def happens() -> None:
        queue = world.queues[to_queue("/", cause.queue).key]
        world.note(f"{cause.queue} mends itself")
        here = queue.piece(world.now).workers or (make_worker(world, f"{cause.target}-mended", 0, 1),)
        queue.turn(world.now, tuple(replace(worker, rate=2 * ABLE / len(here)) for worker in here if worker.ends == "ack"))

    return happens


def let_restart(world: World, app: str, names: list[str], causes: list[Cause]) -> None:
    """From now on a restart of this target restarts these queues' consumers."""
    before = world.on_restart

    def happens(world: World, run: Run) -> None:
        before(world, run)
        if run.target == f"target-{app}":
            for name in names:
                cause = next((one for one in reversed(causes) if one.queue == name and one.began <= world.now), None)
                _restart(world, app, name, cause, run)

    world.on_restart = happens


def _restart(world: World, app: str, name: str, cause: Cause | None, run: Run) -> None:
    """The old consumers go, some of them late; new ones come, and work, stick again or stay away."""
    rng, queue = world.rng, world.queues[to_queue("/", name).key]
    old, stay_s = queue.piece(world.now).workers, rng.choice([0.0, 0.0, 4.0, 9.5])
    queue.turn(world.now, tuple(replace(worker, rate=0.0) for worker in old if worker.ends == "ack") if stay_s else ())
    if stay_s:
        world.at(world.now + stay_s, lambda: queue.leave(world.now, old))
    helps = cause is None or (rng.random() < cause.heals and (run.status == "succeeded" or run.goes_on_s > 0))
    kind = rng.random()

    def comes() -> None:
        if not helps and kind < 0.3:
            return
        count = 3 if cause is not None and cause.how == "one hangs" else 1
        rate = 0.9 if kind > 0.8 else 4.5
        come = tuple(make_worker(world, f"{app}-{run.id}-{number}", number, count, rate) for number in range(count))
        if cause is not None and not helps:
            come = _stuck(world, come, cause, f"{app}-{run.id}")
        queue.turn(world.now, (*queue.piece(world.now).workers, *come))

    world.at(world.now + rng.choice([0.5, 3.0, 8.0]), comes)
