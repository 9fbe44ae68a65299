"""Annotations in Grafana, posted to a stand-in that takes what its API documents."""

import json

import pytest
from msgspec.structs import replace
from pytest_httpserver import HTTPServer
from werkzeug import Request, Response

from functions.adapters.grafana import annotations
from functions.adapters.grafana.annotations import Settings
from functions.domain.model.codes import Ending, Reason
from functions.domain.model.incidents import Archive, Outcome, PastAttempt
from functions.runtime.secrets import SecretRef
from testbed.patience import PATIENCE_S
from tests.support.worlds.example_stories import ENDED, INCIDENT, NOW, RUNNER_AHEAD_S, TARGET, rules

LATE = replace(ENDED, id="9", tag="7f3a.0", runner_not_after=(ENDED.runner_started_at or 0) - 5, status="failed")
RECORD = Archive(
    TARGET,
    replace(INCIDENT, execution=ENDED, tries=(PastAttempt("7f3a.0", LATE, "refused_late"),)),
    Outcome(INCIDENT.id, Ending.ESCALATED, Reason.FAILING, NOW, INCIDENT.triggers),
)


@pytest.fixture
def settings(httpserver: HTTPServer, monkeypatch: pytest.MonkeyPatch) -> Settings:
    monkeypatch.setenv("T_GRAFANA_TOKEN", "glsa_not-a-real-one")
    return Settings(httpserver.url_for("/"), SecretRef("env://T_GRAFANA_TOKEN"))


def test_each_restart_is_a_span_and_the_outcome_a_point(httpserver: HTTPServer, settings: Settings) -> None:
    """On our clock, in milliseconds, with tags to ask by, and the incident's page; a start that the job refused is none."""
    taken: list[dict[str, object]] = []

    def take(request: Request) -> Response:
        assert request.headers["Authorization"] == "Bearer glsa_not-a-real-one"
        taken.append(json.loads(request.data))
        return Response(json.dumps({"message": "Annotation added", "id": len(taken)}), content_type="application/json")

    httpserver.expect_request("/api/annotations", method="POST").respond_with_handler(take)
    assert annotations.mark(settings, RECORD, rules(), timeout_s=PATIENCE_S) == []
    begin, end = ENDED.runner_started_at, ENDED.runner_ended_at
    assert begin is not None
    assert end is not None
    assert sorted(taken, key=lambda row: str(row["text"])) == [
        {
            "time": round(NOW * 1000), "timeEnd": round(NOW * 1000), "tags": ["unstick", "mail-delivery", "escalated"],
            "text": "escalated (failing): service=mail-delivery\nhttps://unstick.example.com/incidents/7f3a9c21",
        },
        {
            "time": round((begin - RUNNER_AHEAD_S) * 1000), "timeEnd": round((end - RUNNER_AHEAD_S) * 1000),
            "tags": ["unstick", "mail-delivery", "restart"], "text": "restart: service=mail-delivery (execution 1847, succeeded)",
        },
    ]  # fmt: skip


@pytest.mark.parametrize(("status", "again"), [(200, False), (401, True), (403, True), (404, False), (500, False)])
def test_a_failure_is_only_reported_and_a_refused_token_read_again(
    httpserver: HTTPServer, settings: Settings, monkeypatch: pytest.MonkeyPatch, status: int, again: bool
) -> None:
    """Whatever Grafana answers, nothing is raised, and the token is in no text. A refused one may have been replaced."""
    invalidated: list[str] = []
    monkeypatch.setattr(SecretRef, "invalidate", lambda secret: invalidated.append(secret.reference))
    httpserver.expect_request("/api/annotations").respond_with_data("glsa_not-a-real-one", status=status)
    said = annotations.mark(settings, replace(RECORD, incident=replace(INCIDENT, execution=None)), rules(), timeout_s=PATIENCE_S)
    assert said == ([] if status == 200 else [f"Grafana: answered {status}"])
    assert invalidated == (["env://T_GRAFANA_TOKEN"] if again else [])
