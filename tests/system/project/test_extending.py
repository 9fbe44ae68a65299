"""examples/adapters/README.md: its examples, and the stand-ins of the page, pass the conformance tests as they are."""

import inspect
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from functions.application import ports
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


PORTS: dict[str, dict[type, str]] = {
    "A symptom": {ports.SymptomAdapter: "", ports.SymptomKeys: "Keys."},
    "A chat": {ports.Chat: "", ports.Buttons: ""},
    "A runner": {ports.Runner: ""},
    "A store or a scheduler": {ports.Store: "", ports.Scheduler: ""},
}
"""Heading of the page -> the protocols that it describes, with what their members' names begin with there."""


def members(protocol: type) -> Iterator[str]:
    """Each member as the page writes it: its name, and those of its arguments."""
    for part in (part for part in protocol.__mro__ if part.__module__ == ports.__name__):
        for name in (name for name in {**part.__annotations__, **vars(part)} if not name.startswith("_")):
            value = getattr(protocol, name, None)
            if not inspect.isfunction(value):
                yield name
                continue
            arguments = list(inspect.signature(value).parameters.values())[1:]
            plain = [argument.replace(annotation=argument.empty, default=argument.empty) for argument in arguments]
            yield f"{name}{inspect.Signature(plain)}"


@pytest.mark.parametrize("heading", PORTS)
def test_the_page_lists_each_member_of_each_port(heading: str):
    """By name and arguments. What the page has besides is no member: the function `render`, and the class in `ADAPTER`."""
    section = (ROOT / "examples" / "adapters" / "README.md").read_text(encoding="utf-8").partition(f"\n## {heading}\n")[2]
    listed = re.findall(r"^\| `([^`]+)` \|", section.partition("\n## ")[0], re.MULTILINE)
    besides = ("render(", "ADAPTER: ")
    expected = [prefix + member for protocol, prefix in PORTS[heading].items() for member in members(protocol)]
    assert sorted(name for name in listed if not name.startswith(besides)) == sorted(expected)
