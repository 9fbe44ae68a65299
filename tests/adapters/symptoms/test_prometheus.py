"""The Prometheus symptom: what it asks, what each odd answer means, and that no label can change an expression.

tests/system/prometheus plays what queues do before a real one."""

import re
from collections.abc import Iterator, Mapping
from contextlib import nullcontext
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from functions.adapters.symptoms import prometheus
from functions.application.ports import Finding, Query, QueueOutcome
from functions.domain.decisions.matching import NotRendered
from functions.domain.model import runbooks
from functions.domain.model.observations import Statement
from functions.runtime.errors import Denied, Unavailable
from testbed.doubles.prometheus import PrometheusDouble, Series
from testbed.patience import PATIENCE_S
from tests.adapters.secret import Secret

STUCK, RECOVERED, DEPTH = (f'{name}{{queue="${{labels.queue}}"}}' for name in ("hangs", "works", "jobs"))
LABELS, BAD_DATA = {"queue": "mail"}, {"error": "bad_data"}
STEP_S = 5.0
"""Of a `for` and a `range` of a minute: a reading is about the last multiple of it."""


def written(**keys: Any) -> prometheus.Symptom:
    return prometheus.Symptom(**({"stuck": STUCK, "recovered": RECOVERED, "depth": DEPTH} | keys))


def symptom(**keys: Any) -> runbooks.Symptom:
    return written(**keys).to_symptom()


@pytest.fixture
def server() -> Iterator[PrometheusDouble]:
    """A queue of five jobs that has hung for long."""
    with PrometheusDouble() as double:
        double.series = {"hangs": [Series()], "jobs": [Series(value="5")]}
        yield double


def look(
    server: PrometheusDouble, settings: Mapping[str, Any] | None = None, *, reach_s: float = 0.0, **keys: Any
) -> QueueOutcome:
    read = symptom(**keys)
    adapter = prometheus.Prometheus(server.url, **(settings or {}))
    query = Query(prometheus.name_queue(read, LABELS), read.for_s, reach_s=reach_s)
    (seen,) = adapter.look_all([query], timeout_s=PATIENCE_S)
    return seen


def says(server: PrometheusDouble, **keys: Any) -> tuple[float | None, bool]:
    seen = look(server, **keys)
    assert isinstance(seen, Statement), seen
    return seen.stuck_s, seen.recovered


@given(now=st.floats(1.7e9, 1.9e9), for_s=st.floats(1, 3600), range_s=st.floats(1, 3600), reach_s=st.floats(0, 1800))
def test_no_two_moments_are_further_apart_than_half_a_range(now: float, for_s: float, range_s: float, reach_s: float) -> None:
    """All of `for`, and as much as is asked for, lies between the first and the last, and both conditions are about the last."""
    queue = prometheus.name_queue(symptom(range_s=range_s), LABELS)
    stuck, recovered, _ = prometheus.plan_questions(Query(queue, for_s, reach_s=reach_s), now).values()
    assert stuck.step_ms <= 500 * range_s
    assert stuck.count * stuck.step_ms >= 1000 * max(for_s, reach_s)
    assert 4 <= stuck.count < 10_000
    assert (recovered.end_ms, recovered.count) == (stuck.end_ms, 0)
    assert now - STEP_S - 0.001 < stuck.end_ms / 1000 <= now


@pytest.mark.parametrize(
    ("settings", "authorization"),
    [
        ({}, ""),
        ({"user": "u", "password": Secret(b"p"), "token": Secret(b"t")}, "Basic dTpw"),
        ({"token": Secret(b"old", b"t")}, "Bearer t"),
    ],
)
def test_how_it_logs_in(server: PrometheusDouble, settings: dict[str, Any], authorization: str) -> None:
    """With the password where there is one, else with the token, and with a new one where the old one is refused."""
    server.authorization = authorization
    assert isinstance(look(server, settings), Statement)
    assert server.asked[-1]["authorization"] == authorization


