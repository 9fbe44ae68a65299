"""RabbitMQ seen by Prometheus alone: at each recorded moment the verdict is that of the RabbitMQ symptom, or a later one."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from functions.adapters.symptoms import prometheus, rabbitmq
from functions.adapters.symptoms.prometheus.answers import Asked, snapshot
from functions.adapters.symptoms.rabbitmq.answers import sighting
from functions.domain.decisions.health import judge_health, judge_recovery
from functions.domain.model.codes import Health, Verdict
from functions.domain.model.incidents import QueueState
from functions.domain.model.observations import QueueSnapshot
from functions.runtime.http_client import Answer
from tests.support.recorders.prometheus import FOLDER, queue_of
from tests.support.worlds.scenes import runbook

RECORDINGS = sorted(FOLDER.glob("*.json"))
FOR_S = 60.0
LATER = {"bursts", "deploying", "just-published", "slow-consumer", "very-slow-drain"}
"""Where one of the two is not sure yet at some look: RabbitMQ's depth is live, Prometheus' figures are 5 to 10 s old."""


def read(path: Path) -> list[tuple[str, QueueSnapshot, QueueSnapshot]]:
    """(note, by RabbitMQ, by Prometheus) of each look."""
    case = json.loads(path.read_text())
    queue = rabbitmq.to_queue(case["vhost"], case["case"])
    return [
        (look["note"], sighting(queue, look["totals"], look["page"], at=look["at"]), _by_prometheus(look["prometheus"]))
        for look in case["looks"]
    ]


def _by_prometheus(look: dict[str, Any]) -> QueueSnapshot:
    def answers(bodies: dict[str, Any]) -> dict[str, Answer]:
        return {query: Answer("prometheus", 200, {}, json.dumps(body).encode(), look["at"]) for query, body in bodies.items()}

    asked = Asked(answers(look["now"]), answers(look["before"]), look["sent_at"])
    return snapshot(asked, for_s=FOR_S, max_age_s=120.0, delay_s=5.0, at=look["at"])


def health(seen: QueueSnapshot) -> Health:
    symptom = prometheus.Symptom(depth="a", for_s=FOR_S).to_symptom()
    return judge_health(symptom, seen, QueueState(queue_of("any"), "", 0.0), seen.at)[0]


def test_all_situations_were_recorded():
    """Those of the RabbitMQ symptom's own recordings."""
    own = {path.stem for path in (FOLDER.parent / "rabbitmq").glob("*.json")}
    assert {path.stem for path in RECORDINGS} == own


@pytest.mark.parametrize("path", RECORDINGS, ids=lambda path: path.stem)
def test_the_same_queues_are_stuck(path: Path):
    """I3: at every look both call it stuck, or neither. What differs is who is not sure yet."""
    for note, by_rabbitmq, by_prometheus in read(path):
        found = health(by_rabbitmq), health(by_prometheus)
        assert (found[0] is Health.ILL) == (found[1] is Health.ILL), f"{note}: {found}"
        assert found[0] is found[1] or path.stem in LATER, f"{note}: {found}"


@pytest.mark.parametrize("path", RECORDINGS, ids=lambda path: path.stem)
def test_the_figures_are_known_to_be_late(path: Path):
    """Scraped every 5 s, and up to 5 s old at the scrape: the age that is counted with is never less."""
    for note, by_rabbitmq, by_prometheus in read(path):
        assert 5.0 <= by_prometheus.behind_s < 11.0, note
        assert (by_rabbitmq.consumers is None) == (by_prometheus.consumers is None)


@pytest.mark.parametrize("name", ["restarted", "restarted-in-vain"])
def test_recovered_is_never_said_sooner(name: str):
    """I5: after the restart Prometheus is later, and its verdict is no other."""
    looks = read(FOLDER / f"{name}.json")
    ended_at = looks[1][1].at - 1.0
    verdicts = []
    for column in (1, 2):
        watched = QueueState(queue_of(name), "mail", ended_at - 100.0, before=looks[0][column])
        row = []
        for look in looks[1:]:
            seen = look[column]
            watched = judge_recovery(runbook(), seen, watched, age_s=seen.at - ended_at, now=seen.at)
            row.append(watched.after.verdict)
        verdicts.append(row)
    for by_rabbitmq, by_prometheus in zip(*verdicts, strict=True):
        assert by_prometheus is not Verdict.RECOVERED or by_rabbitmq is Verdict.RECOVERED
    last = verdicts[0][-1]
    assert last in ((Verdict.RECOVERED, Verdict.DRAINING) if name == "restarted" else (None, Verdict.STUCK))
    assert (verdicts[1][-1] in (None, Verdict.STUCK)) == (last in (None, Verdict.STUCK))
