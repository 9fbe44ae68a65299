"""How likely chance alone is, against figures worked out by hand or known from textbooks."""

from __future__ import annotations

import random
from math import log

import pytest

from functions.domain.causes import chance


@pytest.mark.parametrize(
    ("count", "of", "share", "expected"),
    [(0, 5, 0.1, 1.0), (5, 5, 0.5, 1 / 32), (4, 5, 0.5, 6 / 32), (1, 2, 1 / 7, 13 / 49), (3, 3, 1.0, 1.0), (4, 3, 0.5, 0.0)],
)
def test_the_binomial_tail(count, of, share, expected):
    assert chance.at_least(count, of, share) == pytest.approx(expected)


@pytest.mark.parametrize("count", range(6))
def test_trials_of_one_probability_are_binomial(count):
    """The Poisson-binomial tail with equal shares."""
    assert chance.at_least_of(count, [0.3] * 5) == pytest.approx(chance.at_least(count, 5, 0.3))


def test_trials_of_their_own_probabilities():
    """Both of a fair coin and of a die's one number; a certain one adds nothing to the doubt."""
    assert chance.at_least_of(2, [1 / 2, 1 / 6]) == pytest.approx(1 / 12)
    assert chance.at_least_of(1, [1 / 2, 1 / 6]) == pytest.approx(1 - 5 / 12)
    assert chance.at_least_of(3, [1.0, 1 / 2, 1 / 6]) == pytest.approx(1 / 12)
    assert chance.at_least_of(1, []) == 0.0


@pytest.mark.parametrize(
    ("with_it", "incidents", "without_it", "samples", "expected"),
    [
        (3, 4, 1, 4, 17 / 70),  # Fisher's own: the lady who tasted tea
        (4, 4, 0, 4, 1 / 70),
        (0, 4, 4, 4, 1.0),
        (6, 7, 1, 40, 40 * 7 / 62891499 + 1 / 62891499),
        (5, 5, 40, 40, 1.0),
        (0, 0, 0, 0, 1.0),
    ],
)
def test_fisher(with_it, incidents, without_it, samples, expected):
    assert chance.fisher(with_it, incidents, without_it, samples) == pytest.approx(expected, rel=1e-6)


def test_whoever_looks_in_many_places_finds_more():
    assert chance.corrected(0.001, 24) == pytest.approx(0.024)
    assert chance.corrected(0.2, 24) == 1.0


def test_regular_intervals_are_told_from_irregular_ones():
    """A leak that takes three days is no chance; a constant rate of failures is."""
    close, probability = chance.regular([72.0, 70.0, 75.0, 71.0, 74.0, 73.0, 30.0], 0.2)
    assert close == 6
    assert probability < 0.001
    assert chance.regular([1.0, 30.0, 5.0, 90.0, 12.0], 0.2)[1] > 0.5
    assert chance.regular([5.0, 5.0], 0.2) == (0, 1.0)


def test_the_figure_for_intervals_is_no_smaller_than_what_chance_does():
    """Of 2,000 made up histories with a constant rate, no more than a hundredth may look regular at 1 in 100."""
    drawn = random.Random(7)
    looks_regular = sum(
        chance.regular([-log(1 - drawn.random()) for _ in range(drawn.randint(4, 15))], 0.2)[1] <= 0.01 for _ in range(2000)
    )
    assert looks_regular <= 20


def test_a_bout_counts_once():
    assert chance.bouts([100.0, 0.0, 5.0, 9.0, 200.0], 10.0) == [0.0, 100.0, 200.0]
    assert chance.bouts([], 10.0) == []
