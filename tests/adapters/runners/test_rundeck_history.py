"""Rundeck's history: how an execution is read, how far back the lists go, a followed run and its log, and evidence."""

import time
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from msgspec.structs import replace

from functions.adapters.runners.rundeck import Rundeck as Settings
from functions.adapters.runners.rundeck import answers, client
from functions.application.ports import EvidenceRun
from functions.domain.model.alerts import Target
from functions.domain.model.observations import Execution, ExecutionHistory
from functions.runtime.errors import Denied, DeniedCode, Unavailable
from functions.runtime.http_client import Answer
from testbed.doubles.rundeck import INCIDENT, NOT_AFTER, Job, Rundeck
from testbed.patience import PATIENCE_S
from tests.adapters.runners.systems import AT, SETTINGS, Said, answered, recorded

JOB = Job().id
MAIL = Target("t", "http://rundeck", JOB, {"service": "mail"})
URL = "http://127.0.0.1:4440/"
SINCE_S = 600.5
WINDOW = AT - SINCE_S - 3600.0
"""What ended before needs no further page."""


def look(
    settings: Settings = SETTINGS, target: Target = MAIL, *, follow: str | None = None, tail: bool = False
) -> ExecutionHistory:
    since_s = SINCE_S if settings is SETTINGS else 86400.0
    return settings.look(target, since_s=since_s, follow=follow, tail=tail, timeout_s=PATIENCE_S)


def read(body: Any) -> Execution:
    return answers.execution_of(body, replace(SETTINGS, url=URL))


@pytest.mark.parametrize(
    ("name", "ended", "succeeded", "status"),
    [
        ("execution-running", False, False, "running"),
        ("execution-succeeded", True, True, "succeeded"),
        ("execution-failed-with-retry", True, False, "failed-with-retry"),
        ("execution-scheduled", False, False, "scheduled"),
        ("execution-timedout", True, False, "timedout"),
        ("execution-aborted", True, False, "aborted"),
        ("execution-other-incomplete", True, False, "other: incomplete"),
        ("execution-other-custom-status", True, False, "other: needs-human"),
        ("execution-v5x-shape", True, True, "succeeded"),
        ("execution-zombie-after-crash", False, False, "running"),
    ],
)
def test_recorded_executions(name: str, ended: bool, succeeded: bool, status: str) -> None:
    """Each recorded state is read as what it is; the end tells whether it ended."""
    body = recorded(name)["body"]
    execution = read(body)
    assert (execution.ended, execution.succeeded, execution.status) == (ended, succeeded, status)
    assert execution.may_still_run == (ended and not succeeded), "the status alone proves nothing"
    assert execution.url == body["permalink"]
    assert read(body | {"permalink": "http://127.0.0.1:44401/p"}).url == f"{URL}project/demo/execution/show/{execution.id}"
    assert execution.runner_started_at == body["date-started"]["unixtime"] / 1000


@pytest.mark.parametrize("headers", [{}, {"date": "today"}])
def test_a_clock_that_can_not_be_read(headers: dict[str, str]) -> None:
    """Without it no age is known."""
    with pytest.raises(Unavailable, match="no usable Date header"):
        answers.runner_now(Answer("Rundeck", 200, headers, b"", 1.0))


def test_look_takes_the_targets_own_runs_manual_ones_included(double: Rundeck, settings: Settings) -> None:
    """Rows count by their options without Unstick's own and empty ones; unfinished ones of others are listed apart."""
    plant, now = double.state.plant, double.state.now()
    plant(JOB, {"service": "mail", INCIDENT: "a.1", NOT_AFTER: "junk"}, started=now - 75, ended=now - 60)
    plant(JOB, {"service": "mail"}, started=now - 80, ended=now - 70, user="alice", result="failed")
    plant(JOB, {"service": "mail", "dry_run": "yes"}, started=now - 60)
    plant(JOB, {"service": "mailer"}, started=now - 50, ended=now - 40)
    plant(JOB, {"service": "mail", "note": ""}, started=now - 30)
    plant(JOB, {"service": "other"}, started=now + 3600, scheduled=True)
    history = look(settings, replace(MAIL, options={"service": "mail", "empty": ""}))
    assert [(row.id, row.tag, row.user, row.ended, row.succeeded) for row in history.executions] == [
        ("5", "", "admin", False, False),
        ("1", "a.1", "admin", True, True),
        ("2", "", "alice", True, False),
    ]
    assert history.executions[1].runner_not_after is None
    assert [(row.id, row.scheduled) for row in history.others] == [("6", True), ("3", False)]


