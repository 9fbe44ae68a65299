"""What the start of a process imports, as a tree with times."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from bench.stage import BUILD, ROOT

LEAST_MS = 2.0
LINE = re.compile(r"import time:\s+(\d+) \|\s+(\d+) \| ( *)(\S+)")
BEFORE = "import flask, functions_framework, functions_framework._http.gunicorn"
RUNS = 5


@dataclass(frozen=True, slots=True)
class Imports:
    """What importing main.py took on top of functions-framework, and each module of it with all that this one imports."""

    whole_ms: float
    modules: Mapping[str, float]
    tree: str
    """All of 2 ms or more."""


def imports(configuration: Path) -> Imports:
    """The quickest of five runs."""
    return min((one_run(configuration) for _ in range(RUNS)), key=lambda run: run.whole_ms)


def one_run(configuration: Path) -> Imports:
    """One process, which makes its byte code if there is none yet."""
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
    ours = list(reversed(rows[begin + 1 :]))
    tree = "\n".join(f"{ms:7.1f} ms  {'  ' * depth}{name}" for depth, name, ms in ours if ms >= LEAST_MS)
    modules = {name: ms for _, name, ms in ours}
    return Imports(modules["main"], modules, tree)
