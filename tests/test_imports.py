"""What each path imports. A process that starts cold pays for clients only when it calls one."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.doubles.rabbitmq import RabbitDouble
from tests.doubles.rundeck import Job, Rundeck
from tests.unstick_process import ROOT, Unstick, alert, configuration, job_id, notification, runbook, signed

OURS_AT_START = {
    "functions", "functions.config", "functions.config_keys", "functions.config_kinds", "functions.config_read",
    "functions.config_values", "functions.config_yaml", "functions.contracts", "functions.decoding", "functions.errors",
    "functions.flood", "functions.grafana", "functions.grafana_auth", "functions.lease_owner", "functions.logs",
    "functions.model",
    "functions.rooms", "functions.runbooks", "functions.secret_places",
    "functions.secret_store", "functions.service", "functions.sqlite_file",
    "functions.text", "functions.together", "functions.web", "functions.words",
    "functions.chats", "functions.chats._plain", "functions.chats.console",
    "functions.runners", "functions.runners._rundeck_answers", "functions.runners.rundeck",
    "functions.schedulers", "functions.schedulers.local", "functions.stores", "functions.stores.local",
    "functions.symptoms", "functions.symptoms._rabbitmq_answers", "functions.symptoms.rabbitmq",
}  # fmt: skip
"""The reader of the configuration, the door, and the rooms that the configuration names, for their settings."""

OTHERS_AT_START = {"msgspec", "typing_extensions", "yaml", "re2", "sqlite3", "_sqlite3"}
"""msgspec for the types, with typing_extensions; YAML and RE2 for the configuration; SQLite for the local store."""

OTHERS_FOR_AN_ALERT = {"requests", "urllib3", "certifi", "charset_normalizer", "idna"}
IF_INSTALLED = {"chardet", "socks", "simplejson", "typing_extensions", "brotli", "zstandard"}
"""requests and msgspec take these where a tool of the tests has brought them."""

NEVER_HERE = {"google.api_core", "google.auth", "google.cloud.storage", "google.cloud.tasks_v2", "grpc", "apprise"}
"""Clients of what this configuration does not name."""

CHILD = """
import json, sys
import flask.testing, click.testing, functions_framework, functions_framework._http.gunicorn
app_before = set(sys.modules)
app = functions_framework.create_app("webhook", sys.argv[1]).test_client()
seen = {"start": sorted(set(sys.modules) - app_before)}
for name, asked in json.load(sys.stdin):
    before = set(sys.modules)
    answer = app.post("/", data=asked["body"].encode(), headers=asked["headers"])
    seen[name] = sorted(set(sys.modules) - before)
    seen[name + ".status"] = answer.status_code
    seen[name + ".said"] = answer.get_json(silent=True)
print("SEEN" + json.dumps(seen))
"""


@pytest.fixture(scope="module")
def seen(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Any]]:
    """What a new process has imported after its start, after a forged request, and after its first alert."""
    folder = Path(tmp_path_factory.mktemp("imports"))
    with Rundeck(Job(id=job_id("mail"))) as rundeck, RabbitDouble() as rabbitmq:
        rabbitmq.queue("mail.delivery", ready=5, consumers=())
        unstick = Unstick(folder, configuration(rundeck.url, rabbitmq.url, [runbook("mail")]))
        body = notification(alert("mail", "mail.delivery"))
        right = signed(body)
        wrong = right | {"X-Grafana-Alerting-Signature": "0" * 64}
        requests = [
            (name, {"body": body.decode(), "headers": headers}) for name, headers in (("forged", wrong), ("alert", right))
        ]
        ran = subprocess.run(
            [sys.executable, "-c", CHILD, str(ROOT / "main.py")],
            cwd=folder,
            env=unstick.environment | {"FUNCTION_TARGET": "webhook"},
            input=json.dumps(requests),
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        found = [line for line in ran.stdout.splitlines() if line.startswith("SEEN")]
        assert found, ran.stdout + ran.stderr
        yield json.loads(found[0].removeprefix("SEEN")) | {"runs": len(rundeck.posts())}


def ours(modules: list[str]) -> set[str]:
    return {name for name in modules if name.split(".")[0] == "functions"}


def others(modules: list[str]) -> set[str]:
    """Packages that are neither ours nor the standard library's, and SQLite, which costs as much as one."""
    tops = {name.split(".")[0] for name in modules}
    known = set(sys.stdlib_module_names) - {"sqlite3", "_sqlite3"}
    compiled = {
        top for top in tops if top.startswith(("_cython_", "cython_runtime", "_sysconfigdata")) or top.endswith("__mypyc")
    }
    return tops - known - compiled - {"functions", "main"}


def test_the_start_imports_the_configuration_and_the_door(seen):
    """No client, nothing of the way of an alert: a longer list is a slower cold start for everybody."""
    assert ours(seen["start"]) == OURS_AT_START
    assert others(seen["start"]) == OTHERS_AT_START


def test_a_forged_request_imports_nothing_of_ours(seen):
    """I7: neither a client nor the parser; all that the door needs is there from the start."""
    assert seen["forged.status"] == 401
    assert ours(seen["forged"]) == set()
    assert others(seen["forged"]) == set()


def test_an_alert_imports_only_the_clients_that_it_calls(seen):
    """An HTTP client for Rundeck and RabbitMQ; nothing of Google's with the local store."""
    assert (seen["alert.status"], seen["runs"]) == (200, 1), seen["alert.said"]
    assert others(seen["alert"]) - IF_INSTALLED == OTHERS_FOR_AN_ALERT
    everything = {*seen["start"], *seen["forged"], *seen["alert"]}
    assert not {name for name in everything if any(name == never or name.startswith(f"{never}.") for never in NEVER_HERE)}


def test_the_command_line_and_the_report_are_not_part_of_an_alert(seen):
    """What is for people at a terminal, for the weekly report and for approvals stays out of the way of an alert."""
    loaded = ours(seen["alert"])
    assert not {name for name in loaded if name.startswith(("functions.cli", "functions.cost", "functions.report"))}
    assert not loaded & {"functions.approval", "functions.approval_page", "functions.picture", "functions.drill"}


@pytest.mark.parametrize("room", ["stores.cloud_storage", "schedulers.cloud_tasks", "chats.apprise"])
def test_importing_a_room_imports_no_client(room):
    """A room's settings are read at the start, so importing it costs next to nothing; its client comes with the first call."""
    code = (
        f"import sys, functions.{room}; "
        "print(sorted(m for m in sys.modules if m.split('.')[0] in ('requests', 'apprise', 'grpc')"
        " or m.startswith(('google.auth', 'google.api_core', 'google.cloud.storage', 'google.cloud.tasks'))))"
    )
    shown = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=60, check=True)
    assert shown.stdout.strip() == "[]"
