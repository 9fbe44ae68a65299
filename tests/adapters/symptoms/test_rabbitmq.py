"""The RabbitMQ room against a stand-in of the management API, for what a real broker does not show on demand."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from email.utils import formatdate
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest

from functions.adapters.symptoms.rabbitmq import client, to_queue
from functions.adapters.symptoms.rabbitmq.snapshot import Answers, read_snapshot
from functions.application.ports import Finding
from functions.domain.model.alerts import QueueRef
from functions.domain.model.observations import QueueSnapshot
from functions.domain.model.runbooks import Symptom
from functions.runtime.errors import Denied, Unavailable
from tests.support.doubles.rabbitmq import Queue, RabbitDouble, User
from tests.support.patience import MORE_TIME_S, PATIENCE_S

RECORDINGS = sorted((Path(__file__).parents[2] / "recordings" / "rabbitmq").glob("*.json"))
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


@dataclass
class Password:
    """A secret that may have been rotated: what is read first, and what after `distrust`."""

    now: bytes = b"secret"
    newer: bytes | None = None
    distrusted: int = field(default=0)

    def read(self) -> bytes:
        return self.newer if self.distrusted and self.newer is not None else self.now

    def distrust(self) -> None:
        self.distrusted += 1


@pytest.fixture
def rabbit() -> Iterator[RabbitDouble]:
    with RabbitDouble() as double:
        double.queue(MAIL.name, ready=4, unacked=1, acks=7, head_at=1_700_000_000)
        yield double


def settings(rabbit: RabbitDouble, password: Password | None = None, **changes: str) -> client.Settings:
    return client.Settings(**({"url": rabbit.url, "user": "unstick"} | changes), password=password or Password())


def look(rabbit: RabbitDouble, queue: QueueRef = MAIL, *, for_s: float = 60.0, password: Password | None = None) -> QueueSnapshot:
    return client.look(settings(rabbit, password), queue, for_s=for_s, timeout_s=PATIENCE_S)


def check(rabbit: RabbitDouble, **changes: str) -> dict[str, Finding]:
    return {
        one.what: one
        for one in client.check(settings(rabbit, **changes), Symptom("rabbitmq", MAIL.keys), {}, timeout_s=PATIENCE_S)
    }


# --- what is seen ----------------------------------------------------------------------------------------------------


def test_both_answers_make_one_sighting(rabbit):
    """Depth comes from the live totals, consumers, counter, samples and head from the queue's page."""
    began = time.time()
    seen = look(rabbit)
    assert (seen.depth, seen.ready, seen.unacked, seen.consumers, seen.acks, seen.head_at) == (5, 4, 1, 1, 7, 1_700_000_000.0)
    assert seen.consumer_ids == ("127.0.0.1:50001 -> 127.0.0.1:5672 / 127.0.0.1:50001 -> 127.0.0.1:5672 (1) / ctag0",)
    assert began <= seen.at <= time.time()
    assert {value for _, value in seen.depth_samples} == {5}
    assert list(seen.depth_samples) == sorted(seen.depth_samples)


def test_many_queues_of_a_vhost_are_one_list_request(rabbit):
    """Each is found by its exact name, and what is wrong with one says nothing of the others."""
    names = [f"{'long.' * 10}{number}" for number in range(20)]
    for number, name in enumerate(names):
        rabbit.queue(name, ready=number)
    rabbit.queue(names[3].upper(), ready=99)
    asked = [(to_queue("/", name), 60.0) for name in (*names, "no.such", "..")]
    snapshots = client.look_all(settings(rabbit), asked, timeout_s=PATIENCE_S)
    assert [snapshot.depth for snapshot in snapshots[:20]] == list(range(20))
    assert [snapshot.code for snapshot in snapshots[20:]] == ["no_queue", "name"]
    lists = [path for path in rabbit.asked if "enable_queue_totals" in path]
    assert (len(lists), max(map(len, lists)) < 4000) == (1, True)
    first = [path for path in rabbit.asked if not any(more in path for more in ("/nodes", "/health", "/connections"))]
    assert len(first) == 1 + 21 + 2, "the list, the page of each, the vhost's channels, and whose login it is"


