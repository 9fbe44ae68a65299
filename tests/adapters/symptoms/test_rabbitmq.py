"""The adapter of RabbitMQ against a stand-in of the management API, for what a real broker does not show on demand."""

import json
import logging
from collections.abc import Iterator
from dataclasses import replace

import pytest

from functions.adapters.symptoms.rabbitmq import RabbitMQ, checks, client, to_queue
from functions.application.ports import Finding
from functions.domain.model.alerts import QueueRef
from functions.domain.model.observations import Holder, QueueSnapshot
from functions.domain.model.runbooks import Symptom
from functions.runtime.errors import Denied, Unavailable
from testbed.doubles.rabbitmq import Queue, RabbitDouble, User
from testbed.looks import look_once
from testbed.patience import PATIENCE_S
from tests.adapters.secret import Secret
from tests.support.recorded import RABBITMQ, read_looks

RECORDINGS = sorted(RABBITMQ.glob("*.json"))
MAIL = to_queue("/", "mail.delivery")
NAMES = (
    "mail.delivery",
    "a/b",
    "a%2Fb",
    "100%",
    "配送 キュー",
    "é",
    "a+b c",
    "[x]{1,2}(y)|z^$*?\\",
    "a&name=b#c",
    "-_~",
    "..a",
    "x" * 255,
)
JSON = "application/json"
LOGIN = "RabbitMQ answers and knows unstick"
READABLE = "RabbitMQ queue 'mail.delivery' in vhost '/'"


@pytest.fixture
def rabbit() -> Iterator[RabbitDouble]:
    with RabbitDouble() as double:
        double.queue(MAIL.name, ready=4, unacked=1, acks=7, head_at=1_700_000_000)
        yield double


def settings(rabbit: RabbitDouble, *passwords: bytes) -> RabbitMQ:
    return RabbitMQ(rabbit.url, "unstick", Secret(*passwords or (b"secret",)))  # type: ignore[arg-type]


def look(rabbit: RabbitDouble, queue: QueueRef = MAIL, *passwords: bytes, timeout_s: float = PATIENCE_S) -> QueueSnapshot:
    return look_once(client.look_all, settings(rabbit, *passwords), queue, timeout_s=timeout_s)


def check(rabbit: RabbitDouble) -> dict[str, Finding]:
    return {one.what: one for one in checks.check(settings(rabbit), Symptom("rabbitmq", MAIL.keys), {}, timeout_s=PATIENCE_S)}


def test_a_queue_leads_to_its_page_in_rabbitmq():
    """As the management pages write it, whatever its vhost and it are called."""
    adapter = RabbitMQ("https://rabbitmq.example.com/prefix/", "unstick", Secret(b"secret"))  # type: ignore[arg-type]
    symptom = Symptom("rabbitmq", {"vhost": "/", "queue": "a/b 100%"})
    assert adapter.name_queue(symptom, {}).page == "https://rabbitmq.example.com/prefix/#/queues/%2F/a%2Fb%20100%25"


# --- what is seen ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("vhost", ["/", "a/b", "%2F", "日本", "x y"])
def test_any_name_is_found_and_no_other(rabbit, vhost):
    """Names are encoded once and compared exactly, whatever they consist of and whatever a pattern would match."""
    rabbit.users["unstick"] = User("secret", vhosts=(vhost,))
    for name in NAMES:
        rabbit.queue(name.upper(), vhost, ready=90)
        rabbit.queue(f"{name}x", vhost, ready=91)
        rabbit.queues[vhost, name] = Queue(ready=3, consumers=())
        seen = look(rabbit, to_queue(vhost, name))
        assert (seen.depth, seen.consumers, seen.consumer_ids) == (3, 0, ()), name


@pytest.mark.parametrize(("vhost", "name"), [("/", ".."), ("..", "q"), (".", "q"), ("/", ""), ("", "q")])
def test_a_name_that_no_url_can_carry_is_refused_before_asking(rabbit, vhost, name):
    """HTTP libraries resolve `.` and `..` however they are encoded, so such a name would reach another path."""
    with pytest.raises(Denied, match="no URL can name"):
        look(rabbit, to_queue(vhost, name))
    assert rabbit.asked == []


