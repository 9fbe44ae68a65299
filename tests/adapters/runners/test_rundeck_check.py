"""What `check` makes of each answer that Rundeck may give, and of the files in infra/rundeck."""

import subprocess
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import requests
import yaml
from msgspec.structs import replace

from functions.adapters.checks import HOLDER_HOSTS
from functions.adapters.runners.rundeck import Rundeck as Settings
from functions.adapters.runners.rundeck import checks
from functions.application.ports import Finding
from functions.domain.model.runbooks import EvidenceJob, HolderOption, Restart
from functions.runtime.errors import Denied, DeniedCode, Unavailable
from testbed.doubles.rundeck import INCIDENT, NOT_AFTER, Rundeck
from testbed.patience import PATIENCE_S
from tests.adapters.runners.systems import AT, SETTINGS, Said, recorded

SHIPPED_JOB = Path(__file__).parents[3] / "infra" / "rundeck" / "job.yaml"
OPTIONS_ARE = "the job declares the options that are sent"
HOLDER = "the job can be limited to the host that hangs"
ONCE = "the job runs once at a time"
GUARD = "the job refuses a late start"
RETRY = "only Unstick tries a restart again"
DEFINITION = "the job's definition can be read"
LASTS = "the token lasts for a week"
CLOCK = "Rundeck's clock is within 30 s of ours"
PROJECT_META = "project/de%2Fmo/meta?meta=*"
STEP = "test $(date +%s) -le @option.unstick_not_after@ || exit 3"
OPTIONS = tuple({"name": name} for name in ("service", "unstick_incident", "unstick_not_after"))


@pytest.fixture
def job(said: Said) -> dict[str, Any]:
    """The definition that Rundeck has of the job, of which all is well."""
    job: dict[str, Any] = {
        "sequence": {"commands": [{"script": STEP}], "strategy": "sequential"},
        "options": list(OPTIONS),
        "nodefilters": {"filter": "name: rd-1"},
    }
    said.bodies |= {
        "system/info": {"system": {"rundeck": {"version": "6.2.0", "apiversion": 59}}},
        "job/x/info": {"name": "mail", "group": "ops", "project": "de/mo", "enabled": True},
        "job/x/meta": [{"name": "other", "data": {"run": False}}, {"name": "authz", "data": {"run": True}}],
        PROJECT_META: recorded("project-meta-46")["body"],
        "job/x/executions?max=1": {"paging": {"total": 7}, "executions": [{}]},
        "job/x": lambda _: yaml.safe_dump([job]).encode(),
        "": {"rd-1": {"node-executor": "local"}, "rd-2": {"always-set-pty": "true"}},  # the nodes of any filter
    }
    return job


def check(restart: Restart | None = None, settings: Settings = SETTINGS, *, auto: bool = True) -> dict[str, Finding]:
    restart = restart or Restart("x", {"service": "y"})
    findings = settings.check(restart, None, frozenset(), auto=auto, timeout_s=PATIENCE_S)
    return {line.what: line for line in findings}


def check_evidence(evidence: EvidenceJob, settings: Settings = SETTINGS) -> dict[str, Finding]:
    findings = settings.check(Restart("gone"), evidence, frozenset(), auto=True, timeout_s=PATIENCE_S)
    return {line.what.removeprefix("evidence: "): line for line in findings if line.what.startswith("evidence: ")}


EVIDENCE = EvidenceJob("x", {"service": "y"})


