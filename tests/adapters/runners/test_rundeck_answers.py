"""One exchange with Rundeck: what is sent, what each answer means, and how an execution is read."""

import json
from typing import Any

import pytest
from msgspec.structs import replace

from functions.adapters.runners.rundeck import Rundeck as Settings
from functions.adapters.runners.rundeck import answers
from functions.domain.model.observations import Execution
from functions.runtime import http_client
from functions.runtime.errors import Denied, Unavailable
from functions.runtime.http_client import Answer
from functions.runtime.secrets import SecretRef
from testbed.patience import PATIENCE_S
from tests.adapters.secret import Secret

JSON, HTML = "application/json;charset=utf-8", "Text/HTML; charset=utf-8"
RABBITMQ = "none, as RabbitMQ answers what it cannot negotiate"


class Wire:
    """What comes back, in this order (the last one again and again), and what was sent."""

    def __init__(self, *replies: tuple[int, str, Any]) -> None:
        self.replies = list(replies)
        self.sent: list[dict[str, Any]] = []

    def request(self, system: str, method: str, url: str, **more: Any) -> Answer:
        self.sent.append({"system": system, "method": method, "url": url} | more)
        status, kind, body = self.replies.pop(0) if len(self.replies) > 1 else self.replies[0]
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        headers = {"server": "Cowboy"} if kind == RABBITMQ else {"content-type": kind} if kind else {}
        return Answer(system, status, headers, content, 1.0)


def ask(
    monkeypatch: pytest.MonkeyPatch,
    wire: Wire,
    token: Any = None,
    *,
    method: str = "GET",
    within_s: float = PATIENCE_S,
    **more: Any,
) -> Answer:
    monkeypatch.setattr(http_client, "request", wire.request)
    settings = Settings("http://rundeck/prefix/", token or Secret(b"secret"), ca="/ca.pem")
    version = more.pop("api_version", answers.API_VERSION)
    to = replace(answers.connect(settings, PATIENCE_S).within(within_s), api_version=version)
    return answers.ask(to, method, "job/x/run", **more)


def test_what_is_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    """The address with its prefix and version, the token without the line break of its file, and how long it may take."""
    wire = Wire((200, JSON, {}))
    ask(monkeypatch, wire, Secret(b"  t\xf6ken\n"), method="POST", json={"a": 1})
    (sent,) = wire.sent
    assert 0 < sent.pop("timeout_s") <= PATIENCE_S
    assert sent == {
        "system": "Rundeck", "method": "POST", "url": "http://rundeck/prefix/api/41/job/x/run",
        "headers": {"X-Rundeck-Auth-Token": "t\xf6ken", "Accept": "application/json"}, "json": {"a": 1}, "ca": "/ca.pem",
    }  # fmt: skip
    ask(monkeypatch, wire, accept="application/yaml", api_version=46, within_s=2.0)
    assert wire.sent[1]["url"] == "http://rundeck/prefix/api/46/job/x/run"
    assert 0 < wire.sent[1]["timeout_s"] <= 2.0
    assert wire.sent[1]["headers"]["Accept"] == "application/yaml"
    ask(monkeypatch, wire, within_s=PATIENCE_S + 1000.0)
    assert wire.sent[2]["timeout_s"] <= PATIENCE_S


@pytest.mark.parametrize(
    ("replies", "values", "sent", "invalidated"),
    [
        pytest.param([(403, JSON, {"errorCode": "unauthorized"})], [b"a", b"b"], ["a", "b"], 1, id="refused"),
        pytest.param([(401, "", b"")], [b"a", b"b"], ["a", "b"], 1, id="a proxy's login"),
        pytest.param([(403, JSON, {"errorCode": "unauthorized"})], [b"a"], ["a"], 1, id="the same again"),
        pytest.param([(403, JSON, {"errorCode": "unauthorized"})], [b"a", Denied("secrets", "gone")], ["a"], 1, id="gone"),
        pytest.param([(403, JSON, {"errorCode": "unauthorized"})], [b"a", Unavailable("secrets", "late")], ["a"], 1, id="late"),
        pytest.param([(403, JSON, {"errorCode": "api.error.item.unauthorized"})], [b"a", b"b"], ["a"], 0, id="a missing right"),
        pytest.param([(400, JSON, {"errorCode": "unauthorized"})], [b"a", b"b"], ["a"], 0, id="another no"),
        pytest.param([(404, JSON, {"errorCode": "unauthorized"})], [b"a", b"b"], ["a"], 0, id="not there, it says"),
        pytest.param([(403, JSON, {"errorCode": "withheld"})], [b"a", b"b"], ["a"], 0, id="another refusal"),
        pytest.param([(404, JSON, {})], [b"a", b"b"], ["a"], 0, id="not there"),
    ],
)
def test_only_a_refused_token_is_read_again(
    monkeypatch: pytest.MonkeyPatch, replies: list[Any], values: list[Any], sent: list[str], invalidated: int
) -> None:
    """And only another one is tried, once: the start of a job must not be sent twice for anything else."""
    wire, token = Wire(*replies), Secret(*values)
    with pytest.raises(Denied):
        ask(monkeypatch, wire, token, method="POST")
    assert [one["headers"]["X-Rundeck-Auth-Token"] for one in wire.sent] == sent
    assert token.invalidated == invalidated


