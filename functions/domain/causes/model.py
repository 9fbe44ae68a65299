"""What incidents have in common: the types from which text, JSON, picture and ticket are made."""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum
from statistics import median

from msgspec import Struct

from functions.domain.model.observations import Holder
from functions.runtime.text import Phrase

LEAST = 5
"""Fewer incidents have something in common by chance too often: then nothing is said of them."""

TELLING = 0.01
"""Chance alone would do it in fewer than one of a hundred archives, after all places were counted in which it was looked for."""


class Kind(StrEnum):
    HOURS = "hours"
    WEEKDAYS = "weekdays"
    HOST = "host"
    HOLDER = "holder"
    INTERVAL = "interval"
    LINE = "line"


class Pattern(Struct, frozen=True):
    """`count` of the `of` incidents (or bouts of them) have it. `what`: the hours, the host, the line."""

    kind: Kind
    what: Phrase
    count: int
    of: int
    chance: float | None = None
    """The probability that chance alone does as much; None where no figure can say so."""
    without: int | None = None
    """So many of the `samples` samples from healthy times have it, too."""
    samples: int = 0

    @property
    def telling(self) -> bool:
        return self.chance is not None and self.chance <= TELLING


class Spread(Struct, frozen=True):
    """Figures of so many incidents."""

    low: float
    middle: float
    high: float
    of: int


class Case(Struct, frozen=True):
    """One incident as far as it is compared. Times are Unix seconds on our clock."""

    incident: str
    target: str
    at: float
    """When its first alert began."""
    ending: str
    restarts: int
    since_restart_s: float | None = None
    """From the end of the restart before it, whoever made that."""
    depth: int | None = None
    """Of its deepest queue, before the restart."""
    growth: float | None = None
    """Messages a minute by which that queue grew before the restart; negative where it fell."""
    oldest_s: float | None = None
    """How old its oldest ready message was, where publishers set a timestamp."""
    consumers: int | None = None
    holders: tuple[Holder, ...] = ()
    """Who held that queue's messages before the restart."""
    lines: tuple[str, ...] = ()
    """The lines of its evidence that its cards showed."""


class Common(Struct, frozen=True):
    """What the incidents of one runbook have in common."""

    runbook: str
    cases: tuple[Case, ...]
    """Oldest first."""
    hours: tuple[int, ...]
    """Bouts by the hour of the day, from 0 to 23."""
    weekdays: tuple[int, ...]
    """Bouts by weekday, from Monday."""
    patterns: tuple[Pattern, ...] = ()
    """The least likely by chance first."""
    since_restart_s: Spread | None = None
    depth: Spread | None = None
    growth: Spread | None = None
    oldest_s: Spread | None = None
    examined: int = 0
    """How many of the incidents have evidence whose lines were compared."""

    @property
    def lines(self) -> tuple[Pattern, ...]:
        return tuple(one for one in self.patterns if one.kind is Kind.LINE)

    @property
    def besides_lines(self) -> tuple[Pattern, ...]:
        return tuple(one for one in self.patterns if one.kind is not Kind.LINE)

    @property
    def too_few(self) -> bool:
        return len(self.cases) < LEAST


def ordered(patterns: Iterable[Pattern]) -> tuple[Pattern, ...]:
    """The least likely by chance first; those without a figure last, the most frequent first."""
    return tuple(sorted(patterns, key=lambda one: (one.chance is None, one.chance or 0.0, -one.count / max(1, one.of))))


def spread(figures: Iterable[float | None]) -> Spread | None:
    """Of those that are known."""
    known = [figure for figure in figures if figure is not None]
    return Spread(min(known), median(known), max(known), len(known)) if known else None
