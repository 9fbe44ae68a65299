"""How often a held message may return to its queue, from the queue's page and its consumers' channels."""

import json
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from functions.adapters.symptoms.rabbitmq import checks, to_queue
from functions.adapters.symptoms.rabbitmq.snapshot import find_fresh, read_snapshot
from functions.domain.model.observations import Channel, QueueSnapshot, Returns
from functions.runtime.errors import Unavailable
from functions.runtime.http_client import Answer

MAIL = to_queue("/", "mail")
AT = 1_800_000_000_000
RECORDINGS = Path(__file__).parents[2] / "recordings" / "rabbitmq" / "answers"
WORKER = {"consumer_tag": "t", "channel_details": {"name": "c (1)", "connection_name": "c", "peer_host": "h"}}


def samples(*values: int) -> dict[str, Any]:
    """The newest first, as the broker has them, 5 s apart."""
    return {"samples": [{"sample": value, "timestamp": AT - 5000 * back} for back, value in enumerate(values)]}


def seen(
    unacked: int = 1, depths: tuple[int, ...] = (2, 2, 2, 2), again: tuple[int, ...] = (0, 0, 0, 0), **page: Any
) -> QueueSnapshot:
    """A quorum queue of which one message is held."""
    traffic = {"deliver": 9, "redeliver": again[0], "redeliver_details": samples(*again)}
    figures = {"messages_ready_details": samples(*depths), "messages_unacknowledged_details": samples(*(0 for _ in depths))}
    total = {"name": "mail", "type": "quorum", "messages": 2, "messages_ready": 2 - unacked, "messages_unacknowledged": unacked}
    shown = {"consumers": 1, "consumer_details": [WORKER], "message_stats": traffic, "delivery_limit": 20} | figures | page
    return read_snapshot(MAIL, {"items": [total]}, shown, at=7.0)


@pytest.mark.parametrize(
    ("changes", "returns"),
    [
        ({}, Returns(20)),
        ({"delivery_limit": 3, "again": (2, 2, 2, 2)}, Returns(3, 2)),
        ({"delivery_limit": 3, "again": (9, 9, 9, 9)}, Returns(3, 3)),
        ({"delivery_limit": 0}, Returns(0)),
        ({"delivery_limit": None, "type": "quorum", "arguments": {"x-delivery-limit": 4}}, Returns(4)),
        ({"delivery_limit": None, "type": "classic", "arguments": {"x-delivery-limit": 4}}, None),
        ({"delivery_limit": None, "type": "quorum", "arguments": {"x-delivery-limit": 4},
            "effective_policy_definition": {"delivery-limit": 3}}, Returns(3)),
        ({"delivery_limit": "unlimited"}, None),
        ({"delivery_limit": -1}, None),
        ({"delivery_limit": None}, None),
        ({"unacked": 0}, None),
        ({"arguments": {"x-dead-letter-exchange": ""}}, Returns(20, dead_letters=True)),
        ({"effective_policy_definition": {"dead-letter-exchange": "dlx"}}, Returns(20, dead_letters=True)),
        ({"effective_policy_definition": []}, Returns(20)),
        # what returned before the queue was empty is gone with it; but depth and counter may be 10 s apart
        ({"depths": (2, 2, 0, 0, 2, 2), "again": (7, 7, 7, 7, 7, 6)}, Returns(20)),
        ({"depths": (2, 2, 0, 0, 2, 2), "again": (7, 7, 7, 7, 6, 6)}, Returns(20, 1)),
        ({"depths": (2, 2, 0, 0, 2, 2), "again": (8, 7, 7, 7, 7, 6)}, Returns(20, 1)),
        ({"depths": (2, 2, 0, 2, 2, 2), "again": (7, 7, 7, 7, 7, 6)}, Returns(20, 7)),
    ],
)  # fmt: skip
def test_returns_are_counted_too_high_rather_than_too_low(changes: dict[str, Any], returns: Returns | None) -> None:
    """A single sample of 0 is a gap, and no empty queue."""
    assert seen(**changes).returns == returns


def test_consumers_that_nobody_counts_may_have_returned_anything() -> None:
    """Those of AMQP 1.0 on 4.x."""
    assert seen(consumer_details=[{"consumer_tag": "0"}]).returns == Returns(20, 20)


@pytest.mark.parametrize(
    ("channels", "used"),
    [
        ((Channel("a", held=1, returned=0),), 0),
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
    snapshot = find_fresh(replace(seen(again=(7, 7, 7, 7)), channels=channels))
    assert snapshot.returns == Returns(20, used)
    assert find_fresh(replace(snapshot, returns=None)).returns is None


@pytest.mark.parametrize("version", ["4.0", "4.3"])
@pytest.mark.parametrize(("queue", "limit"), [("default", 20), ("argument", 3), ("policy", 7), ("unlimited", None)])
def test_the_limit_is_what_the_broker_shows(version: str, queue: str, limit: int | None) -> None:
    """Recorded: by default, by an argument, by a policy, and none."""
    texts = json.dumps(json.loads((RECORDINGS / version / "delivery-limit.json").read_text()))
    (page,) = [one for one in _pages(json.loads(texts)) if one.get("name") == queue and "durable" not in one]
    total = {"name": queue, "type": "quorum", "messages": 1, "messages_ready": 0, "messages_unacknowledged": 1}
    returns = read_snapshot(to_queue("/", queue), {"items": [total]}, page, at=7.0).returns
    assert (returns.limit if returns else None) == limit


def _pages(part: Any) -> list[dict[str, Any]]:
    if isinstance(part, dict):
        return [part] * ("delivery_limit" in part) + [one for value in part.values() for one in _pages(value)]
    return [one for value in part for one in _pages(value)] if isinstance(part, list) else []


QUORUM = {"type": "quorum", "delivery_limit": 20, "consumer_details": []}
LETTERS = {"arguments": {"x-dead-letter-exchange": "dlx"}}


@pytest.mark.parametrize(
    ("page", "details"),
    [
        ({"type": "classic", "consumer_details": []}, []),
        (QUORUM | LETTERS, []),
        (QUORUM, ["after 20 returns RabbitMQ drops a message; every consumer that ends returns what it holds"]),
        (QUORUM | {"delivery_limit": "unlimited"}, []),
        (QUORUM | LETTERS | {"delivery_limit": 6}, []),
        (QUORUM | LETTERS | {"delivery_limit": 5},
            ["its delivery limit is 5, as few as the restarts of one incident may be (limits.attempts)"]),
        ({"type": "classic", "auto_delete": True},
            ["the queue is auto-delete: it goes with its consumer, and all messages with it"]),
        ({"type": "classic", "exclusive": True}, ["the queue is exclusive: it goes with its consumer, and all messages with it"]),
        ([], []),
    ],
)  # fmt: skip
def test_check_warns_of_what_a_restart_may_cost(page: Any, details: list[str]) -> None:
    """It is a warning: the owner of the queue decides."""
    said = Answer("rabbitmq", 200, {}, json.dumps(page).encode(), 0.0)
    ill = Unavailable("rabbitmq", "no answer")
    overview = Answer("rabbitmq", 200, {}, b"{}", 0.0)
    findings = checks.findings("unstick", MAIL, checks.Asked(overview, ill, ill, ill, said))
    losses = [one for one in findings if "survive a restart" in one.what]
    assert [(one.ok, one.detail) for one in losses] == [(None, detail) for detail in details]
    assert all(one.remedy for one in losses)
