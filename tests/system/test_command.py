"""Without Rundeck: a command restarts a real consumer that is stuck, whatever becomes of Unstick meanwhile.

RabbitMQ, consumer, command and supervisor are real. systemd is a stand-in where a test has to die inside its answer."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from testbed.broker import Broker
from testbed.patience import wait_until
from testbed.unstick_process import ENDED_WITHIN_S, ROOT, Unstick, alert, configuration, runbook
from testbed.workers.stuck_application import until_stuck
from tests.adapters.runners.command.place import stand_in

MESSAGES = 12
USER, PASSWORD = "unstick-command", "only looks"
CONSUMER = ROOT / "testbed" / "workers" / "stuck_consumer.py"
RESTART = """
import signal, time
from contextlib import suppress
service, mode, stays_s = argv[0], argv[1], float(argv[2])
with (here / "restarts").open("a") as restarts:
    restarts.write(service + "\\n")
pid = here / "pid"
if pid.exists():
    with suppress(ProcessLookupError):
        os.kill(int(pid.read_text()), signal.SIGKILL)
print("stopped it; password=of-the-application", flush=True)
time.sleep(stays_s)
with (here / "log").open("w") as log:
    consume = [{python!r}, {consumer!r}, "--url", (here / "url").read_text(), "--queue", service + ".delivery", "--mode", mode]
    started = subprocess.Popen(consume, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True)
pid.write_text(str(started.pid))
while "consuming" not in (here / "log").read_text():
    time.sleep(0.05)
print("started it")
"""
DIES = """
import signal
run = argv[-1].partition("@")[2].partition(".")[0]
if {starts}:
    command = [{python!r}, "-I", "-S", {supervisor!r}, {runs!r}, run]
    nothing = subprocess.DEVNULL
    subprocess.Popen(command, start_new_session=True, stdin=nothing, stdout=nothing, stderr=nothing)
if not (here / "died").exists():
    (here / "died").touch()
    os.killpg(0, signal.SIGKILL)