@pytest.mark.parametrize(
    ("declared", "node_filter", "ok", "detail"),
    [
        ({"value": ".*"}, "tags: a hostname: ${option.host}", True, "host"),
        ({"value": ".*"}, "tags: a", None, "the job's node filter does not use host"),
        (None, "hostname: ${option.host}", False, "host has no default, which stands for all hosts"),
        ({"value": "all"}, "hostname: ${option.host}", False, "the default of host could be a host"),
    ],
)
def test_the_option_that_limits_a_restart_to_a_host(
    said: Said, job: dict[str, Any], declared: Any, node_filter: str, ok: bool | None, detail: str
) -> None:
    """Its default is what the job runs with where no single host hangs, and by that its nodes are looked for."""
    job["nodefilters"] = {"filter": node_filter}
    job["options"] += [{"name": "host", **declared}] if declared is not None else []
    findings = check(Restart("x", {"service": "y"}, holder=HolderOption("host", ".")))
    assert (findings[HOLDER].ok, findings[HOLDER].detail) == (ok, detail)
    assert bool(findings[HOLDER].remedy) == (ok is not True)
    assert findings[OPTIONS_ARE].detail == ("" if declared else "host is not declared")
    if declared and "$" in node_filter:
        wanted = (
            node_filter.replace("${option.host}", declared["value"]).replace(" ", "%20").replace(":", "%3A").replace("*", "%2A")
        )
        assert f"project/de%2Fmo/resources?filter={wanted}" in said.asked
    assert check()[OPTIONS_ARE].ok is (declared is None), "a default that the runbook does not name"


@pytest.mark.parametrize(
    ("allow", "consumers", "limits", "lost"),
    [
        ("mail-[12]", ("mail-1", "other"), {"regex": "mail-1"}, "mail-2"),  # a node
        (r"10\.0\.3\.7", ("10.0.3.7", "10.0.3.8"), {"enforced": True, "values": [".*", "mail-2"]}, "10.0.3.7"),  # a consumer
        (r"mail-2|(a\.b)|x.*|[cd]", (), {"regex": "mail-2"}, "a.b"),  # listed
        ("mail-[12]", ("mail-1",), {"regex": "^mail-[0-9]$"}, ""),
    ],
)
@pytest.mark.parametrize("name", ["", "evidence: "])
def test_the_option_takes_each_host_that_may_be_sent(
    said: Said, job: dict[str, Any], allow: str, consumers: tuple[str, ...], limits: dict[str, Any], lost: str, name: str
) -> None:
    """Rundeck refuses a start for another one, of the restart's and of the evidence job, and the incident learns it then."""
    job["options"].append({"name": "host", "value": ".*", **limits})
    said.bodies[""] = {name: {"node-executor": "local", "hostname": name} for name in ("mail-1", "mail-2")}
    restart, evidence = Restart("x", {"service": "y"}, holder=HolderOption("host", allow)), None
    if name:
        restart, evidence = Restart("x"), EvidenceJob("x", {"service": "y", "host": "${holder.host}"}, {"host": allow})
    lines = SETTINGS.check(restart, evidence, frozenset(consumers), auto=True, timeout_s=PATIENCE_S)
    (line,) = [line for line in lines if line.what == name + HOLDER_HOSTS]
    assert (line.ok, line.detail) == ((False, f"host does not allow {lost}") if lost else (True, "1 of 1 match `allow` of host"))


@pytest.mark.usefixtures("said")
def test_literal_options_of_evidence_are_compared(job: dict[str, Any]) -> None:
    """What comes with the alert, or names the holder, is not known yet."""
    job["options"] = [{"name": "service", "regex": "z"}, {"name": "host", "regex": "z"}]
    line = check_evidence(EvidenceJob("x", {"service": "y", "host": "${holder.host}"}))[OPTIONS_ARE]
    assert (line.ok, line.detail) == (False, "service does not allow y")


@pytest.mark.parametrize(
    ("left_s", "ok", "said_of_it", "remedy"),
    [
        (7 * 86400 + 1, True, "it expires in 7 d 0 h", ""),
        (7 * 86400, False, "it expires in 7 d 0 h", "infra/rundeck/rotate_token.py"),
        (0, False, "it has expired", "infra/rundeck/rotate_token.py"),
        (None, None, "a token can't read its own end", "rundeck.token_expires"),
    ],
)
@pytest.mark.usefixtures("job")
def test_a_token_that_ends_soon_fails(left_s: float | None, ok: bool | None, said_of_it: str, remedy: str) -> None:
    """From a week before, with how to replace it: a check of every week is in time."""
    ends = "" if left_s is None else datetime.fromtimestamp(AT + left_s, UTC).isoformat()
    line = check(settings=replace(SETTINGS, token_expires=ends))[LASTS]
    assert (line.ok, line.detail, remedy in str(line.remedy)) == (ok, said_of_it, True)


