"""`python -m bench [--rounds N] [--without-others] [--only PART]`: measure, and write docs/benchmarks.md."""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import time

from bench import applications, page, promises, restart_time, rounds
from bench.claims import claims
from bench.contenders import RULEBOOK, UNGUARDED, UNSTICK, WEBHOOK, Contender, missing
from bench.legs import legs
from bench.samples import Samples
from bench.stage import BUILD, ROOT, Stage, stage
from bench.writes import eight_at_once

ROUNDS, FEW = 5, 2
LOADED_ROUNDS = 2
RESTART_TIME, APPLICATIONS, DETAILS = "restart-time", "applications", "details"


def measure(stand: Stage, count: int, absent: dict[str, str]) -> Samples:
    """All rounds. The first one is not kept: it makes byte code and warms the file system's caches."""
    samples = Samples()
    present = [one for one in rounds.QUICK if one.name not in absent]
    for number in range(count + 1):
        into = samples if number else Samples()
        rounds.cold(present, stand, into)
        rounds.warm(present if number % 2 else present[::-1], stand, into)
        legs(stand, into)
        eight_at_once(stand, into)
        _say(f"round {number} of {count}")
    for _ in range(min(LOADED_ROUNDS, count)):
        for contender in _present((UNSTICK, UNGUARDED, WEBHOOK), absent):
            rounds.parallel(contender, stand, samples)
    _say("300 at once")
    for contender in present:
        rounds.memory(contender, stand, samples)
    _say("1,000 notifications")
    for contender in _present((RULEBOOK,), absent):
        rounds.cold((contender,), stand, Samples(), turns=1)
        for _ in range(min(FEW, count)):
            rounds.cold((contender,), stand, samples, turns=1)
            rounds.warm((contender,), stand, samples)
        rounds.memory(contender, stand, samples)
    return samples


def _present(contenders: tuple[Contender, ...], absent: dict[str, str]) -> list[Contender]:
    return [one for one in contenders if one.name not in absent]


def _say(what: str) -> None:
    print(f"{time.strftime('%H:%M:%S')} {what}", file=sys.stderr, flush=True)


def main() -> int:
    """Measure everything, write the page, and say which promises hold."""
    parser = argparse.ArgumentParser(prog="python -m bench", description="Measure Unstick; writes docs/benchmarks.md.")
    parser.add_argument(
        "--only", choices=(RESTART_TIME, APPLICATIONS, DETAILS), help="measure and write only this part of the page"
    )
    parser.add_argument("--rounds", type=int, default=ROUNDS, help="of the quick measures (default %(default)s)")
    parser.add_argument("--without-others", action="store_true", help="leave out adnanh/webhook and ansible-rulebook")
    asked = parser.parse_args()
    if asked.only in (None, RESTART_TIME):
        measure_restart_time()
    if asked.only in (None, APPLICATIONS):
        _say("seventy applications: four minutes")
        applications.measure()
    if asked.only in (None, DETAILS):
        measure_details(asked.rounds, without_others=asked.without_others)
    return 0


def measure_restart_time() -> None:
    """Real servers, and what users wait for."""
    _say("time to restart: five minutes")
    measured = restart_time.measure()
    promises.write(measured)
    print(*(promise.row() for promise in promises.promises(measured)), sep="\n", flush=True)
    print(f"{promises.PAGE.relative_to(ROOT)} and {promises.CHART.relative_to(ROOT)} are written")


def measure_details(count: int, *, without_others: bool) -> None:
    """Unstick beside others, with stand-ins."""
    shutil.rmtree(BUILD / "run", ignore_errors=True)
    others = (WEBHOOK, RULEBOOK)
    absent = {one.name: "left out" if without_others else missing(one) for one in others}
    absent = {name: why for name, why in absent.items() if why}
    before, began = os.getloadavg()[0], time.monotonic()
    with stage() as stand:
        samples = measure(stand, count, absent)
    took_s, load = time.monotonic() - began, os.getloadavg()[0]
    page.write(samples, page.Circumstances(count, before, load, took_s, absent))
    shutil.rmtree(BUILD / "run", ignore_errors=True)
    for claim in claims(samples):
        print(claim.row())
    print(f"{page.PAGE.relative_to(ROOT)} and {page.CHART.relative_to(ROOT)} are written, after {took_s:.0f} s")


if __name__ == "__main__":
    sys.exit(main())
