"""RabbitMQ's queues as a real Prometheus showed them: the stuck ones are called stuck, the healthy ones never."""

import json
from pathlib import Path
from typing import Any

import pytest

from functions.adapters.symptoms import prometheus
from functions.adapters.symptoms.prometheus.answers import Asked, snapshot
from functions.domain.health.looks import judge_health
from functions.domain.model.codes import Health
from functions.domain.model.incidents import QueueState
from functions.runtime.http_client import Answer

FOR_S = 60.0
RECORDINGS = sorted((Path(__file__).parents[2] / "recordings" / "prometheus").glob("*.json"))


@pytest.mark.parametrize("path", RECORDINGS, ids=lambda path: path.stem)
def test_the_stuck_queues_are_stuck_and_no_others(path: Path) -> None:
    """Each look with what those before it remember. Where `ill` is null it is stuck before a restart, or looks so."""
    case = json.loads(path.read_text())
    symptom = prometheus.Symptom(depth="a", for_s=FOR_S).to_symptom()
    watched, found = QueueState(prometheus.name_queue(symptom, {"queue": case["case"]}), "mail", 0.0), []
    for look in case["looks"]:
        seen = _seen(look["prometheus"])
        assert 5.0 <= seen.behind_s < 11.0, "scraped every 5 s, and up to 5 s old at the scrape"
        judged, watched = judge_health(symptom, seen, watched, seen.at)
        found.append(judged.health)
    assert (Health.ILL in found) is (case["ill"] is not False), found


def _seen(look: dict[str, Any]) -> Any:
    def answers(bodies: dict[str, Any]) -> dict[str, Answer]:
        return {query: Answer("prometheus", 200, {}, json.dumps(body).encode(), look["at"]) for query, body in bodies.items()}

    asked = Asked(answers(look["now"]), answers(look["before"]), look["sent_at"])
    return snapshot(asked, for_s=FOR_S, max_age_s=120.0, delay_s=5.0, at=look["at"])
