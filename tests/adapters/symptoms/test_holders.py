"""Who holds a queue's messages: with the tag `monitoring` by name, without it where nobody else can; and never at any cost."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from email.utils import formatdate
from typing import Any

import pytest

from functions.adapters.symptoms.rabbitmq import client, to_queue
from functions.adapters.symptoms.rabbitmq.answers import Page
from functions.adapters.symptoms.rabbitmq.holders import with_holders
from functions.domain.model.observations import Holder, QueueSnapshot
from functions.domain.model.runbooks import Symptom
from functions.runtime.errors import Unavailable
from functions.runtime.http_client import Answer
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


def note_times(monkeypatch: pytest.MonkeyPatch) -> dict[str, float]:
    """How long each kind of request may take, by the first part of its path."""
    given: dict[str, float] = {}
    request = client.request

    def noted(system: str, method: str, url: str, *, timeout_s: float, **more: Any) -> Any:
        given[url.partition("/api/")[2].partition("/")[0]] = timeout_s
        return request(system, method, url, timeout_s=timeout_s, **more)

    monkeypatch.setattr(client, "request", noted)
    return given


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
    given = note_times(monkeypatch)
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


# --- what the pages may say -----------------------------------------------------------------------------------------------

AT = 1_800_000_000.0
SEEN = QueueSnapshot(AT, 9, 1, 8)


def idle(for_s: float) -> str:
    return datetime.fromtimestamp(AT - for_s, UTC).isoformat(timespec="milliseconds")


def answered(body: Any, headers: dict[str, str] | None = None) -> Answer:
    return Answer(
        "rabbitmq", 200, {"date": formatdate(AT, usegmt=True)} if headers is None else headers, json.dumps(body).encode(), AT
    )


def channel(
    connection: str, held: int = 1, *, host: str = "", idle_since: str = "", queues: tuple[str, ...] = ("q",)
) -> dict[str, Any]:
    """A channel, and what its own page says."""
    consumes = [{"queue": {"name": queue, "vhost": "/"}} for queue in queues]
    told = {"messages_unacknowledged": held, "idle_since": idle_since, "consumer_details": consumes}
    return {"connection_name": connection, "peer_host": host or f"{connection}.host", "told": answered(told)}


def found(*channels: dict[str, Any], properties: Any = None) -> list[Holder]:
    """The holders by these channels of a queue's page; a connection calls itself by its own name, or has `properties`."""
    told = {f"{number}": one["told"] for number, one in enumerate(channels)}
    details = [
        {"channel_details": {"name": f"{number}", "connection_name": one["connection_name"], "peer_host": one["peer_host"]}}
        for number, one in enumerate(channels)
    ]

    def ask(paths: list[str]) -> list[Answer]:
        parts = [path.rsplit("/", 2)[1:] for path in paths]
        return [
            told[name] if kind == "channels" else answered({"client_properties": properties or {"connection_name": name}})
            for kind, name in parts
        ]

    return list(with_holders(SEEN, {"consumer_details": details}, ask).holders)


@pytest.mark.parametrize(
    ("first", "second", "messages", "since"),
    [
        pytest.param(channel("c", 3, idle_since=idle(200)), channel("c", 5, idle_since=idle(100)), 8, AT - 100, id="both idle"),
        pytest.param(
            channel("c", 5, idle_since=idle(100)), channel("c", 3, idle_since=idle(200)), 8, AT - 100, id="turned round"
        ),
        pytest.param(channel("c", 3, idle_since=idle(200)), channel("c", 5), 8, None, id="the second one works"),
        pytest.param(channel("c", 3), channel("c", 5, idle_since=idle(100)), 8, None, id="the first one works"),
        pytest.param(channel("c", 3, queues=("q", "r")), channel("c", 5), None, None, id="the first has two queues"),
        pytest.param(channel("c", 3), channel("c", 5, queues=("q", "r")), None, None, id="the second has two queues"),
        pytest.param(channel("c", 0), channel("c", 5, queues=()), 5, None, id="the first one holds nothing"),
    ],
)
def test_channels_of_one_connection_are_one_holder(
    first: dict[str, Any], second: dict[str, Any], messages: int | None, since: float | None
) -> None:
    """Their messages together, if all are of this queue, and since when neither has done anything."""
    assert found(first, second) == [Holder("c.host", "c", messages, since)]


