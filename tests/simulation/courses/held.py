"""Applications that hold messages: on purpose, or because they hang; and such whose consumers go, on purpose or not.

What each is in truth is known, so that the checker can tell whether a restart, a question or a hold was right.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial

from msgspec.structs import replace as change

from functions.adapters.symptoms.rabbitmq import to_queue
from functions.domain.model.alerts import ACKED_1D, CONSUMERS_1D
from functions.domain.model.codes import Phase
from functions.domain.model.runbooks import EvidenceJob, Recovered
from tests.simulation.models import Run
from tests.simulation.queues import Queue, Worker
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
    hangs_from: float = math.inf
    """Before that it is healthy."""
    survivor: str = ""
    """The consumer whose connection a restart does not end."""
    over: bool = False
    """It was restarted, so its course is another one."""

    @property
    def is_healthy(self) -> bool:
        return self.hangs_from == math.inf


def named(options: frozenset[str]) -> bool:
    """Whether a schedule's options ask for one."""
    return bool(options & {"held", *KINDS})


def add(world: World, rng: random.Random, alert: Callable[..., None]) -> Held | None:
    """Draw one, with its runbook and the people who may be asked, or none."""
    if world.faults.scrape_s:  # Prometheus shows nothing of who holds what
        return None
    kinds = [kind for kind in KINDS if kind in world.options] or list(KINDS)
    kind = rng.choice(kinds)
    name, begins = f"{APP}.jobs", BEGIN + rng.random() * 200.0
    case = Held(kind, Queue(BEGIN - 1000.0, (_worker("before", 9, polls="polls" in kind, rate=RATE),), publish=PUBLISH))
    if kind in NEVER_ACKED:
        case.queue = Queue(BEGIN - 1000.0, (), publish=0.0)
    key = to_queue("/", name).key
    world.queues[key] = case.queue
    _runbook(world, rng, kind)
    world.annotations[key] = {}
    KINDS[kind](world, case, rng, begins)
    alert(name, begins + rng.choice([70.0, 90.0, 130.0]), annotations=world.annotations[key])
    world.on_restart = partial(_restarted, case, world.on_restart)
    _people(world, rng)
    return case


def _worker(
    name: str, host: int, *, holds: int = 0, rate: float = 0.0, window: int | None = 1, user: str = "app", polls: bool = False,
    on_purpose: bool = False,
) -> Worker:  # fmt: skip
    return Worker(
        f"{APP}-{name}", "a", rate, holds, window=window, host=f"10.0.3.{host}", user=user, polls=polls, on_purpose=on_purpose
    )


def _runbook(world: World, rng: random.Random, kind: str) -> None:
    """A runbook of its own, beside the one that all others have; its evidence job has an opinion."""
    mail = world.rules.runbooks["mail"]
    within_s = mail.evidence.within_s if mail.evidence else rng.choice([5.0, 20.0, 60.0])
    job = EvidenceJob("evidence", {"host": "${holder.host}"}, {"host": r"10\.0\.3\.[0-9]+"}, within_s)
    if "opinions" in world.options:
        mail = change(mail, evidence=change(job, options={}, allow={}))
    never = "keeps nothing" in world.options or (kind == "fills" and not world.options and rng.random() < 0.3)
    users = ("app",) if kind == "another user" or rng.random() < 0.3 else ()
    symptom = change(mail.symptom, keeps_nothing=never, users=users)
    book = change(
        mail, name=RUNBOOK, symptom=symptom, recovered=Recovered(min_consumers=int(kind != "scaled to zero")),
        evidence=job if mail.evidence else None, escalate=("boss",), mention=("<!here>",),
    )  # fmt: skip
    asks = world.rules.public_url or rng.random() < 0.7 or bool(world.options)
    url = "https://unstick.example.com" if asks else ""
    world.rules = change(world.rules, runbooks={"mail": mail, RUNBOOK: book}, public_url=url)


def _people(world: World, rng: random.Random) -> None:
    """Somebody answers what this application is asked about, or nobody does."""
    answer = rng.choice(["", "", "yes", "no"])
    if not answer or not world.rules.public_url or "nobody answers" in world.options:
        return
    for minute in range(2, 150, 3):
        world.at(BEGIN + 60.0 * minute + 11.0, partial(_answer, world, yes=answer == "yes"))


def _answer(world: World, *, yes: bool) -> None:
    document = next((one for one in world.documents() if one.key == TARGET), None)
    if document is None or document.incident is None or document.incident.phase is not Phase.ASKED:
        return
    incident = document.incident
    world.note(f"somebody {'approves' if yes else 'declines'} for {APP}")
    if yes:
        world.approve(TARGET, incident.approval.nonce)
    else:
        world.decline(TARGET, incident.id, incident.approval.nonce)


