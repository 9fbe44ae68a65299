"""Holds the Rundeck stand-in against recorded exchanges: same status, same shape, same errors."""

import http.client
import json
import math
import threading
from collections.abc import Callable, Iterator
from copy import copy
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import yaml

from testbed.doubles.rundeck import OWN, Job, Line, Option, Rundeck
from testbed.doubles.rundeck.state import Token
from testbed.patience import PATIENCE_S

RECORDINGS = Path(__file__).parents[2] / "recordings" / "rundeck"
NOW = 1795562320.0
CHECKOUT = {"service": "checkout"}
RESTART, FAILS, MULTI, DISABLED, RETRY, MAX2 = (f"{n * 8}-{n * 4}-4{n * 3}-8{n * 3}-{n * 12}" for n in "123456")

NOT_ASKED = (
    "project-executions", "project-running", "acl-200-empty-project", "acl-403-running-list",
    "job-definition-json", "job-info-xml", "output-text", "output-maxlines", "executions-disable", "executions-enable",
    "system-mode", "api-400-endpoint", "token-info", "token-list", "tokens-of-creator", "tokens-of-owner", "tokens-of-the-user",
)  # fmt: skip
UNSUPPORTED = {
    **dict.fromkeys(NOT_ASKED, "not asked by Unstick"),
    "run-500-execution-error": "derived; the stand-in's 500 is the servlet's",
    "output-pending": "derived, from remote log storage",
    "output-not-started": "derived",
    **dict.fromkeys(("execution-v5x-shape", "run-409-conflict-v5x"), "derived from 5.x; the stand-in is 6.x"),
}
"""Recordings (by the beginning of their names) that are not replayed, and why."""

TOKENS = {
    "<admin-token>": "admin-token", "<viewer-token>": "viewer-token", "<noacl-token>": "noacl-token",
    "<grafana-token>": "grafana-token", "<bad-token>": "badtoken", "<deleted-token>": "oUhBVxxxx",
}  # fmt: skip
OFTEN_MISSING = {"averageDuration"}
IN_ROWS = OFTEN_MISSING | {
    "date-ended", "successfulNodes", "failedNodes", "abortedby", "customStatus", "retriedExecution", "retryAttempt", "options",
    "user",
}  # fmt: skip


def recordings() -> list[str]:
    names = sorted(path.stem for path in RECORDINGS.glob("*.json"))
    return [name for name in names if not name.startswith(tuple(UNSUPPORTED))]


@pytest.fixture
def recorded() -> Iterator[Rundeck]:
    """The stand-in, set up like the recorded server."""
    service = Option("service", required=True, values=("checkout", "payments", "slow"))
    restart = (service, Option("dedup_key"), Option("ticket", regex="^T-[0-9]+$"))
    jobs = (
        Job(RESTART, options=restart, duration_s=7.0, guard=False, steps=3),
        Job(FAILS, name="always-fails", description="", options=(), guard=False),
        Job(MULTI, name="multi", options=(Option("secs", default="2"),), limit=0, guard=False),
        Job(DISABLED, name="disabled", options=(), enabled=False, guard=False),
        Job(RETRY, name="retry-job", options=(), guard=False),
        Job(MAX2, name="max2", options=(), limit=2, guard=False),
    )
    with Rundeck(*jobs, clock=lambda: NOW) as double:
        double.tokens = {"admin-token": "admin", "viewer-token": "viewer", "noacl-token": "none"}
        double.tokens |= dict.fromkeys(("grafana-token", "<unstick-token>"), "runner")
        double.user = "admin"
        plant = double.state.plant
        log = [Line(at, "NORMAL", said, step="1") for at, said in ((NOW - 200, "restarting checkout"), (NOW - 194, "done"))]
        one, two, gone = ({**CHECKOUT, "dedup_key": key} for key in ("k1", "fp-aaa111", "to-abort"))
        plant(RESTART, one, id=1, started=NOW - 200, ended=NOW - 193, log=log, carried_out=True)
        plant(RESTART, two, id=2, started=NOW - 103, ended=NOW - 96, carried_out=True, log=log[:1])
        plant(RESTART, CHECKOUT, id=3, started=NOW - 95, ended=NOW - 88, carried_out=True)
        plant(MULTI, {"secs": "30"}, id=17, started=NOW - 27, ended=NOW - 22, result="timedout")
        plant(FAILS, id=18, started=NOW - 27, ended=NOW - 26, result="failed", log=log)
        plant(RETRY, id=22, started=NOW - 26, attempt=1)
        plant(RETRY, id=19, started=NOW - 26, ended=NOW - 25, result="failed-with-retry", retried=22)
        plant(RESTART, gone, id=24, started=NOW - 20, ended=NOW - 18, aborted_by="admin", carried_out=True)
        plant(MULTI, {"secs": "1"}, id=99, user="grafana:fp-77ab")
        yield double


