"""One schedule: what goes wrong in the world, and which faults strike."""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from functools import partial

from msgspec.structs import replace

from functions.adapters.symptoms.rabbitmq import to_queue
from functions.domain.model.alerts import Alert, QueueRef, Target
from functions.domain.model.codes import Mode, Phase
from functions.domain.model.runbooks import EvidenceJob, Limits, Matcher, Restart, Rules, Runbook, Symptom, Verify
from tests.simulation.broker import Broker
from tests.simulation.courses import held
from tests.simulation.courses.stuck import Cause, add_application
from tests.simulation.courses.troubles import add_troubles
from tests.simulation.models import Faults, Run
from tests.simulation.queues import Worker
from tests.simulation.world import BEGIN, RENAMED, World

CALM_AFTER_S = 7200.0
END_AFTER_S = 40000.0
DAY_S = 86400.0
CROWD = 0.01
"""More targets at once than one notification decides directly."""
TAKEN_EVERY, TAKEN_UNTIL = 7, 40
"""Of the moments, ten minutes apart, at which somebody could take an escalation: about one in four is taken before its second
reminder, and some are not at all."""
ANSWERED_UNTIL_MIN = 150
DECLINED_EVERY = 4
"""One press in this many is a no."""
EVIDENCE = 0.3
"""How likely a schedule's runbook has an evidence job."""
QUICK = Verify(first_s=2.0, every_s=3.0, patience_s=60.0, within_s=300.0)
URL = "https://unstick.example.com"

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
class Scenario:
    world: World
    causes: list[Cause] = field(default_factory=list)
    held: held.Held | None = None


def build(
    rng: random.Random, *, trace: bool = False, faults: Faults | None = None, options: frozenset[str] = frozenset()
) -> Scenario:
    """Draw a schedule. Everything that is drawn comes from `rng`."""
    profile = faults or PROFILES[rng.choice(sorted(PROFILES))]
    more = random.Random(rng.getstate()[1][1])
    world = World(rng, more, profile, _rules(rng, options), target_of, [] if trace else None, options=options)
    world.cut = 0.5 if world.wants("cut", 0.2) else 0.0
    world.calm_from = BEGIN + CALM_AFTER_S
    world.rundeck.ahead_s = rng.choice([0.0, -15.0, 9.0, 25.0])
    world.rundeck.honours_fence = "no_fence_in_job" not in options
    world.rundeck.one_at_a_time = rng.random() < 0.3
    world.broker = Broker(monitoring=rng.random() < 0.8, statistics=rng.random() < 0.9 or "sick" in options)
    world.grouped = rng.choice(["", "app", "app", "all"])
    scenario = Scenario(world)
    for number in range(13 if rng.random() < CROWD else rng.choice([1, 1, 1, 2, 2, 6])):
        scenario.causes += add_application(world, f"app{number}")
    if "untroubled" not in options:
        add_troubles(world)
    _add_evidence(world)
    if held.is_wanted(world):
        scenario.held = held.add(world)
    _add_people(world)
    add_ends(world)
    world.sweep_every(300.0, end_of(scenario))
    return scenario


def end_of(scenario: Scenario) -> float:
    """When the schedule ends: what stands still is not restarted in mode observe, and is followed for long."""
    observes = scenario.world.book("mail").mode is Mode.OBSERVE
    return BEGIN + END_AFTER_S + (DAY_S if observes else 0.0)


def target_of(alert: Alert) -> tuple[Target, QueueRef]:
    """What the runbooks restart for it, and the queue that it is about."""
    app = alert.labels["app"]
    return Target(f"target-{app}", "http://rundeck", "job", {"app": app}), to_queue("/", alert.labels["queue"])


def _rules(rng: random.Random, options: frozenset[str]) -> Rules:
    drawn = rng.choice([Mode.AUTO] * 6 + [Mode.APPROVE, Mode.OBSERVE])
    mode = next((mode for mode in Mode if mode.value in options), drawn)
    limits = Limits(cooldown_s=rng.choice([60.0, 600.0]), attempts=rng.choice([1, 2, 2, 3]))
    verify, symptom = QUICK if rng.random() < 0.25 else Verify(), Symptom("rabbitmq", {"vhost": "/", "queue": "mail"})
    runbook = Runbook(
        "mail", (Matcher("app", "!=", ""),), Restart("job"), symptom, mode=mode, verify=verify, limits=limits, notify=("ops",)
    )
    return Rules({"mail": runbook}, ("ops",), public_url=URL if mode is Mode.APPROVE or rng.random() < 0.2 else "")


def _add_evidence(world: World) -> None:
    """In some schedules evidence comes before the restart; where all clocks are one, it is known how long it may wait."""
    likely = "untroubled" not in world.options and world.rng.random() < EVIDENCE
    if not likely and "evidence" not in world.options:
        return
    job = EvidenceJob("evidence", within_s=world.rng.choice([5.0, 20.0, 60.0]))
    world.rules = replace(world.rules, runbooks={"mail": replace(world.rules.runbooks["mail"], evidence=job)})
    if world.rng.random() < 0.5:
        world.options |= {"one_clock"}


