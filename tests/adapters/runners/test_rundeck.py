"""Rundeck's adapter, one exchange at a time: what is sent, starting the job once, what each answer means, stopping."""

import json
import math
import time
from typing import Any

import pytest
from msgspec.structs import replace

from functions.adapters.runners.rundeck import Rundeck as Settings
from functions.adapters.runners.rundeck import answers
from functions.application.ports import Mismatch
from functions.domain.model.alerts import Target
from functions.domain.model.observations import Execution
from functions.runtime import http_client
from functions.runtime.errors import Denied, Unavailable
from functions.runtime.http_client import Answer
from testbed.doubles.rundeck import INCIDENT, OWN, TOKEN, Job, Option, Rundeck
from testbed.patience import MORE_TIME_S, PATIENCE_S, wait_until
from tests.adapters.runners.systems import AT, RECORDINGS, SETTINGS, Said, recorded
from tests.adapters.secret import Secret

JOB = Job().id
MAIL = Target("t", "http://rundeck", JOB, {"service": "mail"})
JSON, HTML = "application/json;charset=utf-8", "Text/HTML; charset=utf-8"
RABBITMQ = "none, as RabbitMQ answers what it cannot negotiate"


def run(settings: Settings, target: Target = MAIL, *, tag: str = "inc.1", timeout_s: float = PATIENCE_S) -> Execution:
    return settings.run(target, tag=tag, runner_not_after=time.time() + 60, timeout_s=timeout_s)


# --- starting


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
            run(settings, tag=tag, timeout_s=timeout_s)
        posts = [sent for sent in double.posts() if tag.encode() in sent.body]
        if posts:
            break
    assert len(posts) == 1

    def started() -> int:
        with double.state.lock:
            return sum(run.options[INCIDENT] == tag for run in double.state.runs.values())

    assert wait_until(started, lambda count: count == taken) == taken
    rows = settings.look(MAIL, since_s=600.0, follow=None, tail=False, timeout_s=PATIENCE_S).executions
    assert [row.tag for row in rows if row.tag == tag] == [tag] * taken


ALL_HOSTS = Option("host", default=".*", regex=r"^([0-9.]+|[.][*])$")


def test_a_start_may_be_limited_to_a_host(double: Rundeck, settings: Settings) -> None:
    """Without one it runs on all, by the option's default, which is no mismatch; the nodes are those of the filter."""
    double.state.nodes = {"mail-1": ("consumers",), "mail-2": ("consumers",)}
    double.state.hostnames = {"mail-1": "10.0.3.7", "mail-2": "10.0.3.8"}
    double.state.jobs[JOB].options = (Option("service"), ALL_HOSTS, *OWN)
    double.state.jobs[JOB].nodes = "tags: consumers hostname: ${option.host}"
    for options, host in (({}, ".*"), ({"host": "10.0.3.7"}, "10.0.3.7"), ({"host": "10.0.9.9"}, "")):
        started = run(settings, replace(MAIL, holder="host", options={**MAIL.options, **options}))
        taken = double.state.runs[int(started.id)]
        assert json.loads(double.posts()[-1].body)["options"].get("host") == options.get("host")
        assert taken.carried_out == bool(host)
        assert not host or taken.options["host"] == host
        double.state.finish(taken.id)


@pytest.mark.parametrize(
    ("echo", "named"),
    [
        ({"service": "mail", "unstick_incident": "i.1", "unstick_not_after": "1800000060", "note": ""}, ""),
        ({"service": "mails", "unstick_incident": "i.1"}, "service, unstick_not_after"),
        ({"service": "mail", "unstick_incident": "i.1", "unstick_not_after": "1800000060", "b": "x", "a": "y"}, "a, b"),
        (None, "service, unstick_incident, unstick_not_after"),
    ],
)
def test_the_options_that_came_through(said: Said, echo: Any, named: str) -> None:
    """What runs must run with exactly what was sent; what differs is named."""
    said.bodies["/run"] = {"id": 5, "status": "running", "project": "p", "job": None if echo is None else {"options": echo}}
    target, arguments = replace(MAIL, options={"service": "mail", "note": ""}), {"runner_not_after": AT + 60.9}
    if named:
        with pytest.raises(Mismatch, match="execution 5 runs with options that were not sent") as denied:
            SETTINGS.run(target, tag="i.1", timeout_s=PATIENCE_S, **arguments)
        assert f"Some options have other values: {named}. Declare" in str(denied.value.remedy)
        runs = denied.value.execution
        assert (runs.id, runs.url, runs.ended) == ("5", "http://rundeck/project/p/execution/show/5", False)
    else:
        assert SETTINGS.run(target, tag="i.1", timeout_s=PATIENCE_S, **arguments).id == "5"
    assert said.sent == {"options": {"service": "mail", "unstick_incident": "i.1", "unstick_not_after": "1800000060"}}


# --- an exchange


class Wire:
    """What comes back each time, and what was sent."""

    def __init__(self, status: int, kind: str, body: Any) -> None:
        self.headers = {"server": "Cowboy"} if kind == RABBITMQ else {"content-type": kind} if kind else {}
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


