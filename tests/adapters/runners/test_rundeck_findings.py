"""What `check` makes of each answer that Rundeck may give, to the second and to the word."""

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import formatdate
from typing import Any

import pytest
import yaml
from msgspec.structs import replace

from functions.adapters.runners.rundeck import Rundeck as Settings
from functions.adapters.runners.rundeck import answers, checks
from functions.application.ports import Finding
from functions.domain.model.runbooks import EvidenceJob, HolderOption, Restart
from functions.runtime.errors import Denied, DeniedCode, Unavailable
from functions.runtime.http_client import Answer
from functions.runtime.secrets import SecretRef
from testbed.patience import PATIENCE_S

AT = 1_800_000_000.0
ENDS = "2027-03-01T00:00:00Z"
OPTIONS_ARE = "the job declares the options that are sent"
HOLDER = "the job can be limited to the host that hangs"
ONCE = "the job runs once at a time"
GUARD = "the job refuses a late start"
TIMEOUT = "Rundeck ends a run that hangs"
RETRY = "only Unstick tries a restart again"
DEFINITION = "the job's definition can be read"
LASTS = "the token lasts for a week"
STEP = "test $(date +%s) -le @option.unstick_not_after@ || exit 3"
OPTIONS = tuple({"name": name} for name in ("service", "unstick_incident", "unstick_not_after"))


class Said:
    """What Rundeck says to each question: a body, an error, or the bytes of the definition. `asked`: the questions."""

    def __init__(self) -> None:
        self.at = AT
        self.date = AT
        self.asked: dict[str, dict[str, Any]] = {}
        self.job: dict[str, Any] = {
            "sequence": {"commands": [{"script": STEP}], "strategy": "sequential"},
            "options": list(OPTIONS),
            "timeout": "10m",
            "nodefilters": {"filter": "name: rd-1"},
        }
        self.bodies: dict[str, Any] = {
            "system/info": {"system": {"rundeck": {"version": "6.2.0", "apiversion": 59}}},
            "job/x/info": {"name": "mail", "group": "ops", "project": "de/mo", "enabled": True},
            "job/x/meta": [{"name": "other", "data": {"run": False}}, {"name": "authz", "data": {"run": True}}],
            "job/x/executions?max=1": {"paging": {"total": 7}, "executions": [{}]},
        }
        self.nodes: Any = {"rd-1": {}, "rd-2": {}}

    def ask(self, to: answers.Connection, method: str, path: str, **more: Any) -> Answer:
        assert method == "GET"
        self.asked[path] = more | {"api_version": to.api_version}
        body = self.bodies.get(path, self.nodes if "/resources?" in path else [self.job])
        if isinstance(body, Exception):
            raise body
        shown = body if isinstance(body, bytes) else (yaml.safe_dump(body) if path == "job/x" else json.dumps(body)).encode()
        return Answer("Rundeck", 200, {"date": formatdate(self.date, usegmt=True)}, shown, self.at)


@pytest.fixture
def said(monkeypatch: pytest.MonkeyPatch) -> Said:
    said = Said()
    monkeypatch.setattr(answers, "ask", said.ask)
    return said


SETTINGS = Settings("http://rundeck", SecretRef("env://NONE"), token_expires=ENDS)


def check(
    settings: Settings = SETTINGS, *, options: tuple[str, ...] = ("service",), holder: str = "", auto: bool = True
) -> dict[str, Finding]:
    limited = HolderOption(holder, ".") if holder else None
    restart = Restart("x", dict.fromkeys(options, "y"), holder=limited)
    findings = checks.check(settings, restart, None, frozenset(), auto=auto, timeout_s=PATIENCE_S)
    return {one.what: one for one in findings}


def evidence(options: tuple[str, ...] = ("service",)) -> dict[str, Finding]:
    job = EvidenceJob("x", dict.fromkeys(options, "y"))
    findings = checks.check(SETTINGS, Restart("gone"), job, frozenset(), auto=True, timeout_s=PATIENCE_S)
    return {one.what.removeprefix("evidence: "): one for one in findings if one.what.startswith("evidence: ")}


