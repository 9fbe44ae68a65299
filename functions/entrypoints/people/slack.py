"""Buttons in Slack's messages. `/slack` only authenticates a press and hands it to the scheduler: Slack waits three seconds.

`verify` handles the press later: if the person may, and the message is still current."""

import time
from collections.abc import Mapping
from datetime import datetime
from functools import partial
from typing import Any

from flask import Request
from msgspec import to_builtins

from functions.application import signing
from functions.application.answer import DONE, NO_LONGER, Answer, Result, answer
from functions.application.ports import Budget, Buttons, Press
from functions.bootstrap import Adapters, current_adapters
from functions.entrypoints import http
from functions.entrypoints.http import Response, error_response, json_response, not_allowed
from functions.runtime import logs
from functions.runtime.errors import BadRequest, Denied, Unavailable
from functions.runtime.structs import convert
from functions.runtime.text import COMMA, Text, in_language, join

WAKE_S = 2.0  # seconds for the scheduler to accept a press: Slack waits three
ANSWER_S = 5.0


def respond(request: Request) -> Response:
    """POST /slack: 200 once the scheduler has the press, 401 if Slack didn't sign it. Nothing is parsed before."""
    if request.method != "POST":
        return not_allowed("POST")
    ports = current_adapters()
    try:
        press = _read(request, ports.buttons)
    except BadRequest as refusal:
        http.log_refusal(refusal.status, f"Slack action: {refusal.sentence}")
        return error_response(refusal)
    except (Unavailable, Denied) as error:
        logs.event("ERROR", f"Slack signing secret unavailable: {error}")
        return json_response(503, error="Unstick can't read its own secrets; its log says why.")
    if press is None:
        return "", 200, {}
    try:
        ports.wake(ports.now(), {"press": to_builtins(press)}, timeout_s=WAKE_S)
    except (Unavailable, Denied) as error:
        logs.event("ERROR", f"Slack action lost: {error}")  # Slack then shows a warning beside the button
        return json_response(503, error="Unstick can't do this right now. Press again, or use the link in the message.")
    return "", 200, {}


def _read(request: Request, buttons: Buttons | None) -> Press | None:
    if buttons is None:
        raise BadRequest(401, "No channel of type slack has a signing_secret.")
    return buttons.read_press(dict(request.headers.items()), partial(http.read_body, request), time.time())


def handle(ports: Adapters, content: Mapping[str, Any], budget: Budget) -> None:
    """Do what was pressed, and show the result in the message. Raises Unavailable or Denied if it must be redelivered."""
    press, buttons = convert(dict(content), Press), ports.buttons
    if buttons is None:
        ports.log("WARNING", "Slack action dropped: no channel of type slack has a signing_secret")
        return
    by = f"{press.name or '?'} (Slack {press.user})"  # the id stays when the name changes
    result, language = _answer(ports, press, by, budget), ports.rules.language
    try:
        if not isinstance(result, Result):
            buttons.show_refusal(press, in_language(language, result, runner=ports.rules.runner), timeout_s=ANSWER_S)
        else:
            at = datetime.fromtimestamp(ports.now(), ports.rules.zone).strftime("%H:%M")
            note = in_language(language, DONE[press.action].fill(by=by, at=at))
            buttons.show_answer(press, note, timeout_s=ANSWER_S)
    except (Unavailable, Denied) as error:
        ports.log("WARNING", f"Slack message not updated: {error}")


def _answer(ports: Adapters, press: Press, by: str, budget: Budget) -> Result | Text:
    """Do what was pressed. If the press doesn't count, returns why, for the person who pressed."""
    try:
        key, nonce = signing.read_approval(ports.config.signing_keys, press.token, ports.now())
    except BadRequest:
        return NO_LONGER
    result = answer(ports, Answer(press.action, key, nonce, by, user=press.user), budget)
    return result.refusal.fill(who=join(result.approvers, COMMA)) if result.refusal else result
