"""What `make soak` promises, and the part of docs/benchmarks.md that says whether it held."""

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
        f"`make soak`, {time.strftime('%Y-%m-%d', time.gmtime())}: {minutes:g} minutes of mixed load and faults on two workers,"
        f" Python {platform.python_version()}, {os.cpu_count()} cores. Memory may grow by at most {100 * (GROWTH - 1):.0f} % between two quiet moments,"
        f" after {100 * WARM_SHARE:.0f} % of the time and at the end.",
        "",
        "| | limit | measured | holds |",
        "| --- | ---: | ---: | :---: |",
        *(promise.row() for promise in promises),
        "",
        summary,
    ]
    return "\n".join(lines)