def test_deliveries_without_acknowledgement_count_as_acknowledged():
    """A consumer in automatic acknowledgement mode works as well as one that acknowledges."""
    (_, seen), *_ = read_looks(RABBITMQ / "busy-no-ack.json")
    page = json.loads((RABBITMQ / "busy-no-ack.json").read_text())["looks"][0]["page"]
    assert seen.acks == seen.ack_samples[-1][1] == page["message_stats"]["deliver_no_ack"] > 1000


@pytest.mark.parametrize("path", RECORDINGS, ids=[path.stem for path in RECORDINGS])
def test_every_recorded_look_of_a_real_broker_is_understood(path):
    """Live depth, consumers and a window of samples are there in every answer of a real broker."""
    for _, seen in read_looks(path):
        assert seen.depth == seen.ready + seen.unacked
        assert None not in (seen.consumers, seen.consumer_ids)
        assert seen.depth_samples[-1][0] - seen.depth_samples[0][0] >= 115  # of the 120 s that were asked for, or more
        assert -9.0 < seen.at - seen.depth_samples[-1][0] < 9.0


# --- what goes wrong -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("answer", "error", "code"),
    [
        pytest.param((403, "text/html", b"<html>"), Denied, "login", id="a proxy's 403"),
        pytest.param((200, JSON, b'{"items": []}'), Unavailable, "", id="its node is down"),
        pytest.param((200, JSON, b"[]"), Unavailable, "", id="another form"),
        pytest.param((200, "text/html", b"<html>"), Unavailable, "", id="a login page"),
        pytest.param((500, JSON, b"{}"), Unavailable, "", id="500"),
    ],
)
def test_totals_that_fail_are_an_error_though_the_page_answers(rabbit, answer, error, code):
    """The page's own depth is up to 9 s old and is never taken for the live one."""
    rabbit.broken["totals"] = answer
    with pytest.raises(error) as raised:
        look(rabbit)
    assert getattr(raised.value, "code", "") == code


@pytest.mark.parametrize(("passwords", "requests"), [((b"old",), 3), ((b"old", b"older"), 6)])
def test_a_wrong_password_is_tried_at_most_once_more(rabbit, passwords, requests):
    """Only another password is another try."""
    with pytest.raises(Denied):
        look(rabbit, MAIL, *passwords)
    assert len(rabbit.asked) == requests


def test_no_secret_stands_in_errors_logs_or_reprs(rabbit, caplog):
    """I8: neither password nor Authorization header is anywhere in what people or logs see."""
    caplog.set_level(logging.DEBUG)
    for broken in ((500, JSON, b"{}"), (401, JSON, b"{}"), (200, JSON, b"x")):
        rabbit.broken = {"totals": broken, "page": broken}
        with pytest.raises((Denied, Unavailable)) as raised:
            look(rabbit)
        told = f"{raised.value!r} {raised.value} {vars(raised.value)} {caplog.text}"
        assert "secret" not in told
        assert "dW5zdGljazpzZWNyZXQ" not in told


# --- check -----------------------------------------------------------------------------------------------------------


def test_check_finds_all_right(rabbit):
    """A broker as it should be gives no finding without its tick."""
    findings = check(rabbit)
    assert {one.ok for one in findings.values()} == {True}
    assert "4 ready, 1 unacknowledged, consumers: 1" in findings[READABLE].detail
    told = {"messages that consumers keep", "users of 'mail.delivery' in vhost '/'"}
    assert set(findings) == {LOGIN, READABLE, *told, "RabbitMQ rights", "RabbitMQ statistics"}
    assert "users: [mail]" in findings["users of 'mail.delivery' in vhost '/'"].detail


