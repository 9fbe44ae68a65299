"""One schedule: what goes wrong in the world, and which faults strike."""

from __future__ import annotations

import dataclasses
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial

from msgspec.structs import replace

from functions.adapters.symptoms.rabbitmq import to_queue
from functions.domain.decisions.following import FOLLOWED_S
from functions.domain.model.alerts import SUSPICION, Alert, QueueRef, Target
from functions.domain.model.codes import Mode, Phase
from functions.domain.model.runbooks import EvidenceJob, Limits, Rules, Runbook, Verify
from tests.simulation.courses.held import APP, RUNBOOK, SHARE, Held, add, named
from tests.simulation.courses.troubles import freeze, troubles
from tests.simulation.models import Faults, Run
from tests.simulation.queues import Broker, Queue, Worker
from tests.simulation.world import BEGIN, World, a_runbook

CALM_AFTER_S = 7200.0
END_AFTER_S = 40000.0
SUSPECTED = 0.4
"""Of the queues: a second rule suspects them after `SUSPECTS_S` without movement, long before the alert fires."""
SUSPECTS_S = 20.0
EVALUATED_S = 10.0
SUSPECTED_UNTIL_S = 900.0
SLOW = 0.04
"""Messages a second of a slow consumer: a suspicion flaps, and nothing is stuck."""
HOW = ("all hang", "all hang", "one hangs", "one hangs", "unserved", "unattended", "goes round")
"""What becomes of an application's consumers."""
BUSY = ("busy", "slow", "idle", "rejects", "never consumed")
"""What an alert may be wrong about; Prometheus does not tell the last two from queues that stand still."""
IDLE_S, TAKES_S = 100.0, 4.0
"""Between two messages of an idle queue, and how long each takes."""
ABLE = 3.0
"""Messages a second that all consumers of a queue can finish; a sixth of that comes."""
TAKEN_EVERY = 7
"""Of the moments, ten minutes apart, at which somebody could take an escalation: about one in four is taken before its second
reminder, and some are not at all."""
APART_S = 2400.0
"""Between the queues of an application, where they don't get stuck together."""
DEAD_LETTERS = 0.1
TAKEN_UNTIL_MIN = 40
DECLINED_EVERY = 4
"""One press in this many is a no."""
EVIDENCE = 0.3
"""How likely a schedule's runbook has an evidence job."""

CROWD = 0.01
"""More targets at once than one notification decides directly."""
QUICK = Verify(first_s=2.0, every_s=3.0, patience_s=60.0, within_s=300.0)

PROFILES: dict[str, Faults] = {
    "none": Faults(),
    "crash": Faults(crash=0.03),
    "crash more": Faults(crash=0.12),
    "stall": Faults(stall=0.05),
    "stall and crash": Faults(stall=0.06, crash=0.03),
    "store": Faults(store_lost=0.1, store_down=0.05),
    "scheduler": Faults(wake_lost=0.15, wake_twice=0.3, wake_late=0.1, wake_down=0.05),
    "runner": Faults(run_lost=0.3, run_late=0.3, run_error=0.1, history_down=0.1, history_lag_s=40.0),
    "late runner": Faults(run_late=0.8, stall=0.05),
    "lagging history": Faults(run_lost=0.6, history_lag_s=55.0),
    "unreadable history": Faults(run_lost=0.1, history_down=0.97),
    "broker": Faults(broker_down=0.3, slow=0.1),
    "late figures": Faults(scrape_s=15.0, broker_down=0.05),
    "slow broker": Faults(broker_slow=0.3),
    "very late figures": Faults(scrape_s=60.0, crash=0.03, stall=0.05),
    "chat": Faults(chat_down=0.5, chat_lost=0.2),
    "all": Faults(0.02, 0.03, 0.05, 0.03, 0.02, 0.05, 0.1, 0.05, 0.02, 0.1, 0.1, 0.05, 0.05, 20.0, 0.1, 0.2, 0.1),
}


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


@dataclass
class Scenario:
    world: World
    causes: list[Cause] = field(default_factory=list)
    alerts: list[Alert] = field(default_factory=list)
    held: Held | None = None
    drawn: float = 0.0
    """What else is drawn comes from here, so that the rest stays as it was."""


