"""What each version of RabbitMQ answers where versions differ or figures are missing, and what that comes to."""

import json
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from functions.adapters.symptoms.rabbitmq import client, to_queue
from functions.adapters.symptoms.rabbitmq.answers import Page
from functions.adapters.symptoms.rabbitmq.client import Look, add_details
from functions.application.ports import Query
from functions.domain.health.looks import Judgement, judge_health
from functions.domain.model.codes import Health
from functions.domain.model.incidents import QueueState
from functions.domain.model.observations import QueueSnapshot, Reading, Unknown
from functions.domain.model.runbooks import Symptom
from functions.runtime.errors import Denied, Unavailable
from functions.runtime.http_client import Answer
from tests.support.recorded import RABBITMQ, read_looks

RECORDINGS = sorted((RABBITMQ / "answers").glob("*/*.json"))


def answer(recorded: dict[str, Any], at: float) -> Answer:
    return Answer("rabbitmq", recorded["status"], {}, json.dumps(recorded["body"]).encode(), at)


def _ask(nodes: Answer, channels: Answer | None, paths: Sequence[str]) -> dict[str, Answer | Exception]:
    """What is asked in the second and third round trip: the nodes, and the channels' pages as recorded."""
    pages = {quote(one["name"], safe=""): one for one in (channels.json() if channels is not None else [])}
    page_of = {path: pages.get(path.removeprefix("/api/channels/").partition("?")[0]) for path in paths}
    answers = {path: answer({"status": 200 if page else 404, "body": page}, nodes.at) for path, page in page_of.items()}
    return {path: nodes if "/nodes" in path else one for path, one in answers.items()}


def judged(path: Path, for_s: float = 60.0) -> list[tuple[str, Judgement]]:
    """(note, verdict) of each check, each queue with what earlier checks recorded."""
    watched: dict[str, QueueState] = {}
    verdicts = []
    for look in json.loads(path.read_text())["looks"]:
        queue, answers, at = to_queue(look["vhost"], look["queue"]), look["answers"], look["at"]
        given = {name: answer(recorded, at) for name, recorded in answers.items()}
        page = client.read_page(given["page"])
        try:
            reading: Reading = client.to_snapshot(queue, given["totals"], page)
        except (Denied, Unavailable) as error:
            reading = Unknown(error.text)
        if isinstance(reading, QueueSnapshot) and "nodes" in given:
            look_at = Look(reading, Query(queue, 60.0), page.own_channels if isinstance(page, Page) else {})
            reading = add_details({"q": look_at}, partial(_ask, given["nodes"], given.get("channels")))["q"]
        known = watched.get(queue.key) or QueueState(queue, "", at)
        judgement, watched[queue.key] = judge_health(Symptom("rabbitmq", for_s=for_s), reading, known, at)
        verdicts.append((look["note"], judgement))
    return verdicts


@pytest.mark.parametrize("path", RECORDINGS, ids=[f"{path.parent.name}-{path.stem}" for path in RECORDINGS])
def test_no_situation_of_a_cluster_is_taken_for_a_stuck_queue(path):
    """I3: nodes that leave and come, lost majorities, changed leaders, missing statistics."""
    for note, judgement in judged(path):
        assert judgement.health not in (Health.ILL, Health.LIKELY), f"{note}: {judgement.why}"


def test_people_are_asked_about_one_that_hangs_by_amqp_1_0_where_the_broker_counts_its_work():
    """3.10 does; the recording reaches back 65 s."""
    looks = dict(judged(RECORDINGS[0].parents[1] / "3.10" / "amqp10.json", for_s=40.0))
    assert looks["it hangs with the first"].health is Health.LIKELY


SAID = [
    ("agent-off", "one message held", Health.UNKNOWN, "the broker's statistics are off"),
    ("stats-off", "one message held", Health.UNKNOWN, "the broker's statistics are off"),
    ("collection-denied", "one message held", Health.UNKNOWN, "the broker's statistics are off"),
    ("minority", "60 s after two of three", Health.UNKNOWN, "has lost its majority of nodes"),
    ("node-down", "12 s after the queue's node was", Health.UNKNOWN, "state: down"),
    ("refusals", "no permission in this vhost", Health.UNKNOWN, "there is no such vhost, or the user may not see it"),
    ("refusals", "no such vhost", Health.UNKNOWN, "there is no such vhost"),
    ("refusals", "no such queue", Health.UNKNOWN, "there is no queue 'nowhere'"),
    ("refusals", "wrong password", Health.UNKNOWN, "the login failed"),
    ("consumers-node-down", "works", Health.WELL, "processed in the last 10 s"),
    ("consumers-node-down", "12 s after a consumer came", Health.WELL, "processed in the last 10 s"),
]


@pytest.mark.parametrize(
    ("path", "beginning", "health", "said"), [(path, *rest) for case, *rest in SAID for path in RECORDINGS if path.stem == case]
)
def test_what_is_missing_is_named(path, beginning, health, said):
    """I4: held, with the reason."""
    looks = judged(path)
    judgement = next(judgement for note, judgement in looks if note.startswith(beginning))
    assert judgement.health is health, judgement.why
    assert said in str(judgement.why)


CHANNELS = [
    ("one-of-three-hung", {1}, 3, False),
    ("prefetch-50", {50}, 2, False),
    ("single-active", {1}, 1, False),
    ("several-queues-held", {2}, 1, True),
    ("batches", {0}, 1, False),
    ("getters", set(), 0, False),
]


@pytest.mark.parametrize(("case", "windows", "active", "shared"), CHANNELS)
@pytest.mark.parametrize("version", ["3.10", "4.0", "4.3"])
def test_what_real_channels_may_hold(version: str, case: str, windows: set[int], active: int, shared: bool) -> None:
    """Where consumers have no limit, only 3.10 tells whether their channel has one. Of two, one is the active one."""
    seen = read_looks(RABBITMQ / "channels" / version / f"{case}.json")[-1][1]
    expected = windows if version == "3.10" or windows != {0} else {None}
    assert ({one.window for one in seen.channels or ()}, seen.active) == (expected, active)
    assert (any(one.shared for one in seen.channels or ()), seen.polled) == (shared, case == "getters")
    consumers = {f"{one.id} / {tag}" for one in seen.channels or () for tag in one.tags}
    assert consumers == {one.partition(" / ")[2] for one in seen.consumer_ids or ()}, "each consumer's channel has its tag"
    assert any(count for _, count in seen.history.pushed) is (case != "getters"), "what is taken by basic.get is not pushed"
