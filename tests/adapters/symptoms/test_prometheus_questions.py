"""What Prometheus is asked, and each line of `check`."""

import json
import re
import time
from collections.abc import Mapping
from contextlib import nullcontext
from typing import Any
from urllib.parse import parse_qs

import pytest

from functions.adapters.symptoms import prometheus
from functions.adapters.symptoms.prometheus import client
from functions.application.ports import Finding
from functions.domain.decisions.matching import NotRendered
from functions.domain.model import runbooks
from functions.domain.model.observations import QueueSnapshot
from functions.runtime.errors import Unavailable
from functions.runtime.http_client import Answer
from testbed.looks import look_once
from testbed.patience import PATIENCE_S
from tests.adapters.secret import Secret

AT = 301.0
DONE, CONSUMERS = "sum(done)", "count(up)"
KEYS = {"depth": 'sum(depth{queue="${labels.queue}"})', "done": DONE, "consumers": CONSUMERS}
LABELS = {"queue": "mail"}


class Wire:
    """A Prometheus behind `request`, whose clock and ours stand at AT.

    `now`: the figure of each metric and the age of its sample, `before`: ages and values of its range, `said`: the answer instead
    to a question with this part.
    """

    def __init__(self) -> None:
        self.now: dict[str, tuple[Any, float | None]] = {"depth": (5, 2.0), "done": (40, 3.0), "up": (1, 4.0)}
        steady = {10.0 * number + 2: 5.0 for number in range(30)}
        self.before: dict[str, Mapping[float, Any]] = {
            "depth": steady,
            "done": dict.fromkeys(steady, 40),
            "up": dict.fromkeys(steady, 1),
        }
        self.said: dict[str, Any] = {}
        self.asked: list[dict[str, Any]] = []

    def request(self, system: str, method: str, url: str, *, timeout_s: float, **more: Any) -> Answer:
        address, _, query = url.partition("?")
        fields = {name: values[0] for name, values in parse_qs(query).items()}
        self.asked.append({"system": system, "method": method, "url": address, "timeout_s": timeout_s, "fields": fields} | more)
        said = next((answer for part, answer in self.said.items() if part in fields["query"]), None)
        if isinstance(said, Exception):
            raise said
        if isinstance(said, Answer):
            return said
        return answered(self.result(fields) if said is None else said)

    def result(self, fields: Mapping[str, str]) -> list[dict[str, Any]]:
        if fields["query"] == "vector(1)":
            return [{"metric": {}, "value": [AT, "1"]}]
        name = next(name for name in self.now if name in fields["query"])
        if "start" in fields:
            samples = {AT - age: value for age, value in self.before[name].items()}
            parts = [[[at, f"{value}"] for at, value in samples.items()], [[at, f"{at}"] for at in samples]]
            return [{"metric": {"unstick": f"{number}"}, "values": part} for number, part in enumerate(parts)]
        value, age = self.now[name]
        parts = [[AT, f"{value}"] if value is not None else None, [AT, f"{AT - age}"] if age is not None else None]
        return [{"metric": {"unstick": f"{number}"}, "value": part} for number, part in enumerate(parts) if part]


def answered(result: Any, status: int = 200) -> Answer:
    body = result if isinstance(result, bytes) else json.dumps({"data": {"resultType": "vector", "result": result}}).encode()
    return Answer("prometheus", status, {}, body, AT)


@pytest.fixture
def wire(monkeypatch: pytest.MonkeyPatch) -> Wire:
    wire = Wire()
    monkeypatch.setattr(client, "request", wire.request)
    monkeypatch.setattr(time, "time", lambda: AT)
    return wire


def symptom(**keys: Any) -> runbooks.Symptom:
    return prometheus.Symptom(**(KEYS | keys)).to_symptom()


def look(settings: prometheus.Prometheus | None = None, *, for_s: float = 60.0, **keys: Any) -> QueueSnapshot:
    queue = prometheus.name_queue(symptom(**keys), LABELS)
    return look_once(
        prometheus.client.look_all, settings or prometheus.Prometheus("http://mimir/x/"), queue, for_s=for_s, timeout_s=PATIENCE_S
    )