def build(
    rng: random.Random, *, trace: bool = False, faults: Faults | None = None, options: frozenset[str] = frozenset()
) -> Scenario:
    """Draw a schedule. Everything that is drawn comes from `rng`."""
    profile = faults or PROFILES[rng.choice(sorted(PROFILES))]
    runbook = _runbook(rng, options)
    public = "https://unstick.example.com" if runbook.mode is Mode.APPROVE or rng.random() < 0.2 else ""
    rules = Rules({"mail": runbook}, ("ops",), public_url=public)
    world = World(rng, profile, rules, _target_of, [] if trace else None, calm_from=BEGIN + CALM_AFTER_S, options=options)
    world.rundeck.ahead_s = rng.choice([0.0, -90.0, 15.0, 200.0])
    world.rundeck.honours_fence = "no_fence_in_job" not in options
    world.rundeck.fails = 0.7 if "failing" in options else 0.1
    world.rundeck.one_at_a_time = "one_job" in options or rng.random() < 0.3
    sick = "sick" in options
    world.broker = Broker(monitoring=rng.random() < 0.8 and "no monitoring" not in options, statistics=sick or rng.random() < 0.9)
    scenario = Scenario(world)
    count = 6 if "many" in options else 13 if rng.random() < CROWD else rng.choice([1, 1, 1, 2, 2, 6])
    world.grouped = rng.choice(["", "app", "app", "all"])
    for number in range(count):
        _target(scenario, f"app{number}", rng)
    _people(scenario, rng)
    if "untroubled" not in options:
        troubles(world, rng)
    _evidence(world, rng)
    _hold(scenario, named(options) or not options)
    if "no_sweep" not in options:
        world.sweep_every(300.0, end_of(scenario))
    return scenario


def _hold(scenario: Scenario, may: bool) -> None:
    """In some schedules there is an application that holds messages, on purpose or not."""
    rng = random.Random(scenario.drawn + 1.0)
    if may and (rng.random() < SHARE or named(scenario.world.options)):
        scenario.held = add(scenario.world, rng, partial(_alert, scenario, APP, rng=rng, runbook=RUNBOOK))


def end_of(scenario: Scenario) -> float:
    """When the schedule ends: what is only observed is followed for a day."""
    observes = scenario.world.rules.runbooks["mail"].mode is Mode.OBSERVE
    return BEGIN + END_AFTER_S + (FOLLOWED_S if observes else 0.0)


def _evidence(world: World, rng: random.Random) -> None:
    """In some schedules evidence comes before the restart; where all clocks are one, it is known how long it may wait."""
    if "evidence" not in world.options and ("untroubled" in world.options or rng.random() >= EVIDENCE):
        return
    job = EvidenceJob("evidence", within_s=rng.choice([5.0, 20.0, 60.0]))
    book = replace(world.rules.runbooks["mail"], evidence=job)
    world.rules = replace(world.rules, runbooks={"mail": book})
    world.rundeck.evidence_as_restarts = "same_job" in world.options
    if rng.random() < 0.5:
        world.options |= {"one_clock"}


def _runbook(rng: random.Random, options: frozenset[str]) -> Runbook:
    drawn = rng.choice([Mode.AUTO] * 6 + [Mode.APPROVE, Mode.OBSERVE])
    mode = next((mode for mode in Mode if mode.value in options), drawn)
    verify = QUICK if "quick" in options or rng.random() < 0.25 else Verify()
    limits = Limits(cooldown_s=rng.choice([60.0, 600.0]), attempts=rng.choice([1, 2, 2, 3]))
    if "limited" in options:
        limits = Limits(cooldown_s=60.0, restarts=((3600.0, 1),))
    return a_runbook(mode=mode, verify=verify, limits=limits, freeze=() if "untroubled" in options else freeze(rng, options))


def _target_of(alert: Alert) -> tuple[Target, QueueRef]:
    app = alert.labels["app"]
    return Target(f"target-{app}", "http://rundeck", "job", {"app": app}), to_queue("/", alert.labels["queue"])


