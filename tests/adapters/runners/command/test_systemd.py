"""Commands in units of their own. There is no systemd here: a stand-in for `systemctl` does what the shipped unit file says."""

import json
import re
import sys
from pathlib import Path

import pytest
import yaml

from functions.adapters.runners.command import Command, Job, checks, runs
from functions.domain.model.alerts import Target
from functions.domain.model.runbooks import Restart
from functions.runtime.errors import Denied, Unavailable
from testbed.patience import wait_until
from tests.adapters.runners.command.place import LIMIT_S, Place, first_on_path, stand_in

ROOT = Path(__file__).parents[4]
UNIT = (ROOT / "infra/systemd/unstick-run@.service").read_text()
RULES = (ROOT / "infra/systemd/50-unstick.rules").read_text()

STARTS = """
with (here / "said").open("a") as said:
    said.write(" ".join(argv) + "\\n")
run = argv[-1].partition("@")[2].partition(".")[0]
command = {command!r}.replace("%i", run).split()
environment = {{"PATH": os.environ["PATH"], "INVOCATION_ID": run}}
subprocess.Popen(command, env=environment, start_new_session=True, stdout=subprocess.DEVNULL)
"""
REFUSES = """
print("Failed to start unstick-run@1.service: Access denied", file=sys.stderr)
sys.exit(4)
"""
SILENT = """
import time
time.sleep(3600)
"""


@pytest.fixture
def place(tmp_path, monkeypatch):
    """The command prints its environment; systemctl is none yet."""
    unstarted = Place(tmp_path)
    unstarted.command = Command(unstarted.command.path, {"restart": Job(("env",))}, systemd=True)
    first_on_path(tmp_path / "bin", monkeypatch.setenv)
    return unstarted


def configure(place: Place, **jobs: object) -> None:
    (place.folder / "unstick.yaml").write_text(yaml.safe_dump({"command": {"jobs": jobs or {"restart": {"run": ["env"]}}}}))


def systemd(place: Place, script: str = "") -> Path:
    """A systemctl that starts what the unit's ExecStart names, with this folder of runs in the place of the shipped one."""
    (started,) = re.findall(r"^ExecStart=(.*)$", UNIT, re.MULTILINE)
    names = {
        "/opt/unstick/.venv/bin/python": sys.executable,
        "/opt/unstick": str(ROOT),
        "/var/lib/unstick/unstick.db-runs": str(place.runs),
        "/etc/unstick/unstick.yaml": str(place.folder / "unstick.yaml"),
    }
    for name, here in names.items():
        started = started.replace(name, here)
    if not (place.folder / "unstick.yaml").exists():
        configure(place)
    return stand_in(place.folder / "bin", "systemctl", script or STARTS.format(command=started)).with_name("said")


def test_the_command_runs_in_an_instance_of_the_shipped_unit_which_the_polkit_rule_allows(place):
    """There is no polkit here: the rule's own pattern is tried on what is started, and on what is not."""
    said = systemd(place)
    started = place.start()
    _, tail = place.until_ended(started)
    assert said.read_text() == f"start --no-ask-password --no-block unstick-run@{started.id}.service\n"
    assert any(line.startswith("INVOCATION_ID") for line in tail)
    (pattern,) = re.findall(r"/(\^unstick-run.*\$)/\.test", RULES)
    assert re.search(pattern, said.read_text().split()[-1])
    others = ("unstick-run@1.service.evil", "ssh.service", "a unstick-run@1.service")
    assert not any(re.search(pattern, other) for other in others)


def test_a_refusal_of_systemd_is_told(place, monkeypatch, tmp_path):
    systemd(place, REFUSES)
    with pytest.raises(Denied, match="Access denied") as refused:
        place.start(tag="incident.1")
    assert "polkit rule" in str(refused.value.remedy)
    with monkeypatch.context() as without, pytest.raises(Denied, match="No such file") as refused:
        without.setenv("PATH", str(tmp_path / "empty"))
        place.start(place.target("other"), tag="incident.2")
    assert "unstick check" in str(refused.value.remedy)


def test_a_silent_systemd_leaves_the_start_unclear(place):
    """I1: it may begin after all, so nothing else is started."""
    systemd(place, SILENT)
    with pytest.raises(Unavailable):
        place.command.run(place.target(), tag="incident.1", runner_not_after=9e9, timeout_s=1.0)
    with pytest.raises(Denied, match="already running"):
        place.start(tag="incident.2")


