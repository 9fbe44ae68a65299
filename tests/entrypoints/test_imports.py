"""What each path imports, with the real adapters against stand-ins: a cold process pays for a client only when it calls one."""

import json
import re
import subprocess
import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from pytest_httpserver import HTTPServer

from testbed.doubles.cloud_tasks import QUEUE, CloudTasks
from testbed.doubles.rabbitmq import RabbitDouble
from testbed.doubles.rundeck import Job, Rundeck
from testbed.patience import PATIENCE_S
from testbed.unstick_process import (
    ROOT,
    Unstick,
    alert,
    check_ahead,
    configuration,
    job_id,
    mounted,
    notification,
    runbook,
    signed,
)

PUBLIC_URL = "https://unstick.example.com"
PATIENT = {"first": "1s", "every": "2s", "patience": "20m", "within": "40m"}
TRIES = 4
OPTIONAL = {"chardet", "socks", "simplejson", "brotli", "zstandard", "backports", "OpenSSL"}
"""Clients take these where a tool of the tests has brought them."""

COMPILED = re.compile(r"_cython_|cython_runtime|_sysconfigdata|.*__mypyc$")
"""Parts of packages, and what the standard library has made for this machine."""

CHILD = """
import json, sys
import flask.testing, click.testing, functions_framework, functions_framework._http.gunicorn
before = set(sys.modules)
app = functions_framework.create_app("webhook", sys.argv[1]).test_client()
seen = [{"modules": sorted(set(sys.modules) - before)}]
for one in json.load(sys.stdin):
    before = set(sys.modules)
    answer = app.open(one["path"], method=one["method"], data=one["body"].encode(), headers=one["headers"])
    seen.append({"modules": sorted(set(sys.modules) - before), "status": answer.status_code, "said": answer.text})
print("SEEN" + json.dumps(seen))
"""

Request = dict[str, Any]
Lists = dict[str, list[str]]


def imported(folder: Path) -> Lists:
    """By path to the webhook. What a forged request imports is what it needs first of all; an alert follows in the same process.

    A process that stands still for longer than it has, as on a busy machine, does not get to its restart: then all comes again.
    """
    for number in range(TRIES - 1):
        with suppress(AssertionError):
            return _imported(folder / f"{number}")
    return _imported(folder / "last")


def _imported(folder: Path) -> Lists:
    lists: Lists = {}
    with Rundeck(Job(id=job_id("mail"))) as rundeck, RabbitDouble() as rabbitmq:
        rabbitmq.queue("mail.delivery", ready=5, consumers=())
        for restarts, way in enumerate((_on_one_machine, _in_the_cloud), 1):
            settings = configuration(rundeck.url, rabbitmq.url, [runbook("mail", verify=PATIENT)], public_url=PUBLIC_URL)
            lists |= way(folder / way.__name__, settings)
            assert len(rundeck.posts()) == restarts
            rundeck.state.runs.clear()
    return lists


def _on_one_machine(folder: Path, settings: dict[str, Any]) -> Lists:
    unstick = Unstick(folder, settings)
    (start, refused, restarted), printed = _asked(unstick, _forged(), _alert())
    assert "incident is running" in printed, printed
    return {"start": start, "a forged request": refused, "an alert": restarted}


def _in_the_cloud(folder: Path, settings: dict[str, Any]) -> Lists:
    with CloudTasks() as tasks, HTTPServer(host="127.0.0.1", port=0) as storage:
        storage.expect_request(re.compile(".*"), method="GET").respond_with_data("No such object", status=404)
        storage.expect_request(re.compile(".*"), method="POST").respond_with_json({"name": "x", "generation": "1"})
        queue = {"queue": QUEUE, "url": "http://127.0.0.1:9/verify"}
        cloud = {"store": {"cloud_storage": {"bucket": "bucket-one"}}, "scheduler": {"cloud_tasks": queue}}
        settings["grafana"]["auth"]["hmac"]["secrets"] = ["sm://p-1/grafana"]
        settings["signing_keys"] = ["sm://p-1/signing"]
        settings["channels"]["slack"] = {"type": "slack", "url": "env://SLACK_URL", "signing_secret": "sm://p-1/slack"}
        places = {"STORAGE_EMULATOR_HOST": storage.url_for("").rstrip("/"), "UNSTICK_CLOUD_TASKS_ENDPOINT": tasks.endpoint}
        for secret in ("p-1/grafana", "p-1/signing", "p-1/slack"):
            places |= mounted(folder / "secrets", secret)
        unstick = Unstick(folder, settings | cloud, **places)
        check_ahead(folder / "unstick.yaml")
        stamped = {"X-Slack-Request-Timestamp": str(int(time.time())), "X-Slack-Signature": "v0=" + "0" * 64}
        press = _request(b"payload=%7B%7D", stamped, path="/slack")
        page = _request(method="GET", path="/incidents/x?link=forged")
        seen, _ = _asked(unstick, _forged(), press, page, _request(b"token=forged", path="/approve/open"), _alert())
    links = ("a forged link to an incident", "a forged approval link")
    names = ("start", "a forged request", "a forged press in Slack", *links, "an alert")
    return {f"{name}, with the cloud's adapters": modules for name, modules in zip(names, seen, strict=True)}


