"""Derives one queue's state from RabbitMQ's answers, and what they can't show (docs/rabbitmq.md has each case, by version)."""

from collections.abc import Mapping, Sequence
from urllib.parse import quote

from msgspec.structs import replace

from functions.adapters.symptoms.rabbitmq import SYSTEM
from functions.adapters.symptoms.rabbitmq.answers import (
    ChannelPage,
    Connection,
    Consumer,
    Node,
    Page,
    Samples,
    Total,
    Totals,
    named,
    read,
    read_or_none,
    traffic_of,
)
from functions.domain.health.samples import RECENT_S, SETTLED_S, drop_gaps, rise_of, still_s
from functions.domain.model import observations
from functions.domain.model.alerts import QueueRef
from functions.domain.model.observations import Channel, Holder, QueueHistory, QueueSnapshot, Returns, Unknown
from functions.domain.texts.words import clean
from functions.runtime.errors import Denied, Unavailable
from functions.runtime.http_client import Answer
from functions.runtime.text import Text

WAITING = "waiting"  # `activity_status` of one that takes messages only once the single active consumer ends
SHOVEL = "none"  # the user of a shovel's consumer (measured on 4.3)
NAME = 80  # maximum length of a host or name in a document
ENABLE = Text("Enable rabbitmq_management_agent on every node of the cluster.")


# --- the first round trip: totals and the queue's page --------------------------------------------------------------------------


def read_snapshot(queue: QueueRef, totals: Totals, page: Page | Unknown, *, at: float) -> QueueSnapshot:
    """The queue at our time `at`. Raises Denied or Unavailable if its depth is unknown. Deliveries that need no acknowledgement
    count as acknowledged, as in the broker."""
    total = _find_total(queue, totals, page)
    ready, unacked = total.messages_ready, total.messages_unacknowledged
    if total.messages is None or ready is None or unacked is None:
        state = total.state or Text("unknown")
        raise Unavailable(SYSTEM, Text("no current totals of {queue} (state: {state})", queue=named(queue), state=state))
    returns = Returns(None) if total.type == "quorum" and ready + unacked else None  # until its page shows the limit
    snapshot = QueueSnapshot(at, ready + unacked, ready, unacked, returns=returns)
    if isinstance(page, Unknown):
        return replace(snapshot, blind=page)
    if total.type == "quorum" and snapshot.depth == 0 and page.messages != 0:
        # For 5 s after a leader change the list of 4.0 says 0, and the page has no figures (measured).
        raise Unavailable(SYSTEM, Text("{queue} may have changed its leader just now", queue=named(queue)), late=True)
    snapshot = _with_page(snapshot, page)
    return replace(snapshot, returns=_find_returns(snapshot, page))


def _find_total(queue: QueueRef, totals: Totals, page: Page | Unknown) -> Total:
    total = next((item for item in totals.items if item.name == queue.keys["queue"]), None)
    if total is None and isinstance(page, Page) and page.name == queue.keys["queue"]:
        raise Unavailable(
            SYSTEM, Text("{queue} has no live totals: its node {node} is down or overloaded", queue=named(queue), node=page.node)
        )
    if total is None:
        remedy = Text(
            "Compare the alert's labels with RabbitMQ's queues; an auto-delete or exclusive queue disappears with its consumer."
        )
        raise Denied(SYSTEM, Text("there is no queue {queue}", queue=named(queue)), remedy=remedy)
    if total.type == "stream":
        remedy = Text("Streams keep what was read: monitor the lag of their consumers with another tool.")
        stream = Text("{queue} is a stream, and its depth says nothing", queue=named(queue))
        raise Denied(SYSTEM, stream, remedy=remedy)
    is_frozen = bool(total.members) and total.online is not None and 2 * len(total.online) <= len(total.members or ())
    if total.state == "minority" or is_frozen:  # 4.3 says so, 4.0 does not
        raise Unavailable(SYSTEM, Text("{queue} has lost its majority of nodes", queue=named(queue)))
    return total


