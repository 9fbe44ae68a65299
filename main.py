"""Entry points for functions-framework: `webhook` for Grafana, `verify` for the scheduler, `report` for the weekly report."""

from __future__ import annotations

import gc
from collections.abc import Callable
from io import BytesIO

from flask import Request

gc.disable()  # what a start makes stays: looking through it for garbage takes 4 ms and finds none

from functions import logs, service  # noqa: E402
from functions.service import Answer  # noqa: E402

service.start()
gc.freeze()  # nor will the collections to come look through it: the server's own modules are loaded after this
gc.enable()


def webhook(request: Request) -> Answer:
    """Take a notification of Grafana or Alertmanager (POST, PUT), or show and take an approval (/approve/TOKEN)."""
    return _answered(service.webhook, request)


def verify(request: Request) -> Answer:
    """Take a wake-up of the scheduler, or sweep."""
    return _answered(service.verify, request)


def report(request: Request) -> Answer:
    """Post what the bug costs, or start the drill."""
    return _answered(service.report, request)


def _answered(entry: Callable[[Request], Answer], request: Request) -> Answer:
    try:
        return entry(request)
    except Exception as error:  # noqa: BLE001 - the last line of defence: a defect must not show its story to the caller
        logs.event("ERROR", "a defect of Unstick", error=error)
        return service.said(500, error="Unstick has a defect; its log has the story.")
    finally:
        request.stream = BytesIO()  # functions-framework reads whatever is left of a request into memory, without a limit
