"""What Prometheus' answers come to, to the second and to the sample."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from functions.adapters.symptoms.prometheus import promql
from functions.adapters.symptoms.prometheus.answers import Asked, Figure, figure, good, points, snapshot, with_ages
from functions.domain.model.observations import QueueSnapshot
from functions.runtime.errors import Denied, Unavailable
from functions.runtime.http_client import Answer

NOW = 126.0
"""Prometheus' clock, at which everything is asked."""
AT = 1.0
"""Ours."""

Values = Mapping[float, float]
"""By the time of the sample: its value."""


def answered(result: Any, warnings: Sequence[str] = (), status: int = 200) -> Answer:
    body = {"status": "success", "data": {"resultType": "vector", "result": result}, "warnings": list(warnings)}
    return Answer("prometheus", status, {}, json.dumps(body).encode(), AT)


def series(which: int, value: Any) -> dict[str, Any]:
    return {"metric": {"unstick": f"{which}"}, "value": [NOW, f"{value}"]}


def now(value: Any, *taken: float) -> Answer:
    """One figure, and when the samples of its selectors were taken."""
    return answered([series(0, value), *(series(number, one) for number, one in enumerate(taken, 1))])


def before(samples: Values) -> Answer:
    """A range, asked for at the times of the samples."""
    figures = [[at, f"{value}"] for at, value in samples.items()]
    times = [[at, f"{at}"] for at in samples]
    return answered([{"metric": {"unstick": "0"}, "values": figures}, {"metric": {"unstick": "1"}, "values": times}])


def ago(ages: Sequence[float], value: float = 5.0) -> dict[float, float]:
    return {NOW - age: value for age in ages}


STEADY = ago([10.0 * number for number in range(13)])
"""Two minutes of a depth of five."""


def seen(
    depth: Values = STEADY,
    done: Values | None = None,
    *,
    now_of: Mapping[str, Any] | None = None,
    for_s: float = 60.0,
    took_s: float = 0.0,
    max_age_s: float = 120.0,
) -> QueueSnapshot:
    given = {"depth": depth} | ({"done": done} if done is not None else {})
    figures = {query: now(samples[max(samples)], max(samples)) for query, samples in given.items() if samples}
    asked = Asked(figures | dict(now_of or {}), {query: before(samples) for query, samples in given.items()}, AT - took_s)
    return snapshot(asked, for_s=for_s, max_age_s=max_age_s, delay_s=5.0, at=AT)


def test_a_query_is_asked_with_the_times_of_its_samples() -> None:
    """One label tells them apart; each part stands on a line of its own, so that a comment ends with it."""
    assert with_ages("sum(a) / b # c") == (
        'label_replace(\nsum(a) / b # c\n, "unstick", "0", "", "") or '
        'label_replace(\nmin(timestamp(a))\n, "unstick", "1", "", "") or '
        'label_replace(\nmin(timestamp(b))\n, "unstick", "2", "", "") or '
        "label_replace(\nmin((push_time_seconds or node_textfile_mtime_seconds) and on (job, instance, exported_job, "
        'exported_instance) (a or b))\n, "unstick", "3", "", "")'
    )


@pytest.mark.parametrize(
    ("query", "times"),
    [
        ("sum(a)", "and on (job, instance, exported_job, exported_instance) (a)"),
        ("sum(node_load1)", ""),
        ("sum(node_load1) + a", "exported_instance) (a)"),
        ('sum(a) and on () (node_textfile_mtime_seconds{file="a.prom"} > 0)', '(node_textfile_mtime_seconds{file="a.prom"})\n'),
        ("sum(a) and on () (push_time_seconds > 0)", "min(push_time_seconds)"),
    ],
)
def test_whose_push_tells_the_age(query: str, times: str) -> None:
    """Those of the same job, or those that the query names; what node_exporter measures itself was pushed by nobody."""
    asked = with_ages(query)
    assert times in asked
    assert ("exported_job" in asked) is ("exported" in times)


