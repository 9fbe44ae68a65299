"""Reads the answers of Prometheus' HTTP API, and derives a queue's state from them.

Each query is sent together with the timestamps of the samples behind it, so the age of its figure is known, whatever the scrape
interval, the lookback or the clocks: `label_replace(QUERY, ...) or label_replace(min(timestamp(SELECTOR)), ...)`. A sample of a
Pushgateway or textfile is scraped now, but shows the state when it was pushed; `PUSHED` gives that time."""

import math
from collections.abc import Mapping, Sequence
from itertools import pairwise
from statistics import median
from typing import Any, TypeVar

from msgspec import Struct, field

from functions.adapters.symptoms import _http
from functions.adapters.symptoms._http import FORBIDDEN, require_ok
from functions.adapters.symptoms.prometheus import promql
from functions.adapters.symptoms.prometheus.settings import SYSTEM
from functions.domain.health.rows import RECENT_S
from functions.domain.health.samples import lasting_s
from functions.domain.model.observations import QueueSnapshot, Samples, Unknown
from functions.runtime.errors import Denied, DeniedCode, Unavailable
from functions.runtime.http_client import Answer
from functions.runtime.text import Text

BAD, UNPROCESSABLE, TOO_MANY = 400, 422, 429
WHICH = "unstick"  # the label that distinguishes a figure from the timestamps of its samples
SAID_SHOWN = 300
GAP = 2.5  # as a multiple of the usual sample interval: one missing scrape is fine, two in a row aren't
MIN_SAMPLES = 3
STEP_S = 60.0  # the maximum distance between the first samples of two series that both began before the range
HARMLESS = "PromQL info"  # prefixes of warnings that don't mean missing data
PUSHED = ("push_time_seconds", "node_textfile_mtime_seconds")
"""The metrics with the time of a push to a Pushgateway, and of writing a textfile of node_exporter, in Unix seconds."""
SAME_JOB = "job, instance, exported_job, exported_instance"  # with and without `honor_labels`
NEAR_S = 4.0  # usually two steps of a range query: a series that existed then still exists now, unless it ended in between
SKEWED_S = 30.0  # with clocks that far apart, requests are for different times and answers can't be compared
T = TypeVar("T")
Points = tuple[tuple[float, float], ...]  # (the sample's own time, value), oldest first


class Series(Struct, frozen=True):
    metric: dict[str, str] = field(default_factory=dict)
    value: tuple[float, str] | None = None
    values: list[tuple[float, str]] = field(default_factory=list)


class Data(Struct, frozen=True, rename={"kind": "resultType"}):
    result: list[Series]
    kind: str = ""


class Envelope(Struct, frozen=True):
    data: Data
    warnings: list[str] = field(default_factory=list)


class Figure(Struct, frozen=True):
    value: float | None  # none: no series, or not a number
    taken_at: float | None  # the time of its oldest sample, on Prometheus' clock; None: none of its series exists
    age_s: float = 0.0  # the age of that sample at the end of the exchange
    not_a_number: bool = False


class Asked(Struct, frozen=True):
    """The answers about one queue by query; an error takes an answer's place."""

    now: dict[str, Any]
    before: dict[str, Any]
    sent_at: float  # our clock, before the first request was sent
    counts_scrapes: bool = False  # `consumers` counts `up`, which is also 0 if a scrape failed


def with_ages(query: str) -> str:
    """The query, the timestamp of the oldest sample of each of its existing series, and of the oldest push of these."""
    selectors = promql.selectors(query)
    ages = [f"min(timestamp({selector}))" for selector in selectors]
    parts = [query, *ages, *_push_times(selectors)]
    return " or ".join(f'label_replace(\n{part}\n, "{WHICH}", "{number}", "", "")' for number, part in enumerate(parts))


def _push_times(selectors: Sequence[str]) -> list[str]:
    """The push times that the query names, else those of the same job and instance. node_exporter's own metrics have none."""
    named = [one for one in selectors if one.startswith(PUSHED)]
    if named:
        return [f"min({' or '.join(named)})"]
    pushed = [one for one in selectors if not one.startswith("node_")]
    times = " or ".join(PUSHED)
    return [f"min(({times}) and on ({SAME_JOB}) ({' or '.join(pushed)}))"] if pushed else []


