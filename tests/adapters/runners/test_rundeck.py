"""Rundeck's adapter: starting the job once, refusals, stopping, the history of a target, and the execution that is followed."""

import json
import math
import time
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from msgspec.structs import replace
from pytest_httpserver import HTTPServer

from functions.adapters.runners.rundeck import Rundeck as Settings
from functions.adapters.runners.rundeck import answers, client
from functions.domain.model.alerts import Target
from functions.domain.model.observations import Execution, ExecutionHistory
from functions.runtime.errors import Denied, Unavailable
from functions.runtime.secrets import SecretRef
from testbed.doubles.rundeck import INCIDENT, NOT_AFTER, OWN, TOKEN, Job, Option, Rundeck, Seen
from testbed.patience import MORE_TIME_S, PATIENCE_S, wait_until

RECORDINGS = Path(__file__).parents[2] / "recordings" / "rundeck"
JOB = Job().id
MAIL = Target("t", "http://rundeck", JOB, {"service": "mail"})


def look(settings: Settings, target: Target = MAIL, *, follow: str | None = None, tail: bool = False) -> ExecutionHistory:
    """A day back."""
    return client.look(settings, target, since_s=86400.0, follow=follow, tail=tail, timeout_s=PATIENCE_S)


def run(
    settings: Settings, target: Target = MAIL, *, tag: str = "inc.1", in_s: float = 60, timeout_s: float = PATIENCE_S
) -> Execution:
    return client.run(settings, target, tag=tag, runner_not_after=time.time() + in_s, timeout_s=timeout_s)


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


def recorded_errors() -> list[tuple[str, Any]]:
    recorded = [(path.stem, json.loads(path.read_text())) for path in sorted(RECORDINGS.glob("*.json"))]
    return [one for one in recorded if one[1]["status"] >= 300 and not one[0].startswith(("webhook-", "system-mode-passive-503"))]


@pytest.mark.parametrize(("name", "exchange"), recorded_errors(), ids=[name for name, _ in recorded_errors()])
def test_recorded_errors_have_a_remedy(httpserver: HTTPServer, settings: Settings, name: str, exchange: Any) -> None:
    """Every recorded no of Rundeck means something to the user, in its own words where they help; none has the token."""
    headers = {key: value for key, value in exchange["headers"].items() if key != "set-cookie"}
    httpserver.expect_request("/api/41/job/x/run").respond_with_data(json.dumps(exchange["body"]), exchange["status"], headers)
    to = answers.connect(replace(settings, url=httpserver.url_for("")), PATIENCE_S)
    with pytest.raises((Denied, Unavailable)) as raised:
        answers.ask(to, "POST", "job/x/run", json={})
    said: Any = raised.value
    meaning = EXPECTED[max((key for key in EXPECTED if name.startswith(key)), key=len)]
    assert str(said.detail).startswith(MEANINGS[meaning])
    assert isinstance(said, Unavailable) or said.remedy or meaning == "busy"
    assert meaning != "option" or answers.quoted(exchange["body"]["message"]) in str(said)
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


# --- the history


def test_look_takes_the_targets_own_runs_manual_ones_included(double: Rundeck, settings: Settings) -> None:
    """Rows count by their options without Unstick's own and empty ones; unfinished ones of others are listed apart."""
    plant, now = double.state.plant, double.state.now()
    plant(JOB, {"service": "mail", INCIDENT: "a.1", NOT_AFTER: "junk"}, started=now - 100, ended=now - 90)
    plant(JOB, {"service": "mail"}, started=now - 80, ended=now - 70, user="alice", result="failed")
    plant(JOB, {"service": "mail", "dry_run": "yes"}, started=now - 60)
    plant(JOB, {"service": "mailer"}, started=now - 50, ended=now - 40)
    plant(JOB, {"service": "mail", "note": ""}, started=now - 30)
    plant(JOB, {"service": "other"}, started=now + 3600, scheduled=True)
    seen = look(settings, replace(MAIL, options={"service": "mail", "empty": ""}))
    assert [(row.id, row.tag, row.user, row.ended, row.succeeded) for row in seen.executions] == [
        ("5", "", "admin", False, False),
        ("2", "", "alice", True, False),
        ("1", "a.1", "admin", True, True),
    ]
    assert seen.executions[2].runner_not_after is None
    assert [(row.id, row.scheduled) for row in seen.others] == [("6", True), ("3", False)]


@pytest.mark.parametrize(
    ("options", "query"),
    [
        ({"service": "mail"}, "?opt.service=mail"),
        ({"b": "x", "a": "1", "empty": ""}, "?opt.a=1&opt.b=x"),
        ({"o&p=": "a b&c=d#e/%?+é"}, "?opt.o%26p%3D=a%20b%26c%3Dd%23e%2F%25%3F%2B%C3%A9"),
        ({}, ""),
    ],
)
def test_the_page_of_the_job_has_the_options_filled_in(settings: Settings, options: dict[str, str], query: str) -> None:
    """Names and values are percent-encoded, so that none of them can add an option of its own."""
    target = replace(MAIL, options=options)
    page = client.start_page(settings, target, "de/mo")
    assert page == f"{settings.url}/project/de%2Fmo/job/show/{JOB}{query}"
    assert parse_qs(urlsplit(page).query) == {f"opt.{name}": [value] for name, value in options.items() if value}


