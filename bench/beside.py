"""Unstick beside what people would use instead, on the same work: the second part of docs/benchmarks.md.

Rounds are interleaved: in each, every program does the same work in turn, so that a busy machine slows all of them. Ratios are
taken within a round.
"""

import os
import platform
import shutil
import time
from collections import defaultdict
from contextlib import ExitStack
from itertools import count
from statistics import fmean, median, quantiles
from typing import Any

from bench.page import BESIDE, Promise, table, write_part
from bench.server import BARE, BUILD, JOB, UNSTICK, WEBHOOK, Server
from testbed.debian import ensure
from testbed.doubles.rabbitmq import RabbitDouble
from testbed.doubles.rundeck import Job, Rundeck
from testbed.unstick_process import alert, configuration, notification, runbook

QUEUE = "mail.delivery"
COLD_TRIES, TURNS, TURN_REQUESTS, ALERTS = 5, 20, 40, 8
SENDERS, NOTIFICATIONS, TARGETS = 300, 1000, 50
WARM_AFTER_S, SETTLED_S = 0.5, 0.5

COLD_FORGED, COLD_CPU = "process start to the answer to a forged request", "CPU of the same"
COLD_ALERT, ALERT = "process start to Rundeck, first alert", "alert to Rundeck, warm"
FORGED, FORGED_CPU = "forged request, warm", "CPU of a forged request, warm"
RESTARTS, MEMORY = "restarts by one alert, sent 300 times at once", "memory of all processes after 1,000 alerts (PSS)"
UNITS = {
    COLD_FORGED: ("ms", 1000.0), COLD_CPU: ("ms", 1000.0), COLD_ALERT: ("ms", 1000.0), ALERT: ("ms", 1000.0),
    FORGED: ("ms", 1000.0), FORGED_CPU: ("ms", 1000.0), RESTARTS: ("", 1.0), MEMORY: ("MiB", 1.0),
}  # fmt: skip
LIMITS = {FORGED_CPU: 1.3, FORGED: 1.3, COLD_CPU: 1.15, COLD_FORGED: 1.15}
"""The most that Unstick may take, relative to an empty function."""

Samples = dict[tuple[str, str], list[float]]


class Stage:
    """Stand-ins for RabbitMQ and for Rundeck, whose job may run in parallel; and new targets for each alert."""

    def __init__(self, rundeck: Rundeck, rabbitmq: RabbitDouble) -> None:
        self.rundeck, self.rabbitmq, self._numbers = rundeck, rabbitmq, count()

    def alert(self, service: str = "") -> bytes:
        """A notification about the given target, or a new one, whose restart no history holds."""
        return notification(alert(service or f"service-{next(self._numbers):06d}", QUEUE))

    def start(self, name: str, *, cloud: bool = False) -> Server:
        """Start a program, with an empty history in Rundeck."""
        self.clear()
        return Server(name, self._configuration(), self.rundeck, cloud=cloud)

    def clear(self) -> None:
        """Clear Rundeck's history, which would make its answers longer."""
        with self.rundeck.state.lock:
            self.rundeck.state.runs.clear()
            self.rundeck.requests.clear()
        self.rabbitmq.asked.clear()

    def _configuration(self) -> dict[str, Any]:
        """A configuration without the storm guard, whose follow-ups come after the measurement."""
        restart = {"job": JOB, "options": {"service": "${labels.service}"}, "allow": {"service": "[a-z0-9][a-z0-9-]{0,39}"}}
        later = {"first": "30m", "every": "30m", "patience": "31m", "within": "59m"}
        book = runbook("bench", match=['alertname="RabbitMQQueueStuck"'], restart=restart, verify=later)
        return configuration(self.rundeck.url, self.rabbitmq.url, [book], storm={"targets": 1000})


def measure(rounds: int) -> Samples:
    """Run all rounds. The first doesn't count: it writes byte code and warms the file system's caches."""
    if not ensure("webhook", "curl"):
        raise SystemExit("bench: webhook and curl can't be had here (apt-get install webhook curl)")
    shutil.rmtree(BUILD / "run", ignore_errors=True)
    samples: Samples = defaultdict(list)
    with Rundeck(Job(id=JOB, limit=0)) as rundeck, RabbitDouble() as rabbitmq:
        rabbitmq.queue(QUEUE, ready=4, unacked=1, consumers=("10.0.3.7:50001 -> 10.0.0.2:5672",))  # held by one that hangs
        stand = Stage(rundeck, rabbitmq)
        for number in range(rounds + 1):
            into: Samples = samples if number else defaultdict(list)
            _measure_cold(stand, into)
            _measure_warm(stand, into)
            print(f"{time.strftime('%H:%M:%S')} round {number} of {rounds}", flush=True)
        for name in (UNSTICK, WEBHOOK):
            _measure_under_load(stand, name, samples)
    return samples