def snapshot(asked: Asked, *, for_s: float, max_age_s: float, delay_s: float, at: float) -> QueueSnapshot:
    """The queue at our time `at`. Raises Denied or Unavailable if there is no current depth."""
    now = {query: figure(query, outcome, at - asked.sent_at) for query, outcome in asked.now.items()}
    _refuse_disagreement(now, asked)
    depth = _required("depth", now["depth"])
    figures = {query: one for query, one in now.items() if one.taken_at is not None}
    for query, one in figures.items():
        if one.age_s > max_age_s:
            late = Text("the newest figures of `{query}` are {seconds} s old", query=query, seconds=round(one.age_s))
            raise Unavailable(SYSTEM, late)
    past = {query: points(query, asked.before[query], one) for query, one in now.items() if query in asked.before}
    depths, counter, done = past["depth"], past.get("done", ()), now.get("done")
    consumers = _consumers(now.get("consumers"), counts_scrapes=asked.counts_scrapes)
    blind = _holes(depths, max(for_s, RECENT_S)) or _begun(counter, depths, for_s)
    if done is None or done.value is None:
        if consumers == 0:
            depths = _since_unattended(depths, past.get("consumers", ()))
        else:
            blind = blind or _unproved(given=done is not None, counts_scrapes=asked.counts_scrapes)
    work = rises(counter) if counter else falls(depths)
    return QueueSnapshot(
        at,
        math.ceil(depth),
        consumers=consumers,
        acks=None if done is None or done.value is None else int(done.value),
        ack_samples=_spread(work, depths),
        depth_samples=_whole(depths),
        behind_s=max(one.age_s for one in figures.values()) + delay_s,
        zeros=True,
        blind=blind,
    )


def _required(query: str, one: Figure) -> float:
    if one.not_a_number:
        raise Unavailable(SYSTEM, Text("`{query}` is not a number", query=query))
    if one.value is None or one.taken_at is None:
        remedy = Text("Try the query in Prometheus. If the series is missing while the queue is empty, see docs/symptoms.md.")
        raise Denied(SYSTEM, Text("`{query}` gives no series", query=query), remedy=remedy)
    if one.value < 0:
        raise Unavailable(SYSTEM, Text("`{query}` is negative: {value}", query=query, value=one.value))
    return one.value


def _consumers(one: Figure | None, *, counts_scrapes: bool) -> int | None:
    """None: unknown. Zero only if a series says so: a vanished series says nothing, nor does a failed scrape."""
    if one is None or one.value is None or (one.value < 1 and (one.taken_at is None or counts_scrapes)):
        return None
    return math.floor(one.value)


def _since_unattended(depths: Points, consumers: Points) -> Points:
    """The depths since the last consumer left. Without a counter of finished jobs, only they can stand still."""
    if not consumers:
        return depths[-1:]
    since = consumers[-1][0] - lasting_s(_whole(consumers), lambda count: count < 1)
    return tuple(point for point in depths if point[0] >= since) or depths[-1:]


def _unproved(*, given: bool, counts_scrapes: bool) -> Unknown:
    """Why nothing is proved: finished jobs aren't counted, and a worker may be finishing some."""
    why = Text("`done` isn't given, so nobody can tell whether work is done")
    if given:
        why = Text("`done` gives no series, so nobody can tell whether work is done")
    remedy = Text("Count work in `done`, by a counter that exists before the first job is done.")
    if counts_scrapes:
        remedy = Text("`up` is 0 after a failed scrape too: count workers by a series that says 0 when they are gone.")
    return Unknown(why, remedy=remedy)


def _refuse_disagreement(now: Mapping[str, Figure], asked: Asked) -> None:
    """Raises Denied if two servers answer in turn behind one address, and one of them has no figures."""
    asked_at = [series.value[0] for query in now for series in _parts(query, asked.now[query]) if series.value]
    if asked_at and abs(asked_at[0] - asked.sent_at) > SKEWED_S:
        return
    for query, one in now.items():
        seen_at = [at for series in _figures(query, asked) for at, text in series.values if to_number(text) is not None]
        if one.value is None and not one.not_a_number and seen_at and asked.sent_at - max(seen_at) < NEAR_S:
            remedy = Text("Set `url` to one of them, or to what merges them, such as Thanos or Mimir.")
            differ = Text("`{query}` gives a series in one answer and none in another: two servers that differ", query=query)
            raise Denied(SYSTEM, differ, remedy=remedy)


def _figures(query: str, asked: Asked) -> list[Series]:
    """The query's own values over the time before."""
    if query not in asked.before:
        return []
    return [series for series in _parts(query, asked.before[query]) if series.metric.get(WHICH) == "0"]


def _whole(figures: Points) -> Samples:
    return tuple((when, math.ceil(value)) for when, value in figures)


def figure(query: str, outcome: Any, took_s: float) -> Figure:
    """The figure of an instant query. Raises the query's error, and Denied for several series."""
    value, taken_at, asked_at, not_a_number = None, None, 0.0, False
    for series in _parts(query, outcome):
        if series.value is None:
            continue
        asked_at, number = series.value[0], to_number(series.value[1])
        if series.metric.get(WHICH) == "0":
            value, not_a_number = number, number is None
        elif number is not None:
            taken_at = number if taken_at is None else min(taken_at, number)
    age_s = 0.0 if taken_at is None else max(asked_at - taken_at, 0.0) + took_s
    return Figure(value, taken_at, age_s, not_a_number=not_a_number)


def points(query: str, outcome: Any, newest: Figure) -> Points:
    """The samples of a range query, each once, at their own times, and the newest one of the instant query."""
    values: dict[float, float] = {}
    taken: dict[float, float] = {}
    for series in _parts(query, outcome):
        for asked_at, text in series.values:
            number = to_number(text)
            if number is not None and series.metric.get(WHICH) == "0":
                values[asked_at] = number
            elif number is not None:
                taken[asked_at] = min(number, taken.get(asked_at, number))
    by_time = {taken[asked_at]: value for asked_at, value in sorted(values.items()) if asked_at in taken}
    if newest.value is not None and newest.taken_at is not None:
        by_time[newest.taken_at] = newest.value
    return tuple(sorted(by_time.items()))


