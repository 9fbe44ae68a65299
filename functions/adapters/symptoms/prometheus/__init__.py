"""Prometheus, or a compatible server (Mimir, Thanos, Grafana's proxy), asked by two conditions of the runbook's own in PromQL.

An answer is a series that is there. `stuck` is asked at steps over the time that it must hold, `recovered` at the last of these.
docs/symptoms.md says how to write them."""

import hashlib
import json
import math
import re
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from functools import partial
from typing import Annotated, Any, ClassVar
from urllib.parse import urlencode

from msgspec import Struct, field

from functions.application.ports import Finding, Query, QueueOutcome, SymptomAdapter, SymptomKeys
from functions.domain.decisions.matching import NotRendered, fill_template, refuse_control_characters, shown, template_labels
from functions.domain.model import runbooks
from functions.domain.model.alerts import QueueRef
from functions.domain.model.observations import QueueSnapshot, Statement
from functions.domain.texts.patterns import full_match
from functions.runtime.errors import Denied, DeniedCode, Unavailable
from functions.runtime.http_client import FORBIDDEN, Answer, ask_all, request, require_ok, shaped
from functions.runtime.secrets import SecretRef, with_newest
from functions.runtime.structs import duration, key, written
from functions.runtime.text import Text, named

SYSTEM = "prometheus"
REFUSED, TOO_MANY = (400, 422), 429
CONDITIONS, EXPRESSIONS = ("stuck", "recovered"), ("stuck", "recovered", "depth")
MAX_BYTES = 2000  # limit for the filled-in expressions of one queue together: a document stores them, and URLs contain them
ANY_LABEL = r"[^\x00-\x1f]{1,255}"  # the default pattern of a label. It is escaped, so it can't change the expression
NAME_SHOWN, SAID_SHOWN = 120, 300
SKEW_S = 5.0  # with clocks further apart, the answers would be about another time than the alert and the restart
STEPS, STEP_S = 4, 5.0  # at least so many steps in `for`, each at most so long: what is between two of them is not seen
CURVE = (15_000, 20)  # step in milliseconds, and how many
CLOCK = "/api/v1/query?query=vector(time())"
HARMLESS = "PromQL info"  # prefix of warnings that don't mean missing data


class Symptom(Struct, frozen=True, rename=key):
    """The keys of `symptom: {prometheus: ...}` in a runbook."""

    NEEDED_BY_AUTO: ClassVar[Mapping[str, str]] = {}

    stuck: Annotated[str, written("template")]
    """PromQL of one series that is there while the queue is stuck. Put `${labels.NAME}` inside quotes."""
    recovered: Annotated[str, written("template")]
    """PromQL of one series that is there while the queue is healthy."""
    depth: Annotated[str, written("template")] | None = None
    """PromQL of one series: the number of jobs, for the curve and the cards."""
    allow: Mapping[str, Annotated[str, written("pattern")]] = field(default_factory=dict)
    """By label: the pattern for its value. Default: any 255 characters, escaped."""
    for_s: Annotated[float, duration(1, 3600)] = 60.0
    """`stuck` must have held for this long, without a gap."""
    for_at_most_s: Annotated[float, duration(1, 1800)] = 540.0  # in 7,200 steps; Prometheus answers with at most 11,000
    """The most that `for` becomes, as in `rabbitmq`."""
    range_s: Annotated[float, duration(1, 3600)] = 60.0
    """The longest range in the two; after a restart `recovered` counts later than this."""

    def to_symptom(self) -> runbooks.Symptom:
        own = {name: template for name in EXPRESSIONS if (template := getattr(self, name)) is not None}
        own |= {"range": f"{self.range_s:g}"}
        return runbooks.Symptom(SYSTEM, own, for_s=self.for_s, allow=self.allow, for_at_most_s=self.for_at_most_s)

    def find_mistakes(self) -> Iterator[tuple[str, str, str]]:
        """(key, what is wrong with it, how to fix it) of each mistake that the types can't express."""
        symptom = self.to_symptom()
        for name in EXPRESSIONS:
            try:
                fill(symptom.keys.get(name, ""), lambda _: "a")
            except ValueError as error:
                yield name, str(error), 'Write ${labels.NAME} only inside of quotes, as in queue="${labels.queue}"'
        for name in CONDITIONS:
            if why := _find_other_times(symptom.keys[name], self.range_s):
                yield name, why, "Shorten it, or raise `range`"
        used = {label for template in symptom.keys.values() for label in template_labels(template)}
        for label in symptom.allow.keys() - used:
            yield "allow", f"limits the label {label}, which is not used here", f"Labels: {', '.join(sorted(used)) or 'none'}"