@pytest.mark.parametrize(("ahead_s", "ok", "said_of_it"), [(30, True, "+30 s"), (31, False, "+31 s"), (-31, False, "-31 s")])
@pytest.mark.usefixtures("job")
def test_clocks_may_be_half_a_minute_apart(said: Said, ahead_s: int, ok: bool, said_of_it: str) -> None:
    """Beyond that a start may be refused as late that is not, or be carried out though it is."""
    said.date = AT + ahead_s
    line = check()[CLOCK]
    assert (line.ok, line.detail, bool(line.remedy)) == (ok, said_of_it, not ok)


MAY_NOT = Denied("Rundeck", "may not", code=DeniedCode.ACL, remedy="load the policy")
GONE = Denied("Rundeck", "is not there", code=DeniedCode.JOB, remedy="compare the UUID")
OTHER = "sent something other than what was asked for"
PASSIVE = [{"name": "config", "data": {"executionsEnabled": True}}, {"name": "sysMode", "data": {"active": False}}]
RESOURCES = "project/de%2Fmo/resources?filter=name%3A%20rd-1"


@pytest.mark.parametrize(
    ("path", "answer", "what", "ok", "detail", "remedy"),
    [
        ("system/info", MAY_NOT, checks.ANSWERS, False, "may not", "load the policy"),
        ("job/x/info", GONE, checks.JOB, False, "is not there", "compare the UUID"),
        ("job/x/info", {"name": "m", "group": "a/b", "project": "de/mo"}, checks.JOB, False, "a/b/m in de/mo", "enable"),
        ("job/x/meta", MAY_NOT, checks.MAY_RUN, None, "may not", "load the policy"),
        ("job/x/meta", Unavailable("Rundeck", "answered 500"), checks.MAY_RUN, False, "answered 500", checks.UNREACHABLE),
        ("job/x/meta", [{"name": "authz", "data": {"run": False}}], checks.MAY_RUN, False, "its role lacks `run` on the job", ""),
        ("job/x/meta", {"name": "authz"}, checks.MAY_RUN, None, checks.ABORTS, ""),
        ("job/x/executions?max=1", MAY_NOT, checks.HISTORY, False, "may not", "load the policy"),
        ("job/x/executions?max=1", {"paging": {"total": 1}, "executions": []}, checks.HISTORY, False, "1 executions", ""),
        ("job/x", MAY_NOT, DEFINITION, False, "may not", "load the policy"),
        *(("job/x", odd, DEFINITION, False, OTHER, "") for odd in (b"a: [", b"\xff", b"- 5", b"a: 5", b"")),
        (PROJECT_META, recorded("project-meta-executions-disabled")["body"],
            checks.STARTS, False, "executions are disabled", "Enable executions"),
        (PROJECT_META, PASSIVE, checks.STARTS, False, "is in passive mode and starts nothing", "execution mode to active"),
        (PROJECT_META, Denied("Rundeck", "refused the request"), checks.STARTS, None, "refused the request", ""),
        (RESOURCES, {}, checks.NODES, False, "no node of `name: rd-1` that the token may use", ""),
    ],
)  # fmt: skip
@pytest.mark.usefixtures("job")
def test_what_an_answer_means(said: Said, path: str, answer: Any, what: str, ok: bool | None, detail: str, remedy: str) -> None:
    """A clear no is wrong, and comes with a remedy; what is not said, or what `check` alone needs to know, is unknown then.

    All else is told as it is; but nothing is asked with a token that is refused, or about a job that is hidden.
    """
    others = check()
    said.bodies[path] = answer
    findings = check()
    line = findings[what]
    assert (line.ok, str(line.detail)) == (ok, detail)
    assert remedy in str(line.remedy)
    assert bool(line.remedy) == (ok is False or remedy != "")
    if what == checks.ANSWERS or (path == "job/x/info" and not isinstance(answer, dict)):
        assert list(findings)[-1] == what
    elif what not in (DEFINITION, checks.NODES):
        assert findings | {what: others[what]} == others


