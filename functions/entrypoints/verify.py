"""The entry point for the scheduler: one wake-up, or a sweep."""

import json
from typing import Any

from flask import Request
from msgspec import ValidationError

from functions.application import signing
from functions.application.documents import STORE_S
from functions.application.intake import group_by_document, make_incident_id, sweep
from functions.application.ports import Budget
from functions.application.reconcile import advance
from functions.bootstrap import Adapters, current_adapters
from functions.domain.model.alerts import Alert
from functions.domain.model.events import AlertsReceived, TimerFired
from functions.entrypoints.http import Response, error_response, json_response, not_allowed, read_body
from functions.runtime import logs
from functions.runtime.errors import BadRequest, Denied, Unavailable
from functions.runtime.structs import convert

VERIFY_BUDGET_S = 120.0
HANDED_OVER_S = 30.0
"""Seconds for a list of alerts. The rest becomes a new list, behind the wake-ups of incidents that are due by then."""
AGAIN_S = 20.0


def verify(request: Request) -> Response:
    """Handle a wake-up of the scheduler, or sweep if the body names none."""
    if request.method != "POST":
        return not_allowed("POST")
    try:
        payload = _read_wake_up(request)
        if not isinstance(payload, str):
            return json_response(200, swept=sweep_overdue())
        deliver(payload)
    except BadRequest as error:
        logs.event("ERROR", f"a wake-up was refused: {error.sentence}")
        return error_response(error)
    except (Unavailable, Denied) as error:
        # 503 and 429 would make Cloud Tasks slow the whole queue down, not only this wake-up.
        logs.event("ERROR", f"a wake-up failed and will be delivered again: {error}")
        return json_response(500, error=str(error))
    return json_response(200)


def _read_wake_up(request: Request) -> object:
    body = read_body(request)
    try:
        content = json.loads(body)
    except (ValueError, RecursionError):
        return None
    return content.get("wake") if isinstance(content, dict) else None


def deliver(payload: str) -> None:
    """Handle one wake-up. Raises BadRequest if it isn't ours, Unavailable or Denied if it must be redelivered."""
    adapters = current_adapters()
    budget = Budget(adapters, adapters.monotonic() + VERIFY_BUDGET_S)
    content = signing.verify_payload(adapters.config.signing_keys, payload)
    if isinstance(content.get("deferred"), list):
        _decide_deferred(content["deferred"])
    elif isinstance(content.get("target"), str):
        due = content.get("due")
        advance(adapters, content["target"], TimerFired(due if isinstance(due, int | float) else None), budget)
    elif isinstance(content.get("press"), dict):
        from functions.entrypoints.people.slack import handle

        handle(adapters, content["press"], budget)


def _decide_deferred(entries: list[dict[str, Any]]) -> None:
    """Decide alerts that the webhook had no time for, target by target. Undecided ones are handed over again."""
    adapters, left = current_adapters(), []
    ends = adapters.monotonic() + HANDED_OVER_S
    for entry in entries:
        try:
            if adapters.monotonic() < ends:
                _decide_handed_over(adapters, entry)
                continue
        except (Unavailable, Denied, ValidationError, KeyError) as error:
            logs.event("ERROR", f"a wake-up failed and will be delivered again: {error}")
        left.append(entry)
    if left:
        adapters.wake(adapters.now() + AGAIN_S, {"deferred": left}, timeout_s=STORE_S)


def _decide_handed_over(adapters: Adapters, entry: dict[str, Any]) -> None:
    alerts = convert(entry["alerts"], tuple[Alert, ...])
    # They belonged to one target; with a changed configuration they may belong to several.
    groups = group_by_document(adapters.config.match_alerts(alerts))
    for number, (key, cases) in enumerate(groups.items()):
        incident = entry["incident"] if number == 0 else make_incident_id(key, adapters.now(), cases)
        event = AlertsReceived(tuple(cases), incident, bool(entry.get("crowd")))
        advance(adapters, key, event, Budget(adapters, adapters.monotonic() + 30.0))


def sweep_overdue() -> int:
    """Step every overdue document. Returns their number. Raises Unavailable or Denied if the store can't list them."""
    adapters = current_adapters()
    return sweep(adapters, Budget(adapters, adapters.monotonic() + VERIFY_BUDGET_S))
