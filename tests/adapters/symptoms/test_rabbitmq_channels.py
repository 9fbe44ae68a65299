"""Which channels a look reads, within which bounds, and what it says of those that it did not read."""

import time
from collections.abc import Iterator
from threading import Thread
from typing import Any
from urllib.parse import quote

import pytest

from functions.adapters.symptoms.rabbitmq import RabbitMQ, client, to_queue
from functions.adapters.symptoms.rabbitmq.answers import ChannelPage, Consumer
from functions.adapters.symptoms.rabbitmq.client import Look, choose_channels
from functions.adapters.symptoms.rabbitmq.snapshot import read_snapshot
from functions.application.ports import Query
from functions.domain.model.alerts import QueueRef
from functions.domain.model.observations import Holder, QueueSnapshot
from functions.runtime import http_client
from functions.runtime.http_client import Answer
from functions.runtime.structs import convert
from testbed.doubles.rabbitmq import Queue, RabbitDouble, User
from testbed.patience import PATIENCE_S
from tests.adapters.secret import Secret

MAIL = to_queue("/", "mail")
FIRST, SECOND, THIRD = (f"10.0.3.{number}:50001 -> 10.0.0.1:5672" for number in (1, 2, 3))


@pytest.fixture
def rabbit(monkeypatch: pytest.MonkeyPatch) -> Iterator[RabbitDouble]:
    """A queue of which the first of two consumers has held three messages for an hour."""
    monkeypatch.setattr(client, "WHOAMI_S", PATIENCE_S)  # else a busy machine has no channels
    with RabbitDouble() as double:
        double.queue("mail", ready=1, unacked=3, acks=7, consumers=(FIRST, SECOND), named="mail-worker-2")
        yield double


def look_all(rabbit: RabbitDouble, *queries: Query, timeout_s: float = PATIENCE_S) -> list[QueueSnapshot]:
    settings = RabbitMQ(rabbit.url, "unstick", Secret(b"secret"))  # type: ignore[arg-type]
    seen = client.look_all(settings, queries, timeout_s=timeout_s)
    return [one for one in seen if isinstance(one, QueueSnapshot)]


def look(rabbit: RabbitDouble, *, first: tuple[str, ...] = (), for_s: float = 60.0, **more: float) -> QueueSnapshot:
    return look_all(rabbit, Query(MAIL, for_s, first), **more)[0]


def asked(rabbit: RabbitDouble, what: str) -> list[str]:
    """The requests for channels or connections, each without its query."""
    return [path.partition("?")[0] for path in rabbit.asked if path.startswith(f"/api/{what}")]


def crowd(rabbit: RabbitDouble, count: int, name: str = "mail", net: int = 3) -> None:
    """A queue whose consumers, so many, each hold a message."""
    rabbit.hold_all = True
    consumers = tuple(f"10.{net}.{number // 250}.{number % 250}:50001 -> 10.0.0.1:5672" for number in range(count))
    rabbit.queues["/", name] = Queue(ready=1, unacked=3, acks=7, consumers=consumers)


def test_a_look_reads_the_pages_of_the_queues_own_channels_and_no_list(rabbit: RabbitDouble) -> None:
    """I14: three requests, then the nodes, the alarms and each channel, then the connection of the one that hangs."""
    rabbit.queue("other", unacked=9, consumers=("10.9.9.9:1 -> 10.0.0.1:5672",))
    seen = look(rabbit)
    assert len(asked(rabbit, "channels/")) == len(asked(rabbit, "channels")) == 2
    assert len(asked(rabbit, "connections/")) == len(asked(rabbit, "connections")) == 1
    assert (len(rabbit.asked), asked(rabbit, "vhosts")) == (8, [])
    assert [(one.id, one.held) for one in seen.channels or ()] == [(f"{FIRST} (1)", 3), (f"{SECOND} (1)", 0)]


def test_what_a_page_shows_of_a_channel(rabbit: RabbitDouble) -> None:
    """Its user, its window, and of the one that hangs its connection's name and beginning, which identify it for good."""
    rabbit.queue("mail").prefetch = 5
    first, second = look(rabbit).channels or ()
    assert (first.host, first.user, first.window, first.shared) == ("10.0.3.1", "mail", 5, False)
    assert first.connected_at == pytest.approx(rabbit.began_at, abs=0.001)
    assert (first.name, second.name, second.connected_at) == ("mail-worker-2", "", None)


