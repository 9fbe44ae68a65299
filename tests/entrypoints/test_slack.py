"""Buttons in Slack, from Slack's signed request to the message that says who pressed.

Signatures are made by slack_sdk's own code, payloads are shaped as docs.slack.dev shows them (block_actions), and a stand-in on
this machine takes the answers for `response_url`.
"""

import hmac
import json
import re
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest
from msgspec.structs import replace
from slack_sdk.signature import Clock, SignatureVerifier

from functions.adapters.chats import _slack_answers as answers
from functions.adapters.chats.slack import Slack
from functions.application.documents import encode
from functions.bootstrap import current_adapters
from functions.domain.model.codes import Ending, Phase, Reason
from functions.domain.model.incidents import Asked, Document
from functions.runtime.errors import BadRequest
from functions.runtime.secrets import SecretRef
from testbed.unstick_process import runbook
from tests.adapters.chats.platforms import Call, HttpAnswer, SlackApi
from tests.support.worlds.one_machine import Place, stuck
from tests.support.worlds.scenes import change

pytestmark = pytest.mark.usefixtures("patient_code")

SIGNING_SECRET = "8f742231b10e8888abcd99yyyzzz85a5"
PUBLIC_URL = "https://unstick.example.com"
BY = "h.tanaka (Slack U0123ABCD)"


class SlackWithAnswers(SlackApi):
    """The Web API, and the addresses to which answers go."""

    def __init__(self) -> None:
        super().__init__()
        self.answers: list[dict[str, Any]] = []

    def handle(self, call: Call) -> HttpAnswer:
        if call.path.startswith("/actions/"):
            self.answers.append(call.body)
            if call.body["replace_original"]:
                self.messages[call.path.rpartition("/")[2]] = call.body
            return HttpAnswer(200, "ok")
        return super().handle(call)


@dataclass
class Team:
    """One machine with Unstick, a channel with a bot, and people who press."""

    place: Place
    slack: SlackWithAnswers

    def document(self) -> Document:
        (one,) = [document for document in self.place.documents() if document.target]
        return one

    def replace(self, document: Document) -> None:
        """Change it behind Unstick's back."""
        store = current_adapters().store
        stored = store.load(document.key, timeout_s=5)
        assert stored is not None
        store.save(document.key, encode(document), generation=stored.generation, due=document.due, timeout_s=5)

    def message(self) -> dict[str, Any]:
        """The newest message in the channel that has buttons."""
        return next(one for one in reversed(self.slack.messages.values()) if buttons(one))

    def payload(
        self, action: str, user: str = "U0123ABCD", message: dict[str, Any] | None = None, **changes: Any
    ) -> dict[str, Any]:
        """What Slack sends when somebody presses."""
        shown = message or self.message()
        pressed = next(one for one in buttons(shown) if one["action_id"] == action)
        ts = next(ts for ts, kept in self.slack.messages.items() if kept is shown)
        return {
            "type": "block_actions",
            "user": {"id": user, "username": "h.tanaka", "name": "h.tanaka", "team_id": "T9TK3CUKW"},
            "api_app_id": "AABA1ABCD",
            "token": "9s8d9as89d8as9d8as989",
            "container": {"type": "message", "message_ts": ts, "channel_id": "C0123456789", "is_ephemeral": False},
            "trigger_id": "12321423423.333649436676.d8c1bb837935619ccad0f624c448ffb3",
            "channel": {"id": "C0123456789", "name": "ops"},
            "message": {"bot_id": "BAH5CA16Z", "type": "message", "text": shown["text"], "ts": ts, "blocks": shown["blocks"]},
            "response_url": f"{self.slack.url}/actions/T9TK3CUKW/1/{ts}",
            "actions": [{**pressed, "block_id": "=qXel", "action_ts": "1548426417.840180"}],
            **changes,
        }

    def press(self, action: str, user: str = "U0123ABCD", message: dict[str, Any] | None = None, **changes: Any) -> int:
        """Somebody presses, and the scheduler brings it."""
        return self.bring(self.payload(action, user, message, **changes))

    def bring(self, payload: dict[str, Any], times: int = 1) -> int:
        """Slack sends this, and the scheduler delivers what came of it, so often."""
        before = set(self.place.wake_ups())
        status = self.send(payload)
        for wake_up in sorted(set(self.place.wake_ups()) - before) * times:
            code, said = self.place.delivered(wake_up)
            assert code == 200, said
        return status

    def send(self, payload: dict[str, Any], **headers: str) -> int:
        body = urlencode({"payload": json.dumps(payload)}).encode()
        sent = {**signed(body), "Content-Type": "application/x-www-form-urlencoded", **headers}
        return self.place.entry("webhook").post("/slack", data=body, headers=sent).status_code


