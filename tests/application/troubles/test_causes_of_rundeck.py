"""What people read when Rundeck starts nothing, by Rundeck's own answer, and what Unstick does then."""

import pytest

from tests.support.worlds.one_machine import Place

pytestmark = pytest.mark.usefixtures("patient_code")


def test_passive_rundeck_is_tried_again_until_it_is_active(place: Place) -> None:
    """The card says what to set and has no link: the web interface starts nothing either."""
    place.rundeck.state.passive = True
    place.alerted()
    assert place.restarts() == 0
    said = place.cards()
    assert "is in passive mode and starts nothing" in said
    assert "Set Rundeck's execution mode to active" in said
    assert "token" not in said
    assert "/job/show/" not in said
    place.rundeck.state.passive = False
    place.until_told(place.swept)
    assert place.restarts() == 1
    assert "recovered" in place.cards()


def test_a_passive_rundeck_calls_people_in_the_end(place: Place) -> None:
    """Nobody set it to active within the runbook's time: it escalates with the same cause."""
    place.rundeck.state.passive = True
    place.alerted()
    for _ in range(6):
        place.later(600.0)
        place.swept()
    said = place.cards()
    assert "needs a person" in said
    assert "is in passive mode and starts nothing" in said.rpartition("needs a person")[2]


def test_a_project_that_was_deleted_is_named(place: Place) -> None:
    """By its own code, and not as executions that somebody can enable."""
    place.rundeck.state.deleted_projects.add("demo")
    place.alerted()
    place.later(70.0)
    place.swept()
    said = place.cards()
    assert "the job's project is missing, disabled or being deleted" in said
    assert "Enable executions" not in said


def test_an_execution_that_was_deleted_is_said_to_be(place: Place) -> None:
    """Not that the history can't be read: it can, and lacks the run."""
    place.alerted()
    place.rundeck.state.runs.clear()
    place.later(800.0)
    place.swept()
    said = place.cards()
    assert "is no longer in Rundeck: it was deleted, or its job" in said
    assert "can't be read" not in said
