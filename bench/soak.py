"""`python -m bench.soak`: the long run. Many simulated hours first, then real minutes of mixed load with faults on two workers.

BENCH_MINUTES (30) is how long the real part takes. It fails where memory grew by more than 2 % between two quiet moments, a
descriptor was not given back, a document stayed open, or one attempt was started twice.
"""

from __future__ import annotations

import os
import random
import shutil
import sys
import time
from collections import Counter
from contextlib import ExitStack
from dataclasses import dataclass
from statistics import median

from bench.stage import BUILD, JOB, QUEUE
from bench.town import SERVICES, Town, clean, load, queue_of, recover, restart, rss_mib
from functions.web import POOL_SIZE
from tests.doubles.rabbitmq import PASSWORD, RabbitDouble
from tests.doubles.rundeck import Job, Rundeck
from tests.simulation.run import schedule
from tests.simulation.scenario import END_AFTER_S
from tests.unstick_process import Unstick, configuration, runbook

SCHEDULES = 500
WARM_SHARE = 0.3
"""Of the time: until then caches, pools and arenas may grow."""
QUIET_S = 70.0
"""The local scheduler opens its file anew each minute, and SQLite then gives back the descriptors that it kept."""
CLOSES_WITHIN_S = 150.0
GROWTH = 1.02
WORKERS = 2
SOCKETS = (WORKERS + 1) * 3 + WORKERS * 2 * POOL_SIZE
"""The door and gunicorn's own, and a full pool for Rundeck and one for RabbitMQ in each worker. Pools fill up slowly."""
FILES = 4
"""One more here and there may be open just now. One lost with each request would be thousands."""
ARENAS = "2"
"""MALLOC_ARENA_MAX, as the image, the unit and Terraform set it. glibc spreads many short-lived threads over up to eight heaps a
core and gives little of them back.
Without this, two workers grew by a fifth in six minutes, while all that Python had allocated stayed as it was.
"""
VERIFY = {"first": "1s", "every": "2s", "patience": "8s", "within": "20s"}


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


# --- quiet moments -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Quiet:
    """What the processes hold while nothing is to be done."""

    rss_mib: float
    pss_mib: float
    sockets: int
    files: int
    open_documents: int


def quiet(town: Town) -> Quiet:
    """End the faults, make all queues well, wait until every document is closed, and look."""
    town.rabbitmq.broken.clear()
    town.rundeck.mend()
    ends = time.monotonic() + CLOSES_WITHIN_S
    while town.unstick.open_documents() and time.monotonic() < ends:
        for queue in town.rabbitmq.queues.values():
            if queue.ready or not queue.consumers:
                recover(town, queue)
        time.sleep(0.5)
    time.sleep(QUIET_S)
    clean(town)
    looks = [(rss_mib(town), town.tree().memory()[0], *town.tree().descriptors()) for _ in range(5)]
    rss, pss, sockets, files = (median(column) for column in zip(*looks, strict=True))
    return Quiet(rss, pss, int(sockets), int(files), len(town.unstick.open_documents()))


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
    with Rundeck(job) as rundeck, RabbitDouble() as rabbitmq, ExitStack() as stack:
        file = configuration(rundeck.url, rabbitmq.url, [book], storm={"targets": 1000, "within": "1m"})
        unstick = Unstick(folder, file, rabbitmq_password=PASSWORD, WORKERS=str(WORKERS), MALLOC_ARENA_MAX=ARENAS)
        stack.callback(unstick.stop)
        town = Town(rundeck, rabbitmq, unstick.start(), random.Random(seed))
        job.action = lambda options: restart(town, options)
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
    print(f"PSS of all processes, which grows as pages cease to be shared: {before.pss_mib:.1f} -> {after.pss_mib:.1f} MiB")
    print(f"RSS of both workers under load (MiB, in even steps): {' '.join(f'{peak:.0f}' for peak in _steps(town.peaks))}")
    promises = {
        f"memory of both workers (RSS): {before.rss_mib:.1f} -> {after.rss_mib:.1f} MiB": after.rss_mib
        <= before.rss_mib * GROWTH,
        f"sockets: {before.sockets} -> {after.sockets}, at most {SOCKETS} by the size of the pools": after.sockets <= SOCKETS,
        f"other descriptors: {before.files} -> {after.files}": after.files <= before.files + FILES,
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
