"""What `check` finds out about Rundeck, and the files in infra/rundeck."""

from __future__ import annotations

import subprocess
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import requests
import yaml
from msgspec.structs import replace

from functions.adapters.runners import rundeck
from functions.adapters.runners.rundeck import checks
from functions.adapters.runners.rundeck.client import Settings
from functions.application.ports import Finding
from functions.runtime.errors import Denied
from tests.support.doubles.rundeck import INCIDENT, NOT_AFTER, OWN, TOKEN, Job, Option, Rundeck
from tests.support.patience import PATIENCE_S

DEFINITION = Path(__file__).parents[3] / "infra" / "rundeck" / "job.yaml"
JOB = Job().id


@pytest.fixture
def settings(settings: Settings) -> Settings:
    return replace(settings, token_expires="2999-01-01T00:00:00Z")


def check(
    settings: Settings, *, auto: bool = True, options: tuple[str, ...] = ("service",), job: str = JOB, max_run_s: float = 1800.0
) -> dict[str, Finding]:
    found = rundeck.check(settings, job, options, auto=auto, max_run_s=max_run_s, timeout_s=PATIENCE_S)
    return {finding.what: finding for finding in found}


def test_all_is_well(double: Rundeck, settings: Settings) -> None:
    """With the least permissions everything can be found out, and nothing is changed."""
    assert [(what, finding.ok) for what, finding in check(settings).items() if finding.ok is not True] == []
    assert {request.method for request in double.requests} == {"GET"}


def test_wrong_token_ends_the_check(double: Rundeck, settings: Settings) -> None:
    """Nothing else is asked with a token that Rundeck does not take."""
    double.tokens = {}
    ((_, finding),) = check(settings).items()
    assert finding.ok is False
    assert finding.remedy


WELL = (Option("service"), *OWN)


@pytest.mark.parametrize(
    ("change", "what", "ok"),
    [
        ({"enabled": False}, "Rundeck's job exists and is enabled", False),
        ({"options": (Option("service"),)}, "the job declares the options that are sent", False),
        ({"options": (*WELL, Option("hard", default="yes"))}, "the job declares the options that are sent", False),
        ({"options": (*WELL, Option("reason", required=True))}, "the job declares the options that are sent", False),
        ({"options": (Option("service", secure=True), *OWN)}, "the job declares the options that are sent", False),
        ({"limit": 0}, "the job runs once at a time", False),
        ({"guard": False}, "the job refuses a late start", False),
        ({"keepgoing": True}, "the job refuses a late start", False),
        ({"strategy": "parallel"}, "the job refuses a late start", False),
        ({"error_handler": True}, "the job refuses a late start", False),
        ({"nodes": "tags: consumers"}, "the job refuses a late start on all nodes before it restarts one", None),
        ({"nodes": "tags: nosuchtag", "strategy": "sequential"}, "the job's node filter matches nodes", False),
        ({"retries": 2}, "only Unstick tries a restart again", None),
        ({"timeout_s": None}, "Rundeck ends a run before Unstick reports it as hung", None),
        ({"timeout_s": 1800.0}, "Rundeck ends a run before Unstick reports it as hung", None),
    ],
)
def test_what_is_wrong_with_a_job(
    double: Rundeck, settings: Settings, change: dict[str, Any], what: str, ok: bool | None
) -> None:
    """Each mistake in the job's definition has its own line and remedy."""
    for name, value in change.items():
        setattr(double.state.jobs[JOB], name, value)
    found = check(settings)
    assert [line for line, finding in found.items() if finding.ok is not True] == [what]
    assert found[what].ok is ok
    assert found[what].remedy


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"keepgoing": True}, "keepgoing"),
        ({"strategy": "parallel"}, "the strategy parallel"),
        ({"error_handler": True}, "error handler"),
        ({"guard": False}, "does not compare unstick_not_after"),
    ],
)
def test_what_defeats_the_guard_is_named(double: Rundeck, settings: Settings, change: dict[str, Any], said: str) -> None:
    """The first step is there in three of the four cases, so the remedy is not to put it there."""
    for name, value in change.items():
        setattr(double.state.jobs[JOB], name, value)
    finding = check(settings)["the job refuses a late start"]
    assert said in str(finding.detail)
    assert ("put the first step" in str(finding.remedy)) is (change == {"guard": False})


def test_disabled_project_is_found(double: Rundeck, settings: Settings) -> None:
    """The job is enabled, and yet Rundeck refuses every run of it."""
    double.state.disabled_projects.add("demo")
    assert [what for what, finding in check(settings).items() if finding.ok is not True] == ["the project runs jobs"]