def _target(scenario: Scenario, app: str, rng: random.Random) -> None:
    """An application with one or two queues that gets stuck once or twice, or is only busy."""
    world = scenario.world
    names = [f"{app}.mail"] + ([f"{app}.post"] if rng.random() < 0.3 or "two_queues" in world.options else [])
    busy = (rng.random() < 0.15 and "sick" not in world.options) or any(kind in world.options for kind in BUSY)
    scenario.drawn = rng.random()
    also = random.Random(scenario.drawn)
    suspected = also.random() < SUSPECTED or "suspected" in world.options
    if busy:
        _only_busy(scenario, app, names, rng, suspected=suspected)
        return
    for name in names:
        workers = tuple(_worker(world, f"{app}-old-{number}", number, 3) for number in range(also.choice([1, 3])))
        world.queues[to_queue("/", name).key] = Queue(BEGIN - 1000.0, workers)
    begins = BEGIN + rng.random() * 200.0
    for _ in range(2 if "soon_again" in world.options else rng.choice([1, 1, 2])):
        heals = 0.0 if "never heals" in world.options else rng.choice([1.0, 1.0, 0.5, 0.0])
        own_s = begins + rng.choice([20.0, 150.0, 900.0]) if rng.random() < 0.15 else None
        how = _draw_how(world, also)
        for place, name in enumerate(names):
            at = begins + place * APART_S if "apart" in world.options else begins
            cause = Cause(app, name, at, heals, own_s, how)
            scenario.causes.append(cause)
            world.at(at, _sticks(world, cause))
            if own_s is not None:
                world.at(own_s, _mends(world, cause))
            _alert(scenario, app, name, at + rng.choice([70.0, 90.0, 130.0]), rng)
            if suspected:
                _suspect(scenario, app, name, at + also.random() * EVALUATED_S)
        begins += 300.0 if "soon_again" in world.options else rng.choice([900.0, 3000.0, 6000.0])
    unseen = "sick" in world.options or world.faults.scrape_s
    if "dead letters" in world.options or (also.random() < DEAD_LETTERS and not unseen):
        _dead_letters(scenario, app, also)
    before = world.on_restart

    def restarted(at: World, run: Run) -> None:
        before(at, run)
        if run.target == f"target-{app}":
            _after_restart(scenario, app, names, run)

    world.on_restart = restarted


def _draw_how(world: World, rng: random.Random) -> str:
    """One of HOW; those that an option names, and where all must be seen to be stuck those that are always seen."""
    named = [how for how in HOW if how in world.options]
    seen = HOW[:-1] if world.faults.scrape_s else HOW  # Prometheus does not tell a loop from a queue that stands still
    return rng.choice(named or (("all hang",) if "sick" in world.options else seen))


def _worker(world: World, name: str, number: int, of: int, rate: float = ABLE) -> Worker:
    return Worker(name, world.broker.connect(number), rate / of)


def _dead_letters(scenario: Scenario, app: str, rng: random.Random) -> None:
    """A queue beside the others that nobody ever consumes, and an alert for it."""
    name = f"{app}.dead"
    scenario.world.queues[to_queue("/", name).key] = Queue(BEGIN - 1000.0, (), publish=0.002, depth=3.0)
    _alert(scenario, app, name, BEGIN + 100.0, rng)


def _only_busy(scenario: Scenario, app: str, names: list[str], rng: random.Random, *, suspected: bool) -> None:
    """Nothing is stuck: an alert that is wrong, or a suspicion that comes and goes with each message of a slow consumer."""
    world = scenario.world
    kinds = [kind for kind in BUSY if kind in world.options] or BUSY[: 3 if world.faults.scrape_s else 5]
    for name in names:
        kind = "slow" if suspected and len(kinds) > 1 else rng.choice(kinds)
        if kind == "never consumed":
            _dead_letters(scenario, app, rng)
            continue
        rate = SLOW if kind == "slow" else ABLE
        ends = "reject" if kind == "rejects" or (kind == "idle" and rng.random() < 0.5) else "ack"
        worker = dataclasses.replace(_worker(world, f"{app}-old", 1, 1, rate), ends=ends)
        before, comes, waits = (
            _worker(world, f"{app}-before", 0, 1),
            0.0 if kind == "idle" else rate,
            3.0 if kind == "idle" else 40.0,
        )
        queue = world.queues[to_queue("/", name).key] = Queue(BEGIN - 1000.0, (before,), publish=comes, depth=waits)
        queue.turn(BEGIN - 990.0, (worker,))
        if kind == "idle":
            _one_by_one(world, queue, BEGIN + 100.0 - rng.random() * TAKES_S)
        if suspected:
            _suspect(scenario, app, name, BEGIN)
        else:
            _alert(scenario, app, name, BEGIN + 100.0, rng)


def _one_by_one(world: World, queue: Queue, at: float) -> None:
    """A message now and then, which is finished soon."""
    for number in range(-10, 20):
        for when, holds in ((at + IDLE_S * number, 1), (at + IDLE_S * number + TAKES_S, 0)):
            if when > world.now:
                world.at(when, lambda holds=holds: queue.hold(world.now, holds))
            else:
                queue.hold(when, holds)


def _sticks(world: World, cause: Cause) -> Callable[[], None]:
    def happens() -> None:
        queue = world.queues[to_queue("/", cause.queue).key]
        world.note(f"{cause.queue} gets stuck: {cause.how}")
        here = queue.piece(world.now).workers or (_worker(world, f"{cause.target}-late", 0, 1),)
        queue.turn(world.now, _stuck(world, here, cause, cause.target))

    return happens


