r"""`make mutate`: mutation testing. Changes a copy of the code, one place at a time, and prints each change that no test notices.

ARGS='--count 50 --seed 2 --minutes 10 --only functions/domain/decisions/step.py' takes fewer, other or only these changes.
"""

from __future__ import annotations

import argparse
import os
import random
import re
import shutil
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from difflib import unified_diff
from pathlib import Path
from queue import SimpleQueue

from cosmic_ray.ast import get_ast
from cosmic_ray.mutating import mutate_code
from cosmic_ray.plugins import get_operator, operator_names

ROOT = Path(__file__).resolve().parents[1]
REMEDIES = "tests/domain/test_remedies.py"
TESTS = {
    "functions/domain/decisions": (
        *("tests/domain/decisions", "tests/domain/health", REMEDIES, "tests/domain/cards", "tests/application"),
    ),
    "functions/domain/health": ("tests/domain/health", REMEDIES, "tests/domain/decisions", "tests/adapters/symptoms"),
    "functions/domain/model/firings.py": ("tests/domain/decisions", "tests/application"),
    "functions/application/reconcile.py": ("tests/application", "tests/domain/decisions"),
    "functions/application/intake.py": ("tests/application", "tests/domain/decisions"),
    "functions/adapters/grafana": ("tests/adapters/grafana", "tests/entrypoints/test_openapi.py"),
    "functions/adapters/runners": ("tests/adapters/runners", "tests/cli/test_check.py"),
    "functions/adapters/symptoms": ("tests/adapters/symptoms", "tests/cli/test_check.py"),
}
"""Changed file -> the tests that have to notice, one run after the other until one does; last, the simulation."""

SIMULATED = ("functions/domain/decisions", "functions/domain/health", "functions/application")
SIMULATION = tuple(f"tests/simulation/test_simulation.py::test_no_schedule_violates_an_invariant[{batch}]" for batch in range(6))
TIMEOUT_S = 900
"""Seconds. A change that makes a run longer counts as noticed: far more than a busy machine needs, since a test has 180 s."""

LEFT_OUT = (
    *("ReplaceBinaryOperator_BitOr_", "Variable"),
    *("ReplaceComparisonOperator_Is_Eq", "ReplaceComparisonOperator_IsNot_NotEq"),
)
"""Skipped: in this code `|` joins types, and a changed annotation has no effect; two operators need arguments. `is` compares with
a member of an enum, which equals no other value of its type, and cosmic-ray itself skips None: `==` and `!=` say the same. Their
opposites stay: equal strings and numbers need not be one object."""

NO_OPERATOR = re.compile(r"[(,]\s*/\s*,")
"""cosmic-ray takes the `*` before parameters that are given by name for an operator, and divides, which no call shows."""

NO_TEST = 5
"""pytest's exit status if no test was collected."""


@dataclass(frozen=True, slots=True)
class Mutant:
    path: str
    operator: str
    occurrence: int


def mutants(only: str) -> list[Mutant]:
    """Every place where one of cosmic-ray's operators applies."""
    files = sorted(
        {
            file.relative_to(ROOT).as_posix()
            for place in TESTS
            for file in ([ROOT / place] if place.endswith(".py") else (ROOT / place).rglob("*.py"))
        }
    )
    found = []
    for path in files:
        if path.startswith(only):
            tree = get_ast((ROOT / path).read_text())
            for name in (name for name in operator_names() if not any(part in name for part in LEFT_OUT)):
                found += [Mutant(path, name, number) for number in range(places(get_operator(name)(), tree))]
    return found


def places(operator: object, tree: object) -> int:
    """How many places of the tree the operator applies to."""
    count, nodes = 0, [tree]
    while nodes:
        node = nodes.pop()
        count += sum(1 for _ in operator.mutation_positions(node))  # type: ignore[attr-defined]
        nodes += getattr(node, "children", [])
    return count


def changed_by(mutant: Mutant) -> str | None:
    """The changed file; None if it is invalid Python, which every test would notice, can't be made, or means the same."""
    right = (ROOT / mutant.path).read_text()
    try:
        changed: str = mutate_code(right, get_operator(mutant.operator)(), mutant.occurrence) or right
    except AttributeError:  # cosmic-ray can't replace an exception that is named with its module
        return None
    try:
        compile(changed, mutant.path, "exec")
    except SyntaxError:
        return None
    return None if NO_OPERATOR.search(changed) and not NO_OPERATOR.search(right) else changed


