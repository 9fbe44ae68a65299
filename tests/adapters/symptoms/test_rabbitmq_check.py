"""What goes over the wire to RabbitMQ, and each line of `check`."""

import json
from typing import Any

import pytest

from functions.adapters.symptoms.rabbitmq import RabbitMQ, checks, client
from functions.application.ports import Finding
from functions.domain.model.alerts import QueueRef
from functions.domain.model.runbooks import Symptom
from functions.runtime.http_client import Answer
from testbed.looks import look_once
from testbed.patience import PATIENCE_S
from tests.adapters.secret import Secret
from tests.adapters.symptoms.test_rabbitmq_answers import LATE, MAIL, answered, total
from tests.support.recorded import RABBITMQ


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
        *(({"whoami": said}, "RabbitMQ rights", None, "one consumer of several that hangs is not")
            for said in (LATE, answered({}), answered([]), answered({}, 401))),
        ({"whoami": answered({"tags": ["administrator"]})}, "RabbitMQ rights", None, "the user is administrator: more than it"),
        ({"whoami": answered({"tags": ["policymaker", "administrator", "management"]})}, "RabbitMQ rights", None,
            "the user is administrator, policymaker: more than it needs"),
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
    folder = RABBITMQ / "answers"
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
    path = RABBITMQ / "answers" / version / "statistics-on-one.json"
    nodes = json.loads(path.read_text())["looks"][0]["answers"]["nodes"]["body"]
    line = lines(nodes=answered(nodes))["RabbitMQ nodes"]
    assert (line.ok, str(line.detail)) == (False, f"without statistics: {nodes[1]['name']}")
    assert "rabbitmq_management_agent" in str(line.remedy)
    for others in (answered([nodes[0], {"name": "b", "running": False}]), answered({}, 401)):
        assert "RabbitMQ nodes" not in lines(nodes=others)


NO_VHOST, MAY_NOT = answered({"error": "x"}, 404), answered({"reason": "access virtual host"}, 401)
BY_ALERT = {"vhost": "${labels.v}", "queue": "${labels.q}"}


@pytest.mark.parametrize(
    ("labels", "totals", "what", "ok", "detail"),
    [
        ({"v": "w"}, answered({"items": []}), "queues in vhost w", True, "can be seen"),
        ({"v": "w"}, MAY_NOT, "queues in vhost w", False, "may not"),
        ({"v": "w"}, NO_VHOST, "queues in vhost w", False, "there is no vhost 'w'"),
        ({"v": "w"}, LATE, "queues in vhost w", False, "no answer"),
        ({"q": "x"}, LATE, "the queue", None, "missing here: the label v"),
        ({}, LATE, "the queue", None, "missing here: the labels v and q"),
        ({"v": "x" * 256}, LATE, "the queue", None, "missing here: the label q"),
        ({"v": "v", "q": "x" * 256}, LATE, "the queue", False, "queue: 256 bytes, the limit is 255"),
        ({"v": "v", "q": "x" * 1025}, LATE, "the queue", False, 'queue, label "q": 1,025 characters'),
        ({"v": "v", "q": ".."}, LATE, "the queue", False, "queue: no URL can name a vhost or queue '..'"),
        ({"v": ".", "q": "a"}, LATE, "the queue", False, "vhost: no URL can name a vhost or queue '.'"),
        ({"v": "a\tb", "q": "a"}, LATE, "the queue", False, 'vhost: it contains control characters: "a\\tb"'),
    ],
)
def test_a_queue_that_only_an_alert_names(
    monkeypatch: pytest.MonkeyPatch, labels: dict[str, str], totals: Any, what: str, ok: bool | None, detail: str
) -> None:
    """Where its vhost is known, whether its queues can be seen; else which labels are missing, or can't be used. Nothing tells of
    another queue."""
    Wire(monkeypatch, totals=totals, page=LATE, whoami={"tags": ["monitoring"]}, overview={})
    *before, line = checks.check(SETTINGS, Symptom("rabbitmq", BY_ALERT), labels, timeout_s=PATIENCE_S)
    assert (line.what, line.ok) == (what, ok)
    assert detail in str(line.detail)
    assert checks.PROBE not in str([line, *before])
    if what == "the queue" and ok is None:
        missing = detail.removeprefix("missing here: the label").removeprefix("s").strip().split(" and ")
        assert line.remedy == "To check one, add: " + " ".join(f"--label {name}=..." for name in missing)


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
    findings = lines(page=answered(page)).values()
    losses = [one for one in findings if "survive a restart" in one.what]
    assert [(one.ok, one.detail) for one in losses] == [(None, detail) for detail in details]
    assert all(one.remedy for one in losses)