def with_token(double: Rundeck) -> None:
    number = "d5e88501-3e5d-435c-8558-3a75f1217ee5"
    for token in (number, "ab9a70d1-ac5e-42da-be01-cc765d2dd809"):
        user = "unstick" if token == number else "admin"
        double.state.tokens[token] = Token(token, f"secret-{token}", user, (user,), NOW + 86400)


def no_matched_nodes(double: Rundeck) -> None:
    job = double.state.jobs[RESTART]
    job.options, job.nodes = (Option("service"), *OWN), "tags: nosuchtag"


def ran_on_no_nodes(double: Rundeck) -> None:
    no_matched_nodes(double)
    double.state.next_id = 77
    own = {"unstick_incident": "20261126-000000-aaaaaaaa.1", "unstick_not_after": "1795691847"}
    double.state.start(RESTART, {"service": "svc-a", **own}, "unstick")


def as_on_61(double: Rundeck) -> None:
    """The job of infra/rundeck and the nodes of the server that was recorded on 2026-11-28."""
    job = Job(RESTART, options=(Option("service", required=True), *OWN), nodes="tags: consumers", strategy="sequential")
    double.state.jobs = {RESTART: job}
    double.state.nodes = {"localhost": ("consumers",), "plain": ("other",), "127.0.0.1": ("holders",)}
    double.user = "unstick"


def refused_late(double: Rundeck) -> None:
    as_on_61(double)
    double.state.next_id = 188
    double.state.node_ahead_s = 1795848941 - NOW
    late = {"service": "mail-delivery", "unstick_incident": "rec.2", "unstick_not_after": "1795848881"}
    double.state.start(RESTART, late, "unstick")


def planted(job: str, options: dict[str, str] | None = None, **how: Any) -> Callable[[Rundeck], Any]:
    return lambda double: double.state.plant(job, options or {}, **how)


def changed(run: int | None = None, **changes: Any) -> Callable[[Rundeck], None]:
    """Sets these of the server's state, or of one run."""

    def change(double: Rundeck) -> None:
        for name, value in changes.items():
            setattr(double.state if run is None else double.state.runs[run], name, copy(value))

    return change


