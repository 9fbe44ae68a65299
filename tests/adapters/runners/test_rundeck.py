"""Rundeck's adapter, one exchange at a time: what is sent, starting the job once, what each answer means, stopping."""

import json
import time
from contextlib import nullcontext
from typing import Any

import pytest
from msgspec.structs import replace

from functions.adapters.runners.rundeck import Rundeck as Settings
from functions.adapters.runners.rundeck import answers
from functions.application.ports import Mismatch
from functions.domain.model.alerts import Target
from functions.runtime import http_client
from functions.runtime.errors import Denied, Unavailable
from functions.runtime.http_client import Answer
from testbed.doubles.rundeck import Job, Rundeck
from testbed.patience import MORE_TIME_S, PATIENCE_S, wait_until
from tests.adapters.runners.systems import AT, RECORDINGS, SETTINGS, Said, recorded
from tests.adapters.secret import Secret

JOB = Job().id
MAIL = Target("t", "http://rundeck", JOB, {"service": "mail"})
JSON, HTML = "application/json;charset=utf-8", "Text/HTML; charset=utf-8"


@pytest.mark.parametrize(
    ("fault", "taken"), [("500", 0), ("500_after", 1), ("drop", 1), ("refuse", 0), ("garbage", 1), ("late", 1), ("html", 0)]
)
def test_answer_that_says_nothing_is_unknown_and_never_sent_again(
    double: Rundeck, settings: Settings, fault: Any, taken: int
) -> None:
    """After 5xx, a lost connection, a time-out or half an answer the job may run: Unavailable, and exactly one request.

    I1: what was started shows in the next look with its tag.
    """
    double.fault("POST", "/run", fault, times=9, seconds=600.0)
    for timeout_s in MORE_TIME_S if fault == "late" else (PATIENCE_S,):
        tag = f"within.{timeout_s:g}"
        with pytest.raises(Unavailable):
            settings.run(MAIL, tag=tag, runner_not_after=time.time() + 60, timeout_s=timeout_s)
        posts = [sent for sent in double.posts() if tag.encode() in sent.body]
        if posts:
            break
    assert len(posts) == 1

    def started() -> list[str]:
        rows = settings.look(MAIL, since_s=600.0, follow=None, tail=False, timeout_s=PATIENCE_S).executions
        return [row.tag for row in rows if row.tag == tag]

    wait_until(started, lambda tags: tags == [tag] * taken)


@pytest.mark.parametrize(
    ("echo", "named"),
    [
        ({"service": "mail", "unstick_incident": "i.1", "unstick_not_after": "1800000060", "note": ""}, ""),
        ({"service": "mails", "unstick_incident": "i.1"}, "service, unstick_not_after"),
        ({"service": "mail", "unstick_incident": "i.1", "unstick_not_after": "1800000060", "b": "x", "a": "y"}, "a, b"),
        ({"service": "mail", "unstick_incident": "i.1", "unstick_not_after": "1800000060", "host": ".*"}, ""),
        (None, "service, unstick_incident, unstick_not_after"),
    ],
)
def test_the_options_that_came_through(said: Said, echo: Any, named: str) -> None:
    """What runs must run with exactly what was sent; what differs is named. Without a holder its option has the default."""
    said.bodies["/run"] = {"id": 5, "status": "running", "project": "p", "job": None if echo is None else {"options": echo}}
    target = replace(MAIL, options={"service": "mail", "note": ""}, holder="host")
    with pytest.raises(Mismatch) if named else nullcontext() as mismatch:
        runs = SETTINGS.run(target, tag="i.1", runner_not_after=AT + 60.9, timeout_s=PATIENCE_S)
    if mismatch:
        assert f"Some options have other values: {named}. Declare" in str(mismatch.value.remedy)
        runs = mismatch.value.execution
    assert (runs.id, runs.url, runs.ended) == ("5", "http://rundeck/project/p/execution/show/5", False)
    assert said.sent == {"options": {"service": "mail", "unstick_incident": "i.1", "unstick_not_after": "1800000060"}}