def test_a_job_as_it_should_be(said: Said) -> None:
    """Each line has what people compare, and none has a remedy that nobody needs."""
    assert {(one.what, one.ok, str(one.detail), str(one.remedy)) for one in check().values()} == {
        (checks.ANSWERS, True, "Rundeck 6.2.0, API 41 of 59", ""),
        ("Rundeck's clock is within 30 s of ours", True, "+0 s", ""),
        (LASTS, True, "it expires in 44 d 16 h", ""),
        (checks.JOB, True, "ops/mail in de/mo", ""),
        (checks.MAY_RUN, True, checks.ABORTS, ""),
        (checks.HISTORY, True, "7 executions", ""),
        (OPTIONS_ARE, True, "", ""),
        (ONCE, True, "", ""),
        (GUARD, True, "", ""),
        (TIMEOUT, True, "timeout: 10m", ""),
        (RETRY, True, "", ""),
        (checks.NODES, True, "name: rd-1: 2", ""),
    }
    assert {(what, one.ok, str(one.detail), str(one.remedy)) for what, one in evidence().items()} == {
        (checks.JOB, True, "ops/mail in de/mo", ""),
        (checks.MAY_RUN, True, checks.ABORTS, ""),
        (checks.HISTORY, True, "7 executions", ""),
        (OPTIONS_ARE, True, "", ""),
        (TIMEOUT, True, "timeout: 10m", ""),
        (checks.NODES, True, "name: rd-1: 2", ""),
    }


@pytest.mark.parametrize(
    ("declared", "node_filter", "ok", "detail"),
    [
        ({"value": ".*"}, "tags: a hostname: ${option.host}", True, "host"),
        ({"value": ".*", "required": True}, "hostname: ${option.host}", True, "host"),
        ({"value": ".*"}, "tags: a", None, "the job's node filter does not use host"),
        ({"value": ""}, "hostname: ${option.host}", False, "host has no default, which stands for all hosts"),
        (None, "hostname: ${option.host}", False, "host has no default, which stands for all hosts"),
    ],
)
def test_the_option_that_limits_a_restart_to_a_host(
    said: Said, declared: Any, node_filter: str, ok: bool | None, detail: str
) -> None:
    """Its default is what the job runs with where no single host hangs, and by that its nodes are looked for."""
    said.job["nodefilters"] = {"filter": node_filter}
    said.job["options"] += [{"name": "host", **declared}] if declared is not None else []
    findings = check(holder="host")
    assert (findings[HOLDER].ok, findings[HOLDER].detail) == (ok, detail)
    assert bool(findings[HOLDER].remedy) == (ok is not True)
    assert findings[OPTIONS_ARE].detail == ("" if declared else "host is not declared")
    if declared and declared["value"] and "$" in node_filter:
        wanted = node_filter.replace("${option.host}", ".*").replace(" ", "%20").replace(":", "%3A").replace("*", "%2A")
        assert f"project/de%2Fmo/resources?filter={wanted}" in said.asked
    assert HOLDER not in check()
    assert check()[OPTIONS_ARE].ok == (declared is None or not declared["value"]), "a default that the runbook does not name"


@pytest.mark.parametrize(
    ("left_s", "lasts", "said_of_it"),
    [(7 * 86400 + 1, True, "it expires in 7 d 0 h"), (7 * 86400, False, "it expires in 7 d 0 h"), (0, False, "it has expired")],
)
def test_a_token_that_ends_soon_fails(said: Said, left_s: float, lasts: bool, said_of_it: str) -> None:
    """From a week before, with how to replace it: a check of every week is in time."""
    ends = datetime.fromtimestamp(AT + left_s, UTC).isoformat()
    line = check(replace(SETTINGS, token_expires=ends))[LASTS]
    assert (line.ok, line.detail) == (lasts, said_of_it)
    assert ("infra/rundeck/rotate_token.py" in str(line.remedy)) is not lasts


def test_a_token_whose_end_nobody_wrote_down(said: Said, monkeypatch: pytest.MonkeyPatch) -> None:
    """It can't read its own end; without a Date header some proxy has taken the clock."""
    line = check(replace(SETTINGS, token_expires=""))[LASTS]
    assert (line.ok, line.detail, "rundeck.token_expires" in str(line.remedy)) == (None, "a token can't read its own end", True)
    monkeypatch.setattr(answers, "ask", lambda *a, **k: replace(said.ask(*a, **k), headers={}))
    line = check()["Rundeck's clock is within 30 s of ours"]
    assert (line.ok, "no usable Date header" in str(line.detail), "Date header" in str(line.remedy)) == (False, True, True)


