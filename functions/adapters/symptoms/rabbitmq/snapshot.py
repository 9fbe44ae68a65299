"""Derives one queue's state from RabbitMQ's answers, and what they can't show (docs/rabbitmq.md has each case, by version)."""

from collections.abc import Sequence
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from functions.adapters.symptoms.rabbitmq.answers import ChannelPage, Consumer, Page, Total, Totals, named, shaped
from functions.adapters.symptoms.rabbitmq.channels import NAME, add_channels, own_channels, to_series
from functions.adapters.symptoms.rabbitmq.settings import SYSTEM
from functions.domain.health.samples import SETTLED_S, drop_gaps, rise_of
from functions.domain.model.alerts import QueueRef
from functions.domain.model.observations import Holder, QueueHistory, QueueSnapshot, Returns, Unknown
from functions.runtime.errors import Denied, Unavailable
from functions.runtime.text import Text

WAITING = "waiting"  # `activity_status` of one that takes messages only once the single active consumer ends
SHOVEL = "none"  # the user of a shovel's consumer (measured on 4.3)


class Answers(Struct, frozen=True):
    """The answers about one queue at one moment, as parsed JSON. None: not available."""

    totals: Any
    page: Any = None
    channels: Sequence[Any] | None = None  # the pages of its consumers' channels; also None without the tag `monitoring`


def read_snapshot(queue: QueueRef, answers: Answers, *, at: float) -> QueueSnapshot:
    """The queue at our time `at`. Raises Denied or Unavailable if its depth is unknown. Deliveries that need no acknowledgement
    count as acknowledged, as in the broker."""
    total = _find_total(queue, answers)
    ready, unacked = total.messages_ready, total.messages_unacknowledged
    if total.messages is None or ready is None or unacked is None:
        state = total.state or Text("unknown")
        raise Unavailable(SYSTEM, Text("no current totals of {queue} (state: {state})", queue=named(queue), state=state))
    returns = Returns(None) if total.type == "quorum" and unacked else None  # until its page shows the limit
    seen = QueueSnapshot(at, ready + unacked, ready, unacked, later=max(total.messages - ready - unacked, 0), returns=returns)
    if answers.page is None:
        return replace(seen, blind=Unknown(Text("the page of {queue} could not be read", queue=named(queue))))
    try:
        page = shaped(answers.page, Page)
    except Unavailable as error:
        return replace(seen, blind=Unknown(error.text))
    if total.type == "quorum" and seen.depth == 0 and page.messages != 0:
        # For 5 s after a leader change the list of 4.0 says 0, and the page has no figures (measured).
        raise Unavailable(SYSTEM, Text("{queue} may have changed its leader just now", queue=named(queue)), late=True)
    seen = _with_page(seen, page)
    if answers.channels is not None and page.consumer_details is not None:
        seen = add_channels(seen, queue, own_channels(page), shaped(answers.channels, list[ChannelPage]))
    return replace(seen, returns=_find_returns(seen, page))


def _find_total(queue: QueueRef, answers: Answers) -> Total:
    matching = [item for item in shaped(answers.totals, Totals).items if item.name == queue.keys["queue"]]
    if not matching and isinstance(answers.page, dict) and answers.page.get("name") == queue.keys["queue"]:
        node = str(answers.page.get("node", "?"))
        raise Unavailable(SYSTEM, Text("{queue} has no live totals: its node {node} is down", queue=named(queue), node=node))
    if not matching:
        remedy = Text(
            "Compare the alert's labels with RabbitMQ's queues; an auto-delete or exclusive queue disappears with its consumer."
        )
        raise Denied(SYSTEM, Text("there is no queue {queue}", queue=named(queue)), remedy=remedy)
    total = matching[0]
    if total.type == "stream":
        remedy = Text("Streams keep what was read: monitor the lag of their consumers with another tool.")
        stream = Text("{queue} is a stream, and its depth says nothing", queue=named(queue))
        raise Denied(SYSTEM, stream, remedy=remedy)
    if total.members and total.online is not None and 2 * len(total.online) <= len(total.members):
        lost = Text(
            "{queue} has lost its majority: {online} of {members} nodes are online, and its figures are frozen",
            queue=named(queue),
            online=len(total.online),
            members=len(total.members),
        )
        raise Unavailable(SYSTEM, lost)
    if total.state == "minority":
        raise Unavailable(SYSTEM, Text("{queue} has lost its majority of nodes", queue=named(queue)))
    return total


