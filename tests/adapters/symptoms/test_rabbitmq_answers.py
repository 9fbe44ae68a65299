"""What RabbitMQ's answers come to: each field and status, what is asked for, and each line of `check`."""

import json
from email.utils import formatdate
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import pytest

from functions.adapters.symptoms.rabbitmq import RabbitMQ, checks, client, to_queue
from functions.adapters.symptoms.rabbitmq.answers import good, json_or_none, live, login_failed, sees_all, tags_of
from functions.adapters.symptoms.rabbitmq.snapshot import read_snapshot
from functions.application.ports import Finding, Query
from functions.domain.model.alerts import QueueRef
from functions.domain.model.observations import QueueSnapshot
from functions.domain.model.runbooks import Symptom
from functions.runtime.errors import Denied, Unavailable
from functions.runtime.http_client import Answer
from testbed.looks import look_once
from testbed.patience import PATIENCE_S
from tests.adapters.secret import Secret

AT = 1_800_000_000.0
MAIL = to_queue("/", "mail")
LATE = Unavailable("rabbitmq", "no answer in the time given")


def answered(body: Any, status: int = 200, date: float | None = AT) -> Answer:
    headers = {} if date is None else {"date": formatdate(date, usegmt=True)}
    return Answer("rabbitmq", status, headers, body if isinstance(body, bytes) else json.dumps(body).encode(), AT)


def total(**more: Any) -> dict[str, Any]:
    item = {"name": "mail", "messages": 5, "messages_ready": 4, "messages_unacknowledged": 1} | more
    return {"items": [{"name": "Mail", "messages": 9}, item]}


def seen(page: Any = None, **more: Any) -> QueueSnapshot:
    return read_snapshot(MAIL, total(**more), page, at=7.0)


