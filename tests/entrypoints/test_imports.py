"""What the cloud's webhook imports before it lets anybody in: a cold process pays for a client only when it calls one."""

import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from testbed.doubles.cloud_tasks import QUEUE
from testbed.patience import PATIENCE_S
from testbed.unstick_process import ROOT, Unstick, alert, check_ahead, configuration, mounted, notification, runbook, signed

CHILD = """
import json, sys
import flask.testing, click.testing, functions_framework, functions_framework._http.gunicorn
before = set(sys.modules)
app = functions_framework.create_app("webhook", sys.argv[1]).test_client()
lists = [sorted(set(sys.modules) - before)]
for asked in json.load(sys.stdin):
    before = set(sys.modules)
    answer = app.open(asked["path"], method=asked["method"], data=asked["body"], headers=asked["headers"])
    assert answer.status_code in (401, 403), answer.text
    lists.append(sorted(set(sys.modules) - before))
import gc
print("SEEN" + json.dumps([lists, gc.isenabled()]))
"""
NOBODY = "http://127.0.0.1:9"


def asked(method: str, path: str, body: bytes = b"", headers: dict[str, str] | None = None) -> dict[str, Any]:
    return {"method": method, "path": path, "body": body.decode(), "headers": headers or {}}


@pytest.fixture(scope="module")
def imported(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, list[str]], bool]:
    """What a new process imports for its start and for each forged request; and whether its garbage collector runs then."""
    folder = Path(tmp_path_factory.mktemp("imports"))
    settings = configuration(NOBODY, NOBODY, [runbook("mail")], public_url="https://unstick.example.com")
    settings["grafana"]["auth"]["hmac"]["secrets"] = ["sm://p-1/grafana"]
    settings["signing_keys"] = ["sm://p-1/signing"]
    settings["channels"]["slack"] = {"type": "slack", "url": "env://SLACK_URL", "signing_secret": "sm://p-1/slack"}
    settings["store"] = {"cloud_storage": {"bucket": "bucket-one"}}
    settings["scheduler"] = {"cloud_tasks": {"queue": QUEUE, "url": f"{NOBODY}/verify"}}
    secrets: dict[str, str] = {}
    for secret in ("p-1/grafana", "p-1/signing", "p-1/slack"):
        secrets |= mounted(folder / "secrets", secret)
    unstick = Unstick(folder, settings, **secrets)
    check_ahead(folder / "unstick.yaml")
    body = notification(alert("mail", "mail.delivery"))
    stamped = {"X-Slack-Request-Timestamp": str(int(time.time())), "X-Slack-Signature": "v0=" + "0" * 64}
    forged = {
        "notification": asked("POST", "/", body, signed(body) | {"X-Grafana-Alerting-Signature": "0" * 64}),
        "press in Slack": asked("POST", "/slack", b"payload=%7B%7D", stamped),
        "link to an incident": asked("GET", "/incidents/x?link=forged"),
        "approval link": asked("POST", "/approve/open", b"token=forged"),
    }
    ran = subprocess.run(
        [sys.executable, "-c", CHILD, str(ROOT / "main.py")],
        cwd=unstick.folder,
        env=unstick.environment | {"FUNCTION_TARGET": "webhook"},
        input=json.dumps(list(forged.values())),
        capture_output=True,
        text=True,
        timeout=2 * PATIENCE_S,
        check=False,
    )
    (line,) = (line for line in ran.stdout.splitlines() if line.startswith("SEEN")) if ran.returncode == 0 else [ran.stderr]
    lists, collects = json.loads(line.removeprefix("SEEN"))
    return dict(zip(("start", *forged), lists, strict=True)), collects


def packages(modules: list[str]) -> set[str]:
    """Neither ours nor the standard library's; SQLite costs as much as one."""
    tops = {name.split(".")[0] for name in modules}
    return tops - set(sys.stdlib_module_names) - {"functions", "main"} | tops & {"sqlite3"}


def test_what_is_forged_loads_no_client(imported: tuple[dict[str, list[str]], bool]) -> None:
    """I7: anybody may send it. All that a door needs is there from the start; secrets and signing keys are mounted there."""
    lists, _ = imported
    assert [name for name in lists["notification"] if name.startswith("functions")] == []
    assert packages(lists["notification"]) == packages(lists["press in Slack"]) == set()
    for link in ("link to an incident", "approval link"):
        assert packages(lists[link]) <= {"itsdangerous", "markupsafe"}, link


def test_a_start_loads_neither_clients_nor_what_is_for_people(imported: tuple[dict[str, list[str]], bool]) -> None:
    """Each new process pays for it. The collector, which main.py keeps off while it is loaded, runs again afterwards."""
    lists, collects = imported
    unwanted = (
        *("unstick", "apprise", "google", "grpc", "requests", "functions.adapters.runners.rundeck.client"),
        *("functions.adapters.symptoms.rabbitmq.client", "functions.entrypoints.people", "functions.domain.cards.report"),
        *("functions.domain.incidents", "functions.application.history", "yaml", "re2", "zoneinfo"),
    )
    assert [name for name in lists["start"] if name.startswith(unwanted)] == []
    assert "functions.adapters.stores.cloud_storage" in lists["start"]
    assert collects