@pytest.mark.parametrize(
    ("options", "query"),
    [
        ({"b": "x", "a": "1", "empty": ""}, "?opt.a=1&opt.b=x"),
        ({"o&p=": "a b&c=d#e/%?+é"}, "?opt.o%26p%3D=a%20b%26c%3Dd%23e%2F%25%3F%2B%C3%A9"),
        ({}, ""),
    ],
)
def test_the_page_of_the_job_has_the_options_filled_in(options: dict[str, str], query: str) -> None:
    """Names and values are percent-encoded, so that none of them can add an option of its own."""
    page = client.start_page(SETTINGS, replace(MAIL, options=options), "de/mo")
    assert page == f"{SETTINGS.url}/project/de%2Fmo/job/show/{JOB}{query}"
    assert parse_qs(urlsplit(page).query) == {f"opt.{name}": [value] for name, value in options.items() if value}


def row(number: int, *, ended: float | None = WINDOW + 1, **more: Any) -> dict[str, Any]:
    """An execution of the target, which began a minute before its end."""
    end = {} if ended is None else {"date-ended": {"unixtime": round(ended * 1000)}}
    began = {"unixtime": round(((ended or AT) - 60) * 1000)}
    job = {"options": {"service": "mail"}}
    return {"id": number, "status": "succeeded", "job": job, "date-started": began, **end, **more}


class Lists:
    """The lists of one job, and by the status that is asked for Rundeck's time in the answer, and ours."""

    def __init__(self) -> None:
        self.rows: list[dict[str, Any]] = []
        self.running: list[dict[str, Any]] = []
        self.hidden = 0
        self.clocks: dict[str, tuple[float, float]] = {}

    def answer(self, path: str) -> Answer:
        query = {name: values[0] for name, values in parse_qs(path.partition("?")[2]).items()}
        status = query.get("status", "")
        rows = {"running": self.running, "scheduled": []}.get(status, self.rows)
        shown = rows[: int(query["max"])]
        hidden = 0 if status else self.hidden
        body = {"paging": {"total": len(rows)}, "executions": shown[: len(shown) - hidden]}
        return answered(body, *self.clocks.get(status, (AT, AT)))


@pytest.fixture
def lists(said: Said) -> Lists:
    lists = Lists()
    said.bodies[""] = lists.answer
    return lists


RUNNING, ALL = "status=running&max=250", "executions?max=250"
ONCE = ["", "running", "scheduled"]
TWICE = ["", "", "running", "running", "scheduled"]
"""A history that no single answer has is read again behind the running ones."""


@pytest.mark.parametrize(
    ("rows", "asked"),
    [
        pytest.param([], ONCE, id="none"),
        pytest.param([row(1)] * 250, ONCE, id="all of them"),
        pytest.param([row(1)] * 249 + [row(1, ended=WINDOW - 0.001)] * 2, TWICE, id="the rest is before the window"),
    ],
)
def test_each_list_is_asked_for_once_where_one_answer_has_it_all(
    said: Said, lists: Lists, rows: list[dict[str, Any]], asked: list[str]
) -> None:
    """A list is ordered by start up to 5.x, so an hour more is read."""
    lists.rows = rows
    look()
    queries = [parse_qs(path.removeprefix(f"job/{JOB}/executions?")) for path in said.asked]
    assert {query["max"][0] for query in queries} == {"250"}
    assert sorted(query.get("status", [""])[0] for query in queries) == asked


@pytest.mark.parametrize("last", [row(1), row(1, ended=None)], ids=["in the window", "not over"])
def test_too_long_a_history_is_unknown(said: Said, lists: Lists, last: dict[str, Any]) -> None:
    """One answer of each list is read, and twenty executions of a chain of retries, and no more."""
    lists.rows = [row(1)] * 249 + [last] * 2
    with pytest.raises(Unavailable, match="over 250 executions"):
        look()
    lists.rows = []
    said.bodies |= {f"execution/{number}": row(number, retriedExecution={"id": number + 1}) for number in range(1, 25)}
    assert look(follow="1").followed is None
    assert sum(path.startswith("execution/") for path in said.asked) == 20