def signed(body: bytes, at: float | None = None, secret: str = SIGNING_SECRET) -> dict[str, str]:
    """As slack_sdk signs."""
    stamp = str(int(time.time() if at is None else at))
    signature = SignatureVerifier(secret).generate_signature(timestamp=stamp, body=body)
    return {"X-Slack-Request-Timestamp": stamp, "X-Slack-Signature": str(signature)}


def signed_bytes(body: bytes) -> dict[str, str]:
    """The same for what is no text, which slack_sdk does not sign."""
    stamp = str(int(time.time()))
    signature = hmac.new(SIGNING_SECRET.encode(), f"v0:{stamp}:".encode() + body, "sha256").hexdigest()
    return {"X-Slack-Request-Timestamp": stamp, "X-Slack-Signature": f"v0={signature}"}


def buttons(body: dict[str, Any]) -> list[dict[str, Any]]:
    return [one for block in body.get("blocks", ()) if block["type"] == "actions" for one in block["elements"]]


@pytest.fixture
def started(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Iterator[Callable[..., Team]]:
    """Deploys with a Slack channel; `mail` is stuck."""
    with stuck(tmp_path, monkeypatch, capsys, Place) as place, SlackWithAnswers() as slack:
        monkeypatch.setenv("SLACK_TOKEN", slack.secret())
        monkeypatch.setenv("SLACK_SIGNING_SECRET", SIGNING_SECRET)

        def start(**book: Any) -> Team:
            channel = {
                "type": "slack", "token": "env://SLACK_TOKEN", "channel": "C0123456789", "base_url": slack.url,
                "signing_secret": "env://SLACK_SIGNING_SECRET",
            }  # fmt: skip
            wanted = {"mode": "approve", "notify": ["ops"], "escalate": []} | book
            place.configured(runbook("mail", **wanted), channels={"ops": channel}, notify=["ops"], public_url=PUBLIC_URL)
            return Team(place, slack)

        yield start


@pytest.fixture
def team(started: Callable[..., Team]) -> Team:
    """Slack has a message that asks for approval."""
    team = started()
    team.place.alerted()
    return team


def escalated(team: Team) -> None:
    """The restart did not help, and nobody approved a second one."""
    team.place.alerted()
    document = team.document()
    assert document.incident is not None
    asked = change(document.incident, restarts=1, attempt=1, asked=Asked(1.0), due=1.0)
    team.replace(replace(document, incident=asked, due=1.0))
    team.place.swept()
    assert team.document().outcomes[-1].ending is Ending.ESCALATED


def test_a_person_approves_in_the_message(team: Team) -> None:
    """It restarts once, by name; the message says who approved, in place of its buttons."""
    message = team.message()
    assert [one["action_id"] for one in buttons(message)] == ["approve", "decline"]
    assert team.press("approve") == 200
    incident = team.document().incident
    assert incident is not None
    assert (incident.phase, incident.approval.approved_by) == (Phase.RUNNING, BY)
    assert team.place.restarts() + len(team.place.rundeck.posts()) >= 1
    (shown,) = team.slack.answers
    assert (shown["replace_original"], buttons(shown)) == (True, [])
    assert re.search(r"Approved by h\.tanaka \(Slack U0123ABCD\) at \d\d:\d\d", json.dumps(shown["blocks"]))
    assert len(shown["blocks"]) == len(message["blocks"])


@pytest.mark.parametrize("action", ["approve", "decline", "acknowledge"])
def test_a_press_that_the_scheduler_brings_twice_counts_once(started: Callable[..., Team], action: str) -> None:
    """The person is told the second time that the message is no longer current."""
    team = started()
    if action == "acknowledge":
        escalated(team)
    else:
        team.place.alerted()
    before = len(team.place.rundeck.posts())
    message = team.message()
    payload = team.payload(action, message=message)
    assert team.bring(payload, times=2) == 200
    assert len(team.place.rundeck.posts()) - before == (action == "approve")
    assert action != "decline" or team.document().outcomes[-1].by == BY
    assert team.slack.answers[0]["replace_original"]
    assert "no longer current" in team.slack.answers[-1]["text"]


def test_a_person_takes_an_escalation_in_the_message(started: Callable[..., Team]) -> None:
    """Nobody is reminded any more, whoever takes it."""
    team = started(approvers=["U0123ABCD"])
    escalated(team)
    message = team.message()
    assert [one["action_id"] for one in buttons(message)] == ["acknowledge"]
    team.press("acknowledge", "U0OTHER00", message)
    escalation = team.document().escalation
    assert escalation is not None
    assert escalation.taken_by == "h.tanaka (Slack U0OTHER00)"


@pytest.mark.parametrize(("approvers", "may"), [(["U0123ABCD"], True), (["U0OTHER00"], False), (["anna@example.com"], False)])
def test_only_approvers_approve_and_others_are_told_why_not(
    started: Callable[..., Team], approvers: list[str], may: bool
) -> None:
    """By id."""
    team = started(approvers=approvers)
    team.place.alerted()
    team.press("approve")
    assert len(team.place.rundeck.posts()) == (1 if may else 0)
    if not may:
        (refusal,) = team.slack.answers
        assert refusal["response_type"] == "ephemeral"
        assert "Nothing was done" in refusal["text"]


def test_only_people_of_the_workspace_press_in_the_channel(team: Team) -> None:
    """The app may be in other workspaces, and a channel shared with one."""
    elsewhere: tuple[dict[str, Any], ...] = ({"channel": {"id": "C0OTHER"}}, {"channel": None}, {"team": {"id": "T0OTHER"}})
    for changes in elsewhere:
        assert team.bring(team.payload("approve", **changes)) == 403
    assert team.place.rundeck.posts() == []
    assert team.press("approve", team={"id": "T9TK3CUKW"}) == 200
    assert len(team.place.rundeck.posts()) == 1


def test_a_value_that_unstick_did_not_sign_does_nothing_and_answers_go_to_slack_alone(team: Team) -> None:
    """Another message of the same app could have such a button; and a press counts, but no other address is called."""
    forged, elsewhere = team.payload("approve"), team.payload("decline", response_url="http://169.254.169.254/")
    forged["actions"][0]["value"] = "forged"
    assert team.bring(forged) == 200
    assert (team.place.rundeck.posts(), team.slack.answers[-1]["response_type"]) == ([], "ephemeral")
    assert team.bring(elsewhere) == 200
    assert (team.document().outcomes[-1].reason, len(team.slack.answers)) == (Reason.DECLINED, 1)


SLACK, HERE = "https://slack.com/api", "http://127.0.0.1:9"


@pytest.mark.parametrize(
    ("url", "base", "slacks"),
    [
        ("https://hooks.slack.com/actions/T/1/x", SLACK, True), ("http://hooks.slack.com/actions/T/1/x", SLACK, False),
        ("https://hooks.slack.com:444/x", SLACK, False), ("https://user@hooks.slack.com/x", SLACK, False),
        ("https://hooks.slack.com@evil.example.com/x", SLACK, False), ("https://[", SLACK, False), ("", SLACK, False),
        ("https://hooks.slack.com.evil.example.com/", SLACK, False), ("https://hooks.slack.com:x/", SLACK, False),
        ("http://127.0.0.1:8080/x", SLACK, False), ("http://127.0.0.1:9/x", HERE, True),
        ("http://u@127.0.0.1:8080/x", HERE, False),
    ],
)  # fmt: skip
def test_which_addresses_are_slacks(url: str, base: str, slacks: bool) -> None:
    """One host by https; on this machine only where the API is a stand-in on this machine."""
    assert answers.is_slacks(url, base) is slacks


def verdict(
    headers: dict[str, str], body: bytes, monkeypatch: pytest.MonkeyPatch, *secrets: str, at: float | None = None
) -> bool:
    for number, secret in enumerate(secrets):
        monkeypatch.setenv(f"SLACK_{number}", secret)
    channels = tuple(Slack(signing_secret=SecretRef(f"env://SLACK_{number}")) for number in range(len(secrets)))
    with pytest.raises(BadRequest) as refused:  # with a valid signature, since it is no interaction
        answers.SlackButtons(channels).read_press(headers, lambda most: body, time.time() if at is None else at)
    return refused.value.status != 401


def test_what_slack_sdk_signs_is_let_in_and_nothing_else(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same verdict as slack_sdk's own verifier, also with several apps."""
    body, now = b"payload=%7B%22type%22%3A%22block_actions%22%7D", time.time()

    class Stopped(Clock):
        def now(self) -> float:
            return now

    cases = [
        signed(body, now),
        signed(body, now, secret="another"),
        signed(body + b"x", now),
        signed(body, now - 299),
        signed(body, now - 302),
        signed(body, now + 302),
        {**signed(body, now), "X-Slack-Request-Timestamp": str(int(now) - 1)},
        {**signed(body, now), "X-Slack-Signature": "v0=" + "0" * 64},
    ]
    for headers in cases:
        theirs = SignatureVerifier(SIGNING_SECRET, Stopped()).is_valid_request(body, headers)
        assert verdict(headers, body, monkeypatch, SIGNING_SECRET, at=now) == theirs, headers
    assert verdict(signed(body, secret="second"), body, monkeypatch, SIGNING_SECRET, "second")


def test_hostile_headers_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """401, never an internal error."""
    signature = "v0=" + "0" * 64
    pairs = (
        *((signature, stamp) for stamp in (None, "１７９５７０００００", "1e9", "9" * 40)),
        *((None, None), ("v0=" + "0" * 63 + "é", "1"), ("x" * 10_000, "1795700000")),
    )
    for pair in pairs:
        named = zip(("X-Slack-Signature", "X-Slack-Request-Timestamp"), pair, strict=True)
        assert verdict({name: value for name, value in named if value}, b"", monkeypatch, SIGNING_SECRET) is False


def test_a_signed_body_that_is_no_interaction_is_400(started: Callable[..., Team]) -> None:
    """Slack would not send it."""
    team = started()
    for body in (
        *(b"", b"payload=", b"payload=[]", b"payload=%7B%7D", b"\xff\xfe", b"payload=" + b"%5B" * 20_000, b"a=1&" * 50),
        b'payload={"type":1}',
    ):
        answer = team.place.entry("webhook").post("/slack", data=body, headers=signed_bytes(body))
        assert answer.status_code == 400, body


def test_what_slack_did_not_sign_changes_nothing(team: Team) -> None:
    """401, and the scheduler gets nothing, as of another app's button. So it is where no channel has a signing secret."""
    before = team.place.wake_ups()
    for changes in ({"type": "view_submission"}, {"actions": [{"action_id": "open", "value": "x"}]}, {"actions": []}):
        assert team.send(team.payload("approve", **changes)) == 200
    payload = team.payload("approve")
    assert team.send(payload, **{"X-Slack-Signature": "v0=" + "0" * 64}) == 401
    assert team.place.entry("webhook").post("/slack", data=b"x" * 300_000, headers=signed(b"x" * 300_000)).status_code == 413
    assert team.place.entry("webhook").get("/slack").status_code == 405
    team.place.configured()
    assert team.send(payload) == 401
    assert team.place.wake_ups() == before
