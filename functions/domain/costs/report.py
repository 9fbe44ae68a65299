"""Computes the cost of the bug from the archive and the runner's history, by runbook, over the last 7 and 30 days.

Days are in the configured time zone and include today. Each restart counts once, whatever its source: Unstick's by tag (with
the runner's own retries), a manual one by execution.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from datetime import date, datetime, timedelta
from statistics import median

from msgspec import Struct

from functions.domain.costs import gaps as cost_gaps
from functions.domain.costs import would_be
from functions.domain.costs.model import Cause, Cost, Counts, Day, Known, Likely, RunbookCost
from functions.domain.model.codes import Ending, Reason
from functions.domain.model.incidents import Archive
from functions.domain.model.observations import Execution, ExecutionHistory, QueueSnapshot
from functions.domain.model.runbooks import Rules
from functions.runtime.text import named

WEEK, MONTH = 7, 30
WEEK_S = 7 * 86400.0
QUIET_S = 30 * 86400.0
"""After this long without an incident, the next one begins a new run: the bug before it was fixed, or went away."""


class _Restart(Struct, frozen=True):
    at: float
    by_hand: bool


def month_begin(now: float, rules: Rules) -> float:
    """Midnight at the start of the last 30 days."""
    return _midnight(_day(now, rules) - timedelta(days=MONTH - 1), rules)


def cost(known: Known, rules: Rules, now: float) -> Cost:
    """Compute the cost. Runbooks that were removed from the configuration count too."""
    begin = month_begin(now, rules)
    gaps = (*known.gaps, *cost_gaps.gaps(known, rules, begin, now))
    names = dict.fromkeys([*rules.runbooks, *(record.incident.runbook for record in known.records)])
    costs = [_spent(name, known, rules, now) for name in names if name]
    costs.sort(key=lambda spent: (spent.quiet, -(spent.month.by_unstick + spent.month.by_hand), spent.runbook))
    return Cost(now, tuple(costs), gaps)


def _spent(name: str, known: Known, rules: Rules, now: float) -> RunbookCost:
    runbook = rules.runbooks.get(name)
    minutes = runbook.manual_minutes if runbook else 0.0
    today, begin = _day(now, rules), month_begin(now, rules)
    records = [record for record in known.records if record.incident.runbook == name]
    restarts = [restart for restart in _restarts(name, records, known, now) if restart.at >= begin]
    days = [today - timedelta(days=back) for back in reversed(range(MONTH))]
    daily = _daily(restarts, days, rules)
    first_at = _run_began(known.began.get(name, ()), now)
    return RunbookCost(
        name,
        runbook.root_cause if runbook else "",
        minutes,
        week=_counts(records, restarts, minutes, known.passed.get(name, {}), days[-WEEK:], rules),
        month=_counts(records, restarts, minutes, known.passed.get(name, {}), days, rules),
        daily=daily,
        weekly=tuple(_sum(daily[-back:][:WEEK]) for back in range(4 * WEEK, 0, -WEEK)),
        hours=_hours(restarts, rules),
        cause=_cause(record for record in records if record.outcome.at >= begin),
        first_at=first_at,
        weeks_open=int((now - first_at) / WEEK_S) if first_at is not None else 0,
        declined=_declined(record for record in records if record.outcome.at >= begin),
        unseen=cost_gaps.unseen(known, name),
    )


def _declined(records: Iterable[Archive]) -> tuple[str, ...]:
    """`name: reason` of each incident that a person declined, newest first."""
    declined = [record for record in records if record.outcome.reason is Reason.DECLINED]
    newest = sorted(declined, key=lambda record: -record.outcome.at)
    return tuple(str(named(record.incident.approval.declined_by, record.incident.detail)) for record in newest)


def _run_began(began: tuple[float, ...], now: float) -> float | None:
    """When the first incident of the current run of incidents began, if there is one."""
    first_at = None
    for at in sorted(began, reverse=True):
        if (now if first_at is None else first_at) - at > QUIET_S:
            break
        first_at = at
    return first_at


def _restarts(name: str, records: list[Archive], known: Known, now: float) -> list[_Restart]:
    r"""All known restarts, each once. Times from the history take precedence: they aren't rounded by the age of an observation.

    A target's history belongs to this runbook, except for restarts of another runbook's incidents: two runbooks may share a
    target, and one may have been renamed.
    """
    of_others = {
        _mark(execution) for record in known.records if record.incident.runbook != name for execution in record.executions
    }
    restarts: dict[str, _Restart] = {}
    for record in records:
        for execution in record.executions:
            _note(restarts, execution, record.incident.runner_ahead_s)
    for key, (runbook, _) in known.targets.items():
        ledger = known.ledgers.get(key)
        if runbook == name and isinstance(ledger, ExecutionHistory):
            for execution in ledger.executions:
                if _mark(execution) not in of_others or _mark(execution) in restarts:
                    _note(restarts, execution, ledger.runner_now - now)
    return list(restarts.values())


def _mark(execution: Execution) -> str:
    """Identifies a restart: by its tag, which the runner's own retries share, otherwise by its execution."""
    return execution.tag or f"execution {execution.id}"


