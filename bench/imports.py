"""What the start of a process imports, as a tree with times."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

from bench.stage import BUILD, ROOT

LEAST_MS = 2.0
LINE = re.compile(r"import time:\s+(\d+) \|\s+(\d+) \| ( *)(\S+)")
BEFORE = "import flask, functions_framework, functions_framework._http.gunicorn"
RUNS = 5


def tree(configuration: Path) -> str:
    """All of main.py that takes 2 ms or more with what it imports, on top of functions-framework; the quickest of five runs."""
    runs = [_tree(configuration) for _ in range(RUNS)]
    return min(runs, key=lambda run: run[0])[1]


def _tree(configuration: Path) -> tuple[float, str]:
    made = os.environ | {"UNSTICK_CONFIG": str(configuration), "PYTHONPYCACHEPREFIX": str(BUILD / "bytecode")}
    made.pop("PYTHONDONTWRITEBYTECODE", None)
    shown = subprocess.run(
        [sys.executable, "-X", "importtime", "-c", f"{BEFORE}\nimport main"],
        cwd=ROOT, env=made, check=True, capture_output=True, text=True,
    ).stderr  # fmt: skip
    rows = [
        (len(found[3]) // 2, found[4], int(found[2]) / 1000) for line in shown.splitlines() if (found := LINE.fullmatch(line))
    ]
    begin = max((place for place, row in enumerate(rows) if row[1].startswith("functions_framework.")), default=-1)
    ours = [(depth, name, ms) for depth, name, ms in reversed(rows[begin + 1 :]) if ms >= LEAST_MS]
    whole = next((ms for _, name, ms in ours if name == "main"), 0.0)
    return whole, "\n".join(f"{ms:7.1f} ms  {'  ' * depth}{name}" for depth, name, ms in ours)
