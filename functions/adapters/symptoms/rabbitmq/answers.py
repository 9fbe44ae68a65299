"""What RabbitMQ's management API answers: only the fields that are read, and what they say of a queue."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, TypeVar

import msgspec
from msgspec import Struct, field
from msgspec.structs import replace

from functions.adapters.symptoms.rabbitmq.settings import SYSTEM
from functions.application.decoding import convert
from functions.domain.model.alerts import QueueRef
from functions.domain.model.observations import QueueSnapshot
from functions.runtime.errors import Denied, Unavailable
from functions.runtime.http_client import Answer
from functions.runtime.text import Text

OK, FORBIDDEN, NOT_FOUND, SERVER_ERROR = 200, frozenset({401, 403}), 404, 500
REDIRECTS = range(300, 400)
COME_AGAIN = frozenset({408, 429})
GONE = frozenset({"suspected_down", "cancelled"})
"""`activity_status` of consumers that take no message; a waiting single active consumer may at any time."""

T = TypeVar("T")


class Total(Struct, frozen=True):
    """One queue in the list with totals."""

    name: str
    type: str = "classic"
    state: str = ""
    messages: int | None = None
    messages_ready: int | None = None
    messages_unacknowledged: int | None = None


class Totals(Struct, frozen=True):
    items: list[Total]


class Sample(Struct, frozen=True):
    sample: int
    timestamp: int
    """Milliseconds on the broker's clock, rounded up to the next step: the newest is up to 5 s ahead (measured)."""


class Samples(Struct, frozen=True):
    samples: list[Sample] = field(default_factory=list)
    """Newest first. One that falls between two collections reads 0, and so does all from before the queue was declared."""


class Traffic(Struct, frozen=True):
    ack: int = 0
    ack_details: Samples = field(default_factory=Samples)
    deliver_no_ack: int = 0
    deliver_no_ack_details: Samples = field(default_factory=Samples)


class Channel(Struct, frozen=True):
    name: str = ""
    connection_name: str = ""
    peer_host: str = ""


class Consumer(Struct, frozen=True):
    consumer_tag: str = ""
    activity_status: str = "up"
    ack_required: bool = True
    channel_details: Channel | list[Any] = field(default_factory=Channel)
    """An empty list once the channel is gone."""

    @property
    def channel(self) -> Channel:
        return self.channel_details if isinstance(self.channel_details, Channel) else Channel()

    @property
    def id(self) -> str:
        """The same as long as the consumer lives: the connection's name has the peer's port."""
        return f"{self.channel.connection_name} / {self.channel.name} / {self.consumer_tag}"


class Page(Struct, frozen=True):
    """The queue's own page."""

    consumers: int | None = None
    consumer_details: list[Consumer] | None = None
    """None where the broker's statistics are off; then nothing else is there either."""
    message_stats: Traffic = field(default_factory=Traffic)
    """Absent before the first message."""
    messages_details: Samples = field(default_factory=Samples)
    head_message_timestamp: float | str | None = None
    messages_ready: int | None = None
    message_bytes_ready: int | None = None
    messages_unacknowledged: int | None = None
    message_bytes_unacknowledged: int | None = None


class User(Struct, frozen=True):
    """The user that RabbitMQ reports for these credentials."""

    tags: str | list[str] = ""
    """A text with commas before 3.9."""


def sighting(queue: QueueRef, totals: Any, page: Any, *, at: float) -> QueueSnapshot:
    """What the two answers (parsed JSON; `page` None where it can't be had) say of the queue at our time `at`.

    Samples are handed on as the broker gave them. Deliveries that need no acknowledgement count as acknowledged, as they are
    for the broker; a consumer in that mode would look dead else. Raises Denied or Unavailable where there is no live depth.
    """
    matching = [item for item in shaped(totals, Totals).items if item.name == queue.keys["queue"]]
    if not matching:
        remedy = Text(
            "Compare the alert's labels with RabbitMQ's queues; an auto-delete or exclusive queue disappears with its consumer."
        )
        raise Denied(SYSTEM, Text("there is no queue {queue}", queue=named(queue)), code="no_queue", remedy=remedy)
    total = matching[0]
    if total.type == "stream":
        remedy = Text("Streams keep what was read: monitor the lag of their consumers with another tool.")
        stream = Text("{queue} is a stream, and its depth says nothing", queue=named(queue))
        raise Denied(SYSTEM, stream, code="stream", remedy=remedy)
    if total.messages is None or total.messages_ready is None or total.messages_unacknowledged is None:
        raise Unavailable(
            SYSTEM,
            Text("no current totals of {queue} (state: {state})", queue=named(queue), state=total.state or Text("unknown")),
        )
    seen = QueueSnapshot(at, total.messages, total.messages_ready, total.messages_unacknowledged)
    try:
        return seen if page is None else _with_page(seen, shaped(page, Page))
    except Unavailable:
        return seen