def test_a_channel_that_consumes_two_queues_is_shared(rabbit: RabbitDouble) -> None:
    """Its page names both, and its window is that of both consumers."""
    rabbit.queue("post", consumers=(FIRST,), consumed=False)
    first, second = look(rabbit).channels or ()
    assert (first.shared, first.window, second.shared, second.window) == (True, 2, False, 1)


def test_a_closed_channel_is_gone_and_no_error(rabbit: RabbitDouble) -> None:
    """Its consumer may still be listed for a moment."""
    rabbit.closed.add(SECOND)
    seen = look(rabbit)
    assert ([one.host for one in seen.channels or ()], seen.unseen) == (["10.0.3.1"], None)


@pytest.mark.parametrize(
    ("state", "pages"),
    [
        ({"ready": 0, "unacked": 0}, 0),
        ({"ready": 5, "unacked": 0}, 2),
        ({"ready": 0, "unacked": 1}, 2),
        ({"ready": 0, "unacked": 1, "consumers": ()}, 0),
    ],
)
def test_channels_are_read_only_where_something_may_hang(rabbit: RabbitDouble, state: dict[str, Any], pages: int) -> None:
    """Something is held, or waits and is not delivered. What nobody consumes is tied to no channel."""
    rabbit.queues.clear()
    rabbit.queue("mail", **({"acks": 7, "consumers": (FIRST, SECOND)} | state))
    seen = look(rabbit)
    assert len(asked(rabbit, "channels")) == pages == len(seen.channels or ())
    assert (seen.channels is not None, seen.unseen) == (True, None)
    assert bool(asked(rabbit, "nodes")) == bool(seen.depth)


def test_the_channels_that_were_proved_are_read_first(rabbit: RabbitDouble, monkeypatch: pytest.MonkeyPatch) -> None:
    """Then the rest, up to 64 of a queue; the others at the next check, and the look says so."""
    monkeypatch.setattr(client, "PAGES_AT_ONCE", 1)  # of several at once, any may come first
    crowd(rabbit, 200)
    proved = rabbit.queue("mail").consumers[150] + " (1)"
    seen = look(rabbit, first=("gone (1)", proved))
    read = [one.id for one in seen.channels or ()]
    assert (len(read), proved in read, seen.holding) == (64, True, 64)
    assert asked(rabbit, "channels")[0] == f"/api/channels/{quote(proved, safe='')}"
    assert seen.unseen is not None
    assert (seen.unseen.late, str(seen.unseen.why)) == (True, "64 of the 200 channels of its consumers were read")
    assert "oldest" in str(seen.unseen.remedy)


@pytest.mark.parametrize("every_s", [5, 10, 15, 20, 30, 60, 90, 300])
def test_all_channels_have_their_turn(every_s: int) -> None:
    """Whenever the checks come: of 500 channels all are read within 20 checks, of which 8 are the fewest possible."""
    own = {f"{number:03} (1)": Consumer() for number in range(500)}
    read: set[str] = set()
    for turn in range(20):
        seen = QueueSnapshot(1_800_000_000.0 + every_s * turn + 0.02 * (turn % 3), 9)
        read |= set(choose_channels([Look(seen, Query(MAIL, 60.0), own)])[0].channels)
    assert len(read) == 500


def test_one_look_at_many_queues_reads_128_channels_and_some_of_each(rabbit: RabbitDouble) -> None:
    """However many alerts a notification has."""
    queues = [to_queue("/", f"q{number}") for number in range(10)]
    for number, queue in enumerate(queues):
        crowd(rabbit, 40, queue.name, net=number + 10)
    seen = look_all(rabbit, *(Query(queue, 60.0) for queue in queues))
    assert len(asked(rabbit, "channels")) == 128
    assert {len(one.channels or ()) for one in seen} == {12, 13}
    assert len(asked(rabbit, "connections")) == 32


def test_four_pages_at_a_time_whatever_the_number_of_looks(rabbit: RabbitDouble, monkeypatch: pytest.MonkeyPatch) -> None:
    """Many alerts may come at once."""
    crowd(rabbit, 30)
    at_once: list[int] = []
    running: list[int] = []

    def send(*arguments: Any, **more: Any) -> Answer:
        if "/api/channels/" not in arguments[2]:
            return http_client.request(*arguments, **more)
        running.append(1)
        at_once.append(len(running))
        try:
            return http_client.request(*arguments, **more)
        finally:
            running.pop()

    monkeypatch.setattr(client, "request", send)
    looks = [Thread(target=look, args=(rabbit,)) for _ in range(5)]
    for one in looks:
        one.start()
    for one in looks:
        one.join()
    assert (len(at_once), max(at_once) <= 4) == (150, True)