@pytest.mark.parametrize(
    ("ahead_s", "ok", "said_of_it"), [(30, True, "+30 s"), (31, False, "+31 s"), (-30, True, "-30 s"), (-31, False, "-31 s")]
)
def test_clocks_may_be_half_a_minute_apart(said: Said, ahead_s: int, ok: bool, said_of_it: str) -> None:
    """Beyond that a start may be refused as late that is not, or be carried out though it is."""
    said.date = AT + ahead_s
    line = check()["Rundeck's clock is within 30 s of ours"]
    assert (line.ok, line.detail, bool(line.remedy)) == (ok, said_of_it, not ok)


ACL = Denied("Rundeck", "may not", code=DeniedCode.ACL, remedy="load the policy")
VERSION = Denied("Rundeck", "does not support it", remedy="set 41")
GONE = Denied("Rundeck", "is not there", code=DeniedCode.JOB, remedy="compare the UUID")
URL = Denied("Rundeck", "is not Rundeck", remedy="check the URL")
UNCLEAR = Denied("Rundeck", "says no", remedy="see its log")


@pytest.mark.parametrize(
    ("path", "error", "what", "ok", "remedy"),
    [
        ("system/info", ACL, checks.ANSWERS, False, "load the policy"),
        ("job/x/info", ACL, checks.JOB, False, "load the policy"),
        ("job/x/info", GONE, checks.JOB, False, "compare the UUID"),
        ("job/x/info", UNCLEAR, checks.JOB, False, "see its log"),
        ("job/x/meta", ACL, checks.MAY_RUN, None, "load the policy"),
        ("job/x/meta", VERSION, checks.MAY_RUN, None, ""),
        ("job/x/meta", URL, checks.MAY_RUN, None, ""),
        ("job/x/executions?max=1", ACL, checks.HISTORY, False, "load the policy"),
        ("job/x", ACL, DEFINITION, False, "load the policy"),
        ("project/de%2Fmo/resources?filter=name%3A%20rd-1", ACL, checks.NODES, None, "load the policy"),
        ("project/de%2Fmo/resources?filter=name%3A%20rd-1", URL, checks.NODES, None, ""),
    ],
)
def test_a_question_that_is_refused(said: Said, path: str, error: Denied, what: str, ok: bool | None, remedy: str) -> None:
    """What `check` alone needs to know is unknown then; what a restart needs is wrong. Everything else is reported as it is."""
    others = check()
    said.bodies[path] = error
    findings = check()
    assert (findings[what].ok, findings[what].detail, findings[what].remedy) == (ok, error.detail, remedy)
    if what in (checks.ANSWERS, checks.JOB):
        assert list(findings)[-1] == what, (
            "nothing else is asked with a token that Rundeck does not take, or about a job that is hidden"
        )
    elif what != DEFINITION:
        del findings[what], others[what]
        assert findings == others


def test_a_question_without_an_answer(said: Said) -> None:
    """Not known is wrong here: no answer is no Rundeck."""
    for path, body, what, detail in (
        ("job/x/meta", Unavailable("Rundeck", "answered 500"), checks.MAY_RUN, "answered 500"),
        ("job/x/info", ["what is that"], checks.JOB, "sent something other than what was asked for"),
    ):
        said.bodies[path] = body
        line = check()[what]
        assert (line.ok, str(line.detail), line.remedy) == (False, detail, "check rundeck.url and the network in between")


@pytest.mark.parametrize("body", [b"a: [", b"\xff", b"- 5", b"[]", b"a: 5", b""])
def test_a_definition_that_is_none(said: Said, body: bytes) -> None:
    """Whatever comes there, the other lines are told."""
    said.bodies["job/x"] = body
    line = check()[DEFINITION]
    assert (line.ok, str(line.detail)) == (False, "sent something other than what was asked for")