def _with_page(snapshot: QueueSnapshot, page: Page) -> QueueSnapshot:
    if page.consumer_details is None:
        remedy = Text("Turn the statistics on; `check` names the switch that turns them off.")
        return replace(snapshot, blind=Unknown(Text("the broker's statistics are off"), remedy=remedy))
    consumers, traffic, head = page.present, traffic_of(page.message_stats), page.head_message_timestamp
    delivered, taken = _sum(traffic.deliver, traffic.deliver_no_ack), _sum(traffic.get, traffic.get_no_ack)
    return replace(
        snapshot,
        consumers=len(consumers) if page.consumers is None else max(page.consumers, len(consumers)),
        consumer_ids=tuple(sorted(consumer.id for consumer in consumers)),
        acks=_sum(traffic.ack, traffic.deliver_no_ack, traffic.get_no_ack),
        ack_samples=to_series(traffic.ack_details, traffic.deliver_no_ack_details, traffic.get_no_ack_details),
        depth_samples=to_series(page.messages_ready_details, page.messages_unacknowledged_details),
        head_at=float(head) if isinstance(head, float | int) else None,
        deliveries=_sum(delivered, taken),
        redeliveries=traffic.redeliver,
        published=traffic.publish,
        history=QueueHistory(
            to_series(page.messages_ready_details),
            to_series(page.messages_unacknowledged_details),
            to_series(traffic.deliver_details, traffic.deliver_no_ack_details, traffic.get_details, traffic.get_no_ack_details),
            to_series(traffic.redeliver_details),
            to_series(traffic.publish_details),
            to_series(traffic.deliver_details, traffic.deliver_no_ack_details),
        ),
        uncounted=any(not consumer.channel.name for consumer in consumers),
        consumed=bool(page.consumer_details),
        active=sum(consumer.active and consumer.activity_status != WAITING for consumer in consumers),
        users=tuple(sorted({consumer.channel.user for consumer in consumers} - {"", SHOVEL})),
        owners=_find_owners(page, consumers),
        polled=bool(taken and not delivered and not consumers),
        blind=_find_mismatch(page, consumers, snapshot),
    )


def _find_owners(page: Page, consumers: list[Consumer]) -> tuple[str, ...] | None:
    """The user of each consumer; None if the page lacks a consumer, or the user of one (AMQP 1.0 on 4.x)."""
    owners = sorted(consumer.channel.user for consumer in consumers)
    return tuple(owners) if "" not in owners and (page.consumers or 0) <= len(page.consumer_details or ()) else None


def _find_returns(snapshot: QueueSnapshot, page: Page) -> Returns | None:
    """How often held messages may return. How often they have is unknown, so all redeliveries since the queue was empty count."""
    limit = page.limit_of_returns
    if not isinstance(limit, int) or limit < 0 or not snapshot.depth:
        return None
    used = limit if snapshot.uncounted else _count_since_empty(snapshot)
    return Returns(limit, min(used, limit), bool(page.settings("dead-letter-exchange")))


def find_fresh(snapshot: QueueSnapshot) -> QueueSnapshot:
    """The snapshot without returns so far, if no channel that holds messages ever got a redelivered one."""
    returned = [channel.returned for channel in snapshot.channels or () if channel.held]
    fresh = set(returned) == {0} and not snapshot.unseen and not snapshot.uncounted
    return replace(snapshot, returns=replace(snapshot.returns, used=0)) if fresh and snapshot.returns else snapshot


def _count_since_empty(snapshot: QueueSnapshot) -> int:
    """The redeliveries since the queue was last seen empty; depth and counters are up to SETTLED_S apart."""
    empty_at = max((at for at, depth in drop_gaps(snapshot.depth_samples) if not depth), default=None)
    if empty_at is None or not snapshot.history.redeliveries:
        return snapshot.redeliveries or 0
    return rise_of(tuple((at, count) for at, count in drop_gaps(snapshot.history.redeliveries) if at >= empty_at - SETTLED_S))


def _find_mismatch(page: Page, consumers: list[Consumer], snapshot: QueueSnapshot) -> Unknown | None:
    """Contradictions in the page, which may hide work."""
    shown = len(page.consumer_details or ())
    if page.consumers is not None and page.consumers > shown:
        why = Text(
            "consumers: {consumers}, of which the statistics show {known}; a node may send none",
            consumers=page.consumers,
            known=shown,
        )
        return Unknown(why, late=True, remedy=ENABLE)
    if consumers and all(consumer.channel.user == SHOVEL for consumer in consumers):
        return Unknown(Text("only a shovel takes messages from it"), remedy=Text("See the shovel's state in RabbitMQ."))
    if not page.messages_ready_details.samples:
        return Unknown(Text("the broker has no samples of its depth"), late=True)
    is_counted = all(consumer.channel.name for consumer in consumers)
    if snapshot.unacked and consumers and is_counted and traffic_of(page.message_stats).deliver is None:
        return Unknown(Text("messages are held, but nobody counts its deliveries"), late=True)
    return None


def _sum(*counters: int | None) -> int | None:
    counted = [counter for counter in counters if counter is not None]
    return sum(counted) if counted else None


def to_series(*parts: Samples) -> observations.Samples:
    """(seconds, value) by time, oldest first; values of the same time are added up."""
    by_time: dict[int, int] = {}
    for sample in (sample for part in parts for sample in part.samples):
        by_time[sample.timestamp] = by_time.get(sample.timestamp, 0) + sample.sample
    return tuple((at / 1000, value) for at, value in sorted(by_time.items()))


