"""What goes wrong, late or by another's hand, tried with all of Unstick on one machine: each ends, and people are told why."""

from typing import Any

import pytest

from functions.application import signing
from functions.domain.model.codes import VERSION
from functions.runtime.secrets import SecretRef
from testbed.unstick_process import runbook
from tests.support.worlds.one_machine import Place, handed_over, payload_of

pytestmark = pytest.mark.usefixtures("patient_code")

HOUR_S, DAY_S = 3600.0, 86400.0


def content_of(payload: str) -> dict[str, Any]:
    """What a payload says."""
    return signing.verify_payload((SecretRef("env://UNSTICK_SIGNING_KEY"),), payload)


def test_a_message_for_a_channel_that_is_gone_is_read_on_another(place):
    """The chat failed, and was then taken out of the configuration: the top-level `notify` gets what waited for it."""
    broken = {"type": "slack", "url": "env://NOT_SET"}
    place.configured(runbook("mail", notify=["night"]), channels={"night": broken, "console": {"type": "console"}})
    place.alerted()
    assert "restarting" not in place.cards()
    place.configured(runbook("mail"))
    place.later(600.0)
    place.until_told(lambda: [place.delivered(payload) for payload in place.wake_ups()])
    assert "Restarting mail" in place.cards()
    assert "recovered" in place.cards()


def test_a_wake_up_of_a_newer_release_is_left_for_it_and_its_target_is_swept(place):
    """It comes again until the newer release is back; the target does not wait for that."""
    place.alerted()
    key = place.documents()[0].key
    place.later(5 * HOUR_S)
    status, said = place.delivered(payload_of({"v": VERSION + 1, "target": key, "why": "new here"}))
    assert (status, "made by another release" in said) == (400, True)
    place.until_told(place.swept)
    assert "recovered" in place.cards()


def test_a_target_whose_wake_up_was_signed_by_a_key_that_is_gone_is_swept(place):
    """401, whatever it says; the document is overdue, and the sweep ends it."""
    place.alerted()
    former = place.wake_ups()
    place.configured(signing_keys=["env://ANOTHER_KEY"])
    place.later(5 * HOUR_S)
    assert {place.delivered(payload)[0] for payload in former} == {401}
    place.until_told(place.swept)
    assert "recovered" in place.cards()


def test_alerts_whose_signing_key_is_gone_are_decided_once_it_is_back(place):
    """Nothing is restarted on the word of a stranger."""
    payload = handed_over("mail", 60.0)
    place.configured(signing_keys=["env://ANOTHER_KEY"])
    assert [place.delivered(payload)[0] for _ in range(3)] == [401] * 3
    assert place.restarts() == 0
    place.configured(signing_keys=["env://ANOTHER_KEY", "env://UNSTICK_SIGNING_KEY"])
    assert place.delivered(payload)[0] == 200
    assert place.restarts() == 1
    place.until_told(lambda: [place.delivered(each) for each in place.wake_ups()])
    assert "recovered" in place.cards()


def test_alerts_that_were_handed_over_go_to_the_targets_of_now(place):
    """They were one target's; by the configuration of now they are two, and each gets its own restart."""
    place.configured(runbook("mail"), runbook("post"))
    entries = [content_of(handed_over(name, 60.0))["deferred"][0] for name in ("mail", "post")]
    both = {**entries[0], "alerts": [entries[0]["alerts"][0], {**entries[1]["alerts"][0], "fingerprint": "f2"}]}
    assert place.delivered(payload_of({"v": VERSION, "deferred": [both]}))[0] == 200
    assert sorted(run.options["service"] for run in place.rundeck.state.carried_out) == ["mail", "post"]
    assert len(place.documents()) == 2


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
    assert "No action yet" not in said
    place.rundeck.state.passive = False
    place.until_told(place.swept)
    assert place.restarts() == 1
    assert "recovered" in place.cards()


def test_a_project_that_is_disabled_is_named(place: Place) -> None:
    """Not as a job that is not there, nor as executions that somebody can enable."""
    place.rundeck.state.deleted_projects.add("demo")
    place.alerted()
    place.later(70.0)
    place.swept()
    said = place.cards()
    assert "the project is disabled" in said
    assert "no such job" not in said
    assert "Enable executions" not in said


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


@pytest.mark.parametrize("ahead_s", [630.0, -630.0])
def test_nothing_is_started_while_rundecks_clock_is_off(place: Place, ahead_s: float) -> None:
    """By the Date of its own answers; once it is right, the restart follows."""
    place.rundeck.state.clock_ahead_s = ahead_s
    place.alerted()
    place.later(70.0)
    place.swept()
    shown = place.cards()
    assert ("Rundeck's clock is 10 min" in shown, place.restarts()) == (True, 0)
    place.rundeck.state.clock_ahead_s = 0.0
    place.until_told(place.swept)
    assert place.restarts() == 1
