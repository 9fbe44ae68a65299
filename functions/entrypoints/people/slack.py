"""Buttons in Slack's messages. `/slack` only authenticates a press and hands it to the scheduler: Slack waits three seconds.

`handle` processes the press later, in `verify`."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any

from msgspec import Struct, to_builtins

from functions.adapters.chats import _slack_answers as answers
from functions.adapters.chats._slack_answers import Press
from functions.config.current import current_config
from functions.domain.model.messages import ACKNOWLEDGE, APPROVE, DECLINE, PAUSE, RESTART
from functions.entrypoints import throttle
from functions.entrypoints.responses import Response, error_response, json_response
from functions.runtime import logs
from functions.runtime.errors import BadRequest, Denied, Unavailable
from functions.runtime.text import Phrase, Text, in_language, join

if TYPE_CHECKING:
    from flask import Request

    from functions.adapters.chats.slack import Slack
    from functions.application.ports import Budget
    from functions.bootstrap import Adapters
    from functions.config.settings import Config
    from functions.domain.model.events import Approved, Declined
    from functions.domain.model.incidents import Document
    from functions.runtime.secrets import SecretRef

WAKE_S = 2.0  # seconds for the scheduler to accept a press: Slack waits three
ANSWER_S = 5.0
LOOK_UP_S = 10.0  # seconds to read the members of the approvers' groups
TOO_LATE_S = 600.0  # seconds after which a press is ignored: people have moved on
PAUSE_S = 3600.0
REFUSED = throttle.Sparing()

NO_LONGER = Text("Nothing was done: the message is no longer current. The newest message of the incident shows the state.")
OLD = Text("Nothing was done: the button took too long to reach Unstick. Press it again if it is still needed.")
GONE = Text("Nothing was done: the runbook was removed from the configuration, so nobody knows who may do this.")
DONE: Mapping[str, Text] = {
    APPROVE: Text("Approved by {by} at {at}"),
    DECLINE: Text("Declined by {by} at {at}"),
    ACKNOWLEDGE: Text("Taken by {by} at {at}"),
    RESTART: Text("Restart wanted by {by} at {at}"),
    PAUSE: Text("Paused for 1 h by {by} at {at}"),
}


def respond(request: Request) -> Response:
    """POST /slack: 200 once the scheduler has the press, 401 if Slack didn't sign it. Nothing is parsed before."""
    if request.method != "POST":
        return "", 405, {"Allow": "POST"}
    try:
        press = _read(request, current_config())
    except BadRequest as refusal:
        if (more := REFUSED.passes()) is not None:
            logs.event("WARNING", f"Slack action rejected with {refusal.status}: {refusal.sentence}{more}")
        return error_response(refusal)
    except (Unavailable, Denied) as error:
        logs.event("ERROR", f"Slack signing secret unavailable: {error}")
        return json_response(503, error="Unstick can't read its own secrets; its log says why.")
    if press is None:
        return "", 200, {}
    from functions.bootstrap import current_adapters

    ports = current_adapters()
    try:
        ports.wake(ports.now(), {"press": to_builtins(press)}, timeout_s=WAKE_S)
    except (Unavailable, Denied) as error:
        logs.event("ERROR", f"Slack action lost: {error}")  # Slack then shows a warning beside the button
        return json_response(503, error="Unstick can't do this right now. Press again, or use the link in the message.")
    return "", 200, {}


def _read(request: Request, config: Config) -> Press | None:
    """The press; None for another interaction. Raises BadRequest, and Unavailable or Denied if no secret can be read."""
    secrets, channels = _signing_secrets(config), frozenset(one.channel for one in _channels(config))
    if not secrets:
        raise BadRequest(401, "No channel of type slack has a signing_secret.")
    headers = {name: request.headers.get(name, "") for name in (answers.TIMESTAMP, answers.SIGNATURE)}
    stamp, _ = answers.require_fresh(headers, time.time())
    body = throttle.read_body(request, answers.MAX_BODY)
    answers.require_signature(secrets, headers, body, time.time())
    return answers.read_press(body, float(stamp), frozenset() if "" in channels else channels)


