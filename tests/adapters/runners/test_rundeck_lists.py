"""How far back the lists are read, what they come to together, and how a chain of retries and its log are followed."""

import json
from email.utils import formatdate
from typing import Any
from urllib.parse import parse_qs

import pytest
from msgspec.structs import replace

from functions.adapters.runners.rundeck import Rundeck as Settings
from functions.adapters.runners.rundeck import answers, client
from functions.application.ports import Mismatch
from functions.domain.model.alerts import Target
from functions.domain.model.observations import ExecutionHistory
from functions.runtime.errors import Denied, DeniedCode, Unavailable
from functions.runtime.http_client import Answer
from functions.runtime.secrets import SecretRef
from testbed.patience import PATIENCE_S

NOW = 1_800_000_000.0
SINCE_S = 600.5
WINDOW = NOW - SINCE_S - 3600.0
"""What ended before needs no further page."""
SETTINGS = Settings("http://rundeck", SecretRef("env://NONE"))
MAIL = Target("t", "http://rundeck", "x", {"service": "mail"})
JOB = {"options": {"service": "mail"}}


def row(number: int, *, ended: float | None = WINDOW + 1, **more: Any) -> dict[str, Any]:
    """An execution of the target, which began a minute before its end."""
    end = {} if ended is None else {"date-ended": {"unixtime": round(ended * 1000)}}
    began = {"unixtime": round(((ended or NOW) - 60) * 1000)}
    return {"id": number, "status": "succeeded", "job": JOB, "date-started": began, **end, **more}


class Lists:
    """Rundeck's lists of one job, and single executions. `said`: what is answered instead, by a part of the path."""

    def __init__(self) -> None:
        self.rows: list[dict[str, Any]] = []
        self.running: list[dict[str, Any]] = []
        self.hidden = 0
        self.said: dict[str, Any] = {}
        self.clocks: dict[str, tuple[float, float]] = {}
        """By the status that is asked for: Rundeck's time in the answer, and ours."""
        self.asked: list[str] = []
        self.times: dict[str, float] = {}
        self.sent: Any = None
        self.system: dict[str, Any] = {}

    def ask(self, to: answers.Connection, method: str, path: str, *, json: Any = None, **_: Any) -> Answer:
        self.asked.append(path)
        self.times[path] = to.left_s
        self.sent = json
        said = next((body for part, body in self.said.items() if part in path), None)
        if isinstance(said, Exception):
            raise said
        if said is not None:
            return answered(said)
        if path == "system/info":
            return answered({"system": self.system})
        query = {name: values[0] for name, values in parse_qs(path.partition("?")[2]).items()}
        status = query.get("status", "")
        rows = {"running": self.running, "scheduled": []}.get(status, self.rows)
        offset = int(query["offset"])
        shown = rows[offset : offset + int(query["max"])]
        hidden = self.hidden if offset + len(shown) == len(rows) and not status else 0
        body = {"paging": {"total": len(rows)}, "executions": shown[: len(shown) - hidden]}
        return answered(body, *self.clocks.get(status, (NOW, NOW)))


def answered(body: Any, runner_now: float = NOW, at: float = NOW) -> Answer:
    return Answer("Rundeck", 200, {"date": formatdate(runner_now, usegmt=True)}, json.dumps(body).encode(), at)


@pytest.fixture
def lists(monkeypatch: pytest.MonkeyPatch) -> Lists:
    lists = Lists()
    monkeypatch.setattr(answers, "ask", lists.ask)
    return lists


def look(*, follow: str | None = None, tail: bool = False) -> ExecutionHistory:
    return client.look(SETTINGS, MAIL, since_s=SINCE_S, follow=follow, tail=tail, timeout_s=PATIENCE_S)


def pages(lists: Lists) -> list[str]:
    """What was asked of each list: its status, and the offset."""
    asked = []
    for path in lists.asked:
        query = parse_qs(path.removeprefix("job/x/executions?"))
        assert query["max"] == ["100"]
        asked.append(f"{query.get('status', [''])[0]}{query['offset'][0]}")
    return sorted(asked)


ONCE = ["running0", "scheduled0"]
TWICE = ["0", "running0", "running0", "scheduled0"]
"""A history that no single answer has is read again behind the running ones, from its beginning."""