def _stuck(world: World, workers: tuple[Worker, ...], cause: Cause, prefix: str) -> tuple[Worker, ...]:
    """What the illness makes of these consumers."""
    if cause.how == "unattended":
        return ()
    if cause.how == "goes round":
        return (Worker(f"{prefix}-round-{world.now:.0f}", world.broker.connect(0), 0.5, 1, "return"),)
    if cause.how == "unserved":
        return tuple(dataclasses.replace(one, rate=0.0, holds=0) for one in workers)
    hang = workers[:1] if cause.how == "one hangs" else workers
    return tuple(dataclasses.replace(one, rate=0.0, holds=1) if one in hang else one for one in workers)


def _mends(world: World, cause: Cause) -> Callable[[], None]:
    def happens() -> None:
        queue = world.queues[to_queue("/", cause.queue).key]
        world.note(f"{cause.queue} mends itself")
        here = queue.piece(world.now).workers or (_worker(world, f"{cause.target}-mended", 0, 1),)
        queue.turn(world.now, tuple(dataclasses.replace(one, rate=2 * ABLE / len(here)) for one in here if one.ends == "ack"))

    return happens


def _after_restart(scenario: Scenario, app: str, names: list[str], run: Run) -> None:
    """The old consumers go, some of them late; new ones come, and work, stick again or stay away."""
    world = scenario.world
    for name in names:
        cause = next((one for one in reversed(scenario.causes) if one.queue == name and one.began <= world.now), None)
        queue = world.queues[to_queue("/", name).key]
        purged = "purges" in world.options
        old, stay_s = queue.piece(world.now).workers, world.rng.choice([0.0, 0.0, 4.0, 9.5])
        stopped = tuple(dataclasses.replace(one, rate=0.0, holds=0 if purged else one.holds) for one in old if one.ends == "ack")
        queue.turn(world.now, stopped if stay_s else (), publish=0.0 if purged else None, purge=purged)
        if stay_s:
            world.at(world.now + stay_s, lambda queue=queue, old=old: queue.leave(world.now, old))
        helps = cause is None or (world.rng.random() < cause.heals and run.status == "succeeded")
        kind = world.rng.random()

        def comes(
            queue: Queue = queue, cause: Cause | None = cause, helps: bool = helps, kind: float = kind, purged: bool = purged
        ) -> None:
            if purged or (not helps and kind < 0.3):
                return
            count = 3 if cause is not None and cause.how == "one hangs" else 1
            rate = 0.9 if kind > 0.8 else 4.5
            come = tuple(_worker(world, f"{app}-{run.id}-{number}", number, count, rate) for number in range(count))
            if cause is not None and not helps:
                come = _stuck(world, come, cause, f"{app}-{run.id}")
            queue.turn(world.now, (*queue.piece(world.now).workers, *come))

        world.at(world.now + world.rng.choice([0.5, 3.0, 8.0]), comes)


def _alert(
    scenario: Scenario, app: str, queue: str, starts_at: float, rng: random.Random, runbook: str = "mail",
    annotations: Mapping[str, str] = {},
) -> None:  # fmt: skip
    """Grafana notices, tells, repeats, from one or two replicas, and says resolved when the queue is healthy."""
    world = scenario.world
    labels = {"alertname": "Stuck", "app": app, "queue": queue, "runbook": runbook}
    alert = Alert(f"fp-{queue}", "grafana#1", True, labels, annotations, starts_at)
    scenario.alerts.append(alert)
    again = rng.choice([300.0, 900.0, 14400.0])
    for replica in range(rng.choice([1, 1, 2])):
        shifted = replace(alert, starts_at=alert.starts_at + (rng.random() if replica else 0.0))
        world.at(starts_at + 15.0 * replica + 1.0, _flush(scenario, shifted, again))
    if rng.random() < 0.2:
        world.at(starts_at + 1.0, _flush(scenario, alert, again))
    if rng.random() < 0.1:
        # Somebody sends an old body again, as it was: its alert still says firing.
        world.at(starts_at + rng.choice([100.0, 1000.0, 8000.0]), lambda: world.notify((alert,)))


def _suspect(scenario: Scenario, app: str, queue: str, begins: float) -> None:
    """A rule that is evaluated every few seconds, without `for`: it fires and resolves as the queue stands still and moves."""
    world, labels = scenario.world, {"alertname": "Suspected", "app": app, "queue": queue, SUSPICION[0]: SUSPICION[1]}
    firing: list[Alert] = []

    def evaluated() -> None:
        now, seen = world.now, world.queues[to_queue("/", queue).key]
        still = seen.depth(now) > 0 and seen.depth(now - SUSPECTS_S) > 0 and not seen.acked_within(now, SUSPECTS_S)
        if still and not firing:
            firing.append(Alert(f"fs-{queue}", "grafana#1", True, labels, {}, now))
            world.notify((firing[0],), again=EVALUATED_S)
        elif firing and not still:
            world.notify((replace(firing.pop(), firing=False, ends_at=now),))
        if now < begins + SUSPECTED_UNTIL_S:
            world.at(now + EVALUATED_S, evaluated)

    world.at(begins + EVALUATED_S, evaluated)


