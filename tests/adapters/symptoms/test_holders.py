"""Who holds a queue's messages: with the tag `monitoring` by name, without it where nobody else can; and never at any cost."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from functions.adapters.symptoms.rabbitmq import client, to_queue
from functions.adapters.symptoms.rabbitmq.answers import Page
from functions.domain.model.observations import Holder, QueueSnapshot
from functions.domain.model.runbooks import Symptom
from tests.adapters.symptoms.test_rabbitmq import Password
from tests.support.doubles.rabbitmq import BYTES, RabbitDouble
from tests.support.patience import PATIENCE_S

MAIL = to_queue("/", "mail.delivery")
FIRST, SECOND = "10.0.3.7:50001 -> 10.0.0.1:5672", "10.0.3.8:50002 -> 10.0.0.1:5672"


@pytest.fixture
def rabbit(monkeypatch: pytest.MonkeyPatch) -> Iterator[RabbitDouble]:
    """A queue with two consumers, of which the first one holds three messages and has done nothing for 214 s."""
    monkeypatch.setattr(client, "WITHIN_S", PATIENCE_S)  # else a busy machine has no holders
    with RabbitDouble() as double:
        double.users["unstick"] = replace(double.users["unstick"], tags=("monitoring",))
        double.queue(MAIL.name, ready=1, unacked=3, acks=7, consumers=(FIRST, SECOND), named="mail-worker-2")
        yield double


def look(rabbit: RabbitDouble, timeout_s: float = PATIENCE_S) -> QueueSnapshot:
    return client.look(client.Settings(rabbit.url, "unstick", Password()), MAIL, for_s=60, timeout_s=timeout_s)


def asked(rabbit: RabbitDouble, what: str) -> int:
    return sum(f"/api/{what}" in path for path in rabbit.asked)


def without_tag(rabbit: RabbitDouble) -> None:
    rabbit.users["unstick"] = replace(rabbit.users["unstick"], tags=("management",))


def test_the_connection_that_holds_messages_is_named(rabbit: RabbitDouble) -> None:
    """Its address, what it calls itself, how many it holds, and since when its channel has done nothing, on our clock."""
    began = time.time()
    (holder,) = look(rabbit).holders
    assert (holder.host, holder.name, holder.messages) == ("10.0.3.7", "mail-worker-2", 3)
    assert holder.since == pytest.approx(began - 214, abs=3 + 2 * (time.time() - began))


def test_a_connection_without_a_name_has_its_product(rabbit: RabbitDouble) -> None:
    rabbit.queue(MAIL.name).named = ""
    assert look(rabbit).holders[0].name == "Pika Python Client Library"


def test_the_broker_s_clock_is_not_ours(rabbit: RabbitDouble) -> None:
    """A broker that is an hour ahead says so in its Date header, and its times are moved by that."""
    began = time.time()
    rabbit.date = time.strftime("%a, %d %b %Y %H:%M:%S GMT", time.gmtime(began + 3600))
    rabbit.queue(MAIL.name).idle_s = 214 - 3600
    (holder,) = look(rabbit).holders
    assert holder.since == pytest.approx(began - 214, abs=3 + 2 * (time.time() - began))


def test_sizes_are_known_without_taking_a_message(rabbit: RabbitDouble) -> None:
    """What is held together; the one at the head where it is the only ready one."""
    seen = look(rabbit)
    assert (seen.held_bytes, seen.head_bytes) == (3 * BYTES, BYTES)
    rabbit.queue(MAIL.name).set(ready=2)
    assert look(rabbit).head_bytes is None


def test_without_the_tag_an_only_consumer_is_the_holder(rabbit: RabbitDouble) -> None:
    """The queue's page says where it connected from. No channel is asked for, which the broker would log as denied."""
    without_tag(rabbit)
    rabbit.queue(MAIL.name).consumers = (FIRST,)
    assert look(rabbit).holders == (Holder("10.0.3.7", "", 3),)
    assert asked(rabbit, "channels") == 0