def test_names_that_do_not_fit_into_one_request_line_are_asked_for_in_parts(rabbit):
    """The broker takes lines of 8,000 bytes, a proxy in front may take 4,096."""
    names = [f"{number:02}{'キュー' * 25}" for number in range(20)]
    for name in names:
        rabbit.queue(name, ready=1)
    snapshots = client.look_all(settings(rabbit), [(to_queue("/", name), 60.0) for name in names], timeout_s=PATIENCE_S)
    assert [snapshot.depth for snapshot in snapshots] == [1] * 20
    lists = [path for path in rabbit.asked if "enable_queue_totals" in path]
    assert 1 < len(lists) <= 10
    assert max(map(len, lists)) < 4000


@pytest.mark.parametrize(
    ("for_s", "step_s", "age_s"),
    [
        pytest.param(0, 5, 120, id="nothing to judge, but a picture"),
        pytest.param(60, 5, 120, id="a minute"),
        pytest.param(112, 5, 130, id="rounded up"),
        pytest.param(585, 5, 600, id="all that is kept finely"),
        pytest.param(600, 60, 660, id="beyond it"),
        pytest.param(86_400, 60, 3600, id="more than the broker keeps"),
    ],
)
def test_samples_reach_back_over_what_is_judged(rabbit, for_s, step_s, age_s):
    """The page is asked for samples over `for_s` and a little more, in the steps that the broker keeps."""
    samples = look(rabbit, for_s=for_s).ack_samples
    query = parse_qs(urlsplit(next(path for path in rabbit.asked if "/api/queues/" in path and "lengths_age" in path)).query)
    assert query == {
        name: [str(value)]
        for name, value in {
            "lengths_age": age_s, "lengths_incr": step_s, "msg_rates_age": age_s, "msg_rates_incr": step_s,
        }.items()
    }  # fmt: skip
    assert samples[-1][0] - samples[0][0] == age_s


@pytest.mark.parametrize("vhost", ["/", "a/b", "%2F", "日本", "x y"])
@pytest.mark.parametrize("name", NAMES)
def test_any_name_is_found_and_no_other(rabbit, vhost, name):
    """Names are encoded once and compared exactly, whatever they consist of and whatever a pattern would match."""
    rabbit.users["unstick"] = User("secret", vhosts=(vhost,))
    rabbit.queue(name.upper(), vhost, ready=90)
    rabbit.queue(f"{name}x", vhost, ready=91)
    rabbit.queues[vhost, name] = Queue(ready=3, consumers=())
    seen = look(rabbit, to_queue(vhost, name))
    assert (seen.depth, seen.consumers, seen.consumer_ids) == (3, 0, ())


@pytest.mark.parametrize(("vhost", "name"), [("/", ".."), ("..", "q"), (".", "q"), ("/", ""), ("", "q")])
def test_a_name_that_no_url_can_carry_is_refused_before_asking(rabbit, vhost, name):
    """HTTP libraries resolve `.` and `..` however they are encoded, so such a name would reach another path."""
    with pytest.raises(Denied) as refused:
        look(rabbit, to_queue(vhost, name))
    assert (refused.value.code, rabbit.asked) == ("name", [])


def test_the_url_may_have_a_path_and_a_slash_at_its_end(rabbit):
    """A management API behind a path prefix is asked under that prefix."""
    with pytest.raises(Denied):
        client.look(settings(rabbit, url=f"{rabbit.url}/rabbit/"), MAIL, for_s=60, timeout_s=PATIENCE_S)
    assert rabbit.asked
    assert all(path.startswith("/rabbit/api/") for path in rabbit.asked)