def _signing_secrets(config: Config) -> tuple[SecretRef, ...]:
    secrets = [one.signing_secret for one in _channels(config)]
    return tuple(dict.fromkeys(secret for secret in secrets if secret is not None))


def _channels(config: Config) -> list[Slack]:
    """All channels of type slack."""
    from functions.adapters.chats.slack import Slack

    return [named.adapter for named in config.channels.values() if isinstance(named.adapter, Slack)]


class _Pressed(Struct, frozen=True):
    """A press, and what is needed to answer it."""

    ports: Adapters
    press: Press
    key: str
    nonce: str
    budget: Budget

    @property
    def by(self) -> str:
        """The person's name and Slack id; the id stays when the name changes."""
        return f"{self.press.name or '?'} (Slack {self.press.user})"


def handle(ports: Adapters, content: Mapping[str, Any], budget: Budget) -> None:
    """Process a press, if the person may and the message is still current, and show the result in the message. Raises
    Unavailable or Denied if it must be redelivered."""
    from functions.application import signing
    from functions.application.decoding import convert

    press = convert(dict(content), Press)
    if not _channels(ports.config):
        ports.log("WARNING", "Slack action dropped: no channel of type slack is configured")
        return
    if ports.now() - press.at > TOO_LATE_S:
        _refuse(ports, press, OLD)
        return
    try:
        key, nonce = signing.read_approval(ports.config.signing_keys, press.token, ports.now())
    except BadRequest:
        _refuse(ports, press, NO_LONGER)
        return
    pressed = _Pressed(ports, press, key, nonce, budget)
    document = _load(pressed)
    name = _runbook_of(document, nonce)
    runbook = ports.rules.runbooks.get(name)
    if name and runbook is None and press.action != ACKNOWLEDGE:
        _refuse(ports, press, GONE)
        return
    approvers = runbook.approvers if runbook else ()
    if press.action != ACKNOWLEDGE and approvers and not _may(pressed, approvers):
        return
    did = {APPROVE: _answer, DECLINE: _answer, ACKNOWLEDGE: _take, RESTART: _restart, PAUSE: _pause}
    if not did[press.action](pressed, document):
        _refuse(ports, press, NO_LONGER)
        return
    ports.log("NOTICE", f"Slack action accepted: {press.action}", by=pressed.by, document=key)
    if not _shows_newer_state(document, _load(pressed), press.message_ts):
        _show(pressed)


def _load(pressed: _Pressed) -> Document:
    from functions.application import reconcile

    stored = pressed.ports.store.load(pressed.key, timeout_s=pressed.budget.at_most(reconcile.STORE_S))
    return reconcile.load_document(pressed.key, stored)


def _runbook_of(document: Document, nonce: str) -> str:
    """The runbook of the message's incident."""
    if document.incident is not None and document.incident.approval.nonce == nonce:
        return document.incident.runbook
    if document.escalation is not None and document.escalation.nonce == nonce:
        return document.escalation.runbook
    return ""


def _may(pressed: _Pressed, approvers: tuple[str, ...]) -> bool:
    """Whether the person is an approver. If not, tells only them why."""
    ports, press = pressed.ports, pressed.press
    channels = _channels(ports.config)
    bot = next((one for one in channels if one.token is not None), channels[0])
    try:
        if answers.is_approver(press.user, approvers, bot, LOOK_UP_S):
            return True
    except (Unavailable, Denied) as error:
        ports.log("ERROR", f"Slack approvers unavailable: {error}")
        _refuse(
            ports, press, Text("Nothing was done: Unstick can't check whether you may. Use the link in the message, or Rundeck.")
        )
        return False
    ports.log("WARNING", f"Slack action rejected: not an approver ({press.action})", by=pressed.by, document=pressed.key)
    who = join(approvers, Text(", "))
    _refuse(ports, press, Text("Nothing was done: only the runbook's approvers may do this ({who}).", who=who))
    return False


