"""What happens to a cluster of two or three nodes, and the applications that live through it."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping

from testbed.broker import Cluster
from testbed.workers.crew import Habit
from tests.system.town.healthy import HEALTHY, works
from tests.system.town.scene import Pattern, Truth
from tests.system.town.stuck import STUCK

LINES = ("cluster_partition_handling = autoheal",)
Event = tuple[float, str, tuple[int, ...]]
EVENTS: Mapping[int, tuple[Event, ...]] = {
    2: (
        *((60.0, "stop", (1,)), (95.0, "start", (1,)), (140.0, "kill", (1,)), (175.0, "start", (1,))),
        *((220.0, "part", (1,)), (255.0, "heal", (1,))),
    ),
    3: ((120.0, "kill", (1,)), (155.0, "start", (1,)), (210.0, "kill", (1, 2)), (260.0, "start", (1, 2))),
}
"""By the number of nodes: after this many seconds, this happens to these. Unstick and the publishers know the first. Of three,
the second leads most quorum queues, and without two of them no such queue has a majority."""
QUIET_S = 65.0

PLAYS = {pattern.name: pattern.play for pattern in (*HEALTHY, *STUCK)}
"""How the applications of a single node behave, by name."""

BACKLOG = works(Habit(work_s=5.0), 2, backlog=200)


def live_through(cluster: Cluster, tell: Callable[[str], None]) -> None:
    """All events, one after the other, and then a quiet minute."""
    began = time.monotonic()
    each: Mapping[str, Callable[..., None]] = {
        "stop": cluster.stop,
        "kill": cluster.kill,
        "part": cluster.part,
        "heal": cluster.heal,
    }
    for at_s, name, places in EVENTS[len(cluster.nodes)]:
        time.sleep(max(0.0, began + at_s - time.monotonic()))
        others = [cluster.nodes[place] for place in places]
        if name == "start":
            cluster.start(*others)
        for other in others if name != "start" else ():
            each[name](other)
        tell(f"{time.monotonic() - began:.0f} s: {name} of {', '.join(other.name for other in others)}")
    time.sleep(QUIET_S)


def _there(name: str, says: str, play: object, home: int, works_on: int | None, **arguments: object) -> Pattern:
    known = {key.replace("_", "-"): value for key, value in arguments.items()}
    return Pattern(name, Truth.HEALTHY, says, play, known, home, works_on)  # type: ignore[arg-type]


PATTERNS: tuple[Pattern, ...] = (
    _there("both", "workers on both nodes", PLAYS["steady"], 0, None),
    _there("away", "queue here, workers on the other node", PLAYS["steady"], 0, 1),
    _there("away-backlog", "the same with a backlog, 5 s each", BACKLOG, 0, 1),
    _there("away-slow", "the same, 25 s each", PLAYS["slow"], 0, 1),
    _there("away-batches", "the same, all acknowledged every 45 s", PLAYS["batches"], 0, 1),
    _there("away-prefetch", "the same, 50 in hand", PLAYS["prefetch-50"], 0, 1),
    _there("away-automatic", "the same, automatic acknowledgement", PLAYS["automatic"], 0, 1),
    _there("away-single", "the same, single active consumer", PLAYS["single-active"], 0, 1, x_single_active_consumer=True),
    _there("away-getters", "the same, asks with basic.get", PLAYS["getters"], 0, 1),
    _there("away-rolling", "the same, one after the other replaced", PLAYS["rolling"], 0, 1),
    _there("here", "queue and workers on this node", BACKLOG, 0, 0),
    _there("far", "queue and workers on the other node", BACKLOG, 1, 1),
    _there("far-queue", "queue on the other node, workers here", BACKLOG, 1, 0),
    _there("quorum", "a quorum queue, workers on both", BACKLOG, 0, None, x_queue_type="quorum"),
    _there("quorum-far", "a quorum queue led by the other node", BACKLOG, 1, 0, x_queue_type="quorum"),
    _there("dead-letters", "nobody ever consumes its 3 messages", PLAYS["dead-letters"], 0, None),
    Pattern("held", Truth.STUCK, "hangs, on this node", PLAYS["held"], {}, 0, 0),
    Pattern("held-quiet", Truth.STUCK, "hangs with the only one, on this node", PLAYS["held-only"], {}, 0, 0),
)

STATISTICS_ON_ONE: tuple[Pattern, ...] = tuple(one for one in PATTERNS if one.name.startswith(("away", "here", "both", "far")))
"""Where the second node has no management plugin, nothing is known of what these do there."""

OF_THREE: tuple[Pattern, ...] = (
    _there("led-away", "a quorum queue led by the second node, workers here", BACKLOG, 1, 0, x_queue_type="quorum"),
    _there("led-away-slow", "the same, 25 s each", PLAYS["slow"], 1, 0, x_queue_type="quorum"),
    _there("led-away-steady", "the same, two a second", PLAYS["steady"], 1, 0, x_queue_type="quorum"),
    _there("led-and-worked-away", "the same, workers on the second node", BACKLOG, 1, 1, x_queue_type="quorum"),
    _there("led-here", "a quorum queue led by the first node, workers on all", BACKLOG, 0, None, x_queue_type="quorum"),
    _there("led-by-third", "led by the third node, 50 in hand", PLAYS["prefetch-50"], 2, None, x_queue_type="quorum"),
    _there("single-quorum", "single active consumer", PLAYS["single-active"], 1, 0, x_queue_type="quorum",
        x_single_active_consumer=True),
    _there("classic-away", "a classic queue on the second node, workers here", BACKLOG, 1, 0),
    _there("classic-here", "a classic queue here, workers on all", PLAYS["steady"], 0, None),
    _there("dead-letters-quorum", "nobody ever consumes its 3 messages", PLAYS["dead-letters"], 1, None, x_queue_type="quorum"),
    Pattern("held-quorum", Truth.STUCK, "hangs, led by the second node", PLAYS["held"], {"x-queue-type": "quorum"}, 1, 0),
    Pattern("held-here", Truth.STUCK, "hangs, on this node", PLAYS["held"], {}, 0, 0),
)  # fmt: skip
