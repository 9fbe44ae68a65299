"""Clients that many threads need at once, each for the first time."""

from __future__ import annotations

import ast
import os
import subprocess
import sys

import pytest

from functions.runtime import secrets
from tests.support.patience import PATIENCE_S
from tests.support.unstick_process import ROOT

MEETING = """
import _frozen_importlib, sys, threading, time
from importlib.machinery import PathFinder
import google.api_core.exceptions, google.auth.exceptions
from functions.runtime import secrets as secret_store; from functions.runtime import http_client as web
from functions.runtime.parallel import run_parallel

# One thread stands between having requests' lock and having it in sys.modules, until the other asks for requests.exceptions;
# with the lock it never does.
entered, near, others = threading.Event(), threading.Event(), []

def wait(spec):
    if entered.is_set():
        return  # the other, after the first has failed
    entered.set()
    waits = 0
    if near.wait(float(sys.argv[1])):
        while waits < 10:
            waits = waits + 1 if _frozen_importlib._blocking_on.get(others[0]) else 0
            time.sleep(0.02)

class Meeting:
    @staticmethod
    def find_spec(name, path=None, target=None):
        if name == "google.api_core.retry.retry_base":
            others.append(threading.get_ident())
            near.set()
        if name == "requests":
            spec = PathFinder.find_spec(name, path)
            spec.loader.create_module = wait
            return spec

assert "requests" not in sys.modules
sys.meta_path.insert(0, Meeting)

def read():
    entered.wait(60)
    return secret_store.read("sm://p-1/token", now=1.0)

def ask():
    return web.request("Rundeck", "GET", "http://127.0.0.1:9/", timeout_s=60)

for outcome in run_parallel([ask, read], timeout_s=120):
    print(outcome)
"""


def met(script: str, waits_s: float) -> list[str]:
    """What both were answered; the one waits so long for the other."""
    environment = os.environ | {secrets.ENDPOINT: "http://127.0.0.1:9"}
    command = [sys.executable, "-c", script, str(waits_s)]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False, timeout=2 * PATIENCE_S)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def test_two_clients_may_be_met_by_two_threads_at_once() -> None:
    """The first alert of a fresh process asks all systems together, and each import that it waits for succeeds."""
    assert met(MEETING, 0.5) == [
        "Rundeck: 127.0.0.1: connection refused",
        "Secret Manager (sm://p-1/token): connection failed (ConnectionError)",
    ]


def test_without_the_lock_they_do_not_get_on() -> None:
    """The meeting above is one where it matters."""
    unlocked = "import contextlib\nfrom functions.runtime import import_lock\nimport_lock.IMPORTING = contextlib.nullcontext()\n"
    assert "deadlock detected" in met(unlocked + MEETING, PATIENCE_S)[0]


CLIENTS = ("requests", "urllib3", "google", "apprise")


class Imports(ast.NodeVisitor):
    """The lines that import a client without the lock, but for types."""

    def __init__(self) -> None:
        self.found: list[int] = []
        self.locked = 0

    def visit_If(self, node: ast.If) -> None:
        if not (isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"):
            self.generic_visit(node)

    def visit_With(self, node: ast.With) -> None:
        lock = any(isinstance(item.context_expr, ast.Name) and item.context_expr.id == "IMPORTING" for item in node.items)
        self.locked += lock
        self.generic_visit(node)
        self.locked -= lock

    def visit_Import(self, node: ast.Import) -> None:
        self._seen(node, [alias.name for alias in node.names])

    def visit_ImportFrom(self, node: ast.ImportFrom) -> None:
        self._seen(node, [node.module or ""])

    def _seen(self, node: ast.stmt, names: list[str]) -> None:
        if not self.locked and any(name.split(".")[0] in CLIENTS for name in names):
            self.found.append(node.lineno)


def unlocked(source: str) -> list[int]:
    visitor = Imports()
    visitor.visit(ast.parse(source))
    return visitor.found


def test_each_client_is_imported_by_one_thread_at_a_time() -> None:
    """A room that is added later says so, too."""
    found = {
        f"{path.relative_to(ROOT)}:{line}": "put it under `with IMPORTING:`"
        for path in (ROOT / "functions").rglob("*.py")
        for line in unlocked(path.read_text(encoding="utf-8"))
    }
    assert found == {}


@pytest.mark.parametrize(
    ("source", "lines"),
    [
        ("def f():\n    import requests", [2]),
        ("def f():\n    from google.cloud import storage", [2]),
        ("def f():\n    with IMPORTING:\n        import requests\n    import urllib3", [4]),
        ("def f():\n    with IMPORTING:\n        import requests\n    import json", []),
        ("async def f():\n    import requests", [2]),
        ("import requests", [1]),
        ("if TYPE_CHECKING:\n    import requests", []),
    ],
)
def test_what_is_not_locked_is_found(source: str, lines: list[int]) -> None:
    """The check above can fail."""
    assert unlocked(source) == lines