@pytest.mark.parametrize(("total", "hidden", "shown"), [(5, 1, "4 of 5"), (300, 1, "249 of 300")])
def test_rows_that_are_hidden_are_counted(lists: Lists, total: int, hidden: int, shown: str) -> None:
    """Fewer rows than the list says there are: a missing right, and no short history."""
    lists.rows, lists.hidden = [row(1)] * total, hidden
    with pytest.raises(Denied, match=f"hides executions: {shown} shown") as denied:
        look()
    assert (denied.value.status, denied.value.remedy) == (200, answers.EVENT_RIGHT)


@pytest.mark.parametrize("body", [{"paging": {"total": 0}, "executions": {}}, {"paging": 0, "executions": []}, []])
def test_what_is_no_list_is_unknown(said: Said, lists: Lists, body: Any) -> None:
    """I4: it may be a proxy's page, or another version's."""
    said.bodies[RUNNING] = body
    with pytest.raises(Unavailable, match="sent something other than"):
        look()


def test_a_clear_no_is_told_before_a_missing_answer(said: Said, lists: Lists) -> None:
    """It comes with a remedy; the other may pass by itself."""
    said.bodies |= {RUNNING: Unavailable("Rundeck", "answered 500"), ALL: Denied("Rundeck", "may not", code=DeniedCode.ACL)}
    with pytest.raises(Denied):
        look()


def test_the_clock_is_that_of_the_newest_answer(lists: Lists) -> None:
    """Ages are counted from it. Of several in the same second it is the first that came."""
    lists.clocks = {"running": (AT + 1, AT + 0.3), "scheduled": (AT + 2, AT + 0.5), "": (AT + 2, AT + 0.4)}
    history = look()
    assert (history.runner_now, history.read_at) == (AT + 2, AT + 0.4)
    lists.clocks = {"running": (AT + 2, AT + 0.3), "scheduled": (AT, AT), "": (AT + 1, AT + 0.4)}
    history = look()
    assert (history.runner_now, history.read_at) == (AT + 2, AT + 0.3)


@pytest.mark.parametrize("first", ["running", "rows"])
def test_an_execution_in_two_lists_is_over_if_one_of_them_says_so(lists: Lists, first: str) -> None:
    """It ended between the two answers."""
    ended, going = [row(7, ended=AT - 5)], [row(7, ended=None)]
    lists.running, lists.rows = (ended, going) if first == "running" else (going, ended)
    assert [(run.id, run.ended) for run in look().executions] == [("7", True)]


def test_retries_are_followed_to_the_last(double: Rundeck, settings: Settings) -> None:
    """The followed execution is the one at the end of the chain of retries, with its log once it has ended."""
    double.state.jobs[JOB].retries, double.state.jobs[JOB].results = 2, ["failed", "failed"]
    settings.run(MAIL, tag="inc.1", runner_not_after=time.time() + 60, timeout_s=PATIENCE_S)
    for _ in range(3):
        look(settings)
    history = look(settings, follow="1", tail=True)
    assert history.followed is not None
    assert (history.followed.id, history.followed.succeeded, history.followed.tag) == ("3", True, "inc.1")
    assert history.tail == ("restarting mail inc.1 " + str(int(history.followed.runner_not_after or 0)),)
    assert [run.status for run in history.executions] == ["succeeded", "failed-with-retry", "failed-with-retry"]


def test_a_refusal_of_the_execution_is_one_of_the_whole_look(said: Said, lists: Lists) -> None:
    """Unless it is gone: then it is none."""
    said.bodies["execution/1"] = Denied("Rundeck", "no", code=DeniedCode.ACL)
    with pytest.raises(Denied):
        look(follow="1", tail=True)


OUTPUTS = ("output-no-matched-nodes", "output-failed")
REFUSED = (
    "too late by 60 s: this restart was given up, nothing is restarted", "Result: 3",
    "Failed: NonZeroResultCode: Result code was 3",
)  # fmt: skip
SENT = [
    {"log": "restarting mail"}, *recorded(OUTPUTS[0])["body"]["entries"], *recorded(OUTPUTS[1])["body"]["entries"],
    *({"log": f"\tat org.rundeck.app.Step{n}.run(Step.java:{n})"} for n in range(30)), {"log": "\t... 12 more"},
]  # fmt: skip
SHOWN = (
    "restarting mail", "No matched nodes: NodeSet{includes={tags=nosuchtag, dominant=false, }}", "about to fail", "Result: 1",
    "Failed: NonZeroResultCode: Result code was 1",
    (
        "Execution failed: 18 in project demo: [Workflow result: , step failures: {2=Dispatch failed on 1 nodes: [localhost: "
        "NonZeroResultCode: Result code was 1"
    ),
)  # fmt: skip