@pytest.mark.parametrize(
    "broken",
    [
        pytest.param((500, JSON, b"{}"), id="error"),
        pytest.param((404, JSON, b"{}"), id="not there"),
        pytest.param((200, "text/html", b"<html>"), id="no JSON"),
        pytest.param((200, JSON, b'{"consumer_details": 5}'), id="another form"),
        pytest.param((200, JSON, b"[]"), id="a list"),
    ],
)
def test_a_page_that_fails_leaves_the_live_depth(rabbit, broken):
    """Whatever the page answers, the depth counts, and what only the page has is not known."""
    rabbit.broken["page"] = broken
    seen = look(rabbit)
    assert (seen.depth, seen.ready, seen.unacked, seen.consumers) == (5, 4, 1, None)
    assert seen.blind is not None


def test_a_page_that_hangs_leaves_the_live_depth(rabbit):
    """A page that takes too long costs the time given and nothing else."""
    rabbit.broken["page"] = 600.0
    began = time.monotonic()
    for timeout_s in MORE_TIME_S:
        with suppress(Unavailable):  # the totals came late as well
            seen = client.look(settings(rabbit), MAIL, for_s=60, timeout_s=timeout_s)
            break
    assert (seen.depth, seen.consumers) == (5, None)
    assert time.monotonic() - began < 100.0, "it hangs for ten minutes"


def test_statistics_that_are_off_leave_consumers_unknown(rabbit):
    """None is not 0: nobody may take an unseen consumer for a missing one."""
    rabbit.statistics = False
    seen = look(rabbit)
    assert (seen.depth, seen.consumers, seen.acks, seen.ack_samples) == (5, None, None, ())


def test_a_queue_that_never_saw_a_delivery_has_no_counters(rabbit):
    """Absent is not 0: nobody knows whether somebody ever took a message."""
    rabbit.queues["/", MAIL.name] = Queue(ready=1, consumed=False)
    seen = look(rabbit)
    assert (seen.acks, seen.deliveries, seen.history.deliveries) == (None, None, ())


@pytest.mark.parametrize(
    ("details", "expected"),
    [
        pytest.param([{"consumer_tag": "t", "channel_details": []}], (" /  / t",), id="channel gone"),
        pytest.param(
            [{"consumer_tag": "t", "activity_status": "suspected_down", "channel_details": {}}], (), id="its node is lost"
        ),
        pytest.param(
            [{"consumer_tag": "t", "activity_status": "waiting", "channel_details": {"connection_name": "c", "name": "n"}}],
            ("c / n / t",),
            id="waiting single active consumer",
        ),
    ],
)
def test_consumers_as_the_broker_may_tell_them(details, expected):
    """Only consumers that can take a message count, and an odd one never hides the others."""
    totals = {"items": [{"name": "q", "messages": 1, "messages_ready": 1, "messages_unacknowledged": 0}]}
    assert read_snapshot(to_queue("/", "q"), Answers(totals, {"consumer_details": details}), at=1.0).consumer_ids == expected


def test_deliveries_without_acknowledgement_count_as_acknowledged():
    """A consumer in automatic acknowledgement mode works as well as one that acknowledges."""
    case = json.loads((RECORDINGS[0].parent / "busy-no-ack.json").read_text())["looks"][0]
    seen = read_snapshot(to_queue("/", "busy-no-ack"), Answers(case["totals"], case["page"]), at=case["at"])
    assert seen.acks == seen.ack_samples[-1][1] == case["page"]["message_stats"]["deliver_no_ack"] > 1000