def test_what_was_read_is_used_though_another_page_fails(rabbit: RabbitDouble, monkeypatch: pytest.MonkeyPatch) -> None:
    """The one that hangs is proved by its own page; of the other the look says that it could not be read, and why."""

    def send(*arguments: Any, **more: Any) -> Answer:
        if "/api/channels/10.0.3.2" in arguments[2]:
            return Answer("rabbitmq", 500, {}, b"oops", 0.0)
        return http_client.request(*arguments, **more)

    monkeypatch.setattr(client, "request", send)
    seen = look(rabbit)
    assert [one.host for one in seen.channels or ()] == ["10.0.3.1"]
    assert [one.name for one in seen.holders] == ["mail-worker-2"]
    assert seen.unseen is not None
    assert (str(seen.unseen.why), seen.unseen.late) == ("1 of its consumers' channels can't be read: answered 500", True)


def test_pages_that_are_slow_are_told_and_the_rest_of_the_time_is_kept(rabbit: RabbitDouble) -> None:
    """They have half of the time that is left, and no more are asked for after it."""
    crowd(rabbit, 40)
    rabbit.broken["channel"] = 600.0
    seen = look(rabbit, timeout_s=3.0)
    assert (seen.depth, seen.channels) == (4, ())
    assert seen.unseen is not None
    assert (seen.unseen.late, str(seen.unseen.remedy)) == (True, "See why RabbitMQ's management API is slow.")
    assert "40 of its consumers' channels can't be read" in str(seen.unseen.why)
    assert len(asked(rabbit, "channels")) <= 4


def test_a_page_that_fails_is_not_asked_for_again(rabbit: RabbitDouble) -> None:
    """Not before the next check, and the next check asks for no more."""
    crowd(rabbit, 70)
    rabbit.broken["channel"] = (500, "text/plain", b"oops")
    seen = look(rabbit)
    assert seen.unseen is not None
    assert str(seen.unseen.why) == "64 of its consumers' channels can't be read: answered 500"
    assert len(asked(rabbit, "channels")) == len(set(asked(rabbit, "channels"))) == 64
    look(rabbit)
    assert len(asked(rabbit, "channels")) == 128


def test_a_page_has_at_most_256_kb(rabbit: RabbitDouble) -> None:
    """A channel with a thousand consumers is not read."""
    for number in range(1200):
        rabbit.queue(f"post-{number}", consumers=(FIRST,), consumed=False)
    seen = look(rabbit)
    assert [one.host for one in seen.channels or ()] == ["10.0.3.2"]
    assert seen.unseen is not None
    assert "answered with more than 262,144 bytes" in str(seen.unseen.why)


def test_who_hangs_is_named_and_others_are_counted(rabbit: RabbitDouble) -> None:
    """T.6: two work, and hold more messages than the one that hangs."""
    busy = {"unacked": 20, "acks": 900}
    rabbit.queues.clear()
    mail = rabbit.queue("mail", unacked=41, consumers=(FIRST, SECOND, THIRD))
    mail.channels = {FIRST: Queue(**busy), SECOND: Queue(unacked=1, acks=7, named="hangs"), THIRD: Queue(**busy)}
    for peer in (FIRST, THIRD):
        mail.channels[peer].history.append((time.time() - 20, 0, 20, 950))
    seen = look(rabbit)
    assert (seen.holding, len(seen.holders)) == (3, 1)
    (holder,) = seen.holders
    assert holder.since is not None
    assert (holder.host, holder.name, holder.messages) == ("10.0.3.2", "hangs", 1)
    assert 190 <= seen.at - holder.since <= 200, "at least: samples reach three times as far as `for`"
    assert len(asked(rabbit, "connections")) == 1


def test_without_the_tag_no_channel_is_asked_for(rabbit: RabbitDouble) -> None:
    """The page shows the host of a single consumer; whether it hangs is not known."""
    rabbit.users["unstick"] = User("secret", tags=("management",))
    rabbit.queue("mail").consumers = (FIRST,)
    seen = look(rabbit)
    assert (seen.channels, seen.holding, seen.holders) == (None, None, (Holder("10.0.3.1", "", 3),))
    assert (asked(rabbit, "channels"), asked(rabbit, "nodes"), asked(rabbit, "connections")) == ([], [], [])