NOT_RUNDECK = "what answers there is not the Rundeck API"
ANSWERS = [
    ("GET", 200, JSON, {}, 200, None, ""),
    ("GET", 201, JSON, {}, 201, None, ""),
    ("GET", 200, "", {}, 200, None, ""),
    ("GET", 204, JSON, b"", 204, None, ""),
    ("POST", 201, JSON, {}, 200, Unavailable, "answered 201 without saying what it did"),
    ("POST", 299, JSON, {}, 200, Unavailable, "answered 299 without saying what it did"),
    ("POST", 200, HTML, b"<html>", 200, Unavailable, "answered 200 without saying what it did"),
    ("POST", 200, JSON, {}, 201, Unavailable, "answered 200 without saying what it did"),
    ("DELETE", 200, HTML, b"<html>", 204, Unavailable, "answered 200 without saying what it did"),
    ("GET", 202, JSON, {}, 200, Unavailable, "answered 202 without saying what it did"),
    ("GET", 200, HTML, b"<html>", 200, Denied, NOT_RUNDECK),
    ("GET", 300, JSON, {}, 200, Denied, NOT_RUNDECK),
    ("POST", 302, JSON, {}, 200, Denied, NOT_RUNDECK),
    ("POST", 399, JSON, {"errorCode": "api.error.job.disabled"}, 200, Denied, NOT_RUNDECK),
    ("POST", 400, JSON, {"errorCode": "api.error.job.disabled"}, 200, Denied, "executions are disabled"),
    ("POST", 400, HTML, {"errorCode": "api.error.job.disabled"}, 200, Denied, NOT_RUNDECK),
    ("GET", 401, "", b"", 200, Denied, NOT_RUNDECK),
    ("POST", 403, HTML, b"<html>", 200, Denied, NOT_RUNDECK),
    ("GET", 404, JSON, {}, 200, Denied, NOT_RUNDECK),
    ("GET", 406, RABBITMQ, b"", 200, Denied, "RabbitMQ answers there, not Rundeck"),
    ("POST", 407, "", b"", 200, Denied, "refused the request"),
    ("POST", 408, JSON, {}, 200, Unavailable, "answered 408"),
    ("POST", 409, JSON, {}, 200, Denied, "the job is already running"),
    ("POST", 425, JSON, {}, 200, Unavailable, "answered 425"),
    ("POST", 426, JSON, {}, 200, Denied, "refused the request"),
    ("POST", 429, JSON, {}, 200, Unavailable, "answered 429"),
    ("POST", 499, JSON, {}, 200, Denied, "refused the request"),
    ("POST", 500, JSON, {}, 200, Unavailable, "answered 500"),
    ("POST", 500, HTML, b"<html>", 200, Unavailable, "answered 500"),
    ("POST", 599, JSON, {}, 200, Unavailable, "answered 599"),
]


@pytest.mark.parametrize(("method", "status", "kind", "body", "expected", "error", "said"), ANSWERS)
def test_what_an_answer_means(
    monkeypatch: pytest.MonkeyPatch, method: str, status: int, kind: str, body: Any, expected: int, error: Any, said: str
) -> None:
    """A clear no is one; what leaves open whether the job runs is unknown."""
    wire = Wire((status, kind, body))
    if error is None:
        assert ask(monkeypatch, wire, method=method, expected=expected).status == status
        return
    with pytest.raises(error) as raised:
        ask(monkeypatch, wire, method=method, expected=expected)
    assert str(raised.value.detail) == said
    if error is Denied:
        assert raised.value.status == status
        assert raised.value.remedy or status == 409