def test_passive_mode_is_seen_without_the_right_on_the_system(double: Rundeck, settings: Settings) -> None:
    """The project shows it to everybody who may read the job."""
    double.state.passive, double.tokens = True, {TOKEN: "no-events"}
    assert check(settings)["Rundeck's mode is active"].ok is False


def test_missing_right_on_events_is_named(double: Rundeck, settings: Settings) -> None:
    """Without it every alert is held as `ledger_unknown`, and the policy has the line that is missing."""
    double.tokens = {TOKEN: "no-events"}
    finding = check(settings)["the job's history can be read"]
    assert finding.ok is False
    assert "events" in str(finding.detail)
    assert "`read` on the resource kind event" in str(finding.remedy)


def test_nodes_that_the_policy_does_not_name_are_found(double: Rundeck, settings: Settings) -> None:
    """The filter matches, but the token's role has no right on the node: each run ends with "No matched nodes"."""
    double.state.jobs[JOB].nodes, double.state.hidden_nodes = "tags: consumers", {"mail-1"}
    finding = check(settings)["the job's node filter matches nodes"]
    assert finding.ok is False
    assert "tags: consumers" in str(finding.detail)
    assert "policy" in str(finding.remedy)


def test_job_of_another_project_is_named(double: Rundeck, settings: Settings) -> None:
    """The shipped UUID can be another project's, which the policy does not cover."""
    double.tokens = {TOKEN: "none"}
    finding = check(settings)["Rundeck's job exists and is enabled"]
    assert finding.ok is False
    assert "another project has this UUID" in str(finding.remedy)


@pytest.mark.parametrize(
    ("timeout", "ok"), [("10m", True), ("29m 59s", True), ("1799", True), ("30m", None), ("1d", None), ("${option.t}", None)]
)
def test_timeouts_as_people_write_them(timeout: str, ok: bool | None) -> None:
    """Seconds, units, several of them; what an option gives can't be compared."""
    assert checks._check_timeout({"timeout": timeout}, 1800.0, "restart.max_run").ok is ok


def test_filter_of_an_option_is_left_out(double: Rundeck, settings: Settings) -> None:
    """Nobody knows the nodes before the job runs."""
    double.state.jobs[JOB].nodes = "name: ${option.service}"
    assert "the job's node filter matches nodes" not in check(settings)


@pytest.mark.parametrize(("in_days", "ok"), [(8, True), (6, None), (-1, None), (None, None)])
def test_end_of_the_token_is_shown(settings: Settings, in_days: int | None, ok: bool | None) -> None:
    """A week before it ends, and where nobody wrote it down, there is something to do."""
    ends = "" if in_days is None else datetime.fromtimestamp(time.time() + in_days * 86400, UTC).isoformat()
    finding = check(replace(settings, token_expires=ends))["Rundeck's token does not expire within a week"]
    assert finding.ok is ok
    assert bool(finding.remedy) is (ok is None)


def test_guard_is_needed_for_auto_only(double: Rundeck, settings: Settings) -> None:
    """Without the guard `auto` is wrong; the other modes are told that it will be needed."""
    double.state.jobs[JOB].guard = False
    assert check(settings, auto=False)["the job refuses a late start"].ok is None


def test_unknown_job_and_passive_mode_and_clock(double: Rundeck, settings: Settings) -> None:
    """What is wrong outside the definition is found too."""
    double.state.passive, double.state.clock_ahead_s = True, 90
    found = check(settings, job="99999999-9999-4999-8999-999999999999")
    assert {what for what, finding in found.items() if finding.ok is False} >= {
        "Rundeck's job exists and is enabled",
        "Rundeck's mode is active",
        "Rundeck's clock is within 30 s of ours",
    }


def test_missing_permission_to_run(double: Rundeck, settings: Settings) -> None:
    """A token that may read only is found out without running."""
    double.tokens = {TOKEN: "viewer"}
    found = check(settings)
    assert found["the token may run the job"].ok is False
    assert found["the job's node filter matches nodes"].ok is None, "a right that only `check` needs"


def test_older_server_leaves_the_run_permission_unknown(double: Rundeck, settings: Settings) -> None:
    """Before API 46 nobody can tell without running: not known is no mistake."""
    denied = Denied("Rundeck", "does not support this API version", code="api_version")
    assert checks._failed(checks.MAY_RUN, denied).ok is None
    assert checks._failed(checks.MODE, denied).ok is None
    assert checks._failed(checks.HISTORY, denied).ok is False


# --- infra/rundeck


