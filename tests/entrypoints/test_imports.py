"""What each path imports. A process that starts cold pays for clients only when it calls one."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from testbed.patience import PATIENCE_S
from testbed.unstick_process import ROOT
from tests.entrypoints.first_requests import Lists, imported

MOUNTED = "a forged request, with a secret of Secret Manager that is mounted"
FORGED_PRESS = "a forged press in Slack"
FORGED_LINK = "a forged approval link, with a key that is mounted"
PATHS = (
    FORGED_LINK, FORGED_PRESS,
    "start", "a forged request", "an alert", "a wake-up", "a sweep", "a report", "the page of an approval",
    "the button of an approval", "start, with the cloud's adapters", MOUNTED, "an alert, with the cloud's adapters",
)  # fmt: skip


@pytest.fixture(scope="module")
def seen(tmp_path_factory: pytest.TempPathFactory) -> Lists:
    """The current lists, by path."""
    return imported(Path(tmp_path_factory.mktemp("imports")))


@pytest.mark.parametrize("path", ["a forged request", MOUNTED])
def test_a_forged_request_imports_nothing(seen, path):
    """I7: neither a client nor the parser; all that the door needs is there from the start, in the cloud as on one machine."""
    assert seen[path] == []


def test_a_forged_approval_link_loads_no_client(seen):
    """I7: anybody may send one. The signing keys are mounted, as Grafana's secret is."""
    assert {name for name in seen[FORGED_LINK] if name.startswith("+ ")} <= {"+ itsdangerous", "+ markupsafe"}


def test_a_forged_press_in_slack_loads_no_client(seen):
    """I7: it is refused before anything is parsed, looked up or handed on."""
    assert {name for name in seen[FORGED_PRESS] if name.startswith("+ ")} == set()


@pytest.mark.parametrize("path", PATHS)
def test_nobody_pays_for_what_his_configuration_does_not_name(seen, path):
    """Google's clients belong to the cloud's adapters, and no path needs the command line or apprise."""
    clouds = (
        ()
        if "cloud" in path
        else ("functions.adapters.stores.cloud", "functions.adapters.schedulers.cloud", "+ google", "+ grpc")
    )
    assert not {name for name in seen[path] if name.startswith(("unstick", "+ apprise", *clouds))}


def test_the_collector_runs_again_after_the_start():
    """main.py keeps it off while it is loaded, and no longer."""
    code = "import gc, functions_framework; functions_framework.create_app('webhook', 'main.py'); print(gc.isenabled())"
    shown = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=PATIENCE_S, check=True)
    assert shown.stdout.splitlines()[-1] == "True"


def test_a_start_and_an_alert_need_neither_approval_nor_report(seen):
    """What is for people stays out of the way of an alert."""
    for path in ("start", "an alert", "start, with the cloud's adapters", "an alert, with the cloud's adapters"):
        assert not {
            name
            for name in seen[path]
            if name.startswith(("functions.entrypoints.people", "functions.domain.costs.report", "functions.application.report"))
        }


@pytest.mark.parametrize("adapter", ["stores.cloud_storage", "schedulers.cloud_tasks", "chats.apprise"])
def test_importing_an_adapter_imports_no_client(adapter):
    """Its settings are read at the start, so importing it costs next to nothing; its client comes with the first call."""
    code = (
        f"import sys, functions.adapters.{adapter}; "
        "print(sorted(m for m in sys.modules if m.split('.')[0] in ('requests', 'apprise', 'grpc')"
        " or m.startswith(('google.auth', 'google.api_core', 'google.cloud.'))))"
    )
    shown = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=PATIENCE_S, check=True)
    assert shown.stdout.strip() == "[]"