@pytest.mark.parametrize(
    ("entries", "tail"),
    [
        pytest.param([{"log": "a"}, {"log": "a"}, {"log": "b"}, {"log": "a"}], ("a", "b", "a"), id="repeated"),
        pytest.param([{"log": f"{n}"} for n in range(30)], tuple(f"{n}" for n in range(10, 30)), id="more than twenty"),
        pytest.param(
            [{"log": "PASSWORD=x7"}, {"log": "-----BEGIN PRIVATE KEY-----"}, {"log": "x7"}], ("PASSWORD=***", "***"), id="secrets"
        ),
        pytest.param(SENT, SHOWN, id="Java's traces and dumps of variables"),
        pytest.param(recorded("output-refused-late")["body"]["entries"][:4], REFUSED, id="a step that did not run"),
        pytest.param(Unavailable("Rundeck", "answered 500"), None, id="no answer"),
        pytest.param(Denied("Rundeck", "may not"), None, id="no right"),
    ],
)
def test_the_last_twenty_lines_of_the_log(said: Said, lists: Lists, entries: Any, tail: Any) -> None:
    """What the job said and why it failed; where the log can't be had, there is none."""
    said.bodies["lastlines=60"] = entries if isinstance(entries, Exception) else {"entries": entries}
    said.bodies["execution/1"] = row(1)
    assert look(follow="1", tail=True).tail == tail


def step(line: str, node: str = "n1", **more: Any) -> dict[str, Any]:
    return {"log": line, "node": node, "stepctx": "2", "level": "ERROR", **more}


CODE, CUT = step("Failed: NonZeroResultCode: Result code was 1"), step("Failed: NonZeroResultCode: Result code was -1")
MARK = step("unstick inc.1 ended 1", level="NORMAL")
FAILED_ROW = {"status": "failed", "project": "demo", "failedNodes": ["n1"]}


@pytest.mark.parametrize(
    ("entries", "more", "over"),
    [
        ([CODE], {}, True),
        ([step("Failed: Unknown: Remote command failed with exit status 4")], {}, True),
        ([step("Failed: NonZeroResultCode: Result code: 3")], {}, True),
        ([step("Failed: ConnectionFailure: Connection refused")], {}, True),
        ([MARK, CUT], {}, True),
        ([MARK], {"status": "aborted"}, True),
        ([MARK], {"status": "timedout", "failedNodes": (), "successfulNodes": ["n1"]}, True),
        ([CODE], {"successfulNodes": ["n2"]}, True),
        (recorded("output-failed")["body"]["entries"], {"failedNodes": ["localhost"]}, True),
        (recorded("output-no-matched-nodes")["body"]["entries"], {"failedNodes": ()}, True),
        ([CUT], {}, False),
        ([step("Failed: Unknown: Command execution failed: Broken transport; encountered EOF")], {}, False),
        ([step("Failed: NonZeroResultCode: Result code: 255")], {}, False),  # ssh-exec: OpenSSH's own
        ([step("Failed: NonZeroResultCode: Result code was 143")], {}, False),
        ([CODE, CUT], {}, False),  # its error handler, say
        ([], {}, False),
        ([step("restarting")], {"status": "aborted"}, False),
        ([step("unstick inc.2 ended 0")], {}, False),  # of another attempt
        ([CODE], {"failedNodes": ["n1", "n2"]}, False),
        ([CODE], {"status": "timedout", "successfulNodes": ["n2"]}, False),
        ([MARK], {"status": "other", "customStatus": "incomplete", "failedNodes": ()}, False),
        (Unavailable("Rundeck", "answered 500"), {}, False),
    ],
)
def test_what_a_log_says_of_the_command(said: Said, lists: Lists, entries: Any, more: dict[str, Any], over: bool) -> None:
    """I20: the log of each node shows that it ended or never began there, otherwise it may still run. One log is read a look."""
    job = {"options": {"service": "mail", INCIDENT: "inc.1", "host": "10.0.3.7"}}
    lists.rows = [row(1, ended=AT - 9, job=job, **{**FAILED_ROW, **more}), row(2, ended=AT - 99, **FAILED_ROW)]
    said.bodies |= {
        "lastlines=3000": entries if isinstance(entries, Exception) else {"entries": entries},
        "execution/1": lists.rows[0],
    }
    said.bodies["name%3A%20n1"] = said.bodies["name%3A%20n2"] = said.bodies["name%3A%20n1%2Cn2"] = {"n1": {}}
    history = look(target=replace(MAIL, holder="host"), follow="1")
    assert history.followed is not None
    assert (history.followed.over, history.executions[0].over, history.executions[0].host) == (over, over, "10.0.3.7")
    assert (history.executions[0].may_still_run, history.executions[1].may_still_run) == (not over, True)
    assert sum("/output" in path for path in said.asked) == 1


