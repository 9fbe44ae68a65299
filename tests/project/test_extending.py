"""docs/extending.md: its example of a symptom passes the conformance tests as it stands there, and nothing else is touched."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
COPIED = ("functions", "tests", "pyproject.toml", "main.py")


def test_the_example_of_a_symptom_passes_the_conformance_tests(tmp_path: Path):
    """One file, and a stand-in: the tests take it in by themselves."""
    for name in COPIED:
        source, there = ROOT / name, tmp_path / name
        if source.is_dir():
            shutil.copytree(source, there, ignore=shutil.ignore_patterns("__pycache__", "recordings", "system", "simulation"))
        else:
            shutil.copy(source, there)
    text = (ROOT / "docs" / "extending.md").read_text(encoding="utf-8")
    blocks = re.findall(r"^```python file=(\S+)\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)
    assert [name for name, _ in blocks] == ["functions/adapters/symptoms/jobs_table.py", "tests/adapters/symptoms/systems.py"]
    for name, code in blocks:
        path = tmp_path / name
        path.write_text((path.read_text() if path.exists() else "") + "\n\n" + code)
    command = [
        sys.executable,
        "-X",
        "utf8",
        "-m",
        "pytest",
        "-q",
        "-n",
        "0",
        "-p",
        "no:randomly",
        "-o",
        "addopts=-p no:schemathesis",
    ]
    command += ["tests/adapters/symptoms/test_symptoms.py", "-k", "jobs_table"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-2000:]
    assert " passed" in done.stdout
