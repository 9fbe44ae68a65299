"""What `check` makes of each answer that Rundeck may give, to the second and to the word."""

import json
from collections.abc import Mapping
from email.utils import formatdate
from typing import Any

import pytest
import yaml
from msgspec.structs import replace

from functions.adapters.runners.rundeck import answers, checks
from functions.adapters.runners.rundeck.settings import Settings
from functions.application.ports import Finding
from functions.domain.model.runbooks import HolderOption, Restart
from functions.runtime.errors import Denied, DeniedCode, Unavailable
from functions.runtime.http_client import Answer
from functions.runtime.secrets import SecretRef
from testbed.patience import PATIENCE_S

AT = 1_800_000_000.0
DAY_S = 86400
ENDS = "2027-03-01T00:00:00Z"
ENDS_AT = 1_803_859_200.0
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
        }
        self.bodies: dict[str, Any] = {
            "system/info": {"system": {"rundeck": {"version": "6.2.0", "apiversion": 59, "node": "rd-1"}}},
            "job/x/info": {"name": "mail", "group": "ops", "project": "de/mo", "enabled": True},
            "job/x/meta": [{"name": "other", "data": {"run": False}}, {"name": "authz", "data": {"run": True}}],
            "job/x/executions?max=1": {"paging": {"total": 7}, "executions": [{}]},
            "project/de%2Fmo/meta?meta=*": [
                {"name": "config", "data": {"executionsEnabled": True}},
                {"name": "sysMode", "data": {"active": True}},
            ],
        }
        self.nodes: Any = {"rd-1": {}, "rd-2": {}}

    def ask(self, to: answers.Connection, method: str, path: str, **more: Any) -> Answer:
        assert method == "GET"
        self.asked[path] = more | {"api_version": to.settings.api_version}
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
    settings: Settings = SETTINGS,
    *,
    options: tuple[str, ...] = ("service",),
    holder: str = "",
    auto: bool = True,
    max_run_s: float = 1800.0,
) -> dict[str, Finding]:
    limited = HolderOption(holder, ".") if holder else None
    restart = Restart("x", dict.fromkeys(options, "y"), max_run_s=max_run_s, holder=limited)
    findings = checks.check(settings, restart, auto=auto, timeout_s=PATIENCE_S)
    return {one.what: one for one in findings}


def evidence(options: tuple[str, ...] = ("service",)) -> dict[str, Finding]:
    findings = checks.check_evidence(SETTINGS, "x", options, within_s=20.0, timeout_s=PATIENCE_S)
    return {one.what.removeprefix("evidence: "): one for one in findings}


def test_a_job_as_it_should_be(said: Said) -> None:
    """Each line has what people compare, and none has a remedy that nobody needs."""
    assert {(one.what, one.ok, str(one.detail), str(one.remedy)) for one in check().values()} == {
        (checks.ANSWERS, True, "Rundeck 6.2.0, API 41 of 59", ""),
        (checks.EXPIRY, True, f"{ENDS}, in 45 days", ""),
        ("Rundeck's clock is within 30 s of ours", True, "+0 s", ""),
        (checks.JOB, True, "ops/mail in de/mo", ""),
        (checks.MAY_RUN, True, checks.ABORTS, ""),
        (checks.HISTORY, True, "7 executions", ""),
        (checks.PROJECT, True, "", ""),
        (checks.MODE, True, "", ""),
        (checks.OPTIONS, True, "", ""),
        (checks.ONCE, True, "", ""),
        (checks.GUARD, True, "", ""),
        (checks.TIMEOUT, True, "timeout: 10m", ""),
        (checks.RETRY, True, "", ""),
        (checks.NODES, True, "name: rd-1: 2", ""),
    }
    assert {(what, one.ok, str(one.detail), str(one.remedy)) for what, one in evidence().items()} == {
        (checks.JOB, True, "ops/mail in de/mo", ""),
        (checks.MAY_RUN, True, checks.ABORTS, ""),
        (checks.HISTORY, True, "7 executions", ""),
        (checks.PROJECT, True, "", ""),
        (checks.MODE, True, "", ""),
        (checks.OPTIONS, True, "", ""),
        (checks.EVIDENCE_TIMEOUT, True, "timeout: 10m", ""),
        (checks.NODES, True, "name: localhost: 2", ""),
    }