@pytest.mark.parametrize("path", RECORDINGS, ids=[path.stem for path in RECORDINGS])
def test_every_recorded_look_of_a_real_broker_is_understood(path):
    """Live depth, consumers and a window of samples are there in every answer of a real broker."""
    case = json.loads(path.read_text())
    for recorded in case["looks"]:
        seen = read_snapshot(
            to_queue(case["vhost"], case["case"]), Answers(recorded["totals"], recorded["page"]), at=recorded["at"]
        )
        assert seen.depth == seen.ready + seen.unacked
        assert None not in (seen.consumers, seen.consumer_ids)
        assert seen.depth_samples[-1][0] - seen.depth_samples[0][0] >= 115  # of the 120 s that were asked for, or more
        assert -9.0 < seen.at - seen.depth_samples[-1][0] < 9.0


# --- what goes wrong -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("user", "code"),
    [
        pytest.param(User("another"), "login", id="wrong password"),
        pytest.param(User("secret", tags=()), "not_management", id="no tag"),
        pytest.param(User("secret", vhosts=("other",)), "vhost_permission", id="no permission"),
    ],
)
def test_a_user_that_may_not_is_told_what_is_missing(rabbit, user, code):
    """Each of the broker's three refusals has its own code and remedy, all of them 401."""
    rabbit.users["unstick"] = user
    with pytest.raises(Denied) as refused:
        look(rabbit)
    assert (refused.value.code, refused.value.status) == (code, 401)
    assert refused.value.remedy


@pytest.mark.parametrize(
    ("answer", "error", "code"),
    [
        pytest.param((403, "text/html", b"<html>"), Denied, "login", id="a proxy's 403"),
        pytest.param((301, JSON, b"http://127.0.0.1:1/"), Denied, "url", id="redirect"),
        pytest.param((404, JSON, b"{}"), Denied, "no_vhost", id="no vhost"),
        pytest.param((400, JSON, b"{}"), Denied, "url", id="not understood"),
        pytest.param((200, JSON, b'{"items": []}'), Unavailable, "", id="its node is down"),
        pytest.param((200, JSON, b'{"items": [{"name": "mail.delivery", "type": "stream"}]}'), Denied, "stream", id="stream"),
        pytest.param(
            (200, JSON, b'{"items": [{"name": "mail.delivery", "state": "down"}]}'), Unavailable, "", id="queue is down"
        ),
        pytest.param((200, JSON, b"[]"), Unavailable, "", id="another form"),
        pytest.param((200, "text/html", b"<html>"), Unavailable, "", id="a login page"),
        pytest.param((500, JSON, b"{}"), Unavailable, "", id="500"),
        pytest.param((503, "text/html", b"<html>"), Unavailable, "", id="503"),
        pytest.param((429, JSON, b"{}"), Unavailable, "", id="too many requests"),
    ],
)
def test_totals_that_fail_are_an_error_though_the_page_answers(rabbit, answer, error, code):
    """The page's own depth is up to 9 s old and is never taken for the live one."""
    rabbit.broken["totals"] = answer
    with pytest.raises(error) as raised:
        look(rabbit)
    assert getattr(raised.value, "code", "") == code


def test_totals_that_hang_are_late(rabbit):
    """An answer that does not come in time says that a later look may well succeed."""
    rabbit.broken["totals"] = 2.0
    with pytest.raises(Unavailable) as raised:
        client.look(settings(rabbit), MAIL, for_s=60, timeout_s=0.3)
    assert raised.value.late


def test_nobody_there_is_unavailable(rabbit, closed_port):
    """A refused connection is told as such, at once."""
    with pytest.raises(Unavailable, match="connection refused"):
        client.look(settings(rabbit, url=f"http://127.0.0.1:{closed_port}"), MAIL, for_s=60, timeout_s=PATIENCE_S)


def test_a_rotated_password_is_read_again_at_once(rabbit):
    """After a 401 the secret is distrusted, and the look goes on with the new one."""
    password = Password(now=b"old", newer=b"secret")
    assert look(rabbit, password=password).depth == 5
    assert password.distrusted == 1