# --- figures --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        pytest.param(now(5, NOW - 3), Figure(5.0, NOW - 3, 4.5), id="one selector"),
        pytest.param(now(5, NOW - 3, NOW - 7, NOW - 5), Figure(5.0, NOW - 7, 8.5), id="the oldest of three"),
        pytest.param(now(5, NOW + 2), Figure(5.0, NOW + 2, 1.5), id="of the future"),
        pytest.param(now(5), Figure(5.0, None, 0.0), id="no selector has a series"),
        pytest.param(now("NaN", NOW - 3), Figure(None, NOW - 3, 4.5, not_a_number=True), id="no number"),
        pytest.param(now("+Inf", NOW - 3), Figure(None, NOW - 3, 4.5, not_a_number=True), id="endless"),
        pytest.param(now(5, NOW - 3, float("nan")), Figure(5.0, NOW - 3, 4.5), id="a time that is none"),
        pytest.param(answered([series(1, NOW - 3)]), Figure(None, NOW - 3, 4.5), id="no figure"),
        pytest.param(answered([]), Figure(None, None, 0.0), id="nothing"),
        pytest.param(answered([{"metric": {}}, series(0, 5), series(1, NOW - 3)]), Figure(5.0, NOW - 3, 4.5), id="an empty one"),
    ],
)
def test_a_figure_is_as_old_as_its_oldest_sample(answer: Answer, expected: Figure) -> None:
    """At the end of an exchange that took 1.5 s; never younger than that."""
    assert figure("depth", answer, 1.5) == expected


def test_samples_count_once_and_at_their_own_times() -> None:
    """What has no time, or is no number, is none; the newest comes from the instant query."""
    values = [[10.0, "1"], [20.0, "2"], [30.0, "3"], [40.0, "4"], [50.0, "NaN"], [60.0, "6"]]
    times = [[10.0, "8"], [20.0, "8"], [30.0, "29"], [50.0, "48"], [60.0, "NaN"]]
    others = [[10.0, "9"], [30.0, "27"]]
    parts = [{"metric": {"unstick": f"{which}"}, "values": one} for which, one in enumerate((values, times, others))]
    for newest, more in ((Figure(7.5, 61.0), ((61.0, 7.5),)), (Figure(None, 61.0), ()), (Figure(7.5, None), ())):
        assert points("depth", answered(parts), newest) == ((8.0, 2.0), (27.0, 3.0), *more)
    assert points("depth", answered(parts[::-1]), Figure(9.0, 8.0)) == ((8.0, 9.0), (27.0, 3.0))


def test_all_that_is_seen() -> None:
    """Depths and work are rounded up and consumers down, so nothing looks well that is not; a missing counter has a remedy."""
    depth = dict.fromkeys(STEADY, 4.2)
    done = {at: 40.0 + (at > NOW - 30) * 0.5 for at in STEADY}
    snapshot = seen(depth, done, now_of={"consumers": now(2.9, NOW - 7)}, took_s=0.25)
    assert (snapshot.at, snapshot.depth, snapshot.consumers, snapshot.acks, snapshot.behind_s) == (AT, 5, 2, 40, 12.25)
    assert (snapshot.zeros, snapshot.blind, snapshot.ready, snapshot.consumer_ids) == (True, None, None, None)
    assert snapshot.depth_samples == tuple((at, 5) for at in sorted(STEADY))
    assert snapshot.ack_samples == tuple((at, int(at > NOW - 30)) for at in sorted(STEADY))
    blind = seen(STEADY, {}, now_of={"done": answered([])}).blind
    assert blind is not None
    assert (blind.late, "`done` gives no series" in str(blind.why), bool(blind.remedy)) == (False, True, True)


@pytest.mark.parametrize(("age_s", "old"), [(119.5, False), (120.0, True), (300.0, True)])
@pytest.mark.parametrize("query", ["depth", "done", "consumers"])
def test_figures_that_are_too_old_are_unknown(query: str, age_s: float, old: bool) -> None:
    """The time that the exchange took counts as well."""
    given = {"done": now(1, NOW), "consumers": now(1, NOW)} | {query: now(1, NOW - age_s)}
    if old:
        with pytest.raises(Unavailable, match=f"the newest figures of `{query}` are {round(age_s + 0.5)} s old"):
            seen(done=STEADY, now_of=given, took_s=0.5)
    else:
        assert seen(done=STEADY, now_of=given, took_s=0.5).behind_s == 125.0