@pytest.mark.parametrize(
    ("declared", "node_filter", "ok", "detail"),
    [
        ({"value": ".*"}, "tags: a hostname: ${option.host}", True, "host, default .*"),
        ({"value": ".*", "required": True}, "hostname: ${option.host}", True, "host, default .*"),
        ({"value": ".*"}, "tags: a", None, "the job's node filter does not use host"),
        ({"value": ""}, "hostname: ${option.host}", False, "host has no default, which stands for all hosts"),
        ({"value": ".*", "secure": True}, "hostname: ${option.host}", False, "host is secure, so the history does not show it"),
        (None, "hostname: ${option.host}", False, "host is not declared"),
    ],
)
def test_the_option_that_limits_a_restart_to_a_host(
    said: Said, declared: Any, node_filter: str, ok: bool | None, detail: str
) -> None:
    """Its default is what the job runs with where no single host hangs, and by that its nodes are looked for."""
    said.job["nodefilters"] = {"filter": node_filter}
    said.job["options"] += [{"name": "host", **declared}] if declared is not None else []
    findings = check(holder="host")
    assert (findings[checks.HOLDER].ok, findings[checks.HOLDER].detail) == (ok, detail)
    assert bool(findings[checks.HOLDER].remedy) == (ok is not True)
    assert findings[checks.OPTIONS].ok
    if declared and declared["value"] and "$" in node_filter:
        wanted = node_filter.replace("${option.host}", ".*").replace(" ", "%20").replace(":", "%3A").replace("*", "%2A")
        assert f"project/de%2Fmo/resources?filter={wanted}" in said.asked
    assert checks.HOLDER not in check()
    assert check()[checks.OPTIONS].ok == (declared is None or not declared["value"]), "a default that the runbook does not name"


@pytest.mark.parametrize("left_s", [8 * DAY_S, 7 * DAY_S + 1, 7 * DAY_S, 6 * DAY_S, 0, -DAY_S])
def test_a_token_that_ends_within_a_week(said: Said, left_s: int) -> None:
    """It works until then, so nothing is wrong yet."""
    said.at = said.date = ENDS_AT - left_s
    line = check()[checks.EXPIRY]
    right = left_s > 7 * DAY_S
    assert (line.ok, str(line.remedy)) == ((True, "") if right else (None, "run infra/rundeck/rotate_token.py"))
    assert line.detail == (f"{ENDS}, in {round(left_s / DAY_S)} days" if left_s > 0 else f"expired at {ENDS}")


def test_a_token_whose_end_nobody_wrote_down(said: Said, monkeypatch: pytest.MonkeyPatch) -> None:
    """It can't read its own end, and far ones are counted to the day; without a Date header some proxy has taken the clock."""
    line = check(replace(SETTINGS, token_expires=""))[checks.EXPIRY]
    assert (line.ok, line.detail, "rundeck.token_expires" in str(line.remedy)) == (None, "a token can't read its own end", True)
    said.at = 0.0
    assert (
        check(replace(SETTINGS, token_expires="2999-01-01T00:00:00Z"))[checks.EXPIRY].detail == "far away at 2999-01-01T00:00:00Z"
    )
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
VERSION = Denied("Rundeck", "does not support it", code=DeniedCode.API_VERSION, remedy="set 41")
GONE = Denied("Rundeck", "is not there", code=DeniedCode.JOB, remedy="compare the UUID")
URL = Denied("Rundeck", "is not Rundeck", code=DeniedCode.WRONG_URL, remedy="check the URL")
UNCLEAR = Denied("Rundeck", "says no", remedy="see its log")


@pytest.mark.parametrize(
    ("path", "error", "what", "ok", "remedy"),
    [
        ("system/info", ACL, checks.ANSWERS, False, "load the policy"),
        ("job/x/info", ACL, checks.JOB, False, checks.OTHER_PROJECT),
        ("job/x/info", GONE, checks.JOB, False, "compare the UUID"),
        ("job/x/info", UNCLEAR, checks.JOB, False, "see its log"),
        ("job/x/meta", ACL, checks.MAY_RUN, None, ""),
        ("job/x/meta", VERSION, checks.MAY_RUN, None, ""),
        ("job/x/meta", URL, checks.MAY_RUN, None, ""),
        ("job/x/meta", GONE, checks.MAY_RUN, False, "compare the UUID"),
        ("job/x/executions?max=1", ACL, checks.HISTORY, False, "load the policy"),
        ("project/de%2Fmo/meta?meta=*", ACL, checks.PROJECT, None, ""),
        ("project/de%2Fmo/meta?meta=*", URL, checks.PROJECT, None, ""),
        ("job/x", ACL, checks.DEFINITION, False, "load the policy"),
        ("project/de%2Fmo/resources?filter=name%3A%20rd-1", ACL, checks.NODES, None, checks.NODE_RIGHT),
        ("project/de%2Fmo/resources?filter=name%3A%20rd-1", URL, checks.NODES, False, "check the URL"),
    ],
)
def test_a_question_that_is_refused(said: Said, path: str, error: Denied, what: str, ok: bool | None, remedy: str) -> None:
    """What `check` alone needs to know is unknown then; what a restart needs is wrong. Everything else is reported as it is."""
    left_out = (what, checks.NODES, checks.MODE if what == checks.PROJECT else "")
    others = {one: line for one, line in check().items() if one not in left_out}
    said.bodies[path] = error
    findings = check()
    assert (findings[what].ok, findings[what].detail, findings[what].remedy) == (ok, error.detail, remedy)
    if what == checks.ANSWERS:
        assert list(findings) == [checks.ANSWERS], "nothing else is asked with a token that Rundeck does not take"
    elif what not in (checks.JOB, checks.DEFINITION):
        assert {one: line for one, line in findings.items() if one not in left_out} == others


