"""What import-linter does not hold: costs of importing, and one door to HTTP."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FILES = sorted((ROOT / "functions").rglob("*.py"))


def imported_names(node: ast.AST) -> Iterator[str]:
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names)
    elif isinstance(node, ast.ImportFrom):
        yield node.module or ""


def names_at_import(path: Path) -> set[str]:
    """What importing the file imports: not what stands in functions, nor what is for type checkers only."""
    found: set[str] = set()
    waiting: list[ast.stmt] = list(ast.parse(path.read_text(encoding="utf-8")).body)
    while waiting:
        node = waiting.pop()
        for_types = isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)
        if not isinstance(node, ast.FunctionDef) and not for_types:
            found |= set(imported_names(node))
            waiting += [child for child in ast.iter_child_nodes(node) if isinstance(child, ast.stmt)]
    return found


def test_requests_is_imported_in_one_module():
    """One door to HTTP: time-outs, size caps and redaction are nowhere else to be forgotten."""
    users = [
        path.name
        for path in FILES
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if {name.partition(".")[0] for name in imported_names(node)} & {"requests", "urllib3", "httpx"}
    ]
    assert set(users) == {"http_client.py"}


def test_costly_clients_are_imported_inside_functions():
    """Google's clients, requests, and apprise cost tens of milliseconds: nobody pays for what is not used."""
    costly = {"google", "requests", "apprise"}
    found = {str(path.relative_to(ROOT)): {name.partition(".")[0] for name in names_at_import(path)} & costly for path in FILES}
    assert {path: names for path, names in found.items() if names} == {}


@pytest.mark.parametrize("top", ["functions", "tests"])
def test_no_folder_has_more_than_twelve_entries(top):
    """A folder is read at a glance. Recordings are read by tests, not by people."""
    entries: dict[str, set[str]] = {}
    for path in (ROOT / top).rglob("*"):
        inside = path.relative_to(ROOT)
        listed = path.name != "__init__.py" and inside != Path("tests/conftest.py")
        if path.is_file() and listed and not {"__pycache__", "recordings"} & set(inside.parts):
            for folder, entry in pairwise(reversed([inside, *inside.parents][:-1])):
                entries.setdefault(str(folder), set()).add(entry.name)
    crowded = {folder: len(names) for folder, names in entries.items() if len(names) > 12}
    assert not crowded


def test_importing_what_serves_loads_no_client():
    """In a fresh process, with all that a forged request needs."""
    code = "import sys; was = set(sys.modules); import functions.entrypoints.webhook; print(*set(sys.modules) - was)"
    loaded = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True, timeout=60).stdout
    assert {name.partition(".")[0] for name in loaded.split()}.isdisjoint({"google", "requests", "urllib3", "apprise", "re2"})
