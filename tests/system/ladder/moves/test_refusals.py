"""What move.py finds out before it stops anything: exit status 2, a reason, and an application that was not touched."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from testbed.broker import Broker
from testbed.patience import wait_until
from tests.system.ladder.moves.place import KINDS, PROGRAM, VHOST, Place, grant

OTHER = ("unstick-of-refusals", "also moves")


def refused(place: Place, way: str = "park", **more: Any) -> str:
    """The reason, after the sentence that all of them have."""
    status, sentence, said = place.run(way, **more)
    assert (status, place.untouched) == (2, True), said
    begin = "refused, the application was not touched: "
    assert sentence.startswith(begin), said
    return sentence.removeprefix(begin)


def by_day(chosen: bool) -> list[pytest.MarkDecorator]:
    """Each waits until the broker shows a new queue's policies, for up to 7 s: the others are left to the night."""
    return [] if chosen else [pytest.mark.long]


@pytest.fixture
def name(request: pytest.FixtureRequest) -> str:
    return "mail." + re.sub(r"[^a-z0-9]+", "-", request.node.name)[-60:].strip("-")


@pytest.fixture(params=["classic", pytest.param("quorum", marks=pytest.mark.long)])
def place(request: pytest.FixtureRequest, rabbitmq_server: Broker, tmp_path: Path, name: str) -> Place:
    return Place(rabbitmq_server, tmp_path, request.param, name)


def test_nothing_speaks_against_a_plain_queue(place: Place) -> None:
    """And it says so without a stop."""
    assert place.run("check")[:2] == (0, "nothing speaks against it")
    assert place.untouched


POLICIES: list[tuple[str, dict[str, Any], str]] = [
    ("message-ttl", {"message-ttl": 60_000}, "message-ttl 60000"),
    ("expires", {"expires": 600_000}, "expires 600000"),
    ("max-length", {"max-length": 10}, "max-length 10"),
    ("max-length-bytes", {"max-length-bytes": 10_000}, "max-length-bytes 10000"),
    ("max-length that rejects", {"max-length": 10, "overflow": "reject-publish"}, ""),
    ("something harmless", {"dead-letter-exchange": "dead"}, ""),
]


@pytest.mark.parametrize(
    ("definition", "said"), [pytest.param(*case[1:], id=case[0], marks=by_day(case is POLICIES[0])) for case in POLICIES]
)
def test_a_policy_that_would_lose_what_is_parked_refuses(place: Place, definition: dict[str, Any], said: str) -> None:
    place.policy(f"^{re.escape(place.parked)}$", definition)
    if said:
        assert f"by a policy or an argument: {said}. Except" in refused(place)
    else:
        assert place.run("check")[0] == 0


@pytest.mark.long
def test_an_operator_s_policy_counts_as_well(place: Place) -> None:
    place.policy(f"^{re.escape(place.parked)}$", {"message-ttl": 60_000}, kind="operator-policies")
    assert "message-ttl 60000" in refused(place)


@pytest.mark.long
def test_a_delivery_limit_of_the_parking_queue_refuses(rabbitmq_server: Broker, tmp_path: Path, name: str) -> None:
    """Each look at it would count as a return."""
    place = Place(rabbitmq_server, tmp_path, "quorum", name)
    place.policy(f"^{re.escape(place.parked)}$", {"delivery-limit": 5})
    assert "delivery-limit 5" in refused(place)


@pytest.mark.parametrize(
    ("limit", "returns", "fine"),
    [(5, "1", False), *(pytest.param(*case, marks=by_day(False)) for case in ((1, "0", False), (5, "", False), (5, "2", True)))],
)
def test_what_a_stop_could_drop_is_not_touched(
    rabbitmq_server: Broker, tmp_path: Path, name: str, limit: int, returns: str, fine: bool
) -> None:
    """The stop is a return, and a move that fails is another one."""
    place = Place(rabbitmq_server, tmp_path, "quorum", name, **{"x-delivery-limit": limit})
    if fine:
        assert place.run("check", returns=returns)[0] == 0
    else:
        assert f"drops a message after {limit} returns" in refused(place, returns=returns)


@pytest.mark.long
def test_unlimited_returns_need_no_count(rabbitmq_server: Broker, tmp_path: Path, name: str) -> None:
    """-1 is unlimited since 4.0; before, it drops at the first return."""
    place = Place(rabbitmq_server, tmp_path, "quorum", name, **{"x-delivery-limit": -1})
    if place.broker.version == "host":
        assert "drops a message after -1 returns" in refused(place, returns="")
    else:
        assert place.run("check", returns="")[0] == 0


QUEUES: dict[str, tuple[dict[str, Any], str]] = {
    "stream": ({"durable": True, "arguments": {"x-queue-type": "stream"}}, "is a stream, from which nothing can be taken"),
    "auto-delete": ({"durable": True, "auto_delete": True}, "is deleted with its last consumer"),
    "not durable": ({"durable": False}, "is not durable"),
    "expires": ({"durable": True, "arguments": {"x-expires": 60_000}}, "expires after 60000 ms without a consumer"),
}


