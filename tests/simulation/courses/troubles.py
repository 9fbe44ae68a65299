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
AWAY_S = (4.0, 16.0, 40.0)
"""What a client takes to connect to another node."""
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


def _statistics_off(world: World, on: bool) -> None:
    world.broker.statistics = not on


def _page_slow(world: World, on: bool) -> None:
    world.broker.page_slow = on


def _channels_slow(world: World, on: bool) -> None:
    world.broker.channels_slow = on


def _node_silent(world: World, on: bool) -> None:
    world.broker.silent = {node for node in world.broker.nodes if node.startswith("b")} if on else set()


SILENT = "a node sends no statistics"
KINDS: dict[str, Turn] = {
    "the history is hidden": _hidden,
    "the token has expired": _forbidden,
    "Rundeck is passive": _passive,
    "the broker refuses the login": _login,
    "the queues are deleted": _deleted,
    "the statistics are off": _statistics_off,
    "the queue's page is slow": _page_slow,
    "the channels are slow": _channels_slow,
    SILENT: _node_silent,
}
OF_THE_BROKER = frozenset(list(KINDS)[-4:])
BLIND = frozenset(KINDS) - {"Rundeck is passive", "the channels are slow", SILENT}
"""While one of these goes on, nobody can know enough for a restart."""


def troubles(world: World, rng: random.Random) -> None:
    """Draw them. All are over when the calm begins."""
    for kind, turn in KINDS.items():
        if kind in OF_THE_BROKER and world.faults.scrape_s:
            continue
        if rng.random() < LIKELY or kind in world.options:
            begin = BEGIN + rng.random() * 1500.0
            end = begin + rng.choice(LENGTHS_S)
            world.troubles.append((kind, begin, end))
            world.at(begin, _turned(world, kind, turn, on=True))
            world.at(end, _turned(world, kind, turn, on=False))
    world.rundeck.retries = rng.random() < 0.15
    if (rng.random() < 2 * LIKELY or "a node is lost" in world.options) and not world.faults.scrape_s:
        begin = BEGIN + (92.0 + rng.random() * 8.0 if rng.random() < 0.5 else rng.random() * 600.0)
        world.at(begin, lambda: _lost(world, rng))
    if rng.random() < LIKELY:
        world.at(BEGIN + rng.random() * 600.0, lambda: _planned(world, rng.choice([60.0, 900.0])))


def _turned(world: World, kind: str, turn: Turn, *, on: bool) -> Callable[[], None]:
    def happens() -> None:
        world.note(f"{kind}{'' if on else ' no longer'}")
        turn(world, on)

    return happens


def _lost(world: World, rng: random.Random) -> None:
    """A node stops, as in an upgrade; its consumers come back on another one, and it comes back without counters of before."""
    node, away_s, back_s = next(node for node in world.broker.nodes if node.startswith("b")), rng.choice(AWAY_S), 40.0
    since = world.broker.nodes.pop(node)
    world.note(f"the node {node} is lost, after {world.now - since:.0f} s")
    world.nodes_lost.append(world.now)
    for queue in world.queues.values():
        gone = [one for one in queue.piece(world.now).workers if one.node == node]
        queue.lose(world.now, node)
        world.at(world.now + away_s, lambda queue=queue, gone=gone: queue.come_back(world.now, gone, world.broker.connect(0)))

    def back() -> None:
        world.broker.nodes[f"{node}'"] = world.now

    world.at(world.now + back_s, back)


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