def shipped_jobs() -> list[Path]:
    """Every file below infra that is a list of jobs."""
    files = sorted(DEFINITION.parents[1].rglob("*.y*ml"))
    return [file for file in files if "\n  sequence:" in file.read_text()]


def check_shipped(settings: Settings, job: dict[str, Any], file: Path) -> dict[str, Finding]:
    """`check` as the runbook that names the job would have it."""
    if not file.name.startswith("evidence-"):
        return check(settings, job=job["id"])
    options = [one["name"] for one in yaml.safe_load(file.read_text())[0]["options"] if one["name"] != INCIDENT]
    found = rundeck.check_evidence(settings, job["id"], tuple(options), within_s=20.0, timeout_s=PATIENCE_S)
    return {finding.what: finding for finding in found}


@pytest.mark.parametrize("file", shipped_jobs(), ids=lambda file: "/".join(file.parts[-2:]))
def test_rundeck_takes_every_job_that_is_shipped(double: Rundeck, settings: Settings, file: Path) -> None:
    """A new user's first step: the import lists the job under `succeeded`, and `check` then has nothing against it."""
    double.tokens["admin-token"] = "admin"
    double.state.jobs.clear()
    answer = requests.post(
        f"{double.url}/api/41/project/demo/jobs/import?fileformat=yaml&dupeOption=update",
        data=file.read_bytes(),
        headers={"X-Rundeck-Auth-Token": "admin-token", "Content-Type": "application/yaml", "Accept": "application/json"},
        timeout=PATIENCE_S,
    )
    assert (answer.status_code, answer.json()["failed"]) == (200, [])
    (job,) = answer.json()["succeeded"]
    assert [what for what, finding in check_shipped(settings, job, file).items() if finding.ok is not True] == []


def test_lab_and_example_are_found() -> None:
    """The test above looks at both files that exist today."""
    assert len(shipped_jobs()) >= 2


def test_own_definition_passes_the_check(double: Rundeck, settings: Settings) -> None:
    """The job definition that Unstick ships is one that `check` accepts for mode auto."""
    double.definitions[JOB] = yaml.safe_load(DEFINITION.read_text())
    assert [what for what, finding in check(settings).items() if finding.ok is not True] == []


@pytest.mark.parametrize(("ahead_s", "status"), [(-5, 3), (600, 0), (None, 0)], ids=["late", "in time", "run by a person"])
def test_own_guard_refuses_a_late_start(tmp_path: Path, ahead_s: int | None, status: int) -> None:
    """The first step of the shipped definition, run by a shell: late ends with 3, in time and without a limit with 0."""
    script = guard_script()
    value = "" if ahead_s is None else str(int(time.time()) + ahead_s)
    file = tmp_path / "step"
    file.write_text(script.replace(f"@option.{NOT_AFTER}@", value))
    done = subprocess.run(["sh", str(file)], capture_output=True, text=True, check=False, timeout=PATIENCE_S)
    assert done.returncode == status
    assert ("too late" in done.stdout) is (status == 3)


def guard_script() -> str:
    script: str = yaml.safe_load(DEFINITION.read_text())[0]["sequence"]["commands"][0]["script"]
    return script


@pytest.mark.parametrize(
    "change",
    [
        {"keepgoing": True},
        {"strategy": "parallel"},
        {"commands": [{"exec": "restart"}, {"script": "x"}]},
        {"commands": []},
        {"commands": [{"script": "# @option.unstick_not_after@ date +%s exit 3"}]},
        {"commands": [{"script": "test $(date +%s) -le @option.unstick_not_after@ || exit 0"}]},
    ],
)
def test_what_is_no_guard(change: dict[str, Any]) -> None:
    """A guard is the first step, can fail, and its failure ends the run."""
    job = yaml.safe_load(DEFINITION.read_text())[0]
    assert checks.guard_problem(job, NOT_AFTER) == ("", "")
    job["sequence"] |= change
    assert all(checks.guard_problem(job, NOT_AFTER))


def test_policy_names_the_job_and_both_contexts() -> None:
    """The policy fits the definition: same job, project and application context, run and history allowed."""
    job = yaml.safe_load(DEFINITION.read_text())[0]
    project, application = yaml.safe_load_all((DEFINITION.parent / "unstick.aclpolicy").read_text())
    rule, _evidence = project["for"]["job"]
    assert rule["equals"] == {"group": job["group"], "name": job["name"]}
    assert "run" in rule["allow"]
    kinds = ("event", "node")
    assert project["for"]["resource"] == [{"equals": {"kind": kind}, "allow": ["read"]} for kind in kinds]
    assert (project["context"], application["context"]) == ({"project": "demo"}, {"application": "rundeck"})
    assert project["by"] == application["by"]
