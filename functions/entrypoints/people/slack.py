"""Buttons in Slack's messages. `/slack` only authenticates a press and hands it to the scheduler: Slack waits three seconds.

`verify` handles the press later (slack_presses.py)."""

import time

from flask import Request
from msgspec import to_builtins

from functions.adapters.chats import _slack_answers as answers
from functions.adapters.chats._slack_answers import Press
from functions.adapters.chats.slack import Slack
from functions.config.current import current_config
from functions.config.settings import Config
from functions.entrypoints import throttle
from functions.entrypoints.responses import Response, error_response, json_response, not_allowed
from functions.runtime import logs
from functions.runtime.errors import BadRequest, Denied, Unavailable

WAKE_S = 2.0  # seconds for the scheduler to accept a press: Slack waits three
REFUSED = throttle.Sparing()


def respond(request: Request) -> Response:
    """POST /slack: 200 once the scheduler has the press, 401 if Slack didn't sign it. Nothing is parsed before."""
    if request.method != "POST":
        return not_allowed("POST")
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
    every = channels_of(config)
    secrets = tuple(dict.fromkeys(one.signing_secret for one in every if one.signing_secret is not None))
    channels = frozenset(one.channel for one in every)
    if not secrets:
        raise BadRequest(401, "No channel of type slack has a signing_secret.")
    headers = {name: request.headers.get(name, "") for name in (answers.TIMESTAMP, answers.SIGNATURE)}
    stamp, _ = answers.require_fresh(headers, time.time())
    body = throttle.read_body(request, answers.MAX_BODY)
    answers.require_signature(secrets, headers, body, time.time())
    return answers.read_press(body, float(stamp), frozenset() if "" in channels else channels)


def channels_of(config: Config) -> list[Slack]:
    """All channels of type slack."""
    return [named.adapter for named in config.channels.values() if isinstance(named.adapter, Slack)]
