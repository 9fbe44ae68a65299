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


def section(promises: list[Promise], minutes: float, told: str) -> str:
    """The part of the page, with its heading."""
    lines = [
        LONG_RUN,
        "",
        f"Written by `make soak`, last on {time.strftime('%Y-%m-%d', time.gmtime())} with {minutes:g} real minutes of mixed load and faults on two workers,"
        f" Python {platform.python_version()} on {os.cpu_count()} cores.",
        "It fails where one of these does not hold.",
        "",
        f"**Memory is flat** when the resident memory (RSS) of both workers together, at the end, is at most {100 * (GROWTH - 1):.0f} % over what it was after"
        f" {100 * WARM_SHARE:.0f} % of the time;",
        "both are taken in a quiet moment: faults ended, every document closed, and nothing sent for over a minute. Until the first one caches, pools and arenas may grow.",
        "PSS has no limit: it counts a page that n processes share 1/n times, and so grows as they cease to share what they had at the fork, though nobody takes more.",
        "",
        "| | limit | measured | holds |",
        "| --- | ---: | ---: | :---: |",
        *(promise.row() for promise in promises),
        "",
        told,
    ]
    return "\n".join(lines)