MAIL_61 = {"service": "mail-delivery"}
OURS_61 = {**MAIL_61, "unstick_incident": "rec.3", "unstick_not_after": "1795849007"}
INCOMPLETE = planted(MAX2, id=65, started=NOW - 900, ended=NOW - 800, result="other", custom="incomplete")
CUSTOM = planted(RESTART, CHECKOUT, id=98, ended=NOW, result="other", custom="needs-human", carried_out=True)
ABORTED = planted(RESTART, OURS_61, id=189, started=NOW - 1, ended=NOW, aborted_by="admin", user="unstick", carried_out=True)
ZOMBIES = [planted(MAX2, id=number, started=NOW - 900, zombie=True) for number in (63, 65)]
SCHEDULED = [
    planted(MULTI, {"secs": "1"}, id=23, started=NOW + 3600, scheduled=True),
    planted(RESTART, CHECKOUT, id=51, started=NOW + 3600, scheduled=True),
]
SETUPS: list[tuple[list[Callable[[Rundeck], Any]], str]] = [
    ([changed(2, ended=None)], "execution-running output-running job-executions-running run-409-conflict"),
    ([changed(2, ended=None)], "job-executions-running-sorted-last"),
    (SCHEDULED, "execution-scheduled abort-scheduled-aborted"),
    (ZOMBIES, "execution-zombie-after-crash abort-zombie abort-force-incomplete"),
    ([INCOMPLETE], "execution-other-incomplete"),
    ([CUSTOM], "execution-other-custom-status"),
    ([changed(24, ended=None, aborted_by="")], "abort-pending"),
    ([changed(passive=True)], "run-400-passive-mode run-400-passive-mode-runAtTime"),
    ([changed(disabled_projects={"demo"})], "run-400-project-executions-disabled run-project-executions-disabled"),
    ([changed(deleted_projects={"demo"})], "project-404-disabled"),
    ([changed(jobs={})], "import-accepted import-refused-hidden-option"),
    ([with_token], "token-revoked"),
    ([lambda double: double.tokens.update({"<unstick-token>": "no-events"})], "executions-of-job-no-event-right"),
    ([lambda double: double.tokens.pop("<unstick-token>")], "executions-of-job-token-revoked"),
    ([changed(tokens={"t": Token("t", "secret", "unstick", ("unstick",), NOW + 86400)})], "tokens-of-all"),
    ([as_on_61], "job-import-without-right-200-failed job-import-same-uuid-other-project"),
    ([as_on_61], "job-definition-yaml-200 project-resources-200 run-200-for-late run-200-to-be-aborted"),
    ([as_on_61, planted(RESTART, MAIL_61, id=189, started=NOW - 5)], "run-409-conflict-61"),
    ([as_on_61, changed(passive=True)], "run-refused-passive"),
    ([refused_late], "execution-refused-late output-refused-late"),
    ([as_on_61, planted(RESTART, MAIL_61, id=188, started=NOW - 0.085)], "output-pending-young-run"),
    ([as_on_61, planted(RESTART, OURS_61, id=189, started=NOW - 0.1)], "abort-by-admin"),
    ([as_on_61, ABORTED], "execution-aborted-by-person"),
    ([no_matched_nodes], "run-no-matched-nodes"),
    ([ran_on_no_nodes], "execution-no-matched-nodes output-no-matched-nodes"),
]  # fmt: skip
"""What is done to the stand-in, and before which recordings."""
ALSO_MISSING = {
    "execution-other-custom-status": {"successfulNodes"},
    "output-failed": {"user", "stepctx", "step"},
    "project-404-disabled": {"message"},  # derived from the source, without its text
    "job-info-project-executions-disabled": {"created", "createdBy", "lastModified", "lastModifiedBy"},
    "output-no-matched-nodes": {"user", "stepctx"},
    "import-not-yaml": {"message"},
    "job-import-without-right-200-failed": {"error"},  # it has the job's number in the database
    "project-resources-200": {"description"},
    "output-refused-late": {"user", "stepctx", "step"},
    "execution-aborted-by-person": {"successfulNodes", "failedNodes"},
}
"""Keys that a recording has and the stand-in leaves out or says in its own words, none of which Unstick reads."""


@pytest.mark.parametrize("name", recordings())
def test_recorded_exchange(recorded: Rundeck, name: str) -> None:
    """A recorded request gets an answer of the recorded status, shape, error code and message."""
    exchange = json.loads((RECORDINGS / f"{name}.json").read_text())
    for steps, names in SETUPS:
        for step in steps if name in names.split() else ():
            step(recorded)
    status, headers, body = replay(recorded, exchange["request"])
    assert status == exchange["status"], body
    for header in ("content-type", "x-rundeck-api-version"):
        assert header not in exchange["headers"] or headers.get(header) == exchange["headers"][header]
    if status == 302:
        assert urlsplit(headers["location"]).path == urlsplit(exchange["headers"]["location"]).path
    if exchange["source"] == "recorded" and "date" not in exchange["headers"]:  # those with a date were kept without the cookie
        assert ("set-cookie" in headers) == ("set-cookie" in exchange["headers"])
    if "yaml" in headers.get("content-type", ""):
        assert yaml.safe_load(body)[0].keys() - {"options"} <= yaml.safe_load(exchange["body"])[0].keys()
    assert different(exchange["body"], body, ALSO_MISSING.get(name, set())) == []


