"""Optional: writes each restart and outcome as a Grafana annotation, so that dashboards show them beside the queue's depth.

Annotations are written when an incident is archived, with the original times (POST /api/annotations, in milliseconds). Without
a dashboard they belong to the organisation and are shown by a query for the tag `unstick`. Nothing depends on them."""

from functools import partial
from typing import Any

from functions.config.settings import Annotations as Settings
from functions.domain.cards.content import rendered, tidy
from functions.domain.cards.facts import page_of_incident
from functions.domain.model.codes import Ending
from functions.domain.model.incidents import Archive
from functions.domain.model.runbooks import Rules
from functions.domain.texts.words import clean, worded
from functions.runtime import http_client
from functions.runtime.errors import Denied, Unavailable
from functions.runtime.parallel import run_parallel
from functions.runtime.text import Text, in_brackets, named

SYSTEM = "Grafana"
TAG = "unstick"
ENDINGS = {Ending.RECOVERED: Text("recovered"), Ending.ESCALATED: Text("escalated"), Ending.HELD: Text("held")}
TEXT = 300
REMEDY = "Give the token's service account the right annotations:create (the role Editor has it), or make a new token."


def rows(record: Archive, rules: Rules) -> list[dict[str, Any]]:
    """The annotations of an ended incident: a span for each restart, and a point for its outcome. Times are on our clock. Texts
    are in the configured language; tags and reason codes aren't, since people query by them."""
    incident, outcome = record.incident, record.outcome
    target = tidy(record.target.name if record.target else "", TEXT)
    tags = [TAG, clean(incident.runbook, 60, "…")]
    entries = []
    for execution in incident.executions:
        if execution.runner_started_at is None or execution.refused:
            continue
        begin = execution.runner_started_at - incident.runner_ahead_s
        end = execution.runner_ended_at - incident.runner_ahead_s if execution.runner_ended_at is not None else begin
        how = Text("execution {id}, {status}", id=tidy(execution.id, 40), status=worded(execution.status))
        restart = in_brackets(named(Text("restart") if execution.tag else Text("restart by hand"), target), how)
        entries.append({"time": _ms(begin), "timeEnd": _ms(end), "tags": [*tags, "restart"], "text": rendered(rules, restart)})
    text = rendered(rules, named(in_brackets(ENDINGS[outcome.ending], outcome.reason.value if outcome.reason else ""), target))
    text = "\n".join(filter(None, (text, page_of_incident(incident.id, rules))))
    entries.append({"time": _ms(outcome.at), "timeEnd": _ms(outcome.at), "tags": [*tags, outcome.ending.value], "text": text})
    return entries


def mark(settings: Settings, record: Archive, rules: Rules, *, timeout_s: float) -> list[str]:
    """Post all rows at the same time. Returns failures, for the log; raises nothing on purpose."""
    calls = [partial(_post, settings, row, timeout_s) for row in rows(record, rules)]
    results = run_parallel(calls, timeout_s=timeout_s)
    return sorted({str(result) for result in results if isinstance(result, Unavailable | Denied)})


def _post(settings: Settings, row: dict[str, Any], timeout_s: float) -> None:
    authorization = "Bearer " + settings.token.read().decode("ascii", "replace").strip()
    url, headers = f"{settings.url.rstrip('/')}/api/annotations", {"Authorization": authorization, "Accept": "application/json"}
    answer = http_client.request(SYSTEM, "POST", url, timeout_s=timeout_s, headers=headers, json=row)
    if answer.status in (401, 403):
        settings.token.invalidate()
        raise Denied(SYSTEM, f"answered {answer.status}", remedy=REMEDY, status=answer.status)
    if answer.status != 200:
        raise Unavailable(SYSTEM, f"answered {answer.status}")


def _ms(at: float) -> int:
    return round(at * 1000)
