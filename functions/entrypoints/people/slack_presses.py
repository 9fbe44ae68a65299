"""Handles a press of a button in Slack's messages, in `verify`: if the person may and the message is still current."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from functions.application import signing
from functions.application.answer import NO_RUNBOOK, Answer, Refusal, Result, answer
from functions.application.ports import Budget, Buttons, Press
from functions.bootstrap import Adapters
from functions.domain.model.messages import ACKNOWLEDGE, APPROVE, DECLINE, PAUSE, RESTART
from functions.domain.model.observations import Pause
from functions.runtime.decoding import convert
from functions.runtime.errors import BadRequest, Denied, Unavailable
from functions.runtime.text import COMMA, Text, in_language, join

ANSWER_S = 5.0
TOO_LATE_S = 600.0  # seconds after which a press is ignored: people have moved on
PAUSE_S = 3600.0
NO_LONGER = Text("Nothing was done: the message is no longer current. The newest message of the incident shows the state.")
OLD = Text("Nothing was done: the button took too long to reach Unstick. Press it again if it is still needed.")
DONE: Mapping[str, Text] = {
    APPROVE: Text("Approved by {by} at {at}"),
    DECLINE: Text("Declined by {by} at {at}"),
    ACKNOWLEDGE: Text("Taken by {by} at {at}"),
    RESTART: Text("Restart wanted by {by} at {at}"),
    PAUSE: Text("Paused for 1 h by {by} at {at}"),
}
REFUSALS: Mapping[Refusal | None, Text] = {
    Refusal.OVER: NO_LONGER,
    Refusal.NO_RUNBOOK: NO_RUNBOOK,
    Refusal.NOT_APPROVER: Text("Nothing was done: only the runbook's approvers may do this ({who})."),
    Refusal.UNKNOWN_APPROVERS: Text(
        "Nothing was done: Unstick can't check whether you may. Use the link in the message, or {runner}."
    ),
}


def handle(ports: Adapters, content: Mapping[str, Any], budget: Budget) -> None:
    """Do what was pressed, and show the result in the message. Raises Unavailable or Denied if it must be redelivered."""
    press, buttons = convert(dict(content), Press), ports.buttons
    if buttons is None:
        ports.log("WARNING", "Slack action dropped: no channel of type slack has a signing_secret")
        return
    by = f"{press.name or '?'} (Slack {press.user})"  # the id stays when the name changes
    result, language = _answer(ports, buttons, press, by, budget), ports.rules.language
    try:
        if not isinstance(result, Result):
            buttons.show_refusal(press, in_language(language, result, runner=ports.rules.runner), timeout_s=ANSWER_S)
        elif not _shows_newer_state(buttons, press, result):
            at = datetime.fromtimestamp(ports.now(), ports.rules.zone).strftime("%H:%M")
            note = in_language(language, DONE[press.action].fill(by=by, at=at))
            only = frozenset({PAUSE} & {press.action})
            buttons.show_answer(press, note, only=only, timeout_s=ANSWER_S)
    except (Unavailable, Denied) as error:
        ports.log("WARNING", f"Slack message not updated: {error}")


def _answer(ports: Adapters, buttons: Buttons, press: Press, by: str, budget: Budget) -> Result | Text:
    """Do what was pressed. If the press doesn't count, returns why, for the person who pressed."""
    if ports.now() - press.at > TOO_LATE_S:
        return OLD
    try:
        key, nonce = signing.read_approval(ports.config.signing_keys, press.token, ports.now())
    except BadRequest:
        return NO_LONGER
    switch = Pause(Text("pressed in Slack"), by, press.at, until=press.at + PAUSE_S) if press.action == PAUSE else None
    result = answer(ports, Answer(press.action, key, nonce, by, user=press.user, switch=switch), budget, buttons)
    refusal = REFUSALS.get(result.refusal)
    return refusal.fill(who=join(result.approvers, COMMA)) if refusal else result


def _shows_newer_state(buttons: Buttons, press: Press, result: Result) -> bool:
    """Whether the message starts the incident's thread and was just updated, so that it already shows more than the answer."""
    before = {} if result.refusal is Refusal.REPEATED else result.before.threads
    changed = [handle for place, handle in result.after.threads.items() if handle != before.get(place)]
    return any(buttons.starts_thread(press, handle) for handle in changed)