@pytest.mark.parametrize(
    ("answer", "error", "said"),
    [
        (now("NaN", NOW), Unavailable, "`depth` is not a number"),
        (now(5), Denied, "`depth` gives no series"),
        (answered([series(1, NOW)]), Denied, "`depth` gives no series"),
        (now(-0.5, NOW), Unavailable, "`depth` is negative: -0.5"),
        (answered([series(0, 5), series(0, 6), series(1, NOW)]), Denied, "`depth` gives 2 series"),
    ],
)
def test_a_depth_that_is_none(answer: Answer, error: type[Exception], said: str) -> None:
    """It holds the restart, and says why."""
    with pytest.raises(error, match=said):
        seen(now_of={"depth": answer})


@pytest.mark.parametrize(
    ("answer", "consumers"),
    [
        (now(0, NOW), 0), (now(0.9, NOW), 0), (now(3, NOW), 3), (now(3), 3), (now("NaN", NOW), None),
        (answered([series(1, NOW)]), None), (answered([]), None), (now(0), None),
    ],
)  # fmt: skip
def test_how_many_consumers_there_are(answer: Answer, consumers: int | None) -> None:
    """There is none only where a series says so: one that a filter leaves out, or that is gone, says nothing."""
    assert seen(now_of={"consumers": answer}).consumers == consumers
    blind = seen(done={}, now_of={"done": answered([]), "consumers": answer}).blind
    assert (blind is None) is (consumers == 0)


# --- work -----------------------------------------------------------------------------------------------------------------


def of(*values: float, spacing_s: float = 10.0) -> dict[float, float]:
    """Samples up to now."""
    return {NOW - spacing_s * number: value for number, value in enumerate(reversed(values))}


@pytest.mark.parametrize(
    ("depth", "work"),
    [(of(5, 3, 4, 1, 1), (0, 2, 2, 5, 5)), (of(5, 5, 9, 9.5, 9.25), (0, 0, 0, 0, 1)), (of(5, 5.5, 5, 6, 5), (0, 0, 1, 1, 2))],
)
def test_work_by_a_depth_that_falls(depth: Values, work: tuple[int, ...]) -> None:
    """What was certainly taken from the queue."""
    assert tuple(count for _, count in seen(depth).ack_samples) == work


def fell(ago_s: float) -> dict[float, float]:
    """A counter that began anew this many seconds ago."""
    return {at: 1.0 if at >= NOW - ago_s else 2.0 for at in {*STEADY, NOW - ago_s}}


@pytest.mark.parametrize(
    ("done", "for_s", "ago_s"),
    [
        pytest.param(ago([0, 60]), 100.0, None, id="as far behind the depth as one step"),
        pytest.param(ago([0, 59]), 100.0, 59, id="further behind it"),
        pytest.param(ago([0, 110]), 130.0, None, id="a little behind it"),
        pytest.param(ago([0, 50]), 50.0, None, id="as long as for"),
        pytest.param(ago([0, 49]), 50.0, 49, id="not as long"),
        pytest.param(fell(60), 60.0, None, id="anew before"),
        pytest.param(fell(59), 60.0, 59, id="anew within"),
        pytest.param(fell(50) | {NOW - 20: 0.0}, 60.0, 20, id="anew twice"),
        pytest.param(ago([0, 40]) | {NOW - 20: 1.0}, 60.0, 20, id="begun and anew"),
    ],
)
def test_a_counter_that_began_lately_tells_nothing_yet(done: Values, for_s: float, ago_s: int | None) -> None:
    """Its program was restarted, so it has not stood still for so long. That passes."""
    blind = seen(done=done, for_s=for_s).blind
    if ago_s is None:
        assert blind is None
    else:
        assert blind is not None
        assert (str(blind.why), blind.late) == (f"`done` began to count {ago_s} s ago only: its program was restarted", True)