def replay(double: Rundeck, request: dict[str, Any]) -> tuple[int, dict[str, str], Any]:
    headers = {name: value for name, value in request.get("headers", {"X-Rundeck-Auth-Token": "<admin-token>"}).items() if value}
    for mask, token in TOKENS.items():
        headers = {name: value.replace(mask, token) for name, value in headers.items()}
    body = request.get("body")
    sent = body if isinstance(body, str) or body is None else json.dumps(body)
    connection = http.client.HTTPConnection("127.0.0.1", urlsplit(double.url).port or 0, timeout=PATIENCE_S)
    try:
        connection.request(request["method"], request["path"], sent, headers)
        answer = connection.getresponse()
        raw = answer.read().decode()
        got = {name.lower(): value for name, value in answer.getheaders()}
        return answer.status, got, json.loads(raw) if "json" in got["content-type"] else raw
    finally:
        connection.close()


SAME = (
    "errorCode", "message", "args", "error", "apiversion", "status", "reason", "execState", "executionMode", "executionType",
    "argstring",
)  # fmt: skip


def ended_first(rows: list[Any]) -> bool:
    """Whether no execution that has ended comes after one that has not."""
    ended = ["date-ended" in row for row in rows]
    return ended == sorted(ended, reverse=True)


def different(then: Any, now: Any, optional: set[str], where: str = "") -> list[str]:
    """Where the stand-in's answer has another shape than the recorded one, or another value of what has to be the same."""
    if where.endswith("executions//job/options"):
        return []  # what the rows of a list were run with is the set-up's, not the server's
    if isinstance(then, dict) and isinstance(now, dict):
        differences = [f"{where}/{key}" for key in then.keys() ^ now.keys() if key not in optional | OFTEN_MISSING]
        if where.endswith("/paging") and then["count"] == 0 < then["total"] and now["count"] == now["total"]:
            differences.append(f"{where}: rows that are hidden were recorded as counted")
        for key in then.keys() & now.keys():
            differences += different(then[key], now[key], optional, f"{where}/{key}")
            same = key in SAME and key not in optional and not isinstance(then[key], list)
            if same and "executions/" not in where and then[key] != now[key]:
                differences.append(f"{where}/{key}: {then[key]!r} was recorded, not {now[key]!r}")
        return differences
    if isinstance(then, list) and isinstance(now, list):
        if bool(then) != bool(now):
            return [f"{where}: one of the lists is empty"]
        if where.endswith("/executions") and ended_first(then) and not ended_first(now):
            return [f"{where}: unfinished ones were recorded after all that have ended"]
        return [
            each for old, new in zip(then, now, strict=False) for each in different(old, new, optional | IN_ROWS, f"{where}/")
        ]
    if now is None and where.startswith("/system/"):
        return []
    alike = type(then) is type(now) or {type(then), type(now)} <= {int, float} or (then is None or now is None)
    return [] if alike else [f"{where}: {type(then).__name__} was recorded, not {type(now).__name__}"]


def post(double: Rundeck, **options: Any) -> tuple[int, dict[str, Any]]:
    headers = {"X-Rundeck-Auth-Token": double.token, "Content-Type": "application/json", "Accept": "application/json"}
    path = f"/api/41/job/{RESTART}/run"
    status, _, body = replay(double, {"method": "POST", "path": path, "headers": headers, "body": {"options": options}})
    return status, body