# --- what needs the tag `monitoring`: channels, nodes, and the names of who hangs -----------------------------------------------


def add_channels(
    snapshot: QueueSnapshot, queue: QueueRef, own: Mapping[str, Consumer], pages: Sequence[ChannelPage]
) -> QueueSnapshot:
    """The snapshot with the channels that have these pages."""
    channels = tuple(_to_channel(queue, own[page.name], page) for page in pages if page.name in own)
    return replace(snapshot, channels=channels)


def _to_channel(queue: QueueRef, consumer: Consumer, page: ChannelPage) -> Channel:
    traffic = traffic_of(page.message_stats)
    of_queue = [own for own in page.consumer_details if own.queue.name == queue.keys["queue"]]
    others = (other for other in page.consumer_details if other.ack_required and other.queue.name != queue.keys["queue"])
    return Channel(
        page.name,
        consumer.channel.peer_host[:NAME],
        held=page.messages_unacknowledged,
        counted=(traffic.deliver or 0) + (traffic.get or 0) - (traffic.ack or 0),
        work=to_series(traffic.deliver_details, traffic.get_details, traffic.ack_details),
        redeliveries=to_series(traffic.redeliver_details),
        returned=traffic.redeliver if traffic.redeliver is not None or traffic.deliver is None else 0,
        shared=any(others),
        user=page.user[:NAME],
        window=page.window,
        tags=tuple(sorted(own.consumer_tag[:NAME] for own in of_queue)),
    )


def find_hung(snapshot: QueueSnapshot, for_s: float) -> list[Channel]:
    """The channels that hold a message and have done nothing for `for_s`. The number of held messages is up to 5 s ahead of the
    counters, so a message counts once they show it. The one that holds most comes first. How long a consumer has held a message
    is read from its channel's counters: `idle_since` is renewed every 60 s (measured on 3.10, 4.0, 4.3)."""
    flat_s = max(for_s, RECENT_S)
    hung = [channel for channel in snapshot.channels or () if channel.is_holding and still_s(channel.work) >= flat_s]
    return sorted(hung, key=lambda channel: (-channel.held, channel.id))


def connection_path(channel: Channel) -> str:
    """The page of the channel's connection: its name is the connection's and a number, `10.0.0.1:5000 -> 10.0.0.2:5672 (1)`."""
    return f"/api/connections/{quote(channel.id.rpartition(' (')[0], safe='')}"


def with_names(snapshot: QueueSnapshot, hung: Sequence[Channel], answers: Mapping[str, Answer | Exception]) -> QueueSnapshot:
    """The snapshot with the names of the channels that hang, and with these as its holders."""
    if not snapshot.channels:
        return snapshot
    by_id = {channel.id: _with_connection(channel, answers.get(connection_path(channel))) for channel in hung}
    holders = tuple(
        Holder(channel.host, channel.name, None if channel.shared else channel.held, snapshot.at - still_s(channel.work))
        for channel in by_id.values()
    )
    return replace(snapshot, channels=tuple(by_id.get(channel.id, channel) for channel in snapshot.channels), holders=holders)


def _with_connection(channel: Channel, answer: Answer | Exception | None) -> Channel:
    """The channel with the name that its connection gives itself, or else its library's product name."""
    connection = read_or_none(answer, Connection)
    if connection is None:
        return channel
    properties = connection.client_properties if isinstance(connection.client_properties, dict) else {}
    names = (properties.get(key) for key in ("connection_name", "product"))
    name = clean(next((name for name in names if isinstance(name, str) and name), ""), NAME, "…")
    connected_at = connection.connected_at / 1000 if connection.connected_at is not None else None
    return replace(channel, name=name, connected_at=connected_at)


def with_nodes(snapshot: QueueSnapshot, nodes: Answer | Exception) -> QueueSnapshot:
    """The snapshot with the cluster's nodes."""
    try:
        members = read(nodes, list[Node])
    except (Denied, Unavailable) as error:
        unread = Unknown(Text("the nodes of the cluster could not be read: {error}", error=error.text), late=True)
        return replace(snapshot, blind=snapshot.blind or unread)
    up = [node for node in members if node.running]
    silent = [node.name for node in up if node.uptime is None]
    if silent and (snapshot.blind is None or snapshot.blind.late):
        why = Text("these nodes send no statistics: {nodes}", nodes=", ".join(silent))  # until seconds after a node's start
        snapshot = replace(snapshot, blind=Unknown(why, late=True, remedy=ENABLE))
    return replace(
        snapshot,
        nodes=tuple(sorted(node.name for node in up)),
        node_down=len(up) < len(members),
        nodes_up_s=min((node.uptime / 1000 for node in up if node.uptime is not None), default=0.0),
    )
