"""`simulate`: what would be, from notifications in files; nothing is done."""

import gzip
import json
import time
from base64 import b64encode
from typing import Any

import pytest

from functions.adapters.symptoms.rabbitmq import to_queue
from functions.domain.decisions.guards import GUARDS
from functions.domain.decisions.matching import target_key
from functions.domain.model.incidents import Document, Escalation, QueueState
from testbed.unstick_process import alert, job_id, notification
from tests.cli.conftest import FIRING, RECORDINGS, Line

SERVICE = {"service": "mail-delivery"}


def incident(here: Line, *arguments: str, code: int) -> dict[str, Any]:
    """The one incident that a simulation speaks of."""
    ((only,),) = [one["incidents"] for one in here.json("simulate", *arguments, code=code)]
    return dict(only)


def deciding(decision: dict[str, Any]) -> list[str]:
    return [guard["guard"] for guard in decision["guards"] if guard["decides"]]


def test_a_stuck_queue_would_be_restarted(here: Line) -> None:
    """The real systems are looked at, every guard says its part, and nothing is started, saved or told."""
    decision = incident(here, FIRING, "--restamp", code=0)
    assert (decision["action"], decision["reason"]) == ("restarted", None)
    assert [guard["guard"] for guard in decision["guards"]] == list(GUARDS)
    assert {guard["says"] for guard in decision["guards"]} == {"passes"}
    assert (decision["job"], decision["options"]) == (job_id("mail-delivery"), SERVICE)
    assert decision["seen"]["queues"]["rabbitmq:/:mail.delivery"]["depth"] == 362
    assert here.rundeck.posts() == []
    assert here.ports.store.list_documents(timeout_s=5) == []


def test_a_hold_is_code_1_and_says_which_guard_decides(here: Line) -> None:
    """A healthy queue holds; the other guards are asked all the same. As text the decision comes first, then a line for each."""
    here.rabbit.queues["/", "mail.delivery"].set(ready=0, unacked=0)
    decision = incident(here, FIRING, "--restamp", code=1)
    assert (decision["action"], decision["reason"], deciding(decision)) == ("held", "symptom_gone", ["symptom"])
    shown = here.run("simulate", FIRING, "--restamp", code=1).stdout
    assert "service=mail-delivery: would hold (symptom_gone): mail.delivery: depth 0" in shown
    assert next(line for line in shown.splitlines() if line.split()[:1] == ["paused"]).split()[1] == "passes"
    assert next(line for line in shown.splitlines() if line.endswith("<- decides")).split()[0] == "symptom"


def test_the_stores_document_counts(here: Line) -> None:
    """What an outcome carries already is a duplicate, though no guard objects."""
    one = alert("mail-delivery", "mail.delivery")
    first = here.json("simulate", here.file(one), code=0)[0]["incidents"][0]
    assert first["action"] == "restarted"
    key = target_key(here.rundeck.url, job_id("mail-delivery"), SERVICE)
    queue = QueueState(to_queue("/", "mail.delivery"), "mail-delivery", time.time())
    here.saved(Document(key, escalation=Escalation("i-1", "mail-delivery", time.time() - 600, queues=(queue,))))
    decision = incident(here, here.file(one), code=1)
    assert (decision["reason"], deciding(decision)) == ("escalated", ["escalated"])


@pytest.mark.parametrize("form", ["body", "body_text", "body_base64", "flat", "gzip", "plain", "stdin"])
def test_every_form_of_a_recording(here: Line, form: str) -> None:
    """A bare body, a recorded request with its body in one of three keys, gzipped or not; or a body on stdin."""
    body = notification(alert("mail-delivery", "mail.delivery"))
    key = form if form.startswith("body") else "body_text"
    text = b64encode(body).decode() if key == "body_base64" else body.decode()
    content = {key: text} if form == "flat" else {"request": {key: text}}
    raw = body if form in ("plain", "stdin") else json.dumps(content).encode()
    path = here.folder / "recording"
    path.write_bytes(gzip.compress(raw) if form == "gzip" else raw)
    name = "-" if form == "stdin" else str(path)
    assert here.json("simulate", name, code=0, input=raw)[0]["incidents"][0]["action"] == "restarted"


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "is empty"),
        (b"hello", "not a notification"),
        (b"{}", "field `alerts`"),
        (b"\x1f\x8bbroken", "can't be read"),
        (b'{"request": {"body_base64": "%%%"}}', "Invalid base64"),
        (b'{"alerts": [{"status": "firing"}]}', "$.alerts[0]"),
    ],
)
def test_files_that_are_no_notification(here: Line, content: bytes, said: str) -> None:
    """The file, what is wrong with it and what to do, as code 2 and without a traceback."""
    path = here.folder / "strange.json"
    path.write_bytes(content)
    shown = here.run("simulate", str(path), code=2).stderr
    assert "strange.json" in shown
    assert said in shown


def test_an_alert_of_no_runbook_and_a_test(here: Line) -> None:
    """What has no target has no guards; the reason says it all, and the labels are what a runbook could match."""
    assert 'alertname="' in here.run("simulate", str(RECORDINGS / "26-minimal-alert.json"), code=1).stdout
    assert incident(here, str(RECORDINGS / "26-minimal-alert.json"), code=1)["reason"] == "no_runbook"
    decision = incident(here, str(RECORDINGS / "20-test-contact-point.json"), code=1)
    assert (decision["reason"], decision["guards"]) == ("test_alert", [])


def test_every_recording_can_be_simulated(here: Line) -> None:
    """All recordings of Grafana and Alertmanager are decided, or are refused as they would be."""
    for path in sorted(RECORDINGS.glob("*.json*")):
        result = here.run("simulate", str(path))
        assert result.exit_code in (0, 1) or "If the contact point has a custom payload" in result.stderr, path.name


def test_hostile_labels_do_a_terminal_no_harm(here: Line) -> None:
    """Escapes in a label never reach the terminal."""
    path = here.file(alert("mail-delivery", "mail.\x1b]0;owned\x07\x1b[31m\u202edelivery", alertname="RabbitMQQueueStuck"))
    shown = here.run("simulate", path).output
    assert not {"\x1b", "\x07", "\u202e"} & set(shown)