@pytest.mark.parametrize(
    ("path", "body", "what", "ok", "detail"),
    [
        ("job/x/info", {"name": "mail", "project": "p"}, checks.JOB, False, "mail in p"),
        ("job/x/info", {"name": "m", "group": "a/b", "project": "p", "enabled": 1}, checks.JOB, False, "a/b/m in p"),
        ("job/x/meta", [{"name": "authz", "data": {"run": False}}], checks.MAY_RUN, False, "its role lacks `run` on the job"),
        ("job/x/meta", [{"name": "authz", "data": {"run": "yes"}}], checks.MAY_RUN, None, checks.ABORTS),
        ("job/x/meta", [{"name": "authz", "data": []}], checks.MAY_RUN, None, checks.ABORTS),
        ("job/x/meta", [5, {"name": "authz", "data": {"run": True}}], checks.MAY_RUN, True, checks.ABORTS),
        ("job/x/meta", {"name": "authz"}, checks.MAY_RUN, None, checks.ABORTS),
        ("job/x/executions?max=1", {"paging": {"total": 1}, "executions": []}, checks.HISTORY, False, "1 executions"),
        ("job/x/executions?max=1", {"paging": {"total": 0}, "executions": []}, checks.HISTORY, True, "0 executions"),
        ("job/x/executions?max=1", {"paging": {"total": 0}, "executions": [{}]}, checks.HISTORY, True, "0 executions"),
        (
            "project/de%2Fmo/resources?filter=name%3A%20rd-1", {},
            checks.NODES, False, "no node of `name: rd-1` that the token may use",
        ),
    ],
)  # fmt: skip
def test_what_an_answer_means(said: Said, path: str, body: Any, what: str, ok: bool | None, detail: str) -> None:
    """A clear no is wrong; what is not said is unknown. What is wrong comes with a remedy."""
    said.bodies[path] = body
    line = check()[what]
    assert (line.ok, str(line.detail)) == (ok, detail)
    assert line.remedy or line.ok is not False


# --- the definition -------------------------------------------------------------------------------------------------------


def options(*more: Mapping[str, Any]) -> dict[str, Any]:
    return {"options": [*OPTIONS, *more]}


def first(step: Any = STEP, **more: Any) -> dict[str, Any]:
    """A sequence whose first step is this script."""
    return {"sequence": {"commands": [{"script": step}], **more}}


LATE = "its first step"
DEFINITIONS = [
    # what differs in the job, the line, whether it is right (...: there is no such line), and what it says
    (
        *({"options": None}, OPTIONS_ARE, False),
        "service is not declared; unstick_incident is not declared; unstick_not_after is not declared",
    ),
    (options({"name": "a", "value": "x"}), OPTIONS_ARE, False, "a has a default"),
    (options({"name": "a", "required": True}), OPTIONS_ARE, False, "a is required"),
    (options({"name": "a", "value": "", "required": False}, "b"), OPTIONS_ARE, True, ""),
    (options({"name": "service", "value": "x", "required": True}), OPTIONS_ARE, True, ""),
    (options({"name": "service", "secure": True}), OPTIONS_ARE, False, "service is secure, so the history does not show it"),
    (options({"name": "a", "secure": True}), OPTIONS_ARE, True, ""),
    ({"timeout": "29m"}, TIMEOUT, True, "timeout: 29m"),
    ({"timeout": "1d 2h3m 4s "}, TIMEOUT, None, "timeout: 1d 2h3m 4s"),
    ({"timeout": 1799}, TIMEOUT, True, "timeout: 1799"),
    ({"timeout": 1800}, TIMEOUT, None, "timeout: 1800"),
    ({"timeout": ""}, TIMEOUT, None, "timeout: none"),
    ({"timeout": None}, TIMEOUT, None, "timeout: none"),
    ({"timeout": "0"}, TIMEOUT, None, "timeout: 0"),
    ({"timeout": "${option.t1}"}, TIMEOUT, None, "timeout: ${option.t1}"),
    ({"timeout": "x" * 50}, TIMEOUT, None, f"timeout: {'x' * 40}..."),
    ({"retry": None}, RETRY, True, ""),
    ({"retry": {"retry": "0", "delay": "5m"}}, RETRY, True, ""),
    ({"retry": 2}, RETRY, None, "retry: 2"),
    ({"retry": {"retry": "${option.r}"}}, RETRY, None, "retry: ${option.r}"),
    ({"retry": "9" * 50}, RETRY, None, f"retry: {'9' * 40}..."),
    ({"multipleExecutions": True}, ONCE, False, "several times at once"),
    ({"multipleExecutions": "yes"}, ONCE, False, "several times at once"),
    ({"multipleExecutions": None}, ONCE, True, ""),
    (first(), GUARD, True, ""),
    (first(STEP.replace("@option.unstick_not_after@", "$RD_OPTION_UNSTICK_NOT_AFTER")), GUARD, True, ""),
    (first(f"# late?\n{STEP}", keepgoing=False), GUARD, True, ""),
    (first(STEP.replace("unstick_not_after", "other")), GUARD, False, LATE),
    (first(STEP.replace("date +%s", "date")), GUARD, False, LATE),
    (first(STEP.replace("exit 3", "exit 0")), GUARD, False, LATE),
    (first(f"  # {STEP}"), GUARD, False, LATE),
    ({"sequence": {"commands": ["x", {"script": STEP}]}}, GUARD, False, LATE),
    ({"sequence": {"commands": {"script": STEP}}}, GUARD, False, LATE),
    ({"sequence": {"commands": []}}, GUARD, False, LATE),
    ({"sequence": [{"script": STEP}]}, GUARD, False, LATE),
    (first(keepgoing=True), GUARD, False, "keepgoing is true"),
    (first(strategy="z" * 50), GUARD, False, f"the strategy {'z' * 40}... does not wait"),
    ({"sequence": {"commands": [{"script": STEP, "errorhandler": {}}]}}, GUARD, False, "the first step has an error"),
    ({"nodefilters": None}, checks.NODES, ..., ""),
    ({"nodefilters": {"filter": "name: ${option.elsewhere}"}}, checks.NODES, ..., ""),
    ({"nodefilters": {"filter": "name: ${option.service}"}}, checks.NODES, True, "name: y: 2"),
]


