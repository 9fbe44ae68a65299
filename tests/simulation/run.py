"""Run schedules: `python -m tests.simulation.run [--seed N] [--count N]`."""

from __future__ import annotations

import argparse
import random
import sys
import time

from tests.simulation.checker import Violation, check
from tests.simulation.models import Faults
from tests.simulation.scenario import END_AFTER_S, Scenario, build
from tests.simulation.world import BEGIN


def schedule(
    rng: random.Random, *, trace: bool = False, faults: Faults | None = None, options: frozenset[str] = frozenset()
) -> tuple[Scenario, list[Violation]]:
    """One schedule, from its drawing to the verdict."""
    scenario = build(rng, trace=trace, faults=faults, options=options)
    scenario.world.run(BEGIN + END_AFTER_S)
    return scenario, check(scenario)


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
    began, failed, restarts, sent = time.monotonic(), 0, 0, 0
    for seed in range(asked.first, asked.first + asked.count):
        scenario, violations = schedule(random.Random(seed))
        restarts += sum(not run.refused for run in scenario.world.rundeck.runs)
        sent += len(scenario.world.sent)
        if violations:
            failed += 1
            print(f"seed {seed}: {violations[0]}", flush=True)
        if sys.stderr.isatty() and seed % 500 == 0:
            print(f"{seed - asked.first} schedules", end="\r", file=sys.stderr, flush=True)
    took = time.monotonic() - began
    print(f"{asked.count} schedules, {sent} starts, {restarts} restarts, {failed} with a violation, {took:.0f} s")
    return bool(failed)


if __name__ == "__main__":
    sys.exit(main())
