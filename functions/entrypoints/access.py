"""Decides who may call `verify` and `report`: callers that the platform in front lets in, or only this machine."""

import os
from urllib.parse import urlsplit

from flask import Request

from functions.config.current import current_config
from functions.entrypoints.responses import Response, json_response
from functions.runtime import logs
from functions.runtime.loopback import is_loopback

PLATFORM = "K_SERVICE"  # set by Cloud Run, which lets in only callers with a permission
FOREIGN = ("X-Forwarded-For", "Forwarded", "Origin")
"""Set by a proxy or a browser on this machine: the caller is somebody else. A page may also reach loopback by its own name."""


def warn_if_unguarded(entry_point: str) -> None:
    """Log at the start if `verify` or `report` answers whoever reaches its port."""
    if entry_point not in ("verify", "report") or os.environ.get(PLATFORM):
        return
    who = "anybody who can reach this port" if current_config().open_to_network else "callers on this machine only"
    logs.event("WARNING", f"{entry_point} is served without a platform in front that checks its callers: it answers {who}")


def refuse_stranger(request: Request) -> Response | None:
    """Returns 403 for a caller from another machine if no platform checks callers; None for callers that are let in."""
    if os.environ.get(PLATFORM) or current_config().open_to_network:
        return None
    is_here = is_loopback(request.remote_addr or "") and is_loopback(urlsplit(f"//{request.host}").hostname)
    if is_here and not any(name in request.headers for name in FOREIGN):
        return None
    logs.event("WARNING", "refused with 403: a caller from another machine; `open_to_network: true` would let it in")
    return json_response(403, error="Only callers on this machine are let in. To change that: `open_to_network` in unstick.yaml.")
