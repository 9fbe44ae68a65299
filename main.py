"""Entry points for functions-framework: `webhook` for Grafana, `verify` for the scheduler, `report` for the weekly report."""

from flask import Request

from functions import logs, service
from functions.service import Answer

service.start()


def webhook(request: Request) -> Answer:
    return _answered(service.webhook, request)


def verify(request: Request) -> Answer:
    return _answered(service.verify, request)


def report(request: Request) -> Answer:
    return _answered(service.report, request)


def _answered(entry, request: Request) -> Answer:  # type: ignore[no-untyped-def]
    try:
        return entry(request)
    except Exception as error:
        logs.event("ERROR", "a defect of Unstick", error=error)
        return service.said(500, error="Unstick has a defect; its log has the story.")