@pytest.mark.parametrize("within_s", [2.0, PATIENCE_S + 1000.0])
def test_one_question_of_several_may_have_less_time_and_another_version(monkeypatch: pytest.MonkeyPatch, within_s: float) -> None:
    """Never more time than all of them have together."""
    wire, token = Wire(200, JSON, {}), Secret(b"t")
    monkeypatch.setattr(http_client, "request", wire.request)
    to = answers.connect(replace(SETTINGS, token=token), PATIENCE_S).within(within_s)
    answers.ask(replace(to, api_version=46), "GET", "job/x", accept="application/yaml")
    (sent,) = wire.sent
    assert (sent["url"], sent["headers"]["Accept"]) == ("http://rundeck/api/46/job/x", "application/yaml")
    assert 0 < sent["timeout_s"] <= min(within_s, PATIENCE_S)


@pytest.mark.parametrize(
    ("status", "error_code", "values", "sent", "invalidated"),
    [
        pytest.param(403, "unauthorized", [b"a", b"b"], ["a", "b"], 1, id="refused"),
        pytest.param(401, "", [b"a", b"b"], ["a", "b"], 1, id="a proxy's login"),
        pytest.param(403, "unauthorized", [b"a"], ["a"], 1, id="the same again"),
        pytest.param(403, "unauthorized", [b"a", Denied("secrets", "gone")], ["a"], 1, id="gone"),
        pytest.param(403, "unauthorized", [b"a", Unavailable("secrets", "late")], ["a"], 1, id="late"),
        pytest.param(403, "api.error.item.unauthorized", [b"a", b"b"], ["a"], 0, id="a missing right"),
        pytest.param(403, "withheld", [b"a", b"b"], ["a"], 0, id="another refusal"),
        pytest.param(400, "unauthorized", [b"a", b"b"], ["a"], 0, id="another no"),
        pytest.param(404, "unauthorized", [b"a", b"b"], ["a"], 0, id="not there, it says"),
        pytest.param(404, "", [b"a", b"b"], ["a"], 0, id="not there"),
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


EXPECTED = {
    "auth-403-no-token": "token", "auth-403-bad-token": "token", "auth-403-deleted-token": "token", "auth-403-bearer": "token",
    "auth-302": "wrong_url", "acl-403": "acl", "job-info-403": "acl", "abort-403": "acl", "system-mode-403": "acl",
    "api-400": "api_version", "api-404": "wrong_url", "api-405": "refused", "run-409": "busy", "run-404": "job",
    "run-400-missing": "option", "run-400-value": "option", "run-400-regex": "option", "run-400-two": "option",
    "run-400-list": "option", "run-400-json": "option", "run-400-job-execution-disabled": "disabled",
    "run-400-project": "disabled", "run-400-passive": "passive", "run-refused-passive": "passive",
    "run-400-runAtTime": "refused",
    "job-definition-json-415": "api_version", "project-404-disabled": "project", "project-executions-404": "project",
    "project-executions-400": "refused", "job-executions-404": "job", "execution-404": "job", "execution-deleted": "job",
    "output-404": "job", "abort-404": "job", "state-404-no": "job", "state-404": "job", "executions-of-job-no-event": "acl",
    "executions-of-job-token-revoked": "token", "import-not-yaml": "refused", "project-meta-41": "api_version",
    "run-project-executions-disabled": "disabled", "token-duration-too-long": "duration",
    "tokens-create-without-right": "may_create",
    "token-info-by-itself": "job", "run-500": "",
}  # fmt: skip


MEANINGS = {
    "token": "does not accept the token", "wrong_url": "what answers there is not the Rundeck API", "acl": "the token's role ",
    "api_version": "does not support this API version", "refused": "refused the request", "busy": "the job is already running",
    "job": "there is no such job or execution", "option": "the job does not accept these options",
    "disabled": "executions are disabled", "passive": "is in passive mode", "project": "the job's project is missing",
    "duration": "does not issue tokens that last so long", "may_create": "does not let this token create tokens for others",
    "": "answered 500: unable to create execution",
}  # fmt: skip


def recorded_errors() -> list[str]:
    names = [path.stem for path in sorted(RECORDINGS.glob("*.json")) if recorded(path.stem)["status"] >= 300]
    return [name for name in names if not name.startswith(("webhook-", "system-mode-passive-503"))]


@pytest.mark.parametrize("name", recorded_errors())
def test_recorded_errors_have_a_remedy(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """Every recorded no of Rundeck means something to the user, in its own words where they help; none has the token."""
    exchange = recorded(name)
    with pytest.raises((Denied, Unavailable)) as raised:
        Wire(exchange["status"], exchange["headers"].get("content-type", ""), exchange["body"]).ask(monkeypatch, method="POST")
    error: Any = raised.value
    meaning = EXPECTED[max((key for key in EXPECTED if name.startswith(key)), key=len)]
    assert str(error.detail).startswith(MEANINGS[meaning])
    assert isinstance(error, Unavailable) or error.remedy or meaning == "busy"
    assert meaning != "option" or answers.quoted(exchange["body"]["message"]) in str(error)
    assert "Token:" not in str(error)


NOT_RUNDECK = "what answers there is not the Rundeck API"
DISABLED = {"errorCode": "api.error.job.disabled"}


@pytest.mark.parametrize(
    ("method", "status", "kind", "body", "expected", "error", "detail"),
    [
        ("GET", 200, "", {}, 200, None, ""),
        ("GET", 201, JSON, {}, 201, None, ""),
        ("GET", 204, JSON, b"", 204, None, ""),
        ("POST", 201, JSON, {}, 200, Unavailable, "answered 201 without saying what it did"),
        ("POST", 200, JSON, {}, 201, Unavailable, "answered 200 without saying what it did"),
        ("GET", 202, JSON, {}, 200, Unavailable, "answered 202 without saying what it did"),
        ("POST", 299, JSON, {}, 200, Unavailable, "answered 299 without saying what it did"),
        ("POST", 200, HTML, b"<html>", 200, Unavailable, "answered 200 without saying what it did"),
        ("DELETE", 200, HTML, b"<html>", 204, Unavailable, "answered 200 without saying what it did"),
        ("GET", 200, HTML, b"<html>", 200, Denied, NOT_RUNDECK),
        ("GET", 300, JSON, {}, 200, Denied, NOT_RUNDECK),
        ("POST", 399, JSON, DISABLED, 200, Denied, NOT_RUNDECK),
        ("POST", 400, HTML, DISABLED, 200, Denied, NOT_RUNDECK),
        ("GET", 401, "", b"", 200, Denied, NOT_RUNDECK),
        ("POST", 403, HTML, b"<html>", 200, Denied, NOT_RUNDECK),
        ("GET", 404, JSON, {}, 200, Denied, NOT_RUNDECK),
        ("GET", 406, RABBITMQ, b"", 200, Denied, "RabbitMQ answers there, not Rundeck"),
        ("POST", 407, "", b"", 200, Denied, "refused the request"),
        ("POST", 408, JSON, {}, 200, Unavailable, "answered 408"),
        ("POST", 425, JSON, {}, 200, Unavailable, "answered 425"),
        ("POST", 426, JSON, {}, 200, Denied, "refused the request"),
        ("POST", 429, JSON, {}, 200, Unavailable, "answered 429"),
        ("POST", 499, JSON, {}, 200, Denied, "refused the request"),
        ("POST", 500, HTML, b"<html>", 200, Unavailable, "answered 500"),
        ("POST", 599, JSON, {}, 200, Unavailable, "answered 599"),
    ],
)
def test_what_an_answer_of_something_else_means(
    monkeypatch: pytest.MonkeyPatch, method: str, status: int, kind: str, body: Any, expected: int, error: Any, detail: str
) -> None:
    """Of a proxy, or another server: a clear no is one; what leaves open whether the job runs is unknown."""
    wire = Wire(status, kind, body)
    if error is None:
        assert wire.ask(monkeypatch, method=method, expected=expected).status == status
        return
    with pytest.raises(error) as raised:
        wire.ask(monkeypatch, method=method, expected=expected)
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


# --- abort


def test_abort(double: Rundeck, settings: Settings) -> None:
    """A running one is stopped; one that has ended is fine, whatever the token may; all else is a no."""
    double.state.jobs[JOB].duration_s = math.inf
    run(settings)
    assert settings.abort("1", timeout_s=PATIENCE_S).aborted_by == "unstick"
    assert settings.look(MAIL, since_s=600.0, follow=None, tail=False, timeout_s=PATIENCE_S).executions[0].status == "aborted"
    run(settings)
    double.tokens = {TOKEN: "viewer"}
    for number, code in (("77", "job"), ("2", "acl")):
        with pytest.raises(Denied) as denied:
            settings.abort(number, timeout_s=PATIENCE_S)
        assert denied.value.code == code
    assert settings.abort("1", timeout_s=PATIENCE_S).ended


@pytest.mark.parametrize(
    ("done", "left", "ended", "stopped"),
    [
        ("failed", "running", False, False), ("failed", "succeeded", True, True), ("pending", "running", False, True),
        ("aborted", "running", False, True), ("aborted", "aborted", True, True),
    ],
)  # fmt: skip
def test_what_an_abort_came_to(said: Said, done: str, left: str, ended: bool, stopped: bool) -> None:
    """Only an abort that failed while the execution goes on is none; what is seen after it is what counts."""
    said.bodies["execution/5/abort"] = {"abort": {"status": done, "reason": "busy"}, "execution": {"status": "running"}}
    said.bodies["execution/5"] = {"id": 5, "status": left, **({"date-ended": {"unixtime": 1}} if ended else {})}
    if stopped:
        aborted = SETTINGS.abort("5", timeout_s=PATIENCE_S)
        assert (aborted.status, aborted.ended) == (left, ended)
    else:
        with pytest.raises(Denied, match="could not abort: busy") as denied:
            SETTINGS.abort("5", timeout_s=PATIENCE_S)
        assert denied.value.status == 200
