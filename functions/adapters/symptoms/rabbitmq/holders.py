"""Reads what needs the tag `monitoring`: the channels of a queue's consumers, the cluster's nodes, and the names of who hangs.

Requested after everything else, and only for queues in which something is held or nothing was delivered recently. How long a
consumer has held a message is read from its channel's counters: `idle_since` is renewed every 60 s (measured on 3.10, 4.0, 4.3).
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any
from urllib.parse import quote

from msgspec import Struct, field
from msgspec.structs import replace

from functions.adapters.symptoms.rabbitmq.answers import good, shaped, shaped_or_none, tags_of
from functions.adapters.symptoms.rabbitmq.channels import NAME, Look, choose_channels, read_channels
from functions.adapters.symptoms.rabbitmq.snapshot import find_fresh
from functions.domain.health.samples import RECENT_S, drop_gaps, rise_of, still_s, within
from functions.domain.model.observations import Channel, Holder, QueueSnapshot, Unknown
from functions.domain.texts.sanitize import clean
from functions.runtime.errors import Denied, Unavailable
from functions.runtime.http_client import Answer
from functions.runtime.text import COMMA, Phrase, Text, in_brackets, join

WHOAMI = "/api/whoami"
NODES = "/api/nodes?columns=name,running,uptime"
ALARMS = "/api/health/checks/alarms"  # immediate; the nodes' own `mem_alarm` is still false after 7 s (measured on 3.10)
ALARM_STATUS = 503
KEPT = 5
MOST_CONNECTIONS = 32  # pages of connections in a look
SEES_ALL = frozenset({"monitoring", "administrator"})

Ask = Callable[[Sequence[str]], Mapping[str, Answer | Exception]]
"""Sends GETs for these paths: the Answer of each, or the error in its place."""


class _Connection(Struct, frozen=True):
    client_properties: dict[str, Any] | list[Any] = field(default_factory=dict)  # an empty list if there are none
    connected_at: int | None = None  # milliseconds


class Node(Struct, frozen=True):
    name: str
    running: bool = False
    uptime: int | None = None  # milliseconds; absent if the node is down or has no management agent


class _Alarm(Struct, frozen=True):
    resource: str = "?"  # `memory` or `disk`
    node: str = "?"


class _Alarms(Struct, frozen=True):
    alarms: list[_Alarm] = field(default_factory=list)


def sees_all(whoami: Answer | Exception) -> bool:
    """Whether the user has a tag that shows others' channels and connections. The broker logs requests without it."""
    try:
        return not SEES_ALL.isdisjoint(tags_of(whoami))
    except (Denied, Unavailable):
        return False


def add_details(looks: Mapping[str, Look], ask: Ask) -> dict[str, QueueSnapshot]:
    """The snapshots (by queue key) with their consumers' channels, the cluster's nodes, and the names of who hangs."""
    chosen = dict(zip(looks, choose_channels(list(looks.values())), strict=True))
    answers = ask([NODES, ALARMS, *dict.fromkeys(look.path(name) for look in chosen.values() for name in look.channels)])
    alarm = _read_alarm(answers[ALARMS])
    details = {}
    for key, look in chosen.items():
        seen = find_fresh(read_channels(look, answers)) if look.own else look.seen
        details[key] = _with_nodes(replace(seen, alarm=alarm), answers[NODES])
    hung = {key: find_hung(seen, looks[key].query.for_s) for key, seen in details.items()}
    paths = dict.fromkeys(_connection_path(one) for channels in hung.values() for one in channels)
    connections = ask(list(paths)[:MOST_CONNECTIONS]) if paths else {}
    return {key: _with_names(seen, hung[key], connections) for key, seen in details.items()}