def _restarted(case: Held, before: Callable[[World, Run], None], world: World, run: Run) -> None:
    """All consumers go, but the one whose connection stays; a new one comes and works."""
    before(world, run)
    if run.target != TARGET:
        return
    case.over = True
    queue = case.queue
    stay = tuple(one for one in queue.piece(world.now).workers if one.id == case.survivor)
    queue.turn(world.now, stay)
    new = replace(_worker(f"{run.id}", 5, rate=4.5, polls="polls" in case.kind), id=f"{APP}-{run.id}")
    world.at(world.now + 3.0, lambda: queue.turn(world.now, (*queue.piece(world.now).workers, new)))
    if stay:  # somebody closes it at last
        world.at(world.now + 9000.0, lambda: queue.leave(world.now, stay))


def _later(world: World, case: Held, at: float, worker: str, holds: int, *, publish: float | None = None) -> None:
    """From then on this consumer holds so many messages: it was given some, or has finished some."""

    def happens() -> None:
        here = case.queue.piece(world.now).workers
        if not case.over and any(one.id == worker for one in here):
            world.note(f"{worker} holds {holds}")
            case.queue.turn(
                world.now, tuple(replace(one, holds=holds) if one.id == worker else one for one in here), publish=publish
            )

    world.at(at, happens)


def _turn(world: World, case: Held, at: float, workers: tuple[Worker, ...], publish: float | None = None) -> None:
    def happens() -> None:
        if not case.over:
            world.note(f"{APP} has {[one.id for one in workers]}")
            case.queue.turn(world.now, workers, publish=publish)

    world.at(at, happens)


# --- healthy


def _keeps(world: World, case: Held, rng: random.Random, at: float) -> None:
    """Countdowns, retries, batches: each message is kept for a while, and there is room for more."""
    keeper, busy = _worker("keeper", 1, window=rng.choice([0, None, 8]), on_purpose=True), _worker("busy", 2, rate=RATE)
    others = (busy,) if rng.random() < 0.5 else ()
    case.queue.turn(BEGIN - 300.0, (keeper, *others), publish=0.3 if others else 0.0)
    kept_s = rng.choice([85.0, 400.0, 1500.0])
    two = rng.random() < 0.5
    for place in range(3):
        begins = at + 1.5 * kept_s * place
        _later(world, case, begins, keeper.id, 1)
        if two:
            _later(world, case, begins + 0.5 * kept_s, keeper.id, 2)
            _later(world, case, begins + kept_s, keeper.id, 1)
        _later(world, case, begins + 1.3 * kept_s if two else begins + kept_s, keeper.id, 0)


def _locks(world: World, case: Held, rng: random.Random, at: float) -> None:
    """One message is the lock: whoever holds it never acknowledges it, and goes."""
    workers = [_worker(f"lock-{number}", number, on_purpose=True) for number in range(1, 7)]
    case.queue.turn(BEGIN - 990.0, (replace(workers[0], holds=1), workers[1]))
    held_s = rng.choice([300.0, 900.0, 3000.0])
    for place in range(1, 5):
        _turn(world, case, at + held_s * place, (replace(workers[place], holds=1), workers[place + 1]))


def _scaled(world: World, case: Held, rng: random.Random, at: float) -> None:
    """Scaled to zero, or a nightly worker: nobody consumes, and that is right."""
    case.queue.turn(BEGIN - 300.0, (_worker("day", 1, rate=RATE),))
    _turn(world, case, at, ())
    _turn(world, case, at + rng.choice([1500.0, 5000.0]), (_worker("next", 2, rate=RATE),))


def _polls(world: World, case: Held, rng: random.Random, at: float) -> None:
    """It takes a message by basic.get now and then, and finishes it soon."""
    poller = _worker("poller", 1, polls=True, on_purpose=True)
    case.queue.turn(BEGIN - 300.0, (poller,), publish=0.05)
    for place in range(30):
        _later(world, case, BEGIN + POLLED_EVERY_S * place, poller.id, 1)
        _later(world, case, BEGIN + POLLED_EVERY_S * place + POLLED_FOR_S, poller.id, 0)
    _turn(world, case, BEGIN + 610.0, (_worker("quick", 2, rate=RATE, polls=True),))


