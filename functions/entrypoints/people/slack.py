"""Buttons in Slack's messages. `/slack` only authenticates a press and hands it to the scheduler: Slack waits three seconds.

`verify` handles the press later (slack_presses.py)."""

import time
from functools import partial

from flask import Request
from msgspec import to_builtins

from functions.application.ports import Buttons, Press
from functions.bootstrap import current_adapters
from functions.entrypoints import throttle
from functions.entrypoints.responses import Response, error_response, json_response, not_allowed
from functions.runtime import logs
from functions.runtime.errors import BadRequest, Denied, Unavailable

WAKE_S = 2.0  # seconds for the scheduler to accept a press: Slack waits three
REFUSED = throttle.Refusals()


def respond(request: Request) -> Response:
    """POST /slack: 200 once the scheduler has the press, 401 if Slack didn't sign it. Nothing is parsed before."""
    if request.method != "POST":
        return not_allowed("POST")
    ports = current_adapters()
    try:
        press = _read(request, ports.buttons)
    except BadRequest as refusal:
        REFUSED.log(f"Slack action rejected with {refusal.status}: {refusal.sentence}")
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
    return buttons.read_press(dict(request.headers.items()), partial(throttle.read_body, request), time.time())