def _add_people(world: World) -> None:
    """Somebody turns the kill switch, restarts by hand, takes escalations, or answers what is asked."""
    rng = world.rng
    if "pausing" in world.options:
        for minute in range(40):
            world.at(BEGIN + 30.0 * minute + rng.random() * 20.0, lambda on=minute % 2 == 0: world.pause(on=on))
    elif rng.random() < 0.25:
        on = BEGIN + rng.random() * 1200.0
        world.at(on, lambda: world.pause(on=True))
        world.at(on + rng.choice([2.0, 60.0, 600.0]), lambda: world.pause(on=False))
    if rng.random() < 0.2:
        world.at(BEGIN + 100.0 + rng.random() * 600.0, lambda: _restart_by_hand(world))
    for number in range(TAKEN_UNTIL):
        world.at(BEGIN + 600.0 * number + 7.0, lambda number=number: _take(world, number))
    yes = rng.choice(["mostly", "mostly", "always", "never", ""])
    if yes and world.rules.public_url and "nobody answers" not in world.options:
        for minute in range(1, ANSWERED_UNTIL_MIN):
            approves = yes == "always" or (yes == "mostly" and minute % DECLINED_EVERY != 0)
            world.at(BEGIN + minute * 60.0, lambda approves=approves: _answer(world, approves=approves))


def _take(world: World, number: int) -> None:
    """Somebody takes an escalation that waits."""
    for document in world.documents():
        escalation = document.escalation
        if escalation is not None and escalation.due is not None and (len(document.outcomes) + number) % TAKEN_EVERY == 0:
            world.note(f"somebody takes {escalation.incident}")
            world.take(document.key, escalation.incident)


def _restart_by_hand(world: World, target: str = "target-app0", host: str = "") -> None:
    if world.rundeck.running(target, world.now):
        return
    run = world.rundeck.accept("", target, 0.0, (world.now, world.now, 0.0), world.rng)
    run.by, run.refused, run.not_after, run.host = "somebody", False, None, host
    run.ends = run.ends or world.now + 20.0
    world.note(f"somebody restarts {target} by hand: {run.id} {host}")
    world.at(run.ends, lambda: world.on_restart(world, run))


def add_ends(world: World) -> None:
    """What ends in other ways than by Unstick: people mend, restart one host, rename runbooks; the broker's pages leave."""
    more = world.more
    if world.wants("slow readers", 0.3):
        world.reads_s = more.choice([3.0, 20.0, 50.0])
    if world.wants("mended by hand", 0.3):
        for number in range(20):
            world.at(BEGIN + 700.0 + 900.0 * number + more.random() * 600.0, lambda: _mend_what_waits(world))
    if world.wants("one host by hand", 0.3) and held.Held.key in world.queues:
        host, at = f"10.0.3.{more.choice([1, 2])}", BEGIN + more.random() * 900.0
        world.at(at, lambda: _restart_by_hand(world, held.TARGET, host))
    if world.wants("renamed", 0.1):
        world.at(BEGIN + more.random() * 1500.0, lambda: _rename(world))
    if world.wants("pages away", 0.15):
        before, begins, lasts_s = world.on_restart, more.choice([0.5, 20.0]), more.choice([700.0, 1500.0])

        def happens(world: World, run: Run) -> None:
            before(world, run)
            world.aways = world.aways or [(world.now + begins, world.now + begins + lasts_s)]

        world.on_restart = happens


def _mend_what_waits(world: World) -> None:
    """Somebody mends what people were asked or called for, and tells nobody."""
    for document in world.documents():
        asked = document.incident if document.incident and document.incident.phase is Phase.ASKED else None
        for state in (document.escalation or asked).queues if document.escalation or asked else ():
            world.note(f"somebody mends {state.queue.name}")
            world.queues[state.queue.key].turn(
                world.now, (Worker(f"mended-{world.now:.0f}", "a", 3.0, host="10.0.3.7", user="app"),)
            )
            world.mended.add(state.queue.key)


def _rename(world: World) -> None:
    """Each runbook gets a new name; those that were open go on."""
    books = world.rules.runbooks.items()
    renamed = {f"{name}{RENAMED}": replace(book, name=f"{name}{RENAMED}") for name, book in books}
    world.note("somebody renames the runbooks")
    world.rules = replace(world.rules, runbooks=renamed)


def _answer(world: World, *, approves: bool) -> None:
    """Somebody approves or declines whatever asks at this moment."""
    for document in world.documents():
        incident = document.incident
        if incident is not None and incident.phase is Phase.ASKED:
            world.note(f"somebody {'approves' if approves else 'declines'}")
            answer = partial(world.approve, document.key) if approves else partial(world.decline, document.key, incident.id)
            world.at(world.now + world.reads_s, partial(answer, incident.approval.nonce))
