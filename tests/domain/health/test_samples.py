"""Figures over time: what is missing and what is there."""

import pytest

from functions.domain.health.samples import drop_gaps, lasting_s, rise_of, spacing_s, still_s, within

EVERY_5_S = tuple((5.0 * number, 7) for number in range(20))


def every_5_s(*values: int) -> tuple[tuple[float, int], ...]:
    return tuple((5.0 * place, value) for place, value in enumerate(values))


@pytest.mark.parametrize(
    ("missing", "lasted_s"),
    [
        pytest.param((), 95.0, id="none"),
        pytest.param((15,), 95.0, id="one sample"),
        pytest.param((15, 16), 10.0, id="two in a row"),
        pytest.param((5, 15), 95.0, id="one, twice"),
    ],
)
def test_a_stillness_lasts_over_one_missing_sample(missing, lasted_s):
    """What happened while two in a row were missing is not known."""
    assert still_s(tuple(one for place, one in enumerate(EVERY_5_S) if place not in missing)) == lasted_s


@pytest.mark.parametrize(("gap_s", "lasted_s"), [(12.5, 32.5), (12.6, 15.0)])
def test_a_gap_is_longer_than_two_and_a_half_samples(gap_s, lasted_s):
    """Collections come a little late at times."""
    times = (0.0, 5.0, *(5.0 + gap_s + 5.0 * number for number in range(4)))
    assert still_s(tuple((at, 7) for at in times)) == lasted_s


@pytest.mark.parametrize(
    ("values", "left"),
    [
        ((5, 0, 6), (5, 6)), ((0, 5, 6), (5, 6)), ((5, 6, 0), (5, 6)), ((0, 5, 0), (5,)), ((5, 0, 0, 6), (5, 0, 0, 6)),
        ((0, 0, 5), (0, 0, 5)), ((5, 0, 0), (5, 0, 0)), ((0,), (0,)), ((0, 0), (0, 0)), ((), ()), ((5, 1, 6), (5, 1, 6)),
        ((1, 0, 1), (1, 1)),
    ],
)  # fmt: skip
def test_a_single_zero_between_others_is_a_gap(values, left):
    """Two in a row are figures."""
    assert tuple(value for _, value in drop_gaps(every_5_s(*values))) == left


@pytest.mark.parametrize(
    ("values", "over_s", "unchanged_s", "rose", "rose_lately"),
    [
        ((), 0.0, 0.0, 0, 0), ((7,), 0.0, 0.0, 0, 0), ((7, 7, 7), 10.0, 10.0, 0, 0), ((8, 7, 7), 10.0, 5.0, 0, 0),
        ((6, 8, 7), 10.0, 0.0, 2, 0), ((2, 7, 7), 5.0, 5.0, 5, 0), ((7, 7, 2), 0.0, 0.0, 0, 0), ((1, 2, 9), 0.0, 0.0, 8, 7),
        ((9, 1, 3), 0.0, 0.0, 2, 2),
    ],
)  # fmt: skip
def test_how_long_and_how_much(values, over_s, unchanged_s, rose, rose_lately):
    """Up to the newest sample: over two until it is at nine; a counter that fell began anew."""
    samples = every_5_s(*values)
    assert lasting_s(samples, lambda value: 2 < value < 9) == over_s
    assert still_s(samples) == unchanged_s
    assert (rise_of(samples), rise_of(within(samples, 5.0))) == (rose, rose_lately)
    assert spacing_s(samples) == (5.0 if len(values) > 1 else 0.0)