@pytest.mark.parametrize(
    ("change", "what", "ok", "word"),
    [
        pytest.param({"users": {}}, LOGIN, False, "login", id="login"),
        pytest.param({"users": {"unstick": User("secret", tags=())}}, LOGIN, False, "tag", id="no tag"),
        pytest.param({"broken": {"overview": (200, "text/html", b"<html>")}}, LOGIN, False, "JSON", id="html"),
        pytest.param({"users": {"unstick": User("secret", vhosts=())}}, READABLE, False, "vhost", id="vhost"),
        pytest.param({"queues": {}}, READABLE, False, "no queue", id="no queue"),
        pytest.param({"queues": {}}, "RabbitMQ statistics", None, "can't be read", id="no page"),
        pytest.param({"statistics": False}, "RabbitMQ statistics", False, "off", id="statistics off"),
    ],
)
def test_check_says_what_is_wrong_and_what_to_do(rabbit, change, what, ok, word):
    """Every mistake has its own line; what is wrong for certain comes with a remedy."""
    for name, value in change.items():
        setattr(rabbit, name, value)
    finding = check(rabbit)[what]
    assert finding.ok is ok
    assert word in str(finding.detail)
    assert finding.remedy or ok is None


# --- who holds a queue's messages, and what the tag `monitoring` shows besides ---------------------------------------------

FIRST, SECOND = "10.0.3.7:50001 -> 10.0.0.1:5672", "10.0.3.8:50002 -> 10.0.0.1:5672"


@pytest.fixture
def held(rabbit: RabbitDouble, monkeypatch: pytest.MonkeyPatch) -> RabbitDouble:
    """A queue with two consumers, of which the first one has held three messages for an hour."""
    monkeypatch.setattr(client, "WHOAMI_S", PATIENCE_S)  # else a busy machine has no holders
    rabbit.queues.clear()
    rabbit.queue(MAIL.name, ready=1, unacked=3, acks=7, consumers=(FIRST, SECOND), named="mail-worker-2")
    return rabbit


def asked(held: RabbitDouble, what: str) -> int:
    return sum(f"/{what}?" in path for path in held.asked)


def without_tag(held: RabbitDouble) -> None:
    held.users["unstick"] = replace(held.users["unstick"], tags=("management",))


@pytest.mark.parametrize(("name", "shown"), [("", "Pika Python Client Library"), ("n" * 99, "n" * 79 + "…")])
def test_a_connection_is_called_what_it_calls_itself(held: RabbitDouble, name: str, shown: str) -> None:
    """Up to 80 characters, since anybody who may connect can choose them; else by its library's product."""
    held.queue(MAIL.name).named = name
    assert look(held).holders[0].name == shown


def test_without_the_tag_an_only_consumer_is_the_holder(held: RabbitDouble) -> None:
    """The queue's page says where it connected from. Nodes, which the broker would log as denied, are not asked for."""
    without_tag(held)
    held.queue(MAIL.name).consumers = (FIRST,)
    assert look(held).holders == (Holder("10.0.3.7", "", 3),)
    assert asked(held, "nodes") == 0


NO_TAGS = (200, "application/json", b'{"tags": null}')
BROKEN = [(500, "text/plain", b"oops"), (200, "text/html", b"<html>"), NO_TAGS]


@pytest.mark.parametrize("broken", BROKEN)
@pytest.mark.parametrize("kind", ["whoami", "channel", "connection", "nodes"])
def test_whatever_goes_wrong_the_queue_is_seen(held: RabbitDouble, kind: str, broken: tuple[int, str, bytes]) -> None:
    """What can't be read is said, and never taken for an answer."""
    held.broken[kind] = broken
    seen = look(held)
    assert (seen.depth, seen.unacked, seen.consumers) == (4, 3, 2)
    assert (seen.channels is None) == (kind == "whoami")
    known = kind == "whoami" and broken == NO_TAGS
    assert (seen.unseen is not None) == (kind in ("channel", "whoami") and not known)
    assert (seen.blind is not None) == (kind == "nodes")


def test_a_node_that_sends_no_statistics_is_told_only_if_it_lasts(held: RabbitDouble) -> None:
    """Nor does one that has just started: people are not told within seconds of a broker's restart."""
    held.nodes.append({"name": "rabbit@two", "running": True})
    seen = look(held)
    assert seen.blind is not None
    assert (seen.blind.late, str(seen.blind.why)) == (True, "these nodes send no statistics: rabbit@two")


def test_a_slow_page_costs_no_depth(held: RabbitDouble) -> None:
    """It has a deadline of its own, and what is slow is named."""
    held.broken["page"] = 600.0
    seen = look(held, timeout_s=2.0)
    assert seen.depth == 4
    assert seen.blind is not None
    assert seen.blind.late
    assert "did not answer within 1.6 s" in str(seen.blind.why)
