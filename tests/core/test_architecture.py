"""The rules of the house that a machine can hold."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FILES = sorted((ROOT / "functions").rglob("*.py"))
CORE = ("model", "step", "guards", "judge", "card")
WORLDLY = {
    "asyncio", "http", "io", "logging", "multiprocessing", "os", "pathlib", "random", "secrets", "shutil", "signal", "socket",
    "sqlite3", "ssl", "subprocess", "sys", "tempfile", "threading", "time", "urllib.request", "uuid",
}  # fmt: skip
"""Clock, environment, log and network."""
VALUES = {"msgspec", "msgspec.Struct", "msgspec.field", "msgspec.structs", "msgspec.structs.replace"}
"""What the core may take from a package: the making of frozen values (docs/decisions/value-types.md)."""


def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def imported(node: ast.AST) -> Iterator[str]:
    """Names of modules that one statement imports, as far as a reader can tell."""
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names)
    elif isinstance(node, ast.ImportFrom):
        yield node.module or ""
        yield from (f"{node.module}.{alias.name}" for alias in node.names)


def everywhere(path: Path) -> set[str]:
    return {name for node in ast.walk(tree(path)) for name in imported(node)}


def at_import(path: Path) -> set[str]:
    """What importing the file imports: not what stands in functions, nor what is for type checkers only."""
    found: set[str] = set()
    waiting: list[ast.stmt] = list(tree(path).body)
    while waiting:
        node = waiting.pop()
        for_types = isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)
        if not isinstance(node, ast.FunctionDef) and not for_types:
            found |= set(imported(node))
            waiting += [child for child in ast.iter_child_nodes(node) if isinstance(child, ast.stmt)]
    return found


def core_files() -> dict[str, Path]:
    """The core and all that it is made of."""
    found: dict[str, Path] = {}
    waiting = [f"functions.{name}" for name in CORE]
    while waiting:
        name = waiting.pop()
        path = ROOT / f"{name.replace('.', '/')}.py"
        if name not in found and path.is_file():
            found[name] = path
            waiting += [one for one in everywhere(path) if one.startswith("functions.")]
    return found


@pytest.mark.parametrize("path", core_files().values(), ids=core_files())
def test_the_core_imports_the_standard_library_and_itself_only(path):
    """No clock, environment, log or network, and no package but what values are made of, however far one follows the imports."""
    names = everywhere(path)
    roots = {name.partition(".")[0] for name in names} - {"functions", "__future__"}
    assert roots - sys.stdlib_module_names <= {"msgspec"}
    assert {name for name in names if name.startswith("msgspec")} <= VALUES
    assert names.isdisjoint(WORLDLY)


def test_the_core_is_what_it_says():
    """The files that decide are among those that were looked at, the shell is not."""
    names = set(core_files())
    assert {f"functions.{name}" for name in (*CORE, "phases", "endings", "telling", "moment")} <= names
    assert names.isdisjoint({"functions.flow", "functions.web", "functions.config", "functions.logs", "functions.outside"})


@pytest.mark.parametrize("path", core_files().values(), ids=core_files())
def test_the_core_asks_no_clock(path):
    """`now` is an argument."""
    calls = {ast.unparse(node.func) for node in ast.walk(tree(path)) if isinstance(node, ast.Call)}
    assert not {call for call in calls if call.endswith((".now", ".utcnow", ".today", "time.time", "open", "print", "input"))}


def test_requests_is_imported_in_web_only():
    """One door to HTTP: time-outs, size caps and redaction are nowhere else to be forgotten."""
    users = [
        path.name for path in FILES if {name.partition(".")[0] for name in everywhere(path)} & {"requests", "urllib3", "httpx"}
    ]
    assert users == ["web.py"]


@pytest.mark.parametrize("path", FILES, ids=[str(path.relative_to(ROOT)) for path in FILES])
def test_costly_clients_are_imported_inside_functions(path):
    """Google's clients, requests and apprise cost tens of milliseconds: nobody pays for what is not used."""
    roots = {name.partition(".")[0] for name in at_import(path)}
    assert roots.isdisjoint({"google", "requests", "apprise"})


@pytest.mark.parametrize("path", [ROOT / "main.py", *FILES], ids=lambda path: str(path.relative_to(ROOT)))
def test_every_file_says_what_it_is(path):
    """A docstring at the top of each file that has any code."""
    assert ast.get_docstring(tree(path)) or not path.read_text(encoding="utf-8").strip()


def test_importing_the_shell_loads_no_client():
    """Rule 5: in a fresh process, with all that a forged request needs."""
    shell = "functions.service, functions.flow, functions.arrivals"
    code = f"import sys; was = set(sys.modules); import {shell}; print(*set(sys.modules) - was)"
    loaded = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True, timeout=60).stdout
    assert {name.partition(".")[0] for name in loaded.split()}.isdisjoint({"google", "requests", "urllib3", "apprise", "re2"})
