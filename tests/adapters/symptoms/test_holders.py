"""Who holds a queue's messages, and what the tag `monitoring` shows besides: by name, and never at any cost."""

from collections.abc import Iterator
from dataclasses import replace

import pytest

from functions.adapters.symptoms.rabbitmq import client, to_queue
from functions.domain.model.observations import Holder, QueueSnapshot
from testbed.doubles.rabbitmq import RabbitDouble
from testbed.looks import look_once
from testbed.patience import PATIENCE_S
from tests.adapters.secret import Secret

MAIL = to_queue("/", "mail.delivery")
FIRST, SECOND = "10.0.3.7:50001 -> 10.0.0.1:5672", "10.0.3.8:50002 -> 10.0.0.1:5672"


@pytest.fixture
def rabbit(monkeypatch: pytest.MonkeyPatch) -> Iterator[RabbitDouble]:
    """A queue with two consumers, of which the first one has held three messages for an hour."""
    monkeypatch.setattr(client, "WHOAMI_S", PATIENCE_S)  # else a busy machine has no holders
    with RabbitDouble() as double:
        double.queue(MAIL.name, ready=1, unacked=3, acks=7, consumers=(FIRST, SECOND), named="mail-worker-2")
        yield double


def look(rabbit: RabbitDouble, timeout_s: float = PATIENCE_S) -> QueueSnapshot:
    return look_once(client.look_all, client.Settings(rabbit.url, "unstick", Secret(b"secret")), MAIL, timeout_s=timeout_s)


def asked(rabbit: RabbitDouble, what: str) -> int:
    return sum(f"/{what}?" in path for path in rabbit.asked)


def without_tag(rabbit: RabbitDouble) -> None:
    rabbit.users["unstick"] = replace(rabbit.users["unstick"], tags=("management",))


@pytest.mark.parametrize(("name", "shown"), [("", "Pika Python Client Library"), ("n" * 99, "n" * 79 + "…")])
def test_a_connection_is_called_what_it_calls_itself(rabbit: RabbitDouble, name: str, shown: str) -> None:
    """Up to 80 characters, since anybody who may connect can choose them; else by its library's product."""
    rabbit.queue(MAIL.name).named = name
    assert look(rabbit).holders[0].name == shown


def test_without_the_tag_an_only_consumer_is_the_holder(rabbit: RabbitDouble) -> None:
    """The queue's page says where it connected from. Nodes, which the broker would log as denied, are not asked for."""
    without_tag(rabbit)
    rabbit.queue(MAIL.name).consumers = (FIRST,)
    assert look(rabbit).holders == (Holder("10.0.3.7", "", 3),)
    assert asked(rabbit, "nodes") == 0


NO_TAGS = (200, "application/json", b'{"tags": null}')
BROKEN = [(500, "text/plain", b"oops"), (200, "text/html", b"<html>"), NO_TAGS]


@pytest.mark.parametrize("broken", BROKEN)
@pytest.mark.parametrize("kind", ["whoami", "channels", "channel", "connections", "nodes"])
def test_whatever_goes_wrong_the_queue_is_seen(rabbit: RabbitDouble, kind: str, broken: tuple[int, str, bytes]) -> None:
    """What can't be read is said, and never taken for an answer."""
    rabbit.broken[kind] = broken
    seen = look(rabbit)
    assert (seen.depth, seen.unacked, seen.consumers) == (4, 3, 2)
    assert (seen.channels is None) == (kind in ("whoami", "channels"))
    known = kind == "whoami" and broken == NO_TAGS
    assert (seen.unseen is not None) == (kind in ("channels", "channel", "whoami") and not known)
    assert (seen.blind is not None) == (kind == "nodes")


def test_many_holders_are_read_by_one_list(rabbit: RabbitDouble) -> None:
    """Where more channels hold messages than are worth a request each."""
    rabbit.queue(MAIL.name).consumers = tuple(f"10.0.3.{number}:50001 -> 10.0.0.1:5672" for number in range(40))
    rabbit.hold_all = True
    seen = look(rabbit)
    assert len([one for one in seen.channels or () if one.work]) == 40
    assert not any("/api/channels/" in path for path in rabbit.asked)


@pytest.mark.parametrize("kind", ["page", "channels"])
def test_a_slow_page_or_list_of_channels_costs_no_depth(rabbit: RabbitDouble, kind: str) -> None:
    """Each has a deadline of its own, and what is slow is named."""
    rabbit.broken[kind] = 600.0
    seen = look(rabbit, timeout_s=2.0)
    assert seen.depth == 4
    slow = seen.blind if kind == "page" else seen.unseen
    assert slow is not None
    assert slow.late
    assert "did not answer within 1.6 s" in str(slow.why)
