r"""Reads what needs the tag `monitoring`: the counters and names of channels that hold messages, and the cluster's nodes.

Requested after everything else, and only for queues in which something is held or nothing was done recently. How long a consumer
has held a message is read from its channel's counters: `idle_since` is renewed every 60 s (measured on 3.10, 4.0 and 4.3).
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any
from urllib.parse import quote, urlencode

from msgspec import Struct, field
from msgspec.structs import replace

from functions.adapters.symptoms.rabbitmq.answers import NOT_FOUND, ChannelItem, good, shaped, shaped_or_none, tags_of
from functions.adapters.symptoms.rabbitmq.snapshot import add_work, find_fresh
from functions.domain.health.rows import RECENT_S
from functions.domain.health.samples import drop_gaps, rise_of, still_s, within
from functions.domain.model.observations import Channel, Holder, QueueSnapshot, Unknown
from functions.domain.texts.sanitize import clean
from functions.runtime.errors import Denied, Unavailable
from functions.runtime.http_client import Answer
from functions.runtime.text import COMMA, Phrase, Text, in_brackets, join

WHOAMI = "/api/whoami"
CONNECTIONS = urlencode({"columns": "name,client_properties.connection_name,client_properties.product"})
NODES = "/api/nodes?columns=name,running,uptime"
MOST_PAGES = 32  # channels to request one by one, 2 ms each; if more hold a message, one list has the samples of all
LIGHT = "name,messages_unacknowledged,consumer_count"
WORK = (
    "message_stats.deliver,message_stats.ack,message_stats.redeliver,message_stats.deliver_details.samples,"
    "message_stats.ack_details.samples,message_stats.redeliver_details.samples"
)
ALARMS = "/api/health/checks/alarms"  # immediate; the nodes' own `mem_alarm` is still false after 7 s (measured on 3.10)
ALARM_STATUS = 503
KEPT = 5
NAME = 80  # maximum length of a name or host in a document
SEES_ALL = frozenset({"monitoring", "administrator"})

Ask = Callable[[list[str]], Sequence[Answer | Exception]]
"""Sends GETs for these paths in parallel: the Answer of each, or the error in its place."""


class _Connection(Struct, frozen=True):
    name: str = ""
    client_properties: dict[str, Any] | list[Any] = field(default_factory=dict)  # an empty list if there are none


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


def add_details(
    snapshots: Mapping[str, QueueSnapshot], vhosts: Mapping[str, str], samples: Mapping[str, int], ask: Ask
) -> dict[str, QueueSnapshot]:
    """Add to the snapshots (by queue key) their holding channels' counters, the holders' names and the cluster's nodes.
    `vhosts`: the queues' vhosts, by the same keys. `samples`: the query for samples."""
    held_in = sorted({vhosts[key] for key, seen in snapshots.items() if _holding(seen)})
    paths = {NODES: NODES, ALARMS: ALARMS} | {
        f"names in {vhost}": f"/api/vhosts/{quote(vhost, safe='')}/connections?{CONNECTIONS}" for vhost in held_in
    }
    wanted = sorted({one.id for seen in snapshots.values() for one in _holding(seen)})
    if len(wanted) <= MOST_PAGES:
        paths |= {f"channel {name}": f"/api/channels/{quote(name, safe='')}?{urlencode(samples)}" for name in wanted}
    else:
        paths |= {f"channels of {vhost}": channels_path(vhost, samples) for vhost in held_in}
    answers = dict(zip(paths, ask(list(paths.values())), strict=True))
    items = _read_channels(answers)
    details = {}
    for key, seen in snapshots.items():
        names = _names(answers[f"names in {vhosts[key]}"]) if vhosts[key] in held_in else {}
        details[key] = _with_nodes(_with_names(find_fresh(_with_work(seen, items)), names), answers[NODES])
    alarm = _read_alarm(answers[ALARMS])
    return {key: replace(seen, alarm=alarm) for key, seen in details.items()}


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
    """Whether it is worth another round trip."""
    worked = seen.ack_samples and rise_of(within(drop_gaps(seen.ack_samples), RECENT_S))
    return bool(seen.depth and (_holding(seen) or not worked))


def _holding(seen: QueueSnapshot) -> list[Channel]:
    return [one for one in seen.channels or () if one.held]


def channels_path(vhost: str, samples: Mapping[str, int] | None = None) -> str:
    """The channels of a vhost. Samples of 1,000 take the broker half a second, without them 0.1 s (measured on 3.10 and 4.3)."""
    query = {**(samples or {}), "columns": LIGHT if samples is None else f"{LIGHT},{WORK}"}
    return f"/api/vhosts/{quote(vhost, safe='')}/channels?{urlencode(query)}"


def _read_channels(answers: Mapping[str, Answer | Exception]) -> dict[str, ChannelItem] | Unknown:
    """The channels by name, or why some could not be read. A closed channel holds nothing."""
    items: dict[str, ChannelItem] = {}
    for what, answer in answers.items():
        if isinstance(answer, Answer) and answer.status == NOT_FOUND and what.startswith("channel "):
            continue
        try:
            if what.startswith("channel "):
                one = shaped(good(answer).json(), ChannelItem)
                items[one.name] = one
            elif what.startswith("channels "):
                items |= {one.name: one for one in shaped(good(answer).json(), list[ChannelItem])}
        except (Denied, Unavailable) as error:
            return Unknown(Text("the consumers' channels can't be read: {error}", error=error.detail), late=True)
    return items


def _with_work(seen: QueueSnapshot, items: dict[str, ChannelItem] | Unknown) -> QueueSnapshot:
    if isinstance(items, Unknown):
        return replace(seen, unseen=items) if _holding(seen) else seen
    if seen.channels is None:
        return seen
    return replace(seen, channels=tuple(add_work(one, items[one.id]) if one.id in items else one for one in seen.channels))


def _with_names(seen: QueueSnapshot, names: Mapping[str, str]) -> QueueSnapshot:
    """The snapshot with its channels' names, and the channels that hold messages, largest number first."""
    if seen.channels is None:
        return seen
    # a channel's name is its connection's and a number: `10.0.0.1:5000 -> 10.0.0.2:5672 (1)`
    channels = tuple(replace(one, name=names.get(one.id.rpartition(" (")[0], "")) for one in seen.channels)
    holders = [
        Holder(one.host, one.name, None if one.shared else one.held, seen.at - still_s(drop_gaps(one.work)))
        for one in channels
        if one.held and one.work
    ]
    holders.sort(key=lambda one: (-(one.messages or 0), one.name, one.host))
    return replace(seen, channels=channels, holders=tuple(holders[:KEPT]))


def _names(answer: Answer | Exception) -> dict[str, str]:
    """The name that each connection gives itself, or else its library's product name."""
    return {one.name: _name(one) for one in shaped_or_none(answer, list[_Connection]) or ()}


def _name(connection: _Connection) -> str:
    properties = connection.client_properties
    if not isinstance(properties, Mapping):
        return ""
    names = (properties.get(key) for key in ("connection_name", "product"))
    return clean(next((name for name in names if isinstance(name, str) and name), ""), NAME, "…")


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
        seen = replace(seen, blind=Unknown(why, remedy=remedy))
    return replace(
        seen,
        nodes=tuple(sorted(node.name for node in up)),
        node_down=len(up) < len(nodes),
        nodes_up_s=min((node.uptime / 1000 for node in up if node.uptime is not None), default=0.0),
    )