def _request(body: bytes = b"", headers: Mapping[str, str] | None = None, *, method: str = "POST", path: str = "/") -> Request:
    return {"body": body.decode(), "headers": dict(headers or {}), "method": method, "path": path}


BODY = notification(alert("mail", "mail.delivery"))


def _alert(**forged: str) -> Request:
    """Signed now: a signature is too old after five minutes."""
    return _request(BODY, signed(BODY) | forged)


def _forged() -> Request:
    return _alert(**{"X-Grafana-Alerting-Signature": "0" * 64})


def _asked(unstick: Unstick, *requests: Request) -> tuple[list[list[str]], str]:
    """What a new process imports for its start and for each of these, which it answers or refuses; and what it printed."""
    ran = subprocess.run(
        [sys.executable, "-c", CHILD, str(ROOT / "main.py")],
        cwd=unstick.folder,
        env=unstick.environment | {"FUNCTION_TARGET": "webhook"},
        input=json.dumps(requests),
        capture_output=True,
        text=True,
        timeout=2 * PATIENCE_S,
        check=False,
    )
    lines = [line for line in ran.stdout.splitlines() if line.startswith("SEEN")]
    assert lines, ran.stdout + ran.stderr
    seen = json.loads(lines[0].removeprefix("SEEN"))
    for one in seen[1:]:
        assert one["status"] in (200, 401, 403), one["said"]
    return [_listed(one["modules"]) for one in seen], ran.stdout


def _listed(modules: list[str]) -> list[str]:
    """Ours by their full names, then packages that are neither ours nor the standard library's; SQLite costs as much as one."""
    tops = {name.split(".")[0] for name in modules}
    ours = sorted(name for name in modules if name.split(".")[0] == "functions")
    others = tops - set(sys.stdlib_module_names) - OPTIONAL - {"functions", "main"} | tops & {"sqlite3"}
    return ours + sorted(f"+ {top}" for top in others if not COMPILED.match(top))


# --- what is asserted -----------------------------------------------------------------------------------------------------

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
    for link in ("a forged link to an incident", "a forged approval link"):
        loaded = {name for name in seen[f"{link}{CLOUD}"] if name.startswith("+ ")}
        assert loaded <= {"+ itsdangerous", "+ markupsafe"}, link


def test_nobody_pays_for_what_his_configuration_does_not_name(seen):
    """Google's clients belong to the cloud's adapters, and no path needs the command line or apprise."""
    google = ("functions.adapters.stores.cloud", "functions.adapters.schedulers.cloud", "+ google", "+ grpc")
    for path, names in seen.items():
        unwanted = ("unstick", "+ apprise", *(() if CLOUD in path else google))
        assert [name for name in names if name.startswith(unwanted)] == [], path
    assert [name for name in seen[f"start{CLOUD}"] if name in ("+ google", "+ grpc", "+ requests")] == [], "a call's to pay"


def test_the_collector_runs_again_after_the_start():
    """main.py keeps it off while it is loaded, and no longer."""
    code = "import gc, functions_framework; functions_framework.create_app('webhook', 'main.py'); print(gc.isenabled())"
    shown = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=PATIENCE_S, check=True)
    assert shown.stdout.splitlines()[-1] == "True"


def test_a_start_and_an_alert_need_neither_approval_nor_report(seen):
    """What is for people stays out of the way of an alert."""
    domain, reading = "functions.domain", "functions.application.history"
    people = ("functions.entrypoints.people", f"{domain}.cards.report", f"{domain}.incidents", reading)
    for path in ("start", "an alert", f"start{CLOUD}"):
        assert [name for name in seen[path] if name.startswith(people)] == [], path


def test_no_start_loads_what_calls_rundeck_or_rabbitmq(seen):
    """Each forged request of a new process would pay for it; an adapter's settings are enough until an alert is let in."""
    calls = {f"functions.adapters.{name}" for name in ("runners.rundeck.client", "symptoms.rabbitmq.client")}
    for path in ("start", "a forged request"):
        assert calls & {*seen[path], *seen[f"{path}{CLOUD}"]} == set()
    assert calls <= {*seen["an alert"]}