# --- questions ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("for_s", "start", "step"), [(60.0, 300, "2"), (150.0, 300, "2"), (151.0, 302, "2.01333"), (3600.0, 7200, "48")]
)
def test_ranges_reach_twice_as_far_back_as_for(wire: Wire, for_s: float, start: float, step: str) -> None:
    """Five minutes at least, in 150 steps."""
    look(for_s=for_s)
    ranges = [one["fields"] for one in wire.asked if one["url"].endswith("/api/v1/query_range")]
    assert sorted(name for one in ranges for name in ("depth", "done", "up") if name in one["query"]) == ["depth", "done", "up"]
    assert {(one["start"], one["end"], one["step"]) for one in ranges} == {(f"{AT - start:.3f}", f"{AT:.3f}", step)}
    figures = [one["fields"] for one in wire.asked if one["url"].endswith("/api/v1/query")]
    assert [list(one) for one in figures] == [["query"]] * 3


@pytest.mark.parametrize(
    ("settings", "auth", "headers"),
    [
        ({}, None, {}),
        ({"token": Secret("t\xf6".encode())}, None, {"Authorization": "Bearer t\xf6"}),
        ({"user": "u\xf6", "password": Secret(b"p")}, ("u\xf6".encode(), b"p"), {}),
        ({"user": "u", "password": Secret(b"p"), "token": Secret(b"t")}, (b"u", b"p"), {}),
        ({"headers": {"X-Scope-OrgID": "a"}, "token": Secret(b"t")}, None, {"X-Scope-OrgID": "a", "Authorization": "Bearer t"}),
    ],
)
def test_how_it_logs_in(wire: Wire, settings: Any, auth: Any, headers: dict[str, str]) -> None:
    """With the password where there is one, else with the token; the address has its path and one slash."""
    look(prometheus.Prometheus("http://mimir/x/", ca="/ca.pem", **settings))
    assert len(wire.asked) == 6
    for one in wire.asked:
        assert (one["auth"], one["headers"], one["ca"]) == (auth, headers, "/ca.pem")
        assert (one["system"], one["method"]) == ("prometheus", "GET")
        assert one["url"].startswith("http://mimir/x/api/v1/query")
        assert 0 < one["timeout_s"] <= PATIENCE_S


# --- the queue's name -----------------------------------------------------------------------------------------------------


def test_the_keys_of_a_runbook() -> None:
    """As they are if nobody gives others. The key is that of documents in the store, so a release must not change it."""
    assert prometheus.Symptom(depth="a").to_symptom() == runbooks.Symptom(
        "prometheus", {"depth": "a", "max_age": "120", "delay": "5"}, 0, 60.0, {}
    )
    queue = prometheus.name_queue(symptom(max_age_s=90.5, delay_s=0.25, max_messages=7), LABELS)
    assert queue.keys == {
        "depth": 'sum(depth{queue="mail"})', "done": DONE, "consumers": CONSUMERS, "max_age": "90.5", "delay": "0.25",
    }  # fmt: skip
    assert (queue.kind, queue.key) == ("prometheus", "prometheus:ed05700291ab:mail")


@pytest.mark.parametrize(
    ("keys", "labels", "name"),
    [
        ({}, LABELS, "mail"),
        ({"done": "sum(done{a='${labels.a}', q='${labels.queue}'})"}, LABELS | {"a": "b"}, "mail b"),
        ({"depth": "sum(depth)"}, {}, "sum(depth)"),
        ({"depth": f"sum({'d' * 120})"}, {}, f"sum({'d' * 116}"),
        ({"name": "${labels.queue} of ${labels.a}"}, LABELS | {"a": "b"}, "mail of b"),
        ({"name": "n" * 121}, LABELS, "n" * 120),
        ({}, {"queue": "q" * 121}, "q" * 120),
    ],
)
def test_the_name_that_people_read(keys: dict[str, Any], labels: dict[str, str], name: str) -> None:
    """Its own, or the values of the labels, or the query; 120 characters of it."""
    assert prometheus.name_queue(symptom(**keys), labels).name == name


@pytest.mark.parametrize(("size", "fits"), [(2000, True), (2001, False)])
def test_the_queries_have_2000_bytes_together(size: int, fits: bool) -> None:
    """Counted as UTF-8: a document keeps them."""
    others = len('sum(depth{queue="mail"})') + len(CONSUMERS)
    for sign, each in (("x", 1), ("é", 2)):
        count, rest = divmod(size - others - len('a{b=""}'), each)
        done = f'a{{b="{sign * count}{"y" * rest}"}}'
        with nullcontext() if fits else pytest.raises(NotRendered, match="the queries have 2,001 bytes, the limit is 2,000"):
            assert prometheus.name_queue(symptom(done=done), LABELS).name == "mail"


