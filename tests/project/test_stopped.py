"""A run of tests that is stopped leaves no server behind."""

import os
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest

from testbed.broker import HOST
from testbed.patience import PATIENCE_S, wait_until
from testbed.unstick_process import ROOT
from tests.support.needs import need_broker

SERVERS = """
import time
from pathlib import Path

from testbed.broker import broker
from testbed.broker.shared import shared

def test_waits():
    here = Path(__file__).parent
    with broker(here / "own"), shared(here / "shared", "host"):
        (here / "running").touch()
        time.sleep(600)
"""
SERVER = """
import sys, time
from testbed.process import Server

Server(["sleep", "600"], cwd=sys.argv[1])
print("running", flush=True)
time.sleep(600)
"""

# Whoever runs the tests in the background may have SIGINT ignored, and children inherit that.
ALLOW = """
import os, signal, sys
signal.signal(signal.SIGINT, signal.SIG_DFL)
os.execv(sys.executable, [sys.executable, *sys.argv[1:]])
"""
INTERRUPTIBLE = [sys.executable, "-c", ALLOW]


def left(folder: Path) -> list[str]:
    """The command lines of processes that know this folder by their environment, their arguments or where they are."""
    commands = []
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            command = (process / "cmdline").read_bytes()
            known = command + (process / "environ").read_bytes() + bytes((process / "cwd").readlink())
            if str(folder).encode() in known:
                commands.append(f"{process.name}: {command.replace(bytes(1), b' ')[:200].decode(errors='replace')}")
    return commands


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL])
def test_a_server_ends_with_who_started_it(tmp_path: Path, how: signal.Signals) -> None:
    command = [*INTERRUPTIBLE, "-c", SERVER, str(tmp_path)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as started:
        assert started.stdout is not None
        assert started.stdout.readline() == "running\n"
        assert len(left(tmp_path)) == 2
        started.send_signal(how)
    wait_until(lambda: left(tmp_path), lambda leftovers: not leftovers)


@pytest.mark.long  # two brokers each; by day the test above
@pytest.mark.timeout(600)
@pytest.mark.parametrize(
    ("workers", "whom", "how"),
    [
        ("0", "pytest", signal.SIGTERM), ("2", "pytest", signal.SIGTERM), ("2", "all of its processes", signal.SIGTERM),
        ("2", "all of its processes", signal.SIGINT),
    ],
)  # fmt: skip
def test_stopped_tests_leave_no_broker_behind(tmp_path: Path, workers: str, whom: str, how: signal.Signals) -> None:
    """By `timeout` or an operator, who end pytest, or by a terminal or a runner of CI, who end all of its processes."""
    need_broker(HOST)
    file = tmp_path / "test_servers.py"
    file.write_text(SERVERS)
    options = ["-n", workers, "--basetemp", str(tmp_path / "pytest"), "-p", "no:cacheprovider", "-p", "no:randomly"]
    command = [*INTERRUPTIBLE, "-m", "pytest", *options, "--rootdir", str(ROOT), "-c", str(ROOT / "pyproject.toml"), str(file)]
    with (tmp_path / "output").open("wb") as out:
        started = subprocess.Popen(command, cwd=ROOT, stdout=out, stderr=out, start_new_session=True)
    try:
        wait_until((tmp_path / "running").exists, what=(tmp_path / "output").read_text, within_s=4 * PATIENCE_S)
        assert len(left(tmp_path)) > 4
        os.kill(started.pid, how) if whom == "pytest" else os.killpg(started.pid, how)
        started.wait(PATIENCE_S)
        wait_until(lambda: left(tmp_path), lambda leftovers: not leftovers)
    finally:
        with suppress(ProcessLookupError):
            os.killpg(started.pid, signal.SIGKILL)
        started.wait()
