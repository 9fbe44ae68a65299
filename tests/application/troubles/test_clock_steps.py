"""The clock of Unstick's machine is set back or forward while an incident is open."""

import pytest

from tests.support.worlds.one_machine import Place

pytestmark = pytest.mark.usefixtures("patient_code")

HOUR_S, DAY_S = 3600.0, 86400.0


def test_an_incident_waits_until_a_clock_that_was_set_back_has_caught_up(place: Place) -> None:
    """It goes on an hour later: no second restart, and people hear of the recovery."""
    place.alerted(starts_at=place.now())
    place.set_back(HOUR_S)
    place.swept()
    place.alerted(starts_at=place.now())
    assert "recovered" not in place.cards()
    place.later(HOUR_S)
    place.until_told(place.swept)
    assert place.restarts() == 1
    assert "recovered" in place.cards()


def test_a_recovery_has_no_age_that_a_step_forward_made(place: Place) -> None:
    """A day ahead in one step: nobody reads that the queue took a day to recover, nor that it fired for a day."""
    place.alerted()
    place.later(DAY_S)
    place.until_told(place.swept)
    told = place.cards().split("recovered")[-1]
    assert "1 d" not in told, told
