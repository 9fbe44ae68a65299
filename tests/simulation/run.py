"""Run schedules: `python -m tests.simulation.run [--seed N] [--count N]`."""

from __future__ import annotations

import argparse
import gc
import multiprocessing
import random
import sys
import time
from collections import Counter
from dataclasses import dataclass

from tests.simulation.checker.check import check
from tests.simulation.checker.past import Violation
from tests.simulation.models import Faults
from tests.simulation.scenario import Scenario, build, end_of

PART = 50
"""Seeds that one process takes, before its end frees all that they left; there is one process for each core."""


def schedule(
    rng: random.Random, *, trace: bool = False, faults: Faults | None = None, options: frozenset[str] = frozenset()
) -> tuple[Scenario, list[Violation]]:
    """One schedule, from its drawing to the verdict."""
    scenario = build(rng, trace=trace, faults=faults, options=options)
    scenario.world.run(end_of(scenario))
    return scenario, check(scenario)


@dataclass(frozen=True, slots=True)
class Several:
    """What came of some seeds: a line for each with a violation, and counts."""

    violations: list[str]
    sums: dict[str, int]


def several(seeds: range) -> Several:
    """Run these seeds, one after the other."""
    violations, starts, restarts = [], 0, 0
    for seed in seeds:
        scenario, violated = schedule(random.Random(seed))
        restarts += sum(not run.refused for run in scenario.world.rundeck.runs)
        starts += len(scenario.world.sent)
        violations += [f"seed {seed}: {violated[0]}"] if violated else []
    return Several(violations, {"schedules": len(seeds), "starts": starts, "restarts": restarts, "violated": len(violations)})


def main() -> int:
    parser = argparse.ArgumentParser(description="Prove the protocol on schedules that are drawn from seeds.")
    parser.add_argument("--seed", type=int, help="replay one schedule with a trace")
    parser.add_argument("--count", type=int, default=100_000)
    parser.add_argument("--first", type=int, default=0)
    asked = parser.parse_args()
    if asked.seed is not None:
        scenario, violations = schedule(random.Random(asked.seed), trace=True)
        print(*scenario.world.trace or (), sep="\n")
        print(*violations or ("no violation",), sep="\n")
        return bool(violations)
    began = time.monotonic()
    parts = [range(asked.first, asked.first + asked.count)[start : start + PART] for start in range(0, asked.count, PART)]
    sums = Counter[str]()
    # A schedule leaves a few MB in cycles, and collecting them would take a tenth of its time.
    with multiprocessing.Pool(initializer=gc.disable, maxtasksperchild=1) as pool:
        for several_seeds in pool.imap(several, parts):
            for line in several_seeds.violations:
                print(line, flush=True)
            sums += Counter(several_seeds.sums)
            if sys.stderr.isatty():
                print(f"{sums['schedules']} schedules", end="\r", file=sys.stderr, flush=True)
    failed = sums["violated"]
    took = time.monotonic() - began
    told = f"{asked.count} schedules, {sums['starts']} starts, {sums['restarts']} restarts"
    print(f"{told}, {failed} with a violation, {took:.0f} s")
    return bool(failed)


if __name__ == "__main__":
    sys.exit(main())
