"""Without Rundeck: a command restarts an application that is stuck, whatever becomes of Unstick meanwhile.

Command and supervisor are real. RabbitMQ is a stand-in, and so is systemd where a test has to die inside its answer."""

import os
import signal
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from testbed.doubles.rabbitmq import RabbitDouble
from testbed.patience import wait_until
from testbed.unstick_process import ENDED_WITHIN_S, ROOT, Unstick, alert, configuration, runbook
from tests.adapters.runners.command.place import stand_in

SERVICE, QUEUE, MESSAGES = "mail", "mail.delivery", 12
RESTART = """
import time
with (here / "restarts").open("a") as restarts:
    restarts.write(argv[0] + "\\n")
print("stopped it; password=of-the-application", flush=True)
time.sleep(float(argv[1]))
print("started it")
"""
DIES = """
import signal
run = argv[-1].partition("@")[2].partition(".")[0]
command = [{python!r}, "-I", "-S", {supervisor!r}, {runs!r}, run]
nothing = subprocess.DEVNULL
subprocess.Popen(command, start_new_session=True, stdin=nothing, stdout=nothing, stderr=nothing)
if not (here / "died").exists():
    (here / "died").touch()
    os.killpg(0, signal.SIGKILL)
"""
pytestmark = pytest.mark.timeout(600)


class Machine:
    """One machine with an application, which is stuck, its restart as a command, and Unstick."""

    def __init__(self, folder: Path, rabbit: RabbitDouble) -> None:
        self.folder, self.rabbit, self.programs = folder, rabbit, folder / "bin"
        self.runs = folder / "unstick.db-runs"
        self.command = stand_in(self.programs, "restart-it", RESTART)
        rabbit.queue(QUEUE, ready=MESSAGES - 1, unacked=1, acks=9)

    def unstick(self, *, stays_s: float = 0.0, **keys: Any) -> Unstick:
        """Unstick, which has the application restarted; that takes so long."""
        run = [str(self.command), "${option.service}", f"{stays_s}"]
        book = runbook(SERVICE)
        book["restart"] |= {"job": "restart-it", "start_within": "8s"}
        file = configuration("", self.rabbit.url, [book])
        del file["rundeck"]
        jobs = {"restart-it": {"run": run, "timeout": "60s"}}
        file["command"] = {"path": str(self.folder / "unstick.db"), "jobs": jobs, **keys}
        return Unstick(self.folder, file, PATH=f"{self.programs}:{os.environ['PATH']}")

    def restarts(self) -> int:
        notes = self.programs / "restarts"
        return len(notes.read_text().splitlines()) if notes.exists() else 0

    def assert_recovers(self, unstick: Unstick) -> None:
        """Once it is restarted a new process works all off, and it is restarted no second time."""
        wait_until(self.restarts, within_s=ENDED_WITHIN_S, what=unstick.output)
        self.rabbit.queue(QUEUE).set(ready=0, unacked=0, acks=9 + MESSAGES, consumers=("127.0.0.1:50002 -> 127.0.0.1:5672",))
        ended = outcome(unstick)
        assert (ended["ending"], ended["restarts"], self.restarts()) == ("recovered", 1, 1)


def outcome(unstick: Unstick) -> dict[str, Any]:
    return unstick.until(lambda: unstick.outcomes(SERVICE), within_s=ENDED_WITHIN_S, what="the outcome")[-1]


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[Machine]:
    with RabbitDouble() as rabbit:
        yield Machine(tmp_path, rabbit)


def test_a_stuck_application_is_restarted_by_a_command_and_seen_to_recover(machine: Machine) -> None:
    """From the alert to the card: one restart, and messages that link nowhere are fine without."""
    with machine.unstick() as unstick:
        _, answer = unstick.notify(alert(SERVICE, QUEUE))
        assert answer["incidents"][0]["execution"] == {"id": "1", "url": ""}
        machine.assert_recovers(unstick)
        (card,) = unstick.until(lambda: unstick.cards(f"{SERVICE} recovered"), what="the card")
        assert f"{QUEUE}: {MESSAGES} → 0 messages, 1 consumer" in card
        assert "execution 1" in card
        assert "Rundeck" not in unstick.output()


def test_a_kill_during_the_run_ends_neither_the_run_nor_the_incident(machine: Machine) -> None:
    """Unstick dies by SIGKILL while the command runs; started again, it finds the run, and its end."""
    with machine.unstick(stays_s=4.0) as unstick:
        unstick.notify(alert(SERVICE, QUEUE))
        wait_until(machine.restarts, what=unstick.output)
        unstick.kill()
        unstick.start()
        machine.assert_recovers(unstick)


def test_a_kill_between_start_and_save_is_found_out_by_the_next_look(machine: Machine) -> None:
    """The answer of systemd never reaches Unstick. What began is adopted."""
    supervisor = ROOT / "functions/adapters/runners/command/supervisor.py"
    values = {"python": sys.executable, "supervisor": str(supervisor), "runs": str(machine.runs)}
    stand_in(machine.programs, "systemctl", DIES.format(**values))
    with machine.unstick(systemd=True) as unstick:
        with suppress(OSError):
            unstick.notify(alert(SERVICE, QUEUE))
        wait_until(lambda: unstick.started is None or unstick.started.poll() is not None, what=unstick.output)
        unstick.kill()  # what is left of it
        unstick.start()
        machine.assert_recovers(unstick)
        assert (machine.programs / "died").exists()


def test_a_run_whose_supervisor_dies_is_handed_to_people(machine: Machine) -> None:
    """Nobody knows whether the application runs: no second restart by itself."""
    with machine.unstick(stays_s=3600.0) as unstick:
        unstick.notify(alert(SERVICE, QUEUE))
        wait_until(lambda: any("stopped it" in file.read_text() for file in machine.runs.glob("*.out")), what=unstick.output)
        (journal,) = machine.runs.glob("*.jsonl")
        pid = int(journal.read_text().partition('"pid": ')[2].partition("}")[0])
        command = int(Path(f"/proc/{pid}/task/{pid}/children").read_text())
        os.kill(pid, signal.SIGKILL)
        os.killpg(command, signal.SIGKILL)
        ended = outcome(unstick)
        assert (ended["ending"], ended["reason"], machine.restarts()) == ("escalated", "ledger_unknown", 1)
        (card,) = unstick.until(lambda: unstick.cards("ACT NOW"), what="the card")
        assert "execution 1 is gone and its end was not recorded" in " ".join(card.split())
        assert "password=***" in card
        assert "of-the-application" not in unstick.output()
