"""The entry point for the weekly report and the check from inside. Cloud Scheduler calls it."""

import json
import os
from typing import Any

from flask import Request

from functions import __version__
from functions.application.deliver import post_to_all
from functions.application.history import post_report
from functions.bootstrap import Adapters
from functions.domain.cards.content import Content, render, tidy, to_do
from functions.domain.model.messages import Card, CardKind
from functions.domain.model.runbooks import Rules
from functions.entrypoints import checks
from functions.entrypoints.http import Response, error_response, json_response, not_allowed, read_body
from functions.runtime.errors import BadRequest, Denied, Unavailable
from functions.runtime.text import COMMA, Text, join, named

STORE_S = 5.0
FAILED_ONCE = b"problems were found once"
CHECK_S = 60.0  # time-out of each system: a new instance may need a minute to connect to a private network
CHECKED = Text("Unstick checked every system from where it runs. Nothing was restarted.")
MOST = 8  # lines on the card of a check; the log has all of them


def respond(request: Request, ports: Adapters) -> Response:
    """POST {"what": "report"} (or no body): gather, post, and answer with the figures.
    {"check": true} checks every system with this function's network and identity, answers with all lines, and posts failures.
    {"check": "deployment"} does that once for each deployed revision, and posts its success too."""
    if request.method != "POST":
        return not_allowed("POST")
    try:
        what = _what(read_body(request))
    except BadRequest as error:
        return error_response(error)
    try:
        if what == "report":
            reported = post_report(ports, ports.config.report_channels, ports.config.report_days)
            status = 503 if reported.failed and not reported.told else 200  # if nobody got it, the scheduler tries again
            return json_response(status, **reported.as_json())
        if what == "check":
            return json_response(200, check=_publish(ports, _ask(ports)))
        if what == "deployment":
            return json_response(200, check=_check_deployment(ports))
    except (Unavailable, Denied) as error:
        ports.log("ERROR", f"{what} failed: {error}")
        return json_response(503, error=str(error))
    return json_response(400, error='The body is not {"what": "report"} or {"check": true}.')


def _what(body: bytes) -> str:
    if not body.strip():
        return "report"
    try:
        content: Any = json.loads(body)
    except (ValueError, RecursionError):
        return ""
    if isinstance(content, dict) and "check" in content:
        asked = "deployment" if content["check"] == "deployment" else "check" if content["check"] is True else ""
        return asked if len(content) == 1 else ""
    return "report" if isinstance(content, dict) and content.get("what", "report") == "report" else ""


def _check_deployment(ports: Adapters) -> dict[str, Any] | None:
    """Check each revision once. Problems are posted if the next call finds them too: a grant takes a minute to act."""
    path = f"evidence/check-{os.environ.get('K_REVISION') or __version__}.txt"
    before = ports.store.read_archived(path, timeout_s=STORE_S)
    if before not in (None, FAILED_ONCE):
        return None
    lines = _ask(ports)
    if before is None and _failed(lines):
        ports.store.archive(path, FAILED_ONCE, timeout_s=STORE_S)
        ports.log("INFO", "check of a deployment: problems found; asked again in five minutes", findings=_as_json(lines))
        return None
    # Saved first: a check whose post fails is logged, and not posted again every five minutes.
    ports.store.archive(path, json.dumps(_as_json(lines)).encode(), timeout_s=STORE_S)
    return _publish(ports, lines, deployed=True)


def _ask(ports: Adapters) -> list[checks.Line]:
    return checks.ask_all(checks.questions(ports, {}, CHECK_S, creates=False), CHECK_S, lambda: None)


def _publish(ports: Adapters, lines: list[checks.Line], *, deployed: bool = False) -> dict[str, Any]:
    """Log the lines, and post failures to the report's channels, else to `notify`."""
    findings, failed, card = _as_json(lines), _failed(lines), None
    if failed:
        card = _compose_failure(failed, ports.rules, ports.now())
        ports.log("WARNING", "check from inside: problems found", findings=findings)
    else:
        ports.log("INFO", "check from inside: no problems", findings=findings)
        headline = Text("Unstick {version} was deployed, and its check found no problems", version=__version__)
        card = render(ports.rules, CardKind.CHECK, Content("fine", headline, [CHECKED]), ports.now()) if deployed else None
    posted = post_to_all(ports, ports.config.report_channels, card) if card else {}
    return {"ok": not failed, "findings": findings, "posted": posted}


def _compose_failure(failed: list[checks.Line], rules: Rules, at: float) -> Card:
    """The headline names every system; each remedy is said once."""
    systems = join(dict.fromkeys(tidy(line.system) for line in failed), COMMA)
    remedies = dict.fromkeys(line.finding.remedy for line in failed[:MOST] if line.finding.remedy)
    headline = Text("The check failed at {system}. Restarts may not work", system=systems)
    facts = [(tidy(line.system), named(line.finding.what, line.finding.detail)) for line in failed[:MOST]]
    return render(rules, CardKind.CHECK, Content("act", headline, [CHECKED, *map(to_do, remedies)], facts), at)


def _failed(lines: list[checks.Line]) -> list[checks.Line]:
    return [line for line in lines if line.finding.ok is False]


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
