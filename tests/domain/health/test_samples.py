"""Figures over time: what is missing and what is there."""

import pytest

from functions.domain.health.samples import still_s

EVERY_5_S = tuple((5.0 * number, 7) for number in range(20))


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