def test_simultaneous_runs_are_all_accepted() -> None:
    """The limit is looked at before the row is there, so requests to a single-execution job all run (recorded: 8 of 8)."""
    with Rundeck(Job(duration_s=math.inf)) as double:
        all_eight = threading.Barrier(8, timeout=PATIENCE_S)
        double.state.commit = all_eight.wait
        statuses: list[int] = []
        threads = [threading.Thread(target=lambda: statuses.append(post(double, service="a")[0])) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert statuses == [200] * 8
        assert len(double.state.carried_out) == 8
        assert post(double, service="a")[0] == 409


def on_node(**attributes: str) -> Rundeck:
    """A job of two minutes on the node mail-1, with these attributes."""
    double = Rundeck(Job(RESTART, duration_s=120.0, nodes="tags: consumers"))
    double.state.attributes["mail-1"] = attributes
    return double


ENDS: dict[str, tuple[Callable[[Rundeck], object], str]] = {
    "abort": (lambda double: double.state.abort(1, "alice", force=False), "aborted"),  # measured on 6.1 with JSch, 2026-12-01
    "cut": (lambda double: double.state.cut(1), "failed"),  # measured with JSch and sshj of 6.1, 2026-12-03
    "restart": (lambda double: double.state.restart_server(), "other"),  # ExecutionService's clean-up by server UUID; z05-exec-65
}


@pytest.mark.parametrize("end", ENDS)
@pytest.mark.parametrize(("attributes", "ends"), [({}, False), ({"always-set-pty": "true", "node-executor": "jsch-ssh"}, True)])
def test_a_run_that_is_ended_leaves_its_command_unless_it_has_a_terminal(
    end: str, attributes: dict[str, str], ends: bool
) -> None:
    """Measured against real sshd: without `always-set-pty` the command goes on, with it 6 of 6 ended."""
    with on_node(**attributes) as double:
        run, (act, status) = double.run_by_hand({"service": "a"}), ENDS[end]
        act(double)
        with double.state.lock:
            double.state.settle()
        assert (run.status(double.state.now()), run.command_ends <= double.state.now()) == (status, ends)
        double.state.jobs[RESTART].duration_s = 0.0
        again = double.run_by_hand({"service": "a"})
        assert double.state.beside == ([] if ends else [(again.id, run.id)])
        assert {line.node for line in run.log if line.step} == {"mail-1"}, "entries name the node (output-failed)"


def test_of_a_disabled_project_little_is_answered() -> None:
    """404 `api.error.project.disabled` (project-404-disabled; its controllers of 6.1): not only to run."""
    with Rundeck(Job(RESTART)) as double:
        run, headers = double.run_by_hand({"service": "a"}), {"X-Rundeck-Auth-Token": double.token, "Accept": "application/json"}
        double.state.deleted_projects.add("demo")
        paths = {"": "GET", "/executions": "GET", "/run": "POST"}
        asked = [(method, f"/api/41/job/{RESTART}{path}") for path, method in paths.items()]
        asked += [("GET", f"/api/41/execution/{run.id}/output"), ("POST", f"/api/41/execution/{run.id}/abort")]
        answers = [replay(double, {"method": method, "path": path, "headers": headers}) for method, path in asked]
        assert {(status, body["errorCode"]) for status, _, body in answers} == {(404, "api.error.project.disabled")}


def test_an_option_s_regex_matches_the_whole_value() -> None:
    """`==~` in ExecutionService.validateOptionValues of 6.1."""
    with Rundeck(Job(RESTART, options=(Option("service", regex="[a-z]+"), *OWN))) as double:
        assert [post(double, service=value)[0] for value in ("mail", "mail-1")] == [200, 400]


def test_an_import_keeps_what_a_run_depends_on() -> None:
    """As the definition that comes back has it (job-definition-yaml-200): time-out, retry, sequence and dispatch."""
    with Rundeck() as double:
        double.tokens["admin-token"] = "admin"
        (job,) = yaml.safe_load((RECORDINGS.parents[2] / "infra" / "rundeck" / "job.yaml").read_text())
        headers = {"X-Rundeck-Auth-Token": "admin-token", "Accept": "application/json", "Content-Type": "application/yaml"}
        path = "/api/41/project/demo/jobs/import?fileformat=yaml"
        replay(double, {"method": "POST", "path": path, "headers": headers, "body": yaml.safe_dump([job | {"retry": "2"}])})
        _, _, shown = replay(double, {"method": "GET", "path": f"/api/41/job/{RESTART}", "headers": headers})
        kept, taken = yaml.safe_load(shown)[0], double.state.jobs[RESTART]
        assert {key: kept[key] for key in ("timeout", "sequence", "nodefilters")} == {
            key: job[key] for key in ("timeout", "sequence", "nodefilters")
        }
        assert (taken.timeout_s, taken.retries, taken.strategy, taken.guard, taken.steps) == (600.0, 2, "sequential", True, 2)
