"""The entry point for Grafana. Unauthenticated requests are rejected before anything is parsed, looked up or imported."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from functions.adapters.grafana.request import authenticate
from functions.bootstrap import current_config
from functions.entrypoints import http
from functions.entrypoints.http import Response, error_response, json_response, not_allowed
from functions.runtime import logs
from functions.runtime.errors import BadRequest, Denied, Unavailable

if TYPE_CHECKING:
    from flask import Request

    from functions.application.intake import IntakeResult
    from functions.application.ports import MonitoredScheduler
    from functions.domain.model.alerts import Alert

BUDGET_S = 8.0  # the rest is left to wake-ups: Grafana gives up after 30 s


def webhook(request: Request) -> Response:
    """Handle a notification of Grafana or Alertmanager, a person's answer, or a request for a page."""
    if request.path in ("/approve", "/approve/", "/approve/open"):
        from functions.bootstrap import current_adapters
        from functions.entrypoints.people.answers import respond

        return respond(request, current_adapters())
    if request.method not in ("POST", "PUT") and (request.path == "/incidents" or request.path.startswith("/incidents/")):
        from functions.bootstrap import current_adapters
        from functions.entrypoints.people.incidents import respond as respond_to_reader

        return respond_to_reader(request, current_adapters())
    if request.path == "/slack":
        from functions.entrypoints.people.slack import respond as respond_to_slack

        return respond_to_slack(request)
    if request.path in ("/healthz", "/metrics"):
        from functions.application.ports import MonitoredScheduler

        if isinstance(scheduler := current_config().scheduler.adapter, MonitoredScheduler):
            return _respond_to_monitor(request, scheduler)
    if request.method not in ("POST", "PUT"):  # after a 301 or 302 Grafana sends a GET, and counts any 2xx as delivered
        return not_allowed("POST, PUT")
    try:
        settings = current_config()
        headers = dict(request.headers.items())  # each lookup in Flask's own takes 10 microseconds
        authenticate(settings.grafana.auth, headers, None, time.time())
        body = http.read_body(request)
        authenticate(settings.grafana.auth, headers, body, time.time())
        from functions.adapters.grafana.request import parse  # imported only for authenticated requests

        alerts = parse(body)
    except BadRequest as error:
        http.log_refusal(error.status, error.sentence)
        return error_response(error)
    except (Unavailable, Denied) as error:
        logs.event("ERROR", f"authentication is unavailable: {error}")
        return json_response(503, error="Unstick can't read its own secrets; its log says why.")
    return to_response(_handle_alerts(alerts))


def _respond_to_monitor(request: Request, scheduler: MonitoredScheduler) -> Response:
    """Anybody may ask whether Unstick works: 503 with what is wrong if it doesn't. Figures are for this machine's token."""
    if request.method not in ("GET", "HEAD"):
        return not_allowed("GET, HEAD")
    from functions.bootstrap import current_adapters

    wrong = scheduler.find_wrong(current_adapters())
    if request.path == "/healthz":
        return json_response(503 if wrong else 200, healthy=not wrong, wrong=wrong)
    refusal = http.refuse_stranger(request)
    figures = {"Content-Type": "text/plain; version=0.0.4"}
    return refusal or (scheduler.show_figures(current_adapters(), healthy=not wrong), 200, figures)


def _handle_alerts(alerts: tuple[Alert, ...]) -> IntakeResult:
    from functions.application.intake import handle_notification
    from functions.application.ports import Budget
    from functions.bootstrap import current_adapters

    settings, adapters = current_config(), current_adapters()
    budget = Budget(adapters, adapters.monotonic() + BUDGET_S)
    return handle_notification(adapters, settings.match_alerts(alerts), budget)


def to_response(result: IntakeResult) -> Response:
    """The answer to Grafana: the result for each target; 503 only if an alert could be neither decided nor saved."""
    shown: dict[str, object] = {
        "incidents": [
            {
                "id": reply.incident,
                "runbook": reply.runbook or None,
                "target": reply.target or None,
                "action": reply.action.value,
                "reason": reply.reason.value if reply.reason else None,
                "execution": {"id": reply.execution.id, "url": reply.execution.url} if reply.execution else None,
            }
            for reply in result.replies
        ]
    }
    if not result.lost:
        return json_response(200, **shown)
    logs.event("ERROR", f"{result.lost} targets could not be saved: {result.why}")
    error = f"{result.lost} targets could not be saved; they come again with the next notification."
    return json_response(503, error=error, **shown)
