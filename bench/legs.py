"""How many outbound calls in sequence stand between an alert and Rundeck's run, with 50 and 150 ms put on each of them.

What 100 ms more on each call add, by 100 ms, is the number of calls in sequence, whatever the machine's own time is. Their time, by
that of one call made by itself over such a line, shows what is done between them. Store and scheduler are the cloud's:
Cloud Storage by fake-gcs-server, Cloud Tasks against a stand-in. The function has one CPU, as infra/ gives it
(`available_cpu`); once more it has all of this machine.
"""

from __future__ import annotations

import gc
import socket
import time
from contextlib import ExitStack
from statistics import median
from urllib.parse import urlsplit

from bench import wire
from bench.contenders import UNSTICK, Form, Running, start, write_configuration
from bench.delay import Delayed
from bench.samples import Samples
from bench.stage import BUILD, CLOUD, JOB, Stage, in_the_cloud, one
from testbed.unstick_process import RUNNER_TOKEN

LEG_S, LONG_LEG_S = 0.05, 0.15
ALERTS, WARMING = 6, 3
"""The first few import and connect, and are left out."""
ALONE = 7
LEGS = "alert to Rundeck by one call, with 50 ms on each"
LEGS_ALL_CPUS = "the same on all CPUs of the machine"
CALLS = "calls in sequence from alert to Rundeck"
BEYOND = "seconds beyond the delays"


def legs(stage: Stage, samples: Samples) -> None:
    """One round: alerts of new targets, each measured from its last byte to the arrival of Rundeck's run."""
    gc.freeze()  # what was measured before is kept here, where the stand-ins answer: the collector need not walk it each time
    (leg_s, short), (_, long) = (_arrivals(stage, delay_s) for delay_s in (LEG_S, LONG_LEG_S))
    calls = (long - short) / (LONG_LEG_S - LEG_S)
    samples.add(LEGS, UNSTICK.name, short / leg_s)
    samples.add(CALLS, UNSTICK.name, calls)
    samples.add(BEYOND, UNSTICK.name, short - calls * LEG_S)
    leg_s, free = _arrivals(stage, LEG_S, one_cpu=False)
    samples.add(LEGS_ALL_CPUS, UNSTICK.name, free / leg_s)


def _arrivals(stage: Stage, delay_s: float, *, one_cpu: bool = True) -> tuple[float, float]:
    """Seconds of one call by itself, and from the last byte in to Rundeck's request: medians of some, one after the other."""
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
        server = start(UNSTICK, stage, Form.CLOUD, one_cpu=one_cpu, UNSTICK_CONFIG=str(path), **there)
        stack.callback(server.tree.stop)
        for _ in range(WARMING):
            _to_rundeck(server, stage)
        return _alone_s(rundeck.url), median(_to_rundeck(server, stage) for _ in range(ALERTS))


def _alone_s(url: str) -> float:
    """Seconds of one of the calls, on an open connection and without an HTTP library."""
    place = urlsplit(url)
    asked = f"GET /api/41/job/{JOB}/executions?status=running&max=100 HTTP/1.1\r\nHost: {place.netloc}\r\n"
    head = f"{asked}X-Rundeck-Auth-Token: {RUNNER_TOKEN}\r\nAccept: application/json\r\n\r\n".encode()
    took = []
    with socket.create_connection((place.hostname, place.port), timeout=wire.TIMEOUT_S) as line:
        for _ in range(ALONE):
            began = time.perf_counter()
            line.sendall(head)
            if b" 200 " not in line.recv(65536).partition(b"\r\n")[0]:
                raise RuntimeError("the stand-in for Rundeck did not answer 200")
            took.append(time.perf_counter() - began)
    return median(took)


def _to_rundeck(server: Running, stage: Stage) -> float:
    sent = wire.first(server.port, UNSTICK.message(one(stage.service())), within_s=60.0).expected(200)
    took_s = stage.arrived_at(sent.sent_at, within_s=20.0) - sent.sent_at
    stage.clear()
    return took_s
