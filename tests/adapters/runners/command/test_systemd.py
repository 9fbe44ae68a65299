"""Commands in units of their own. There is no systemd here: a stand-in for `systemctl` does what the shipped unit file says."""

import re
from pathlib import Path

import pytest

from functions.adapters.runners.command import Command, Job, checks
from functions.domain.model.runbooks import Restart
from functions.runtime.errors import Denied, Unavailable
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


def systemd(place: Place, script: str = "") -> Path:
    """A systemctl that starts what the unit's ExecStart names, with this folder of runs in the place of the shipped one."""
    (started,) = re.findall(r"^ExecStart=(.*)$", UNIT, re.MULTILINE)
    names = {
        "/opt/unstick/.venv/bin/python": "python3",
        "/opt/unstick": str(ROOT),
        "/var/lib/unstick/unstick.db-runs": str(place.runs),
    }
    for name, here in names.items():
        started = started.replace(name, here)
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
    [(REFUSES, "", "polkit rule"), ("", "/elsewhere", "unstick-run@.service has to name"), ("", "", "")],
    ids=["no right", "another folder", "well"],
)
def test_check_starts_a_command_that_does_nothing_by_systemd(place, script, unit, said):
    systemd(place, script or (STARTS.format(command=f"true {unit}") if unit else ""))
    limit_s = 3.0 if unit else LIMIT_S
    findings = place.command.check(Restart("restart"), None, frozenset(), auto=True, timeout_s=limit_s)
    findings = {line.what: line for line in findings}
    assert findings[checks.START].ok is (not said)
    assert said in str(findings[checks.START].remedy)
    assert "a command outlives a restart of Unstick" not in findings
    assert not list(place.runs.iterdir())


def test_the_unit_gets_no_secrets_and_the_account_of_unstick():
    service = (ROOT / "infra/systemd/unstick.service").read_text()
    for line in ("DynamicUser=yes", "User=unstick", "StateDirectory=unstick", "NoNewPrivileges=yes", "CapabilityBoundingSet="):
        assert line in UNIT.splitlines()
        assert line in service.splitlines()
    assert not re.search(r"^EnvironmentFile=", UNIT, re.MULTILINE)
