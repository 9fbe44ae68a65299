"""What `check` finds out about Rundeck, and the files in infra/rundeck."""

import re
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest
import requests
import yaml
from msgspec.structs import replace

from functions.adapters.runners.rundeck import Rundeck as Settings
from functions.adapters.runners.rundeck import checks
from functions.application.ports import Finding
from functions.domain.model.runbooks import EvidenceJob, HolderOption, Restart
from testbed.doubles.rundeck import INCIDENT, NOT_AFTER, Job, Rundeck
from testbed.patience import PATIENCE_S

DEFINITION = Path(__file__).parents[3] / "infra" / "rundeck" / "job.yaml"
JOB = Job().id


@pytest.fixture
def settings(settings: Settings) -> Settings:
    return replace(settings, token_expires="2999-01-01T00:00:00Z")


def check(
    settings: Settings, *, auto: bool = True, options: tuple[str, ...] = ("service",), job: str = JOB, max_run_s: float = 1800.0
) -> dict[str, Finding]:
    restart = Restart(job, dict.fromkeys(options, "x"), max_run_s=max_run_s)
    findings = checks.check(settings, restart, None, frozenset(), auto=auto, timeout_s=PATIENCE_S)
    return {finding.what: finding for finding in findings}


def test_all_is_well(double: Rundeck, settings: Settings) -> None:
    """With the least permissions everything can be found out, and nothing is changed."""
    assert [(what, finding.ok) for what, finding in check(settings).items() if finding.ok is not True] == []
    assert {request.method for request in double.requests} == {"GET"}


# --- infra/rundeck


def shipped_jobs() -> list[Path]:
    """Every file below infra that is a list of jobs."""
    files = sorted(DEFINITION.parents[1].rglob("*.y*ml"))
    return [file for file in files if "\n  sequence:" in file.read_text()]


def check_shipped(settings: Settings, job: dict[str, Any], file: Path) -> dict[str, Finding]:
    """`check` as the runbook that names the job would have it."""
    options = [one["name"] for one in yaml.safe_load(file.read_text())[0]["options"] if one["name"] != INCIDENT]
    if not file.name.startswith(("evidence-", "return")):
        return check(settings, job=job["id"], options=tuple(name for name in options if name != NOT_AFTER))
    evidence = EvidenceJob(job["id"], dict.fromkeys(options, "x"))
    findings = checks.check(settings, Restart("gone"), evidence, frozenset(), auto=False, timeout_s=PATIENCE_S)
    return {finding.what: finding for finding in findings if finding.what.startswith("evidence: ")}


@pytest.mark.parametrize("file", shipped_jobs(), ids=lambda file: "/".join(file.parts[-2:]))
def test_rundeck_takes_every_job_that_is_shipped(double: Rundeck, settings: Settings, file: Path) -> None:
    """A new user's first step: the import lists the job under `succeeded`, and `check` then has nothing against it."""
    double.tokens["admin-token"] = "admin"
    double.state.jobs.clear()
    double.state.nodes = {**double.state.nodes, "one": ("kubectl",)}
    answer = requests.post(
        f"{double.url}/api/41/project/demo/jobs/import?fileformat=yaml&dupeOption=update",
        data=file.read_bytes(),
        headers={"X-Rundeck-Auth-Token": "admin-token", "Content-Type": "application/yaml", "Accept": "application/json"},
        timeout=PATIENCE_S,
    )
    assert (answer.status_code, answer.json()["failed"]) == (200, [])
    (job,) = answer.json()["succeeded"]
    assert [what for what, finding in check_shipped(settings, job, file).items() if finding.ok is not True] == []


def test_own_definition_can_be_limited_to_a_host(double: Rundeck, settings: Settings) -> None:
    """Its lines for `restart.holder` are right as they stand, once their marks are off."""
    text = DEFINITION.read_text().replace("    filter: 'tags: consumers'\n", "").replace("#|", "")
    double.definitions[JOB] = yaml.safe_load(text)
    double.state.hostnames = {"mail-1": "10.0.3.7"}
    restart = Restart(JOB, {"service": "mail"}, holder=HolderOption("host", "[0-9.]+"))
    findings = checks.check(settings, restart, None, frozenset(), auto=True, timeout_s=PATIENCE_S)
    assert [(finding.what, finding.detail) for finding in findings if finding.ok is False] == []
    assert {finding.what: finding.ok for finding in findings}["the job can be limited to the host that hangs"]
    host = next(option for option in double.definitions[JOB][0]["options"] if option["name"] == "host")
    texts = (".*", "10.0.3.7", "fd00::7", "mail-1.example", "--help", "a b")
    assert [text for text in texts if re.search(host["regex"], text)] == [".*", "10.0.3.7", "fd00::7", "mail-1.example"]


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


def test_policy_names_the_job_and_both_contexts() -> None:
    """The policy fits the definition: same job, project and application context, run and history allowed."""
    job = yaml.safe_load(DEFINITION.read_text())[0]
    project, application = yaml.safe_load_all((DEFINITION.parent / "unstick.aclpolicy").read_text())
    rule, *_ = project["for"]["job"]
    assert rule["equals"] == {"group": job["group"], "name": job["name"]}
    assert "run" in rule["allow"]
    kinds = ("event", "node")
    assert project["for"]["resource"] == [{"equals": {"kind": kind}, "allow": ["read"]} for kind in kinds]
    assert (project["context"], application["context"]) == ({"project": "demo"}, {"application": "rundeck"})
    assert project["by"] == application["by"]