def _read_alarm(answer: Answer | Exception) -> Phrase:
    """The resources that the broker is short of; empty if there are none, or it doesn't say."""
    if not isinstance(answer, Answer) or answer.status != ALARM_STATUS:
        return ""
    try:
        alarms = shaped(answer.json(), _Alarms).alarms
    except Unavailable:
        return ""
    return join([in_brackets(clean(one.resource, NAME, "…"), clean(one.node, NAME, "…")) for one in alarms[:KEPT]], COMMA)


def is_worth_asking(seen: QueueSnapshot) -> bool:
    """Whether it is worth another round trip: a message is held, or messages wait and none was delivered recently."""
    deliveries = seen.history.deliveries
    delivered = deliveries and rise_of(within(drop_gaps(deliveries), RECENT_S))
    return bool(seen.unacked or (seen.ready and not delivered))


def find_hung(seen: QueueSnapshot, for_s: float) -> list[Channel]:
    """The channels that hold a message and have done nothing for `for_s`. The number of held messages is up to 5 s ahead of the
    counters, so a message counts once they show it. The one that holds most comes first."""
    hung = [
        one
        for one in seen.channels or ()
        if one.held and one.counted > 0 and one.work and one.work[-1][1] and _flat_s(one) >= max(for_s, RECENT_S)
    ]
    return sorted(hung, key=lambda one: (-one.held, one.id))


def _flat_s(channel: Channel) -> float:
    return still_s(drop_gaps(channel.work))


def _connection_path(channel: Channel) -> str:
    # a channel's name is its connection's and a number: `10.0.0.1:5000 -> 10.0.0.2:5672 (1)`
    return f"/api/connections/{quote(channel.id.rpartition(' (')[0], safe='')}"


def _with_names(seen: QueueSnapshot, hung: Sequence[Channel], answers: Mapping[str, Answer | Exception]) -> QueueSnapshot:
    """The snapshot with the names of the channels that hang, and with these as its holders."""
    if not seen.channels:
        return seen
    named = {one.id: _with_connection(one, answers.get(_connection_path(one))) for one in hung}
    holders = tuple(
        Holder(one.host, one.name, None if one.shared else one.held, seen.at - _flat_s(one))
        for one in tuple(named.values())[:KEPT]
    )
    return replace(seen, channels=tuple(named.get(one.id, one) for one in seen.channels), holders=holders)


def _with_connection(channel: Channel, answer: Answer | Exception | None) -> Channel:
    """The channel with the name that its connection gives itself, or else its library's product name."""
    connection = shaped_or_none(answer, _Connection) if answer is not None else None
    if connection is None:
        return channel
    properties = connection.client_properties if isinstance(connection.client_properties, dict) else {}
    names = (properties.get(key) for key in ("connection_name", "product"))
    name = clean(next((name for name in names if isinstance(name, str) and name), ""), NAME, "…")
    connected_at = connection.connected_at / 1000 if connection.connected_at is not None else None
    return replace(channel, name=name, connected_at=connected_at)


def _with_nodes(seen: QueueSnapshot, answer: Answer | Exception) -> QueueSnapshot:
    try:
        nodes = shaped(good(answer).json(), list[Node])
    except (Denied, Unavailable) as error:
        unread = Unknown(Text("the nodes of the cluster could not be read: {error}", error=error.text), late=True)
        return replace(seen, blind=seen.blind or unread)
    up = [node for node in nodes if node.running]
    silent = [node.name for node in up if node.uptime is None]
    if silent and (seen.blind is None or seen.blind.late):
        why = Text("these nodes send no statistics: {nodes}", nodes=", ".join(silent))
        remedy = Text("Enable rabbitmq_management_agent on every node of the cluster.")
        seen = replace(seen, blind=Unknown(why, late=True, remedy=remedy))  # a node sends none until seconds after its start
    return replace(
        seen,
        nodes=tuple(sorted(node.name for node in up)),
        node_down=len(up) < len(nodes),
        nodes_up_s=min((node.uptime / 1000 for node in up if node.uptime is not None), default=0.0),
    )
