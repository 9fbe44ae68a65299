"""The answers of RabbitMQ's management API: only the fields that are used, and the meaning of its refusals."""

from typing import Any, TypeVar

from msgspec import Struct, field

from functions.adapters.symptoms.rabbitmq import SYSTEM
from functions.domain.model.alerts import QueueRef
from functions.runtime.errors import Denied, DeniedCode, Unavailable
from functions.runtime.http_client import FORBIDDEN, Answer, require_ok, shaped
from functions.runtime.text import Text

NOT_FOUND = 404
SEES_ALL = frozenset({"monitoring", "administrator"})  # tags that show others' channels. The broker logs requests without one
COME_AGAIN = frozenset({408, 429})
GONE = frozenset({"suspected_down", "cancelled"})
"""`activity_status` of consumers that take no message; a waiting single active consumer may at any time."""
T = TypeVar("T")


class Total(Struct, frozen=True):
    name: str
    type: str = "classic"
    state: str = ""
    messages: int | None = None
    messages_ready: int | None = None
    messages_unacknowledged: int | None = None
    members: list[str] | None = None  # for a quorum queue: the nodes that have a copy,
    online: list[str] | None = None  # and those of them that are up


class Totals(Struct, frozen=True):
    items: list[Total]


class Sample(Struct, frozen=True):
    sample: int
    timestamp: int  # milliseconds on the broker's clock, rounded up to the next step: the newest is up to 5 s ahead (measured)


class Samples(Struct, frozen=True):
    samples: list[Sample] = field(default_factory=list)
    """Newest first. A sample between two collections reads 0, and so do all from before the queue was declared."""


class Traffic(Struct, frozen=True):
    """Counters. None: absent, which is not 0. On RabbitMQ 4.x those of AMQP 1.0 and MQTT consumers are always absent."""

    ack: int | None = None
    ack_details: Samples = Samples()
    deliver: int | None = None
    deliver_details: Samples = Samples()
    deliver_no_ack: int | None = None
    deliver_no_ack_details: Samples = Samples()
    get: int | None = None
    get_details: Samples = Samples()
    get_no_ack: int | None = None
    get_no_ack_details: Samples = Samples()
    redeliver: int | None = None
    redeliver_details: Samples = Samples()
    publish: int | None = None
    publish_details: Samples = Samples()


def traffic_of(stats: Traffic | list[Any]) -> Traffic:
    """The counters; none in an empty list."""
    return stats if isinstance(stats, Traffic) else Traffic()


class ChannelDetails(Struct, frozen=True):
    name: str = ""
    connection_name: str = ""
    peer_host: str = ""
    user: str = ""


class Consumer(Struct, frozen=True):
    consumer_tag: str = ""
    activity_status: str = "up"
    active: bool = True  # false for one that waits until a single active consumer ends
    ack_required: bool = True
    channel_details: ChannelDetails | list[Any] = ChannelDetails()
    """An empty list once the channel is gone; without a name if the consumer speaks AMQP 1.0 or MQTT (4.x)."""

    @property
    def channel(self) -> ChannelDetails:
        return self.channel_details if isinstance(self.channel_details, ChannelDetails) else ChannelDetails()

    @property
    def id(self) -> str:
        """Unique during the consumer's life: the connection's name contains the peer's port."""
        return f"{self.channel.connection_name} / {self.channel.name} / {self.consumer_tag}"


class Page(Struct, frozen=True):
    """A queue's own page. Its fields are also the `columns` that are requested of it (`columns_of`)."""

    name: str = ""
    consumers: int | None = None
    consumer_details: list[Consumer] | None = None  # none if the broker's statistics are off; then everything else is missing too
    message_stats: Traffic | list[Any] = Traffic()  # absent before the first message; an empty list if no counter is a column
    messages: int | None = None  # absent for some seconds after a quorum queue was declared or got another leader
    messages_ready_details: Samples = Samples()
    messages_unacknowledged_details: Samples = Samples()
    head_message_timestamp: float | str | None = None
    delivery_limit: int | str | None = None  # of a quorum queue, policies included (4.0 and later); a text if it is unlimited
    arguments: dict[str, Any] | list[Any] | None = None
    effective_policy_definition: dict[str, Any] | list[Any] | None = None
    auto_delete: bool = False
    exclusive: bool | None = None
    type: str = ""
    node: str = ""

    @property
    def present(self) -> list[Consumer]:
        """The consumers that may take a message. One whose node was lost stays listed forever, without its channel's name."""
        here = [consumer for consumer in self.consumer_details or () if consumer.activity_status not in GONE]
        return [consumer for consumer in here if consumer.channel.name] if self.consumers == 0 else here

    @property
    def own_channels(self) -> dict[str, Consumer]:
        """The consumers that acknowledge messages, by the names of their channels."""
        return {consumer.channel.name: consumer for consumer in self.present if consumer.ack_required and consumer.channel.name}

    def settings(self, name: str) -> list[Any]:
        """The setting's values in the queue's arguments and its policies; the broker sends an empty list for none of these."""
        places = ((self.arguments, f"x-{name}"), (self.effective_policy_definition, name))
        return [place[key] for place, key in places if isinstance(place, dict) and key in place]

    @property
    def limit_of_returns(self) -> int | str | None:
        """The delivery limit. Before 4.0 only arguments and policies show it, and the lower one applies."""
        if self.delivery_limit is not None or self.type != "quorum":
            return self.delivery_limit
        return min((limit for limit in self.settings("delivery-limit") if isinstance(limit, int)), default=None)


