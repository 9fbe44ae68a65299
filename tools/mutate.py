"""`make mutate`: mutation testing of a sample of domain and application by cosmic-ray, in a copy of the project for each core.

Prints each change that no test noticed. ARGS='--count 50 --seed 2 --only functions/domain/health' takes
fewer, another sample, or one folder.
"""

import argparse
import os
import random
import shutil
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from cosmic_ray.work_db import WorkDB, use_db
from cosmic_ray.work_item import TestOutcome, WorkerOutcome, WorkResult

ROOT = Path(__file__).resolve().parents[1]
CONFIG, SESSION = "tools/mutate.toml", "build/mutate.sqlite"
BIN = Path(sys.executable).parent
LEFT_OUT = shutil.ignore_patterns(".git", ".venv*", "build", ".hypothesis", ".*_cache")


def run(copy: Path, command: str, *arguments: str) -> str:
    """Run a command of cosmic-ray in a copy, and return its output. Raises CalledProcessError."""
    path = f"{BIN}{os.pathsep}{os.environ['PATH']}"
    environment = {**os.environ, "PATH": path, "PYTHONPATH": str(copy), "PYTHONDONTWRITEBYTECODE": "1"}
    return subprocess.run(
        [BIN / command, *arguments], cwd=copy, env=environment, check=True, capture_output=True, text=True
    ).stdout


def keep(copy: Path, share: set[int] | None, only: str) -> int:
    """Skip all mutations but those at these places in the list; None keeps all. Returns how many may be drawn."""
    with use_db(copy / SESSION, WorkDB.Mode.open) as session:
        pending = list(session.pending_work_items)  # in the order of `init`, which is that of files, operators and places
        wanted = [item for item in pending if str(item.mutations[0].module_path).startswith(only)]
        if share is not None:
            kept = {wanted[place].job_id for place in share}
            session.set_multiple_results(
                [item.job_id for item in pending if item.job_id not in kept], WorkResult(WorkerOutcome.SKIPPED)
            )
        return len(wanted)


def main() -> int:
    """Draw the sample, test it and print the survivors and their number."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=200)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--only", default="functions/", help="only files whose path begins so")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="unstick-mutate-") as folder, ThreadPoolExecutor(asked.workers) as pool:
        first = Path(folder) / "0"
        shutil.copytree(ROOT, first, ignore=LEFT_OUT)
        (first / "build").mkdir()
        run(first, "cosmic-ray", "baseline", CONFIG)  # tests that fail without a mutation prove nothing
        run(first, "cosmic-ray", "init", CONFIG, SESSION)
        run(first, "cr-filter-operators", SESSION, CONFIG)
        every = keep(first, None, asked.only)
        sample = random.Random(asked.seed).sample(range(every), min(asked.count, every))  # noqa: S311 - repeatable randomness
        copies = [first, *(Path(shutil.copytree(first, Path(folder) / str(number))) for number in range(1, asked.workers))]
        for number, copy in enumerate(copies):
            keep(copy, set(sample[number :: len(copies)]), asked.only)
        print(f"{len(sample)} of {every} mutations, seed {asked.seed}", flush=True)
        list(pool.map(lambda copy: run(copy, "cosmic-ray", "exec", CONFIG, SESSION), copies))
        survived = 0
        for copy in copies:
            print(run(copy, "cr-report", "--show-diff", "--surviving-only", SESSION))
            with use_db(copy / SESSION, WorkDB.Mode.open) as session:
                survived += sum(result.test_outcome is TestOutcome.SURVIVED for _, result in session.results)
    print(f"{len(sample) - survived} of {len(sample)} were noticed ({(len(sample) - survived) / max(len(sample), 1):.0%})")
    return 0


if __name__ == "__main__":
    sys.exit(main())
