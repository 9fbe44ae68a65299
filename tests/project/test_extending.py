"""examples/adapters/README.md: its examples, and the stand-ins of the page, pass the conformance tests as they are."""

import ast
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from functions.config import settings

ROOT = Path(__file__).parents[2]
COPIED = ("functions", "testbed", "tests", "pyproject.toml", "main.py")
EXAMPLES = {
    "jobs_table": ("functions/adapters/symptoms/jobs_table.py", "tests/adapters/symptoms/systems.py"),
    "mattermost": ("functions/adapters/chats/mattermost.py", "tests/adapters/chats/services.py"),
}
CONFORMANCE = {"jobs_table": "tests/adapters/symptoms/test_symptoms.py", "mattermost": "tests/adapters/chats/test_chats.py"}


def blocks() -> list[tuple[str, str]]:
    """The stand-ins of the page, in its order, each with the file that it is added to."""
    text = (ROOT / "examples" / "adapters" / "README.md").read_text(encoding="utf-8")
    return re.findall(r"^```python file=(\S+)\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)


@pytest.mark.parametrize("name", settings.adapter_names("runners"))
def test_no_code_outside_a_runner_names_it(name: str):
    """Another runner would be left out there. Keys that are gone are named by their path."""
    named = re.compile(rf"{re.escape(settings.load_adapter('runners', name).name)}|\b{name}\.|^{name}$")
    paths = [path for top in ("functions", "unstick") for path in sorted((ROOT / top).rglob("*.py"))]
    for path in (one for one in paths if "adapters/runners" not in one.as_posix() and one.name != "validation.py"):
        nodes = list(ast.walk(ast.parse(path.read_text(encoding="utf-8"))))
        docstrings = {id(node.value) for node in nodes if isinstance(node, ast.Expr)}
        texts = [one.value for one in nodes if isinstance(one, ast.Constant) and id(one) not in docstrings]
        assert [f"{path}: {text}" for text in texts if isinstance(text, str) and named.search(text)] == []


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
        file.write(f"\n\n{dict(blocks())[stand_ins]}")
    options = ["-q", "-n", "0", "-p", "no:randomly", "-o", "addopts=-p no:schemathesis"]
    command = [sys.executable, "-X", "utf8", "-m", "pytest", *options, CONFORMANCE[example], "-k", f"{example} and not apprise"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=150)
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-2000:]
    assert " passed" in done.stdout
