"""Counts what the incidents of each runbook have in common: hours, targets, holders of messages, and lines of evidence."""

import re
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from enum import StrEnum
from itertools import pairwise
from statistics import median

from msgspec import Struct

from functions.domain.costs.model import NAME, Known
from functions.domain.model.codes import ASKED, Ending, Reason
from functions.domain.model.incidents import Archive, QueueState
from functions.domain.model.moves import Moved, read_moved
from functions.domain.model.observations import ExecutionHistory, Holder, remedy_of
from functions.domain.model.runbooks import Rules
from functions.domain.texts.sanitize import clean
from functions.runtime.text import Phrase, Text

LEAST = 5  # with fewer incidents, common features are often chance, so nothing is reported
MOST = 0.75  # the minimum share of incidents with a pattern

WIDTHS = (1, 2, 3)  # hours of the day that are counted together
BOUT_S = 3 * 3600.0  # incidents that begin within this time of each other count once for hours and weekdays
GROWTH_S = 60.0  # minimum length of a curve for measuring growth

_VARYING = re.compile(
    r"\d{4}-\d\d-\d\d[T ][\d:.,]+(?:Z|[+-]\d\d:?\d\d)?"  # a time
    r"|\b\d\d:\d\d:\d\d(?:[.,]\d+)?\b"
    r"|\b0x[0-9a-f]+\b|\b(?=[a-f]*\d)[0-9a-f]{8,}(?:-[0-9a-f]{4,12})*\b"  # an address or an id
    r"|(?<!line )(?<![\w.:/-])\d+(?:\.\d+)?(?!\.?\w|[:/-]\w)"  # a number, but not a line number of code or part of a name
)
"""Parts of a line that differ from run to run."""

_NO_ALERT = {Reason.NOT_FIRING, Reason.NO_RUNBOOK, Reason.TEST_ALERT, Reason.MONITORING_FAILURE, Reason.STALE_ALERT}
NO_TROUBLE = {*_NO_ALERT, Reason.SYMPTOM_GONE, Reason.SYMPTOM_UNKNOWN, Reason.DUPLICATE, Reason.INVALID_OPTION}
"""Incidents that were only held for these reasons aren't compared: their queue may not have been stuck."""


class Kind(StrEnum):
    HOURS = "hours"
    TARGET = "target"
    HOLDER = "holder"
    HOST = "host"
    LINE = "line"
    MESSAGE = "message"


class Pattern(Struct, frozen=True):
    """Something that `count` of the `of` incidents (for hours: bouts) share. `what`: the hours, the host, the line."""

    kind: Kind
    what: Phrase
    count: int
    of: int


class Spread(Struct, frozen=True):
    low: float
    middle: float
    high: float
    of: int


class Case(Struct, frozen=True):
    """The compared part of one incident. Times are Unix seconds on our clock."""

    incident: str
    target: str
    at: float  # when its first alert began
    ending: str
    restarts: int
    asked: bool = False  # whether it needed a person's yes or no
    since_restart_s: float | None = None  # since the end of the previous restart, by anybody
    depth: int | None = None  # of its deepest queue, before the restart
    growth: float | None = None  # messages a minute by which that queue grew before the restart; negative if it fell
    oldest_s: float | None = None  # the age of its oldest ready message, if publishers set timestamps
    consumers: int | None = None
    holders: tuple[Holder, ...] = ()  # who held that queue's messages before the restart
    lines: tuple[str, ...] = ()  # the lines of its evidence that its cards showed
    moved: tuple[Moved, ...] = ()  # the messages that were moved aside, after which it recovered


class Common(Struct, frozen=True):
    runbook: str
    cases: tuple[Case, ...]  # oldest first
    hours: tuple[int, ...]  # bouts by the hour of the day, from 0 to 23
    weekdays: tuple[int, ...]  # bouts by weekday, from Monday
    patterns: tuple[Pattern, ...]
    since_restart_s: Spread | None = None
    depth: Spread | None = None
    growth: Spread | None = None
    oldest_s: Spread | None = None

    @property
    def moved(self) -> tuple[Moved, ...]:
        """The messages that hung an application, the newest first."""
        return tuple(message for case in reversed(self.cases) for message in case.moved)

    @property
    def lines(self) -> tuple[Pattern, ...]:
        return tuple(one for one in self.patterns if one.kind is Kind.LINE)

    @property
    def besides_lines(self) -> tuple[Pattern, ...]:
        return tuple(one for one in self.patterns if one.kind is not Kind.LINE)

    @property
    def too_few(self) -> bool:
        return len(self.cases) < LEAST


def compare(known: Known, rules: Rules, now: float) -> tuple[Common, ...]:
    """What the incidents of each runbook have in common. Runbooks without incidents are left out; most incidents first."""
    ends = _restart_ends(known, now)
    cases: dict[str, list[Case]] = {}
    for record in known.records:
        if record.incident.restarts or record.outcome.reason not in NO_TROUBLE:
            cases.setdefault(record.incident.runbook, []).append(_case(record, ends))
    compared = [_compare(name, sorted(those, key=lambda case: case.at), rules) for name, those in cases.items()]
    return tuple(sorted(compared, key=lambda common: (-len(common.cases), common.runbook)))