@pytest.mark.parametrize(
    ("script", "unit", "said"),
    [
        (REFUSES, "", "polkit rule"),
        ("", "/elsewhere", "unstick-run@.service has to name"),
        ("", "", ""),
        (None, "", "unstick.yaml"),
    ],
    ids=["no right", "another folder", "well", "no configuration"],
)
def test_check_starts_a_command_that_does_nothing_by_systemd(place, script, unit, said):
    systemd(place, script or (STARTS.format(command=f"true {unit}") if unit else ""))
    if script is None:
        (place.folder / "unstick.yaml").unlink()
    limit_s = 3.0 if unit else LIMIT_S
    findings = place.command.check(Restart("restart"), None, frozenset(), auto=True, timeout_s=limit_s)
    findings = {line.what: line for line in findings}
    assert findings[checks.START].ok is (not said)
    assert said in f"{findings[checks.START].detail} {findings[checks.START].remedy}"
    assert "a command outlives a restart of Unstick" not in findings
    assert not list(place.runs.iterdir())


JOBS = {
    "plain": {"run": ["echo", "on-${option.a}-and-${option.b}", "${option.a}"], "timeout": "2m"},
    "empty": {"run": ["echo", "--host=${option.host}"], "defaults": {"host": ""}},
    "program": {"run": ["${option.a}", "x"]},
}
"""As configured: with a limit of 120 s, and of 300 s by default."""


@pytest.mark.parametrize(
    ("argv", "timeout_s", "is_run"),
    [
        pytest.param(["echo", "on-x-and-y", "x"], 120.0, True, id="a job's"),
        pytest.param(["echo", "--host="], 300.0, True, id="an option that may be empty"),
        pytest.param(["echo", "--host=a/b:1"], 300.0, True, id="and is not"),
        pytest.param(["echo", "on-x-and-y", "z"], 120.0, False, id="an option with two values"),
        pytest.param(["echo", "on--and-y", ""], 120.0, False, id="an option that may not be empty"),
        pytest.param(["echo", "on--a-and-y", "-a"], 120.0, False, id="a dash in front"),
        pytest.param(["echo", "on-x;id-and-y", "x;id"], 120.0, False, id="a sign for a shell"),
        pytest.param(["echo", "on-x\n-and-y", "x\n"], 120.0, False, id="a line"),
        pytest.param(["echo", "on-x-and-y", "x"], 121.0, False, id="longer"),
        pytest.param(["echo", "--host=a"], float("nan"), False, id="without an end"),
        pytest.param(["echo", "--host=a", "b"], 300.0, False, id="more arguments"),
        pytest.param(["echo"], 300.0, False, id="fewer arguments"),
        pytest.param(["id", "x"], 300.0, False, id="any program"),
        pytest.param(["sh", "-c", "echo"], 300.0, False, id="another program"),
        pytest.param("true", 300.0, False, id="no list"),
    ],
)
def test_the_unit_runs_only_what_the_configuration_can_make(place, argv, timeout_s, is_run):
    """Whoever may write the store writes the journals, but not the configuration: the unit's rights are not theirs."""
    configure(place, **JOBS)
    state, output = run_order(place, {"argv": argv, "not_after": None, "timeout_s": timeout_s})
    assert state.status == ("succeeded" if is_run else "refused")
    assert ("no job in" in output) is not is_run


def test_the_unit_writes_no_output_into_another_file(place):
    note = place.folder / "note"
    note.write_text("kept")
    assert run_order(place, {"argv": ["env"], "not_after": None, "timeout_s": 9.0}, output=note)[0].status == "lost"
    assert note.read_text() == "kept"


def run_order(place: Place, order: dict[str, object], output: Path | None = None) -> tuple[runs.State, str]:
    """The end and the output of a run whose journal somebody else has written."""
    systemd(place)
    run = runs.claim(place.command.path, Target("", "", "any", {}), tag="theirs", not_after=None, timeout_s=LIMIT_S)
    place.runs.mkdir()
    (place.runs / f"{run}.jsonl").write_text(json.dumps(order) + "\n")
    if output:
        (place.runs / f"{run}.out").symlink_to(output)
    runs.launch(place.runs, run, systemd=True, timeout_s=LIMIT_S)

    def look() -> runs.State:
        return runs.read_state(place.runs, run, may_void=False)

    return wait_until(look, lambda state: state.ended_at), runs.read_output(place.runs, run)


def test_the_unit_gets_no_secrets_and_the_account_of_unstick():
    service = (ROOT / "infra/systemd/unstick.service").read_text()
    for line in ("DynamicUser=yes", "User=unstick", "StateDirectory=unstick", "NoNewPrivileges=yes", "CapabilityBoundingSet="):
        assert line in UNIT.splitlines()
        assert line in service.splitlines()
    assert not re.search(r"^EnvironmentFile=", UNIT, re.MULTILINE)
