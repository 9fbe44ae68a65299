"""A mistyped field of a stored struct fails mypy, wherever one is changed."""

import re
import subprocess
import sys
from pathlib import Path

CHANGES = """
from msgspec.structs import replace

from functions.domain.decisions.turn import Turn
from functions.domain.model.incidents import (Incident, QueueState)


def step(turn: Turn, incident: Incident, watched: QueueState, either: Incident | QueueState) -> None:
    turn.change(phase=incident.phase, due=1.0)
    turn.change_run(tail=("killed",), holder_host="a")
    turn.change_approval(nonce="", expires_at=None)
    replace(incident, approval=replace(incident.approval, nonce="n"))
    turn.change(detial="")  # Unexpected keyword argument "detial"
    turn.change(due="soon")  # incompatible type "str"; expected "float"
    turn.change(nonce="")  # Unexpected keyword argument "nonce"
    turn.change_run(nonce="")  # Unexpected keyword argument "nonce"
    turn.change_approval(tail=())  # Unexpected keyword argument "tail"
    replace(watched, looks=watched.after)  # incompatible type "AfterRestart"; expected "Looks"
    replace(watched.looks, well_at=1.0)  # Unexpected keyword argument "well_at"
    replace(either, runbook="")  # replace() needs one struct
"""


def test_mypy_refuses_a_mistyped_name_a_wrong_type_and_a_field_of_another_part(tmp_path: Path):
    """Each line with a comment is refused for what the comment says, and no other line."""
    file = tmp_path / "changes.py"
    file.write_text(CHANGES, encoding="utf-8")
    command = [sys.executable, "-m", "mypy", "--cache-dir", str(tmp_path / "cache"), "--hide-error-context", str(file)]
    done = subprocess.run(command, cwd=Path(__file__).parents[3], capture_output=True, text=True, check=False, timeout=150)
    errors = {int(line): said for line, said in re.findall(r"^\S+?changes\.py:(\d+): error: (.*)$", done.stdout, re.MULTILINE)}
    expected = {n: line.partition("  # ")[2] for n, line in enumerate(CHANGES.splitlines(), 1) if "  # " in line}
    assert errors.keys() == expected.keys(), done.stdout
    assert [n for n, said in expected.items() if said not in errors[n]] == [], done.stdout
