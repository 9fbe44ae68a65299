"""Work that comes late, or was made by another configuration, release or key: each ends, and people are told of its end."""

from __future__ import annotations

import json
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from functions.application import signing
from functions.domain.model.codes import FIRST_VERSION, VERSION
from functions.entrypoints import startup
from functions.runtime.errors import BadRequest
from functions.runtime.secrets import SecretRef
from tests.support.unstick_process import job_id, runbook
from tests.support.worlds.one_machine import Place, handed_over, payload_of, stuck

pytestmark = pytest.mark.usefixtures("patient_code")

HOURS_S = 5 * 3600.0


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Iterator[Place]:
    with stuck(tmp_path, monkeypatch, capsys) as made:
        yield made


def content_of(payload: str) -> dict[str, Any]:
    """What a payload says."""
    return signing.verify_payload((SecretRef("env://UNSTICK_SIGNING_KEY"),), payload)


# --- hours late --------------------------------------------------------------------------------------------------------


def test_a_wake_up_that_comes_hours_after_the_restart_says_how_it_is_now_and_how_late(place):
    """The restart helped; its outcome is told once somebody looks, with a word on the delay."""
    place.alerted()
    (first, *_) = place.wake_ups()
    place.later(HOURS_S)
    place.until_told(lambda: place.delivered(first))
    assert place.restarts() == 1
    assert "recovered" in place.cards()
    (document,) = place.documents()
    assert [outcome.ending.value for outcome in document.outcomes] == ["recovered"]


def test_alerts_that_waited_for_hours_at_the_scheduler_are_looked_at_before_anything_is_done(place):
    """The queue is well by now: nothing is restarted, and people are told so, late."""
    payload = handed_over("mail", HOURS_S)
    place.rabbit.queue("mail.delivery").set(ready=0, unacked=0)
    assert place.delivered(payload) == (200, "{}")
    place.until_told(place.swept)
    assert place.restarts() == 0
    assert "mail is healthy; nothing was restarted" in place.cards()
    assert "5 h" in place.cards(), "it says how late it comes"


def test_alerts_that_waited_for_longer_than_a_day_are_for_people(place):
    """Stuck all the while: too old for a restart that nobody asked for."""
    assert place.delivered(handed_over("mail", 30 * 3600.0))[0] == 200
    assert place.restarts() == 0
    assert "the alert is too old" in place.cards()


# --- of an older configuration -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("restarted", [True, False], ids=["after the restart", "before the restart"])
def test_an_incident_whose_runbook_was_renamed_goes_to_people(place, restarted):
    """It can't be gone on from, so it is escalated, on the channels of now."""
    if not restarted:
        place.rabbit.broken["totals"] = (503, "text/plain", b"")  # so that it waits
    place.alerted()
    place.configured(runbook("mail", name="renamed"))
    place.later(600.0)
    place.until_told(lambda: [place.delivered(payload) for payload in place.wake_ups()])
    assert "the runbook mail is no longer in the configuration" in place.cards()
    assert place.restarts() == restarted


def test_an_incident_keeps_the_job_that_it_began_with(place):
    """The runbook names another job meanwhile: what was started is verified to its end, and nothing else is started."""
    place.alerted()
    changed = runbook("mail")
    place.configured(runbook("mail", restart=changed["restart"] | {"job": job_id("post")}))
    place.later(600.0)
    place.until_told(lambda: [place.delivered(payload) for payload in place.wake_ups()])
    assert place.restarts() == 1
    assert "recovered" in place.cards()


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


def test_alerts_that_were_handed_over_are_matched_anew(place):
    """No runbook takes them any more, and people hear that."""
    place.configured(runbook("post"))
    assert place.delivered(handed_over("mail", 60.0))[0] == 200
    assert place.restarts() == 0
    assert "no runbook matches the alert" in place.cards()


# --- of another release ------------------------------------------------------------------------------------------------


def test_a_wake_up_of_a_newer_release_is_left_for_it_and_its_target_is_swept(place):
    """It comes again until the newer release is back; the target does not wait for that."""
    place.alerted()
    key = place.documents()[0].key
    place.later(HOURS_S)
    status, said = place.delivered(payload_of({"v": FIRST_VERSION + 1, "target": key, "why": "new here"}))
    assert (status, "made by a newer release" in said) == (400, True)
    place.until_told(place.swept)
    assert "recovered" in place.cards()


def test_a_wake_up_with_more_in_it_than_is_known_is_taken(place):
    """A field that a later release adds to this version does no harm."""
    place.alerted()
    key = place.documents()[0].key
    place.until_told(lambda: place.delivered(payload_of({"v": FIRST_VERSION, "target": key, "hint": [1, 2]})))
    assert "recovered" in place.cards()


# --- of another key ----------------------------------------------------------------------------------------------------


def test_a_key_that_is_still_in_the_list_counts(place):
    """Rotation: the former key stands behind the new one."""
    place.alerted()
    former = place.wake_ups()
    place.configured(signing_keys=["env://ANOTHER_KEY", "env://UNSTICK_SIGNING_KEY"])
    place.later(HOURS_S)
    assert {place.delivered(payload)[0] for payload in former} == {200}
    place.until_told(lambda: [place.delivered(payload) for payload in place.wake_ups()])
    assert "recovered" in place.cards()


def test_a_target_whose_wake_up_was_signed_by_a_key_that_is_gone_is_swept(place):
    """401, whatever it says; the document is overdue, and the sweep ends it."""
    place.alerted()
    former = place.wake_ups()
    place.configured(signing_keys=["env://ANOTHER_KEY"])
    place.later(HOURS_S)
    assert {place.delivered(payload)[0] for payload in former} == {401}
    assert not any(document.key == "unsigned" for document in place.documents()), "nobody need do anything about it"
    place.until_told(place.swept)
    assert "recovered" in place.cards()
    for payload in former:
        startup.deliver_here(payload)  # on one machine it ends there; raising would have it come again