def _flush(scenario: Scenario, alert: Alert, again: float) -> Callable[[], None]:
    world = scenario.world

    def fires(alert: Alert) -> bool:
        queue = world.queues[to_queue("/", alert.labels["queue"]).key]
        quiet = not queue.acked_within(world.now, 60.0) or queue.stuck(world.now, 60.0) or alert.labels["runbook"] == RUNBOOK
        sick = queue.depth(world.now) > 0 and quiet
        return sick or "false_alarm" in world.options or world.now < alert.starts_at + 20.0

    def as_now(alert: Alert) -> Alert:
        return alert if fires(alert) else replace(alert, firing=False, ends_at=world.now)

    def happens() -> None:
        # Grafana sends the group whole, what has begun by now; `maxAlerts` cuts it off.
        group = _latest(scenario, alert, world.now)
        cut = world.rng.choice([1, len(group), len(group), len(group)])
        world.notify(tuple(as_now(one) for one in group[:cut]), again=300.0 if fires(alert) else None)
        if fires(alert) and world.now < BEGIN + 20000.0:
            world.at(world.now + again, happens)

    return happens


def _latest(scenario: Scenario, alert: Alert, now: float) -> list[Alert]:
    """The alert, and the newest one of each other queue that Grafana groups with it."""
    grouped, mine = scenario.world.grouped, alert.labels
    newest = {
        other.labels["queue"]: other
        for other in scenario.alerts
        if other.starts_at <= now and (grouped == "all" or (grouped == "app" and other.labels["app"] == mine["app"]))
    }
    return [alert, *(other for queue, other in newest.items() if queue != mine["queue"])]


def _people(scenario: Scenario, rng: random.Random) -> None:
    """Somebody turns the kill switch, restarts by hand, or presses the button."""
    world = scenario.world
    if "pausing" in world.options:
        for minute in range(40):
            world.at(BEGIN + 30.0 * minute + rng.random() * 20.0, lambda on=minute % 2 == 0: world.pause(on=on))
    elif rng.random() < 0.25:
        on = BEGIN + rng.random() * 1200.0
        world.at(on, lambda: world.pause(on=True))
        world.at(on + rng.choice([2.0, 60.0, 600.0]), lambda: world.pause(on=False))
    if rng.random() < 0.2:
        when = BEGIN + 100.0 + rng.random() * 600.0
        world.at(when, lambda: _by_hand(world))
    for number in range(TAKEN_UNTIL_MIN):
        world.at(BEGIN + 600.0 * number + 7.0, lambda number=number: _take(world, number))
    if world.rules.public_url and rng.random() < 0.8 and "nobody answers" not in world.options:
        for minute in range(1, 100):
            world.at(BEGIN + minute * 60.0, lambda yes=minute % DECLINED_EVERY != 0: _press(world, yes=yes))


def _take(world: World, number: int) -> None:
    """Somebody takes an escalation that waits."""
    for document in world.documents():
        escalation = document.escalation
        if escalation is not None and escalation.due is not None and (len(document.outcomes) + number) % TAKEN_EVERY == 0:
            world.note(f"somebody takes {escalation.incident}")
            world.take(document.key, escalation.incident)


def _by_hand(world: World) -> None:
    target = Target("target-app0", "http://rundeck", "job", {"app": "app0"})
    if world.rundeck.running(target.key, world.now):
        return
    run = world.rundeck.accept(target, "", 0.0, world.now, world.now, world.rng, 0.0)
    run.by, run.refused, run.not_after = "somebody", False, None
    run.ends = run.ends or world.now + 20.0
    world.note(f"somebody restarts app0 by hand: {run.id}")
    world.at(run.ends, lambda: world.on_restart(world, run))


def _press(world: World, *, yes: bool) -> None:
    """Somebody approves or declines whatever asks at this moment."""
    for document in world.documents():
        incident = document.incident
        if incident is not None and incident.phase is Phase.ASKED:
            world.note(f"somebody {'approves' if yes else 'declines'}")
            if yes:
                world.approve(document.key, incident.approval.nonce)
            else:
                world.decline(document.key, incident.id, incident.approval.nonce)