@pytest.mark.long
@pytest.mark.parametrize("kind", QUEUES)
def test_a_queue_that_a_stop_endangers_is_not_touched(rabbitmq_server: Broker, tmp_path: Path, name: str, kind: str) -> None:
    declared, said = QUEUES[kind]
    if kind == "not durable" and rabbitmq_server.version == "4.3":
        declared = {**declared, "exclusive": True}  # others are gone there
        said = "belongs to one connection"
    place = Place(rabbitmq_server, tmp_path, "classic", name)
    with rabbitmq_server.channel(VHOST) as channel:
        channel.queue_delete(name)
        channel.queue_declare(name, **declared)
        assert said in refused(place)


PARKED: dict[str, tuple[dict[str, Any], str]] = {
    "another type": ({"durable": True, "arguments": KINDS["quorum"]}, "is of another type"),
    "auto-delete": ({"durable": True, "auto_delete": True}, "does not last"),
    "ttl of its own": ({"durable": True, "arguments": {"x-message-ttl": 1000}}, "message-ttl 1000"),
}


@pytest.mark.long
@pytest.mark.parametrize("kind", PARKED)
def test_a_parking_queue_that_does_not_last_refuses(rabbitmq_server: Broker, tmp_path: Path, name: str, kind: str) -> None:
    place = Place(rabbitmq_server, tmp_path, "classic", name)
    declared, said = PARKED[kind]
    with rabbitmq_server.channel(VHOST) as channel:
        channel.queue_declare(place.parked, **declared)
    assert said in refused(place)


@pytest.mark.long
def test_a_consumer_of_the_parking_queue_refuses(rabbitmq_server: Broker, tmp_path: Path, name: str) -> None:
    place = Place(rabbitmq_server, tmp_path, "classic", name)
    place.run("check")
    with rabbitmq_server.channel(VHOST) as channel:
        channel.basic_consume(place.parked, lambda *_: None)
        assert "has a consumer, which would take what is moved" in refused(place)


RIGHTS: dict[str, tuple[dict[str, str], str]] = {
    "configure": ({"configure": "^$"}, "can't be declared: ACCESS_REFUSED"),
    "write": ({"write": "^$"}, "may not write amq.default: ACCESS_REFUSED"),
    "read": ({"read": r"^mail\..*\.parked$"}, "may not read"),
    "read of the parking queue": ({"read": r"^mail\..*[^d]$"}, "may not read"),
}


@pytest.mark.parametrize("right", [pytest.param(right, marks=by_day(right == "write")) for right in RIGHTS])
def test_each_missing_right_is_found(place: Place, right: str) -> None:
    lacks, said = RIGHTS[right]
    user = (f"{OTHER[0]}-{place.queue}", OTHER[1])
    grant(place.broker, user=user, **lacks)
    assert said in refused(place, user=user[0], password=user[1])
    assert place.bodies() == []


def test_a_login_that_is_wrong_is_told(place: Place) -> None:
    assert "the broker does not accept the password of unstick-park" in refused(place, password="wrong")
    assert "can't be reached at http://127.0.0.1:1" in refused(place, api="http://127.0.0.1:1")
    assert "no AMQP connection to 127.0.0.1:1" in refused(place, amqp="127.0.0.1:1")
    user = (f"{OTHER[0]}-{place.queue}", OTHER[1])
    grant(place.broker, user=user, tags="")
    assert "it needs the tag management" in refused(place, user=user[0], password=user[1])


@pytest.mark.long
def test_what_is_not_there_is_told(place: Place) -> None:
    place.queue, former = f"{place.queue}.nowhere", place.queue
    assert f"{former}.nowhere in the vhost prod is not found" in refused(place)
    place.queue, place.vhost = former, "nowhere"
    reason = refused(place)
    assert "nowhere" in reason or "401" in reason


@pytest.mark.long
def test_more_than_lie_there_is_not_brought_back(place: Place) -> None:
    assert "is not found" in refused(place, "return")
    place.run("check")
    assert "1 can't be brought back: messages in " in refused(place, "return")
    place.publish("one", queue=place.parked)
    assert f"2 can't be brought back: messages in {place.parked}: 1" in refused(place, "return", number="2")


def test_without_a_configuration_it_says_what_it_needs(tmp_path: Path) -> None:
    """One line, and no traceback."""
    environment = {"UNSTICK_MOVE_CONFIG": str(tmp_path / "none.json")}
    command = [sys.executable, str(PROGRAM), "park", "/", "mail", "1", ""]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr, done.stdout.count("\n")) == (2, "", 1)
    assert "It needs api, user and password." in done.stdout
    done = subprocess.run(command[:3], env=environment, capture_output=True, text=True, check=False)
    assert (done.returncode, "usage: " in done.stdout) == (2, True)


def test_the_probes_leave_nothing_behind(place: Place) -> None:
    """No message is taken, counted or published by a check, and no consumer stays."""
    place.publish("one", "two")
    assert place.run("check")[0] == 0
    assert [method.redelivered for method, _, _ in place.messages()] == [False, False]
    wait_until(lambda: place.broker.api("GET", f"queues/{VHOST}/{place.queue}").get("consumers") == 0)
