"""The entry point for the weekly report and the drill; called by Cloud Scheduler."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from functions.entrypoints.responses import Response, json_response
from functions.runtime.errors import Denied, Unavailable

if TYPE_CHECKING:
    from flask import Request

    from functions.application.report import Reported
    from functions.bootstrap import Adapters

MAX_BODY = 4096


def report(request: Request) -> Response:
    """Post what the bug costs, or start the drill."""
    from functions.bootstrap import current_adapters

    return respond(request, current_adapters())


def respond(request: Request, ports: Adapters) -> Response:
    """POST {"what": "report"} (or no body): gather, post, and answer with the figures. {"what": "drill"} starts a drill."""
    from functions.application.report import post_report

    if request.method != "POST":
        return "", 405, {"Allow": "POST"}
    what = _what(request.stream.read(MAX_BODY + 1))
    try:
        if what == "report":
            return _to_response(post_report(ports, ports.now()))
        if what == "drill":
            from functions.entrypoints import drill

            return json_response(200, drill=drill.start(ports))
    except (Unavailable, Denied) as error:
        ports.log("ERROR", f"{what} failed: {error}")
        return json_response(503, error=str(error))
    return json_response(400, error='The body is not {"what": "report"} or {"what": "drill"}.')


def _what(body: bytes) -> str:
    if not body.strip():
        return "report"
    try:
        content: Any = json.loads(body) if len(body) <= MAX_BODY else None
    except (ValueError, RecursionError):
        return ""
    what = content.get("what", "report") if isinstance(content, dict) else ""
    return what if isinstance(what, str) else ""


def _to_response(reported: Reported) -> Response:
    """503 where no channel could be told, so that the scheduler tries again."""
    from functions.application.report import as_json

    status = 503 if reported.failed and not reported.told else 200
    return json_response(status, report=as_json(reported.cost), told=reported.told, failed=reported.failed)