def _with_page(seen: QueueSnapshot, page: Page) -> QueueSnapshot:
    if page.consumer_details is None:
        remedy = Text("Turn the statistics on; `check` names the switch that turns them off.")
        return replace(seen, blind=Unknown(Text("the broker's statistics are off"), remedy=remedy))
    consumers, traffic, head = page.present, page.traffic, page.head_message_timestamp
    delivered, taken = _sum(traffic.deliver, traffic.deliver_no_ack), _sum(traffic.get, traffic.get_no_ack)
    return replace(
        seen,
        consumers=len(consumers) if page.consumers is None else max(page.consumers, len(consumers)),
        consumer_ids=tuple(sorted(one.id for one in consumers)),
        acks=_sum(traffic.ack, traffic.deliver_no_ack, traffic.get_no_ack),
        ack_samples=to_series(traffic.ack_details, traffic.deliver_no_ack_details, traffic.get_no_ack_details),
        depth_samples=to_series(page.messages_ready_details, page.messages_unacknowledged_details),
        head_at=float(head) if isinstance(head, float | int) else None,
        head_bytes=page.message_bytes_ready if page.messages_ready == seen.ready == 1 else None,
        held_bytes=page.message_bytes_unacknowledged if page.messages_unacknowledged == seen.unacked and seen.unacked else None,
        deliveries=_sum(delivered, taken),
        redeliveries=traffic.redeliver,
        published=traffic.publish,
        history=QueueHistory(
            to_series(page.messages_ready_details),
            to_series(page.messages_unacknowledged_details),
            to_series(traffic.deliver_details, traffic.deliver_no_ack_details, traffic.get_details, traffic.get_no_ack_details),
            to_series(traffic.redeliver_details),
            to_series(traffic.publish_details),
        ),
        holders=_only_holder(consumers, seen),
        uncounted=any(not one.channel.name for one in consumers),
        consumed=bool(page.consumer_details),
        active=sum(one.active and one.activity_status != WAITING for one in consumers),
        users=tuple(sorted({one.channel.user for one in consumers} - {"", SHOVEL})),
        polled=bool(taken and not delivered and not consumers),
        blind=_find_mismatch(page, consumers, seen),
    )


def _find_returns(seen: QueueSnapshot, page: Page) -> Returns | None:
    """How often held messages may return. How often they have is unknown, so all redeliveries since the queue was empty count."""
    limit = page.limit_of_returns
    if not isinstance(limit, int) or limit < 0 or not seen.unacked:
        return None
    used = limit if seen.uncounted else _count_since_empty(seen)
    return Returns(limit, min(used, limit), page.setting("dead-letter-exchange") is not None)


def find_fresh(seen: QueueSnapshot) -> QueueSnapshot:
    """The snapshot without returns so far, if no channel that holds messages ever got a redelivered one."""
    held_by = [one for one in seen.channels or () if one.held]
    if seen.returns is None or not held_by or seen.unseen or seen.uncounted or any(one.returned != 0 for one in held_by):
        return seen
    return replace(seen, returns=replace(seen.returns, used=0))


def _count_since_empty(seen: QueueSnapshot) -> int:
    """The redeliveries since the queue was last seen empty; depth and counters are up to SETTLED_S apart."""
    empty_at = max((at for at, depth in drop_gaps(seen.depth_samples) if not depth), default=None)
    if empty_at is None or not seen.history.redeliveries:
        return seen.redeliveries or 0
    return rise_of(tuple((at, count) for at, count in drop_gaps(seen.history.redeliveries) if at >= empty_at - SETTLED_S))


def _only_holder(consumers: list[Consumer], seen: QueueSnapshot) -> tuple[Holder, ...]:
    """If a queue has one consumer, that is its holder, even for users who can't see channels."""
    channels = {one.channel.name: one.channel for one in consumers if one.ack_required and one.channel.name}
    if not seen.unacked or len(channels) != 1:
        return ()
    (only,) = channels.values()
    return (Holder(only.peer_host[:NAME], "", seen.unacked),)


def _find_mismatch(page: Page, consumers: list[Consumer], seen: QueueSnapshot) -> Unknown | None:
    """Contradictions in the page, which may hide work."""
    known = len(page.consumer_details or ())
    if page.consumers is not None and page.consumers > known:
        why = Text(
            "consumers: {consumers}, of which the statistics show {known}; a node may send none",
            consumers=page.consumers,
            known=known,
        )
        return Unknown(why, late=True, remedy=Text("Enable rabbitmq_management_agent on every node of the cluster."))
    if consumers and all(one.channel.user == SHOVEL for one in consumers):
        return Unknown(Text("only a shovel takes messages from it"), remedy=Text("See the shovel's state in RabbitMQ."))
    if not page.messages_ready_details.samples:
        return Unknown(Text("the broker has no samples of its depth"), late=True)
    if seen.unacked and consumers and page.traffic.deliver is None and all(one.channel.name for one in consumers):
        return Unknown(Text("messages are held, but nobody counts its deliveries"), late=True)
    return None


def _sum(*counters: int | None) -> int | None:
    known = [counter for counter in counters if counter is not None]
    return sum(known) if known else None