def test_without_the_tag_one_of_two_is_nobody(rabbit: RabbitDouble) -> None:
    """It can't be told, so nothing is said."""
    without_tag(rabbit)
    assert look(rabbit).holders == ()


def test_a_queue_that_moves_is_not_asked_about(rabbit: RabbitDouble) -> None:
    """A busy queue always has unacknowledged messages; no call in sequence more is made for it."""
    queue = rabbit.queue(MAIL.name)
    now = time.time()
    queue.history = [(now - 3600, 4, 5), *((now + 5 * at, 4, 100 + at) for at in range(-10, 60))]
    assert look(rabbit).holders == ()
    assert asked(rabbit, "channels") == 0


def test_the_tag_is_asked_for_beside_the_figures(rabbit: RabbitDouble) -> None:
    """A restart waits for the look: without the tag, who holds a message costs it no further round trip."""
    without_tag(rabbit)
    all_three = threading.Barrier(3, timeout=PATIENCE_S)
    answer = rabbit.answer

    def once_all_are_asked(target: str, authorization: str) -> Any:
        all_three.wait()
        return answer(target, authorization)

    rabbit.answer = once_all_are_asked  # type: ignore[method-assign]
    assert look(rabbit).depth == 4
    assert len(rabbit.asked) == 3


@pytest.mark.parametrize(
    "broken",
    [
        (500, "text/plain", b"oops"),
        (200, "text/html", b"<html>"),
        (200, "application/json", b"[]"),
        (200, "application/json", b'{"tags": null}'),
    ],
)
@pytest.mark.parametrize("kind", ["whoami", "channel", "connection"])
def test_whatever_goes_wrong_the_queue_is_seen(rabbit: RabbitDouble, kind: str, broken: tuple[int, str, bytes]) -> None:
    """Who holds a message decides nothing."""
    rabbit.broken[kind] = broken
    seen = look(rabbit)
    assert (seen.depth, seen.unacked, seen.consumers) == (4, 3, 2)
    assert [one.host for one in seen.holders] == (["10.0.3.7"] if kind == "connection" else [])


@pytest.mark.parametrize("kind", ["whoami", "channel", "connection"])
def test_a_slow_answer_costs_a_second_at_most(rabbit: RabbitDouble, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """However long it would take."""
    monkeypatch.undo()
    rabbit.broken[kind] = 600.0
    began = time.monotonic()
    assert look(rabbit).depth == 4
    assert time.monotonic() - began < PATIENCE_S / 2


def test_with_little_time_left_it_is_half_of_that(rabbit: RabbitDouble, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the look itself has left over: the step that it is made for goes on after it."""
    given: dict[str, float] = {}
    request = client.request

    def noted(system: str, method: str, url: str, *, timeout_s: float, **more: Any) -> Any:
        given[url.partition("/api/")[2].partition("/")[0]] = timeout_s
        return request(system, method, url, timeout_s=timeout_s, **more)

    monkeypatch.setattr(client, "request", noted)
    assert look(rabbit).holders
    assert given["queues"] > PATIENCE_S / 2 >= given["channels"] > 0
    assert PATIENCE_S / 2 >= given["connections"] > 0


def test_check_says_what_the_tag_adds(rabbit: RabbitDouble) -> None:
    """The tag is optional: without it nothing is wrong."""

    def finding() -> tuple[bool | None, str]:
        settings = client.Settings(rabbit.url, "unstick", Password())
        found = client.check(settings, Symptom("rabbitmq", MAIL.keys), {}, timeout_s=PATIENCE_S)
        (one,) = [one for one in found if one.what == "RabbitMQ holders"]
        return one.ok, str(one.detail)

    assert finding() == (True, "cards say who holds messages, how many and for how long")
    without_tag(rabbit)
    ok, detail = finding()
    assert ok
    assert "the optional tag `monitoring` adds" in detail


def test_a_page_without_statistics_has_no_holders() -> None:
    """Neither consumers nor samples: nobody can be named, and nothing is asked."""
    assert Page().consumer_details is None
    assert not QueueSnapshot(0.0, 4, 1, 3).holds_unacked
