"""What RabbitMQ's answers come to: each field and status, and what is asked for."""

import json
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from msgspec.structs import replace

from functions.adapters.symptoms.rabbitmq import client, to_queue
from functions.adapters.symptoms.rabbitmq.answers import ChannelPage, good, login_failed
from functions.adapters.symptoms.rabbitmq.snapshot import find_fresh
from functions.domain.model.observations import Channel, QueueSnapshot, Returns
from functions.runtime.errors import Denied, Unavailable
from functions.runtime.http_client import Answer
from functions.runtime.structs import convert
from tests.support.recorded import RABBITMQ, to_snapshot

AT_MS = 1_800_000_000_000
WORKER = {"consumer_tag": "t", "channel_details": {"name": "c (1)", "connection_name": "c", "peer_host": "h"}}
MAIL = to_queue("/", "mail")


def total(**more: Any) -> dict[str, Any]:
    item = {"name": "mail", "messages": 5, "messages_ready": 4, "messages_unacknowledged": 1} | more
    return {"items": [{"name": "Mail", "messages": 9}, item]}


def seen(page: Any = None, **more: Any) -> QueueSnapshot:
    return to_snapshot(MAIL, total(**more), page, at=7.0)


@pytest.mark.parametrize(
    ("page", "said"),
    [
        ({"name": "mail"}, "the broker's statistics are off"),
        ({"consumer_details": [], "consumers": 2}, "consumers: 2, of which the statistics show 0"),
        ({"consumer_details": []}, "the broker has no samples of its depth"),
        ({"consumer_details": [{"channel_details": {"name": "n", "user": "none"}}]}, "only a shovel takes messages from it"),
    ],
)
def test_what_the_page_can_not_tell_is_said(page: Any, said: str) -> None:
    """I4: the depth is there all the same."""
    snapshot = seen(page)
    assert (snapshot.depth, snapshot.ready, snapshot.unacked) == (5, 4, 1)
    assert snapshot.blind is not None
    assert str(snapshot.blind.why).startswith(said)


def test_what_is_a_depth() -> None:
    """Not what was dead-lettered at least once, or is delayed before a retry: neither ready nor held. 0 is a figure."""
    assert seen(messages=9, type="x-of-a-plugin").depth == 5
    assert seen(messages=0, messages_ready=0, messages_unacknowledged=0).depth == 0


@pytest.mark.parametrize(
    ("more", "page", "said"),
    [
        ({"type": "stream"}, None, "is a stream"),
        ({"type": "quorum", "members": ["a", "b", "c"], "online": ["a"]}, None, "has lost its majority"),
        ({"type": "quorum", "state": "minority"}, None, "has lost its majority"),
        ({"name": "another"}, {"name": "mail", "node": "rabbit@two"}, "its node rabbit@two is down"),
        ({"type": "quorum", "messages": 0, "messages_ready": 0, "messages_unacknowledged": 0},
            {"messages": 5, "consumer_details": []}, "may have changed its leader just now"),
        ({"messages": None, "state": "down"}, None, "no current totals of 'mail' in vhost '/' (state: down)"),
        ({"messages_unacknowledged": None}, None, "no current totals of 'mail' in vhost '/' (state: unknown)"),
    ],
)  # fmt: skip
def test_a_depth_that_can_not_be_trusted_is_none(more: dict[str, Any], page: Any, said: str) -> None:
    """A lost majority, a node that is down, the seconds after a leader changed; a stream keeps what was read, which is said."""
    with pytest.raises(Denied if said == "is a stream" else Unavailable) as raised:
        seen(page, **more)
    assert said in str(raised.value)
    assert bool(raised.value.remedy) is (said == "is a stream")


def consumer(tag: str, user: str = "mail", **more: Any) -> dict[str, Any]:
    return {"consumer_tag": tag, "channel_details": {"connection_name": "c", "name": "n", "user": user}} | more


A, B = consumer("a"), consumer("b")
WAITING = consumer("a", active=False, activity_status="waiting")
CANCELLED, DOWN = consumer("a", activity_status="cancelled"), consumer("a", activity_status="suspected_down")
MAILERS = ("mail",)


