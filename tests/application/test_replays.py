"""What a recorded notification, sent again, brings about: nothing, for as long as it would be let in."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from msgspec.structs import replace

from functions.adapters.grafana.auth import authenticate
from functions.adapters.grafana.payload import parse
from functions.adapters.symptoms.rabbitmq import name_queue
from functions.application import signing
from functions.application.intake import hand_over, handle_notification
from functions.config.current import current_config
from functions.config.settings import Auth, Bearer, Hmac
from functions.domain.decisions import matching
from functions.domain.decisions.messages import to_alert_ref
from functions.domain.decisions.step import REQUESTS_KEPT
from functions.domain.model.codes import FIRST_VERSION, Action, Ending, Phase, Reason
from functions.domain.model.events import AlertsReceived, Origin, Start
from functions.domain.model.incidents import Document, Outcome
from functions.domain.model.observations import Pause
from functions.runtime.secrets import SecretRef
from tests.support.unstick_process import alert, notification, signed
from tests.support.worlds.memory import Memory
from tests.support.worlds.one_machine import Place, stuck
from tests.support.worlds.scenes import NOW, TARGET, alerted, case, document, execution, incident, moved, resolved, seen, trigger

pytestmark = pytest.mark.usefixtures("patient_code")

EMPTY = Document(TARGET.key)


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Iterator[Place]:
    with stuck(tmp_path, monkeypatch, capsys) as made:
        yield made


def starts(made) -> bool:
    return any(isinstance(act, Start) for act in made.acts)


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


def test_a_copy_restarts_nothing_after_its_incident_was_held():
    """A repeat that joined is remembered too: the incident may end as held, which no alert is remembered by."""
    joined = moved(document(incident(Phase.WAITING, due=NOW + 60)), replace(alerted(), origin=Origin("r2", NOW + 600)))
    ended = replace(joined.document, incident=None, due=None)
    assert not starts(moved(ended, replace(alerted(), origin=Origin("r2", NOW + 600))))
    assert starts(moved(ended, replace(alerted(), origin=Origin("r3", NOW + 600))))


def test_a_copy_speaks_of_the_incident_that_its_alert_came_to():
    """Fifty at once, and the last is decided when the restart has already helped: all are answered with one incident."""
    recovered = Outcome("inc-1", Ending.RECOVERED, None, NOW, (to_alert_ref(case()),))
    ended = document(outcomes=(recovered,), requests={"r1": NOW + 600})
    again = moved(ended, replace(alerted(incident="inc-2"), origin=Origin("r1", NOW + 600)))
    assert again.reply is not None
    assert (again.document, again.reply.incident, again.reply.reason) == (ended, "inc-1", Reason.DUPLICATE)
    more = alerted(case(), case(fingerprint="fp-2"), incident="inc-2")
    both = moved(ended, replace(more, origin=Origin("r1", NOW + 600)))
    assert (both.document, both.reply.incident) == (ended, "inc-1")


def answer_to_copy(found: Document) -> tuple[str, object]:
    """The incident and the execution that a copy of the request r1 is answered with."""
    reply = moved(found, replace(alerted(incident="inc-3"), origin=Origin("r1", NOW + 600))).reply
    assert reply is not None
    return reply.incident, reply.execution


def test_a_copy_is_not_answered_with_the_execution_of_another_incident():
    """Its alert came to inc-1, which is over; meanwhile inc-2 runs for another alert of the target."""
    recovered = Outcome("inc-1", Ending.RECOVERED, None, NOW - 100, (to_alert_ref(case()),))
    running = incident(Phase.RUNNING, id="inc-2", execution=execution(8, ended=None), due=NOW + 60)
    found = document(running, outcomes=(recovered,), requests={"r1": NOW + 600})
    assert answer_to_copy(found) == ("inc-1", None)


def test_a_copy_speaks_of_the_held_incident_that_its_alert_came_to():
    """Held settles no alert, yet the copy's came to this incident: not to one of its own, nor to the one that is open now."""
    held = Outcome("inc-1", Ending.HELD, Reason.PAUSED, NOW - 100, (to_alert_ref(case()),))
    other = (trigger(fingerprint="fp-2"),)
    running = incident(Phase.RUNNING, id="inc-2", triggers=other, execution=execution(8, ended=None), due=NOW + 60)
    for is_open in (None, running):
        found = document(is_open, outcomes=(held,), requests={"r1": NOW + 600})
        assert answer_to_copy(found) == ("inc-1", None)


