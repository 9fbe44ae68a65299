"""What happens to a cluster of two or three nodes, and the applications that live through it."""

import time
from collections.abc import Callable, Mapping
from dataclasses import replace

from testbed.broker import Cluster
from testbed.workers.crew import Habit
from tests.system.town.healthy import HEALTHY, QUORUM, works
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


def live_through(cluster: Cluster, tell: Callable[[str], None]) -> None:
    """All events, one after the other, and then a quiet minute."""
    began = time.monotonic()
    for at_s, name, places in EVENTS[len(cluster.nodes)]:
        time.sleep(max(0.0, began + at_s - time.monotonic()))
        nodes = [cluster.nodes[place] for place in places]
        if name == "start":
            cluster.start(*nodes)
        for node in nodes if name != "start" else ():
            getattr(cluster, name)(node)
        tell(f"{time.monotonic() - began:.0f} s: {name} of {', '.join(node.name for node in nodes)}")
    time.sleep(QUIET_S)


ALONE = {pattern.name: pattern for pattern in (*HEALTHY, *STUCK)}
"""The applications of a single node."""
BACKLOG = Pattern("", Truth.HEALTHY, "a backlog, 5 s each", works(*2 * [Habit(work_s=5.0)], backlog=200))


def _there(name: str, like: str, home: int = 0, works_on: int | None = None, *, quorum: bool = False) -> Pattern:
    """An application like one of a single node, with its queue on one node and its workers on another; None: on all."""
    pattern = ALONE.get(like, BACKLOG)
    arguments = {**pattern.arguments, **(QUORUM if quorum else {})}
    return replace(pattern, name=name, arguments=arguments, home=home, works_on=works_on, vhost="/")


OF_THREE: tuple[Pattern, ...] = (
    _there("led-away", "backlog", 1, 0, quorum=True),
    _there("led-away-slow", "slow", 1, 0, quorum=True),
    _there("led-and-worked-away", "backlog", 1, 1, quorum=True),
    _there("led-here", "backlog", quorum=True),
    _there("led-by-third", "prefetch-50", 2, quorum=True),
    _there("single-quorum", "single-active", 1, 0, quorum=True),
    _there("classic-away", "backlog", 1, 0),
    _there("dead-letters-quorum", "dead-letters", 1, quorum=True),
    _there("held-quorum", "held", 1, 0, quorum=True),
    _there("held-here", "held", 0, 0),
)

STATISTICS_ON_ONE: tuple[Pattern, ...] = (
    _there("both", "steady"),
    *(_there(f"away-{like}", like, 0, 1) for like in ("steady", "backlog", "slow", "batches", "prefetch-50")),
    *(_there(f"away-{like}", like, 0, 1) for like in ("automatic", "single-active", "getters", "rolling")),
    _there("here", "backlog", 0, 0),
    _there("far", "backlog", 1, 1),
    _there("far-queue", "backlog", 1, 0),
)
"""Where the second node has no management plugin, nothing is known of what these do there."""

PATTERNS: tuple[Pattern, ...] = (
    *STATISTICS_ON_ONE,
    _there("quorum", "backlog", quorum=True),
    _there("quorum-far", "backlog", 1, 0, quorum=True),
    _there("dead-letters", "dead-letters"),
    _there("held", "held", 0, 0),
    _there("held-quiet", "held-only", 0, 0),
)