def test_where_the_new_password_can_not_be_read_the_brokers_own_answer_counts(rabbit):
    """It names the user and says what to do; that the secret can't be read says the next look."""

    class Gone(Password):
        def read(self) -> bytes:
            if self.distrusted:
                raise Denied("secrets", "the secret is gone", code="missing")
            return super().read()

    with pytest.raises(Denied) as caught:
        look(rabbit, password=Gone(b"old"))
    assert caught.value.code == "login"


@pytest.mark.parametrize(("password", "requests"), [(Password(b"old"), 4), (Password(b"old", b"older"), 8)])
def test_a_wrong_password_is_tried_at_most_once_more(rabbit, password, requests):
    """Only another password is another try."""
    with pytest.raises(Denied):
        look(rabbit, password=password)
    assert len(rabbit.asked) == requests


def test_other_refusals_do_not_distrust_the_secret(rabbit):
    """A missing permission says nothing against the password."""
    rabbit.users["unstick"] = User("secret", vhosts=())
    password = Password()
    with pytest.raises(Denied):
        look(rabbit, password=password)
    assert password.distrusted == 0


def test_a_password_of_any_bytes_is_sent_as_it_is(rabbit):
    """Colons, umlauts and Japanese in a password reach the broker as UTF-8."""
    rabbit.users["unstick"] = User("pä:ss/ 密")
    assert look(rabbit, password=Password("pä:ss/ 密".encode())).depth == 5


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
    found = check(rabbit)
    assert {one.ok for one in found.values()} == {True}
    assert "4 ready, 1 unacknowledged, consumers: 1" in found[READABLE].detail
    kinds = ("channels", "clock", "statistics", "nodes", "alarms")
    assert set(found) == {LOGIN, READABLE, *(f"RabbitMQ {kind}" for kind in kinds)}


@pytest.mark.parametrize(
    ("change", "what", "ok", "word"),
    [
        pytest.param({"users": {}}, LOGIN, False, "login", id="login"),
        pytest.param({"users": {"unstick": User("secret", tags=())}}, LOGIN, False, "tag", id="no tag"),
        pytest.param({"broken": {"overview": (200, "text/html", b"<html>")}}, LOGIN, False, "JSON", id="html"),
        pytest.param(
            {"users": {"unstick": User("secret", ("administrator",))}}, "RabbitMQ rights", None, "more", id="administrator"
        ),
        pytest.param({"users": {"unstick": User("secret", vhosts=())}}, READABLE, False, "vhost", id="vhost"),
        pytest.param({"queues": {}}, READABLE, False, "no queue", id="no queue"),
        pytest.param({"statistics": False}, "RabbitMQ statistics", False, "off", id="statistics off"),
        pytest.param({"queues": {}}, "RabbitMQ statistics", None, "can't be read", id="no page"),
        pytest.param({"date": 90}, "RabbitMQ clock", False, "+", id="clock ahead"),
        pytest.param({"date": -600}, "RabbitMQ clock", False, "-", id="clock behind"),
        pytest.param({"broken": {"alarms": (503, JSON, b"{}")}}, "RabbitMQ alarms", False, "in force", id="alarm"),
        pytest.param({"broken": {"alarms": (401, JSON, b"{}")}}, "RabbitMQ alarms", None, "not readable", id="alarms hidden"),
    ],
)
def test_check_says_what_is_wrong_and_what_to_do(rabbit, change, what, ok, word):
    """Every mistake has its own line; what is wrong for certain comes with a remedy."""
    for name, value in change.items():
        # A clock is so many seconds off when it is asked, not when the tests were collected.
        setattr(rabbit, name, formatdate(time.time() + value, usegmt=True) if name == "date" else value)
    finding = check(rabbit)[what]
    assert finding.ok is ok
    assert word in str(finding.detail)
    assert finding.remedy or ok is None


def test_check_warns_of_a_password_in_the_clear(rabbit):
    """Http is allowed and warned of, except on loopback."""
    found = check(rabbit, url="http://rabbit.invalid:15672")
    assert found["RabbitMQ transport"].ok is None
    assert not found[LOGIN].ok