@pytest.mark.parametrize(
    ("allow", "labels", "said"),
    [
        ({}, {"queue": "x" * 255}, ""),
        ({}, {"queue": "x" * 256}, "does not match its `allow` pattern"),
        ({"queue": "x*"}, {"queue": "x" * 256}, ""),
        ({"queue": "[a-z]+"}, {"queue": "a;b"}, 'depth, label "queue": it does not match its `allow` pattern: "a;b"'),
        ({}, {}, 'depth: the alert has no label "queue"'),
        ({}, {"queue": "a\nb"}, "it contains control characters"),
        ({}, {"queue": "x" * 2000}, "2,000 characters"),
    ],
)
def test_a_label_that_may_not_be_used_holds(allow: dict[str, str], labels: dict[str, str], said: str) -> None:
    """I8: it is missing, against `allow` (255 characters unless it says otherwise), or hostile."""
    with pytest.raises(NotRendered, match=re.escape(said)) if said else nullcontext():
        assert prometheus.name_queue(symptom(allow=allow), labels)


@pytest.mark.parametrize(
    ("keys", "mistakes"),
    [
        ({"name": "${labels.n}", "allow": {"n": "a", "queue": "b"}}, []),
        ({"name": "${labels.b}", "allow": {"odd": "a"}}, [("allow", "Labels: b, queue")]),
        ({"depth": "a", "allow": {"odd": "a"}}, [("allow", "Labels: none")]),
        ({"depth": "1", "done": "a offset 5m", "consumers": "a{"}, [(query, "Write PromQL") for query in KEYS]),
    ],
)
def test_mistakes_that_no_type_shows(keys: dict[str, Any], mistakes: list[tuple[str, str]]) -> None:
    """Each with its key and remedy; a label of `allow` may be that of any template."""
    problems = prometheus.Symptom(**(KEYS | keys)).find_mistakes()
    assert [(key, remedy[: len("Write PromQL")] if key != "allow" else remedy) for key, _, remedy in problems] == mistakes


# --- check ----------------------------------------------------------------------------------------------------------------


def check(settings: Any = None, labels: Mapping[str, str] = LABELS, **keys: Any) -> dict[str, Finding]:
    given = settings or prometheus.Prometheus("https://mimir")
    findings = given.check(symptom(**keys), labels, timeout_s=PATIENCE_S)
    assert len({one.what for one in findings}) == len(findings)
    return {one.what: one for one in findings}


def test_a_queue_as_it_should_be(wire: Wire) -> None:
    """Each line says what was found, and has no remedy."""
    assert [(one.what, one.ok, str(one.detail), str(one.remedy)) for one in check().values()] == [
        ("Prometheus answers", True, "", ""),
        ("depth of mail", True, "5, 2 s old", ""),
        ("done of mail", True, "40, 3 s old", ""),
        ("consumers of mail", True, "1, 4 s old", ""),
        ("samples of mail", True, "one every 10 s", ""),
    ]


@pytest.mark.parametrize(
    ("said", "detail"),
    [
        (answered([], 401), "the login failed"),
        (answered(b"<html>"), "that is not JSON"),
        (answered([]), "what answers there is not Prometheus"),
        (Unavailable("prometheus", "answered 503"), "answered 503"),
    ],
)
def test_a_server_that_does_not_answer_as_prometheus(wire: Wire, said: Any, detail: str) -> None:
    """That is all that is reported."""
    wire.said["vector"] = said
    ((what, line),) = check().items()
    assert (what, line.ok, bool(line.remedy)) == ("Prometheus answers", False, True)
    assert detail in str(line.detail)


FIGURES = [
    ("depth", (None, None), False, "gives no series"),
    ("depth", (None, 2.0), False, "gives no series"),
    ("depth", (5, None), True, "5"),
    ("depth", ("NaN", 2.0), False, "is not a number (NaN)"),
    ("depth", (5, 120.0), True, "5, 120 s old"),
    ("depth", (5, 121.0), False, "its newest figures are 121 s old, so they count as unknown"),
    ("depth", (0, 2.0), True, "0, 2 s old"),
    ("depth", (0.25, 2.0), True, "0.25, 2 s old"),
    ("done", (None, None), None, "gives no series"),
    ("done", (None, 2.0), False, "gives no series"),
    ("done", (5, None), True, "5"),
    ("done", ("NaN", None), None, "is not a number (NaN)"),
    ("done", (5, 121.0), False, "its newest figures are 121 s old, so they count as unknown"),
    ("up", (None, None), None, "none was scraped: it is gone, or its scrape fails"),
    ("up", (0, 2.0), None, "none was scraped: it is gone, or its scrape fails"),
    ("up", (0, 121.0), False, "its newest figures are 121 s old, so they count as unknown"),
    ("up", (5, None), True, "5"),
]