@pytest.mark.parametrize(
    ("rows", "asked"),
    [
        pytest.param([], [*ONCE, "0"], id="none"),
        pytest.param([row(1)] * 100, [*ONCE, "0"], id="a page"),
        pytest.param([row(1)] * 101, [*TWICE, "0", "100"], id="a page and one more"),
        pytest.param([row(1)] * 200, [*TWICE, "0", "100"], id="two pages"),
        pytest.param([row(1, ended=WINDOW - 0.001)] * 250, [*TWICE, "0"], id="before the window"),
        pytest.param([row(1, ended=WINDOW + 0.25)] * 150, [*TWICE, "0", "100"], id="a moment inside"),
        pytest.param([row(1, ended=WINDOW)] * 250, [*TWICE, "0", "100", "200"], id="at its beginning"),
        pytest.param([row(1)] * 100 + [row(2, ended=1.0)] * 150, [*TWICE, "0", "100"], id="the second page is before it"),
        pytest.param([row(1, ended=1.0)] * 99 + [row(2)] + [row(3)] * 50, [*TWICE, "0", "100"], id="one is inside"),
        pytest.param([row(1, ended=1.0)] * 99 + [row(2, ended=None)] * 2, [*TWICE, "0", "100"], id="one is not over"),
        pytest.param(
            [row(1, ended=1.0)] * 99 + [row(2) | {"date-ended": {"unixtime": "1"}}] * 2, [*TWICE, "0", "100"], id="no time"
        ),
        pytest.param([row(1)] * 1000, [*TWICE, *(f"{number}" for number in range(0, 1000, 100))], id="ten pages"),
    ],
)  # fmt: skip
def test_pages_are_read_as_far_back_as_anything_may_have_ended(
    lists: Lists, rows: list[dict[str, Any]], asked: list[str]
) -> None:
    """A list is ordered by start up to 5.x, so an hour more is read. Each list is asked for once where one answer has it all."""
    lists.rows = rows
    look()
    assert pages(lists) == sorted(asked)


def test_too_long_a_history_is_unknown(lists: Lists) -> None:
    """Ten pages are read, and twenty executions of a chain, and no more."""
    lists.rows = [row(1)] * 1001
    with pytest.raises(Unavailable, match="over 1,000 executions"):
        look()
    assert len(lists.asked) == 12
    lists.rows, lists.asked = [], []
    chain(lists, 20)
    with pytest.raises(Unavailable, match="execution 1 was retried more than 20 times"):
        look(follow="1")
    assert sum(path.startswith("execution/") for path in lists.asked) == 20


@pytest.mark.parametrize(
    ("total", "hidden", "said"), [(5, 1, "4 of 5"), (100, 1, "99 of 100"), (150, 1, "49 of 50"), (150, 50, "0 of 50")]
)
def test_rows_that_are_hidden_are_counted(lists: Lists, total: int, hidden: int, said: str) -> None:
    """Fewer rows than the list says there are: a missing right, and no short history."""
    lists.rows, lists.hidden = [row(1)] * total, hidden
    with pytest.raises(Denied, match=f"hides executions: {said} shown") as denied:
        look()
    assert (denied.value.status, denied.value.remedy) == (200, answers.EVENT_RIGHT)


@pytest.mark.parametrize(
    "body",
    [
        {"paging": {"total": 0}}, {"paging": {"total": 0}, "executions": {}}, {"paging": {}, "executions": []},
        {"paging": {"total": "0"}, "executions": []}, {"paging": 0, "executions": []},
        {"paging": {"total": 1}, "executions": [5]}, [],
    ],
)  # fmt: skip
def test_what_is_no_list_is_unknown(lists: Lists, body: Any) -> None:
    """I4: it may be a proxy's page, or another version's."""
    lists.said["status=running"] = body
    with pytest.raises(Unavailable, match="sent something other than"):
        look()


def test_a_clear_no_is_told_before_a_missing_answer(lists: Lists) -> None:
    """It comes with a remedy; the other may pass by itself."""
    lists.said = {
        "status=running": Unavailable("Rundeck", "answered 500"),
        "executions?max": Denied("Rundeck", "may not", code=DeniedCode.ACL),
    }
    with pytest.raises(Denied):
        look()
    lists.said = {"status=scheduled": OSError("odd"), "executions?max": Unavailable("Rundeck", "answered 500")}
    with pytest.raises(OSError, match="odd"):
        look()


def test_the_clock_is_that_of_the_newest_answer(lists: Lists) -> None:
    """Ages are counted from it. Of several in the same second it is the first that came."""
    lists.clocks = {"running": (NOW + 1, NOW + 0.3), "scheduled": (NOW + 2, NOW + 0.5), "": (NOW + 2, NOW + 0.4)}
    seen = look()
    assert (seen.runner_now, seen.read_at) == (NOW + 2, NOW + 0.4)
    lists.clocks = {"running": (NOW + 2, NOW + 0.3), "scheduled": (NOW, NOW), "": (NOW + 1, NOW + 0.4)}
    seen = look()
    assert (seen.runner_now, seen.read_at) == (NOW + 2, NOW + 0.3)


@pytest.mark.parametrize("first", ["running", "rows"])
def test_an_execution_in_two_lists_is_over_if_one_of_them_says_so(lists: Lists, first: str) -> None:
    """It ended between the two answers."""
    ended, going = [row(7, ended=NOW - 5)], [row(7, ended=None)]
    lists.running, lists.rows = (ended, going) if first == "running" else (going, ended)
    assert [(one.id, one.ended) for one in look().executions] == [("7", True)]


# --- the followed execution -----------------------------------------------------------------------------------------------


