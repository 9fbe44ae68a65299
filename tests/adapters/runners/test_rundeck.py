"""The Rundeck room: starting the job once, refusals, and stopping."""

import json
import math
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace
from pytest_httpserver import HTTPServer

from functions.adapters.runners.rundeck import answers, client
from functions.adapters.runners.rundeck.settings import Settings
from functions.runtime.errors import Denied, Unavailable
from testbed.doubles.rundeck import INCIDENT, OWN, TOKEN, Option, Rundeck
from testbed.patience import MORE_TIME_S, PATIENCE_S, wait_until
from tests.adapters.runners.calls import JOB, MAIL, look, run

RECORDINGS = Path(__file__).parents[2] / "recordings" / "rundeck"


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
            return sum(one.options[INCIDENT] == tag for one in double.state.runs.values())

    assert wait_until(started, lambda count: count == taken) == taken
    assert [execution.tag for execution in look(settings).executions if execution.tag == tag] == [tag] * taken


ALL_HOSTS = Option("host", default=".*", regex=r"^([0-9.]+|[.][*])$")
HELD_ON = replace(MAIL, holder="host")


def test_a_start_may_be_limited_to_a_host(double: Rundeck, settings: Settings) -> None:
    """Without one it runs on all, by the option's default, which is no mismatch; the nodes are those of the filter."""
    double.state.nodes = {"mail-1": ("consumers",), "mail-2": ("consumers",)}
    double.state.hostnames = {"mail-1": "10.0.3.7", "mail-2": "10.0.3.8"}
    double.state.jobs[JOB].options = (Option("service"), ALL_HOSTS, *OWN)
    double.state.jobs[JOB].nodes = "tags: consumers hostname: ${option.host}"
    for tag, options, host in (
        ("inc.1", {}, ".*"),
        ("inc.2", {"host": "10.0.3.7"}, "10.0.3.7"),
        ("inc.3", {"host": "10.0.9.9"}, ""),
    ):
        started = run(settings, replace(HELD_ON, options={**MAIL.options, **options}), tag=tag)
        taken = double.state.runs[int(started.id)]
        assert [json.loads(sent.body)["options"].get("host") for sent in double.posts()][-1] == options.get("host")
        assert taken.carried_out == bool(host)
        assert not host or taken.options["host"] == host
        double.state.finish(taken.id)


# --- refusals

EXPECTED = {
    "auth-403-no-token": "token", "auth-403-bad-token": "token", "auth-403-deleted-token": "token", "auth-403-bearer": "token",
    "auth-302": "wrong_url", "acl-403": "acl", "job-info-403": "acl", "abort-403": "acl", "system-mode-403": "acl",
    "api-400": "api_version", "api-404": "wrong_url", "api-405": "refused", "run-409": "busy", "run-404": "job",
    "run-400-missing": "option", "run-400-value": "option", "run-400-regex": "option", "run-400-two": "option",
    "run-400-list": "option", "run-400-json": "option", "run-400-job-execution-disabled": "disabled",
    "run-400-project": "disabled", "run-400-passive": "passive", "run-refused-passive": "passive",
    "run-400-runAtTime": "refused",
    "job-definition-json-415": "api_version", "project-404-disabled": "disabled", "project-executions-404": "job",
    "project-executions-400": "refused", "job-executions-404": "job", "execution-404": "job", "execution-deleted": "job",
    "output-404": "job", "abort-404": "job", "state-404-no": "job", "state-404": "job", "executions-of-job-no-event": "acl",
    "executions-of-job-token-revoked": "token", "import-not-yaml": "refused", "project-meta-41": "api_version",
    "run-project-executions-disabled": "disabled", "token-duration-too-long": "duration",
    "tokens-create-without-right": "refused",
    "token-info-by-itself": "job", "run-500": "",
}  # fmt: skip


def recorded_errors() -> list[tuple[str, Any]]:
    recorded = [(path.stem, json.loads(path.read_text())) for path in sorted(RECORDINGS.glob("*.json"))]
    return [one for one in recorded if one[1]["status"] >= 300 and not one[0].startswith(("webhook-", "system-mode-passive-503"))]


@pytest.mark.parametrize(("name", "exchange"), recorded_errors(), ids=[name for name, _ in recorded_errors()])
def test_recorded_errors_have_a_code_and_a_remedy(httpserver: HTTPServer, settings: Settings, name: str, exchange: Any) -> None:
    """Every recorded no of Rundeck means something to the user, in its own words where they help; none has the token."""
    headers = {key: value for key, value in exchange["headers"].items() if key != "set-cookie"}
    httpserver.expect_request("/api/41/job/x/run").respond_with_data(json.dumps(exchange["body"]), exchange["status"], headers)
    to = answers.connect(replace(settings, url=httpserver.url_for("")), PATIENCE_S)
    with pytest.raises((Denied, Unavailable)) as raised:
        answers.ask(to, "POST", "job/x/run", json={})
    said: Any = raised.value
    code = EXPECTED[max((key for key in EXPECTED if name.startswith(key)), key=len)]
    assert getattr(said, "code", "") == code
    assert isinstance(said, Unavailable) or said.remedy or code == "busy"
    assert code != "option" or answers.quoted(exchange["body"]["message"]) in str(said)
    assert code or str(said) == "Rundeck: answered 500: unable to create execution"
    assert "Token:" not in str(said)


# --- abort


def test_abort(double: Rundeck, settings: Settings) -> None:
    """A running one is stopped; one that has ended is fine; an unknown one and a missing permission are a no."""
    double.state.jobs[JOB].duration_s = math.inf
    run(settings)
    assert client.abort(settings, "1", timeout_s=PATIENCE_S).aborted_by == "unstick"
    assert look(settings).executions[0].status == "aborted"
    again = client.abort(settings, "1", timeout_s=PATIENCE_S)
    assert (again.status, again.ended) == ("aborted", True)
    with pytest.raises(Denied) as denied:
        client.abort(settings, "77", timeout_s=PATIENCE_S)
    assert denied.value.code == "job"
    run(settings)
    double.tokens = {TOKEN: "viewer"}
    with pytest.raises(Denied) as denied:
        client.abort(settings, "2", timeout_s=PATIENCE_S)
    assert denied.value.code == "acl"


def test_a_fast_job_has_ended_before_it_can_be_aborted(double: Rundeck, settings: Settings) -> None:
    """Then it was a restart, whether or not the token may abort anything."""
    run(settings)
    for level in ("runner", "viewer"):
        double.tokens = {TOKEN: level}
        ran = client.abort(settings, "1", timeout_s=PATIENCE_S)
        assert (ran.status, ran.ended, ran.aborted_by) == ("succeeded", True, "")
