"""What stands around every contender: stand-ins for all systems, and the alerts that arrive."""

from __future__ import annotations

import hashlib
import hmac
import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any

from testbed.doubles.cloud_storage import cloud_storage
from testbed.doubles.cloud_tasks import QUEUE as TASKS_QUEUE
from testbed.doubles.cloud_tasks import CloudTasks
from testbed.doubles.rabbitmq import PASSWORD, RabbitDouble
from testbed.doubles.rundeck import Job, Rundeck
from testbed.doubles.secret_manager import secret_manager
from testbed.unstick_process import (
    HMAC_SECRET,
    MACHINE_TOKEN,
    RUNNER_TOKEN,
    SIGNING_KEY,
    alert,
    configuration,
    job_id,
    notification,
    runbook,
)

ROOT = Path(__file__).parents[1]
BUILD = ROOT / "build" / "bench"
QUEUE = "mail.delivery"
JOB = job_id("bench")
BUCKET = "unstick-bench"
VERIFY, ACCOUNT = "http://127.0.0.1:9/verify", "verify@example.com"
CLOUD = {
    "store": {"cloud_storage": {"bucket": BUCKET}},
    "scheduler": {"cloud_tasks": {"queue": TASKS_QUEUE, "url": VERIFY, "service_account": ACCOUNT}},
}
"""The rooms of unstick.yaml in the cloud."""

SECRETS = {
    "GRAFANA_HMAC_SECRET": HMAC_SECRET,
    "RUNDECK_TOKEN": RUNNER_TOKEN,
    "RABBITMQ_PASSWORD": PASSWORD,
    "UNSTICK_SIGNING_KEY": SIGNING_KEY,
    "UNSTICK_MACHINE_TOKEN": MACHINE_TOKEN,
}
PROJECT = "bench"
SMALL_BYTES = 4096
MANY = 1000
LARGE_ALERT_BYTES = 2632
"""1,000 alerts of the size that Grafana was recorded to send are 2.6 MB."""

LATER = {"first": "30m", "every": "30m", "patience": "31m", "within": "59m"}
"""`verify`: no wake-up falls into a measurement."""


@dataclass(slots=True)
class Stage:
    """The stand-ins, and targets that no alert has named yet."""

    rundeck: Rundeck
    rabbitmq: RabbitDouble
    storage_url: str
    """Of fake-gcs-server, with BUCKET in it."""
    tasks_url: str
    secrets_url: str
    """Of Secret Manager, with SECRETS in it."""
    _numbers: Iterator[int] = field(default_factory=count)

    def service(self) -> str:
        """A target of its own, so that nothing holds its restart."""
        return f"service-{next(self._numbers):06d}"

    def clear(self) -> None:
        """Rundeck has no history: it grows with the measurements of whoever came before."""
        with self.rundeck.state.lock:
            self.rundeck.state.runs.clear()
            self.rundeck.requests.clear()
        self.rabbitmq.asked.clear()

    def arrived_at(self, since: float, *, within_s: float) -> float:
        """When the first run after `since` reached Rundeck, in Unix seconds. Raises TimeoutError if none does."""
        ends = time.monotonic() + within_s
        while time.monotonic() < ends:
            for seen in reversed(self.rundeck.posts()):
                if seen.at >= since:
                    return seen.at
            time.sleep(0.005)  # seldom: the stand-ins, which wrote down when, run beside it
        raise TimeoutError(f"no run reached Rundeck within {within_s} s")

    def file(self, **changes: Any) -> dict[str, Any]:
        """unstick.yaml of a measurement: no storm, and looks much later."""
        book = runbook(
            "bench",
            match=['alertname="RabbitMQQueueStuck"'],
            restart={"job": JOB, "options": {"service": "${labels.service}"}, "allow": {"service": "[a-z0-9][a-z0-9-]{0,39}"}},
            verify=LATER,
        )
        storm = {"targets": 1000, "within": "1s"}  # so that its document is as short as with the few slots of a real one
        return configuration(self.rundeck.url, self.rabbitmq.url, [book], storm=storm, **changes)