class Wire:
    """What comes back each time, and what was sent."""

    def __init__(self, status: int, kind: str, body: Any) -> None:
        self.headers = {"content-type": kind} if kind else {}
        self.status, self.body = status, body if isinstance(body, bytes) else json.dumps(body).encode()
        self.sent: list[dict[str, Any]] = []

    def request(self, system: str, method: str, url: str, **more: Any) -> Answer:
        self.sent.append({"system": system, "method": method, "url": url} | more)
        return Answer(system, self.status, self.headers, self.body, 1.0)

    def ask(self, monkeypatch: pytest.MonkeyPatch, token: Any = None, *, method: str = "GET", **more: Any) -> Answer:
        monkeypatch.setattr(http_client, "request", self.request)
        settings = Settings("http://rundeck/prefix/", token or Secret(b"secret"), ca="/ca.pem")
        return answers.ask(answers.connect(settings, PATIENCE_S), method, "job/x/run", **more)


def test_what_is_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    """The address with its prefix and version, the token without the line break of its file, and how long it may take."""
    wire = Wire(200, JSON, {})
    wire.ask(monkeypatch, Secret(b"  t\xf6ken\n"), method="POST", json={"a": 1})
    (sent,) = wire.sent
    assert 0 < sent.pop("timeout_s") <= PATIENCE_S
    assert sent == {
        "system": "Rundeck", "method": "POST", "url": "http://rundeck/prefix/api/41/job/x/run",
        "headers": {"X-Rundeck-Auth-Token": "t\xf6ken", "Accept": "application/json"}, "json": {"a": 1}, "ca": "/ca.pem",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("status", "error_code", "values", "sent", "invalidated"),
    [
        pytest.param(403, "unauthorized", [b"a", b"b"], ["a", "b"], 1, id="refused"),
        pytest.param(401, "", [b"a", b"b"], ["a", "b"], 1, id="a proxy's login"),
        pytest.param(403, "unauthorized", [b"a"], ["a"], 1, id="the same again"),
        pytest.param(403, "unauthorized", [b"a", Denied("secrets", "gone")], ["a"], 1, id="gone"),
        pytest.param(403, "api.error.item.unauthorized", [b"a", b"b"], ["a"], 0, id="a missing right"),
        pytest.param(400, "unauthorized", [b"a", b"b"], ["a"], 0, id="another no"),
    ],
)
def test_only_a_refused_token_is_read_again(
    monkeypatch: pytest.MonkeyPatch, status: int, error_code: str, values: list[Any], sent: list[str], invalidated: int
) -> None:
    """And only another one is tried, once: the start of a job must not be sent twice for anything else."""
    wire, token = Wire(status, JSON, {"errorCode": error_code} if error_code else b""), Secret(*values)
    with pytest.raises(Denied):
        wire.ask(monkeypatch, token, method="POST")
    assert [request["headers"]["X-Rundeck-Auth-Token"] for request in wire.sent] == sent
    assert token.invalidated == invalidated


MEANINGS = {
    "does not accept the token": "auth-403 executions-of-job-token-revoked",
    "what answers there is not the Rundeck API": "auth-302 api-404",
    "the token's role ": "acl-403 job-info-403 abort-403 system-mode-403 executions-of-job-no-event",
    "refused the request": (
        "api-400 job-definition-json-415 project-meta-41 api-405 run-400-runAtTime project-executions-400 "
        "import-not-yaml token-duration tokens-create"
    ),
    "the job is already running": "run-409",
    "the project is disabled": "project-404-disabled",
    "there is no such job, project or execution": (
        "project-executions-404 run-404 job-executions-404 execution- output-404 abort-404 token-info"
    ),
    "the job does not accept these options": "run-400-missing run-400-value run-400-regex run-400-two run-400-list run-400-json",
    "executions are disabled": "run-400-job-execution-disabled run-400-project run-project-executions-disabled",
    "is in passive mode": "run-400-passive-mode run-refused-passive",
    "answered 500": "run-500",
}
"""What Unstick says -> the beginnings of the names of the recordings of which it says so."""
ERRORS = [path.stem for path in sorted(RECORDINGS.glob("*.json")) if recorded(path.stem)["status"] >= 300]
NOT_ASKED = ("system-mode-passive-503", "run-400-passive-mode-runAtTime")