def test_a_question_without_an_answer(said: Said) -> None:
    """Not known is wrong here: no answer is no Rundeck."""
    said.bodies["job/x/meta"] = Unavailable("Rundeck", "answered 500")
    said.bodies["job/x/info"] = ["what is that"]
    findings = check()
    for what, detail in ((checks.MAY_RUN, "answered 500"), (checks.JOB, "sent something other than what was asked for")):
        assert (findings[what].ok, str(findings[what].detail)) == (False, detail)
        assert findings[what].remedy == "check rundeck.url and the network in between"
    assert findings[checks.GUARD].ok


@pytest.mark.parametrize("body", [b"a: [", b"\xff", b"- 5", b"[]", b"a: 5", b""])
def test_a_definition_that_is_none(said: Said, body: bytes) -> None:
    """Whatever comes there, the other lines are told."""
    said.bodies["job/x"] = body
    line = check()[checks.DEFINITION]
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
        ("project/de%2Fmo/meta?meta=*", [{"name": "config", "data": {}}], checks.PROJECT, None, ""),
        (
            "project/de%2Fmo/meta?meta=*",
            [{"name": "config", "data": {"executionsEnabled": False}}],
            checks.PROJECT, False, "executions are disabled",
        ),
        ("project/de%2Fmo/meta?meta=*", [{"name": "sysMode", "data": {"active": False}}], checks.MODE, False, ""),
        ("project/de%2Fmo/meta?meta=*", [{"name": "sysMode", "data": {"active": "no"}}], checks.MODE, None, ""),
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


