"""Decides who may call `verify`, `report` and `/metrics`: callers that the platform in front lets in, or who know a secret of
this machine. What a request says about its way is no proof: behind nginx with its defaults a stranger's looks local."""

import os

from flask import Request

from functions.config.current import current_config
from functions.entrypoints import throttle
from functions.entrypoints.responses import Response, json_response
from functions.runtime import logs
from functions.runtime.errors import Denied, Unavailable
from functions.runtime.secrets import SecretRef, any_matches

PLATFORM = "K_SERVICE"  # set by Cloud Run, which lets in only callers with a permission
BEARER = "Bearer "


def warn_if_unguarded(entry_point: str) -> None:
    """Log at the start whom `verify` or `report` answers, if no platform in front checks callers."""
    if entry_point not in ("verify", "report") or os.environ.get(PLATFORM):
        return
    tokens = current_config().machine_tokens
    who = "callers with one of machine_tokens" if tokens else "nobody: machine_tokens is not set"
    logs.event("WARNING", f"{entry_point} is served without a platform in front that checks its callers: it answers {who}")


def has_token(request: Request, tokens: tuple[SecretRef, ...]) -> bool:
    """Whether the request carries one of these tokens. Raises Unavailable or Denied if the tokens can't be read."""
    shown = request.headers.get("Authorization", "")
    token = shown.removeprefix(BEARER).encode(errors="replace")
    return shown.startswith(BEARER) and any_matches(tokens, token, lambda secret: secret)


def refuse_stranger(request: Request) -> Response | None:
    """Returns 403 for a caller without a token of this machine if no platform checks callers, 503 if the tokens can't be read;
    None for callers that are let in."""
    if os.environ.get(PLATFORM):
        return None
    tokens = current_config().machine_tokens
    try:
        if has_token(request, tokens):
            return None
    except (Unavailable, Denied) as error:
        throttle.log_refusal(503, f"machine_tokens can't be read: {error}")
        return json_response(503, error="Unstick can't read its own secrets; its log says why.")
    if tokens:
        throttle.log_refusal(403, "a caller without one of machine_tokens")
        return json_response(403, error="Send the header Authorization: Bearer, with one of `machine_tokens` in unstick.yaml.")
    throttle.log_refusal(403, "nobody is let in, since machine_tokens is not set")
    return json_response(403, error="Nobody is let in: set `machine_tokens` in unstick.yaml (docs/deploy.md).")
