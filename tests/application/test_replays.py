"""What a recorded notification, sent again, brings about: nothing, for as long as it would be let in."""

from __future__ import annotations

import time

import pytest
from msgspec.structs import replace

from functions.domain.decisions.messages import to_alert_ref
from functions.domain.decisions.step import REQUESTS_KEPT
from functions.domain.model.codes import Ending, Phase, Reason
from functions.domain.model.events import Origin, Start
from functions.domain.model.incidents import Document, Outcome
from functions.domain.model.observations import Pause
from testbed.unstick_process import alert, notification, signed
from tests.support.worlds.scenes import NOW, TARGET, alerted, case, document, execution, incident, moved, seen, trigger

pytestmark = pytest.mark.usefixtures("patient_code")

EMPTY = Document(TARGET.key)


def starts(result) -> bool:
    return any(isinstance(act, Start) for act in result.acts)


def test_a_copy_of_a_held_notification_restarts_nothing_after_resume(place, monkeypatch):
    """I1: it was held while paused; the same bytes within the tolerance are a duplicate, Grafana's next notification is not."""
    body = notification(alert("mail", "mail.delivery"))
    webhook = place.entry("webhook")
    monkeypatch.setenv("UNSTICK_PAUSED", "1")
    recorded = signed(body)
    first = webhook.post("/", data=body, headers=recorded).json["incidents"][0]
    assert (first["action"], first["reason"]) == ("held", "paused")
    monkeypatch.delenv("UNSTICK_PAUSED")
    for _ in range(2):
        again = webhook.post("/", data=body, headers=recorded).json["incidents"][0]
        assert (again["action"], again["reason"]) == ("held", "duplicate")
    assert place.rundeck.posts() == []
    repeat = webhook.post("/", data=body, headers=signed(body, at=time.time() + 5)).json["incidents"][0]
    assert repeat["action"] == "restarted"


def answer_to_copy(document: Document) -> tuple[str, object]:
    """The incident and the execution that a copy of the request r1 is answered with."""
    reply = moved(document, replace(alerted(incident="inc-3"), origin=Origin("r1", NOW + 600))).reply
    assert reply is not None
    return reply.incident, reply.execution


def test_a_copy_is_not_answered_with_the_execution_of_another_incident():
    """Its alert came to inc-1, which is over; meanwhile inc-2 runs for another alert of the target."""
    recovered = Outcome("inc-1", Ending.RECOVERED, None, NOW - 100, (to_alert_ref(case()),))
    running = incident(Phase.RUNNING, id="inc-2", execution=execution(8, ended=None), due=NOW + 60)
    before = document(running, outcomes=(recovered,), requests={"r1": NOW + 600})
    assert answer_to_copy(before) == ("inc-1", None)


def test_a_copy_speaks_of_the_held_incident_that_its_alert_came_to():
    """Held settles no alert, yet the copy's came to this incident: not to one of its own, nor to the one that is open now."""
    held = Outcome("inc-1", Ending.HELD, Reason.PAUSED, NOW - 100, (to_alert_ref(case()),))
    other = (trigger(fingerprint="fp-2"),)
    running = incident(Phase.RUNNING, id="inc-2", triggers=other, execution=execution(8, ended=None), due=NOW + 60)
    for is_open in (None, running):
        before = document(is_open, outcomes=(held,), requests={"r1": NOW + 600})
        assert answer_to_copy(before) == ("inc-1", None)


def test_what_can_be_let_in_no_longer_is_forgotten():
    """The document holds a hundred requests at most, and none for longer than a copy of it would be let in."""
    held = seen(pause=Pause("x"))
    for until in (NOW - 1, NOW):
        old = moved(EMPTY, replace(alerted(), origin=Origin("old", until)), held).document
        assert "new" in (requests := moved(old, replace(alerted(), origin=Origin("new", NOW + 600)), held).document.requests)
        assert "old" not in requests
    document = EMPTY
    for number in range(REQUESTS_KEPT + 20):
        document = moved(document, replace(alerted(), origin=Origin(f"r{number}", NOW + 600)), held).document
    assert list(document.requests) == [f"r{number}" for number in range(20, REQUESTS_KEPT + 20)]