_QUOTED = re.compile(r"""([=!]~(?:\s|\#[^\n]*\n)*)?("(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*'|`[^`]*`)|\#[^\n]*""", re.DOTALL)
"""A string, and before it what makes a regular expression of it; or a comment."""
_LABEL = re.compile(r"\$\{labels\.([^${}]+)\}")
_LOOKS_BACK = re.compile(r"(\[|\boffset)\s*-?\s*((?:\d+(?:ms|[smhdwy]))+)\s*(:?)", re.IGNORECASE)
_UNITS = {"ms": 0.001, "s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800, "y": 31536000}


def fill(expression: str, value_of: Callable[[str], str]) -> str:
    """The expression with each label inside of its strings filled in, so that a value stays a part of its string, whatever it is.
    Behind `=~` and `!~` it matches itself only. Raises ValueError if a label is where nothing can be escaped."""

    def fill_string(part: re.Match[str]) -> str:
        operator, string = part[1] or "", part[2] or ""
        if not _LABEL.search(string):
            return part[0]
        if string.startswith("`"):
            raise ValueError("has a label in backticks, where nothing can be escaped; use quotes")
        return operator + _LABEL.sub(lambda label: _escape(value_of(label[1]), string[0], is_pattern=bool(operator)), string)

    bare = _QUOTED.sub("", expression)
    if "${" in bare:
        raise ValueError("has a label outside of quotes")
    if not {'"', "'", "`"}.isdisjoint(bare):
        raise ValueError("has a quote without its end")
    return _QUOTED.sub(fill_string, expression)


def _escape(value: str, sign: str, *, is_pattern: bool) -> str:
    """Escape the string's own quote only: Prometheus refuses a backslash before the other one (promql/parser/lex.go). In a
    pattern also for RE2, which accepts a backslash before any ASCII punctuation, and before nothing else."""
    if is_pattern:
        value = "".join(f"\\{letter}" if letter.isascii() and not letter.isalnum() else letter for letter in value)
    escaped = {"\\": "\\\\", sign: f"\\{sign}", "\n": "\\n"}
    return "".join(escaped.get(character, character) for character in value)


def _find_other_times(expression: str, range_s: float) -> str:
    """What makes it look further back than `range`, or at the same moment at each step; empty if nothing does. A range, a
    subquery (`[1h:1m]`) and an offset may be around each other: the longest of each count together."""
    bare, longest_s = _QUOTED.sub("", expression), dict[str, float]()
    for kind, text, subquery in _LOOKS_BACK.findall(bare.lower()):
        parts = re.findall(r"(\d+)(ms|[a-z])", text)
        length_s = sum(int(number) * _UNITS[unit] for number, unit in parts)
        longest_s[kind + subquery] = max(length_s, longest_s.get(kind + subquery, 0.0))
    back_s = sum(longest_s.values())
    if back_s > range_s:
        return f"looks back {back_s:g}s, which is longer than `range` ({range_s:g}s)"
    return "has `@`, which is the same moment at each step" if "@" in bare else ""


class Grid(Struct, frozen=True):
    """The moments that a query is about, in milliseconds: multiples of the step, as servers that cache make them anyway."""

    end_ms: int
    step_ms: int
    count: int  # of the steps from the first moment to the last

    def path(self, expression: str) -> str:
        start_ms = self.end_ms - self.count * self.step_ms
        times = {"start": f"{start_ms / 1000:.3f}", "end": f"{self.end_ms / 1000:.3f}", "step": f"{self.step_ms / 1000:.3f}"}
        return f"/api/v1/query_range?{urlencode({'query': expression} | times)}"


def to_grid(now: float, span_s: float, step_s: float) -> Grid:
    """Moments over at least this span."""
    step_ms = max(int(step_s * 1000), 1)
    return Grid(int(now * 1000) // step_ms * step_ms, step_ms, math.ceil(span_s * 1000 / step_ms))


class Series(Struct, frozen=True):
    value: tuple[float, str] = (0.0, "")
    values: list[tuple[float, str]] = field(default_factory=list)


class Data(Struct, frozen=True):
    result: list[Series] = field(default_factory=list)


class Envelope(Struct, frozen=True):
    data: Data = Data()
    error: str = ""
    warnings: list[str] = field(default_factory=list)


def read(name: str, outcome: Any) -> dict[int, float]:
    """The moments at which the expression's only series is there, in milliseconds, with its values."""
    series = read_series(name, outcome)
    if len(series) > 1:
        remedy = Text("Put `sum(...)` or `max(...)` around it.")
        raise Denied(SYSTEM, Text("`{name}` gives {count} series", name=name, count=len(series)), remedy=remedy)
    moments = {round(at * 1000): _to_number(text) for of_labels in series for at, text in of_labels.values}
    return {at_ms: value for at_ms, value in moments.items() if math.isfinite(value)}


def _to_number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return math.nan


def read_series(name: str, outcome: Any) -> list[Series]:
    """The series of a successful answer. Raises Denied or Unavailable for any other."""
    if isinstance(outcome, BaseException):
        raise outcome
    answer: Answer = outcome
    if answer.status in FORBIDDEN:
        remedy = Text("Check user and password, or the token; behind Grafana the token may need `datasources:query`.")
        raise Denied(SYSTEM, Text("the login failed"), code=DeniedCode.LOGIN, remedy=remedy, status=answer.status)
    if answer.status not in REFUSED:
        remedy = Text("Check that `url` is the address of Prometheus, without `/api/v1`.")
        require_ok(SYSTEM, answer, passing=(TOO_MANY,), remedy=remedy)
    envelope = shaped(SYSTEM, answer.json(), Envelope)
    if answer.status in REFUSED:
        refused = Text("does not take `{name}`: {error}", name=name, error=envelope.error[:SAID_SHOWN])
        raise Denied(SYSTEM, refused, remedy=Text("Try the expression in Prometheus."), status=answer.status)
    missing = [warning for warning in envelope.warnings if not warning.startswith(HARMLESS)]
    if missing:
        raise Unavailable(SYSTEM, Text("answered with a warning: {warning}", warning=missing[0][:SAID_SHOWN]))
    return envelope.data.result


def require_same_clock(outcome: Any, sent_at: float) -> None:
    """Raise Denied if its clock was not between sending and answering by ours, give or take SKEW_S."""
    series = read_series("vector(time())", outcome)
    if not series:
        raise Denied(SYSTEM, Text("what answers there is not Prometheus"), remedy=Text("Check `url`."))
    at = series[0].value[0]
    apart_s = max(sent_at - at, at - outcome.at)
    if apart_s > SKEW_S:
        remedy = Text("Synchronize both clocks (NTP).")
        raise Denied(SYSTEM, Text("its clock and ours are {seconds} s apart", seconds=round(apart_s)), remedy=remedy)


def name_queue(symptom: runbooks.Symptom, labels: Mapping[str, str]) -> QueueRef:
    """The expressions for an alert with these labels. Raises NotRendered."""
    templates = {name: symptom.keys[name] for name in EXPRESSIONS if name in symptom.keys}
    keys = {name: fill(template, partial(_value, name, symptom, labels)) for name, template in templates.items()}
    size = sum(len(expression.encode()) for expression in keys.values())
    if size > MAX_BYTES:
        raise NotRendered(Text("the expressions have {count} bytes, the limit is {limit}", count=size, limit=MAX_BYTES))
    used = dict.fromkeys(label for template in templates.values() for label in template_labels(template))
    name = (" ".join(labels[label] for label in used) or templates.get("depth", templates["stuck"]))[:NAME_SHOWN]
    digest = hashlib.sha256(json.dumps(keys, sort_keys=True).encode()).hexdigest()[:12]
    return QueueRef(SYSTEM, f"{SYSTEM}:{digest}:{name}", name, keys | {"range": symptom.keys["range"]})


def _value(name: str, symptom: runbooks.Symptom, labels: Mapping[str, str], label: str) -> str:
    value = fill_template(f"${{labels.{label}}}", labels, name)
    what = Text("{what}, label {label}", what=name, label=shown(label))
    refuse_control_characters(value, what)
    if not full_match(symptom.allow.get(label, ANY_LABEL), value):
        raise NotRendered(named(what, Text("it does not match its `allow` pattern: {value}", value=shown(value))))
    return value


def plan_questions(query: Query, now: float) -> dict[str, Grid]:
    """At which moments to ask each expression of the queue."""
    steps = to_grid(now, max(query.for_s, query.reach_s), min(float(query.queue.keys["range"]) / 2, query.for_s / STEPS, STEP_S))
    grids = {"stuck": steps, "recovered": Grid(steps.end_ms, steps.step_ms, 0), "depth": Grid(steps.end_ms, *CURVE)}
    return {name: grid for name, grid in grids.items() if name in query.queue.keys}


def to_statement(queue: QueueRef, grids: Mapping[str, Grid], outcomes: Mapping[str, Any]) -> Statement:
    """What the answers say. Raises the error of a condition; without a depth there is no curve."""
    moments = {name: read(name, outcomes[grids[name].path(queue.keys[name])]) for name in CONDITIONS}
    grid, end_ms = grids["stuck"], grids["stuck"].end_ms
    held = next((step for step in range(grid.count + 2) if end_ms - step * grid.step_ms not in moments["stuck"]), 0)
    stuck_s = (held - 1) * grid.step_ms / 1000 if held else None
    free_s = (end_ms - max(moments["stuck"])) / 1000 if moments["stuck"] and not held else None
    figures = None
    with suppress(Denied, Unavailable):
        depths = read("depth", outcomes[grids["depth"].path(queue.keys["depth"])]) if "depth" in grids else {}
        samples = tuple((at_ms / 1000, math.ceil(value)) for at_ms, value in sorted(depths.items()) if value >= 0)
        figures = QueueSnapshot(samples[-1][0], samples[-1][1], depth_samples=samples) if samples else None
    return Statement(end_ms / 1000, float(queue.keys["range"]), stuck_s, bool(moments["recovered"]), free_s, figures)


class Prometheus(Struct, frozen=True):
    """`prometheus` in unstick.yaml."""

    Keys: ClassVar[type[SymptomKeys]] = Symptom
    name_queue = staticmethod(name_queue)

    url: Annotated[str, written("base-url")]
    """Without `/api/v1`."""
    user: str = ""
    """For basic authentication."""
    password: SecretRef | None = None
    """For basic authentication."""
    token: SecretRef | None = None
    """Bearer token, such as a Grafana service account's."""
    headers: Mapping[str, str] = field(default_factory=dict)
    """More headers, such as Mimir's `X-Scope-OrgID`; no secrets."""

    def look_all(self, queries: Sequence[Query], *, timeout_s: float) -> list[QueueOutcome]:
        """What each queue's conditions say now, and of the last `for_s` seconds, or `reach_s`."""
        sent_at = time.time()
        asked = [(query.queue, plan_questions(query, sent_at)) for query in queries]
        paths = [grid.path(queue.keys[name]) for queue, grids in asked for name, grid in grids.items()]
        outcomes = self.ask([CLOCK, *paths], timeout_s=timeout_s)

        def look(queue: QueueRef, grids: Mapping[str, Grid]) -> QueueOutcome:
            try:
                require_same_clock(outcomes[CLOCK], sent_at)
                return to_statement(queue, grids, outcomes)
            except (Unavailable, Denied) as error:
                return error

        return [look(queue, grids) for queue, grids in asked]

    def ask(self, paths: Iterable[str], *, timeout_s: float) -> dict[str, Any]:
        """GET all paths at the same time: the Answer of each, or the error in its place."""
        ends = time.monotonic() + timeout_s
        secret = self.password or self.token

        def ask_with(value: bytes) -> dict[str, Any]:
            auth = (self.user.encode(), value) if self.password else None
            bearer = {} if auth or not secret else {"Authorization": f"Bearer {value.decode(errors='replace')}"}

            def get(path: str, left_s: float) -> Answer:
                url, headers = self.url.rstrip("/") + path, {**self.headers, **bearer}
                return request(SYSTEM, "GET", url, timeout_s=left_s, headers=headers, auth=auth)

            return ask_all(SYSTEM, dict.fromkeys(paths, timeout_s), ends, get)

        def is_refused(outcomes: Mapping[str, Any]) -> bool:
            return any(isinstance(outcome, Answer) and outcome.status in FORBIDDEN for outcome in outcomes.values())

        return with_newest(secret, ask_with, is_refused) if secret else ask_with(b"")

    def check(self, symptom: runbooks.Symptom, labels: Mapping[str, str], *, timeout_s: float) -> list[Finding]:
        from functions.adapters.symptoms.prometheus import checks  # needed only for `check`

        return checks.findings(self, symptom, labels, timeout_s=timeout_s)


ADAPTER: type[SymptomAdapter] = Prometheus
