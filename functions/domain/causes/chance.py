"""How likely chance alone would do as much. Exact sums, no approximation; each returns a probability from 0 to 1."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from math import comb, exp, log


def at_least(count: int, of: int, share: float) -> float:
    """The binomial tail: `count` or more of `of` trials, each of which succeeds with the probability `share`."""
    if count <= 0:
        return 1.0
    return _bounded(sum(comb(of, k) * share**k * (1 - share) ** (of - k) for k in range(count, of + 1)))


def at_least_of(count: int, shares: Sequence[float]) -> float:
    """The Poisson-binomial tail: `count` or more successes, where each trial has a probability of its own."""
    exactly = [1.0]
    for share in shares:
        shifted = [0.0, *(share * before for before in exactly)]
        exactly = [kept * (1 - share) + moved for kept, moved in zip([*exactly, 0.0], shifted, strict=True)]
    return _bounded(sum(exactly[max(0, count) :]))


def fisher(with_it: int, incidents: int, without_it: int, samples: int) -> float:
    """Fisher's exact test, one-sided: that many or more of the incidents have it, if incidents and samples did not differ.

    `without_it` of `samples` samples from other times have it. https://en.wikipedia.org/wiki/Fisher%27s_exact_test
    """
    everything, having = incidents + samples, with_it + without_it
    if not everything:
        return 1.0
    ways = sum(
        comb(having, k) * comb(everything - having, incidents - k)
        for k in range(with_it, min(having, incidents) + 1)
        if incidents - k <= everything - having
    )
    return _bounded(ways / comb(everything, incidents))


def corrected(probability: float, places: int) -> float:
    """After looking for it in so many places (Bonferroni): the more one looks at, the more one finds by chance."""
    return _bounded(probability * places)


def regular(intervals: Sequence[float], within: float) -> tuple[int, float]:
    """How many intervals lie within this share of their median, and how likely as many would if they had no regularity.

    Without any, intervals are distributed exponentially. Given the median, an interval then lies so close above it with the
    probability 1 - 2^-w, and below it with 2^w - 1; their mean is taken. The median itself, which always lies there, is left out.
    """
    ordered = sorted(intervals)
    if len(ordered) < 3:
        return 0, 1.0
    middle = ordered[len(ordered) // 2]
    close = sum(abs(interval - middle) <= within * middle for interval in ordered)
    share = ((1 - exp(-within * log(2))) + (exp(within * log(2)) - 1)) / 2
    return close, at_least(close - 1, len(ordered) - 1, share)


def bouts(times: Sequence[float], apart_s: float) -> list[float]:
    """The first time of each bout: what began at most `apart_s` after the one before belongs to its bout."""
    ordered = sorted(times)
    return ordered[:1] + [later for earlier, later in pairwise(ordered) if later - earlier > apart_s]


def _bounded(probability: float) -> float:
    return min(1.0, max(0.0, probability))
