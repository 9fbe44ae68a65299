"""Entry points for functions-framework: `webhook` for Grafana, `verify` for the scheduler, `report` for the weekly report."""

from __future__ import annotations

from collections.abc import Callable

from flask import Request

from functions.entrypoints import http, startup
from functions.entrypoints import webhook as webhook_request
from functions.entrypoints.http import Response, json_response
from functions.runtime import logs

startup.start()


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