# --- a queue --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("page", "said"),
    [
        (None, "the page of 'mail' in vhost '/' could not be read"),
        ({"consumer_details": 5}, "rabbitmq: sent an unknown form of answer"),
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
    assert seen(messages=9).depth == 5
    assert seen(messages=0, messages_ready=0, messages_unacknowledged=0).depth == 0


@pytest.mark.parametrize(
    ("more", "page", "said"),
    [
        ({"type": "quorum", "members": ["a", "b", "c"], "online": ["a"]}, None, "1 of 3 nodes are online"),
        ({"type": "quorum", "state": "minority"}, None, "has lost its majority"),
        ({"name": "another"}, {"name": "mail", "node": "rabbit@two"}, "its node rabbit@two is down"),
        ({"type": "quorum", "messages": 0, "messages_ready": 0, "messages_unacknowledged": 0},
            {"messages": 5, "consumer_details": []}, "may have changed its leader just now"),
    ],
)  # fmt: skip
def test_a_depth_that_can_not_be_trusted_is_none(more: dict[str, Any], page: Any, said: str) -> None:
    """A lost majority, a node that is down, the seconds after a leader changed."""
    with pytest.raises(Unavailable) as raised:
        seen(page, **more)
    assert said in str(raised.value)


@pytest.mark.parametrize("lacking", ["messages", "messages_ready", "messages_unacknowledged"])
@pytest.mark.parametrize(("state", "said"), [("down", "down"), ("", "unknown")])
def test_totals_that_are_not_complete_are_unknown(lacking: str, state: str, said: str) -> None:
    """A queue whose node is away has none."""
    with pytest.raises(Unavailable, match=rf"no current totals of 'mail' in vhost '/' \(state: {said}\)"):
        seen(**{lacking: None, "state": state})


@pytest.mark.parametrize("kind", ["classic", "quorum", "x-of-a-plugin"])
def test_depth_is_that_of_all_queues_but_streams(kind: str) -> None:
    """Those keep what was read."""
    assert seen(type=kind).depth == 5
    with pytest.raises(Denied, match="is a stream") as denied:
        seen(type="stream")
    assert denied.value.remedy


def consumer(tag: str, **more: Any) -> dict[str, Any]:
    return {"consumer_tag": tag, "channel_details": {"connection_name": "c", "name": "n"}} | more


@pytest.mark.parametrize(
    ("details", "count", "consumers", "ids"),
    [
        ([], None, 0, ()),
        ([], 3, 3, ()),
        ([consumer("b"), consumer("a")], None, 2, ("c / n / a", "c / n / b")),
        ([consumer("b"), consumer("a")], 0, 2, ("c / n / a", "c / n / b")),
        ([consumer("a", activity_status="cancelled"), consumer("b", activity_status="single_active")], None, 1, ("c / n / b",)),
        ([consumer("a", activity_status="suspected_down")], 1, 1, ()),
    ],
)
def test_consumers_are_counted_by_the_broker(details: Any, count: Any, consumers: int, ids: tuple[str, ...]) -> None:
    """Its count is up to 9 s late: where more are listed that can take a message, these are counted."""
    snapshot = seen({"consumers": count, "consumer_details": details})
    assert (snapshot.consumers, snapshot.consumer_ids) == (consumers, ids)


@pytest.mark.parametrize(("head", "head_at"), [(1700, 1700.0), (1700.5, 1700.5), ("", None), ("1700", None), (None, None)])
def test_when_the_oldest_was_published(head: Any, head_at: float | None) -> None:
    """Where publishers say so."""
    assert seen({"consumer_details": [], "head_message_timestamp": head}).head_at == head_at


@pytest.mark.parametrize(
    ("totals", "page", "head", "held"),
    [
        ({"messages_ready": 1, "messages_unacknowledged": 2}, (1, 2), 100, 300),
        ({"messages_ready": 2, "messages_unacknowledged": 2}, (2, 2), None, 300),
        ({"messages_ready": 2, "messages_unacknowledged": int("1000")}, (2, int("1000")), None, 300),
        ({"messages_ready": 1, "messages_unacknowledged": 2}, (2, 3), None, None),
        ({"messages_ready": 2, "messages_unacknowledged": 0}, (1, 0), None, None),
        ({"messages_ready": 0, "messages_unacknowledged": 1}, (0, 2), None, None),
        ({"messages_ready": 1, "messages_unacknowledged": 1}, (None, None), None, None),
    ],
)
def test_sizes_are_those_of_the_same_moment(totals: dict[str, int], page: tuple[Any, Any], head: Any, held: Any) -> None:
    """The page may be seconds older than the totals: where they differ, the sizes are of other messages."""
    sizes = {"messages_ready": page[0], "message_bytes_ready": 100}
    sizes |= {"messages_unacknowledged": page[1], "message_bytes_unacknowledged": 300}
    snapshot = seen({"consumer_details": []} | sizes, **totals)
    assert (snapshot.head_bytes, snapshot.held_bytes) == (head, held)


# --- statuses -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "error"),
    [
        (201, Denied), (299, Denied), (300, Denied), (399, Denied), (400, Denied), (401, Denied), (402, Denied), (403, Denied),
        (404, Denied), (408, Unavailable), (409, Denied), (429, Unavailable), (430, Denied), (499, Denied), (500, Unavailable),
        (599, Unavailable),
    ],
)  # fmt: skip
def test_what_a_status_means(status: int, error: type[Exception]) -> None:
    """A clear no comes with a remedy; the rest passes."""
    with pytest.raises(error) as raised:
        good(answered({}, status))
    said: Any = raised.value
    redirected = ", a redirect" if 300 <= status < 400 else ""
    is_login = status in (401, 403)
    assert str(said.detail) == ("the login failed" if is_login else f"answered {status}{redirected}")
    assert error is Unavailable or (said.status, bool(said.remedy)) == (status, True)
    assert json_or_none(answered({}, status)) is None
    assert login_failed(answered({}, status)) is is_login


def test_what_is_no_answer() -> None:
    """An error in its place is raised; the list alone tells of a vhost that is not there."""
    with pytest.raises(Unavailable):
        good(LATE)
    assert json_or_none(LATE) is None
    assert json_or_none(answered(b"<html>")) is None
    assert json_or_none(answered({"a": 1})) == {"a": 1}
    assert not login_failed(LATE)
    with pytest.raises(Denied, match="there is no vhost '/'") as denied:
        live(answered({}, 404), MAIL)
    assert (denied.value.status, "%2F" in str(denied.value.remedy)) == (404, True)
    with pytest.raises(Denied, match="answered 400"):
        live(answered({}, 400), MAIL)
    with pytest.raises(Denied, match="answered 405"):
        live(answered({}, 405), MAIL)


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b'{"reason": "Not Management user"}', "the user has no management tag"),
        (b"x" * 981 + b"not management user", "the user has no management tag"),
        (b"x" * 982 + b"not management user", "the login failed"),
        (b"User not authorised to access virtual host\xff", "the user may not see this vhost"),
        (b"", "the login failed"),
    ],
)
def test_why_a_login_was_refused(body: bytes, said: str) -> None:
    """By the broker's own words, which stand at the beginning. Only a failed login suggests another password."""
    with pytest.raises(Denied) as denied:
        good(answered(body, 401))
    assert (str(denied.value.detail), denied.value.status, bool(denied.value.remedy)) == (said, 401, True)
    assert login_failed(answered(body, 401)) is (said == "the login failed")