def _another_user(world: World, case: Held, rng: random.Random, at: float) -> None:
    """Somebody else holds a message of the queue, and the application works."""
    auditor, busy = _worker("auditor", 7, user="audit", on_purpose=True), _worker("busy", 2, rate=RATE)
    case.queue.turn(BEGIN - 300.0, (auditor, busy), publish=0.3)
    _later(world, case, at, auditor.id, 1)
    _later(world, case, at + rng.choice([500.0, 3000.0]), auditor.id, 0)


def _dead_letters(world: World, case: Held, rng: random.Random, at: float) -> None:
    """Nobody ever reads them, and the broker was restarted."""
    case.queue.turn(BEGIN - 990.0, (), publish=0.002)
    case.queue.pieces[-1:] = [replace(case.queue.pieces[-1], depth=3.0)]
    world.annotations[_key()] = rng.choice([{}, {CONSUMERS_1D: "0"}])
    world.at(at, partial(_restart_broker, world, case))


def _comes_back(world: World, case: Held, rng: random.Random, at: float) -> None:
    """The broker was restarted, and the application connected again."""
    case.queue.turn(BEGIN - 300.0, (_worker("day", 1, rate=RATE),))
    world.annotations[_key()] = rng.choice([{}, HISTORY])
    world.at(at, partial(_restart_broker, world, case))
    _turn(world, case, at + rng.choice([5.0, 16.0, 40.0]), (_worker("again", 1, rate=0.15),))


# --- not


def _fills(world: World, case: Held, rng: random.Random, at: float) -> None:
    """It hangs, is given messages until its window is full, and then the others wait."""
    limit = rng.choice([1, 2, 4])
    window = None if rng.random() < 0.3 else limit
    gap_s = rng.choice([30.0, 100.0, 1200.0])
    hung, busy = _worker("hung", 1, window=window), _worker("busy", 2, rate=RATE)
    others = (busy,) if window and rng.random() < 0.3 else ()
    case.queue.turn(BEGIN - 300.0, (hung, *others), publish=0.3 if others else 0.0)
    case.hangs_from = at
    for place in range(limit):
        _later(world, case, at + gap_s * place, hung.id, place + 1)
    if not others:
        _later(world, case, at + gap_s * limit, hung.id, limit, publish=0.05)


def _one_of_two(world: World, case: Held, rng: random.Random, at: float) -> None:
    """One keeps a message on purpose, and another one hangs, for long with room for more."""
    keeper, hung = _worker("keeper", 1, window=8, on_purpose=True), _worker("hung", 2, window=2)
    case.queue.turn(BEGIN - 300.0, (keeper, hung), publish=0.0)
    case.hangs_from = at
    _later(world, case, at - 5.0, keeper.id, 1)
    _later(world, case, at, hung.id, 1)
    _later(world, case, at + rng.choice([200.0, 2500.0]), hung.id, 2)


def _poller_dies(world: World, case: Held, rng: random.Random, at: float) -> None:
    """It took a message by basic.get and hangs with it; the others wait."""
    poller = _worker("poller", 1, polls=True)
    case.queue.turn(BEGIN - 300.0, (poller,), publish=0.05)
    case.hangs_from = at
    _later(world, case, at, poller.id, 1)


def _gone(world: World, case: Held, rng: random.Random, at: float) -> None:
    """The broker was restarted, and the application did not connect again. The alert may remember that there was one."""
    case.queue.turn(BEGIN - 300.0, (_worker("day", 1, rate=RATE),))
    case.hangs_from = at
    world.annotations[_key()] = rng.choice([{}, HISTORY])
    world.at(at, partial(_restart_broker, world, case))


def _survives(world: World, case: Held, rng: random.Random, at: float) -> None:
    """It hangs, and a restart does not end its connection."""
    hung = _worker("hung", 1)
    case.queue.turn(BEGIN - 300.0, (hung,), publish=0.0)
    case.hangs_from, case.survivor = at, hung.id
    _later(world, case, at, hung.id, 1, publish=PUBLISH)


def _restart_broker(world: World, case: Held) -> None:
    world.note(f"the broker of {APP} is restarted")
    case.queue.restart_broker(world.now)


def _key() -> str:
    return to_queue("/", f"{APP}.jobs").key


NEVER_ACKED = ("locks", "dead letters after the broker's restart")
KINDS: dict[str, Callable[[World, Held, random.Random, float], None]] = {
    "keeps": _keeps,
    "locks": _locks,
    "scaled to zero": _scaled,
    "polls": _polls,
    "another user": _another_user,
    "dead letters after the broker's restart": _dead_letters,
    "back after the broker's restart": _comes_back,
    "fills": _fills,
    "one of two": _one_of_two,
    "polls and dies": _poller_dies,
    "gone after the broker's restart": _gone,
    "survives": _survives,
}