def survives(copy: Path, mutant: Mutant, changed: str) -> bool:
    """Whether the tests pass on the changed code."""
    file = copy / mutant.path
    right, was = file.read_text(), file.stat()
    place = next(place for place in TESTS if mutant.path.startswith(place))
    runs = [*((tests,) for tests in TESTS[place]), *([SIMULATION] if mutant.path.startswith(SIMULATED) else [])]
    file.write_text(changed)
    try:
        return all(passes(copy, tests) for tests in runs)
    finally:
        file.write_text(right)
        os.utime(file, ns=(was.st_atime_ns, was.st_mtime_ns))  # so that its bytecode is used again


def passes(copy: Path, tests: tuple[str, ...]) -> bool:
    """Whether these tests pass in the copy."""
    options = ["-q", "-x", "-n0", "-p", "no:randomly", "-p", "no:cacheprovider"]
    command = [sys.executable, "-X", "utf8", "-m", "pytest", *options, *tests]
    environment = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1"}  # a changed file may have the size of the original
    try:
        done = subprocess.run(command, cwd=copy, env=environment, capture_output=True, timeout=TIMEOUT_S, check=False)
    except subprocess.TimeoutExpired:
        return False
    if done.returncode == NO_TEST:
        raise SystemExit(f"mutate: no test was found by {' '.join(tests)}")
    return done.returncode == 0


def difference(right: str, changed: str, path: str) -> str:
    """The change as a diff."""
    return "\n".join(unified_diff(right.splitlines(), changed.splitlines(), path, path, lineterm="", n=1))


def main() -> int:
    """Test a sample; print the survivors and their number."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=300)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--minutes", type=float, default=120.0, help="begin no other mutant after this time")
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--only", default="", help="only files whose path begins so")
    given = parser.parse_args()
    every = mutants(given.only)
    drawn = random.Random(given.seed).sample(every, min(given.count, len(every)))  # noqa: S311 - repeatable randomness
    texts = {mutant: changed for mutant in drawn if (changed := changed_by(mutant))}
    sample = list(texts)
    print(f"{len(sample)} of {len(every)} mutants, seed {given.seed}, {given.workers} workers", flush=True)
    ends, copies, survivors, tried = time.monotonic() + given.minutes * 60, SimpleQueue[Path](), 0, 0
    with tempfile.TemporaryDirectory(prefix="unstick-mutate-") as folder:
        for number in range(given.workers):
            copy = Path(folder) / str(number)
            # Copy the bytecode too: compiling everything takes longer than most tests that notice a change.
            shutil.copytree(ROOT, copy, ignore=shutil.ignore_patterns(".git", ".venv*", "build", ".hypothesis", "*_cache"))
            copies.put(copy)

        first = copies.get()
        needed = {(tests,) for place in TESTS for mutant in sample if mutant.path.startswith(place) for tests in TESTS[place]}
        needed |= {SIMULATION for mutant in sample if mutant.path.startswith(SIMULATED)}
        for tests in sorted(needed):
            if not passes(first, tests):
                print(f"mutate: {' '.join(tests)} fail on the unchanged code, so they can tell nothing", file=sys.stderr)
                return 1
        copies.put(first)

        def test(mutant: Mutant) -> str | None:
            if time.monotonic() > ends:
                return None
            right, changed = (ROOT / mutant.path).read_text(), texts[mutant]
            copy = copies.get()
            try:
                return difference(right, changed, mutant.path) if survives(copy, mutant, changed) else ""
            finally:
                copies.put(copy)

        with ThreadPoolExecutor(given.workers) as pool:
            for mutant, diff in zip(sample, pool.map(test, sample), strict=True):
                tried += diff is not None
                survivors += bool(diff)
                if diff:
                    print(f"\nSURVIVED {mutant.operator}\n{diff}\n", flush=True)
                if diff is not None:
                    print(f"{tried} of {len(sample)}: {mutant.path}, {survivors} survived", flush=True)
    print(f"\n{tried - survivors} of {tried} mutants were noticed ({(tried - survivors) / max(tried, 1):.0%})")
    return 0


if __name__ == "__main__":
    sys.exit(main())