ANSWERS = [
    pytest.param([Series()], [], (60.0, 60.0), False, id="stuck all the time"),
    pytest.param([Series(since_s=33)], [], (25.0, 30.0), False, id="not all of it yet"),
    pytest.param([Series(until_s=10)], [], (None, None), False, id="no longer"),
    pytest.param([Series(since_s=33), Series(until_s=39)], [], (25.0, 30.0), False, id="a gap"),
    pytest.param([], [Series(value="0")], (None, None), True, id="an answer of 0 is one"),
    pytest.param([Series()], [Series()], (60.0, 60.0), True, id="both"),
    pytest.param([], [], (None, None), False, id="neither"),
    pytest.param([Series(value="NaN")], [Series(value="NaN")], (None, None), False, id="not a number"),
    pytest.param([Series(value="what")], [Series(value="+Inf")], (None, None), False, id="no number at all"),
    pytest.param([], [Series(until_s=10)], (None, None), False, id="recovered no longer"),
]


@pytest.mark.parametrize(("stuck", "recovered", "stuck_s", "recovers"), ANSWERS)
def test_an_answer_is_a_series_that_is_there(
    server: PrometheusDouble, stuck: list[Series], recovered: list[Series], stuck_s: tuple[Any, Any], recovers: bool
) -> None:
    """`stuck` counts back from the last moment, up to the first gap, and no further than `for`."""
    server.series |= {"hangs": stuck, "works": recovered}
    seen = says(server)
    assert seen[1] is recovers
    least, most = stuck_s
    assert seen[0] in (least, most) or least <= seen[0] <= most


def test_it_sees_when_it_began_to_be_stuck_and_when_it_ended(server: PrometheusDouble) -> None:
    """As far back as is asked for: a look in nine minutes sees all in between."""
    server.series |= {"hangs": [Series(since_s=500)]}
    seen = look(server, reach_s=600)
    assert isinstance(seen, Statement)
    assert seen.stuck_s in (495.0, 500.0)
    server.series |= {"hangs": [Series(since_s=500, until_s=300)], "works": [Series()]}
    seen = look(server, reach_s=600)
    assert isinstance(seen, Statement)
    assert (seen.stuck_s, seen.free_s) in [(None, 300.0), (None, 305.0)]


BOTH = [Series(labels={"pod": "a"}), Series(labels={"pod": "b"})]
IN_TURN = [Series(labels={"pod": "a"}, since_s=30), Series(labels={"pod": "b"}, until_s=30)]


@pytest.mark.parametrize(("name", "series"), [("hangs", BOTH), ("works", BOTH), ("hangs", IN_TURN)])
def test_several_series_are_no_answer(server: PrometheusDouble, name: str, series: list[Series]) -> None:
    """They are refused with the remedy. It must be one and the same at every step: those that take turns prove nothing."""
    server.series[name] = series
    seen = look(server)
    assert isinstance(seen, Denied)
    assert "gives 2 series" in str(seen.detail)
    assert "sum(...)" in str(seen.remedy)


@pytest.mark.parametrize("depth", [[], [Series(value="NaN")], [Series(value="-1")], [Series(labels={"a": "1"}), Series()]])
def test_without_a_depth_there_is_no_curve(server: PrometheusDouble, depth: list[Series]) -> None:
    """The conditions count all the same; also where the depth is refused, or not asked for."""
    server.series["jobs"] = depth
    seen = look(server)
    assert isinstance(seen, Statement)
    assert (seen.stuck_s, seen.figures) == (60.0, None)
    server.refuses = {"jobs": (422, {"error": "no"})}
    assert says(server) == (60.0, False) == says(server, depth=None)


@pytest.mark.parametrize(("ahead_s", "taken"), [(-6.0, False), (-4.0, True), (4.0, True), (7.0, False)])
def test_clocks_that_are_apart_are_no_answer(server: PrometheusDouble, ahead_s: float, taken: bool) -> None:
    """Its steps would be about another time than the alert and the restart."""
    server.ahead_s = ahead_s
    seen = look(server)
    assert isinstance(seen, Statement if taken else Denied)
    assert taken or "its clock and ours are" in str(seen)


