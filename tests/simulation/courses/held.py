"""Applications that hold messages: on purpose, or because they hang; and such whose consumers go, on purpose or not.

What each is in truth is known, so that the checker can tell whether a restart or a question was right.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial

from msgspec.structs import replace as change

from functions.adapters.symptoms.rabbitmq import to_queue
from functions.domain.model.alerts import ACKED_1D, CONSUMERS_1D
from functions.domain.model.runbooks import EvidenceJob, Recovered
from tests.simulation.broker import Queue
from tests.simulation.courses.alerts import raise_alert
from tests.simulation.models import Run
from tests.simulation.queues import Worker
from tests.simulation.world import BEGIN, World

APP, RUNBOOK = "held0", "held"
TARGET = f"target-{APP}"
SHARE = 0.4
"""Of the schedules that have such an application beside the others."""
RATE = 3.0
PUBLISH = 0.1
POLLED_EVERY_S, POLLED_FOR_S = 20.0, 4.0
HISTORY = {CONSUMERS_1D: "2", ACKED_1D: "500"}


@dataclass
class Held:
    """One such application, with one queue."""

    kind: str
    queue: Queue
    world: World
    begins: float
    hangs_from: float = math.inf
    """Before that it is healthy."""
    survivor: str = ""
    """The consumer whose connection a restart does not end."""
    over: bool = False
    """It was restarted, so its course is another one."""
    annotations: Mapping[str, str] = field(default_factory=dict)
    """What its alert says of the last day."""

    @property
    def is_healthy(self) -> bool:
        return self.hangs_from == math.inf

    def turn(self, at: float, workers: tuple[Worker, ...]) -> None:
        """From then on it has these consumers."""

        def happens() -> None:
            if not self.over:
                self.world.note(f"{APP} has {[worker.id for worker in workers]}")
                self.queue.turn(self.world.now, workers)

        self.world.at(at, happens)

    def hold(self, at: float, worker: str, holds: int, *, publish: float | None = None) -> None:
        """From then on this consumer holds so many messages: it was given some, or has finished some."""

        def happens() -> None:
            here = self.queue.piece(self.world.now).workers
            if not self.over and any(one.id == worker for one in here):
                self.world.note(f"{worker} holds {holds}")
                turned = tuple(replace(one, holds=holds) if one.id == worker else one for one in here)
                self.queue.turn(self.world.now, turned, publish=publish)

        self.world.at(at, happens)

    def restart_broker(self) -> None:
        """All its consumers are gone then."""

        def happens() -> None:
            self.world.note(f"the broker of {APP} is restarted")
            self.queue.restart_broker(self.world.now)

        self.world.at(self.begins, happens)


def is_wanted(world: World) -> bool:
    """Whether the options name one, or it is drawn. Prometheus shows nothing of who holds what."""
    named = bool(world.options & KINDS.keys())
    return named or (not world.options and not world.faults.scrape_s and world.rng.random() < SHARE)


def add(world: World) -> Held:
    """Draw one, with its runbook."""
    kinds = [kind for kind in KINDS if kind in world.options] or list(KINDS)
    kind, name = world.rng.choice(kinds), f"{APP}.jobs"
    queue = Queue(BEGIN - 1000.0, (_worker("before", 9, polls="polls" in kind, rate=RATE),), publish=PUBLISH)
    if kind in NEVER_ACKED:
        queue = Queue(BEGIN - 1000.0, publish=0.0)
    world.queues[to_queue("/", name).key] = queue
    case = Held(kind, queue, world, BEGIN + world.rng.random() * 200.0)
    _add_runbook(world, kind)
    KINDS[kind](case)
    raise_alert(world, APP, name, case.begins + world.rng.choice([70.0, 90.0, 130.0]), RUNBOOK, case.annotations)
    world.on_restart = partial(_restarted, case, world.on_restart)
    return case


def _worker(
    name: str, host: int, *, holds: int = 0, rate: float = 0.0, window: int | None = 1, user: str = "app", polls: bool = False
) -> Worker:
    return Worker(f"{APP}-{name}", "a", rate, holds, window=window, host=f"10.0.3.{host}", user=user, polls=polls)


def _keeper(name: str, host: int, *, window: int | None = 1, user: str = "app", polls: bool = False) -> Worker:
    return replace(_worker(name, host, window=window, user=user, polls=polls), on_purpose=True)


def _add_runbook(world: World, kind: str) -> None:
    """A runbook of its own, beside the one that all others have; its evidence job has an opinion."""
    mail, rng = world.rules.runbooks["mail"], world.rng
    job = None
    if mail.evidence:
        job = EvidenceJob(
            "evidence", {"host": "${holder.host}"}, {"host": r"10\.0\.3\.[0-9]+"}, mail.evidence.within_s, opinion=True
        )
    never = kind == "fills" and not world.options and rng.random() < 0.3
    users = ("app",) if kind == "another user" or rng.random() < 0.3 else ()
    symptom = change(mail.symptom, keeps_nothing=never, users=users)
    book = change(
        mail, name=RUNBOOK, symptom=symptom, recovered=Recovered(min_consumers=int(kind != "scaled to zero")),
        evidence=job, escalate=("boss",), mention=("<!here>",),
    )  # fmt: skip
    asks = world.rules.public_url or rng.random() < 0.7 or bool(world.options)
    url = "https://unstick.example.com" if asks else ""
    world.rules = change(world.rules, runbooks={"mail": mail, RUNBOOK: book}, public_url=url)


def _restarted(case: Held, before: Callable[[World, Run], None], world: World, run: Run) -> None:
    """All consumers go, but the one whose connection stays; a new one comes and works."""
    before(world, run)
    if run.target != TARGET:
        return
    case.over = True
    queue = case.queue
    stay = tuple(worker for worker in queue.piece(world.now).workers if worker.id == case.survivor)
    queue.turn(world.now, stay)
    new = _worker(f"{run.id}", 5, rate=4.5, polls="polls" in case.kind)
    world.at(world.now + 3.0, lambda: queue.turn(world.now, (*queue.piece(world.now).workers, new)))
    if stay:  # somebody closes it at last
        world.at(world.now + 9000.0, lambda: queue.leave(world.now, stay))


# --- healthy


def _keep(case: Held) -> None:
    """Countdowns, retries, batches: each message is kept for a while, and there is room for more."""
    rng = case.world.rng
    keeper, busy = _keeper("keeper", 1, window=rng.choice([0, None, 8])), _worker("busy", 2, rate=RATE)
    others = (busy,) if rng.random() < 0.5 else ()
    case.queue.turn(BEGIN - 300.0, (keeper, *others), publish=0.3 if others else 0.0)
    kept_s = rng.choice([85.0, 400.0, 1500.0])
    two = rng.random() < 0.5
    for place in range(3):
        begins = case.begins + 1.5 * kept_s * place
        case.hold(begins, keeper.id, 1)
        if two:
            case.hold(begins + 0.5 * kept_s, keeper.id, 2)
            case.hold(begins + kept_s, keeper.id, 1)
        case.hold(begins + (1.3 if two else 1.0) * kept_s, keeper.id, 0)


def _lock(case: Held) -> None:
    """One message is the lock: whoever holds it never acknowledges it, and goes."""
    workers = [_keeper(f"lock-{number}", number) for number in range(1, 7)]
    case.queue.turn(BEGIN - 990.0, (replace(workers[0], holds=1), workers[1]))
    held_s = case.world.rng.choice([300.0, 900.0, 3000.0])
    for place in range(1, 5):
        case.turn(case.begins + held_s * place, (replace(workers[place], holds=1), workers[place + 1]))


def _scale(case: Held) -> None:
    """Scaled to zero, or a nightly worker: nobody consumes, and that is right."""
    case.queue.turn(BEGIN - 300.0, (_worker("day", 1, rate=RATE),))
    case.turn(case.begins, ())
    case.turn(case.begins + case.world.rng.choice([1500.0, 5000.0]), (_worker("next", 2, rate=RATE),))


def _poll(case: Held) -> None:
    """It takes a message by basic.get now and then, and finishes it soon."""
    poller = _keeper("poller", 1, polls=True)
    case.queue.turn(BEGIN - 300.0, (poller,), publish=0.05)
    for place in range(30):
        case.hold(BEGIN + POLLED_EVERY_S * place, poller.id, 1)
        case.hold(BEGIN + POLLED_EVERY_S * place + POLLED_FOR_S, poller.id, 0)
    case.turn(BEGIN + 610.0, (_worker("quick", 2, rate=RATE, polls=True),))


def _hold_as_another_user(case: Held) -> None:
    """Somebody else holds a message of the queue, and the application works."""
    auditor, busy = _keeper("auditor", 7, user="audit"), _worker("busy", 2, rate=RATE)
    case.queue.turn(BEGIN - 300.0, (auditor, busy), publish=0.3)
    case.hold(case.begins, auditor.id, 1)
    case.hold(case.begins + case.world.rng.choice([500.0, 3000.0]), auditor.id, 0)


def _leave_dead_letters(case: Held) -> None:
    """Nobody ever reads them, and the broker was restarted."""
    case.queue.turn(BEGIN - 990.0, (), publish=0.002)
    case.queue.pieces[-1:] = [replace(case.queue.pieces[-1], depth=3.0)]
    case.annotations = case.world.rng.choice([{}, {CONSUMERS_1D: "0"}])
    case.restart_broker()


def _come_back(case: Held) -> None:
    """The broker was restarted, and the application connected again."""
    case.queue.turn(BEGIN - 300.0, (_worker("day", 1, rate=RATE),))
    case.annotations = case.world.rng.choice([{}, HISTORY])
    case.restart_broker()
    case.turn(case.begins + case.world.rng.choice([5.0, 16.0, 40.0]), (_worker("again", 1, rate=0.15),))


# --- not


def _fill(case: Held) -> None:
    """It hangs, is given messages until its window is full, and then the others wait."""
    rng = case.world.rng
    limit, gap_s = rng.choice([1, 2, 4]), rng.choice([30.0, 100.0, 1200.0])
    window = None if rng.random() < 0.3 else limit
    hung, busy = _worker("hung", 1, window=window), _worker("busy", 2, rate=RATE)
    others = (busy,) if window and rng.random() < 0.3 else ()
    case.queue.turn(BEGIN - 300.0, (hung, *others), publish=0.3 if others else 0.0)
    case.hangs_from = case.begins
    for place in range(limit):
        case.hold(case.begins + gap_s * place, hung.id, place + 1)
    if not others:
        case.hold(case.begins + gap_s * limit, hung.id, limit, publish=0.05)


def _hang_beside_a_keeper(case: Held) -> None:
    """One keeps a message on purpose, and another one hangs, for long with room for more."""
    keeper, hung = _keeper("keeper", 1, window=8), _worker("hung", 2, window=2)
    case.queue.turn(BEGIN - 300.0, (keeper, hung), publish=0.0)
    case.hangs_from = case.begins
    case.hold(case.begins - 5.0, keeper.id, 1)
    case.hold(case.begins, hung.id, 1)
    case.hold(case.begins + case.world.rng.choice([200.0, 2500.0]), hung.id, 2)


def _poll_and_die(case: Held) -> None:
    """It took a message by basic.get and hangs with it; the others wait."""
    poller = _worker("poller", 1, polls=True)
    case.queue.turn(BEGIN - 300.0, (poller,), publish=0.05)
    case.hangs_from = case.begins
    case.hold(case.begins, poller.id, 1)


def _stay_away(case: Held) -> None:
    """The broker was restarted, and the application did not connect again. The alert may remember that there was one."""
    case.queue.turn(BEGIN - 300.0, (_worker("day", 1, rate=RATE),))
    case.hangs_from = case.begins
    case.annotations = case.world.rng.choice([{}, HISTORY])
    case.restart_broker()


def _survive(case: Held) -> None:
    """It hangs, and a restart does not end its connection."""
    hung = _worker("hung", 1)
    case.queue.turn(BEGIN - 300.0, (hung,), publish=0.0)
    case.hangs_from, case.survivor = case.begins, hung.id
    case.hold(case.begins, hung.id, 1, publish=PUBLISH)


NEVER_ACKED = ("locks", "dead letters after the broker's restart")
KINDS: dict[str, Callable[[Held], None]] = {
    "keeps": _keep,
    "locks": _lock,
    "scaled to zero": _scale,
    "polls": _poll,
    "another user": _hold_as_another_user,
    "dead letters after the broker's restart": _leave_dead_letters,
    "back after the broker's restart": _come_back,
    "fills": _fill,
    "one of two": _hang_beside_a_keeper,
    "polls and dies": _poll_and_die,
    "gone after the broker's restart": _stay_away,
    "survives": _survive,
}