@pytest.mark.parametrize(
    ("ages", "for_s", "why"),
    [
        pytest.param([0, 30], 60.0, "there are only 2 samples of the depth yet", id="two"),
        pytest.param([0], 60.0, "there are only 1 samples of the depth yet", id="one"),
        pytest.param([0, 30, 60], 60.0, "", id="three"),
        pytest.param([0, 10, 20, 30, 40, 50], 60.0, "", id="but for one"),
        pytest.param([0, 10, 20, 30, 40, 49], 60.0, "the samples begin 49 s ago only", id="shorter"),
        pytest.param([0, 10, 20, 46, 56, 66, 76], 60.0, "", id="one is missing"),
        pytest.param([0, 10, 20, 47, 57, 67, 77], 60.0, "the samples have a gap of 27 s", id="two are missing"),
        pytest.param([0, 10, 20, 30, 40, 50, 60, 87], 60.0, "", id="before for"),
        pytest.param([0, 10, 20, 30, 40, 50, 60, 70, 97], 60.0, "", id="long before for"),
        pytest.param([0, 10, 20, 30, 40, 50, 59, 86], 60.0, "the samples have a gap of 27 s", id="within for"),
        pytest.param([*range(0, 90, 10), 110, 120], 120.0, "the samples have a gap of 30 s", id="a long for"),
        pytest.param([0, 100, 120], 60.0, "", id="far apart"),
        pytest.param(range(0, 80, 10), 100.0, "the samples begin 70 s ago only", id="shorter than a long for"),
        pytest.param([0, 27, 37, 47, 57, 67, 77], 60.0, "the samples have a gap of 27 s", id="at its end"),
        pytest.param([0, 1, 2, 3, 4, 5, 9.6], 1.0, "the samples have a gap of 5 s", id="ten seconds at least"),
    ],
)
def test_samples_that_do_not_show_all_of_it(ages: Sequence[float], for_s: float, why: str) -> None:
    """What happened in between, or before, nobody knows; that passes."""
    blind = seen(ago(ages), dict.fromkeys([NOW - 300.0, *ago(ages)], 7.0), for_s=for_s).blind
    assert (str(blind.why) if blind else "") == why
    assert blind is None or blind.late


# --- answers --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "error", "said"),
    [
        (201, Denied, "answered"), (299, Denied, "answered"), (300, Denied, "answered"), (302, Denied, "answered"),
        (399, Denied, "answered"), (400, Denied, "does not take the query"), (401, Denied, "the login failed"),
        (402, Denied, "answered"), (403, Denied, "the login failed"), (404, Denied, "answered"),
        (422, Denied, "does not take the query"), (423, Denied, "answered"), (429, Unavailable, "answered"),
        (430, Denied, "answered"), (499, Denied, "answered"), (500, Unavailable, "answered"), (599, Unavailable, "answered"),
    ],
)  # fmt: skip
def test_what_a_status_means(status: int, error: type[Exception], said: str) -> None:
    """A clear no comes with a remedy; the rest passes."""
    with pytest.raises(error, match=said) as raised:
        good(answered([], status=status), "depth")
    refusal = raised.value
    assert isinstance(refusal, Unavailable) or (refusal.status, bool(refusal.remedy)) == (status, True)  # type: ignore[attr-defined]
    redirected = "where it redirects" in str(getattr(refusal, "remedy", ""))
    assert redirected is (300 <= status < 400)


@pytest.mark.parametrize(
    ("body", "said"),
    [({"error": "x" * 300}, "x" * 300), ({"error": "x" * 301}, "x" * 300), ({}, "400"), (["error"], "400"), (None, "400")],
)
def test_what_prometheus_says_of_a_query_is_passed_on(body: Any, said: str) -> None:
    """In 300 characters."""
    content = b"<html>" if body is None else json.dumps(body).encode()
    with pytest.raises(Denied) as denied:
        good(Answer("prometheus", 400, {}, content, AT), "depth")
    assert str(denied.value.detail) == f"does not take the query `depth`: {said}"