NESTED: dict[str, type[Struct]] = {"message_stats": Traffic, "consumer_details": Consumer, "channel_details": ChannelDetails}


def columns_of(shape: type[Struct]) -> list[str]:
    """The columns to request of a page with these fields."""
    columns: list[str] = []
    for name in shape.__struct_fields__:
        part = NESTED.get(name, Samples if name.endswith("_details") else None)
        columns += [name] if part is None else [f"{name}.{column}" for column in columns_of(part)]
    return columns


class QueueName(Struct, frozen=True):
    name: str = ""


class OwnConsumer(Struct, frozen=True):
    """A consumer, as its channel's page lists it."""

    consumer_tag: str = ""
    queue: QueueName = QueueName()
    ack_required: bool = True
    prefetch_count: int | None = None  # 0: unlimited


class ChannelPage(Struct, frozen=True):
    """A channel's own page. `prefetch_count` is not used: it is the limit of consumers to come (measured)."""

    name: str
    user: str = ""
    messages_unacknowledged: int = 0
    global_prefetch_count: int | None = None  # 4.x doesn't show it, but still enforces it (measured)
    consumer_details: list[OwnConsumer] = field(default_factory=list)
    message_stats: Traffic | list[Any] = Traffic()
    """Absent before the first message; an empty list if it has none of the requested counters."""

    @property
    def window(self) -> int | None:
        """How many messages it may hold, by its consumers' limits and its own; 0: any number, None: not known."""
        limits = [consumer.prefetch_count for consumer in self.consumer_details if consumer.ack_required]
        if not limits or None in limits:
            return self.global_prefetch_count or None
        of_consumers = sum(limit or 0 for limit in limits) if all(limits) else 0
        if not of_consumers and self.global_prefetch_count is None:
            return None
        return min((limit for limit in (of_consumers, self.global_prefetch_count) if limit), default=0)


class Connection(Struct, frozen=True):
    client_properties: dict[str, Any] | list[Any] = field(default_factory=dict)  # an empty list if there are none
    connected_at: int | None = None  # milliseconds


class Node(Struct, frozen=True):
    name: str
    running: bool = False
    uptime: int | None = None  # milliseconds; absent if the node is down or has no management agent


class User(Struct, frozen=True):
    tags: list[str] = field(default_factory=list)


def good(outcome: Answer | Exception) -> Answer:
    """The answer if it is a success; otherwise raises Denied or Unavailable."""
    if isinstance(outcome, Exception):
        raise outcome
    if outcome.status in FORBIDDEN:
        raise _not_allowed(outcome)
    remedy = Text("Check that `url` is the address of RabbitMQ's management plugin, without `/api`.")
    return require_ok(SYSTEM, outcome, passing=COME_AGAIN, remedy=remedy)


def live(outcome: Answer | Exception) -> Answer:
    """The successful answer of the list with totals. A queue that doesn't exist is missing from the list. 404 means that there
    is no such vhost (also if a proxy has encoded it once more), on 4.3 also that the user may not see it (measured)."""
    if isinstance(outcome, Answer) and outcome.status == NOT_FOUND:
        raise _no_vhost(NOT_FOUND)
    return good(outcome)


def _no_vhost(status: int) -> Denied:
    remedy = Text(
        "Compare the alert's labels with RabbitMQ's vhosts, and give the user the permissions ^$ ^$ ^$ there; a proxy in front "
        "must leave %2F as it is."
    )
    return Denied(SYSTEM, Text("there is no such vhost, or the user may not see it"), remedy=remedy, status=status)


def read(outcome: Answer | Exception, shape: type[T]) -> T:
    """A successful answer as its type. Raises Denied or Unavailable for any other."""
    return shaped(SYSTEM, good(outcome).json(), shape)


def read_or_none(outcome: Answer | Exception | None, shape: type[T]) -> T | None:
    """A successful answer as its type; None for any other, or without one."""
    try:
        return None if outcome is None else read(outcome, shape)
    except (Denied, Unavailable):
        return None


def login_failed(outcome: Answer | Exception) -> bool:
    """Whether another password could help."""
    return isinstance(outcome, Answer) and outcome.status in FORBIDDEN and _not_allowed(outcome).code is DeniedCode.LOGIN


def _not_allowed(answer: Answer) -> Denied:
    if b"access virtual host" in answer.body[:1000]:
        return _no_vhost(answer.status)
    remedy = Text("Check user and password, that the user has the tag `monitoring`, and that it may log in from here.")
    return Denied(SYSTEM, Text("the login failed"), code=DeniedCode.LOGIN, remedy=remedy, status=answer.status)


def named(queue: QueueRef) -> Text:
    """A queue's name in errors."""
    return Text("'{queue}' in vhost '{vhost}'", queue=queue.keys["queue"], vhost=queue.keys["vhost"])