def _note(restarts: dict[str, _Restart], execution: Execution, ahead_s: float) -> None:
    if execution.refused or execution.scheduled or execution.runner_started_at is None:
        return
    mark, at = _mark(execution), execution.runner_started_at - ahead_s
    if mark not in restarts or at < restarts[mark].at:
        restarts[mark] = _Restart(at, by_hand=not execution.tag)


def _counts(
    records: list[Archive], restarts: list[_Restart], minutes: float, passed: Mapping[str, int], days: list[date], rules: Rules
) -> Counts:
    begin, dates = _midnight(days[0], rules), {day.isoformat() for day in days}
    moved = sum(count for day, count in passed.items() if day in dates)
    ended = [record for record in records if record.outcome.at >= begin]
    endings = Counter(record.outcome.ending for record in ended)
    recovered = [record for record in ended if record.outcome.ending is Ending.RECOVERED]
    took_s = [_took_s(record) for record in recovered]
    own = sum(_own(record) for record in recovered)
    by_hand = [restart.by_hand for restart in restarts if restart.at >= begin]
    return Counts(
        len(days),
        by_unstick=by_hand.count(False),
        by_hand=by_hand.count(True),
        recovered=endings[Ending.RECOVERED],
        escalated=endings[Ending.ESCALATED],
        held=endings[Ending.HELD],
        median_recovery_s=median(took_s) if took_s else None,
        saved_minutes=own * minutes if minutes > 0 else None,
        suspicions=moved + sum(any(trigger.suspicion for trigger in record.incident.triggers) for record in ended),
        passed=moved,
        would_be=would_be.count(ended),
    )


def _took_s(record: Archive) -> float:
    return max(0.0, record.outcome.at - record.incident.first_alert_at)


def _own(record: Archive) -> bool:
    """Whether the restart that helped was Unstick's."""
    execution = record.incident.execution
    return execution is not None and execution.tag.startswith(f"{record.incident.id}.")


def _daily(restarts: list[_Restart], days: list[date], rules: Rules) -> tuple[Day, ...]:
    count = Counter((_day(restart.at, rules), restart.by_hand) for restart in restarts)
    return tuple(Day(day.isoformat(), count[day, False], count[day, True]) for day in days)


def _sum(days: tuple[Day, ...]) -> Day:
    """All restarts of these days, as one Day."""
    return Day(days[0].day, sum(day.by_unstick for day in days), sum(day.by_hand for day in days))


def _hours(restarts: list[_Restart], rules: Rules) -> tuple[int, ...]:
    count = Counter(datetime.fromtimestamp(restart.at, rules.zone).hour for restart in restarts)
    return tuple(count[hour] for hour in range(24))


# --- the likely cause --------------------------------------------------------------------------------------------------


def _cause(records: Iterable[Archive]) -> Cause | None:
    """The likely cause of at least half of the incidents whose consumers right before the restart are known."""
    seen = [
        [queue.before for queue in record.incident.queues if queue.before and queue.before.consumers is not None]
        for record in records
        if record.incident.restarts
    ]
    causes = [_likely(befores) for befores in seen if befores]
    for likely, incidents in Counter(causes).most_common():
        if likely is not None and 2 * incidents >= len(causes):
            return Cause(likely, incidents, len(causes))
    return None


def _likely(befores: list[QueueSnapshot]) -> Likely | None:
    if any(before.holds_unacked for before in befores):
        return Likely.HELD_UNACKED
    return Likely.NO_CONSUMER if any(before.consumers == 0 and before.depth for before in befores) else None


def _day(at: float, rules: Rules) -> date:
    return datetime.fromtimestamp(at, rules.zone).date()


def _midnight(day: date, rules: Rules) -> float:
    return datetime(day.year, day.month, day.day, tzinfo=rules.zone).timestamp()