@pytest.mark.parametrize(
    ("details", "count", "consumers", "tags", "active", "users", "owners"),
    [
        ([], None, 0, "", 0, (), ()),
        ([], 3, 3, "", 0, (), None),
        ([B, A], None, 2, "ab", 2, MAILERS, ("mail", "mail")),
        ([A], 2, 2, "a", 1, MAILERS, None),
        ([CANCELLED, B], None, 1, "b", 1, MAILERS, MAILERS),
        ([DOWN], 1, 1, "", 0, (), ()),
        ([WAITING, consumer("b", activity_status="single_active")], None, 2, "ab", 1, MAILERS, ("mail", "mail")),
        ([consumer("a", activity_status="blocked")], None, 1, "a", 1, MAILERS, MAILERS),  # 4.3: its window is full
        ([A, consumer("b", "none"), consumer("c", "backup")], None, 3, "abc", 3, ("backup", "mail"), ("backup", "mail", "none")),
        ([A, consumer("b", "")], None, 2, "ab", 2, MAILERS, None),  # 4.x: by AMQP 1.0
    ],
)
def test_consumers_are_those_that_may_be_given_a_message(
    details: Any, count: Any, consumers: int, tags: str, active: int, users: tuple[str, ...], owners: tuple[str, ...] | None
) -> None:
    """The broker's count is up to 9 s late: where more are listed, these count. Active are not those that wait for the single
    active one; a shovel is no user. Whose they are is known of all of them or of none."""
    snapshot = seen({"consumers": count, "consumer_details": details})
    assert (snapshot.consumers, snapshot.consumer_ids) == (consumers, tuple(f"c / n / {tag}" for tag in tags))
    assert (snapshot.active, snapshot.users, snapshot.owners) == (active, users, owners)


WINDOWS = [
    ([{"prefetch_count": 5}, {"prefetch_count": 2}], 0, 7),
    ([{"prefetch_count": 5}, {"prefetch_count": 0}], 0, 0),
    ([{"prefetch_count": 5}, {"prefetch_count": 0, "ack_required": False}], 0, 5),
    ([{"prefetch_count": 0}], 7, 7),
    ([{"prefetch_count": 5}], 7, 5),
    ([{"prefetch_count": 9}], 7, 7),
    ([{"prefetch_count": 5}], None, 5),
    ([{"prefetch_count": 0}], None, None),  # 4.x does not show the channel's own limit
    ([], None, None),
    ([{}], 0, None),
]


@pytest.mark.parametrize(("consumers", "own_limit", "window"), WINDOWS)
def test_how_many_messages_a_channel_may_hold(consumers: list[Any], own_limit: int | None, window: int | None) -> None:
    """By what its page shows of its consumers and of itself; the page's `prefetch_count` is of consumers to come."""
    page = {"name": "c (1)", "prefetch_count": 3, "consumer_details": consumers}
    page |= {} if own_limit is None else {"global_prefetch_count": own_limit}
    assert convert(page, ChannelPage).window == window


def samples(*values: int) -> dict[str, Any]:
    """The newest first, as the broker has them, 5 s apart."""
    return {"samples": [{"sample": value, "timestamp": AT_MS - 5000 * back} for back, value in enumerate(values)]}


def limited(
    unacked: int = 1, depths: tuple[int, ...] = (2, 2, 2, 2), again: tuple[int, ...] = (0, 0, 0, 0), **page: Any
) -> QueueSnapshot:
    """A quorum queue of which one message is held."""
    traffic = {"deliver": 9, "redeliver": again[0], "redeliver_details": samples(*again)}
    figures = {"messages_ready_details": samples(*depths), "messages_unacknowledged_details": samples(*(0 for _ in depths))}
    total = {"name": "mail", "type": "quorum", "messages": 2, "messages_ready": 2 - unacked, "messages_unacknowledged": unacked}
    shown = {"consumers": 1, "consumer_details": [WORKER], "message_stats": traffic, "delivery_limit": 20} | figures | page
    return to_snapshot(MAIL, {"items": [total]}, shown, at=7.0)