@pytest.mark.parametrize(
    ("nodes", "over"),
    [
        ({"n1": {"always-set-pty": "true"}, "n2": {"always-set-pty": "TRUE", "node-executor": "sshj-ssh"}}, True),
        ({"n1": {"always-set-pty": "true"}, "n2": {"always-set-pty": "true", "node-executor": "ssh-exec"}}, False),
        ({"n1": {"always-set-pty": "true"}, "n2": {"always-set-pty": "true", "node-executor": "local"}}, False),
        ({"n1": {"always-set-pty": "true"}, "n2": {}}, False),
        ({"n1": {"always-set-pty": "true"}}, False),
        (Denied("Rundeck", "may not"), False),
    ],
)
def test_with_a_terminal_on_each_node_a_command_ends_with_its_run(said: Said, lists: Lists, nodes: Any, over: bool) -> None:
    """Nodes are asked for only where the log doesn't say it."""
    lists.rows = [row(1, ended=AT - 9, **{**FAILED_ROW, "failedNodes": ["n1", "n2"]})]
    said.bodies |= {"lastlines=3000": {"entries": []}, "resources?filter=name%3A%20n1%2Cn2": nodes}
    assert look().executions[0].over == over


@pytest.mark.parametrize(
    ("value", "host"), [("mail-1", "mail-1"), ("fe80::1%eth0", "fe80::1%eth0"), (".*", ""), ("", ""), ("a b", "")]
)
@pytest.mark.usefixtures("said")
def test_the_only_host_of_a_run_is_read_from_its_options(lists: Lists, value: str, host: str) -> None:
    """A person's, too; the default stands for all hosts. A run that succeeded costs no further call."""
    lists.rows = [row(1, job={"options": {"service": "mail", "host": value}})]
    (run,) = look(target=replace(MAIL, holder="host")).executions
    assert (run.host, run.may_still_run) == (host, False)


ENDED = {"id": 7, "status": "failed", "date-ended": {"unixtime": 1}}


def read_evidence(execution: str, *, partial: bool = False) -> EvidenceRun:
    return SETTINGS.read_evidence(execution, partial=partial, timeout_s=PATIENCE_S)


@pytest.mark.parametrize(
    ("log", "output"),
    [
        ({"entries": [{"log": "a"}, {"log": ""}, {"log": None}, {}, {"log": " b"}]}, "a\n\n\n\n b"),
        ({"entries": [{"log": "a"}], "pending": True}, None),
    ],
)
def test_the_output_is_taken_as_it_is(said: Said, log: Any, output: str | None) -> None:
    """All lines at once, and none while Rundeck still gets some."""
    said.bodies |= {"execution/7": ENDED, "lastlines=3000": log}
    texts = read_evidence("7")[1]
    assert (texts and "".join(node.text for node in texts)) == output


def test_what_a_run_that_hangs_wrote_so_far_is_read_once_nobody_waits(said: Said) -> None:
    """Its first lines are the most important ones."""
    said.bodies |= {"execution/7": {"id": 7, "status": "running"}, "lastlines=3000": {"entries": [{"log": ">> a"}]}}
    for partial, output in ((False, None), (True, ">> a")):
        run, texts = read_evidence("7", partial=partial)
        assert (run and run.ended, texts and texts[0].text) == (False, output)


@pytest.mark.parametrize(
    ("recording", "output"),
    [
        ("output-no-matched-nodes", ["No matched nodes: NodeSet{includes={tags=nosuchtag, dominant=false, }}"]),
        ("output-refused-late", ["too late by 60 s: this restart was given up, nothing is restarted", "Result: 3"]),
    ],
)
def test_what_rundeck_itself_says_of_a_failed_run_is_no_java(said: Said, recording: str, output: list[str]) -> None:
    """A trace that the job wrote is evidence; Rundeck's own, with its variables, is none."""
    said.bodies |= {"execution/7": ENDED, "lastlines=3000": recorded(recording)["body"]}
    lines = "\n".join(node.text for node in read_evidence("7")[1] or ()).splitlines()
    assert lines[: len(output)] == output
    assert not any("dataContext" in line or "com.dtolabs" in line or line.startswith("\tat ") for line in lines)
