"""Compares the incidents of each runbook: when they began, how long after a restart, how deep the queue was.

Every figure against chance counts in how many places it was looked for.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime

from msgspec.structs import replace

from functions.domain.causes import chance
from functions.domain.causes.lines import common_lines
from functions.domain.causes.model import LEAST, Case, Common, Kind, Pattern, ordered, spread
from functions.domain.costs.model import Known, executions
from functions.domain.model.codes import Reason
from functions.domain.model.incidents import Archive, QueueState
from functions.domain.model.observations import ExecutionHistory, Holder
from functions.domain.model.runbooks import Rules
from functions.domain.texts.sanitize import clean
from functions.domain.texts.words import WEEKDAYS, duration
from functions.runtime.text import Phrase, Text

BOUT_S = 3 * 3600.0
"""An incident that begins so soon after another is of the same bout: one cause, counted once for hours and weekdays."""
WIDTHS = (1, 2, 3, 6)
"""Hours of the day that are looked at together."""
ALIKE = 0.2
"""Intervals that differ by so much from their median count as alike."""
LEAST_INTERVALS = 4
_ADDRESS, _NUMBER = re.compile(r"\b0x[0-9a-f]+\b"), re.compile(r"(?<!line )(?<![\w:.])\d+\b(?!:)")
"""What differs from run to run; the number of a line of code does not."""
NAME = 60
"""Characters of a holder's name."""
GROWTH_S = 60.0
"""A curve that is shorter says nothing about growth."""
NO_TROUBLE = frozenset(
    {
        Reason.NOT_FIRING,
        Reason.NO_RUNBOOK,
        Reason.TEST_ALERT,
        Reason.MONITORING_FAILURE,
        Reason.STALE_ALERT,
        Reason.SYMPTOM_GONE,
        Reason.SYMPTOM_UNKNOWN,
        Reason.DUPLICATE,
        Reason.INVALID_OPTION,
    }
)
"""Held for these, and never restarted: nobody knows whether the queue was stuck."""


def compare(known: Known, rules: Rules, now: float) -> tuple[Common, ...]:
    """What the incidents of each runbook have in common; runbooks without any are left out, most incidents first."""
    ends = _restart_ends(known, now)
    cases: dict[str, list[Case]] = {}
    for record in known.records:
        if record.incident.restarts or record.outcome.reason not in NO_TROUBLE:
            cases.setdefault(record.incident.runbook, []).append(_case(record, ends))
    compared = [_compare(name, sorted(those, key=lambda case: case.at), rules) for name, those in cases.items()]
    return tuple(sorted(compared, key=lambda common: (-len(common.cases), common.runbook)))


def _compare(runbook: str, cases: list[Case], rules: Rules) -> Common:
    began = [datetime.fromtimestamp(at, rules.zone) for at in chance.bouts([case.at for case in cases], BOUT_S)]
    hours, weekdays = Counter(one.hour for one in began), Counter(one.weekday() for one in began)
    common = Common(
        runbook,
        tuple(cases),
        tuple(hours[hour] for hour in range(24)),
        tuple(weekdays[day] for day in range(7)),
        since_restart_s=spread(case.since_restart_s for case in cases),
        depth=spread(case.depth for case in cases),
        growth=spread(case.growth for case in cases),
        oldest_s=spread(case.oldest_s for case in cases),
    )
    if common.too_few:
        return common
    patterns = [_in_hours(common.hours), _on_weekdays(common.weekdays), *_after_restarts(cases)]
    patterns += _held_by(cases, Kind.HOLDER, lambda holder: holder.name)
    patterns += _held_by(cases, Kind.HOST, lambda holder: holder.host)
    patterns += _shown_lines(cases)
    return replace(common, patterns=ordered(patterns))


def _in_hours(hours: Sequence[int]) -> Pattern:
    """The hours of the day in which the most began, compared with incidents that come at any time."""
    of = sum(hours)
    windows = [(width, first) for width in WIDTHS for first in range(24)]

    def judged(width: int, first: int) -> Pattern:
        count = sum(hours[(first + place) % 24] for place in range(width))
        between = Text("{begin} to {end}", begin=f"{first:02d}:00", end=f"{(first + width) % 24:02d}:00")
        probability = chance.corrected(chance.at_least(count, of, width / 24), len(windows))
        return Pattern(Kind.HOURS, between, count, of, probability)

    return ordered(judged(*window) for window in windows)[0]


