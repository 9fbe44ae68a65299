"""How many outbound calls in sequence stand between an alert and Rundeck's run, with 50 and 150 ms put on each of them.

What 100 ms more on each call add, by 100 ms, is the number of calls in sequence, whatever the machine's own time is.
Store and scheduler are the cloud's: google-cloud-storage against fake-gcs-server, google-cloud-tasks against a stand-in.
"""

from __future__ import annotations

import gc
from contextlib import ExitStack

from bench import wire
from bench.contenders import UNSTICK, Form, Running, start, write_configuration
from bench.delay import Delayed
from bench.samples import Samples
from bench.stage import BUILD, CLOUD, Stage, in_the_cloud, one

LEG_S, LONG_LEG_S = 0.05, 0.15
ALERTS, WARMING = 12, 3
"""The first few import and connect, and are left out."""
LEGS = "alert to Rundeck by 50 ms, with 50 ms on each call"
CALLS = "calls in sequence from alert to Rundeck"


def legs(stage: Stage, samples: Samples) -> None:
    """Alerts of new targets, each measured from its last byte to the arrival of Rundeck's run."""
    gc.freeze()  # what was measured before is kept here, where the stand-ins answer: the collector need not walk it each time
    short, long = (_arrivals(stage, delay_s) for delay_s in (LEG_S, LONG_LEG_S))
    for one_s, other_s in zip(short, long, strict=True):
        samples.add(LEGS, UNSTICK.name, one_s / LEG_S)
        samples.add(CALLS, UNSTICK.name, (other_s - one_s) / (LONG_LEG_S - LEG_S))


def _arrivals(stage: Stage, delay_s: float) -> list[float]:
    """Seconds from the last byte in to Rundeck's request, of one alert after the other."""
    with ExitStack() as stack:
        rundeck, rabbitmq, storage, scheduler = (
            stack.enter_context(Delayed(url, delay_s=delay_s))
            for url in (stage.rundeck.url, stage.rabbitmq.url, stage.storage_url, stage.tasks_url)
        )
        file = stage.file(**CLOUD)
        file["rundeck"]["url"], file["rabbitmq"]["url"] = rundeck.url, rabbitmq.url
        path = BUILD / "legs.yaml"
        write_configuration(path, file, checked=True)
        stage.clear()
        there = in_the_cloud(storage.url, scheduler.url, stage.secrets_url)
        server = start(UNSTICK, stage, Form.CLOUD, UNSTICK_CONFIG=str(path), **there)
        stack.callback(server.tree.stop)
        return [_to_rundeck(server, stage) for _ in range(WARMING + ALERTS)][WARMING:]


def _to_rundeck(server: Running, stage: Stage) -> float:
    sent = wire.first(server.port, UNSTICK.message(one(stage.service())), within_s=60.0).expected(200)
    took_s = stage.arrived_at(sent.sent_at, within_s=20.0) - sent.sent_at
    stage.clear()
    return took_s