def rises(counter: Points) -> Points:
    """The counter made monotonic. A fall means that its program restarted and counts from 0."""
    total, risen = 0.0, []
    for (_, before), (when, after) in pairwise(counter):
        total += after - before if after >= before else after
        risen.append((when, total))
    return tuple(risen)


def _begun(counter: Points, depths: Points, for_s: float) -> Unknown | None:
    """Whether the counter began, or restarted, within `for_s`: then its program has not stood still for that long."""
    if not counter:
        return None
    fell = [when for (_, before), (when, after) in pairwise(counter) if after < before]
    first = [counter[0][0]] if counter[0][0] - depths[0][0] > STEP_S else []
    ago_s = depths[-1][0] - max([*first, *fell], default=-math.inf)
    if ago_s >= for_s:
        return None
    return Unknown(Text("`done` began to count {seconds} s ago only: its program was restarted", seconds=round(ago_s)), late=True)


def falls(depths: Points) -> Points:
    """A counter of the jobs that certainly left the queue."""
    total, fallen = 0.0, []
    for (_, before), (when, after) in pairwise(depths):
        total += max(before - after, 0.0)
        fallen.append((when, total))
    return tuple(fallen)


def _spread(work: Points, depths: Points) -> tuple[tuple[float, int], ...]:
    spread = []
    for when, _ in depths:
        known = [value for at, value in work if at <= when]
        spread.append((when, math.ceil(known[-1]) if known else 0))
    return tuple(spread)


def _holes(depths: Points, for_s: float) -> Unknown | None:
    """Why the samples don't cover all of the last `for_s`, which passes by itself."""
    if len(depths) < MIN_SAMPLES:
        return Unknown(Text("there are only {count} samples of the depth yet", count=len(depths)), late=True)
    newest, usual_s = depths[-1][0], median(later - earlier for (earlier, _), (later, _) in pairwise(depths))
    widest = max(later - earlier for (earlier, _), (later, _) in pairwise(depths) if newest - later < for_s)
    if widest > GAP * usual_s + 1.0:
        return Unknown(Text("the samples have a gap of {seconds} s", seconds=round(widest)), late=True)
    if newest - depths[0][0] < for_s - usual_s:
        return Unknown(Text("the samples begin {seconds} s ago only", seconds=round(newest - depths[0][0])), late=True)
    return None


def _parts(query: str, outcome: Any) -> Sequence[Series]:
    """The series of an answer: at most one of the query, and one of each selector."""
    envelope = shaped(good(outcome, query).json(), Envelope)
    missing = [warning for warning in envelope.warnings if not warning.startswith(HARMLESS)]
    if missing:
        raise Unavailable(SYSTEM, Text("answered with a warning: {warning}", warning=missing[0][:SAID_SHOWN]))
    series = envelope.data.result
    count = sum(one.metric.get(WHICH) == "0" for one in series)
    if count > 1:
        remedy = Text("Put `sum(...)` or `max(...)` around it.")
        raise Denied(SYSTEM, Text("`{query}` gives {count} series", query=query, count=count), remedy=remedy)
    return series


def to_number(text: str) -> float | None:
    """None if it isn't a number. Prometheus never sends forms that only Python accepts, such as `1_000`."""
    try:
        number = float(text)
    except ValueError:
        return None
    return number if math.isfinite(number) else None


def good(outcome: Any, query: str) -> Answer:
    """The answer if it is a success; otherwise raises Denied or Unavailable."""
    if isinstance(outcome, BaseException):
        raise outcome
    answer: Answer = outcome
    status = answer.status
    if status in (BAD, UNPROCESSABLE):
        refused = Text("does not take the query `{query}`: {error}", query=query, error=_said(answer))
        raise Denied(SYSTEM, refused, remedy=Text("Try the query in Prometheus."), status=status)
    if status in FORBIDDEN:
        remedy = Text("Check user and password, or the token; behind Grafana the token may need `datasources:query`.")
        raise Denied(SYSTEM, Text("the login failed"), code=DeniedCode.LOGIN, remedy=remedy, status=status)
    remedy = Text("Check that `url` is the address of Prometheus, without `/api/v1`.")
    return require_ok(SYSTEM, answer, passing=(TOO_MANY,), remedy=remedy)


def login_failed(outcome: Any) -> bool:
    """Whether another secret could help."""
    return isinstance(outcome, Answer) and outcome.status in FORBIDDEN


def _said(answer: Answer) -> str:
    try:
        said = answer.json()
    except Unavailable:
        return str(answer.status)
    return str(said.get("error", answer.status))[:SAID_SHOWN] if isinstance(said, dict) else str(answer.status)


def shaped(value: Any, shape: type[T]) -> T:
    """The answer as its type; raises Unavailable if the form isn't Prometheus'."""
    return _http.shaped(SYSTEM, value, shape)
