"""What people and machines do to the systems around, for a while: rights, modes, deleted queues, plans and freeze windows."""

from __future__ import annotations

import random
from collections.abc import Callable
from datetime import UTC, datetime

from functions.domain.model.runbooks import Freeze
from tests.simulation.models import Run
from tests.simulation.world import BEGIN, World

LIKELY = 0.06
"""Of each kind, in one schedule."""

LENGTHS_S = (30.0, 300.0, 1500.0, 4000.0)
"""The last is longer than a run may take."""
MINUTES_A_DAY = 1440

Turn = Callable[[World, bool], None]


def _hidden(world: World, on: bool) -> None:
    world.rundeck.hidden = on


def _forbidden(world: World, on: bool) -> None:
    world.rundeck.forbidden = on


def _passive(world: World, on: bool) -> None:
    world.rundeck.passive = on


def _login(world: World, on: bool) -> None:
    world.login_refused = on


def _deleted(world: World, on: bool) -> None:
    world.deleted = set(world.queues) if on else set()


KINDS: dict[str, Turn] = {
    "the history is hidden": _hidden,
    "the token has expired": _forbidden,
    "Rundeck is passive": _passive,
    "the broker refuses the login": _login,
    "the queues are deleted": _deleted,
}
BLIND = ("the history is hidden", "the token has expired", "the broker refuses the login", "the queues are deleted")
"""While one of these goes on, nobody can know enough for a restart."""


def troubles(world: World, rng: random.Random) -> None:
    """Draw them. All are over when the calm begins."""
    for kind, turn in KINDS.items():
        if rng.random() < LIKELY or kind in world.options:
            begin = BEGIN + rng.random() * 1500.0
            end = begin + rng.choice(LENGTHS_S)
            world.troubles.append((kind, begin, end))
            world.at(begin, _turned(world, kind, turn, on=True))
            world.at(end, _turned(world, kind, turn, on=False))
    world.rundeck.retries = rng.random() < 0.15
    if rng.random() < LIKELY:
        world.at(BEGIN + rng.random() * 600.0, lambda: _planned(world, rng.choice([60.0, 900.0])))


def _turned(world: World, kind: str, turn: Turn, *, on: bool) -> Callable[[], None]:
    def happens() -> None:
        world.note(f"{kind}{'' if on else ' no longer'}")
        turn(world, on)

    return happens


def _planned(world: World, ahead_s: float) -> None:
    """Somebody plans a run of the job for later."""
    world.rundeck.count += 1
    begin = world.now + ahead_s
    options = {"app": "app0"}
    run = Run(
        world.rundeck.count, "target-app0", options, "", None, begin, begin + 8.0, "succeeded", False, world.now, world.now,
        by="somebody",
    )  # fmt: skip
    world.rundeck.runs.append(run)
    world.note(f"somebody plans the run {run.id} for {begin - BEGIN:.0f}")
    world.at(begin + 8.0, lambda: world.on_restart(world, run))


def freeze(rng: random.Random, options: frozenset[str]) -> tuple[Freeze, ...]:
    """A window of some minutes near the beginning, on every day; or none."""
    if rng.random() >= LIKELY and "frozen" not in options:
        return ()
    minute = int(BEGIN // 60) % MINUTES_A_DAY + rng.choice([-5, 2, 20])
    length = rng.choice([10, 40])
    return (Freeze(frozenset(range(7)), minute % MINUTES_A_DAY, (minute + length) % MINUTES_A_DAY, "every day"),)


def frozen(windows: tuple[Freeze, ...], at: float) -> bool:
    """Whether a window holds at this time, by a reading of its own."""
    moment = datetime.fromtimestamp(at, UTC)
    minute = moment.hour * 60 + moment.minute
    return any((minute - w.start_minute) % MINUTES_A_DAY < (w.end_minute - w.start_minute) % MINUTES_A_DAY for w in windows)
