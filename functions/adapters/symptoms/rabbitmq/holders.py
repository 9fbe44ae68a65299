"""What only the tag `monitoring` shows: the names of the connections that hold messages, and the cluster's nodes.

Asked after everything else, and only of queues in which something is held or waits. How long a consumer has held a message is
read from its channel's counters: `idle_since` is renewed every 60 s (measured on 3.10, 4.0 and 4.3).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any
from urllib.parse import quote, urlencode

from msgspec import Struct, field
from msgspec.structs import replace

from functions.adapters.symptoms.rabbitmq.answers import good, shaped, tags_of
from functions.domain.health.proofs import RECENT_S
from functions.domain.health.samples import drop_gaps, rise_of, still_s, within
from functions.domain.model.observations import Holder, QueueSnapshot, Unknown
from functions.domain.texts.sanitize import clean
from functions.runtime.errors import Denied, Unavailable
from functions.runtime.http_client import Answer
from functions.runtime.text import Text

WHOAMI = "/api/whoami"
NODES = "/api/nodes?columns=name,running,uptime"
WITHIN_S = 1.0
"""Nothing depends on the names, and nodes answer in milliseconds, so this is all the time that it may take."""
KEPT = 5
NAME = 80
"""Characters of a name or host that a document keeps."""
SEES_ALL = frozenset({"monitoring", "administrator"})

Ask = Callable[[list[str]], Sequence[Answer | Exception]]
"""GET these paths at once: the Answer of each, or the error instead."""


class _Connection(Struct, frozen=True):
    name: str = ""
    client_properties: dict[str, Any] | list[Any] = field(default_factory=dict)
    """An empty list where there are none."""


class _Node(Struct, frozen=True):
    name: str
    running: bool = False
    uptime: int | None = None
    """Milliseconds; absent while it does not run, and without the management agent."""


def sees_all(whoami: Answer | Exception) -> bool:
    """Whether the user has a tag that shows others' channels and connections. Asking without would be logged by the broker."""
    try:
        return not SEES_ALL.isdisjoint(tags_of(whoami))
    except (Denied, Unavailable):
        return False


def add_details(snapshots: Mapping[str, QueueSnapshot], vhosts: Mapping[str, str], ask: Ask | None) -> dict[str, QueueSnapshot]:
    """The snapshots, by the queue's key, with the holders' names and the cluster's nodes, as far as `ask` may be used.

    `vhosts`: the queues' vhosts, by the same keys.
    """
    worth = {key: seen for key, seen in snapshots.items() if _may_be_stuck(seen)}
    if ask is None or not worth:
        return dict(snapshots)
    held_in = sorted({vhosts[key] for key, seen in worth.items() if any(one.held for one in seen.channels or ())})
    nodes, *connections = ask([NODES, *map(_connections_path, held_in)])
    names = {vhost: _names(answer) for vhost, answer in zip(held_in, connections, strict=True)}
    return {
        key: _with_nodes(_with_names(seen, names.get(vhosts[key], {})), nodes) if key in worth else seen
        for key, seen in snapshots.items()
    }


def _may_be_stuck(seen: QueueSnapshot) -> bool:
    """Whether it is worth another round trip: a busy queue always holds messages."""
    still = any(one.held and one.work and still_s(drop_gaps(one.work)) >= RECENT_S for one in seen.channels or ())
    worked = seen.ack_samples and rise_of(within(drop_gaps(seen.ack_samples), RECENT_S))
    return bool(seen.depth and (still or not worked))


def _connections_path(vhost: str) -> str:
    columns = {"columns": "name,client_properties.connection_name,client_properties.product"}
    return f"/api/vhosts/{quote(vhost, safe='')}/connections?{urlencode(columns)}"


def _with_names(seen: QueueSnapshot, names: Mapping[str, str]) -> QueueSnapshot:
    """The snapshot with its channels named, and those that hold messages, the most first."""
    if seen.channels is None:
        return seen
    channels = tuple(replace(one, name=names.get(_connection_of(one.id), "")) for one in seen.channels)
    holders = [
        Holder(one.host, one.name, None if one.shared else one.held, _held_since(seen, still_s(drop_gaps(one.work))))
        for one in channels
        if one.held and one.work
    ]
    holders.sort(key=lambda one: (-(one.messages or 0), one.name, one.host))
    return replace(seen, channels=channels, holders=tuple(holders[:KEPT]))


def _held_since(seen: QueueSnapshot, still: float) -> float:
    return seen.at - still


def _connection_of(channel: str) -> str:
    """The connection's name: a channel's is the same with its number behind, as in `10.0.0.1:5000 -> 10.0.0.2:5672 (1)`."""
    return channel.rpartition(" (")[0]


def _names(answer: Answer | Exception) -> dict[str, str]:
    """What each connection calls itself; a library's own product name is better than nothing."""
    try:
        connections = shaped(good(answer).json(), list[_Connection])
    except (Denied, Unavailable):
        return {}
    return {one.name: _name(one) for one in connections}


def _name(connection: _Connection) -> str:
    properties = connection.client_properties
    if not isinstance(properties, Mapping):
        return ""
    names = (properties.get(key) for key in ("connection_name", "product"))
    return clean(next((name for name in names if isinstance(name, str) and name), ""), NAME, "…")


def _with_nodes(seen: QueueSnapshot, answer: Answer | Exception) -> QueueSnapshot:
    try:
        nodes = shaped(good(answer).json(), list[_Node])
    except (Denied, Unavailable) as error:
        unread = Unknown(Text("the nodes of the cluster could not be read: {error}", error=error.text), late=True)
        return replace(seen, blind=seen.blind or unread)
    up = [node for node in nodes if node.running]
    silent = [node.name for node in up if node.uptime is None]
    if silent and (seen.blind is None or seen.blind.late):
        why = Text("these nodes send no statistics: {nodes}", nodes=", ".join(silent))
        remedy = Text("Enable rabbitmq_management_agent on every node of the cluster.")
        seen = replace(seen, blind=Unknown(why, remedy=remedy))
    return replace(
        seen,
        nodes=tuple(sorted(node.name for node in up)),
        node_down=len(up) < len(nodes),
        nodes_up_s=min((node.uptime / 1000 for node in up if node.uptime is not None), default=0.0),
    )
