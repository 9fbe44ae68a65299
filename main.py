"""Entry points for functions-framework: `webhook` for Grafana, `verify` for the scheduler, `report` for the weekly report."""

from __future__ import annotations

import gc
from collections.abc import Callable

from flask import Request

gc.disable()  # the objects of a start stay: a garbage collection takes 4 ms and finds nothing

from functions.entrypoints import http, startup  # noqa: E402
from functions.entrypoints import webhook as webhook_request  # noqa: E402
from functions.entrypoints.http import Response, json_response  # noqa: E402
from functions.runtime import logs  # noqa: E402

startup.start()
gc.freeze()  # later collections skip these objects; the server's own modules are loaded after this
gc.enable()


def webhook(request: Request) -> Response:
    """Handle a notification of Grafana or Alertmanager (POST, PUT), an approval (/approve/), or a reader (/incidents)."""
    return _answer(webhook_request.webhook, request)


def verify(request: Request) -> Response:
    """Handle a wake-up of the scheduler, or sweep."""
    return _answer(_verify, request, guarded=True)


def report(request: Request) -> Response:
    """Post what the bug costs, or check every system from this function."""
    return _answer(_report, request, guarded=True)


def _verify(request: Request) -> Response:
    from functions.entrypoints.verify import verify as handle  # only callers that are let in pay for it

    return handle(request)


def _report(request: Request) -> Response:
    from functions.bootstrap import current_adapters
    from functions.entrypoints.report_request import respond

    return respond(request, current_adapters())


def _answer(entry: Callable[[Request], Response], request: Request, *, guarded: bool = False) -> Response:
    try:
        refusal = http.refuse_stranger(request) if guarded else None
        response = refusal or entry(request)
    except Exception as error:  # noqa: BLE001 - the last line of defence: tracebacks go to the log, not to the caller
        logs.event("ERROR", "internal error", error=error)
        response = json_response(500, error="Internal error in Unstick; see its log.")
    http.stop_reading(request)
    return response