class Ending(Rundeck):
    """One whose first execution ends a moment after a list was asked for and before that list is answered."""

    def __init__(self, last: str) -> None:
        super().__init__()
        self.last = last

    def arrived(self, seen: Seen) -> tuple[str, float]:
        fault = super().arrived(seen)
        if f"{self.last}max=" in f"{seen.path}?{seen.query}" and not self.state.runs[1].ended:
            time.sleep(0.3)
            self.state.finish(1)
        return fault


@pytest.mark.parametrize(
    ("last", "older"), [("executions?", 3), ("status=running&", 150)], ids=["the history last", "the running ones last"]
)
def test_execution_that_ends_between_the_lists_is_not_lost(tmp_path: Path, last: str, older: int) -> None:
    """I1: lists that disagree are put together, and where a long history was cut before the running ones, it is asked again."""
    (tmp_path / "token").write_text(TOKEN)
    with Ending(last) as double:
        now = double.state.now()
        double.state.plant(JOB, {"service": "mail"}, started=now - 5)
        for number in range(older):
            double.state.plant(JOB, {"service": "mail"}, started=now - 9999, ended=now - 5000 - number)
        (newest, *_) = look(Settings(double.url, SecretRef(f"file://{tmp_path}/token"))).executions
        assert (newest.id, newest.ended) == ("1", True)


# --- the followed execution


def test_retries_are_followed_to_the_last(double: Rundeck, settings: Settings) -> None:
    """The followed execution is the one at the end of the chain of retries, with its log once it has ended."""
    double.state.jobs[JOB].retries, double.state.jobs[JOB].results = 2, ["failed", "failed"]
    run(settings)
    for _ in range(3):
        look(settings)
    seen = look(settings, follow="1", tail=True)
    assert seen.followed is not None
    assert (seen.followed.id, seen.followed.succeeded, seen.followed.tag) == ("3", True, "inc.1")
    assert seen.tail == ("restarting mail inc.1 " + str(int(seen.followed.runner_not_after or 0)),)
    assert [row.status for row in seen.executions] == ["succeeded", "failed-with-retry", "failed-with-retry"]


def test_rundecks_own_noise_is_cut_off_the_log(double: Rundeck, settings: Settings) -> None:
    """People see what the job said and why it failed, not Java's traces and dumps of variables."""
    names = ("output-no-matched-nodes", "output-failed")
    no_nodes, failed = (json.loads((RECORDINGS / f"{name}.json").read_text())["body"]["entries"] for name in names)
    trace = [f"\tat org.rundeck.app.Step{n}.run(Step.java:{n})" for n in range(30)] + ["\t... 12 more"]
    said = ["restarting mail", *(row["log"] for row in no_nodes), *trace, *(row["log"] for row in failed)]
    now = double.state.now()
    log = [(now - 8, "ERROR", line) for line in said]
    double.state.plant(JOB, {"service": "mail"}, started=now - 9, ended=now - 8, result="failed", log=log)
    assert look(settings, follow="1", tail=True).tail == (
        "restarting mail",
        "No matched nodes: NodeSet{includes={tags=nosuchtag, dominant=false, }}",
        "about to fail",
        "Result: 1",
        "Failed: NonZeroResultCode: Result code was 1",
        (
            "Execution failed: 18 in project demo: [Workflow result: , step failures: "
            "{2=Dispatch failed on 1 nodes: [localhost: NonZeroResultCode: Result code was 1"
        ),
    )


@pytest.mark.parametrize(
    ("name", "ended", "succeeded", "status"),
    [
        ("execution-running", False, False, "running"),
        ("execution-succeeded", True, True, "succeeded"),
        ("execution-failed", True, False, "failed"),
        ("execution-aborted", True, False, "aborted"),
        ("execution-timedout", True, False, "timedout"),
        ("execution-failed-with-retry", True, False, "failed-with-retry"),
        ("execution-scheduled", False, False, "scheduled"),
        ("execution-other-incomplete", True, False, "other: incomplete"),
        ("execution-other-custom-status", True, False, "other: needs-human"),
        ("execution-v5x-shape", True, True, "succeeded"),
        ("execution-zombie-after-crash", False, False, "running"),
    ],
)
def test_recorded_executions(settings: Settings, name: str, ended: bool, succeeded: bool, status: str) -> None:
    """Each recorded state is read as what it is; the end tells whether it ended."""
    body = json.loads((RECORDINGS / f"{name}.json").read_text())["body"]
    execution = answers.execution_of(body, replace(settings, url="http://127.0.0.1:4440/"))
    assert (execution.ended, execution.succeeded, execution.status) == (ended, succeeded, status)
    assert execution.url == body["permalink"]
    assert execution.runner_started_at == body["date-started"]["unixtime"] / 1000
