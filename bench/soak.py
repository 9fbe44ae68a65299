"""`python -m bench.soak`: the long run. Many simulated hours first, then real minutes of mixed load with faults on two workers.

BENCH_MINUTES (30) is how long the real part takes. It fails where memory grew by more than 2 % between two quiet moments, a
descriptor was not given back, a document stayed open, or one attempt was started twice.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import sys
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from statistics import median

from bench import wire
from bench.contenders import UNSTICK
from bench.stage import BUILD, JOB, MANY, QUEUE, many
from bench.tree import Tree
from tests.doubles.rabbitmq import PASSWORD, Queue, RabbitDouble
from tests.doubles.rundeck import INCIDENT, Fault, Job, Rundeck
from tests.simulation.run import schedule
from tests.simulation.scenario import END_AFTER_S
from tests.unstick_process import Unstick, alert, configuration, notification, runbook

SCHEDULES = 500
WARM_SHARE = 0.3
"""Of the time: until then caches, pools and arenas may grow."""
SERVICES = 40
PAUSE_S = 0.05
QUIET_S = 6.0
CLOSES_WITHIN_S = 150.0
GROWTH = 1.02
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
VERIFY = {"first": "1s", "every": "2s", "patience": "8s", "within": "20s"}


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


def simulated() -> int:
    """Schedules drawn from seeds; how many had a violation."""
    began, bad = time.monotonic(), 0
    for seed in range(SCHEDULES):
        _, violations = schedule(random.Random(seed))
        bad += bool(violations)
        for violation in violations[:1]:
            print(f"seed {seed}: {violation}")
    hours = SCHEDULES * END_AFTER_S / 3600
    print(
        f"simulated: {SCHEDULES} schedules, {hours:,.0f} hours, {bad} with a violation, {time.monotonic() - began:.0f} s",
        flush=True,
    )
    return bad


# --- the load --------------------------------------------------------------------------------------------------------------


def load(town: Town, for_s: float) -> None:
    """Mixed requests one after the other, and faults in between, until the time is over."""
    ends, cleaned_at = time.monotonic() + for_s, 0.0
    kinds = (_stuck, _repeat, _resolved, _forged, _nonsense, _test, _crowd)
    while time.monotonic() < ends:
        kind = town.rng.choices(kinds, weights=(20, 30, 15, 20, 10, 3, 1))[0]
        town.answers[wire.exchange(town.unstick.port, kind(town)).status] += 1
        if town.rng.random() < 0.04:
            _fault(town)
        if time.monotonic() > cleaned_at:
            _clean(town)
            town.peaks.append(town.tree().memory()[0])
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


def _clean(town: Town) -> None:
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


# --- quiet moments -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Quiet:
    """What the processes hold while nothing is to be done."""

    pss_mib: float
    rss_mib: float
    descriptors: int
    open_documents: int


def quiet(town: Town) -> Quiet:
    """End the faults, make all queues well, wait until every document is closed, and look."""
    town.rabbitmq.broken.clear()
    town.rundeck.mend()
    ends = time.monotonic() + CLOSES_WITHIN_S
    while town.unstick.open_documents() and time.monotonic() < ends:
        for queue in town.rabbitmq.queues.values():
            if queue.ready or not queue.consumers:
                _recover(town, queue)
        time.sleep(0.5)
    time.sleep(QUIET_S)
    _clean(town)
    looks = [(*town.tree().memory(), town.tree().descriptors()) for _ in range(5)]
    pss, rss, descriptors = (median(column) for column in zip(*looks, strict=True))
    return Quiet(pss, rss, int(descriptors), len(town.unstick.open_documents()))


def _recover(town: Town, queue: Queue) -> None:
    peer = f"127.0.0.1:{town.rng.randrange(40000, 60000)} -> 127.0.0.1:5672"
    queue.set(ready=0, acks=queue.acks + 5, consumers=(peer,))


def _restart(town: Town, options: Mapping[str, str]) -> bool:
    """What the job does: most of the time the consumer is back, sometimes it is not, sometimes the job itself fails."""
    chance = town.rng.random()
    if chance < 0.8:
        _recover(town, town.rabbitmq.queue(queue_of(options["service"])))
    return chance < 0.95


def real(minutes: float, seed: int) -> int:
    """The real part. Returns how many promises did not hold."""
    folder = BUILD / "soak"
    shutil.rmtree(folder, ignore_errors=True)
    book = runbook(
        "soak",
        match=['alertname="RabbitMQQueueStuck"'],
        restart={"job": JOB, "options": {"service": "${labels.service}"}, "allow": {"service": "[a-z0-9-]{1,40}"}},
        verify=VERIFY,
        limits={"cooldown": "2s", "restarts": {"1h": 100}, "attempts": 2, "failing": 5},
    )
    job = Job(id=JOB, limit=0, duration_s=0.3)
    with Rundeck(job) as rundeck, RabbitDouble() as rabbitmq:
        file = configuration(rundeck.url, rabbitmq.url, [book], storm={"targets": 1000, "within": "1m"})
        with Unstick(folder, file, rabbitmq_password=PASSWORD, WORKERS="2") as unstick:
            town = Town(rundeck, rabbitmq, unstick, random.Random(seed))
            job.action = lambda options: _restart(town, options)
            for name in (QUEUE, *(queue_of(f"service-{number:02d}") for number in range(SERVICES))):
                rabbitmq.queue(name)
            load(town, minutes * 60 * WARM_SHARE)
            before, workers = quiet(town), unstick.workers()
            load(town, minutes * 60 * (1 - WARM_SHARE))
            after = quiet(town)
            return _told(town, before, after, same_workers=workers == unstick.workers())


def _told(town: Town, before: Quiet, after: Quiet, *, same_workers: bool) -> int:
    twice = sum(count > 1 for tag, count in town.starts.items() if tag)
    defects = town.unstick.output().count("a defect of Unstick")
    endings = Counter(record["outcome"]["ending"] for record in town.unstick.archive())
    print(f"real: {town.answers.total():,} requests, answers {dict(sorted(town.answers.items()))}, ends {dict(endings)}")
    print(f"memory under load (PSS, MiB, in even steps): {' '.join(f'{peak:.0f}' for peak in _steps(town.peaks))}")
    promises = {
        f"memory of all processes: {before.pss_mib:.1f} -> {after.pss_mib:.1f} MiB": after.pss_mib <= before.pss_mib * GROWTH,
        f"memory of the larger worker: {before.rss_mib:.1f} -> {after.rss_mib:.1f} MiB": after.rss_mib <= before.rss_mib * GROWTH,
        f"descriptors: {before.descriptors} -> {after.descriptors}": after.descriptors <= before.descriptors,
        f"documents left open: {after.open_documents}": after.open_documents == 0,
        f"attempts started twice: {twice} of {len(town.starts)}": twice == 0,
        f"defects in the log: {defects}": defects == 0,
        "both workers lived": same_workers,
    }
    for what, holds in promises.items():
        print(f"{'ok  ' if holds else 'FAIL'} {what}", flush=True)
    return sum(not holds for holds in promises.values())


def _steps(values: list[float]) -> list[float]:
    """Some fifteen of them, evenly spread, the last one included."""
    step = max(1, len(values) // 15)
    return values[::-1][::step][::-1]


def main() -> int:
    """Simulated, then real."""
    minutes = float(os.environ.get("BENCH_MINUTES", "30"))
    bad = simulated()
    return int(bool(bad + real(minutes, seed=int(time.time()))))


if __name__ == "__main__":
    sys.exit(main())