@pytest.mark.parametrize("name", [name for name in ERRORS if not name.startswith(NOT_ASKED)])
def test_recorded_errors_have_a_remedy(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """Every recorded no of Rundeck means something to the user, in its own words where they help; none has the token."""
    exchange = recorded(name)
    with pytest.raises((Denied, Unavailable)) as raised:
        Wire(exchange["status"], exchange["headers"].get("content-type", ""), exchange["body"]).ask(monkeypatch, method="POST")
    error: Any = raised.value
    (meaning,) = [meaning for meaning, names in MEANINGS.items() if name.startswith(tuple(names.split()))]
    assert str(error.detail).startswith(meaning)
    assert isinstance(error, Unavailable) or error.remedy or meaning == "the job is already running"
    assert "these options" not in meaning or answers.quoted(exchange["body"]["message"]) in str(error)
    assert "Token:" not in str(error)


NOT_RUNDECK = "what answers there is not the Rundeck API"
DISABLED = {"errorCode": "api.error.job.disabled"}


@pytest.mark.parametrize(
    ("method", "status", "kind", "body", "error", "detail"),
    [
        ("GET", 200, "", {}, None, ""),
        ("POST", 200, HTML, b"<html>", Unavailable, "answered 200 without saying what it did"),
        ("GET", 200, HTML, b"<html>", Denied, NOT_RUNDECK),
        ("GET", 300, JSON, {}, Denied, NOT_RUNDECK),
        ("POST", 400, HTML, DISABLED, Denied, NOT_RUNDECK),
        ("GET", 401, "", b"", Denied, NOT_RUNDECK),
        ("GET", 404, JSON, {}, Denied, NOT_RUNDECK),
        ("POST", 407, "", b"", Denied, "refused the request"),
        *(("POST", silent, JSON, {}, Unavailable, f"answered {silent}") for silent in (408, 425, 429)),
        ("POST", 500, HTML, b"<html>", Unavailable, "answered 500"),
    ],
)
def test_what_an_answer_of_something_else_means(
    monkeypatch: pytest.MonkeyPatch, method: str, status: int, kind: str, body: Any, error: Any, detail: str
) -> None:
    """Of a proxy, or another server: a clear no is one; what leaves open whether the job runs is unknown."""
    with pytest.raises(error) if error else nullcontext() as raised:
        assert Wire(status, kind, body).ask(monkeypatch, method=method).status == status
    if raised:
        assert str(raised.value.detail) == detail
        assert error is Unavailable or (raised.value.status == status and raised.value.remedy)


@pytest.mark.parametrize(("status", "error_code"), [(400, "api.error.execution.failed"), (500, "")])
def test_no_secret_in_an_error_is_passed_on(monkeypatch: pytest.MonkeyPatch, status: int, error_code: str) -> None:
    """I8: Rundeck quotes options, and a proxy may quote headers."""
    body = {"error": True, "errorCode": error_code, "message": "no --password hunter2\x1b"}
    with pytest.raises((Denied, Unavailable), match=r"--password \*\*\*") as raised:
        Wire(status, JSON, body).ask(monkeypatch)
    assert "hunter2" not in str(raised.value)
    assert "\x1b" not in str(raised.value)


@pytest.mark.parametrize(
    ("done", "left", "ended", "refused"),
    [
        ("failed", "running", False, "could not abort: busy"), ("failed", "succeeded", True, ""),
        ("pending", "running", False, ""), ("aborted", "aborted", True, ""), (Denied("Rundeck", "no"), "running", False, "no"),
        (Denied("Rundeck", "no"), "succeeded", True, ""),
    ],
)  # fmt: skip
def test_what_an_abort_came_to(said: Said, done: Any, left: str, ended: bool, refused: str) -> None:
    """Only an abort that failed while the execution goes on is none; what is seen after it is what counts."""
    answer = {"abort": {"status": done, "reason": "busy"}, "execution": {"status": "running"}}
    said.bodies["execution/5/abort"] = done if isinstance(done, Denied) else answer
    said.bodies["execution/5"] = {"id": 5, "status": left, **({"date-ended": {"unixtime": 1}} if ended else {})}
    with pytest.raises(Denied, match=refused) if refused else nullcontext():
        aborted = SETTINGS.abort("5", timeout_s=PATIENCE_S)
        assert (aborted.status, aborted.ended) == (left, ended)