@pytest.mark.parametrize(
    ("changes", "returns"),
    [
        ({}, Returns(20)),
        ({"delivery_limit": 3, "again": (2, 2, 2, 2)}, Returns(3, 2)),
        ({"delivery_limit": 3, "again": (9, 9, 9, 9)}, Returns(3, 3)),
        ({"delivery_limit": None, "type": "classic", "arguments": {"x-delivery-limit": 4}}, None),
        ({"delivery_limit": None, "type": "quorum", "arguments": {"x-delivery-limit": 4},
            "effective_policy_definition": {"delivery-limit": 3}}, Returns(3)),
        ({"delivery_limit": "unlimited"}, None),
        ({"delivery_limit": -1}, None),
        ({"delivery_limit": None}, None),
        ({"unacked": 0}, Returns(20)),
        ({"consumer_details": [{"consumer_tag": "0"}]}, Returns(20, 20)),  # AMQP 1.0 on 4.x: nobody counts what it returned
        ({"arguments": {"x-dead-letter-exchange": ""}}, Returns(20, dead_letters=True)),
        ({"effective_policy_definition": {"dead-letter-exchange": "dlx"}}, Returns(20, dead_letters=True)),
        # what returned before the queue was empty is gone with it; but depth and counter may be 10 s apart
        ({"depths": (2, 2, 0, 0, 2, 2), "again": (7, 7, 7, 7, 7, 6)}, Returns(20)),
        ({"depths": (2, 2, 0, 0, 2, 2), "again": (7, 7, 7, 7, 6, 6)}, Returns(20, 1)),
        ({"depths": (2, 2, 0, 2, 2, 2), "again": (7, 7, 7, 7, 7, 6)}, Returns(20, 7)),
    ],
)  # fmt: skip
def test_returns_are_counted_too_high_rather_than_too_low(changes: dict[str, Any], returns: Returns | None) -> None:
    """A single sample of 0 is a gap, and no empty queue."""
    assert limited(**changes).returns == returns


@pytest.mark.parametrize(
    ("channels", "used"),
    [
        ((Channel("a", held=1, returned=0), Channel("b", held=0, returned=4)), 0),
        ((Channel("a", held=1, returned=1),), 7),
        ((Channel("a", held=1, returned=None),), 7),
        ((Channel("a", held=1, returned=0), Channel("b", held=1, returned=1)), 7),
        ((), 7),
        (None, 7),
    ],
)
def test_what_was_never_delivered_before_has_not_returned(channels: tuple[Channel, ...] | None, used: int) -> None:
    """Each channel that holds messages tells whether it was ever given one that had been."""
    snapshot = find_fresh(replace(limited(again=(7, 7, 7, 7)), channels=channels))
    assert snapshot.returns == Returns(20, used)


@pytest.mark.parametrize("version", ["4.0", "4.3"])
@pytest.mark.parametrize(("queue", "limit"), [("default", 20), ("argument", 3), ("policy", 7), ("unlimited", None)])
def test_the_limit_is_what_the_broker_shows(version: str, queue: str, limit: int | None) -> None:
    """Recorded: by default, by an argument, by a policy, and none."""
    recorded = json.loads((RABBITMQ / "answers" / version / "delivery-limit.json").read_text())["looks"]
    page = next(look["answers"]["page"]["body"] for look in recorded if look["queue"] == queue)
    total = {"name": queue, "type": "quorum", "messages": 1, "messages_ready": 0, "messages_unacknowledged": 1}
    returns = to_snapshot(to_queue("/", queue), {"items": [total]}, page, at=7.0).returns
    assert (returns.limit if returns else None) == limit


PASSING = (408, 429, 500)


@pytest.mark.parametrize(
    ("status", "body", "said"),
    [
        *((status, b"{}", f"answered {status}") for status in (201, 400, 404)),
        (300, b"{}", "answered 300"),
        *((status, b"{}", f"answered {status}") for status in PASSING),
        (403, b"User not authorised to access virtual host\xff", "there is no such vhost, or the user may not see it"),
        (403, b"<html>", "the login failed"),
        (401, b"x" * 1000 + b"access virtual host", "the login failed"),
    ],
)  # fmt: skip
def test_what_a_status_means(status: int, body: bytes, said: str) -> None:
    """A clear no comes with a remedy, in the broker's own words, which stand at the beginning; the rest passes. Only a failed
    login suggests another password."""
    answer = Answer("rabbitmq", status, {}, body, 0.0)
    with pytest.raises(Unavailable if status in PASSING else Denied) as raised:
        good(answer)
    error: Any = raised.value
    assert str(error.detail) == said
    assert status in PASSING or (error.status, bool(error.remedy)) == (status, True)
    assert login_failed(answer) is (said == "the login failed")


@pytest.mark.parametrize(("name", "pattern"), [("b", "^b$"), ("c.d", r"^c\.d$"), ("a|x", r"^a\|x$")])
def test_a_queue_is_asked_for_by_a_pattern_that_matches_its_name_alone(name: str, pattern: str) -> None:
    """Of those of its vhost."""
    path = urlsplit(client.totals_path(to_queue("/", name)))
    assert (path.path, parse_qs(path.query)["name"]) == ("/api/queues/%2F", [pattern])
