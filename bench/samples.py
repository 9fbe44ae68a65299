"""What was measured, by measure and contender, and what is said of it: medians, quartiles, and ratios within one round."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from statistics import median, quantiles


@dataclass(slots=True)
class Samples:
    """Figures in the order of the rounds, so that those of one round can be compared with each other."""

    found: dict[tuple[str, str], list[float]] = field(default_factory=lambda: defaultdict(list))

    def add(self, measure: str, contender: str, value: float) -> None:
        self.found[measure, contender].append(value)

    def of(self, measure: str, contender: str) -> list[float]:
        return self.found.get((measure, contender), [])

    def contenders(self, measure: str) -> list[str]:
        return [contender for known, contender in self.found if known == measure]

    def ratios(self, measure: str, one: str, other: str) -> list[float]:
        """One contender's figure by the other's, round by round."""
        return [a / b for a, b in zip(self.of(measure, one), self.of(measure, other), strict=False)]

    def between(self, one: tuple[str, str], other: tuple[str, str]) -> list[float]:
        """As `ratios`, of any two (measure, contender)."""
        return [a / b for a, b in zip(self.of(*one), self.of(*other), strict=False)]


def middle(values: list[float]) -> float:
    """The median; not a number where nothing was measured."""
    return median(values) if values else float("nan")


def spread(values: list[float]) -> tuple[float, float]:
    """First and third quartile."""
    if len(values) < 2:
        return middle(values), middle(values)
    low, _, high = quantiles(values, n=4, method="inclusive")
    return low, high