def test_a_copy_speaks_of_the_open_incident_that_its_alert_came_to_after_one_that_was_held():
    """It was held, and Grafana's repeat opened the incident that restarts now."""
    held = Outcome("inc-1", Ending.HELD, Reason.PAUSED, NOW - 100, (to_alert_ref(case()),))
    running = incident(Phase.RUNNING, id="inc-2", execution=execution(8, ended=None), due=NOW + 60)
    found = document(running, outcomes=(held,), requests={"r1": NOW + 600})
    assert answer_to_copy(found) == ("inc-2", running.execution)


def test_a_copy_fires_nothing_that_is_resolved():
    """The firing notification again, after the one that called it resolved."""
    first = moved(EMPTY, replace(alerted(), origin=Origin("r1", NOW + 600)))
    over = moved(first.document, resolved())
    again = moved(over.document, replace(alerted(), origin=Origin("r1", NOW + 600)))
    assert again.document == over.document
    assert again.document.incident.triggers[0].resolved_at is not None


def test_what_can_be_let_in_no_longer_is_forgotten():
    """The document holds a hundred requests at most, and none for longer than a copy of it would be let in."""
    held = seen(pause=Pause("x"))
    for until in (NOW - 1, NOW):
        old = moved(EMPTY, replace(alerted(), origin=Origin("old", until)), held).document
        assert "new" in (found := moved(old, replace(alerted(), origin=Origin("new", NOW + 600)), held).document.requests)
        assert "old" not in found
    made = EMPTY
    for number in range(REQUESTS_KEPT + 20):
        made = moved(made, replace(alerted(), origin=Origin(f"r{number}", NOW + 600)), held).document
    assert list(made.requests) == [f"r{number}" for number in range(20, REQUESTS_KEPT + 20)]


def test_every_target_of_a_notification_remembers_it():
    """A request without an id, as of basic and bearer, is decided anew each time, as before."""
    ports = Memory()
    ports.pause()
    handle_notification(ports, [case()], ports.budget(), Origin("r1", NOW + 600))
    ports.bodies.pop("pause")
    found = handle_notification(ports, [case()], ports.budget(), Origin("r1", NOW + 600))
    assert [(reply.action, reply.reason) for reply in found.replies] == [(Action.HELD, Reason.DUPLICATE)]
    assert handle_notification(ports, [case()], ports.budget()).replies[0].action is Action.RESTARTED


def test_a_task_that_is_delivered_twice_is_decided_once(place, monkeypatch):
    """The scheduler delivers at least once; the alerts carry which request they came with."""
    ports, config = Memory(), current_config()
    alerts = parse(notification(alert("mail", "mail.delivery")))
    cases = matching.match_alerts(config.rules, config.runner_url, alerts, name_queue)
    hand_over(ports, [("x", AlertsReceived(tuple(cases), "inc-1", origin=Origin("r1", time.time() + 600)))], ports.budget())
    payload = signing.sign(config.signing_keys, {"v": FIRST_VERSION, **ports.wakes[0][1]})
    monkeypatch.setenv("UNSTICK_PAUSED", "1")
    assert place.delivered(payload)[0] == 200
    assert "Unstick is paused" in place.cards()
    monkeypatch.delenv("UNSTICK_PAUSED")
    assert place.delivered(payload)[0] == 200
    assert place.rundeck.posts() == []


def test_only_a_signature_with_a_timestamp_names_a_request(monkeypatch):
    """Without one Grafana's genuine repeats are byte for byte the same, so none may be refused."""
    monkeypatch.setenv("KEY", "key")
    way = Hmac((SecretRef("env://KEY"),))
    body, now = b"{}", time.time()
    headers = signed(body, secret="key", at=now)
    assert authenticate(Auth(hmac=way), headers, body, now) == headers["X-Grafana-Alerting-Signature"][:16]
    bearer = Auth(hmac=way, bearer=Bearer((SecretRef("env://KEY"),)))
    assert authenticate(bearer, {"Authorization": "Bearer key"}, body, now) == ""
