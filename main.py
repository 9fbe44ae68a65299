"""Entry points for functions-framework: `webhook` for Grafana, `verify` for the scheduler, `report` for the weekly report."""

from __future__ import annotations

import gc
from collections.abc import Callable
from io import BytesIO

from flask import Request

gc.disable()  # what a start makes stays: looking through it for garbage takes 4 ms and finds none

from functions.entrypoints import access, report_request, startup  # noqa: E402
from functions.entrypoints import verify as verify_request  # noqa: E402
from functions.entrypoints import webhook as webhook_request  # noqa: E402
from functions.entrypoints.responses import Response, json_response  # noqa: E402
from functions.runtime import logs  # noqa: E402

startup.start()
gc.freeze()  # nor will the collections to come look through it: the server's own modules are loaded after this
gc.enable()


def webhook(request: Request) -> Response:
    """Take a notification of Grafana or Alertmanager (POST, PUT), or show and take an approval (/approve/)."""
    return _answer(webhook_request.webhook, request)


def verify(request: Request) -> Response:
    """Take a wake-up of the scheduler, or sweep."""
    return _answer(verify_request.verify, request, guarded=True)


def report(request: Request) -> Response:
    """Post what the bug costs, start the drill, or check every system from here."""
    return _answer(report_request.report, request, guarded=True)


def _answer(entry: Callable[[Request], Response], request: Request, *, guarded: bool = False) -> Response:
    try:
        refusal = access.refuse_stranger(request) if guarded else None
        return refusal or entry(request)
    except Exception as error:  # noqa: BLE001 - the last line of defence: a defect is for the log, not for the caller
        logs.event("ERROR", "internal error", error=error)
        return json_response(500, error="Internal error in Unstick; see its log.")
    finally:
        request.stream = BytesIO()  # functions-framework reads whatever is left of a request into memory, without a limit