@pytest.mark.parametrize(
    ("whoami", "tags", "all_seen"),
    [
        (answered({"tags": ["management", "monitoring"]}), {"management", "monitoring"}, True),
        (answered({"tags": "management,administrator"}), {"management", "administrator"}, True),
        (answered({"tags": ["management"]}), {"management"}, False),
        (answered({}), {""}, False),
        (answered([]), None, False),
        (answered({}, 401), None, False),
        (LATE, None, False),
    ],
)
def test_the_tags_of_the_user(whoami: Any, tags: set[str] | None, all_seen: bool) -> None:
    """A list, or a text before 3.9. Two of them show everybody's channels."""
    assert sees_all(whoami) is all_seen
    if tags is None:
        with pytest.raises((Denied, Unavailable)):
            tags_of(whoami)
    else:
        assert tags_of(whoami) == tags


# --- what is asked for ----------------------------------------------------------------------------------------------------


def names_in(path: str) -> tuple[str, str]:
    """The vhost of a list request, and its pattern."""
    parts = urlsplit(path)
    query = parse_qs(parts.query)
    assert {name: values[0] for name, values in query.items() if name != "name"} == {
        "disable_stats": "true", "enable_queue_totals": "true", "page": "1", "page_size": "100", "use_regex": "true",
    }  # fmt: skip
    return unquote(parts.path.rpartition("/")[2]), query["name"][0]


def test_queues_of_a_vhost_are_asked_for_together() -> None:
    """Each once, by a pattern that matches their names alone."""
    queues = [to_queue("/", "b"), to_queue("v", "c.d"), to_queue("/", "a|x"), to_queue("/", "b")]
    asked = client.list_queues(queues)
    assert [names_in(path) for path in asked] == [("/", r"^(?:b|a\|x)$"), ("v", r"^c\.d$")]
    assert list(asked.values()) == [[queues[0], queues[2]], [queues[1]]]
    assert client.list_queues([]) == {}


@pytest.mark.parametrize(
    ("sizes", "parts"),
    [
        ([1250, 1250], [2]), ([1250, 1251], [1, 1]), ([2499, 1], [2]), ([2499, 2], [1, 1]), ([2500, 1, 2499, 1], [1, 2, 1]),
        ([2600, 10], [1, 1]), ([100] * 26, [25, 1]),
    ],
)  # fmt: skip
def test_a_request_has_so_many_bytes_of_names(sizes: list[int], parts: list[int]) -> None:
    """2,500, as they are encoded; a name that alone has more is asked for alone."""
    queues = [to_queue("/", f"{chr(97 + number)}{'x' * (size - 1)}") for number, size in enumerate(sizes)]
    assert [len(part) for part in client.list_queues(queues).values()] == parts


@pytest.mark.parametrize(
    ("for_s", "step_s", "age_s"),
    [
        (0.0, 5, 120), (35.0, 5, 120), (35.1, 5, 125), (60.0, 5, 195), (195.0, 5, 600), (584.9, 5, 600), (585.0, 5, 600),
        (585.1, 60, 660), (645.0, 60, 660), (645.1, 60, 720), (3585.0, 60, 3600), (3600.0, 60, 3600),
    ],
)  # fmt: skip
def test_how_far_back_samples_are_asked_for(for_s: float, step_s: int, age_s: int) -> None:
    """Three times what is judged where samples are fine, and 15 s more, rounded up to a step; two minutes at least and an hour at
    most. Of the page only what is used is requested."""
    path, _, query = client.page_path(to_queue("a/b", "c d"), for_s).partition("?")
    assert path == "/api/queues/a%2Fb/c%20d"
    wanted = {"lengths_age": age_s, "lengths_incr": step_s, "msg_rates_age": age_s, "msg_rates_incr": step_s}
    asked = parse_qs(query)
    columns = asked.pop("columns")[0].split(",")
    assert asked == {name: [f"{value}"] for name, value in wanted.items()}
    assert {"consumers", "message_stats.get_details.samples", "consumer_details.channel_details.user"} <= set(columns)
    assert len(query) < 1500, "many proxies take no longer line than 4,096 bytes"


