"""Optional: writes each restart and outcome as a Grafana annotation, so that dashboards show them beside the queue's depth.

Annotations are written when an incident is archived, with the original times (POST /api/annotations, in milliseconds). Without
a dashboard they belong to the organisation and are shown by a query for the tag `unstick`. Nothing depends on them."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any
from urllib.parse import quote

from functions.application.ports import Finding, finding_of_error
from functions.config.settings import Annotations as Settings
from functions.domain.cards.rendering import rendered, tidy
from functions.domain.model.codes import Ending
from functions.domain.model.incidents import Archive
from functions.domain.model.runbooks import Rules
from functions.domain.texts.sanitize import clean
from functions.domain.texts.words import worded
from functions.runtime import http_client
from functions.runtime.errors import Denied, Unavailable
from functions.runtime.parallel import run_parallel
from functions.runtime.text import Text, in_brackets, named

SYSTEM = "Grafana"
TAG = "unstick"
ENDINGS = {Ending.RECOVERED: Text("recovered"), Ending.ESCALATED: Text("escalated"), Ending.HELD: Text("held")}
TEXT = 300
ORGANISATION = {"*", "annotations:*", "annotations:type:*", "annotations:type:organization"}
"""Scopes that cover an annotation without a dashboard."""
REMEDY = "Give the token's service account the right annotations:create (the role Editor has it), or make a new token."


def rows(record: Archive, rules: Rules) -> list[dict[str, Any]]:
    """The annotations of an ended incident: a span for each restart, and a point for its outcome. Times are on our clock. Texts
    are in the configured language; tags and reason codes aren't, since people query by them."""
    incident, outcome = record.incident, record.outcome
    target = tidy(record.target.name if record.target else "", TEXT)
    tags = [TAG, clean(incident.runbook, 60, "…")]
    entries = []
    for execution in record.executions:
        if execution.runner_started_at is None or execution.refused:
            continue
        begin = execution.runner_started_at - incident.runner_ahead_s
        end = execution.runner_ended_at - incident.runner_ahead_s if execution.runner_ended_at is not None else begin
        how = Text("execution {id}, {status}", id=tidy(execution.id, 40), status=worded(execution.status))
        restart = in_brackets(named(Text("restart") if execution.tag else Text("restart by hand"), target), how)
        entries.append({"time": _ms(begin), "timeEnd": _ms(end), "tags": [*tags, "restart"], "text": rendered(rules, restart)})
    text = rendered(rules, named(in_brackets(ENDINGS[outcome.ending], outcome.reason.value if outcome.reason else ""), target))
    entries.append({"time": _ms(outcome.at), "timeEnd": _ms(outcome.at), "tags": [*tags, outcome.ending.value], "text": text})
    return entries


def mark(settings: Settings, record: Archive, rules: Rules, *, timeout_s: float) -> list[str]:
    """Post all rows at the same time. Returns failures, for the log; raises nothing on purpose."""
    calls: list[Callable[[], Any]] = [partial(_post, settings, row, timeout_s) for row in rows(record, rules)]
    results = run_parallel(calls, timeout_s=timeout_s)
    return sorted({str(result) for result in results if isinstance(result, Unavailable | Denied)})


def check(settings: Settings, *, timeout_s: float) -> list[Finding]:
    """Check that Grafana accepts the token, and whether the token may create annotations of the organisation."""
    try:
        _require_ok(settings, _ask(settings, "GET", f"/api/annotations?limit=1&tags={quote(TAG)}", timeout_s))
        may_create = _may_create(_ask(settings, "GET", "/api/access-control/user/permissions", timeout_s))
    except (Denied, Unavailable) as error:
        return [finding_of_error("grafana annotations", error, "See whether Grafana is up at this URL.")]
    if may_create is None:
        detail = "the token is accepted; Grafana does not say whether it may create annotations"
    else:
        detail = f"the token {'may' if may_create else 'may not'} create annotations of the organisation"
    return [Finding("grafana annotations", ok=may_create, detail=detail, remedy="" if may_create else REMEDY)]


def _ask(settings: Settings, method: str, path: str, timeout_s: float, json: Any = None) -> http_client.Answer:
    authorization = "Bearer " + settings.token.read().decode("ascii", "replace").strip()
    url, headers = settings.url.rstrip("/") + path, {"Authorization": authorization, "Accept": "application/json"}
    return http_client.request(SYSTEM, method, url, timeout_s=timeout_s, headers=headers, json=json, ca=settings.ca)


def _may_create(answer: http_client.Answer) -> bool | None:
    """From the permissions that Grafana lists for the token, each with its scopes; None if it lists none."""
    content = answer.json() if answer.status == 200 else None
    if not isinstance(content, dict):
        return None
    scopes = content.get("annotations:create")
    return isinstance(scopes, list) and not ORGANISATION.isdisjoint(str(scope) for scope in scopes)


def _post(settings: Settings, row: dict[str, Any], timeout_s: float) -> None:
    _require_ok(settings, _ask(settings, "POST", "/api/annotations", timeout_s, row))


def _require_ok(settings: Settings, answer: http_client.Answer) -> None:
    if answer.status == 200:
        return
    if answer.status in (401, 403):
        settings.token.distrust()
        raise Denied(SYSTEM, f"answered {answer.status}", remedy=REMEDY, status=answer.status)
    raise Unavailable(SYSTEM, f"answered {answer.status}")


def _ms(at: float) -> int:
    return round(at * 1000)