def _compare(runbook: str, cases: list[Case], rules: Rules) -> Common:
    later = (case.at for earlier, case in pairwise(cases) if case.at - earlier.at > BOUT_S)
    firsts = [*(case.at for case in cases[:1]), *later]
    began = [datetime.fromtimestamp(at, rules.zone) for at in firsts]
    hours, weekdays = Counter(one.hour for one in began), Counter(one.weekday() for one in began)
    by_hour = tuple(hours[hour] for hour in range(24))
    return Common(
        runbook,
        tuple(cases),
        by_hour,
        tuple(weekdays[day] for day in range(7)),
        _patterns(cases, by_hour) if len(cases) >= LEAST else (),
        since_restart_s=_spread(case.since_restart_s for case in cases),
        depth=_spread(case.depth for case in cases),
        growth=_spread(case.growth for case in cases),
        oldest_s=_spread(case.oldest_s for case in cases),
    )


def _spread(figures: Iterable[float | None]) -> Spread | None:
    known = [figure for figure in figures if figure is not None]
    return Spread(min(known), median(known), max(known), len(known)) if known else None


def _patterns(cases: list[Case], hours: Sequence[int]) -> tuple[Pattern, ...]:
    targets = [{clean(case.target, NAME, "…")} for case in cases if case.target]
    lines = [{_VARYING.sub("*", line) for line in case.lines} for case in cases if case.lines]
    return (
        *_in_hours(hours),
        *(_shared(Kind.TARGET, targets) if len(set().union(*targets)) > 1 else ()),
        *_shared(Kind.HOLDER, _holders(cases, lambda holder: holder.name)),
        *_shared(Kind.HOST, _holders(cases, lambda holder: holder.host)),
        *_shared(Kind.LINE, lines),
        *_shared(Kind.MESSAGE, [set().union(*map(_traits, case.moved)) for case in cases if case.moved]),
    )


def _traits(message: Moved) -> set[str]:
    """What messages of one kind have in common."""
    named = {"type": message.type, "app id": message.app_id, "exchange": message.exchange, "routing key": message.routing_key}
    return {f"{name} {clean(value, NAME, '…')}" for name, value in named.items() if value}


def _shared(kind: Kind, having: Sequence[set[str]]) -> list[Pattern]:
    """What most of the sets contain, most frequent first; empty if too few incidents have any."""
    counted = Counter(one for those in having for one in those)
    often = sorted((-count, one) for one, count in counted.items() if count >= MOST * len(having))
    return [Pattern(kind, one, -count, len(having)) for count, one in often] if len(having) >= LEAST else []


def _in_hours(hours: Sequence[int]) -> list[Pattern]:
    """The shortest range of hours in which most bouts began."""
    of = sum(hours)
    for width in WIDTHS if of >= LEAST else ():
        counts = [sum(hours[(first + place) % 24] for place in range(width)) for first in range(24)]
        most = max(counts)
        if most >= MOST * of:
            first = counts.index(most)
            between = Text("{begin} to {end}", begin=f"{first:02d}:00", end=f"{(first + width) % 24:02d}:00")
            return [Pattern(Kind.HOURS, between, most, of)]
    return []


def _holders(cases: list[Case], named: Callable[[Holder], str]) -> list[set[str]]:
    """Who held the messages of each incident. A single consumer says nothing: nobody else could have held them."""
    several = [case.holders for case in cases if (case.consumers or len(case.holders)) > 1]
    return [names for holders in several if (names := {clean(named(one), NAME, "…") for one in holders} - {""})]


def _case(record: Archive, ends: dict[str, list[float]]) -> Case:
    incident, target = record.incident, record.target
    at = incident.first_alert_at
    earlier = [end for end in ends.get(target.key, ()) if end <= at] if target else []
    deepest = max(incident.queues, key=lambda watched: _depth(watched) or 0, default=None)
    before = deepest.before if deepest else None
    return Case(
        incident.id,
        target.name if target else "",
        at,
        record.outcome.ending.value,
        incident.restarts,
        asked=bool(incident.approval.approved_by or incident.approval.declined_by) or incident.reason in ASKED,
        since_restart_s=at - max(earlier) if earlier else None,
        depth=_depth(deepest) if deepest else None,
        growth=_growth(deepest) if deepest else None,
        oldest_s=max(0.0, before.at - before.head_at) if before and before.head_at is not None else None,
        consumers=before.consumers if before else None,
        holders=before.holders if before else deepest.holders if deepest else (),
        lines=incident.evidence.lines if incident.evidence else (),
        moved=_moved(record),
    )


def _moved(record: Archive) -> tuple[Moved, ...]:
    execution = record.incident.execution
    well = record.outcome.ending is Ending.RECOVERED and execution is not None and remedy_of(execution.tag)
    return read_moved(record.incident.run.tail) if well else ()


def _depth(watched: QueueState) -> int | None:
    if watched.before is not None:
        return watched.before.depth
    return watched.curve[-1][1] if watched.curve else None


def _growth(watched: QueueState) -> float | None:
    until = watched.before.at if watched.before else float("inf")
    points = [(at, depth) for at, depth in watched.curve if at <= until]
    if not points or points[-1][0] - points[0][0] < GROWTH_S:
        return None
    (first_at, first), (last_at, last) = points[0], points[-1]
    return (last - first) / (last_at - first_at) * 60


def _restart_ends(known: Known, now: float) -> dict[str, list[float]]:
    """Target -> the end of its restarts on our clock, by Unstick and by hand, unordered."""
    ran = [
        (record.target.key, execution, record.incident.runner_ahead_s)
        for record in known.records
        for execution in record.executions
        if record.target
    ]
    for key, history in known.histories.items():
        if isinstance(history, ExecutionHistory):
            ran += [(key, execution, history.runner_now - now) for execution in history.executions]
    ends: dict[str, list[float]] = {}
    for key, execution, ahead_s in ran:
        if execution.runner_ended_at is not None and not execution.refused:
            ends.setdefault(key, []).append(execution.runner_ended_at - ahead_s)
    return ends