class Wire:
    """A broker behind `request`: what it says by a part of the path, and how long each question may take."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, **said: Any) -> None:
        self.said = said
        self.times: dict[str, float] = {}
        self.asked: list[dict[str, Any]] = []
        monkeypatch.setattr(client, "request", self.request)

    def request(self, system: str, method: str, url: str, *, timeout_s: float, **more: Any) -> Answer:
        path = url.removeprefix("http://rabbit/x")
        path = path.partition("&columns")[0]
        kind = next(part for part in ("whoami", "overview", "alarms", "totals", "channels", "connections", "") if part in path)
        self.times[kind or "page"] = timeout_s
        self.asked.append({"system": system, "method": method} | {name: more[name] for name in ("auth", "ca")})
        body = self.said.get(kind or "page", LATE)
        if isinstance(body, Exception):
            raise body
        return body if isinstance(body, Answer) else answered(body)


SETTINGS = RabbitMQ("http://rabbit/x/", "unstick", Secret(b"secret"), ca="/ca.pem")  # type: ignore[arg-type]
HELD = {
    "consumers": 1,
    "consumer_details": [{"consumer_tag": "t", "channel_details": {"name": "n", "connection_name": "c", "peer_host": "h"}}],
}


def test_what_goes_over_the_wire(monkeypatch: pytest.MonkeyPatch) -> None:
    """The user's name and password, and the certificates to trust; each request has a deadline; none of `check` is cut short."""
    wire = Wire(monkeypatch, totals=total(), page=HELD, whoami={"tags": []})
    assert look_once(client.look_all, SETTINGS, MAIL).depth == 5
    assert wire.asked == [{"system": "rabbitmq", "method": "GET", "auth": (b"unstick", b"secret"), "ca": "/ca.pem"}] * 3
    assert wire.times["whoami"] == 1.0
    assert wire.times["page"] == 0.8 * PATIENCE_S < wire.times["totals"] <= PATIENCE_S
    wire = Wire(monkeypatch, totals=total(), page=HELD, whoami={"tags": []}, overview={})
    findings = checks.check(SETTINGS, Symptom("rabbitmq", dict(MAIL.keys)), {}, timeout_s=PATIENCE_S)
    assert {one.what for one in findings if one.ok is False} == set()
    assert set(wire.times) == {"overview", "whoami", "totals", "page"}
    assert min(wire.times.values()) > 1.0