@pytest.mark.parametrize(("metric", "figure", "right", "detail"), FIGURES)
def test_what_check_says_of_a_figure(wire: Wire, metric: str, figure: tuple[Any, Any], right: bool | None, detail: str) -> None:
    """Value and age, or what is wrong with it, with a remedy. A counter may come later."""
    wire.now[metric] = figure
    findings = check()
    line = findings[f"{'consumers' if metric == 'up' else metric} of mail"]
    assert (line.ok, line.detail) == (right, detail)
    assert bool(line.remedy) is (right is not True)
    assert line.remedy != line.detail
    assert ("samples of mail" in findings) is (right is not False)


@pytest.mark.parametrize(
    ("ages", "max_age_s", "right", "detail"),
    [
        pytest.param([2, 62, 122, 182], 120.0, True, "one every 60 s", id="twice"),
        pytest.param(
            [2, 63, 124, 185], 120.0, False, "one every 61 s, and after 120 s they count as unknown", id="less than twice"
        ),
        pytest.param([2, 63, 124, 185], 122.0, True, "one every 61 s", id="raised"),
        pytest.param([2, 12, 22], 120.0, None, "the samples begin 20 s ago only", id="young"),
        pytest.param([2], 120.0, None, "there are only 1 samples of the depth yet", id="one"),
        pytest.param([2, 202], 120.0, False, "one every 200 s, and after 120 s they count as unknown", id="two"),
    ],
)
def test_how_often_there_are_samples(wire: Wire, ages: list[float], max_age_s: float, right: bool | None, detail: str) -> None:
    """At least two within `max_age`, or every late one would be unknown. What passes by itself is not wrong."""
    wire.before["depth"] = dict.fromkeys(ages, 5)
    line = check(max_age_s=max_age_s)["samples of mail"]
    assert (line.ok, str(line.detail)) == (right, detail)
    assert (
        right is not False or line.remedy == f"Raise `max_age` to {2 * (ages[1] - ages[0]):.0f}s or more, or scrape more often."
    )


@pytest.mark.parametrize(
    ("labels", "keys", "right", "detail", "remedy"),
    [
        ({}, {}, None, "missing here: the label queue", "To check one, add: --label queue=..."),
        ({"queue": ""}, {"done": "a{b='${labels.b}', c='${labels.queue}'}"}, None,
            "missing here: the labels queue and b", "To check one, add: --label queue=... --label b=..."),
        ({"queue": "x" * 256}, {}, False, "does not match its `allow` pattern",
            "An alert with these labels restarts nothing: fix the label in the alert, or `symptom` in the runbook."),
    ],
)  # fmt: skip
def test_queries_that_can_not_be_filled_in(
    wire: Wire, labels: dict[str, str], keys: dict[str, Any], right: bool | None, detail: str, remedy: str
) -> None:
    """Before the first alert nobody knows the labels; a value that may not be used is wrong."""
    findings = check(labels=labels, **keys)
    assert list(findings) == ["Prometheus answers", "the queue"]
    line = findings["the queue"]
    assert (line.ok, detail in str(line.detail), line.remedy) == (right, True, remedy)


def test_a_rate_is_no_counter(wire: Wire) -> None:
    """Small ones look like no work at all. Of a depth it may be one."""
    findings = check(done="sum(rate(done[5m]))", depth='sum(deriv(depth{queue="${labels.queue}"}[5m]))')
    assert (findings["done of mail"].ok, findings["depth of mail"].ok) == (False, True)
    assert "is a rate, not a counter" in str(findings["done of mail"].detail)


def test_a_depth_without_a_series_is_refused(wire: Wire) -> None:
    """`or vector(0)` would hide an exporter that is down."""
    wire.now["depth"] = (5, None)
    line = check()["samples of mail"]
    assert (line.ok, str(line.detail), "docs/symptoms.md" in str(line.remedy)) == (False, "`depth` gives no series", True)


def test_samples_that_can_not_be_had(wire: Wire, monkeypatch: pytest.MonkeyPatch) -> None:
    """The figures are there, and their past is not."""
    wire.before["depth"] = {}
    result = wire.result
    monkeypatch.setattr(wire, "result", lambda fields: result(fields) if "start" not in fields else {"odd": 1})
    line = check()["samples of mail"]
    assert (line.ok, "unknown form of answer" in str(line.detail), bool(line.remedy)) == (False, True, True)