PTY = {"always-set-pty": "true"}


@pytest.mark.parametrize(
    ("nodes", "ok", "detail"),
    [
        ({"a": PTY, "b": PTY | {"node-executor": "sshj-ssh"}}, True, "a terminal: a, b"),
        (
            {"a": PTY, "b": {"node-executor": "jsch-ssh", "always-set-pty": "false"}, "c": {}},
            None,
            "a terminal: a; no terminal: b, c",
        ),
        ({"a": PTY | {"node-executor": "ssh-exec"}}, None, "ssh-exec: a"),
        ({"a": {"node-executor": "local"}}, True, "local: a"),
    ],
)
@pytest.mark.usefixtures("job")
def test_each_node_is_named_with_or_without_a_terminal(said: Said, nodes: dict[str, Any], ok: bool | None, detail: str) -> None:
    """Without one, a command over SSH outlives its run: what that means is said, and what to set."""
    said.bodies[RESOURCES] = nodes
    line = check()[checks.TERMINALS]
    assert (line.ok, line.detail) == (ok, detail)
    assert ok or ("outlives a lost connection" in str(line.remedy) and "`always-set-pty: 'true'`" in str(line.remedy))


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
    (options({"name": "a", "value": "", "required": False, "secure": True}, "b"), OPTIONS_ARE, True, ""),
    (options({"name": "service", "secure": True}), OPTIONS_ARE, False, "service is secure, so the history does not show it"),
    *(
        (
            {"options": [{"name": "service", **limits}, *OPTIONS[1:]]},
            OPTIONS_ARE,
            not said,
            said and f"service does not allow {said}",
        )
        for limits, said in (
            ({"values": ["z"]}, ""),
            ({"enforced": True, "values": ["z"]}, "y"),
            ({"enforced": True, "values": ["z", "y"], "regex": "z"}, ""),
            ({"enforced": True}, ""),  # its values come from a URL
            ({"regex": "[a-z]"}, ""),
            ({"regex": "^[a-x]+$"}, "y"),
            ({"regex": "y?x"}, "y"),  # the whole value counts
            ({"regex": "(?!y).*"}, ""),  # RE2 doesn't know it
        )
    ),
    ({"retry": 2}, RETRY, None, "retry: 2"),
    ({"retry": {"retry": "${option.r}"}}, RETRY, None, "retry: ${option.r}"),
    ({"multipleExecutions": True}, ONCE, False, "several times at once"),
    (first(STEP.replace("@option.unstick_not_after@", "$RD_OPTION_UNSTICK_NOT_AFTER")), GUARD, True, ""),
    (first(f"# late?\n{STEP}", keepgoing=False), GUARD, True, ""),
    (first(STEP.replace("unstick_not_after", "other")), GUARD, False, LATE),
    (first(STEP.replace("exit 3", "exit 0")), GUARD, False, LATE),
    (first(f"  # {STEP}"), GUARD, False, LATE),
    *(({"sequence": {"commands": odd}}, GUARD, False, LATE) for odd in (["x", {"script": STEP}], {"script": STEP}, [])),
    (first(keepgoing=True), GUARD, False, "keepgoing is true"),
    ({"sequence": {"commands": [{"script": STEP, "errorhandler": {}}]}}, GUARD, False, "the first step has an error"),
    (first(strategy="z" * 50), GUARD, False, f"the strategy {'z' * 40}... does not wait"),
    ({"nodefilters": {"filter": "name: ${option.elsewhere}"}}, checks.NODES, ..., ""),
    ({"nodefilters": {"filter": "name: ${option.service}"}}, checks.NODES, True, "name: y: 2"),
]


