"""The same applications fall ill again and again for a day: documents stay small, and what holds in hour 1 holds in hour 24."""

from __future__ import annotations

import pytest

from functions.domain.decisions import messages as telling
from functions.domain.decisions import notices
from tests.simulation.broken import applied
from tests.simulation.day import MOST_BYTES, day

pytestmark = pytest.mark.long


@pytest.mark.parametrize("seed", [0, 5])
def test_a_day_of_illnesses_leaves_small_documents_and_none_open(seed: int) -> None:
    """Each target has more incidents than a document keeps outcomes, threads and holds of: the limits are reached, and hold."""
    course = day(seed)

    assert course.violations == []
    assert course.illnesses > 100
    assert course.restarts > 40
    assert (course.outcomes, course.threads) == (telling.OUTCOMES_KEPT, notices.THREADS_KEPT)
    assert course.holds > 30
    assert max(course.largest_bytes) < MOST_BYTES


@pytest.mark.parametrize(
    ("module", "limit", "seed"), [(telling, "OUTCOMES_KEPT", 7), (telling, "HOLDS_KEPT", 11), (notices, "THREADS_KEPT", 7)]
)
def test_a_document_that_grows_is_found(module: object, limit: str, seed: int) -> None:
    """Without one of the limits, the day is not called good. The seeds are those of days that get there."""
    with applied((module, limit, lambda _: 100_000)):
        assert {violation.invariant for violation in day(seed).violations} == {"size"}