def test_names_that_no_url_can_carry_are_told_and_the_others_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each has its own place."""
    Wire(monkeypatch, totals=total(), page=LATE, whoami=LATE)
    queues = (to_queue("/", ".."), MAIL, to_queue("", "mail"), to_queue("/", "gone"))
    queries = [Query(queue, 60.0) for queue in queues]
    first, mail, third, gone = client.look_all(SETTINGS, queries, timeout_s=PATIENCE_S)
    assert (mail.depth, mail.blind is not None) == (5, True)  # type: ignore[union-attr]
    assert [isinstance(one, Denied) for one in (first, third, gone)] == [True] * 3
    assert str(gone.detail).startswith("there is no queue")  # type: ignore[union-attr]


# --- check ----------------------------------------------------------------------------------------------------------------


def lines(queue: QueueRef = MAIL, **changes: Any) -> dict[str, Finding]:
    said = {
        "overview": answered({"rabbitmq_version": "3.13"}), "whoami": answered({"tags": ["monitoring"]}),
        "nodes": answered([{"name": "a", "running": True, "uptime": 1}]), "totals": answered(total()), "page": answered(HELD),
    }  # fmt: skip
    findings = checks.findings("unstick", queue, checks.Asked(**(said | changes)))
    assert len({one.what for one in findings}) == len(findings)
    return {str(one.what): one for one in findings}


READABLE = "RabbitMQ queue 'mail' in vhost '/'"


def test_a_broker_as_it_should_be() -> None:
    """Each line says what was found, and has no remedy; a login that fails is all that is reported."""
    assert {(what, one.ok, str(one.detail), str(one.remedy)) for what, one in lines().items()} == {
        ("RabbitMQ answers and knows unstick", True, "version 3.13", ""),
        ("RabbitMQ rights", True, "each consumer's work is seen", ""),
        (READABLE, True, "4 ready, 1 unacknowledged, consumers: 1", ""),
        ("RabbitMQ statistics", True, "on", ""),
    }  # fmt: skip
    assert list(lines(overview=answered({}, 401))) == ["RabbitMQ answers and knows unstick"]


@pytest.mark.parametrize(
    ("changes", "what", "ok", "detail"),
    [
        ({"overview": answered({})}, "RabbitMQ answers and knows unstick", True, "version not told"),
        ({"overview": answered([])}, "RabbitMQ answers and knows unstick", False, "sent an unknown form of answer"),
        ({"overview": LATE}, "RabbitMQ answers and knows unstick", False, "no answer in the time given"),
        ({"totals": answered({"items": []})}, READABLE, False, "there is no queue 'mail' in vhost '/'"),
        ({"totals": LATE}, READABLE, False, "no answer in the time given"),
        ({"page": LATE}, READABLE, True, "4 ready, 1 unacknowledged, consumers: not known"),
        ({"page": LATE}, "RabbitMQ statistics", None, "the page of 'mail' in vhost '/' can't be read: no answer in the time"),
        ({"page": answered({})}, "RabbitMQ statistics", False, "off"),
        ({"page": answered({"consumer_details": []})}, "RabbitMQ statistics", True, "on"),
        ({"whoami": answered({"tags": ["management"]})}, "RabbitMQ rights", None, "one consumer of several that hangs is not"),
        ({"whoami": LATE}, "RabbitMQ rights", None, "one consumer of several that hangs is not"),
        ({"page": LATE}, READABLE, True, "4 ready"),
    ],
)  # fmt: skip
def test_what_check_says_of_an_answer(changes: dict[str, Any], what: str, ok: bool | None, detail: str) -> None:
    """To the second; what is wrong comes with a remedy, and what is right has none."""
    line = lines(**changes)[what]
    assert line.ok is ok
    assert str(line.detail).startswith(detail)
    assert bool(line.remedy) is (ok is False or what == "RabbitMQ rights")


@pytest.mark.parametrize(
    "recording",
    ["3.10/agent-off", "3.10/stats-off", "4.0/agent-off", "4.0/collection-denied", "4.3/agent-off", "4.3/collection-denied"],
)
def test_check_names_the_switches_that_may_have_turned_statistics_off(recording: str) -> None:
    """The answers don't tell which one it was; on 3.10 a node with the third one in its configuration does not start."""
    folder = Path(__file__).parents[2] / "recordings" / "rabbitmq" / "answers"
    said = json.loads((folder / f"{recording}.json").read_text())["looks"][0]["answers"]
    found = lines(**{name: answered(said[name]["body"], said[name]["status"]) for name in ("overview", "page", "nodes")})
    line = found["RabbitMQ statistics"]
    assert (line.ok, str(line.detail)) == (False, "off")
    for switch in ("disable_metrics_collector = false", "disable_stats = false", "from 4.0 on deprecated_features.permit"):
        assert switch in str(line.remedy)
    assert "RabbitMQ nodes" not in found


@pytest.mark.parametrize("version", ["4.0", "4.3"])
def test_check_names_a_node_without_the_management_agent(version: str) -> None:
    """What is connected there is not seen, so nothing can be proved."""
    path = Path(__file__).parents[2] / "recordings" / "rabbitmq" / "answers" / version / "statistics-on-one.json"
    nodes = json.loads(path.read_text())["looks"][0]["answers"]["nodes"]["body"]
    line = lines(nodes=answered(nodes))["RabbitMQ nodes"]
    assert (line.ok, str(line.detail)) == (False, f"without statistics: {nodes[1]['name']}")
    assert "rabbitmq_management_agent" in str(line.remedy)
    for others in (answered([nodes[0], {"name": "b", "running": False}]), answered({}, 401)):
        assert "RabbitMQ nodes" not in lines(nodes=others)