LATE, NO_LIMIT = "its first step", "the job has no timeout"
DEFINITIONS = [
    # what differs in the job, the line, whether it is right (...: there is no such line), and what it says
    (
        *({"options": None}, checks.OPTIONS, False),
        "service is not declared; unstick_incident is not declared; unstick_not_after is not declared",
    ),
    (options({"name": "a", "value": "x"}), checks.OPTIONS, False, "a has a default"),
    (options({"name": "a", "required": True}), checks.OPTIONS, False, "a is required"),
    (options({"name": "a", "value": "", "required": False}, "b"), checks.OPTIONS, True, ""),
    (options({"name": "service", "value": "x", "required": True}), checks.OPTIONS, True, ""),
    (options({"name": "service", "secure": True}), checks.OPTIONS, False, "service is secure, so the history does not show it"),
    (options({"name": "a", "secure": True}), checks.OPTIONS, True, ""),
    ({"timeout": "29m"}, checks.TIMEOUT, True, "timeout: 29m"),
    ({"timeout": "30m"}, checks.TIMEOUT, None, "timeout: 30m"),
    ({"timeout": ""}, checks.TIMEOUT, None, NO_LIMIT),
    ({"timeout": None}, checks.TIMEOUT, None, NO_LIMIT),
    ({"timeout": "0"}, checks.TIMEOUT, None, "timeout: 0"),
    ({"timeout": "${option.t}"}, checks.TIMEOUT, None, "the timeout can't be read: ${option.t}"),
    ({"timeout": "x" * 50}, checks.TIMEOUT, None, f"the timeout can't be read: {'x' * 40}..."),
    ({"retry": None}, checks.RETRY, True, ""),
    ({"retry": {"retry": "0", "delay": "5m"}}, checks.RETRY, True, ""),
    ({"retry": 2}, checks.RETRY, None, "retry: 2"),
    ({"retry": {"retry": "${option.r}"}}, checks.RETRY, None, "retry: ${option.r}"),
    ({"retry": "9" * 50}, checks.RETRY, None, f"retry: {'9' * 40}..."),
    ({"multipleExecutions": True}, checks.ONCE, False, ""),
    ({"multipleExecutions": "yes"}, checks.ONCE, False, ""),
    ({"multipleExecutions": None}, checks.ONCE, True, ""),
    (first(), checks.GUARD, True, ""),
    (first(STEP.replace("@option.unstick_not_after@", "$RD_OPTION_UNSTICK_NOT_AFTER")), checks.GUARD, True, ""),
    (first(f"# late?\n{STEP}", keepgoing=False), checks.GUARD, True, ""),
    (first(STEP.replace("unstick_not_after", "other")), checks.GUARD, False, LATE),
    (first(STEP.replace("date +%s", "date")), checks.GUARD, False, LATE),
    (first(STEP.replace("exit 3", "exit 0")), checks.GUARD, False, LATE),
    (first(f"  # {STEP}"), checks.GUARD, False, LATE),
    ({"sequence": {"commands": ["x", {"script": STEP}]}}, checks.GUARD, False, LATE),
    ({"sequence": {"commands": {"script": STEP}}}, checks.GUARD, False, LATE),
    ({"sequence": {"commands": []}}, checks.GUARD, False, LATE),
    ({"sequence": [{"script": STEP}]}, checks.GUARD, False, LATE),
    (first(keepgoing=True), checks.GUARD, False, "keepgoing is true"),
    (first(strategy="z" * 50), checks.GUARD, False, f"the strategy {'z' * 40}... does not wait"),
    ({"sequence": {"commands": [{"script": STEP, "errorhandler": {}}]}}, checks.GUARD, False, "the first step has an error"),
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
    if what == checks.GUARD:
        assert check(auto=False)[what].ok is (True if ok else None)


@pytest.mark.parametrize(
    ("value", "wrong"), [("mail", False), ("post", True), ("${labels.service}", False), ("x-${labels.service}", False)]
)
def test_values_that_the_job_does_not_allow(said: Said, value: str, wrong: bool) -> None:
    """Each start would be refused; a value with labels is known only when an alert comes."""
    said.job["options"][0] = {"name": "service", "enforced": True, "values": ["mail", "web"]}
    restart = Restart("x", {"service": value})
    findings = {one.what: one for one in checks.check(SETTINGS, restart, auto=True, timeout_s=PATIENCE_S)}
    assert (checks.VALUES in findings) is wrong
    if wrong:
        assert (findings[checks.VALUES].ok, findings[checks.VALUES].detail) == (False, f"service: {value}")


def test_options_of_an_evidence_job(said: Said) -> None:
    """Only those of the runbook must be there; the tag counts if it is declared. A time-out is all that is wanted."""
    said.job = {"options": [{"name": "unstick_incident", "secure": True}, "odd", {"name": "pid", "required": True}]}
    findings = evidence()
    assert findings[checks.OPTIONS].detail == (
        "service is not declared; unstick_incident is secure, so the history does not show it; pid is required"
    )
    assert "evidence.options" in str(findings[checks.OPTIONS].remedy)
    assert findings[checks.EVIDENCE_TIMEOUT].ok is None
    assert findings[checks.EVIDENCE_TIMEOUT].remedy == "set the job's timeout below a minute, and above evidence.within, 20 s"
    said.job = {"timeout": "999999999d"}
    assert evidence()[checks.EVIDENCE_TIMEOUT].ok is True
    said.job = {"options": [{"name": "service"}]}
    assert evidence()[checks.OPTIONS].ok is True


@pytest.mark.parametrize(
    ("timeout", "seconds"),
    [("1", 1), ("90", 90), ("1s", 1), ("1m", 60), ("1h", 3600), ("1d", 86400), ("1d 2h3m 4s ", 93784), (600, 600)],
)
def test_a_timeout_has_to_be_shorter_than_the_longest_run(said: Said, timeout: str | int, seconds: int) -> None:
    """One that is as long is reported as hung at the moment at which Rundeck ends it."""
    said.job["timeout"] = timeout
    for max_run_s, ok in ((seconds - 0.5, None), (seconds, None), (seconds + 0.5, True)):
        line = check(max_run_s=max_run_s)[checks.TIMEOUT]
        assert (line.ok, line.detail) == (ok, f"timeout: {timeout}")
        assert line.remedy == ("" if ok else f"set the job's timeout below restart.max_run, {max_run_s / 60:g} min")