@pytest.mark.parametrize(("status", "error_code"), [(400, "api.error.execution.failed"), (500, "")])
def test_no_secret_in_an_error_is_passed_on(monkeypatch: pytest.MonkeyPatch, status: int, error_code: str) -> None:
    """I8: Rundeck quotes options, and a proxy may quote headers."""
    body = {"error": True, "errorCode": error_code, "message": "no --password hunter2\x1b"}
    with pytest.raises((Denied, Unavailable), match=r"--password \*\*\*") as raised:
        ask(monkeypatch, Wire((status, JSON, body)))
    assert "hunter2" not in str(raised.value)
    assert "\x1b" not in str(raised.value)


@pytest.mark.parametrize("headers", [{}, {"date": "today"}, {"date": ""}])
def test_a_clock_that_can_not_be_read(headers: dict[str, str]) -> None:
    """Without it no age is known."""
    with pytest.raises(Unavailable, match="no usable Date header"):
        answers.runner_now(Answer("Rundeck", 200, headers, b"", 1.0))


def read(**row: Any) -> Execution:
    settings = Settings("http://rundeck/", SecretRef("env://NONE"))
    return answers.execution_of({"id": 5, "status": "running", "project": "a/b"} | row, settings)


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        ({}, {}),
        ({"id": "5"}, {}),
        ({"status": "other", "customStatus": "odd"}, {"status": "other: odd"}),
        ({"status": "other", "customStatus": ""}, {"status": "other"}),
        ({"status": "s" * 60}, {"status": "s" * 60}),
        ({"status": "s" * 61}, {"status": "s" * 60 + "..."}),
        ({"user": "u" * 101}, {"user": "u" * 100 + "..."}),
        ({"user": None}, {}),
        ({"job": {"options": {"unstick_incident": "t" * 100}}}, {"tag": "t" * 100}),
        ({"job": {"options": {"unstick_incident": "t" * 101}}}, {"tag": "t" * 100 + "..."}),
        ({"job": {"options": {"unstick_not_after": "180"}}}, {"runner_not_after": 180.0}),
        ({"job": {"options": {"unstick_not_after": "180000000000"}}}, {"runner_not_after": 180_000_000_000.0}),
        ({"job": {"options": {"unstick_not_after": "1800000000000"}}}, {}),
        ({"job": {"options": {"unstick_not_after": "²"}}}, {}),
        ({"job": {"options": {"unstick_not_after": "-5"}}}, {}),
        ({"status": "scheduled"}, {"status": "scheduled", "scheduled": True}),
        ({"status": "queued"}, {"status": "queued", "scheduled": True}),
        (
            {"status": "queued", "date-ended": {"unixtime": 2500}},
            {"status": "queued", "scheduled": False, "runner_ended_at": 2.5},
        ),
        ({"date-started": {"unixtime": 1500}}, {"runner_started_at": 1.5}),
        ({"date-started": {"unixtime": 1500.5}}, {"runner_started_at": 1.5005}),
        ({"date-started": {"unixtime": "1500"}}, {}),
        ({"date-started": {}}, {}),
        ({"date-started": 1500}, {}),
        ({"permalink": "http://rundeck/p"}, {"url": "http://rundeck/p"}),
        ({"permalink": "http://rundeck/" + "p" * 485}, {"url": "http://rundeck/" + "p" * 485}),
        ({"permalink": "http://rundeck/" + "p" * 486}, {"url": "http://rundeck/" + "p" * 485 + "..."}),
        ({"permalink": "http://rundecker/p"}, {}),
        ({"permalink": 5}, {}),
        ({"project": None}, {"url": "http://rundeck/project//execution/show/5"}),
    ],
)
def test_how_an_execution_is_read(row: dict[str, Any], expected: dict[str, Any]) -> None:
    """Each field by itself: what is odd in it is not known, and what is too long is cut."""
    known = {"url": "http://rundeck/project/a%2Fb/execution/show/5", "status": "running"} | expected
    assert read(**row) == Execution("5", **known)


@pytest.mark.parametrize(
    "row", [{"id": None}, {"id": "²"}, {"id": "5a"}, {"id": -5}, {"id": ""}, {"status": None}, {"status": 5}]
)
def test_an_execution_without_a_number_or_status_is_unknown(row: dict[str, Any]) -> None:
    """Nobody could follow it."""
    with pytest.raises(Unavailable, match="without an id or a status"):
        read(**row)
