"""examples/adapters/README.md: its examples, and the stand-ins of the page, pass the conformance tests as they are."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tools.docs.pages import ROOT, blocks

COPIED = ("functions", "testbed", "tests", "pyproject.toml", "main.py")
EXAMPLES = {
    "jobs_table": ("functions/adapters/symptoms/jobs_table.py", "tests/adapters/symptoms/systems.py"),
    "mattermost": ("functions/adapters/chats/mattermost.py", "tests/adapters/chats/services.py"),
}
CONFORMANCE = {"jobs_table": "tests/adapters/symptoms/test_symptoms.py", "mattermost": "tests/adapters/chats/test_chats.py"}


@pytest.mark.parametrize("example", EXAMPLES)
def test_an_example_passes_the_conformance_tests(tmp_path: Path, example: str):
    """One file, and a stand-in: the tests take it in by themselves."""
    for name in COPIED:
        source, there = ROOT / name, tmp_path / name
        if source.is_dir():
            shutil.copytree(source, there, ignore=shutil.ignore_patterns("__pycache__", "recordings", "system", "simulation"))
        else:
            shutil.copy(source, there)
    adapter, stand_ins = EXAMPLES[example]
    shutil.copy(ROOT / "examples" / "adapters" / f"{example}.py", tmp_path / adapter)
    with (tmp_path / stand_ins).open("a", encoding="utf-8") as file:
        file.write("\n\n" + dict(blocks(ROOT / "examples" / "adapters" / "README.md"))[f"python file={stand_ins}"])
    options = ["-q", "-n", "0", "-p", "no:randomly", "-o", "addopts=-p no:schemathesis"]
    command = [sys.executable, "-X", "utf8", "-m", "pytest", *options, CONFORMANCE[example], "-k", f"{example} and not apprise"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=150)
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-2000:]
    assert " passed" in done.stdout
