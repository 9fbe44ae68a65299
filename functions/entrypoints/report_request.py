"""The entry point for the weekly report and the check from inside. Cloud Scheduler calls it."""

import json
from typing import Any

from flask import Request

from functions.application.announce import post_to_all
from functions.application.history import post_report
from functions.bootstrap import Adapters
from functions.config.settings import Config
from functions.domain.cards.content import Content, render, tidy, to_do
from functions.domain.model.cards import Card, CardKind
from functions.domain.model.runbooks import Rules
from functions.entrypoints import checks
from functions.entrypoints.http import Response, error_response, json_response, not_allowed, read_body
from functions.runtime.errors import BadRequest, Denied, Unavailable
from functions.runtime.text import COMMA, Text, join, named

CHECK_S = 60.0  # time-out of each system: a new instance may need a minute to connect to a private network
CHECKED = Text("Unstick checked every system from where it runs. Nothing was restarted.")
MOST = 8  # lines on the card of a check; the log has all of them


def report_channels(config: Config) -> tuple[str, ...]:
    """The channels for the report and the check from inside: those of `report`, else the default ones."""
    return config.report.channels if config.report else config.rules.default_channels


def report_days(config: Config) -> int:
    """How many days the report covers."""
    return {"day": 1, "week": 7, "month": 30}[config.report.every if config.report else "week"]


def respond(request: Request, ports: Adapters) -> Response:
    """POST {"what": "report"} (or no body): gather, post, and answer with the figures.
    {"check": true} checks every system with this function's network and identity, answers with all lines, and posts failures."""
    if request.method != "POST":
        return not_allowed("POST")
    try:
        what = _what(read_body(request))
    except BadRequest as error:
        return error_response(error)
    try:
        if what == "report":
            reported = post_report(ports, report_channels(ports.config), report_days(ports.config))
            answer = reported.as_json()
            status = 503 if answer["failed"] and not answer["told"] else 200  # if nobody got it, the scheduler tries again
            return json_response(status, **answer)
        if what == "check":
            return json_response(200, check=_check(ports))
    except (Unavailable, Denied) as error:
        ports.log("ERROR", f"{what} failed: {error}")
        return json_response(503, error=str(error))
    return json_response(400, error='The body is not {"what": "report"} or {"check": true}.')


def _what(body: bytes) -> str:
    try:
        content: Any = json.loads(body) if body.strip() else {}
    except (ValueError, RecursionError):
        return ""
    if content == {"check": True}:
        return "check"
    return "report" if content in ({}, {"what": "report"}) else ""


def _check(ports: Adapters) -> dict[str, Any]:
    lines = checks.ask_all(checks.questions(ports, {}, CHECK_S), CHECK_S, lambda: None)
    findings, failed = _as_json(lines), [line for line in lines if line.finding.ok is False]
    if not failed:
        ports.log("INFO", "check from inside: no problems", findings=findings)
        return {"ok": True, "findings": findings, "posted": {}}
    ports.log("WARNING", "check from inside: problems found", findings=findings)
    card = _compose_failure(failed, ports.rules, ports.now())
    return {"ok": False, "findings": findings, "posted": post_to_all(ports, report_channels(ports.config), card)}


def _compose_failure(failed: list[checks.Line], rules: Rules, at: float) -> Card:
    """The headline names every system; each remedy is said once."""
    systems = join(dict.fromkeys(tidy(line.system) for line in failed), COMMA)
    remedies = dict.fromkeys(line.finding.remedy for line in failed[:MOST] if line.finding.remedy)
    headline = Text("The check failed at {system}. Restarts may not work", system=systems)
    facts = [(tidy(line.system), named(line.finding.what, line.finding.detail)) for line in failed[:MOST]]
    return render(rules, CardKind.CHECK, Content("act", headline, [CHECKED, *map(to_do, remedies)], facts), at)


def _as_json(lines: list[checks.Line]) -> list[dict[str, Any]]:
    return [
        {
            "system": line.system,
            "runbooks": line.runbooks,
            "what": str(line.finding.what),
            "ok": line.finding.ok,
            "detail": str(line.finding.detail),
            "remedy": str(line.finding.remedy),
        }
        for line in lines
    ]
