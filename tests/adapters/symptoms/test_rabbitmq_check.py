"""Each line of `check` for RabbitMQ."""

import json
from typing import Any

import pytest

from functions.adapters.symptoms.rabbitmq import RabbitMQ, checks
from functions.application.ports import Finding
from functions.domain.model.runbooks import Symptom
from testbed.doubles.rabbitmq import RabbitDouble
from testbed.patience import PATIENCE_S
from tests.adapters.secret import Secret
from tests.support.recorded import RABBITMQ

MAIL = {"vhost": "/", "queue": "mail"}
LOGIN, RIGHTS, STATISTICS, NODES = (f"RabbitMQ {what}" for what in ("answers and knows unstick", "rights", "statistics", "nodes"))
READABLE, USERS, LOSSES = (
    f"{before}'mail' in vhost '/'{after}"
    for before, after in (("RabbitMQ queue ", ""), ("users of ", ""), ("messages of ", " survive a restart"))
)
DOWN, REFUSED = (503, {}), (401, {})


def lines(labels: dict[str, str] | None = None, keys: dict[str, str] = MAIL, users: Any = (), **said: Any) -> dict[str, Finding]:
    """Of a queue with messages and a consumer. `said`: bodies of other answers, some with a status."""
    with RabbitDouble() as rabbit:
        rabbit.queue("mail", ready=4, unacked=1)
        for kind, answer in said.items():
            status, body = answer if isinstance(answer, tuple) else (200, answer)
            rabbit.broken[kind] = (status, "application/json", json.dumps(body).encode())
        settings = RabbitMQ(rabbit.url, "unstick", Secret(b"secret"))  # type: ignore[arg-type]
        symptom = Symptom("rabbitmq", keys, keeps_nothing=True, users=users)
        findings = settings.check(symptom, labels or {}, timeout_s=PATIENCE_S)
    assert len({one.what for one in findings}) == len(findings)
    return {str(one.what): one for one in findings}


def test_a_broker_as_it_should_be() -> None:
    """Each line says what was found, and has no remedy; a login that fails is all that is reported."""
    assert {(what, one.ok, str(one.detail), str(one.remedy)) for what, one in lines(users=("mail",)).items()} == {
        (LOGIN, True, "version 3.10.8", ""),
        (RIGHTS, True, "each consumer's work is seen", ""),
        (READABLE, True, "4 ready, 1 unacknowledged, consumers: 1", ""),
        (STATISTICS, True, "on", ""),
        (USERS, True, "mail", ""),
    }  # fmt: skip
    assert list(lines(overview=REFUSED)) == [LOGIN]


@pytest.mark.parametrize(
    ("said", "what", "ok", "detail"),
    [
        ({"overview": {}}, LOGIN, True, "version not told"),
        ({"overview": "\ud800"}, LOGIN, False, "sent an unknown form of answer"),
        ({"totals": {"items": []}, "page": (404, {})}, READABLE, False, "there is no queue 'mail' in vhost '/'"),
        ({"totals": DOWN}, READABLE, False, "answered 503"),
        ({"page": DOWN}, READABLE, True, "4 ready, 1 unacknowledged, consumers: not known"),
        ({"page": DOWN}, STATISTICS, None, "the page of 'mail' in vhost '/' can't be read: answered 503"),
        *(({"whoami": said}, RIGHTS, None, "one consumer of several that hangs is not")
            for said in ({"tags": ["management"]}, {"tags": []}, [], DOWN)),
        ({"users": ("post",)}, USERS, None, "mail consumes it too: what such a channel holds proves nothing"),
    ],
)  # fmt: skip
def test_what_check_says_of_an_answer(said: dict[str, Any], what: str, ok: bool | None, detail: str) -> None:
    """What is wrong comes with a remedy."""
    line = lines(**said)[what]
    assert line.ok is ok
    assert str(line.detail).startswith(detail)
    assert line.remedy or ok is not False


@pytest.mark.parametrize(
    "recording",
    ["3.10/agent-off", "3.10/stats-off", "4.0/agent-off", "4.0/collection-denied", "4.3/agent-off", "4.3/collection-denied"],
)
def test_check_names_the_switches_that_may_have_turned_statistics_off(recording: str) -> None:
    """The answers don't tell which one it was; on 3.10 a node with the third one in its configuration does not start."""
    answers = json.loads((RABBITMQ / "answers" / f"{recording}.json").read_text())["looks"][0]["answers"]
    found = lines(**{name: (answers[name]["status"], answers[name]["body"]) for name in ("overview", "page")})
    line = found[STATISTICS]
    assert (line.ok, str(line.detail)) == (False, "off")
    for switch in ("disable_metrics_collector = false", "disable_stats = false", "from 4.0 on deprecated_features.permit"):
        assert switch in str(line.remedy)


BY_ALERT = {"vhost": "${labels.v}", "queue": "${labels.q}"}


@pytest.mark.parametrize(
    ("labels", "totals", "what", "ok", "detail"),
    [
        ({"v": "w"}, {"items": []}, "queues in vhost w", True, "can be seen"),
        ({"v": "w"}, (401, {"reason": "access virtual host"}), "queues in vhost w", False, "no such vhost"),
        ({"v": "w"}, (404, {"error": "x"}), "queues in vhost w", False, "no such vhost"),
        ({"q": "x"}, DOWN, "the queue", None, "missing here: the label v"),
        ({}, DOWN, "the queue", None, "missing here: the labels v and q"),
        ({"v": "v", "q": "x" * 256}, DOWN, "the queue", False, "queue: 256 bytes, the limit is 255"),
        ({"v": "v", "q": ".."}, DOWN, "the queue", False, "queue: no URL can name a vhost or queue '..'"),
        ({"v": "a\tb", "q": "a"}, DOWN, "the queue", False, 'vhost: it contains control characters: "a\\tb"'),
    ],
)
def test_a_queue_that_only_an_alert_names(labels: dict[str, str], totals: Any, what: str, ok: bool | None, detail: str) -> None:
    """Where its vhost is known, whether its queues can be seen; else which labels are missing, or can't be used. Nothing tells of
    another queue."""
    found = lines(labels, BY_ALERT, totals=totals)
    *_, line = found.values()
    assert (line.what, line.ok) == (what, ok)
    assert detail in str(line.detail)
    assert checks.PROBE not in str(found)


QUORUM = {"type": "quorum", "delivery_limit": 20, "consumer_details": []}
LETTERS = {"arguments": {"x-dead-letter-exchange": "dlx"}}


@pytest.mark.parametrize(
    ("page", "detail"),
    [
        ({"type": "classic", "consumer_details": []}, ""),
        (QUORUM | LETTERS, ""),
        (QUORUM, "after 20 returns RabbitMQ drops a message; every consumer that ends returns what it holds"),
        (QUORUM | LETTERS | {"delivery_limit": 6}, ""),
        (QUORUM | LETTERS | {"delivery_limit": 5},
            "its delivery limit is 5, as few as the restarts of one incident may be (limits.attempts)"),
        ({"auto_delete": True}, "the queue is auto-delete: it goes with its consumer, and all messages with it"),
        ({"exclusive": True}, "the queue is exclusive: it goes with its consumer, and all messages with it"),
    ],
)  # fmt: skip
def test_check_warns_of_what_a_restart_may_cost(page: Any, detail: str) -> None:
    """It is a warning: the owner of the queue decides."""
    line = lines(page=page).get(LOSSES, Finding(LOSSES, None))
    assert (line.ok, line.detail, bool(line.remedy)) == (None, detail, bool(detail))
