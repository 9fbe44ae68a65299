"""What is left where move.py dies at one of its steps, and is run again as a person would."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from testbed.broker import Broker
from tests.system.ladder.moves.place import Place

MESSAGES = [f"message {number}" for number in range(6)]
STEPS = (
    "stopping", "stopped", "taken", "published-1", "acknowledged-1", "published-2", "acknowledged-2", "moved", "starting",
)  # fmt: skip
CASES = [
    (step, signal)
    for step in STEPS
    for signal in ("SIGKILL", "SIGTERM", "CUT")
    if signal != "CUT" or step not in ("stopping", "starting")  # there is no connection then
]


@pytest.mark.long
@pytest.mark.timeout(180)
@pytest.mark.parametrize("kind", ["classic", "quorum"])
@pytest.mark.parametrize(("step", "signal"), CASES)
def test_whenever_it_dies_nothing_is_lost(rabbitmq_server: Broker, tmp_path: Path, step: str, signal: str, kind: str) -> None:
    """Run again, both lie aside, all others in their places. Two copies of one have a mark; only SIGKILL leaves it stopped.

    A connection that is cut is taken up again.
    """
    place = Place(rabbitmq_server, tmp_path, kind, f"mail.{kind}-{signal}-{step}")
    place.publish(*MESSAGES)
    place.hang(2)
    command = [sys.executable, "-m", "tests.system.ladder.moves.dying", step, signal, *place.command("park", "2")[2:]]
    root = Path(__file__).parents[4]
    done = subprocess.run(command, cwd=root, env=place.environment(), capture_output=True, text=True, check=False)
    assert done.stderr == ""
    killed = signal == "SIGKILL"
    assert done.returncode in {"SIGKILL": (-9,), "SIGTERM": (0, 143), "CUT": (0,)}[signal], done.stdout
    assert place.started.exists() is not killed
    place.until_returned()
    left = [body for body in MESSAGES[:2] if body in place.bodies()]
    said = ""
    if left:
        status, _, said = place.run("park", str(len(left)))
        assert status == 0, said
    parked = place.messages(place.parked)
    marked = [body.decode() for _, properties, body in parked if properties.headers["x-unstick"].get("copy")]
    unmarked = [body.decode() for _, properties, body in parked if not properties.headers["x-unstick"].get("copy")]
    assert (sorted(unmarked), place.left()) == (MESSAGES[:2], MESSAGES[2:]), f"{done.stdout}{said}"
    uncertain = ("published",) if killed else ("published", "acknowledged") if signal == "CUT" else ()
    assert len(marked) <= (2 if uncertain else 0), f"{done.stdout}{said}"
    if killed and step.startswith("published"):
        assert Counter(marked) == Counter([f"message {int(step[-1]) - 1}"])