@contextmanager
def stage() -> Iterator[Stage]:
    """Rundeck with one job that may run in parallel, one stuck queue, and a cloud."""
    with (
        Rundeck(Job(id=JOB, limit=0)) as rundeck,
        RabbitDouble() as rabbitmq,
        CloudTasks() as tasks,
        cloud_storage(BUCKET, limited=False) as storage_url,
        secret_manager({f"projects/{PROJECT}/secrets/{name}": value for name, value in SECRETS.items()}) as secrets_url,
    ):
        rabbitmq.queue(QUEUE, ready=4, unacked=1, consumers=("10.0.3.7:50001 -> 10.0.0.2:5672",))  # held by one that hangs
        yield Stage(rundeck, rabbitmq, storage_url, tasks.endpoint, secrets_url)


def environment(stage: Stage, folder: Path) -> dict[str, str]:
    """Of every contender: as little as a container has, the secrets, and byte code outside of the repository, made once for all."""
    return {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ} | {
        "UNSTICK_CONFIG": str(folder / "unstick.yaml"),
        **SECRETS,
        "BENCH_RUNDECK": stage.rundeck.url,
        "BENCH_RABBITMQ": stage.rabbitmq.url,
        "BENCH_JOB": JOB,
        "BENCH_DATABASE": str(folder / "bench.db"),
        "PYTHONPYCACHEPREFIX": str(BUILD / "bytecode"),
        "PYTHONUTF8": "1",
        "PYTHONUNBUFFERED": "1",
    }


def in_secret_manager(file: dict[str, Any]) -> dict[str, Any]:
    """An unstick.yaml whose secrets are there, as infra/ wants them."""
    found: dict[str, Any] = json.loads(json.dumps(file).replace("env://", f"sm://{PROJECT}/"))
    return found


def in_the_cloud(storage_url: str, tasks_url: str, secrets_url: str) -> dict[str, str]:
    """What a contender's environment has besides, so that documents, wake-ups and secrets go there."""
    return {
        "UNSTICK_SECRET_MANAGER_ENDPOINT": secrets_url,
        "BENCH_PROJECT": PROJECT,
        "STORAGE_EMULATOR_HOST": storage_url,
        "UNSTICK_CLOUD_TASKS_ENDPOINT": tasks_url,
        "BENCH_BUCKET": BUCKET,
        "BENCH_QUEUE": TASKS_QUEUE,
        "BENCH_VERIFY": VERIFY,
        "BENCH_ACCOUNT": ACCOUNT,
        "MALLOC_ARENA_MAX": "2",  # as infra/module/functions.tf
    }


# --- what arrives --------------------------------------------------------------------------------------------------------


def one(service: str, size: int = 0) -> bytes:
    """A notification with one alert, filled up to `size` bytes."""
    made = alert(service, QUEUE)
    short = size - len(notification(made))
    if short > 0:
        made["annotations"]["description"] = "x" * (short - len(', "description": ""'))
    return notification(made)


def many(services: list[str]) -> bytes:
    """A notification with an alert for each, 2.6 MB for a thousand."""
    alerts = []
    for place, service in enumerate(services):
        made = alert(service, QUEUE, instance=f"rabbit{place}:15692")
        made["annotations"]["description"] = "x" * (LARGE_ALERT_BYTES - len(json.dumps(made)) - len(', "description": ""'))
        alerts.append(made)
    return notification(*alerts)


def signature(body: bytes, *, stamp: str = "") -> str:
    """As Grafana signs, over time, colon and body or over the body alone."""
    signed = f"{stamp}:".encode() + body if stamp else body
    return hmac.new(HMAC_SECRET.encode(), signed, hashlib.sha256).hexdigest()
