"""The Prometheus symptom: what each odd answer means, and that no label can change a query. docs/symptoms.md has the table."""

import json
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from functions.adapters.symptoms import prometheus
from functions.adapters.symptoms.prometheus import promql
from functions.adapters.symptoms.prometheus.answers import Asked, snapshot
from functions.application.ports import Query
from functions.domain.decisions.matching import NotRendered
from functions.domain.health.looks import judge_health
from functions.domain.model import runbooks
from functions.domain.model.codes import Health
from functions.domain.model.incidents import QueueState
from functions.domain.model.observations import QueueSnapshot
from functions.runtime.errors import Denied
from functions.runtime.http_client import Answer
from testbed.doubles.prometheus import PrometheusDouble, Series
from testbed.looks import look_once
from testbed.patience import PATIENCE_S
from tests.adapters.secret import Secret

DEPTH, DONE, CONSUMERS = 'sum(jobs_waiting{queue="${labels.queue}"})', "sum(jobs_done_total)", "count(up == 1)"
LABELS = {"queue": "mail"}


def symptom(**keys: Any) -> runbooks.Symptom:
    return prometheus.Symptom(**({"depth": DEPTH, "done": DONE, "consumers": CONSUMERS} | keys)).to_symptom()


def every(spacing_s: float, value: float, *, span_s: float = 320.0, newest_s: float = 2.0) -> dict[float, float]:
    """Samples of a series that doesn't change."""
    return {newest_s + spacing_s * number: value for number in range(int(span_s / spacing_s))}


@pytest.fixture
def server() -> Iterator[PrometheusDouble]:
    """A queue of five jobs that stands still, with one worker, scraped every 5 s."""
    with PrometheusDouble() as double:
        double.series = {"jobs_waiting": Series(every(5, 5)), "jobs_done_total": Series(every(5, 40)), "up": Series(every(5, 1))}
        yield double


def look(server: PrometheusDouble, *, timeout_s: float = PATIENCE_S, **keys: Any) -> QueueSnapshot:
    symptom_keys = symptom(**keys)
    queue = prometheus.name_queue(symptom_keys, LABELS)
    return look_once(
        prometheus.client.look_all, prometheus.Prometheus(server.url), queue, for_s=symptom_keys.for_s, timeout_s=timeout_s
    )


def health(server: PrometheusDouble, **keys: Any) -> tuple[Health, str]:
    symptom_keys = symptom(**keys)
    seen = look(server, **keys)
    watched = QueueState(prometheus.name_queue(symptom_keys, LABELS), "mail", 0.0)
    judged, _ = judge_health(symptom_keys, seen, watched, time.time())
    return judged.health, str(judged.why)


# --- the table of docs/symptoms.md ----------------------------------------------------------------------------------------


def test_a_failed_scrape_is_no_missing_worker(server):
    """The worker's /metrics answers 500 while it works: `up` is 0, its counter is gone, and nobody knows what it does."""
    server.series["up"] = Series()
    server.series["jobs_done_total"] = Series(exists=False)
    assert health(server) == (Health.UNKNOWN, "`done` gives no series, so nobody can tell whether work is done")
    assert look(server).consumers is None
    server.series["up"] = Series(every(5, 0))
    assert health(server, consumers="sum(up)")[0] is Health.UNKNOWN
    assert health(server, consumers="count(up == 1) or vector(0)")[0] is Health.UNKNOWN


WORKERS = "sum(workers)"


def test_no_worker_for_all_of_for_is_a_proof(server):
    """A series that exists says that there is none, and has said so for all of `for`; its counter may have gone with it."""
    server.series["jobs_done_total"] = Series(exists=False)
    server.series["workers"] = Series(every(5, 0))
    assert health(server, consumers=WORKERS)[0] is Health.ILL
    server.series["workers"] = Series({age: 0 if age < 20 else 2 for age in every(5, 0)})
    assert health(server, consumers=WORKERS)[0] is Health.UNSURE, "a deployment looks like that"
    server.series["workers"] = Series({2.0: 0, 7.0: 0})
    assert health(server, consumers=WORKERS)[0] is Health.UNSURE


def test_without_a_counter_a_busy_queue_is_not_stuck(server):
    """One job a second comes and one is taken, so the depth is the same at each scrape."""
    verdict, why = health(server, done=None)
    assert (verdict, why) == (Health.UNKNOWN, "`done` isn't given, so nobody can tell whether work is done")
    blind = look(server, done=None).blind
    assert blind is not None
    assert blind.remedy
    server.series["jobs_waiting"] = Series({age: 5 + age for age in every(5, 0)})
    assert health(server, done=None)[0] is Health.WELL, "what falls is taken"
    server.series["jobs_waiting"] = Series(every(5, 5))
    server.series["workers"] = Series(every(5, 0))
    assert health(server, done=None, consumers=WORKERS)[0] is Health.ILL