def test_alerts_whose_signing_key_is_gone_are_told_and_decided_once_it_is_back(place):
    """Nothing is restarted on the word of a stranger; once an hour people hear that, and what to do."""
    payload = handed_over("mail", 60.0)
    place.configured(signing_keys=["env://ANOTHER_KEY"])
    assert [place.delivered(payload)[0] for _ in range(3)] == [401] * 3
    with pytest.raises(BadRequest):
        startup.deliver_here(payload)  # it comes again
    assert place.restarts() == 0
    assert place.cards().count("their signing key is missing") in (1, 2), "2: the hour turned"
    place.configured(signing_keys=["env://ANOTHER_KEY", "env://UNSTICK_SIGNING_KEY"])
    assert place.delivered(payload)[0] == 200
    assert place.restarts() == 1
    place.until_told(lambda: [place.delivered(each) for each in place.wake_ups()])
    assert "recovered" in place.cards()


def test_alerts_whose_signing_key_is_gone_are_given_up_after_a_day(place):
    """People were told all day, and the alert would be too old for a restart."""
    payload = handed_over("mail", 25 * 3600.0)
    place.configured(signing_keys=["env://ANOTHER_KEY"])
    assert place.delivered(payload)[0] == 200
    startup.deliver_here(payload)
    said = place.cards()
    assert "their signing key is missing" in said
    assert "alerts were given up" in said
    assert place.restarts() == 0


@pytest.mark.parametrize(
    "payload",
    [
        "", ".", "x.y", ".eJw.z", "W10.x", "eyJkZWZlcnJlZCI6W3siYXQiOjB9XX0.x", "é.é", "~x.y", "-1~x.y", "1e9~x.y", "٣~x.y",
        "9" * 400 + "~x.y",
    ],
)  # fmt: skip
def test_a_payload_that_says_nothing_of_alerts_is_no_news(payload):
    """Whatever a stranger puts there, it is refused, and nobody's night is disturbed."""
    assert signing.handed_over_since(payload) is None


def test_a_time_that_was_changed_on_its_way_changes_nothing(place):
    """It stands outside of what is signed: a payload that a key signed is taken with any, and with none."""
    payload = handed_over("mail", 60.0).partition("~")[2]
    for changed in (payload, f"0~{payload}", f"{time.time() + 1e6:.0f}~{payload}"):
        assert place.delivered(changed)[0] == 200
    assert place.restarts() == 1


def test_a_stranger_among_those_who_may_call_verify_disturbs_people_once_an_hour_at_most(place):
    """Nothing of it is read, so nothing of it is told; who may call `verify` is for the platform to say."""
    answers = {place.delivered(f"{at}~{'A' * 1_000_000}.x")[0] for at in (0, 1, int(time.time()))}
    assert answers == {200, 401}
    assert place.restarts() == 0
    assert place.cards().count("their signing key is missing") in (1, 2), "2: the hour turned"


def test_of_alerts_that_were_handed_over_only_what_failed_comes_again(place):
    """One target's document is a newer release's: the other is decided once, and only the first comes again."""
    place.configured(runbook("mail"), runbook("post"))
    place.alerted("mail")
    (found,) = place.documents()
    newer = json.dumps({"key": found.key, "version": VERSION + 1})
    with closing(sqlite3.connect(place.database)) as file, file:
        file.execute("DELETE FROM wake_ups")
        file.execute("UPDATE documents SET body = ? WHERE key = ?", (newer.encode(), found.key))
    entries = [one for name in ("mail", "post") for one in content_of(handed_over(name, 60.0))["deferred"]]
    payload = payload_of({"v": FIRST_VERSION, "deferred": entries})
    restarts = place.restarts()
    assert place.delivered(payload)[0] == 200
    assert place.restarts() == restarts + 1
    again = [content_of(payload)["deferred"] for payload in place.wake_ups() if "deferred" in content_of(payload)]
    assert [[one["alerts"][0]["labels"]["service"] for one in entries] for entries in again] == [["mail"]]
    (left,) = [payload for payload in place.wake_ups() if "deferred" in content_of(payload)]
    assert place.delivered(left)[0] == 500
    assert place.restarts() == restarts + 1


def test_alerts_that_can_not_be_decided_are_given_up_after_a_day(place):
    """Their document can't be read, and nobody moved it away: the log says so, and the scheduler is rid of them."""
    place.alerted("mail")
    (found,) = place.documents()
    with closing(sqlite3.connect(place.database)) as file, file:
        file.execute("UPDATE documents SET body = 'broken' WHERE key = ?", (found.key,))
    assert place.delivered(handed_over("mail", 3600.0))[0] == 500
    assert place.delivered(handed_over("mail", 25 * 3600.0))[0] == 200
    assert "alerts were given up: not decided for a day" in place.cards()


def test_alerts_that_were_handed_over_go_to_the_targets_of_now(place):
    """They were one target's; by the configuration of now they are two, and each gets its own restart."""
    place.configured(runbook("mail"), runbook("post"))
    entries = [content_of(handed_over(name, 60.0))["deferred"][0] for name in ("mail", "post")]
    both = {**entries[0], "alerts": [entries[0]["alerts"][0], {**entries[1]["alerts"][0], "fingerprint": "f2"}]}
    assert place.delivered(payload_of({"v": FIRST_VERSION, "deferred": [both]}))[0] == 200
    assert sorted(run.options["service"] for run in place.rundeck.state.carried_out) == ["mail", "post"]
    assert len(place.documents()) == 2
