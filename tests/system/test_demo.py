"""`make demo` as it is run: what it shows, how it ends, and that nothing of it is left, however it ends."""

from __future__ import annotations

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

ROOT = Path(__file__).parents[2]
UNDER_S = 60.0


@contextmanager
def demo(tmp_path: Path, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    """The demo in a session of its own, with a folder for temporary files by which all that it starts can be told."""
    started = subprocess.Popen(
        [sys.executable, "-X", "utf8", "-m", "demo", *arguments],
        cwd=ROOT,
        env={**os.environ, "TMPDIR": str(tmp_path)},
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
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            fields = (process / "stat").read_text().rpartition(")")[2].split()
            marked = str(tmp_path / "unstick-demo-").encode() in (process / "environ").read_bytes()
            if marked or (int(fields[3]) == session and int(process.name) != session and fields[0] != "Z"):
                found.append((process / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace"))
    return found


def read_until(started: subprocess.Popen[str], text: str) -> str:
    seen = ""
    for line in started.stdout or ():
        seen += line
        if text in line:
            return seen
    raise AssertionError(f"it ended without {text!r}:\n{seen}")


def assert_nothing_is_left(started: subprocess.Popen[str], tmp_path: Path) -> None:
    assert left_over(started.pid, tmp_path) == []
    assert list(tmp_path.iterdir()) == [], "its files are gone too"


def test_it_recovers_in_under_a_minute(needed, tmp_path):
    """With a real RabbitMQ: every step with its time, the cards at the end, exit status 0, nothing left, no colour in a pipe."""
    needed("rabbitmq-server")
    began = time.monotonic()
    with demo(tmp_path) as started:
        output, _ = started.communicate(timeout=120)
    took_s = time.monotonic() - began
    assert started.returncode == 0, output
    assert took_s < UNDER_S
    steps = [line for line in output.splitlines() if line.startswith("  ✔")]
    assert len(steps) == 8, output
    assert all(re.search(r" \d+\.\d s$", line) for line in steps), output
    assert "the real one" in steps[0]
    assert "200, restarted" in output
    assert output.index("✅ No action needed: mail-delivery recovered") > output.index(steps[-1]), "the cards come last"
    assert "nothing is left running" in output
    assert "\x1b" not in output
    assert_nothing_is_left(started, tmp_path)


def test_without_rabbitmq_a_stand_in_is_named(tmp_path):
    """Where no RabbitMQ can be had the story is the same, and the first step says what is not real."""
    with demo(tmp_path, "--stand-in") as started:
        output, _ = started.communicate(timeout=60)
    assert started.returncode == 0, output
    assert "a stand-in takes its place" in output
    assert "✅ No action needed: mail-delivery recovered" in output
    assert_nothing_is_left(started, tmp_path)


def test_what_does_not_recover_is_said_so(tmp_path):
    """Where the new process has the bug too: escalated in the chat, a sentence that says it, exit status 1."""
    with demo(tmp_path, "--stand-in", "--still-broken") as started:
        output, _ = started.communicate(timeout=90)
    assert started.returncode == 1, output
    assert "🚨 ACT NOW: mail-delivery is still stuck after 2 restarts" in output
    assert "It did not recover: the incident was escalated" in output
    assert_nothing_is_left(started, tmp_path)


@pytest.mark.parametrize(
    ("number", "after", "arguments"),
    [
        pytest.param(signal.SIGINT, "mails are in mail.delivery", (), id="Ctrl-C in the middle"),
        pytest.param(signal.SIGTERM, "200, restarted", ("--stand-in",), id="SIGTERM while Rundeck's job runs"),
        pytest.param(signal.SIGINT, "Unstick: a queue gets stuck", (), id="Ctrl-C while the broker starts"),
        pytest.param(signal.SIGINT, "a stand-in takes its place", ("--stand-in",), id="Ctrl-C while Unstick starts"),
    ],
)
def test_stopping_it_leaves_nothing_behind(needed, tmp_path, number, after, arguments):
    """Stopped at any step: it says so, ends by the signal's status within seconds, and its processes and files are gone."""
    if "--stand-in" not in arguments:
        needed("rabbitmq-server")
    with demo(tmp_path, *arguments) as started:
        read_until(started, after)
        if "queue gets stuck" in after:
            time.sleep(0.5)  # in the middle of the broker's start, which shows nothing to wait for
        os.kill(started.pid, number)
        os.kill(started.pid, number)  # an impatient second one
        rest, _ = started.communicate(timeout=20)
    assert started.returncode == 128 + number, rest
    assert "Stopped, and nothing is left running." in rest
    assert_nothing_is_left(started, tmp_path)