def test_a_pair_that_differs_is_told_by_what_it_is(server):
    """One of two servers can't scrape the worker. Whichever answers, nothing is stuck, and the remedy says why."""
    answer, blind = server.answer, "query"

    def taking_turns(path: str, query: dict[str, str], headers: dict[str, str]) -> tuple[int, Any]:
        if path.endswith(f"/{blind}") and "jobs_waiting" not in query["query"]:
            return 200, {"status": "success", "data": {"resultType": "vector", "result": []}}
        return answer(path, query, headers)

    server.answer = taking_turns
    with pytest.raises(Denied, match="two servers that differ") as denied:
        look(server)
    assert "Thanos" in str(denied.value.remedy)
    blind = "query_range"
    assert health(server)[0] is Health.UNSURE


@pytest.mark.parametrize("ahead_s", [-600.0, 600.0])
def test_a_clock_that_is_off_changes_nothing(server, ahead_s):
    """Ages are by Prometheus' own clock alone."""
    server.ahead_s = ahead_s
    began = time.time()
    assert 7.0 <= look(server).behind_s <= 7.001 + time.time() - began


def test_no_error_shows_a_secret(server):
    """Neither a refused login nor a refused query."""
    queue = prometheus.name_queue(symptom(), LABELS)
    settings = prometheus.Prometheus(server.url, token=Secret(b"glsa_secret"))
    for refusal in ((401, b"glsa_secret"), (500, b""), (404, b"glsa_secret")):
        server.refuses = refusal
        (error,) = prometheus.client.look_all(settings, [Query(queue, 60.0)], timeout_s=PATIENCE_S)
        assert "glsa_secret" not in f"{error!r}{error} {getattr(error, 'remedy', '')}"


@pytest.mark.parametrize("quote", ["'", '"'])
@pytest.mark.parametrize("sign", ["=", "=~"])
@given(value=st.text(max_size=60))
@example(value='"} or vector(0) or up{a="')
@example(value="'} or vector(0) or up{a='")
@example(value='\\"')
@example(value="\\n")
@example(value="$1.*({#`")
def test_a_label_never_changes_the_query(sign, quote, value):
    """I8: the query has the same tokens with any value, and its string stands for that very value; else it holds."""
    template = f"sum(m{{q{sign}{quote}${{labels.queue}}{quote}}})"
    try:
        query = prometheus.name_queue(symptom(depth=template, done=None, consumers=None), {"queue": value}).keys["depth"]
    except NotRendered:
        return
    assert [token.kind for token in promql.tokens(query)] == [token.kind for token in promql.tokens(template)]
    (string,) = [token.text[1:-1] for token in promql.tokens(query) if token.kind == "string"]
    # Prometheus refuses a backslash before the quote of the other kind (lexEscape in promql/parser/lex.go).
    assert set(re.findall(r"\\(.)", string)) <= {"\\", quote, "n"}
    text = re.sub(r"\\(.)", lambda escaped: {"n": "\n"}.get(escaped[1], escaped[1]), string)
    assert text == value if sign == "=" else re.fullmatch(text, value)


# --- recordings: RabbitMQ's queues as a real Prometheus showed them -------------------------------------------------------

FOR_S = 60.0
RECORDINGS = sorted((Path(__file__).parents[2] / "recordings" / "prometheus").glob("*.json"))


@pytest.mark.parametrize("path", RECORDINGS, ids=lambda path: path.stem)
def test_the_stuck_queues_are_stuck_and_no_others(path: Path) -> None:
    """Each look with what those before it remember. Where `ill` is null it is stuck before a restart, or looks so."""
    case = json.loads(path.read_text())
    symptom = prometheus.Symptom(depth="a", for_s=FOR_S).to_symptom()
    watched, verdicts = QueueState(prometheus.name_queue(symptom, {"queue": case["case"]}), "mail", 0.0), []
    for look in case["looks"]:
        seen = _seen(look["prometheus"])
        assert 5.0 <= seen.behind_s < 11.0, "scraped every 5 s, and up to 5 s old at the scrape"
        judged, watched = judge_health(symptom, seen, watched, seen.at)
        verdicts.append(judged.health)
    assert (Health.ILL in verdicts) is (case["ill"] is not False), verdicts


def _seen(look: dict[str, Any]) -> Any:
    def answers(bodies: dict[str, Any]) -> dict[str, Answer]:
        return {query: Answer("prometheus", 200, {}, json.dumps(body).encode(), look["at"]) for query, body in bodies.items()}

    asked = Asked(answers(look["now"]), answers(look["before"]), look["sent_at"])
    return snapshot(asked, for_s=FOR_S, max_age_s=120.0, delay_s=5.0, at=look["at"])