def chain(lists: Lists, retries: int) -> None:
    """Executions 1, 2, 3, ...: each but the last was tried again."""
    for number in range(1, retries + 2):
        again = {"retriedExecution": {"id": number + 1}} if number <= retries else {"retriedExecution": None}
        lists.said[f"execution/{number}"] = row(number) | again
    lists.said = dict(sorted(lists.said.items(), key=lambda one: -len(one[0])))


@pytest.mark.parametrize(("code", "kept"), [(DeniedCode.JOB, True), (DeniedCode.ACL, False), (DeniedCode.TOKEN, False)])
def test_an_execution_that_is_gone_is_none(lists: Lists, code: DeniedCode, kept: bool) -> None:
    """Every other no is one of the whole look."""
    lists.said["execution/1"] = Denied("Rundeck", "no", code=code)
    if kept:
        assert look(follow="1", tail=True).followed is None
    else:
        with pytest.raises(Denied):
            look(follow="1", tail=True)


def tail_of(lists: Lists, entries: Any) -> tuple[str, ...] | None:
    lists.said = {"output": entries if isinstance(entries, Exception) else {"entries": entries}, "execution/1": row(1)}
    return look(follow="1", tail=True).tail


@pytest.mark.parametrize(
    ("entries", "tail"),
    [
        ([{"log": "a"}, {"log": "a"}, {"log": "b"}, {"log": "a"}], ("a", "b", "a")),
        ([{"log": ""}, {"log": None}, {}, {"log": "a"}, "odd"], ("a",)),
        ([{"log": f"{number}"} for number in range(30)], tuple(f"{number}" for number in range(10, 30))),
        ([{"log": "PASSWORD=hunter2"}, {"log": "-----BEGIN PRIVATE KEY-----"}, {"log": "hunter2"}], ("PASSWORD=***", "***")),
        ({"log": "a"}, ()),
        (Unavailable("Rundeck", "answered 500"), None),
        (Denied("Rundeck", "may not"), None),
    ],
)
def test_the_last_twenty_lines_of_the_log(lists: Lists, entries: Any, tail: Any) -> None:
    """Repeated and empty ones are left out; where the log can't be had, there is none."""
    assert tail_of(lists, entries) == tail


# --- starting and stopping ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("echo", "said"),
    [
        ({"service": "mail", "unstick_incident": "i.1", "unstick_not_after": "1800000060"}, ""),
        ({"service": "mail", "unstick_incident": "i.1", "unstick_not_after": "1800000060", "note": ""}, ""),
        ({"service": "mails", "unstick_incident": "i.1"}, "service, unstick_not_after"),
        ({"service": "mail", "unstick_incident": "i.1", "unstick_not_after": "1800000060", "b": "x", "a": "y"}, "a, b"),
        (None, "service, unstick_incident, unstick_not_after"),
    ],
)
def test_the_options_that_came_through(lists: Lists, echo: Any, said: str) -> None:
    """What runs must run with exactly what was sent; what differs is named."""
    lists.said["job/x/run"] = {"id": 5, "status": "running", "project": "p", "job": None if echo is None else {"options": echo}}
    arguments = {"tag": "i.1", "runner_not_after": NOW + 60.9, "timeout_s": PATIENCE_S}
    target = replace(MAIL, options={"service": "mail", "note": ""})
    if said:
        with pytest.raises(Mismatch, match="execution 5 runs with options that were not sent") as denied:
            client.run(SETTINGS, target, **arguments)
        assert f"Some options have other values: {said}. Declare" in str(denied.value.remedy)
        runs = denied.value.execution
        assert (runs.id, runs.url, runs.ended) == ("5", "http://rundeck/project/p/execution/show/5", False)
    else:
        assert client.run(SETTINGS, target, **arguments).id == "5"
    assert lists.sent == {"options": {"service": "mail", "unstick_incident": "i.1", "unstick_not_after": "1800000060"}}


@pytest.mark.parametrize(
    ("done", "left", "ended", "stopped"),
    [
        ("failed", "running", False, False), ("failed", "succeeded", True, True), ("pending", "running", False, True),
        ("aborted", "running", False, True), ("aborted", "aborted", True, True),
    ],
)  # fmt: skip
def test_what_an_abort_came_to(lists: Lists, done: str, left: str, ended: bool, stopped: bool) -> None:
    """Only an abort that failed while the execution goes on is none; what is seen after it is what counts."""
    lists.said["execution/5/abort"] = {"abort": {"status": done, "reason": "busy"}, "execution": {"status": "running"}}
    lists.said["execution/5"] = {"id": 5, "status": left, **({"date-ended": {"unixtime": 1}} if ended else {})}
    if stopped:
        seen = client.abort(SETTINGS, "5", timeout_s=PATIENCE_S)
        assert (seen.status, seen.ended) == (left, ended)
    else:
        with pytest.raises(Denied, match="could not abort: busy") as denied:
            client.abort(SETTINGS, "5", timeout_s=PATIENCE_S)
        assert denied.value.status == 200