@pytest.mark.parametrize(
    ("warnings", "said"),
    [
        ([], ""),
        (["PromQL info: metric might not be a counter"], ""),
        (["PromQL info: x", "store is down", "and late"], "store is down"),
        (["y" * 301], "y" * 300),
    ],
)
def test_a_warning_means_that_something_is_missing(warnings: list[str], said: str) -> None:
    """Unless it is only about style."""
    answer = answered([series(0, 5), series(1, NOW)], warnings)
    if not said:
        assert figure("depth", answer, 0.0).value == 5.0
        return
    with pytest.raises(Unavailable) as late:
        figure("depth", answer, 0.0)
    assert str(late.value.detail) == f"answered with a warning: {said}"


# --- queries --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ("sum(a", None),
        ("sum(a{b='c')", "has a { without its }"),
        ("a[5m", "has a [ without its ]"),
        ("sum by (a", "has a ( without its )"),
        ("a;", "has a sign that PromQL has not at character 2"),
        ("a{b=${labels.c}}", "has a label outside of quotes at character 5"),
        ("", "names no metric"),
        ("# a", "names no metric"),
        ("time(", "names no metric"),
        ("a OFFSET 5m", "has `offset` or `@`"),
        ("{__name__ !~ 'a'}", "selects metrics by a pattern"),
    ],
)
def test_a_query_that_can_not_be_asked(query: str, said: str | None) -> None:
    """Where it is wrong, counted from 1. What Prometheus itself says best is left to it."""
    if said is None:
        assert promql.selectors(query) == ("a",)
    else:
        with pytest.raises(
            ValueError, match=said.replace("(", r"\(").replace("[", r"\[").replace("{", r"\{").replace(")", r"\)")
        ):
            promql.selectors(query)


@pytest.mark.parametrize(
    ("query", "selectors"),
    [
        ("a{b='}'}", ["a{b='}'}"]), ("{__name__='a'}", ["{__name__='a'}"]), ("a{} + a{} + b", ["a{}", "b"]),
        ("sum by (a, b) (c)", ["c"]), ("sum(c) BY (a)", ["c"]), ("a / on () b", ["a", "b"]),
        ("a / ON (x) GROUP_LEFT b", ["a", "b"]), ("a[5m:(1)]", ["a"]), ("by + on{x='y'}", ["on{x='y'}"]),
        ("Inf + NaN + bool + a AND b", ["a", "b"]), ("sum + a", ["a"]), ("rate(a[5m])", ["a"]), ("((a))", ["a"]),
        ("-a{b='c'}", ["a{b='c'}"]), ("a + by", ["a"]), ("a}", ["a"]),
    ],
)  # fmt: skip
def test_the_series_that_a_query_is_made_of(query: str, selectors: list[str]) -> None:
    """Each once, with its labels; not the words of the language, and not what stands in lists of labels."""
    assert list(promql.selectors(query)) == selectors


@pytest.mark.parametrize(
    ("query", "filled"),
    [
        ('a{b="${labels.x}"}', 'a{b="i\\"t\'s\\n.*\\\\"}'),
        ("a{b='${labels.x}'}", "a{b='i\"t\\'s\\n.*\\\\'}"),
        ('a{b=~"${labels.x}"}', 'a{b=~"i\\\\\\"t\\\\\'s\\\\\\n\\\\.\\\\*\\\\\\\\"}'),
        (
            'a{b!~"${labels.x}", c="${labels.x}"} + 1',
            'a{b!~"i\\\\\\"t\\\\\'s\\\\\\n\\\\.\\\\*\\\\\\\\", c="i\\"t\'s\\n.*\\\\"} + 1',
        ),
        ("a{b=`c`}", "a{b=`c`}"),
        ("sum(a)", "sum(a)"),
    ],
)
def test_how_a_value_stands_in_its_string(query: str, filled: str) -> None:
    """Escaped for its own quote, and behind =~ and !~ as a pattern that matches it alone. The rest stays as it is."""
    assert promql.fill(query, lambda label: {"x": "i\"t's\n.*\\"}[label]) == filled
