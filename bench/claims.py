"""What Unstick may cost a machine, by what others cost, and whether this run shows it. What users are promised: promises.py."""

from __future__ import annotations

from dataclasses import dataclass

from bench import measures, writes
from bench.contenders import BARE, HASHING, REQUESTING, UNGUARDED, UNSTICK
from bench.legs import CALLS, LEGS
from bench.samples import Samples, middle, spread


@dataclass(frozen=True, slots=True)
class Claim:
    """A figure and its limit."""

    what: str
    values: list[float]
    limit: float
    at_least: bool = False

    @property
    def holds(self) -> bool:
        """By the median. What was not measured does not hold."""
        return middle(self.values) >= self.limit if self.at_least else middle(self.values) <= self.limit

    def row(self) -> str:
        low, high = spread(self.values)
        sign = "at least" if self.at_least else "at most"
        quartiles = f" ({low:.2f} to {high:.2f})" if len(self.values) > 1 else ""
        digits = 2 if f"{middle(self.values):.2f}" != f"{self.limit:.2f}" else 3  # else it could not be seen why
        return f"| {self.what} | {sign} {self.limit:g} | {middle(self.values):.{digits}f}{quartiles} | {'yes' if self.holds else '**no**'} |"


def claims(samples: Samples) -> list[Claim]:
    """All of them. Ratios are taken within a round."""
    us, bare, hashing = UNSTICK.name, BARE.name, HASHING.name
    requesting, unguarded = REQUESTING.name, UNGUARDED.name
    ratios = samples.ratios
    return [
        Claim("CPU of a forged request, relative to a bare function", ratios(measures.FORGED_CPU, us, bare), 1.3),
        Claim("time of a forged request, relative to a bare function", ratios(measures.FORGED, us, bare), 1.3),
        Claim("time of a forged 2.6 MB, relative to reading and hashing", ratios(measures.FORGED_LARGE, us, hashing), 1.5),
        Claim(
            "CPU from process start to the first forged request, relative to a bare function",
            ratios(measures.COLD_FORGED_CPU, us, bare),
            1.15,
        ),
        Claim("the same as time", ratios(measures.COLD_FORGED, us, bare), 1.15),
        Claim(
            "time from process start to the first alert at Rundeck, relative to the same calls without guards",
            ratios(measures.COLD_ALERT, us, unguarded),
            1.15,
        ),
        Claim("outbound calls in sequence from an alert to Rundeck's run", samples.of(CALLS, us), 3.0 + 0.1),
        Claim("the same as time, with 50 ms added to each call, relative to one call", samples.of(LEGS, us), 3.3),
        Claim(
            "time to the answer for 1,000 alerts (2.6 MB), relative to one",
            samples.between((measures.ANSWER_MANY, us), (measures.ANSWER, us)),
            30,
        ),
        Claim(
            "memory of the worker after 1,000 notifications, relative to a function that imports requests",
            samples.between((measures.RSS_AFTER, us), (measures.RSS_REST, requesting)),
            1.2,
        ),
        *under_write_limit(samples),
        Claim(
            "rate of forged 4 kB, relative to reading and hashing", ratios(measures.RATE_SMALL, us, hashing), 0.8, at_least=True
        ),
        Claim(
            "rate of forged 2.6 MB, relative to reading and hashing", ratios(measures.RATE_LARGE, us, hashing), 0.8, at_least=True
        ),
    ]


def under_write_limit(samples: Samples) -> list[Claim]:
    """Those of a store that takes one write a second to one object, as Cloud Storage does."""
    us = UNSTICK.name
    return [
        Claim(f"{writes.SLOWEST}, in seconds", samples.of(writes.SLOWEST, us), 10),
        Claim(writes.RESTARTED, samples.of(writes.RESTARTED, us), writes.TARGETS, at_least=True),
        Claim(writes.WRITES, samples.of(writes.WRITES, us), 2),
    ]