"""
pytestmark = pytest.mark.timeout(600)


class Machine:
    """One machine with an application, its restart as a command, and Unstick."""

    def __init__(self, folder: Path, broker: Broker, service: str) -> None:
        self.folder, self.broker, self.service, self.queue = folder, broker, service, f"{service}.delivery"
        self.programs = folder / "bin"
        self.restart = stand_in(self.programs, "restart-it", RESTART.format(python=sys.executable, consumer=str(CONSUMER)))
        (self.programs / "url").write_text(broker.amqp_url("/"))
        broker.work_off(self.queue)
        broker.publish(self.queue, MESSAGES)

    def unstick(self, *, stays_s: float = 0.0, **keys: Any) -> Unstick:
        """Unstick, which has the application restarted; that takes so long."""
        run = [str(self.restart), "${option.service}", "healthy", f"{stays_s}"]
        book = runbook(self.service)
        book["restart"] |= {"job": "restart-it", "start_within": "8s"}
        file = configuration("", self.broker.url, [book], user=USER)
        del file["rundeck"]
        file["command"] = {
            "path": str(self.folder / "unstick.db"),
            "jobs": {"restart-it": {"run": run, "timeout": "60s"}},
            **keys,
        }
        path = f"{self.programs}:{os.environ['PATH']}"
        return Unstick(self.folder, file, rabbitmq_password=PASSWORD, PATH=path)

    def stick(self) -> None:
        """Start the application, which hangs."""
        subprocess.run([self.restart, self.service, "stuck-unacked", "0"], check=True, stdout=subprocess.DEVNULL)
        (self.programs / "restarts").unlink()
        until_stuck(self.broker, self.queue)

    def restarts(self) -> int:
        notes = self.programs / "restarts"
        return len(notes.read_text().splitlines()) if notes.exists() else 0

    def kill(self) -> None:
        with suppress(FileNotFoundError, ProcessLookupError):
            os.kill(int((self.programs / "pid").read_text()), signal.SIGKILL)


@pytest.fixture
def machine(rabbitmq_server: Broker, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Machine]:
    rabbitmq_server.add_user(USER, PASSWORD, tags="monitoring", vhosts=["/"])
    stuck = Machine(tmp_path, rabbitmq_server, f"command-{abs(hash(request.node.name)) % 10**6}")
    stuck.stick()
    yield stuck
    stuck.kill()


def outcome(unstick: Unstick, machine: Machine) -> dict[str, Any]:
    return unstick.until(lambda: unstick.outcomes(machine.service), within_s=ENDED_WITHIN_S, what="the outcome")[-1]


def test_a_stuck_consumer_is_restarted_by_a_command_and_seen_to_recover(machine):
    """From the alert to the card: one restart, and messages that link nowhere are fine without."""
    with machine.unstick() as unstick:
        _, answer = unstick.notify(alert(machine.service, machine.queue))
        assert answer["incidents"][0]["execution"] == {"id": "1", "url": ""}
        ended = outcome(unstick, machine)
        assert (ended["ending"], ended["restarts"], machine.restarts()) == ("recovered", 1, 1)
        (card,) = unstick.until(lambda: unstick.cards(f"{machine.service} recovered"), what="the card")
        assert f"{machine.queue}: {MESSAGES} → 0 messages, 1 consumer" in card
        assert "execution 1" in card
        assert "Rundeck" not in unstick.output()


def test_a_kill_during_the_run_ends_neither_the_run_nor_the_incident(machine):
    """Unstick dies by SIGKILL while the command runs; started again, it finds the run, and its end."""
    unstick = machine.unstick(stays_s=4.0)
    with unstick:
        unstick.notify(alert(machine.service, machine.queue))
        wait_until(machine.restarts, what=unstick.output)
        unstick.kill()
        unstick.start()
        ended = outcome(unstick, machine)
        assert (ended["ending"], ended["restarts"], machine.restarts()) == ("recovered", 1, 1)


@pytest.mark.parametrize(
    "starts", [True, pytest.param(False, marks=pytest.mark.long)], ids=["after the start", "before the start"]
)
def test_a_kill_between_start_and_save_is_found_out_by_the_next_look(machine, starts):
    """The answer of systemd never reaches Unstick. What began is adopted; what did not is started anew once it no longer can."""
    supervisor = ROOT / "functions/adapters/runners/command/supervisor.py"
    values = {"python": sys.executable, "supervisor": str(supervisor), "runs": str(machine.folder / "unstick.db-runs")}
    systemctl = DIES.format(starts=f"{starts} or (here / 'died').exists()", **values)
    stand_in(machine.programs, "systemctl", systemctl)
    unstick = machine.unstick(systemd=True)
    with unstick:
        with suppress(OSError):
            unstick.notify(alert(machine.service, machine.queue))
        wait_until(lambda: unstick.started is None or unstick.started.poll() is not None, what=unstick.output)
        unstick.kill()  # what is left of it
        unstick.start()
        ended = outcome(unstick, machine)
        assert (ended["ending"], ended["restarts"], machine.restarts()) == ("recovered", 1, 1)
        assert (machine.programs / "died").exists()


def test_a_run_whose_supervisor_dies_is_handed_to_people(machine):
    """Nobody knows whether the application runs: no second restart by itself."""
    with machine.unstick(stays_s=3600.0) as unstick:
        unstick.notify(alert(machine.service, machine.queue))
        runs = machine.folder / "unstick.db-runs"
        wait_until(lambda: any("stopped it" in file.read_text() for file in runs.glob("*.out")), what=unstick.output)
        (journal,) = runs.glob("*.jsonl")
        pid = int(journal.read_text().partition('"pid": ')[2].partition("}")[0])
        command = int(Path(f"/proc/{pid}/task/{pid}/children").read_text())
        os.kill(pid, signal.SIGKILL)
        os.killpg(command, signal.SIGKILL)
        ended = outcome(unstick, machine)
        assert (ended["ending"], ended["reason"], machine.restarts()) == ("escalated", "ledger_unknown", 1)
        (card,) = unstick.until(lambda: unstick.cards("ACT NOW"), what="the card")
        assert "execution 1 is gone and left no end" in " ".join(card.split())
        assert "password=***" in card
        assert "of-the-application" not in unstick.output()
