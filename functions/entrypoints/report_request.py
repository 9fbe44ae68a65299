"""The entry point for the weekly report, the drill and the check from inside. Cloud Scheduler calls it."""

import json
from typing import Any

from flask import Request

from functions.application.deliver import post_to_all
from functions.application.report import Reported, as_json, post_report
from functions.bootstrap import Adapters
from functions.domain.cards import drill_card
from functions.entrypoints import checks, drill
from functions.entrypoints.responses import Response, json_response, not_allowed
from functions.runtime.errors import Denied, Unavailable

MAX_BODY = 4096
CHECK_S = 60.0  # time-out of each system: a new instance may need a minute to connect to a private network


def respond(request: Request, ports: Adapters) -> Response:
    """POST {"what": "report"} (or no body): gather, post, and answer with the figures. {"what": "drill"} starts a drill.
    {"check": true} checks every system with this function's network and identity, answers with all lines, and posts failures."""
    if request.method != "POST":
        return not_allowed("POST")
    what = _what(request.stream.read(MAX_BODY + 1))
    try:
        if what == "report":
            return _to_response(post_report(ports, ports.config.report_channels, ports.config.report_days, ports.now()))
        if what == "drill":
            return json_response(200, drill=drill.as_json(drill.run(ports)))
        if what == "check":
            return json_response(200, check=_check(ports))
    except (Unavailable, Denied) as error:
        ports.log("ERROR", f"{what} failed: {error}")
        return json_response(503, error=str(error))
    return json_response(400, error='The body is not {"what": "report"}, {"what": "drill"} or {"check": true}.')


def _what(body: bytes) -> str:
    if not body.strip():
        return "report"
    try:
        content: Any = json.loads(body) if len(body) <= MAX_BODY else None
    except (ValueError, RecursionError):
        return ""
    if isinstance(content, dict) and "check" in content:
        return "check" if content["check"] is True and len(content) == 1 else ""
    what = content.get("what", "report") if isinstance(content, dict) else ""
    return what if what in ("report", "drill") else ""


def _to_response(reported: Reported) -> Response:
    """503 if no channel got the report, so that the scheduler tries again."""
    status = 503 if reported.failed and not reported.told else 200
    return json_response(status, report=as_json(reported.cost), told=reported.told, failed=reported.failed)


def _check(ports: Adapters) -> dict[str, Any]:
    """Run all checks, and log each line for `infra/deploy.sh check`. Failures go to the report's channels, else to `notify`."""
    secrets = [secret for _, secret in ports.config.secrets]
    lines = checks.ask_all(checks.questions(ports, {}, CHECK_S), CHECK_S, lambda: None, secrets)
    findings = [
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
    failed = [(line.system, line.finding) for line in lines if line.finding.ok is False]
    posted: dict[str, str] = {}
    if failed:
        rows = [(system, finding.what, finding.detail, finding.remedy) for system, finding in failed]
        card = drill_card.check(rows, ports.rules, ports.now())
        posted = post_to_all(ports, ports.config.report_channels, card, "the check was not posted to ")
        ports.log("WARNING", "check from inside: problems found", findings=findings)
    else:
        ports.log("INFO", "check from inside: no problems", findings=findings)
    return {"ok": not failed, "findings": findings, "posted": posted}
