"""`make demo` as it is run: what it shows, how it ends, and that nothing of it is left, however it ends."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import pytest

from demo import queues, stage
from demo.mail_server import MailServer
from testbed.doubles.rabbitmq import RabbitDouble
from testbed.patience import PATIENCE_S, wait_until

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


def read_until(started: subprocess.Popen[str], text: str) -> str:
    seen = ""
    for line in started.stdout or ():
        seen += line
        if text in line:
            return seen
    raise AssertionError(f"it ended without {text!r}:\n{seen}")


def assert_nothing_is_left(session: int, folder: Path) -> None:
    wait_until(lambda: left_over(session, folder), lambda left: not left)
    assert list(folder.iterdir()) == [], "its files are gone too"


@dataclass(frozen=True)
class Played:
    status: int
    output: str
    took_s: float
    session: int
    folder: Path


def play(folder: Path, *arguments: str, within_s: float = UNDER_S + PATIENCE_S) -> Played:
    began = time.monotonic()
    with demo(folder, *arguments) as started:
        output, _ = started.communicate(timeout=within_s)
    return Played(started.returncode, output, time.monotonic() - began, started.pid, folder)


def assert_only_one_was_restarted(seen: Played) -> None:
    """The last sentence has the measured figures."""
    said = " ".join(seen.output.split())
    assert re.search(r"Rundeck's job has restarted mail-worker-2: process \d+ is gone, \d+ is there \d", said), seen.output
    figures = re.search(r"Recovered: mail-worker-2 was stuck for (\d+) s. The two others delivered (\d+) mails meanwhile", said)
    assert figures, seen.output
    stuck_s, delivered = map(int, figures.groups())
    assert stuck_s >= stage.FOR_S
    assert delivered > stuck_s, "each of them some a second"
    pause = re.search(r"never paused for more than (\d+\.\d) s\.", said)
    assert pause, seen.output
    assert float(pause[1]) <= PAUSE_S, seen.output


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        pytest.param((), "the real one", id="real", marks=pytest.mark.long),  # by day the other tests have a real RabbitMQ
        pytest.param(("--stand-in",), "a stand-in takes its place", id="stand-in"),
    ],
)
def test_it_recovers_in_under_a_minute(needed, tmp_path, arguments, said):
    """Every step with its time, the first says what is not real; the cards at the end, nothing left, no colour in a pipe."""
    if not arguments:
        needed("rabbitmq-server")
    seen = play(tmp_path, *arguments)
    assert seen.status == 0, seen.output
    assert seen.took_s < UNDER_S
    steps = re.findall(r"^  ✔.*(?:\n    .*)*", seen.output, re.MULTILINE)  # a long one has more lines
    assert len(steps) == 9, seen.output
    assert all(re.search(r" \d+\.\d s$", line) for line in steps), seen.output
    assert said in " ".join(steps[0].split())
    told = r"200, (deferred: evidence comes before the restart|held: it looks again before it restarts)"
    assert re.search(told, " ".join(seen.output.split())), "in one line or two"
    card = seen.output[seen.output.index("Evidence before the restart") :]
    assert re.search(r"read_reply \(demo/mail_worker\.py:\d+\)\n +deliver ", card), "the stack shows the line in the chat"
    assert "only on 127.0.1.2" in card
    assert re.search(r"Queue +mail\.delivery: .*, 3 consumers", card), "the two others were not restarted"
    assert seen.output.index("✅ No action needed: mail-delivery recovered") > seen.output.index(steps[-1]), "the cards come last"
    assert_only_one_was_restarted(seen)
    assert "nothing is left running" in seen.output
    assert "\x1b" not in seen.output
    assert_nothing_is_left(seen.session, seen.folder)


@pytest.mark.long
def test_what_does_not_recover_is_said_so(tmp_path):
    """Where the mail hangs whoever gets it: escalated after a single restart, a sentence that says it, exit status 1."""
    seen = play(tmp_path, "--stand-in", "--still-broken")
    assert seen.status == 1, seen.output
    assert "🚨 ACT NOW: mail-delivery is still stuck after a restart" in seen.output
    assert "it hangs on the same message again" in " ".join(seen.output.split())
    assert "It did not recover: the incident was escalated" in seen.output
    assert_nothing_is_left(seen.session, seen.folder)


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
def test_stopping_it_leaves_nothing_behind(needed, tmp_path, number, after, arguments):
    """Stopped at any step: it says so, ends by the signal's status, and its processes and files are gone."""
    if "--stand-in" not in arguments:
        needed("rabbitmq-server")
    with demo(tmp_path, *arguments) as started:
        read_until(started, after)
        if "one of three" in after:
            time.sleep(0.5)  # in the middle of the broker's start, which shows nothing to wait for
        os.kill(started.pid, number)
        os.kill(started.pid, number)  # an impatient second one
        rest, _ = started.communicate(timeout=PATIENCE_S)
    assert started.returncode == 128 + number, rest
    assert "Stopped, and nothing is left running." in rest
    assert_nothing_is_left(started.pid, tmp_path)


def test_rundeck_s_job_restarts_all_workers_where_no_host_is_given():
    """And all of them take mails afterwards. The demo itself shows how one alone is restarted."""
    with ExitStack() as stack:
        broker = queues.StandInQueues(stack.enter_context(RabbitDouble()), "was not asked for")
        server = MailServer(mends=True)
        stack.callback(server.close)
        application = stage.Application(broker, server)
        stack.callback(application.close)
        rundeck = stage.start_rundeck(stack, application)
        application.start(*queues.WORKERS)
        before = {worker.name: process.pid for worker, process in application.processes.items()}
        rundeck.run_by_hand({"service": stage.SERVICE})
        rundeck.state.finish_work()
        after = {worker.name: process.pid for worker, process in application.processes.items()}
        assert [name for name, pid in before.items() if after[name] == pid] == []
        broker.flow(stack)
        wait_until(lambda: {one.worker for one in server.taken}, lambda seen: len(seen) == len(queues.WORKERS))
