"""The mixed load of the long run: alerts, repeats, forgeries and nonsense, and what goes wrong around it meanwhile."""

from __future__ import annotations

import json
import os
import random
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from bench import wire
from bench.contenders import UNSTICK
from bench.stage import MANY, many
from bench.tree import Tree
from testbed.doubles.rabbitmq import Queue, RabbitDouble
from testbed.doubles.rundeck import INCIDENT, Fault, Rundeck
from testbed.unstick_process import Unstick, alert, notification

SERVICES = 40
PAUSE_S = 0.05
BURST, BURST_EVERY_S = 48, 20.0
"""So many at once now and then: more than there are threads, so that every pool is as full as it gets before it is weighed."""
KEPT_RUNS_S = 90.0
"""Rundeck's history is cleaned up, as by its own job: else its answers, and the memory for reading them, grow without end."""
RUNDECK_FAULTS: tuple[Fault, ...] = (
    "slow",
    "late",
    "drop",
    "refuse",
    "500",
    "500_after",
    "html",
    "redirect",
    "garbage",
    "no_date",
)
RABBIT_FAULTS = ((500, "text/html", b"<html>"), (200, "application/json", b"{"), 0.5)


@dataclass(slots=True)
class Town:
    """Everything that stands around, and what was done to it."""

    rundeck: Rundeck
    rabbitmq: RabbitDouble
    unstick: Unstick
    rng: random.Random
    answers: Counter[int] = field(default_factory=Counter)
    starts: Counter[str] = field(default_factory=Counter)
    """Runs that did restart something, by INCIDENT.ATTEMPT."""
    counted: set[int] = field(default_factory=set)
    peaks: list[float] = field(default_factory=list)

    def tree(self) -> Tree:
        """Its processes. Raises RuntimeError where there are none any more."""
        if self.unstick.started is None:
            raise RuntimeError("Unstick has ended")
        return Tree(self.unstick.started, 0.0, self.unstick.log)


def queue_of(service: str) -> str:
    """The service's queue."""
    return f"{service}.delivery"


def rss_mib(town: Town) -> float:
    """Resident memory of both workers, each by itself."""
    pages = [int(Path(f"/proc/{pid}/statm").read_text().split()[1]) for pid in town.unstick.workers()]
    return sum(pages) * os.sysconf("SC_PAGE_SIZE") / 1024**2


def load(town: Town, for_s: float) -> None:
    """Mixed requests one after the other, and faults in between, until the time is over."""
    ends, cleaned_at, burst_at = time.monotonic() + for_s, 0.0, 0.0
    kinds = (_stuck, _repeat, _resolved, _forged, _nonsense, _test, _crowd)
    while time.monotonic() < ends:
        kind = town.rng.choices(kinds, weights=(20, 30, 15, 20, 10, 3, 1))[0]
        town.answers[wire.exchange(town.unstick.port, kind(town)).status] += 1
        if town.rng.random() < 0.04:
            _fault(town)
        if time.monotonic() > burst_at:
            town.answers.update(one.status for one in wire.at_once(town.unstick.port, [_stuck(town) for _ in range(BURST)]))
            burst_at = time.monotonic() + BURST_EVERY_S
        if time.monotonic() > cleaned_at:
            clean(town)
            town.peaks.append(rss_mib(town))
            cleaned_at = time.monotonic() + 5.0
        time.sleep(PAUSE_S)


def _service(town: Town) -> str:
    return f"service-{town.rng.randrange(SERVICES):02d}"


def _stuck(town: Town) -> bytes:
    service = _service(town)
    town.rabbitmq.queue(queue_of(service)).set(ready=5, consumers=())
    return UNSTICK.message(notification(alert(service, queue_of(service))))


def _repeat(town: Town) -> bytes:
    service = _service(town)
    return UNSTICK.message(notification(alert(service, queue_of(service), starts_at=time.time() // 60 * 60)))


def _resolved(town: Town) -> bytes:
    service = _service(town)
    return UNSTICK.message(notification(alert(service, queue_of(service), firing=False)))


def _forged(town: Town) -> bytes:
    return UNSTICK.message(notification(alert(_service(town), "x")), forged=True)


def _nonsense(town: Town) -> bytes:
    bodies = (b"", b"{}", b"[" * 10_000, b'{"alerts": [{}]}', b"\xff\xfe", town.rng.randbytes(2000))
    return UNSTICK.message(town.rng.choice(bodies))


def _test(_: Town) -> bytes:
    made = alert("nobody", "nothing", alertname="TestAlert") | {"generatorURL": ""}
    body = json.loads(notification(made)) | {"receiver": "webhook", "groupKey": "webhook-test"}
    return UNSTICK.message(json.dumps(body).encode())


def _crowd(_: Town) -> bytes:
    return UNSTICK.message(many([f"service-{number % SERVICES:02d}" for number in range(MANY // 4)]))


def _fault(town: Town) -> None:
    if town.rng.random() < 0.6:
        kind = town.rng.choice(RUNDECK_FAULTS)
        town.rundeck.fault("*", "", kind, times=town.rng.randrange(1, 4), seconds=0.5)
    elif town.rabbitmq.broken:
        town.rabbitmq.broken.clear()
    else:
        town.rabbitmq.broken[town.rng.choice(("totals", "page"))] = town.rng.choice(RABBIT_FAULTS)


def clean(town: Town) -> None:
    """Count what was restarted, and forget what ended long ago."""
    state = town.rundeck.state
    for run in state.carried_out:
        if run.id not in town.counted:
            town.counted.add(run.id)
            town.starts[run.options.get(INCIDENT, "")] += 1
    with state.lock:
        before = state.now() - KEPT_RUNS_S
        for number in [number for number, run in state.runs.items() if run.ended is not None and run.ended < before]:
            del state.runs[number]
        town.rundeck.requests.clear()
    town.rabbitmq.asked.clear()
    for queue in town.rabbitmq.queues.values():
        del queue.history[:-50]


def recover(town: Town, queue: Queue) -> None:
    """A new consumer has taken all that was there."""
    peer = f"127.0.0.1:{town.rng.randrange(40000, 60000)} -> 127.0.0.1:5672"
    queue.set(ready=0, acks=queue.acks + 5, consumers=(peer,))


def restart(town: Town, options: Mapping[str, str]) -> bool:
    """What the job does: most of the time the consumer is back, sometimes it is not, sometimes the job itself fails."""
    chance = town.rng.random()
    if chance < 0.8:
        recover(town, town.rabbitmq.queue(queue_of(options["service"])))
    return chance < 0.95