@pytest.mark.parametrize(("change", "what", "ok", "detail"), DEFINITIONS)
def test_what_a_definition_comes_to(job: dict[str, Any], change: dict[str, Any], what: str, ok: Any, detail: str) -> None:
    """What is sent must be declared and shown, a late start must fail and end the run, and two restarts at once are one too many.

    What ends or repeats a run otherwise is pointed out. Only `auto` needs the guard.
    """
    job |= change
    line = check().get(what)
    if line is None:
        assert ok is ...
        return
    assert (line.ok, bool(line.remedy)) == (ok, ok is not True)
    assert detail in str(line.detail)
    if what == GUARD:
        assert check(auto=False)[what].ok is (True if ok else None)


def shipped_jobs() -> list[Path]:
    """Every file below infra that is a list of jobs."""
    files = sorted(SHIPPED_JOB.parents[1].rglob("*.y*ml"))
    return [file for file in files if "\n  sequence:" in file.read_text()]


@pytest.mark.parametrize("file", shipped_jobs(), ids=lambda file: "/".join(file.parts[-2:]))
def test_rundeck_takes_every_job_that_is_shipped(double: Rundeck, settings: Settings, file: Path) -> None:
    """A new user's first step: the import lists the job under `succeeded`, and `check` then has nothing against it."""
    double.tokens["admin-token"] = "admin"
    double.state.jobs.clear()
    double.state.nodes = {**double.state.nodes, "kubectl-1": ("kubectl",)}
    answer = requests.post(
        f"{double.url}/api/41/project/demo/jobs/import?fileformat=yaml&dupeOption=update",
        data=file.read_bytes(),
        headers={"X-Rundeck-Auth-Token": "admin-token", "Content-Type": "application/yaml", "Accept": "application/json"},
        timeout=PATIENCE_S,
    )
    assert (answer.status_code, answer.json()["failed"]) == (200, [])
    (taken,) = answer.json()["succeeded"]
    sent = {
        option["name"]: "${labels.x}" for option in yaml.safe_load(file.read_text())[0]["options"] if option["name"] != INCIDENT
    }
    settings = replace(settings, token_expires="2999-01-01T00:00:00Z")
    if file.name.startswith("evidence-"):
        findings = check_evidence(EvidenceJob(taken["id"], sent), settings)
    else:
        del sent[NOT_AFTER]
        findings = check(Restart(taken["id"], sent), settings)
    assert [what for what, finding in findings.items() if finding.ok is not True] == []


@pytest.mark.parametrize(("ahead_s", "status"), [(-5, 3), (600, 0), (None, 0)], ids=["late", "in time", "run by a person"])
def test_own_guard_refuses_a_late_start(ahead_s: int | None, status: int) -> None:
    """The first step of the shipped definition, run by a shell: late ends with 3, in time and without a limit with 0."""
    script: str = yaml.safe_load(SHIPPED_JOB.read_text())[0]["sequence"]["commands"][0]["script"]
    value = "" if ahead_s is None else str(int(time.time()) + ahead_s)
    step = script.replace(f"@option.{NOT_AFTER}@", value)
    done = subprocess.run(["sh"], input=step, capture_output=True, text=True, check=False, timeout=PATIENCE_S)
    assert done.returncode == status
    assert ("too late" in done.stdout) is (status == 3)


def test_policy_names_the_job_and_both_contexts() -> None:
    """The policy fits the definition: same job, project and application context, run and history allowed."""
    job = yaml.safe_load(SHIPPED_JOB.read_text())[0]
    project, application = yaml.safe_load_all((SHIPPED_JOB.parent / "unstick.aclpolicy").read_text())
    rule, *_ = project["for"]["job"]
    assert rule["equals"] == {"group": job["group"], "name": job["name"]}
    assert "run" in rule["allow"]
    assert project["for"]["resource"] == [{"equals": {"kind": kind}, "allow": ["read"]} for kind in ("event", "node")]
    assert application["for"]["storage"] == [{"match": {"path": "keys/consumers/.*"}, "allow": ["read"]}]
    assert (project["context"], application["context"]) == ({"project": "demo"}, {"application": "rundeck"})
    assert project["by"] == application["by"]
