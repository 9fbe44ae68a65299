"""What `make soak` promises, and the part of docs/benchmarks-details.md that says whether it held."""

from __future__ import annotations

import os
import platform
import time
from dataclasses import dataclass

from bench.parts import LONG_RUN

WARM_SHARE = 0.3
"""Of the time: until then caches, pools and arenas may grow."""

GROWTH = 1.02


@dataclass(frozen=True, slots=True)
class Promise:
    """What was measured, and whether it is within its limit."""

    what: str
    limit: str
    measured: str
    holds: bool

    def row(self) -> str:
        return f"| {self.what} | {self.limit} | {self.measured} | {'yes' if self.holds else '**no**'} |"


def section(promises: list[Promise], minutes: float, summary: str) -> str:
    """The part of the page, with its heading."""
    lines = [
        LONG_RUN,
        "",
        f"`make soak` wrote this part on {time.strftime('%Y-%m-%d', time.gmtime())} with {minutes:g} minutes of real mixed load and faults on two workers,"
        f" Python {platform.python_version()} on {os.cpu_count()} cores.",
        "It fails if one of these promises does not hold.",
        "",
        f"**Memory is flat** if the resident memory (RSS) of both workers together, at the end, is at most {100 * (GROWTH - 1):.0f} % over its value after"
        f" {100 * WARM_SHARE:.0f} % of the time.",
        "Both are measured in a quiet moment: faults ended, every document closed, and nothing sent for over a minute. Before the first one, caches, pools and arenas may grow.",
        "PSS has no limit: it counts a page that n processes share as 1/n, so it grows when they stop sharing pages of the fork, although no process uses more.",
        "",
        "| | limit | measured | holds |",
        "| --- | ---: | ---: | :---: |",
        *(promise.row() for promise in promises),
        "",
        summary,
    ]
    return "\n".join(lines)