def _answer(pressed: _Pressed, document: Document) -> bool:
    """Approve or decline. Returns whether the answer counts."""
    from functions.application.reconcile import advance
    from functions.domain.model.events import Approved, Declined

    approves = pressed.press.action == APPROVE
    incident = document.incident
    if (
        incident is not None
        and approves
        and incident.approval.approved_by == pressed.by
        and pressed.nonce.startswith(f"{incident.id}.")
    ):
        return True  # the scheduler redelivered the same press
    kind: Callable[[str, str], Approved | Declined] = Approved if approves else Declined
    return advance(pressed.ports, pressed.key, kind(pressed.nonce, pressed.by), pressed.budget) is not None


def _take(pressed: _Pressed, document: Document) -> bool:
    from functions.application.reconcile import advance
    from functions.domain.model.events import Acknowledged

    if document.escalation is None or document.escalation.nonce != pressed.nonce:
        return False
    advance(pressed.ports, pressed.key, Acknowledged(pressed.by, document.escalation.incident), pressed.budget)
    after = _load(pressed).escalation
    return after is not None and after.taken_by == pressed.by


def _restart(pressed: _Pressed, document: Document) -> bool:
    from functions.application.intake import make_incident_id
    from functions.application.reconcile import advance
    from functions.domain.model.events import RestartWanted

    if document.escalation is None or document.escalation.nonce != pressed.nonce:
        return False
    identifier = make_incident_id(pressed.key, pressed.ports.now(), [])
    wanted = RestartWanted(pressed.by, document.escalation.incident, identifier)
    return advance(pressed.ports, pressed.key, wanted, pressed.budget) is not None


def _pause(pressed: _Pressed, document: Document) -> bool:
    """Pause, but only from a current message: for another one the runbook, and so its approvers, are unknown."""
    if not _runbook_of(document, pressed.nonce):
        return False
    from functions.application import reconcile
    from functions.application.kill_switch import KEY, announce, turn
    from functions.application.serialization import decode
    from functions.domain.model.observations import Pause

    at = pressed.press.at
    stored = pressed.ports.store.load(KEY, timeout_s=pressed.budget.at_most(reconcile.STORE_S))
    if stored is not None and decode(Pause, stored.body, KEY).at > at:
        return False  # somebody turned the switch since: this is a replay
    switch = Pause(Text("pressed in Slack"), pressed.by, at, until=at + PAUSE_S)
    turn(pressed.ports, switch)
    announce(pressed.ports, "paused", switch)
    return True


def _shows_newer_state(before: Document, after: Document, message_ts: str) -> bool:
    """Whether the message starts the incident's thread and was just updated, so that it already shows more than the answer."""
    return any(
        f'"ts": "{message_ts}"' in handle and handle != before.threads.get(place)
        for place, handle in after.threads.items()
        if message_ts
    )


def _show(pressed: _Pressed) -> None:
    ports, press = pressed.ports, pressed.press
    at = datetime.fromtimestamp(ports.now(), ports.rules.zone).strftime("%H:%M")
    note = in_language(ports.rules.language, DONE[press.action].fill(by=pressed.by, at=at))
    only = frozenset({PAUSE}) if press.action == PAUSE else frozenset[str]()
    try:
        answers.show_answer(press, note, _channels(ports.config)[0], only=only, timeout_s=ANSWER_S)
    except (Unavailable, Denied) as error:
        ports.log("WARNING", f"Slack message not updated: {error}")


def _refuse(ports: Adapters, press: Press, sentence: Phrase) -> None:
    try:
        told = in_language(ports.rules.language, sentence)
        answers.show_refusal(press, told, _channels(ports.config)[0], timeout_s=ANSWER_S)
    except (Unavailable, Denied) as error:
        ports.log("WARNING", f"Slack refusal not shown: {error}")