def _measure_cold(stand: Stage, samples: Samples) -> None:
    """Measure cold starts. The fastest counts, since other load on the machine only adds time."""
    tries: Samples = defaultdict(list)
    for turn in range(COLD_TRIES):
        for name in (UNSTICK, WEBHOOK, BARE)[:: 1 if turn % 2 else -1]:
            with stand.start(name, cloud=True) as server:
                _, answered_at = server.send(server.request(stand.alert(), forged=True))
                tries[COLD_CPU, name].append(server.cpu_s())
                tries[COLD_FORGED, name].append(answered_at - server.began_at)
            if name != BARE:
                with stand.start(name) as server:
                    server.send(server.request(stand.alert()))
                    tries[COLD_ALERT, name].append(server.reached_rundeck_at(server.began_at) - server.began_at)
    for key, values in tries.items():
        samples[key].append(min(values))


def _measure_warm(stand: Stage, samples: Samples) -> None:
    """Measure warm requests. All programs run at once and take turns, since the machine's speed changes by the minute."""
    tries: Samples = defaultdict(list)
    with ExitStack() as stack:
        servers = [stack.enter_context(stand.start(name)) for name in (BARE, UNSTICK, WEBHOOK)]
        for server in servers:
            server.send(server.request(stand.alert(), forged=True))
        time.sleep(WARM_AFTER_S)
        for turn in range(TURNS):
            for server in servers[:: -1 if turn % 2 else 1]:
                request, before_s = server.request(stand.alert(), forged=True), server.cpu_s()
                for _ in range(TURN_REQUESTS):
                    began_at, answered_at = server.send(request)
                    tries[FORGED, server.name].append(answered_at - began_at)
                tries[FORGED_CPU, server.name].append((server.cpu_s() - before_s) / TURN_REQUESTS)
        for server in servers[1:]:
            stand.clear()
            for _ in range(ALERTS):
                began_at, _ = server.send(server.request(stand.alert()))
                tries[ALERT, server.name].append(server.reached_rundeck_at(began_at) - began_at)
    for (measure, name), values in tries.items():
        samples[measure, name].append(fmean(values) if measure == FORGED_CPU else median(values))


def _measure_under_load(stand: Stage, name: str, samples: Samples) -> None:
    """The same alert 300 times at once, as when many Grafana replicas send it, then 1,000 alerts of 50 targets."""
    with stand.start(name) as server:
        server.send(server.request(stand.alert()))
        _settle(stand)
        stand.clear()
        server.send_at_once([server.request(stand.alert("same"))] * SENDERS)
        _settle(stand)
        samples[RESTARTS, name].append(len(stand.rundeck.posts()))
        for number in range(NOTIFICATIONS):
            if name != UNSTICK:
                stand.clear()
            server.send(server.request(stand.alert(f"target-{number % TARGETS}")))
        _settle(stand)
        samples[MEMORY, name].append(server.memory_mib())


def _settle(stand: Stage) -> None:
    """Wait until no more runs arrive: adnanh/webhook answers before its command has run."""
    seen = -1
    while seen != (seen := len(stand.rundeck.posts())):
        time.sleep(SETTLED_S)


def promises(samples: Samples) -> list[Promise]:
    """The limits for Unstick, and what was measured."""
    rows = []
    for measure_name, limit in LIMITS.items():
        ratios = [ours / theirs for ours, theirs in zip(samples[measure_name, UNSTICK], samples[measure_name, BARE], strict=True)]
        low, _, high = quantiles(ratios, n=4, method="inclusive") if len(ratios) > 1 else ratios * 3
        measured = f"{median(ratios):.3g} ({low:.3g} to {high:.3g})"
        rows.append(
            Promise(f"{measure_name}, relative to an empty function", f"at most {limit:g}", measured, median(ratios) <= limit)
        )
    restarts = max(samples[RESTARTS, UNSTICK])
    return [*rows, Promise(RESTARTS, "1", f"{restarts:.0f}", restarts == 1)]


def section(samples: Samples, rounds: int) -> str:
    """The part of the page, with its heading."""
    names = (UNSTICK, WEBHOOK, BARE)
    rows = []
    for measure_name, (unit, factor) in UNITS.items():
        cells = [
            f"{median(values) * factor:,.3g} {unit}".strip() if (values := samples[measure_name, name]) else "" for name in names
        ]
        rows.append(f"| {measure_name} | {' | '.join(cells)} |")
    return "\n".join(
        [
            BESIDE, "",
            "Unstick, [adnanh/webhook](https://github.com/adnanh/webhook), which checks nothing first and answers before it acts, and an empty function, before the same stand-in for Rundeck.", "",
            f"| | {' | '.join(names)} |",
            f"| --- |{' ---: |' * len(names)}",
            *rows, "",
            table(promises(samples)), "",
            f"Medians, with quartiles; of five cold starts the fastest. Measured on {time.strftime('%Y-%m-%d', time.gmtime())} in {rounds} rounds, Python {platform.python_version()}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}.",
        ]
    )  # fmt: skip


def write(rounds: int) -> list[Promise]:
    """Measure, and write the part."""
    samples = measure(rounds)
    write_part(BESIDE, section(samples, rounds))
    return promises(samples)