@pytest.mark.parametrize(
    ("status", "body", "error", "said"),
    [
        (302, BAD_DATA, Denied, "answered 302"), (422, BAD_DATA, Denied, "does not take `stuck`: bad_data"),
        (401, BAD_DATA, Denied, "the login failed"), (404, BAD_DATA, Denied, "answered 404"),
        (429, BAD_DATA, Unavailable, "answered 429"), (500, BAD_DATA, Unavailable, "answered 500"),
        *((200, body, Unavailable, "") for body in
            (b"<html>", [], {"data": {"result": 7}}, {"data": {"result": [{"values": [["a", 1]]}]}})),
    ],
)  # fmt: skip
def test_what_an_answer_means(server: PrometheusDouble, status: int, body: Any, error: type[Exception], said: str) -> None:
    """A clear no comes with a remedy; the rest passes, and so does a page of a proxy, or another system's answer."""
    server.refuses = {"hangs": (status, body)}
    seen = look(server)
    assert isinstance(seen, error)
    assert said in str(seen)
    assert error is Unavailable or getattr(seen, "remedy", "")


@pytest.mark.parametrize(("warning", "taken"), [("PromQL info: metric might not be a counter", True), ("store is down", False)])
def test_a_warning_means_that_something_is_missing(server: PrometheusDouble, warning: str, taken: bool) -> None:
    """Unless it is only about style."""
    server.warnings = [warning]
    seen = look(server)
    assert isinstance(seen, Statement if taken else Unavailable)
    assert taken or warning in str(seen)


def test_the_keys_of_a_runbook() -> None:
    """As they are if nobody gives others. The key is that of documents in the store, so a release must not change it."""
    assert prometheus.Symptom("a", "b").to_symptom() == runbooks.Symptom(
        "prometheus", {"stuck": "a", "recovered": "b", "range": "60"}, 0, 60.0, {}
    )
    queue = prometheus.name_queue(symptom(range_s=90.5), LABELS)
    assert queue.keys["stuck"] == 'hangs{queue="mail"}'
    assert (queue.kind, queue.key, queue.name) == ("prometheus", "prometheus:7ab10bc77b7c:mail", "mail")


@pytest.mark.parametrize(
    ("allow", "labels", "said"),
    [
        ({}, {"queue": "x" * 255}, ""),
        ({}, {"queue": "x" * 256}, "does not match its `allow` pattern"),
        ({"queue": "x*"}, {"queue": "x" * 256}, ""),
        ({"queue": "x*"}, {"queue": "x" * 700}, "the expressions have 2,144 bytes, the limit is 2,000"),
        ({"queue": "[a-z]+"}, {"queue": "a;b"}, 'stuck, label "queue": it does not match its `allow` pattern: "a;b"'),
        ({}, {}, 'stuck: the alert has no label "queue"'),
    ],
)
def test_a_label_that_may_not_be_used_holds(allow: dict[str, str], labels: dict[str, str], said: str) -> None:
    """I8: it is missing, against `allow` (255 characters unless it says otherwise), or too long for a document."""
    with pytest.raises(NotRendered, match=re.escape(said)) if said else nullcontext():
        assert prometheus.name_queue(symptom(allow=allow), labels)


MISTAKES = [
    ({"allow": {"odd": "a"}}, [("allow", "limits the label odd")]),
    ({"stuck": "m{a=${labels.queue}}"}, [("stuck", "has a label outside of quotes")]),
    ({"stuck": "m{a=`${labels.queue}`}"}, [("stuck", "has a label in backticks")]),
    ({"recovered": 'm{a=\'b, c="${labels.queue}"}'}, [("recovered", "has a quote without its end")]),
    ({"stuck": "increase(m[61s])"}, [("stuck", "looks back 61s, which is longer than `range` (60s)")]),
    ({"stuck": "increase(m[1m]) + increase(n[1m])"}, []),
    ({"stuck": "increase(m[1m] offset 500ms)"}, [("stuck", "looks back 60.5s, ")]),
    ({"recovered": "m OFFSET -2m"}, [("recovered", "looks back 120s, ")]),
    ({"recovered": "max_over_time(rate(m[1m])[30s:10s])"}, [("recovered", "looks back 90s, ")]),
    ({"recovered": "max_over_time(m[1h:10s])", "range_s": 3600.0}, []),
    ({"stuck": "m @ end()"}, [("stuck", "has `@`")]),
    ({"stuck": "m{a='[1h] @'} # offset 2h"}, []),
    ({"depth": "max_over_time(m[1h]) @ 0"}, []),
]


