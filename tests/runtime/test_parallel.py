"""Clients that many threads need at once, each for the first time."""

import os
import subprocess
import sys

from functions.runtime import secrets
from testbed.patience import PATIENCE_S
from testbed.unstick_process import ROOT

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
