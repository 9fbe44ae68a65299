"""Handles a press of a button in Slack's messages, in `verify`: if the person may and the message is still current."""

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

from msgspec import Struct

from functions.adapters.chats import _slack_answers as answers
from functions.adapters.chats._slack_answers import Press
from functions.adapters.chats.slack import is_approver
from functions.application import signing
from functions.application.decoding import convert
from functions.application.intake import make_incident_id
from functions.application.kill_switch import KEY, announce, turn
from functions.application.ports import Budget
from functions.application.reconcile import STORE_S, advance, load
from functions.application.serialization import decode
from functions.bootstrap import Adapters
from functions.domain.model.events import Acknowledged, Approved, Declined, RestartWanted
from functions.domain.model.incidents import Document
from functions.domain.model.messages import ACKNOWLEDGE, APPROVE, DECLINE, PAUSE, RESTART, CardKind
from functions.domain.model.observations import Pause
from functions.entrypoints.people.slack import channels_of
from functions.runtime.errors import BadRequest, Denied, Unavailable
from functions.runtime.text import COMMA, Phrase, Text, in_language, join

ANSWER_S = 5.0
LOOK_UP_S = 10.0  # seconds to read the members of the approvers' groups
TOO_LATE_S = 600.0  # seconds after which a press is ignored: people have moved on
PAUSE_S = 3600.0
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


class _Pressed(Struct, frozen=True):
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
    """Do what was pressed, and show the result in the message. Raises Unavailable or Denied if it must be redelivered."""
    press = convert(dict(content), Press)
    if not channels_of(ports.config):
        ports.log("WARNING", "Slack action dropped: no channel of type slack is configured")
        return
    refusal = _act(ports, press, budget)
    try:
        if refusal:
            told = in_language(ports.rules.language, refusal, runner=ports.rules.runner)
            answers.show_refusal(press, told, channels_of(ports.config)[0], timeout_s=ANSWER_S)
    except (Unavailable, Denied) as error:
        ports.log("WARNING", f"Slack refusal not shown: {error}")


def _act(ports: Adapters, press: Press, budget: Budget) -> Phrase:
    """Do what was pressed and show it. Returns why not, for the person who pressed."""
    if ports.now() - press.at > TOO_LATE_S:
        return OLD
    try:
        key, nonce = signing.read_approval(ports.config.signing_keys, press.token, ports.now())
    except BadRequest:
        return NO_LONGER
    pressed = _Pressed(ports, press, key, nonce, budget)
    document = _load(pressed)
    name = _runbook_of(document, nonce)
    runbook = ports.rules.runbooks.get(name)
    if press.action != ACKNOWLEDGE:
        if name and runbook is None:
            return GONE
        if runbook and runbook.approvers and (refusal := _find_refusal(pressed, runbook.approvers)):
            return refusal
    did = {APPROVE: _answer, DECLINE: _answer, ACKNOWLEDGE: _take, RESTART: _restart, PAUSE: _pause}
    if not did[press.action](pressed, document):
        return NO_LONGER
    ports.log("NOTICE", f"Slack action accepted: {press.action}", by=pressed.by, document=key)
    if not _shows_newer_state(document, _load(pressed), press.message_ts):
        _show(pressed)
    return ""


def _load(pressed: _Pressed) -> Document:
    return load(pressed.ports, pressed.key, pressed.budget.at_most(STORE_S))[0]


def _runbook_of(document: Document, nonce: str) -> str:
    if document.incident is not None and document.incident.approval.nonce == nonce:
        return document.incident.runbook
    if document.escalation is not None and document.escalation.nonce == nonce:
        return document.escalation.runbook
    return ""


def _find_refusal(pressed: _Pressed, approvers: tuple[str, ...]) -> Phrase:
    """Why the person may not do this; empty for an approver."""
    ports, press = pressed.ports, pressed.press
    channels = channels_of(ports.config)
    bot = next((one for one in channels if one.token is not None), channels[0])
    try:
        if is_approver(press.user, approvers, bot, LOOK_UP_S):
            return ""
    except (Unavailable, Denied) as error:
        ports.log("ERROR", f"Slack approvers unavailable: {error}")
        return Text("Nothing was done: Unstick can't check whether you may. Use the link in the message, or {runner}.")
    ports.log("WARNING", f"Slack action rejected: not an approver ({press.action})", by=pressed.by, document=pressed.key)
    return Text("Nothing was done: only the runbook's approvers may do this ({who}).", who=join(approvers, COMMA))


def _answer(pressed: _Pressed, document: Document) -> bool:
    """Approve or decline. Returns whether the answer counts."""
    approves = pressed.press.action == APPROVE
    incident = document.incident
    own = incident is not None and pressed.nonce.startswith(f"{incident.id}.")
    if approves and own and incident and incident.approval.approved_by == pressed.by:
        return True  # the scheduler redelivered the same press
    kind: Callable[[str, str], Approved | Declined] = Approved if approves else Declined
    return advance(pressed.ports, pressed.key, kind(pressed.nonce, pressed.by), pressed.budget) is not None


def _take(pressed: _Pressed, document: Document) -> bool:
    if document.escalation is None or document.escalation.nonce != pressed.nonce:
        return False
    advance(pressed.ports, pressed.key, Acknowledged(pressed.by, document.escalation.incident), pressed.budget)
    after = _load(pressed).escalation
    return after is not None and after.taken_by == pressed.by


def _restart(pressed: _Pressed, document: Document) -> bool:
    if document.escalation is None or document.escalation.nonce != pressed.nonce:
        return False
    identifier = make_incident_id(pressed.key, pressed.ports.now(), [])
    wanted = RestartWanted(pressed.by, document.escalation.incident, identifier)
    return advance(pressed.ports, pressed.key, wanted, pressed.budget) is not None


def _pause(pressed: _Pressed, document: Document) -> bool:
    """Pause, but only from a current message: for another one the runbook, and so its approvers, are unknown."""
    if not _runbook_of(document, pressed.nonce):
        return False
    at = pressed.press.at
    stored = pressed.ports.store.load(KEY, timeout_s=pressed.budget.at_most(STORE_S))
    if stored is not None and decode(Pause, stored.body, KEY).at > at:
        return False  # somebody turned the switch since: this is a replay
    switch = Pause(Text("pressed in Slack"), pressed.by, at, until=at + PAUSE_S)
    turn(pressed.ports, switch)
    announce(pressed.ports, CardKind.PAUSED, switch)
    return True


def _shows_newer_state(before: Document, after: Document, message_ts: str) -> bool:
    """Whether the message starts the incident's thread and was just updated, so that it already shows more than the answer."""
    changed = [handle for place, handle in after.threads.items() if handle != before.threads.get(place)]
    return bool(message_ts) and any(f'"ts": "{message_ts}"' in handle for handle in changed)


def _show(pressed: _Pressed) -> None:
    ports, press = pressed.ports, pressed.press
    at = datetime.fromtimestamp(ports.now(), ports.rules.zone).strftime("%H:%M")
    note = in_language(ports.rules.language, DONE[press.action].fill(by=pressed.by, at=at))
    only = frozenset({PAUSE}) if press.action == PAUSE else frozenset[str]()
    try:
        answers.show_answer(press, note, channels_of(ports.config)[0], only=only, timeout_s=ANSWER_S)
    except (Unavailable, Denied) as error:
        ports.log("WARNING", f"Slack message not updated: {error}")