def test_five_holders_are_kept_those_with_the_most_first() -> None:
    """One whose messages may be of another queue comes last; of the same number, the first by name and then by host."""
    unknown = channel("a", 9, queues=("q", "r"))
    assert [(one.name, one.messages) for one in found(unknown, channel("c"), channel("d", 7), channel("b"), channel("e", 2))] == [
        *(("d", 7), ("e", 2), ("b", 1), ("c", 1), ("a", None))
    ]
    same = [channel(f"{number}", host=f"host-{number}") for number in (5, 2, 6, 1, 4, 3)]
    assert [one.host for one in found(*same, properties={"product": "Pika"})] == [f"host-{number}" for number in range(1, 6)]


def test_sixteen_channels_are_asked_for_at_most() -> None:
    """A queue may have thousands of consumers, and the broker should not work for what nobody reads."""
    details = [{"channel_details": {"name": f"n/{number}", "connection_name": f"c{number % 2}"}} for number in range(17)]
    paths: list[str] = []

    def ask(wanted: list[str]) -> list[Exception]:
        paths.extend(wanted)
        return [Unavailable("rabbitmq", "no answer in the time given")] * len(wanted)

    assert with_holders(SEEN, {"consumer_details": details}, ask) == SEEN
    assert paths == [*(f"/api/channels/n%2F{number}" for number in range(16)), "/api/connections/c0", "/api/connections/c1"]


def test_a_name_and_a_host_are_kept_up_to_eighty_characters() -> None:
    """A document keeps them, and anybody who may connect can choose the name."""
    (holder,) = found(channel("n" * 99, host="h" * 99))
    assert (holder.host, holder.name) == ("h" * 80, "n" * 79 + "…")
    alone = {"consumer_details": [{"channel_details": {"name": "n", "peer_host": "h" * 99}}]}
    assert with_holders(SEEN, alone, None).holders == (Holder("h" * 80, "", 8),)


@pytest.mark.parametrize(
    ("properties", "name"),
    [
        ({"connection_name": "worker", "product": "Pika"}, "worker"),
        ({"connection_name": 5, "product": "Pika"}, "Pika"),
        ({"connection_name": "", "product": "Pika"}, "Pika"),
        ({"product": ["Pika"]}, ""),
        ([1], ""),
    ],
)
def test_what_is_no_name_is_passed_over(properties: Any, name: str) -> None:
    """A client may send anything as its properties."""
    assert found(channel("c"), properties=properties)[0].name == name


@pytest.mark.parametrize(
    ("idle_since", "headers", "since"),
    [
        pytest.param("2027-01-15T08:00:00.000", None, AT, id="without a zone"),
        pytest.param("2027-01-15T09:58:20.000+02:00", None, AT - 100, id="with a zone"),
        pytest.param("2027-01-15T08:01:00.000+00:00", None, AT, id="not yet"),
        pytest.param(idle(100), {}, AT - 100, id="no date"),
        pytest.param(idle(100), {"date": "today"}, AT - 100, id="no date that can be read"),
        pytest.param(idle(100), {"date": formatdate(AT - 60, usegmt=True)}, AT - 40, id="the broker is behind"),
        pytest.param("soon", None, None, id="no time"),
    ],
)
def test_since_when_a_channel_is_idle(idle_since: str, headers: dict[str, str] | None, since: float | None) -> None:
    """By the broker's clock where the answer says it; never in the future."""
    one = channel("c", idle_since=idle_since)
    one["told"] = answered(one["told"].json(), headers)
    assert found(one) == [Holder("c.host", "c", 1, since)]


@pytest.mark.parametrize(
    "page",
    [
        {"consumer_details": 5},
        {"consumer_details": [{"channel_details": []}]},
        {"consumer_details": [{"ack_required": False, "channel_details": {"name": "n", "peer_host": "h"}}]},
    ],
    ids=["another form", "channel gone", "holds nothing back"],
)
def test_a_page_that_names_nobody_has_no_holders(page: Any) -> None:
    """Nothing is asked then."""
    assert with_holders(SEEN, page, lambda paths: pytest.fail(f"asked for {paths}")) == SEEN


def test_whose_login_it_is_may_take_a_second(rabbit: RabbitDouble, monkeypatch: pytest.MonkeyPatch) -> None:
    """The look waits for it no longer, though it may wait for the figures."""
    monkeypatch.undo()
    given = note_times(monkeypatch)
    assert look(rabbit).depth == 4
    assert given["whoami"] == 1.0 < given["queues"]
    assert given.get("channels", 0.0) <= 1.0
