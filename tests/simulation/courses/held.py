"""Applications that hold messages: on purpose, or because they hang; and such whose consumers go, on purpose or not.

What each is in truth is known, so that the checker can tell whether a restart or a question was right.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import ClassVar

from msgspec.structs import replace as change

from functions.adapters.symptoms.rabbitmq import to_queue
from functions.domain.model.alerts import ACKED_1D, CONSUMERS_1D
from functions.domain.model.codes import Mode
from functions.domain.model.observations import StallKind
from functions.domain.model.runbooks import EvidenceJob, HolderOption, Recovered
from tests.simulation.broker import Queue
from tests.simulation.courses.alerts import raise_alert, suspect
from tests.simulation.models import Run
from tests.simulation.queues import STRANGER, Worker
from tests.simulation.world import BEGIN, World

APP, RUNBOOK = "held0", "held"
TARGET, NAME = f"target-{APP}", f"{APP}.jobs"
SHARE = 0.4
"""Of the schedules that have such an application beside the others."""
RATE = 3.0
PUBLISH = 0.1
PAUSE_S = 200.0
TWO_HOSTS, DIES = "hangs on two hosts", "dies"
DEAD_LETTERS = "dead letters after the broker's restart"
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
    annotations: Mapping[str, str] = field(default_factory=dict)
    """What its alert says of the last day."""
    stalls: StallKind = StallKind.HELD
    began: list[float] = field(default_factory=list)
    """When it stood still."""
    hangs_for_good: float = math.inf
    key: ClassVar[str] = to_queue("/", NAME).key

    @property
    def is_healthy(self) -> bool:
        return self.hangs_from == math.inf

    @property
    def over(self) -> bool:
        """Whether it was restarted or mended, so that its course is another one."""
        return self.key in self.world.mended

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

    def restart_broker(self, at: float) -> None:
        """All its consumers are gone then."""

        def happens() -> None:
            if not self.over:  # nobody would come back
                self.world.note(f"the broker of {APP} is restarted")
                self.queue.restart_broker(self.world.now)

        self.world.at(at, happens)


def is_wanted(world: World) -> bool:
    """Whether the options name one, or it is drawn. Prometheus shows nothing of who holds what."""
    named = bool(world.options & KINDS.keys())
    return named or (not world.options and not world.faults.scrape_s and world.rng.random() < SHARE)


def add(world: World) -> Held:
    """Draw one, with its runbook."""
    kinds = [kind for kind in KINDS if kind in world.options] or [kind for kind in KINDS if kind not in (TWO_HOSTS, DIES)]
    kind, name = world.rng.choice(kinds), NAME
    kind = TWO_HOSTS if world.wants(TWO_HOSTS, 0.15) else DIES if world.wants(DIES, 0.1) else kind
    others = _draw_strangers(world) if kind in KINDS_OF_ONE_BROKER else ()
    queue = Queue(BEGIN - 1000.0, (_worker("before", 9, rate=RATE), *others), publish=PUBLISH)
    if kind == DEAD_LETTERS:
        queue = Queue(BEGIN - 1000.0, publish=0.0)
    world.queues[to_queue("/", name).key] = queue
    case = Held(kind, queue, world, BEGIN + world.rng.random() * 200.0)
    _add_runbook(world, kind, ("app",) if others else ())
    KINDS[kind](case)
    raise_alert(world, APP, name, case.begins + world.rng.choice([70.0, 90.0, 130.0]), RUNBOOK, case.annotations)
    world.on_restart = partial(_restarted, case, world.on_restart)
    return case


def _worker(name: str, host: int, *, holds: int = 0, rate: float = 0.0, window: int | None = 1) -> Worker:
    return Worker(f"{APP}-{name}", "a", rate, holds, window=window, host=f"10.0.3.{host}", user="app")


def _keeper(name: str, host: int, *, window: int | None = 1) -> Worker:
    return replace(_worker(name, host, window=window), on_purpose=True)


def _draw_strangers(world: World) -> tuple[Worker, ...]:
    """Somebody else takes messages of the queue: by basic.get, or as a consumer."""
    stranger = Worker("stranger", "a", 0.2, window=10, host="10.0.9.9", user=STRANGER, gets=world.more.random() < 0.5)
    return (stranger,) if world.wants("strangers", 0.3) else ()


def _add_runbook(world: World, kind: str, named: tuple[str, ...]) -> None:
    """A runbook of its own, beside the one that all others have; its evidence job has an opinion."""
    mail, rng = world.rules.runbooks["mail"], world.rng
    job = None
    if mail.evidence and kind not in LEARNS:
        job = EvidenceJob(
            "evidence", {"host": "${holder.host}"}, {"host": r"10\.0\.3\.[0-9]+"}, mail.evidence.within_s, opinion=True
        )
    never = kind == "fills" and not world.options and rng.random() < 0.3
    users = ("app",) if rng.random() < 0.3 else named
    if world.wants("one host", 0.4):
        mail = change(mail, restart=change(mail.restart, holder=HolderOption("host", r"10\.0\.3\.[0-9]+")))
        world.doubles = world.more.random() < 0.5
    symptom = change(mail.symptom, keeps_nothing=never, users=users)
    mode = Mode.OBSERVE if kind in LEARNS and mail.mode is Mode.AUTO else mail.mode
    book = change(
        mail, name=RUNBOOK, mode=mode, symptom=symptom, recovered=Recovered(min_consumers=int(kind != "scaled to zero")),
        evidence=job, escalate=("boss",), mention=("<!here>",),
    )  # fmt: skip
    asks = world.rules.public_url or rng.random() < 0.7 or bool(world.options)
    url = "https://unstick.example.com" if asks else ""
    world.rules = change(world.rules, runbooks={**world.rules.runbooks, RUNBOOK: book}, public_url=url)


def _restarted(case: Held, before: Callable[[World, Run], None], world: World, run: Run) -> None:
    """All consumers go, or those of one host, but the one whose connection stays; a new one comes and works."""
    before(world, run)
    if run.target != TARGET:
        return
    world.mended.add(case.key)
    queue = case.queue
    here = queue.piece(world.now).workers
    stay = tuple(one for one in here if one.id == case.survivor or (run.host and run.host != one.host and one.user != STRANGER))
    queue.turn(world.now, stay)
    new = _worker(f"{run.id}", int(run.host.rpartition(".")[2] or 5), rate=4.5)
    world.at(world.now + 3.0, lambda: queue.turn(world.now, (*queue.piece(world.now).workers, new)))
    if stay:  # somebody closes it at last
        world.at(world.now + 9000.0, lambda: queue.leave(world.now, stay))


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


def _scale(case: Held) -> None:
    """Scaled to zero, or a nightly worker: nobody consumes, and that is right."""
    case.queue.turn(BEGIN - 300.0, (_worker("day", 1, rate=RATE),))
    case.turn(case.begins, ())
    case.turn(case.begins + case.world.rng.choice([1500.0, 5000.0]), (_worker("next", 2, rate=RATE),))


def _leave_dead_letters(case: Held) -> None:
    """Nobody ever reads them, and the broker was restarted."""
    case.queue.turn(BEGIN - 990.0, (), publish=0.002)
    case.queue.pieces[-1:] = [replace(case.queue.pieces[-1], depth=3.0)]
    case.annotations = case.world.rng.choice([{}, {CONSUMERS_1D: "0"}])
    case.restart_broker(case.begins)


def _come_back(case: Held) -> None:
    """The broker was restarted, and the application connected again."""
    case.queue.turn(BEGIN - 300.0, (_worker("day", 1, rate=RATE),))
    case.annotations = case.world.rng.choice([{}, HISTORY])
    case.restart_broker(case.begins)
    case.turn(case.begins + case.world.rng.choice([5.0, 16.0, 40.0]), (_worker("again", 1, rate=0.15),))


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


def _stay_away(case: Held) -> None:
    """The broker was restarted, and the application did not connect again. The alert may remember that there was one."""
    case.queue.turn(BEGIN - 300.0, (_worker("day", 1, rate=RATE),))
    case.hangs_from = case.begins
    case.annotations = case.world.rng.choice([{}, HISTORY])
    case.restart_broker(case.begins)


def _survive(case: Held) -> None:
    """It hangs, and a restart does not end its connection."""
    hung = _worker("hung", 1)
    case.queue.turn(BEGIN - 300.0, (hung,), publish=0.0)
    case.hangs_from, case.survivor = case.begins, hung.id
    case.hold(case.begins, hung.id, 1, publish=PUBLISH)


def _hang_on_two_hosts(case: Held) -> None:
    """Both hang, at once or one after the other: a restart of one host leaves the other one as it is."""
    first, second = _worker("first", 1), _worker("second", 2)
    case.queue.turn(BEGIN - 300.0, (first, second), publish=0.0)
    case.hangs_from = case.begins
    case.hold(case.begins, first.id, 1)
    case.hold(case.begins + case.world.more.choice([0.0, 40.0, 400.0]), second.id, 1, publish=PUBLISH)


def _die(case: Held) -> None:
    """Its consumers go for good; who else takes from the queue goes on."""
    case.queue.turn(BEGIN - 300.0, (_worker("day", 1, rate=RATE),))
    case.hangs_from = case.begins
    case.turn(case.begins, ())


def _stall(case: Held) -> None:
    """Jobs that take their time, consumers that take nothing, or none, for about as long each time."""
    how = case.world.rng.choice(("job", "idle", "away"))
    case.stalls = {"job": StallKind.HELD, "idle": StallKind.UNSERVED, "away": StallKind.GONE}[how]
    _stand_still(case, how, lambda at, number: f"next-{number}" if how == "away" else "day")


def _mend(case: Held) -> None:
    """It hangs again and again, or seems to: another process takes the message, somebody restarts it, the broker, or purges."""
    how = case.world.rng.choice(("job", "idle"))
    case.stalls = StallKind.HELD if how == "job" else StallKind.UNSERVED
    case.hangs_from = case.begins
    mends: list[Callable[[float, int], str]] = [partial(_replace, case), partial(_run, case), partial(_reboot, case)]
    mends += [partial(_purge, case)] if how == "idle" else []
    _stand_still(case, how, case.world.rng.choice(mends))


def _stand_still(case: Held, how: str, end: Callable[[float, int], str]) -> None:
    """Three times while it is observed, and once more: `end` says whose consumer goes on then."""
    rng, at, name = case.world.rng, case.begins, "day"
    lasts_s = rng.choice((80.0, 150.0, 300.0))
    case.queue.turn(BEGIN - 300.0, (_worker(name, 1, rate=RATE),))
    suspect(case.world, APP, NAME, case.begins - 20.0, RUNBOOK, 5 * (lasts_s + PAUSE_S) + 900.0)
    for number in range(4):
        case.began.append(at)
        case.turn(at, () if how == "away" else (_worker(name, 1, holds=int(how == "job")),))
        if number == 3 and "hang" in case.kind:
            case.hangs_for_good = at
            case.hangs_from = min(case.hangs_from, at)
            break
        at += lasts_s * (0.9 + 0.2 * rng.random())
        name = end(at, number)
        case.turn(at, (_worker(name, 1, rate=RATE),))
        at += PAUSE_S
    case.world.at(case.began[3] - PAUSE_S / 2, lambda: _begin_auto(case.world))


def _begin_auto(world: World) -> None:
    """From now on it has the mode of the others."""
    book = change(world.book(RUNBOOK), mode=world.book("mail").mode)
    world.rules = change(world.rules, runbooks={**world.rules.runbooks, book.name: book})


def _replace(_: Held, at: float, number: int) -> str:
    return f"new-{number}"


def _run(case: Held, at: float, number: int) -> str:
    """A run of the job by somebody, which restarts nothing."""
    case.world.rundeck.count += 1
    case.world.rundeck.runs.append(Run(
        case.world.rundeck.count, "", TARGET, at - 20.0, at - 12.0, "succeeded", at - 20.0, at - 20.0, by="somebody",
    ))  # fmt: skip
    return "day"


def _reboot(case: Held, at: float, number: int) -> str:
    case.restart_broker(at - 20.0)
    return f"again-{number}"


def _purge(case: Held, at: float, number: int) -> str:
    case.world.at(at - 20.0, lambda: None if case.over else case.queue.purge(case.world.now))
    return "day"


LEARNS = ("stalls", "stalls and hangs", "is mended and hangs")
KINDS: dict[str, Callable[[Held], None]] = {
    "keeps": _keep,
    "scaled to zero": _scale,
    DEAD_LETTERS: _leave_dead_letters,
    "back after the broker's restart": _come_back,
    "fills": _fill,
    "one of two": _hang_beside_a_keeper,
    "gone after the broker's restart": _stay_away,
    "survives": _survive,
    "stalls": _stall,
    "stalls and hangs": _stall,
    "is mended and hangs": _mend,
    TWO_HOSTS: _hang_on_two_hosts,
    DIES: _die,
}
KINDS_OF_ONE_BROKER = KINDS.keys() - {DEAD_LETTERS, *(kind for kind in KINDS if "the broker" in kind), *LEARNS}
"""Those that strangers may take from: the others lose all counts, or are of lengths that strangers would change."""