@pytest.mark.parametrize(("keys", "mistakes"), MISTAKES)
def test_mistakes_that_no_type_shows(keys: dict[str, Any], mistakes: list[tuple[str, str]]) -> None:
    """Each with its key and a remedy. What Prometheus itself says best is left to it, and so is the time that a depth is of."""
    problems = list(written(**keys).find_mistakes())
    assert [key for key, _, _ in problems] == [key for key, _ in mistakes]
    assert all(why.startswith(said) for (_, why, _), (_, said) in zip(problems, mistakes, strict=True))
    assert all(remedy for _, _, remedy in problems)


@pytest.mark.parametrize("quote", ["'", '"'])
@pytest.mark.parametrize("sign", ["=", "=~", "!~ # it's a pattern\n "])
@given(value=st.text(max_size=60))
@example(value='"} or vector(0) or up{a="')
@example(value="'} or vector(0) or up{a='")
@example(value='\\"')
@example(value="\\n")
@example(value="$1.*({#`")
def test_a_label_never_changes_the_expression(sign: str, quote: str, value: str) -> None:
    """I8: all but its string stays as it is, and the string stands for that very value; else it holds."""
    before, after = f"sum(m{{q{sign}{quote}", f"{quote}}}) # isn't \"it"
    read = symptom(stuck=f"{before}${{labels.queue}}{after}", recovered="a", depth=None)
    try:
        expression = prometheus.name_queue(read, {"queue": value}).keys["stuck"]
    except NotRendered:
        return
    assert expression.startswith(before)
    assert expression.endswith(after)
    string = expression[len(before) : -len(after)]
    assert re.fullmatch(rf"(?:[^{quote}\\\n]|\\.)*", string), "it ends where it ended"
    # Prometheus refuses a backslash before the quote of the other kind (lexEscape in promql/parser/lex.go).
    assert set(re.findall(r"\\(.)", string)) <= {"\\", quote, "n"}
    text = re.sub(r"\\(.)", lambda escaped: {"n": "\n"}.get(escaped[1], escaped[1]), string)
    assert text == value if sign == "=" else re.fullmatch(text, value)


DAY = "mail in the last 24 h"


def check(server: PrometheusDouble, labels: Mapping[str, str] = LABELS, **keys: Any) -> dict[str, Finding]:
    findings = prometheus.Prometheus(server.url).check(symptom(**keys), labels, timeout_s=PATIENCE_S)
    return {one.what: one for one in findings}


NEVER = "it would never have been called stuck; `recovered` held"
ONCE = "it would have been called stuck 1 time, for up to 16 min( 30 s)?; `recovered` held"  # as the steps fall
CHECKED = [
    pytest.param([], [Series()], True, f"{NEVER} 100% of the time", id="never stuck"),
    pytest.param([Series(4000, 3000), Series(900, 860), Series(500, 200)], [Series(3000, 1000), Series(150)], True,
        f"{ONCE.replace('1 time', '2 times')} 2% of the time", id="twice, and once shortly"),
    pytest.param([Series(990)], [Series()], None, f"{ONCE} 100% of the time; now it is unknown", id="both"),
    pytest.param([], [Series(until_s=40000)], None, f"{NEVER} 54% of the time; now it is unknown", id="neither now"),
    pytest.param([], [], False, "neither `stuck` nor `recovered` ever held", id="neither, ever"),
]  # fmt: skip


@pytest.mark.parametrize(("stuck", "recovered", "right", "detail"), CHECKED)
def test_check_says_how_often_it_would_have_been_stuck(
    server: PrometheusDouble, stuck: list[Series], recovered: list[Series], right: bool | None, detail: str
) -> None:
    """In the last day: whoever knows the queue sees at once whether the expressions are right."""
    server.series |= {"hangs": stuck, "works": recovered}
    line = check(server)[DAY]
    assert line.ok is right
    assert re.fullmatch(detail, str(line.detail)), line.detail
    assert bool(line.remedy) is (right is not True)


def test_check_of_a_server_that_does_not_answer_as_prometheus(server: PrometheusDouble) -> None:
    """Then nothing else is asked."""
    server.refuses = {"": (200, {"data": {"result": []}})}
    ((what, line),) = check(server).items()
    assert (what, line.ok, bool(line.remedy)) == ("Prometheus answers", False, True)
    assert str(line.detail) == "what answers there is not Prometheus"
