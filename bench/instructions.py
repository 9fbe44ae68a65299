"""Instructions instead of time, for what is as short as a machine's noise: starting, and refusing a forged request.

`python -m bench.instructions` counts and writes its part of docs/benchmarks.md only; a busy machine does no harm. Counted by
valgrind's cachegrind without its caches: as many as callgrind counts, in half the time.
"""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

from bench.contenders import BARE, HASHING, PLAIN, UNSTICK, write_configuration
from bench.parts import INSTRUCTIONS, write_part
from bench.stage import CLOUD, MANY, ROOT, SMALL_BYTES, environment, many, one, stage
from tests.support.debian import ensure

SOURCES = {UNSTICK.name: ROOT / "main.py", HASHING.name: PLAIN / "hashing.py", BARE.name: PLAIN / "bare.py"}
STATUSES = {UNSTICK.name: "401", HASHING.name: "401", BARE.name: "200"}
REQUESTS, LARGE_REQUESTS = 200, 10
"""Enough that the noise of a start, some tenths of a percent, is one percent of them."""

AT_ONCE = 2
RUN_S = 60.0
COUNTED = re.compile(r"I\s+refs:\s+([0-9,]+)")
MISSING = "valgrind can't be had here (apt-get install valgrind)"


@dataclass(frozen=True, slots=True)
class Work:
    """One run under valgrind."""

    function: str
    body: bytes = b""
    requests: int = 0


@dataclass(frozen=True, slots=True)
class Count:
    """Instructions of one function: to start, and for each request. None where nothing is to be learnt from it."""

    start: int
    small: float
    large: float | None = None


def section() -> str:
    """The part of the page, with its heading. What goes wrong is said there: the measurements of minutes are to be written down."""
    try:
        lines = _table(counts()) if ensure("valgrind") else [f"Not counted: {MISSING}."]
    except (RuntimeError, OSError, subprocess.SubprocessError) as error:
        lines = [f"Not counted: {type(error).__name__}."]
    return "\n".join([INSTRUCTIONS, "", *lines, ""])


def counts() -> dict[str, Count]:
    """By function. Raises RuntimeError if one answers otherwise than it should, or is not counted."""
    small, large = one("forged", SMALL_BYTES), many(["forged"] * MANY)
    works = [Work(name) for name in SOURCES] + [Work(name, small, REQUESTS) for name in SOURCES]
    works += [Work(name, large, LARGE_REQUESTS) for name in SOURCES if name != BARE.name]
    with TemporaryDirectory() as made, stage() as stand:
        folder = Path(made)
        write_configuration(folder / "unstick.yaml", stand.file(**CLOUD), checked=True)
        settings = environment(stand, folder) | {"PYTHONHASHSEED": "0"}
        for name in SOURCES:
            _ran([], Work(name, small, 1), settings)  # makes byte code
        with ThreadPoolExecutor(AT_ONCE) as pool:
            found = dict(zip(works, pool.map(partial(_counted, folder=folder, settings=settings), works), strict=True))
    return {name: _each(name, small, large, found) for name in SOURCES}


def _each(name: str, small: bytes, large: bytes, found: Mapping[Work, int]) -> Count:
    start, more = found[Work(name)], found.get(Work(name, large, LARGE_REQUESTS))
    per_small = (found[Work(name, small, REQUESTS)] - start) / REQUESTS
    return Count(start, per_small, None if more is None else (more - start) / LARGE_REQUESTS)


def _counted(work: Work, *, folder: Path, settings: Mapping[str, str]) -> int:
    valgrind = ["valgrind", "--tool=cachegrind", "--cache-sim=no", f"--cachegrind-out-file={folder / 'counted'}.%p"]
    said = COUNTED.search(_ran(valgrind, work, settings))
    if said is None:
        raise RuntimeError(f"valgrind did not say how many instructions {work.function} took")
    return int(said[1].replace(",", ""))


def _ran(before: list[str], work: Work, settings: Mapping[str, str]) -> str:
    """What was said on standard error."""
    command = [*before, sys.executable, "-m", "bench.forged", str(SOURCES[work.function]), str(work.requests)]
    done = subprocess.run(command, cwd=ROOT, env=settings, input=work.body, capture_output=True, timeout=RUN_S, check=True)
    statuses = done.stdout.decode().splitlines()[-1]
    if statuses != (STATUSES[work.function] if work.requests else ""):
        raise RuntimeError(f"{work.function} answered {statuses or 'nothing'}")
    return done.stderr.decode(errors="replace")


def _table(found: Mapping[str, Count]) -> list[str]:
    bare, hashing = found[BARE.name], found[HASHING.name]
    lines = [
        "Instructions that a function executes, without server and network, counted by valgrind. They don't depend on how busy the machine is;",
        f"a repetition is within 1 % ({REQUESTS} requests of 4 kB, {LARGE_REQUESTS} of 2.6 MB). `python -m bench.instructions` writes only this part.",
        "",
        "| function | start, millions | by the bare function's | refusing 4 kB, thousands | by the bare function's | refusing 2.6 MB, millions | by reading and hashing |",
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    for name, count in found.items():
        large = ("", "")
        if count.large is not None and hashing.large is not None:
            large = (f"{count.large / 1e6:,.1f}", f"{count.large / hashing.large:.2f}")
        lines.append(
            f"| {name} | {count.start / 1e6:,.0f} | {count.start / bare.start:.2f}"
            f" | {count.small / 1e3:,.0f} | {count.small / bare.small:.2f} | {' | '.join(large)} |"
        )
    return lines


def main() -> int:
    """Count, and write this part of docs/benchmarks.md."""
    part = section()
    write_part(INSTRUCTIONS, part)
    print(part)
    return 0


if __name__ == "__main__":
    sys.exit(main())
