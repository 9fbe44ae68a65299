"""The clock of Unstick's machine is set back or forward while an incident is open."""

import pytest

from testbed.unstick_process import runbook
from tests.support.worlds.one_machine import Place

pytestmark = pytest.mark.usefixtures("patient_code")

HOUR_S, DAY_S = 3600.0, 86400.0


def incident_of(place: Place) -> object:
    (document,) = [one for one in place.documents() if one.target is not None]
    return document.incident


@pytest.mark.parametrize("set_back_s", [1000.0, HOUR_S, DAY_S])
def test_an_incident_goes_on_after_the_clock_was_set_back(place: Place, set_back_s: float) -> None:
    """What is due further ahead than any wait can be is due now: the sweep goes on with it, and people hear of the recovery
    as soon as ever. The message has no age that the step made."""
    place.alerted()
    assert place.restarts() == 1
    place.set_back(set_back_s)
    place.until_told(place.swept)
    assert place.restarts() == 1
    assert "recovered" in place.cards()
    assert "recovered in -" not in place.cards()


def test_a_repeated_alert_goes_on_with_it_too(place: Place) -> None:
    """Grafana repeats the notification within seconds, long before the next sweep."""
    place.alerted(starts_at=place.now())
    place.set_back(HOUR_S)
    place.alerted(starts_at=place.now())
    due = incident_of(place).due
    assert due < place.now() + 200.0


def test_an_approval_still_expires_within_its_time(place: Place) -> None:
    """Set back by a day, a question would stay open for a day; by an hour, too long for a link that is valid for 30 minutes."""
    place.configured(runbook("mail", mode="approve"), public_url="http://127.0.0.1:8080")
    place.alerted()
    place.set_back(DAY_S)
    place.swept()
    assert incident_of(place).approval.expires_at <= place.now() + 1800.0
    assert place.restarts() == 0


def test_a_reminder_and_an_unposted_message_are_not_postponed(place: Place) -> None:
    """A message that could not be posted is tried again with the next sweep."""
    place.alerted()
    place.later(70.0)
    place.set_back(HOUR_S)
    place.until_told(place.swept)
    assert not any(one.to_tell or one.to_archive for one in place.documents())


def test_a_recovery_has_no_age_that_a_step_forward_made(place: Place) -> None:
    """A day ahead in one step: nobody reads that the queue took a day to recover, nor that it fired for a day."""
    place.alerted()
    place.later(DAY_S)
    place.until_told(place.swept)
    told = place.cards().split("recovered")[-1]
    assert "1 d" not in told, told
