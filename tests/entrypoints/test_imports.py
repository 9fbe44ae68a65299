"""What each path imports. A process that starts cold pays for clients only when it calls one."""

import subprocess
import sys
from pathlib import Path

import pytest

from testbed.patience import PATIENCE_S
from testbed.unstick_process import ROOT
from tests.entrypoints.first_requests import Lists, imported

CLOUD = ", with the cloud's adapters"


@pytest.fixture(scope="module")
def seen(tmp_path_factory: pytest.TempPathFactory) -> Lists:
    """The current lists, by path."""
    return imported(Path(tmp_path_factory.mktemp("imports")))


def test_what_is_forged_loads_no_client(seen):
    """I7: anybody may send it. All that a door needs is there from the start, in the cloud as on one machine; secrets and signing
    keys are mounted there.
    """
    assert seen["a forged request"] == seen[f"a forged request{CLOUD}"] == []
    assert {name for name in seen[f"a forged press in Slack{CLOUD}"] if name.startswith("+ ")} == set()
    link = {name for name in seen[f"a forged approval link{CLOUD}"] if name.startswith("+ ")}
    assert link <= {"+ itsdangerous", "+ markupsafe"}


def test_nobody_pays_for_what_his_configuration_does_not_name(seen):
    """Google's clients belong to the cloud's adapters, and no path needs the command line or apprise."""
    google = ("functions.adapters.stores.cloud", "functions.adapters.schedulers.cloud", "+ google", "+ grpc")
    for path, names in seen.items():
        unwanted = ("unstick", "+ apprise", *(() if CLOUD in path else google))
        assert [name for name in names if name.startswith(unwanted)] == [], path


def test_the_collector_runs_again_after_the_start():
    """main.py keeps it off while it is loaded, and no longer."""
    code = "import gc, functions_framework; functions_framework.create_app('webhook', 'main.py'); print(gc.isenabled())"
    shown = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=PATIENCE_S, check=True)
    assert shown.stdout.splitlines()[-1] == "True"


def test_a_start_and_an_alert_need_neither_approval_nor_report(seen):
    """What is for people stays out of the way of an alert."""
    people = ("functions.entrypoints.people", "functions.domain.costs.report", "functions.application.report")
    for path in ("start", "an alert", f"start{CLOUD}"):
        assert [name for name in seen[path] if name.startswith(people)] == [], path


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