@pytest.mark.parametrize(("change", "what", "ok", "detail"), DEFINITIONS)
def test_what_a_definition_comes_to(said: Said, change: dict[str, Any], what: str, ok: Any, detail: str) -> None:
    """What is sent must be declared and shown, a late start must fail and end the run, and two restarts at once are one too many.

    What ends or repeats a run otherwise is pointed out. Only `auto` needs the guard.
    """
    said.job |= change
    line = check().get(what)
    if line is None:
        assert ok is ...
        return
    assert (line.ok, bool(line.remedy)) == (ok, ok is not True)
    assert detail in str(line.detail)
    if what == GUARD:
        assert check(auto=False)[what].ok is (True if ok else None)


@pytest.mark.parametrize(
    ("value", "wrong"),
    [("mail", False), ("8", False), ("post", True), ("${labels.service}", False), ("x-${labels.service}", False)],
)
def test_values_that_the_job_does_not_allow(said: Said, value: str, wrong: bool) -> None:
    """Each start would be refused; a value with labels is known only when an alert comes, and a list may be kept elsewhere."""
    for values in (["mail", 8], []):
        said.job["options"][0] = {"name": "service", "enforced": True, "values": values}
        restart = Restart("x", {"service": value})
        lines = checks.check(SETTINGS, restart, None, frozenset(), auto=True, timeout_s=PATIENCE_S)
        findings = {one.what: one for one in lines}
        problem = f"service does not allow {value}" if wrong and values else ""
        assert (findings[OPTIONS_ARE].ok, findings[OPTIONS_ARE].detail) == (not problem, problem)


def test_options_of_an_evidence_job(said: Said) -> None:
    """Only those of the runbook must be there; the tag counts if it is declared. A time-out is all that is wanted."""
    said.job = {"options": [{"name": "unstick_incident", "secure": True}, "odd", {"name": "pid", "required": True}]}
    findings = evidence()
    assert findings[OPTIONS_ARE].detail == (
        "service is not declared; unstick_incident is secure, so the history does not show it; pid is required"
    )
    assert "evidence.options" in str(findings[OPTIONS_ARE].remedy)
    assert findings[TIMEOUT].ok is None
    assert findings[TIMEOUT].remedy == "set the job's timeout below a minute, and above evidence.within, 20 s"
    said.job = {"timeout": "999999999d"}
    assert evidence()[TIMEOUT].ok is True
    said.job = {"options": [{"name": "service"}]}
    assert evidence()[OPTIONS_ARE].ok is True
