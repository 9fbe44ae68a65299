"""What people and machines do to the systems around, for a while: rights, modes, deleted queues, lost nodes and planned runs."""

from __future__ import annotations

from collections.abc import Callable

from tests.simulation.models import Run
from tests.simulation.world import BEGIN, World

LIKELY = 0.06
"""Of each kind, in one schedule."""
LENGTHS_S = (30.0, 300.0, 1500.0, 4000.0)
"""The last is longer than a run may take."""
AWAY_S = (4.0, 16.0, 40.0)
"""What a client takes to connect to another node."""
BACK_S = 40.0


def _set_rundeck(name: str) -> Callable[[World, bool], None]:
    return lambda world, on: setattr(world.rundeck, name, on)


def _set_broker(name: str) -> Callable[[World, bool], None]:
    return lambda world, on: setattr(world.broker, name, on)


def _refuse_login(world: World, on: bool) -> None:
    world.login_refused = on


def _delete_queues(world: World, on: bool) -> None:
    world.deleted = set(world.queues) if on else set()


def _switch_statistics(world: World, on: bool) -> None:
    world.broker.statistics = not on


def _silence_node(world: World, on: bool) -> None:
    world.broker.silent = {node for node in world.broker.nodes if node.startswith("b")} if on else set()


SILENT = "a node sends no statistics"
KINDS: dict[str, Callable[[World, bool], None]] = {
    "the history is hidden": _set_rundeck("hidden"),
    "the token has expired": _set_rundeck("forbidden"),
    "Rundeck is passive": _set_rundeck("passive"),
    "the broker refuses the login": _refuse_login,
    "the queues are deleted": _delete_queues,
    "the statistics are off": _switch_statistics,
    "the queue's page is slow": _set_broker("page_slow"),
    "the channels are slow": _set_broker("channels_slow"),
    SILENT: _silence_node,
}
OF_THE_BROKER = frozenset(list(KINDS)[-4:])
BLIND = frozenset(KINDS) - {"Rundeck is passive", "the channels are slow", SILENT}
"""While one of these goes on, nobody can know enough for a restart."""


def add_troubles(world: World) -> None:
    """Draw them. All are over when the calm begins."""
    rng = world.rng
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
    if rng.random() < 2 * LIKELY and not world.faults.scrape_s:
        begin = BEGIN + (92.0 + rng.random() * 8.0 if rng.random() < 0.5 else rng.random() * 600.0)
        world.at(begin, lambda: _lose_node(world))
    if rng.random() < LIKELY:
        world.at(BEGIN + rng.random() * 600.0, lambda: _plan_run(world, rng.choice([60.0, 900.0])))


def _turned(world: World, kind: str, turn: Callable[[World, bool], None], *, on: bool) -> Callable[[], None]:
    def happens() -> None:
        world.note(f"{kind}{'' if on else ' no longer'}")
        turn(world, on)

    return happens


def _lose_node(world: World) -> None:
    """A node stops, as in an upgrade; its consumers come back on another one, and it comes back without counters of before."""
    node, away_s = next(node for node in world.broker.nodes if node.startswith("b")), world.rng.choice(AWAY_S)
    since = world.broker.nodes.pop(node)
    world.note(f"the node {node} is lost, after {world.now - since:.0f} s")
    world.nodes_lost.append(world.now)
    for queue in world.queues.values():
        gone = queue.lose(world.now, node)
        world.at(world.now + away_s, lambda queue=queue, gone=gone: queue.come_back(world.now, gone, world.broker.connect(0)))

    def back() -> None:
        world.broker.nodes[f"{node}'"] = world.now

    world.at(world.now + BACK_S, back)


def _plan_run(world: World, ahead_s: float) -> None:
    """Somebody plans a run of the job for later."""
    world.rundeck.count += 1
    begin, now = world.now + ahead_s, world.now
    run = Run(world.rundeck.count, "", "target-app0", begin, begin + 8.0, "succeeded", now, now, by="somebody")
    world.rundeck.runs.append(run)
    world.note(f"somebody plans the run {run.id} for {begin - BEGIN:.0f}")
    world.at(begin + 8.0, lambda: world.on_restart(world, run))