@pytest.mark.parametrize(
    ("tags", "more"),
    [
        ("policymaker,administrator,management", "administrator, policymaker"),
        (["administrator"], "administrator"),
        (["management", "monitoring"], ""),
    ],
)
def test_rights_that_nobody_needs_are_pointed_out(tags: Any, more: str) -> None:
    """All in one line, with what to give instead."""
    line = lines(whoami=answered({"tags": tags}))["RabbitMQ rights"]
    assert line.ok is (None if more else True)
    assert str(line.detail) == (f"the user is {more}: more than it needs" if more else "each consumer's work is seen")
    assert ("monitoring" in str(line.remedy)) is bool(more)


NO_VHOST, MAY_NOT = answered({"error": "x"}, 404), answered({"reason": "access virtual host"}, 401)


@pytest.mark.parametrize(
    ("keys", "labels", "totals", "what", "ok", "detail"),
    [
        ({"vhost": "v", "queue": "${labels.q}"}, {}, answered({"items": []}), "queues in vhost v", True, "can be seen"),
        ({"vhost": "v", "queue": "${labels.q}"}, {}, MAY_NOT, "queues in vhost v", False, "may not"),
        ({"vhost": "v", "queue": "${labels.q}"}, {}, NO_VHOST, "queues in vhost v", False, "there is no vhost 'v'"),
        ({"vhost": "v", "queue": "${labels.q}"}, {}, LATE, "queues in vhost v", False, "no answer"),
        ({"vhost": "${labels.v}", "queue": "${labels.q}"}, {"v": "w"}, LATE, "queues in vhost w", False, "no answer"),
        ({"vhost": "${labels.v}", "queue": "a"}, {}, LATE, "the queue", None, "missing here: the label v"),
        ({"vhost": "${labels.v}", "queue": "${labels.q}"}, {"q": "x"}, LATE, "the queue", None, "missing here: the label v"),
        ({"vhost": "${labels.v}", "queue": "${labels.q}"}, {}, LATE, "the queue", None, "missing here: the labels v and q"),
    ],
)
def test_a_queue_that_only_an_alert_names(
    monkeypatch: pytest.MonkeyPatch,
    keys: dict[str, str], labels: dict[str, str], totals: Any, what: str, ok: bool | None, detail: str,
) -> None:  # fmt: skip
    """Where its vhost is known, whether its queues can be seen; else which labels are missing. Nothing tells of another queue."""
    Wire(monkeypatch, totals=totals, page=LATE, whoami={"tags": ["monitoring"]}, overview={})
    *before, line = checks.check(SETTINGS, Symptom("rabbitmq", keys), labels, timeout_s=PATIENCE_S)
    assert (line.what, line.ok) == (what, ok)
    assert detail in str(line.detail)
    assert checks.PROBE not in str([line, *before])
    if what == "the queue":
        missing = detail.removeprefix("missing here: the label").removeprefix("s").strip().split(" and ")
        assert line.remedy == "To check one, add: " + " ".join(f"--label {name}=..." for name in missing)


@pytest.mark.parametrize(
    ("keys", "labels", "ok", "detail"),
    [
        ({"vhost": "v", "queue": "${labels.q}"}, {"q": "x" * 256}, False, "queue: 256 bytes, the limit is 255"),
        ({"vhost": "v", "queue": "${labels.q}"}, {"q": "x" * 1025}, False, 'queue, label "q": 1,025 characters'),
        ({"vhost": "${labels.v}", "queue": "a"}, {"v": "a\tb"}, False, 'vhost: it contains control characters: "a\\tb"'),
        ({"vhost": "${labels.v}", "queue": "${labels.q}"}, {"v": "x" * 256, "q": "a"}, False, "vhost: 256 bytes"),
        ({"vhost": "${labels.v}", "queue": "${labels.q}"}, {"v": "x" * 256}, None, "missing here: the label q"),
    ],
)
def test_a_label_that_can_not_be_used_is_named(
    monkeypatch: pytest.MonkeyPatch, keys: dict[str, str], labels: dict[str, str], ok: bool | None, detail: str
) -> None:
    """An alert with it would restart nothing; where another label is missing, that one is asked for first."""
    Wire(monkeypatch, totals=LATE, page=LATE, whoami={"tags": []}, overview={})
    line = checks.check(SETTINGS, Symptom("rabbitmq", keys), labels, timeout_s=PATIENCE_S)[-1]
    assert (line.what, line.ok) == ("the queue", ok)
    assert detail in str(line.detail)
    assert (line.remedy == "To check one, add: --label q=...") is (ok is None)
    assert line.remedy
