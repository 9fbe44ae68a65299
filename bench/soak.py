"""`python -m bench.soak`: the long run. Many simulated hours first, then real minutes of mixed load with faults on two workers.

What came of it goes into docs/benchmarks.md, which also says what is
promised; it fails where one of the promises does not hold.
"""

from __future__ import annotations

import argparse
import gc
import random
import shutil
import sys
import time
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from statistics import median

from bench.parts import LONG_RUN, write_part
from bench.soak_page import GROWTH, WARM_SHARE, Promise, section
from bench.stage import BUILD, JOB, QUEUE
from bench.town import SERVICES, Town, clean, load, queue_of, recover, restart, rss_mib
from functions.runtime.http_client import POOL_SIZE
from testbed.doubles.rabbitmq import PASSWORD, RabbitDouble
from testbed.doubles.rundeck import Job, Rundeck
from testbed.unstick_process import Unstick, configuration, runbook
from tests.simulation.day import APPS, MOST_BYTES, day
from tests.simulation.run import several
from tests.simulation.scenario import END_AFTER_S

SCHEDULES, DAYS, PART = 500, 20, 50
QUIET_S = 70.0
"""The local scheduler opens its file anew each minute, and SQLite then gives back the descriptors that it kept."""
CLOSES_WITHIN_S = 150.0
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


def simulated() -> list[Promise]:
    """Schedules drawn from seeds, then whole days."""
    parts = [range(start, start + PART) for start in range(0, SCHEDULES, PART)]
    # Collecting the few cycles of a world takes a tenth of its time. What it leaves behind goes with the pool's processes.
    with ProcessPoolExecutor(initializer=gc.set_threshold, initargs=(100_000,)) as pool:
        short, courses = list(pool.map(several, parts)), list(pool.map(day, range(DAYS)))
    found = [line for part in short for line in part.violations]
    found += [f"day {seed}: {violation}" for seed, course in enumerate(courses) for violation in course.violations]
    print(*found, sep="\n", end="\n" if found else "", flush=True)
    bad, hours = sum(part.sums["violated"] for part in short), SCHEDULES * END_AFTER_S / 3600
    incidents, ill = sum(course.incidents for course in courses), sum(course.illnesses for course in courses)
    largest = max(max(course.largest_bytes) for course in courses)
    wrong = sum(bool(course.violations) for course in courses)
    return [
        Promise(f"{SCHEDULES} short simulations, {hours:,.0f} hours: violations", "0", str(bad), bad == 0),
        Promise(
            f"{DAYS} simulated days of {APPS} targets under every fault, {ill:,} hangs, {incidents:,} incidents: days with a violation",
            "0",
            str(wrong),
            wrong == 0,
        ),
        Promise(
            "the largest document of these days", f"{MOST_BYTES // 1024} KiB", f"{largest / 1024:.0f} KiB", largest <= MOST_BYTES
        ),
    ]


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


def adapters(minutes: float, seed: int) -> tuple[list[Promise], str]:
    """The real part: its promises, and a sentence about what went on."""
    folder = BUILD / "soak"
    shutil.rmtree(folder, ignore_errors=True)
    book = runbook(
        "soak",
        match=['alertname="RabbitMQQueueStuck"'],
        restart={"job": JOB, "options": {"service": "${labels.service}"}, "allow": {"service": "[a-z0-9][a-z0-9-]{0,39}"}},
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


def _told(town: Town, before: Quiet, after: Quiet, *, same_workers: bool) -> tuple[list[Promise], str]:
    twice = sum(count > 1 for tag, count in town.starts.items() if tag)
    defects = town.unstick.output().count("internal error")
    endings = Counter(record["outcome"]["ending"] for record in town.unstick.archive())
    print(f"RSS of both workers under load (MiB, in even steps): {' '.join(f'{peak:.0f}' for peak in _steps(town.peaks))}")
    answers, ends = (", ".join(f"{key}: {count:,}" for key, count in sorted(found.items())) for found in (town.answers, endings))
    grown = after.rss_mib / before.rss_mib - 1
    promises = [
        Promise(
            "memory of both workers (RSS)",
            f"{100 * (GROWTH - 1):+.0f} %",
            f"{before.rss_mib:.1f} → {after.rss_mib:.1f} MiB, {100 * grown:+.1f} %",
            after.rss_mib <= before.rss_mib * GROWTH,
        ),
        Promise(
            "sockets, by the size of the pools", str(SOCKETS), f"{before.sockets} → {after.sockets}", after.sockets <= SOCKETS
        ),
        Promise("other descriptors", f"+{FILES}", f"{before.files} → {after.files}", after.files <= before.files + FILES),
        Promise("documents left open", "0", str(after.open_documents), after.open_documents == 0),
        Promise(f"attempts started twice, of {len(town.starts):,}", "0", str(twice), twice == 0),
        Promise("internal errors in the log", "0", str(defects), defects == 0),
        Promise("workers that ended", "0", "0" if same_workers else "1 or 2", same_workers),
    ]
    pss = f"{before.pss_mib:.1f} → {after.pss_mib:.1f} MiB"
    return promises, f"{town.answers.total():,} requests, answers {answers}; incidents ended {ends}. PSS of all processes: {pss}."


def _steps(values: list[float]) -> list[float]:
    """Some fifteen of them, evenly spread, the last one included."""
    step = max(1, len(values) // 15)
    return values[::-1][::step][::-1]


def main() -> int:
    """Simulated, then real."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=30.0, help="of the real part")
    minutes: float = parser.parse_args().minutes
    promises = simulated()
    print(*(promise.row() for promise in promises), sep="\n", flush=True)
    more, told = adapters(minutes, seed=int(time.time()))
    print(*(promise.row() for promise in more), told, sep="\n", flush=True)
    write_part(LONG_RUN, section(promises + more, minutes, told))
    return int(not all(promise.holds for promise in promises + more))


if __name__ == "__main__":
    sys.exit(main())