def _with_page(seen: QueueSnapshot, page: Page) -> QueueSnapshot:
    if page.consumer_details is None:
        return seen
    ids = tuple(sorted(one.id for one in page.consumer_details if one.activity_status not in GONE))
    traffic, head = page.message_stats, page.head_message_timestamp
    return replace(
        seen,
        consumers=len(ids) if page.consumers is None else page.consumers,
        consumer_ids=ids,
        acks=traffic.ack + traffic.deliver_no_ack,
        ack_samples=_oldest_first([*traffic.ack_details.samples, *traffic.deliver_no_ack_details.samples]),
        depth_samples=_oldest_first(page.messages_details.samples),
        head_at=float(head) if isinstance(head, float | int) else None,
        head_bytes=page.message_bytes_ready if page.messages_ready == seen.ready == 1 else None,
        held_bytes=page.message_bytes_unacknowledged if page.messages_unacknowledged == seen.unacked and seen.unacked else None,
    )


def _oldest_first(samples: Iterable[Sample]) -> tuple[tuple[float, int], ...]:
    """(seconds, value) by time; values of the same time are added up."""
    by_time: dict[int, int] = {}
    for one in samples:
        by_time[one.timestamp] = by_time.get(one.timestamp, 0) + one.sample
    return tuple((at / 1000, value) for at, value in sorted(by_time.items()))


def good(outcome: Answer | Exception) -> Answer:
    """The answer if it is one; what else it came to as Denied or Unavailable."""
    if isinstance(outcome, Exception):
        raise outcome
    status = outcome.status
    if status == OK:
        return outcome
    if status in FORBIDDEN:
        raise _not_allowed(outcome)
    if status in REDIRECTS:
        remedy = Text("Set `url` to where it redirects.")
        raise Denied(SYSTEM, Text("answered {status}, a redirect", status=str(status)), code="url", remedy=remedy, status=status)
    if status >= SERVER_ERROR or status in COME_AGAIN:
        raise Unavailable(SYSTEM, Text("answered {status}", status=str(status)))
    remedy = Text("Check that `url` is the URL of a management API.")
    raise Denied(SYSTEM, Text("answered {status}", status=str(status)), code="url", remedy=remedy, status=status)


def live(outcome: Answer | Exception, queue: QueueRef) -> Answer:
    """The good answer of the list with totals.

    A queue that is not there is missing from the list; the vhost is all of the path that can be missing (measured on 3.10.8: 404
    after a good login only; also where a proxy has encoded the vhost once more).
    """
    if isinstance(outcome, Answer) and outcome.status == NOT_FOUND:
        remedy = Text(
            "Compare the alert's labels with RabbitMQ's vhosts; if it exists, a proxy in front must leave %2F as it is."
        )
        absent = Text("there is no vhost '{vhost}'", vhost=queue.keys["vhost"])
        raise Denied(SYSTEM, absent, code="no_vhost", remedy=remedy, status=NOT_FOUND)
    return good(outcome)


def json_or_none(outcome: Answer | Exception) -> Any:
    """The JSON of a good answer; None for all else."""
    try:
        return good(outcome).json()
    except (Denied, Unavailable):
        return None


def tags_of(whoami: Answer | Exception) -> frozenset[str]:
    """The tags of the user. Raises Denied or Unavailable where they are not known."""
    tags = shaped(good(whoami).json(), User).tags
    return frozenset(tags.split(",") if isinstance(tags, str) else tags)


def login_failed(outcome: Answer | Exception) -> bool:
    """Whether another password could help."""
    return isinstance(outcome, Answer) and outcome.status in FORBIDDEN and _not_allowed(outcome).code == "login"


def _not_allowed(answer: Answer) -> Denied:
    said = answer.body[:1000].decode(errors="replace").lower()
    code, detail = "login", Text("the login failed")
    remedy = Text("Check user and password, and that the user may log in from here.")
    if "not management user" in said:
        code, detail = "not_management", Text("the user has no management tag")
        remedy = Text("Give the user the tag `management`.")
    elif "access virtual host" in said:
        code, detail = "vhost_permission", Text("the user may not see this vhost")
        remedy = Text("Give it the permissions ^$ ^$ ^$ there.")
    return Denied(SYSTEM, detail, code=code, remedy=remedy, status=answer.status)


def shaped(value: Any, shape: type[T]) -> T:
    """Typed, or Unavailable: what has another form is no answer of a management API that we know."""
    try:
        return convert(value, shape)
    except msgspec.ValidationError as error:
        raise Unavailable(SYSTEM, Text("sent an unknown form of answer: {error}", error=str(error))) from None


def named(queue: QueueRef) -> Text:
    """A queue as errors name it."""
    return Text("'{queue}' in vhost '{vhost}'", queue=queue.keys["queue"], vhost=queue.keys["vhost"])
