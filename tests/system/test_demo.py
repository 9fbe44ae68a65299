"""`make demo` as it is run: what it shows, how it ends, and that nothing of it is left, however it ends."""

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from demo import stage
from testbed.patience import PATIENCE_S, wait_until
from tests.support.needs import need

ROOT = Path(__file__).parents[2]
UNDER_S = 60.0 if "PYTEST_XDIST_WORKER" not in os.environ else 300.0
"""A minute is promised of a machine that does nothing else; beside other tests it has to come to its end."""
PAUSE_S = 1.0 if "PYTEST_XDIST_WORKER" not in os.environ else 30.0
"""Of the workers that do not hang; beside other tests every process pauses at times."""
pytestmark = pytest.mark.timeout(600)
ENVIRONMENT = dict(os.environ)
"""Read once: the demos are started by threads, while fixtures of the other tests change the process's own."""


@contextmanager
def demo(tmp_path: Path, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    """The demo in a session of its own, with a folder for temporary files by which all that it starts can be told."""
    started = subprocess.Popen(
        [sys.executable, "-X", "utf8", "-m", "demo", *arguments],
        cwd=ROOT,
        env=ENVIRONMENT | {"TMPDIR": str(tmp_path), "COLUMNS": "100"},  # steps stay in one line
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        encoding="utf-8",
        start_new_session=True,
    )
    try:
        yield started
    finally:
        if started.poll() is None:
            os.killpg(started.pid, signal.SIGKILL)
        started.communicate()


def left_over(session: int, tmp_path: Path) -> list[str]:
    """What still runs of it: in its session, or with its folder in the environment; a zombie's environment is empty."""
    commands = []
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            fields = (process / "stat").read_text().rpartition(")")[2].split()
            marked = str(tmp_path / "unstick-demo-").encode() in (process / "environ").read_bytes()
            if marked or (int(fields[3]) == session and int(process.name) != session and fields[0] != "Z"):
                commands.append((process / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace"))
    return commands


def assert_nothing_is_left(session: int, folder: Path) -> None:
    wait_until(lambda: left_over(session, folder), lambda left: not left)
    assert list(folder.iterdir()) == [], "its files are gone too"


def play(folder: Path, *arguments: str) -> tuple[int, str]:
    """Its status and output, once nothing is left of it."""
    with demo(folder, *arguments) as started:
        output, _ = started.communicate(timeout=UNDER_S + PATIENCE_S)
    assert_nothing_is_left(started.pid, folder)
    return started.returncode, output


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        pytest.param((), "the real one", id="real", marks=pytest.mark.long),  # by day the other tests have a real RabbitMQ
        pytest.param(("--stand-in",), "a stand-in takes its place", id="stand-in"),
    ],
)
def test_it_recovers_in_under_a_minute(tmp_path, arguments, said):
    """Every step with its time, the first says what is not real; the cards at the end, nothing left, no colour in a pipe."""
    if not arguments:
        need("rabbitmq-server")
    began = time.monotonic()
    status, output = play(tmp_path, *arguments)
    assert (status, time.monotonic() - began < UNDER_S) == (0, True), output
    steps = re.findall(r"^  ✔.*(?:\n    .*)*", output, re.MULTILINE)  # a long one has more lines
    assert len(steps) == 9, output
    assert all(re.search(r" \d+\.\d s$", line) for line in steps), output
    assert said in " ".join(steps[0].split())
    told = r"200, (deferred: evidence comes before the restart|held: it looks again before it restarts)"
    words = " ".join(output.split())  # in one line or two
    assert re.search(told, words), output
    card = output[output.index("Evidence before the restart") :]
    assert re.search(r"read_reply, demo/mail_worker\.py, line \d+\n +deliver, ", card), "the stack shows the line in the chat"
    assert "only on 127.0.1.2" in card
    assert re.search(r"Queue +mail\.delivery: .*, 3 consumers", card), "the two others were not restarted"
    assert output.index("✅ No action needed: mail-delivery recovered") > output.index(steps[-1]), "the cards come last"
    assert re.search(r"Rundeck's job has restarted mail-worker-2: process \d+ is gone, \d+ is there \d", words), output
    figures = r"Recovered: mail-worker-2 was stuck for (\d+) s. The two others delivered (\d+) mails meanwhile"
    ((stuck_s, delivered),) = re.findall(figures, words)
    assert int(delivered) > int(stuck_s) >= stage.FOR_S, "each of them some a second"
    (pause_s,) = re.findall(r"never paused for more than (\d+\.\d) s\.", words)
    assert float(pause_s) <= PAUSE_S, output
    assert "\x1b" not in output


@pytest.mark.long
def test_what_does_not_recover_is_said_so(tmp_path):
    """Where the mail hangs whoever gets it: escalated after a single restart, a sentence that says it, exit status 1."""
    status, output = play(tmp_path, "--stand-in", "--still-broken")
    assert status == 1, output
    assert "🚨 ACT NOW: mail-delivery is still stuck after a restart" in output
    assert "it hangs on the same message again" in " ".join(output.split())
    assert "It did not recover: the incident was escalated" in output


@pytest.mark.parametrize(
    ("number", "after", "arguments"),
    [
        pytest.param(
            signal.SIGINT, "mails a second come into mail.delivery", (), id="Ctrl-C in the middle", marks=pytest.mark.long
        ),
        pytest.param(
            signal.SIGTERM, "200, deferred", ("--stand-in",), id="SIGTERM while Rundeck's jobs run", marks=pytest.mark.long
        ),
        pytest.param(signal.SIGINT, "Unstick: one of three", (), id="Ctrl-C while the broker starts", marks=pytest.mark.long),
        pytest.param(signal.SIGINT, "a stand-in takes its place", ("--stand-in",), id="Ctrl-C while Unstick starts"),
    ],
)
def test_stopping_it_leaves_nothing_behind(tmp_path, number, after, arguments):
    """Stopped at any step: it says so, ends by the signal's status, and its processes and files are gone."""
    if "--stand-in" not in arguments:
        need("rabbitmq-server")
    with demo(tmp_path, *arguments) as started:
        assert any(after in line for line in started.stdout or ())
        if "one of three" in after:
            time.sleep(0.5)  # in the middle of the broker's start, which shows nothing to wait for
        os.kill(started.pid, number)
        os.kill(started.pid, number)  # an impatient second one
        rest, _ = started.communicate(timeout=PATIENCE_S)
    assert started.returncode == 128 + number, rest
    assert "Stopped, and nothing is left running." in rest
    assert_nothing_is_left(started.pid, tmp_path)


def test_a_kill_leaves_no_process_behind(tmp_path):
    """What the demo and the tests start as a `Server` ends with them, even where SIGKILL ends them; files stay."""
    with demo(tmp_path, "--stand-in") as started:
        assert any("200, deferred" in line for line in started.stdout or ())
        assert left_over(started.pid, tmp_path)
        started.kill()
        wait_until(lambda: left_over(started.pid, tmp_path), lambda left: not left)