@pytest.mark.parametrize("path", ["channels", "connections", "vhosts/%2F/channels", "vhosts/%2F/connections"])
def test_the_stand_in_refuses_a_list(rabbit: RabbitDouble, path: str) -> None:
    """So that a test fails if anybody asks for one."""
    seen = http_client.request("rabbitmq", "GET", f"{rabbit.url}/api/{path}", timeout_s=PATIENCE_S, auth=(b"unstick", b"secret"))
    assert seen.status == 404


WINDOWS = [
    pytest.param([{"prefetch_count": 5}], 0, 5, id="one consumer"),
    pytest.param([{"prefetch_count": 5}, {"prefetch_count": 2}], 0, 7, id="two consumers"),
    pytest.param([{"prefetch_count": 5}, {"prefetch_count": 0}], 0, 0, id="one is unlimited"),
    pytest.param([{"prefetch_count": 5}, {"prefetch_count": 0, "ack_required": False}], 0, 5, id="one needs no ack"),
    pytest.param([{"prefetch_count": 0}], 7, 7, id="the channel's own limit"),
    pytest.param([{"prefetch_count": 5}], 7, 5, id="the smaller one"),
    pytest.param([{"prefetch_count": 9}], 7, 7, id="the smaller one, the channel's"),
    pytest.param([{"prefetch_count": 5}], None, 5, id="4.x: the consumer's"),
    pytest.param([{"prefetch_count": 0}], None, None, id="4.x: the channel's own limit is not shown"),
    pytest.param([], None, None, id="no consumer yet"),
    pytest.param([{}], 0, None, id="not told"),
]


@pytest.mark.parametrize(("consumers", "own_limit", "window"), WINDOWS)
def test_how_many_messages_a_channel_may_hold(consumers: list[Any], own_limit: int | None, window: int | None) -> None:
    """By what its page shows of its consumers and of itself; the page's `prefetch_count` is of consumers to come."""
    page = {"name": "c (1)", "prefetch_count": 3, "consumer_details": consumers}
    page |= {} if own_limit is None else {"global_prefetch_count": own_limit}
    assert convert(page, ChannelPage).window == window


@pytest.mark.parametrize(
    ("details", "active", "users"),
    [
        ([{}], 1, ("mail",)),
        ([{"active": False, "activity_status": "waiting"}, {"activity_status": "single_active"}], 1, ("mail",)),
        ([{"activity_status": "blocked"}], 1, ("mail",)),
        ([{"activity_status": "cancelled"}, {"activity_status": "suspected_down"}], 0, ()),
        ([{}, {"channel_details": {"name": "s", "user": "none"}}, {"channel_details": {"name": "b", "user": "backup"}}], 3,
            ("backup", "mail")),
    ],
)  # fmt: skip
def test_which_consumers_would_be_given_a_message(details: list[dict[str, Any]], active: int, users: tuple[str, ...]) -> None:
    """Not those that wait for the single active one. 4.3 shows one whose window is full as blocked."""
    known = {"consumer_tag": "t", "channel_details": {"name": "c (1)", "user": "mail"}}
    seen = page_of({"consumer_details": [known | one for one in details]})
    assert (seen.active, seen.users) == (active, users)


@pytest.mark.parametrize(
    ("stats", "details", "polled", "deliveries"),
    [
        ({"get": 5, "deliver": 0, "get_no_ack": 2}, [], True, 7),
        ({"get": 5, "deliver": 1}, [], False, 6),
        ({"get": 5, "deliver": 0}, [{"consumer_tag": "t", "channel_details": {"name": "c"}}], False, 5),
        ({"get": 0, "deliver": 0}, [], False, 0),
        ([], [], False, None),
    ],
)
def test_a_queue_whose_messages_are_taken_by_get(stats: Any, details: list[Any], polled: bool, deliveries: int | None) -> None:
    """No request ties a channel to a queue by what it got."""
    seen = page_of({"consumer_details": details, "message_stats": stats})
    assert (seen.polled, seen.deliveries) == (polled, deliveries)


def page_of(page: dict[str, Any], queue: QueueRef = MAIL) -> QueueSnapshot:
    total = {"name": queue.keys["queue"], "messages": 5, "messages_ready": 4, "messages_unacknowledged": 1}
    return read_snapshot(queue, {"items": [total]}, page, at=7.0)