def _on_weekdays(weekdays: Sequence[int]) -> Pattern:
    """The weekday on which the most began; or working days, or weekends."""
    of = sum(weekdays)
    groups: list[tuple[Phrase, tuple[int, ...]]] = [(name, (day,)) for day, name in enumerate(WEEKDAYS)]
    groups += [(Text("Monday to Friday"), (0, 1, 2, 3, 4)), (Text("Saturday or Sunday"), (5, 6))]

    def judged(group: tuple[Phrase, tuple[int, ...]]) -> Pattern:
        name, days = group
        count = sum(weekdays[day] for day in days)
        probability = chance.corrected(chance.at_least(count, of, len(days) / 7), len(groups))
        return Pattern(Kind.WEEKDAYS, name, count, of, probability)

    return ordered(map(judged, groups))[0]


def _after_restarts(cases: list[Case]) -> Iterator[Pattern]:
    """Whether the time from one restart to the next incident is always the same: a leak, a time-out, a full disk."""
    intervals = [case.since_restart_s for case in cases if case.since_restart_s is not None]
    if len(intervals) >= LEAST_INTERVALS:
        count, probability = chance.regular(intervals, ALIKE)
        middle = sorted(intervals)[len(intervals) // 2]
        yield Pattern(Kind.INTERVAL, duration(middle), count, len(intervals), probability)


def _shown_lines(cases: list[Case]) -> tuple[Pattern, ...]:
    """The lines that most incidents' cards showed. Nothing says how often they stand there in healthy times."""
    return common_lines(
        [frozenset(_ADDRESS.sub("0x*", _NUMBER.sub("*", line)) for line in case.lines) for case in cases if case.lines]
    )


def _held_by(cases: list[Case], kind: Kind, named: Callable[[Holder], str]) -> list[Pattern]:
    """Who held the messages most often, compared with each consumer being as likely to hold them."""
    known = [(case, {name for holder in case.holders if (name := named(holder))}) for case in cases]
    known = [(case, names) for case, names in known if names]
    counted = Counter(name for _, names in known for name in names)
    if not counted or len(known) < LEAST:
        return []
    name, count = min(counted.items(), key=lambda item: (-item[1], item[0]))
    consumers = [max(len(names), case.consumers or len(names)) for case, names in known]
    shares = [len(names) / connected for (_, names), connected in zip(known, consumers, strict=True)]
    probability = chance.corrected(chance.at_least_of(count, shares), max(consumers))
    return [Pattern(kind, clean(name, NAME, "…"), count, len(known), probability)]


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
        since_restart_s=at - max(earlier) if earlier else None,
        depth=_depth(deepest) if deepest else None,
        growth=_growth(deepest) if deepest else None,
        oldest_s=max(0.0, before.at - before.head_at) if before and before.head_at is not None else None,
        consumers=before.consumers if before else None,
        holders=before.holders if before else deepest.holders if deepest else (),
        lines=incident.evidence.lines if incident.evidence else (),
    )


def _depth(watched: QueueState) -> int | None:
    if watched.before is not None:
        return watched.before.depth
    return watched.curve[-1][1] if watched.curve else None


def _growth(watched: QueueState) -> float | None:
    """Messages a minute, over the part of the curve from before the restart."""
    until = watched.before.at if watched.before else float("inf")
    points = [(at, depth) for at, depth in watched.curve if at <= until]
    if len(points) < 2 or points[-1][0] - points[0][0] < GROWTH_S:
        return None
    (first_at, first), (last_at, last) = points[0], points[-1]
    return (last - first) / (last_at - first_at) * 60


def _restart_ends(known: Known, now: float) -> dict[str, list[float]]:
    """By target: when its restarts ended on our clock, by Unstick and by hand, in no order."""
    ends: dict[str, list[float]] = {}
    for record in known.records:
        for execution in executions(record):
            if record.target and execution.runner_ended_at is not None and not execution.refused:
                ends.setdefault(record.target.key, []).append(execution.runner_ended_at - record.incident.runner_ahead_s)
    for key, ledger in known.ledgers.items():
        if isinstance(ledger, ExecutionHistory):
            ahead_s = ledger.runner_now - now
            ends.setdefault(key, []).extend(
                execution.runner_ended_at - ahead_s
                for execution in ledger.executions
                if execution.runner_ended_at is not None and not execution.refused
            )
    return ends
