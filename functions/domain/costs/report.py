"""Computes the cost of the bug from the archive and the runner's history, by runbook, over the last 7 and 30 days.
Days are in the configured time zone and include today. Each restart counts once, whatever its source: Unstick's by tag (with the
runner's own retries), a manual one by execution."""

from collections import Counter
from collections.abc import Mapping
from datetime import date, datetime, timedelta
from statistics import median

from msgspec import Struct

from functions.domain.costs import would_be
from functions.domain.costs.model import Cause, Cost, Counts, Day, Gap, Known, Likely, MissingData, RunbookCost
from functions.domain.model.codes import Ending, Reason
from functions.domain.model.incidents import Archive, Incident, Outcome
from functions.domain.model.observations import NOT_CHECKED, Execution, ExecutionHistory, QueueSnapshot, Unknown
from functions.domain.model.runbooks import Rules
from functions.runtime.text import named

WEEK, MONTH = 7, 30
WEEK_S = 7 * 86400.0
QUIET_S = 30 * 86400.0  # after this long without an incident, the next one begins a new run: the bug before it was fixed


class RestartAt(Struct, frozen=True):
    at: float
    by_hand: bool


def month_begin(now: float, rules: Rules) -> float:
    """Midnight at the start of the last 30 days."""
    return _midnight(local_day(now, rules) - timedelta(days=MONTH - 1), rules)


def cost(known: Known, rules: Rules, now: float) -> Cost:
    """Compute the cost. Runbooks that were removed from the configuration count too."""
    begin = month_begin(now, rules)
    gaps = (*known.gaps, *find_gaps(known, rules, begin, now))
    names = dict.fromkeys([*rules.runbooks, *(record.incident.runbook for record in known.records)])
    costs = [_spent(name, known, rules, now) for name in names if name]
    costs.sort(key=lambda spent: (spent.quiet, -spent.month.restarts, spent.runbook))
    return Cost(now, tuple(costs), gaps, known.unmatched)


def _spent(name: str, known: Known, rules: Rules, now: float) -> RunbookCost:
    runbook = rules.runbooks.get(name)
    minutes = runbook.manual_minutes if runbook else 0.0
    today, begin = local_day(now, rules), month_begin(now, rules)
    records = [record for record in known.records if record.incident.runbook == name]
    recent = [record for record in records if record.outcome.at >= begin]
    restarts = [restart for restart in _restarts(name, records, known, now) if restart.at >= begin]
    days = [today - timedelta(days=back) for back in reversed(range(MONTH))]
    by_day = Counter((local_day(restart.at, rules), restart.by_hand) for restart in restarts)
    daily = tuple(Day(day.isoformat(), by_day[day, False], by_day[day, True]) for day in days)
    by_hour = Counter(datetime.fromtimestamp(restart.at, rules.zone).hour for restart in restarts)
    first_at = _run_began(known.began.get(name, ()), now)
    return RunbookCost(
        name,
        runbook.root_cause if runbook else "",
        minutes,
        week=_counts(recent, restarts, minutes, known.passed.get(name, {}), days[-WEEK:], rules),
        month=_counts(recent, restarts, minutes, known.passed.get(name, {}), days, rules),
        daily=daily,
        weekly=tuple(_sum(daily[-back:][:WEEK]) for back in range(4 * WEEK, 0, -WEEK)),
        hours=tuple(by_hour[hour] for hour in range(24)),
        cause=_cause(recent),
        first_at=first_at,
        weeks_open=int((now - first_at) / WEEK_S) if first_at is not None else 0,
        likely=sum(_was_asked_about(record.incident) for record in recent),
        declined=_declined(recent),
        unseen=is_unseen(known, name),
    )


def _was_asked_about(incident: Incident) -> bool:
    """Whether a person was asked because it was only likely that a queue hung."""
    return bool(incident.approval.nonce) and any(watched.is_likely for watched in incident.queues)


def _declined(records: list[Archive]) -> tuple[str, ...]:
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


def _restarts(name: str, records: list[Archive], known: Known, now: float) -> list[RestartAt]:
    """All known restarts, each once. Times from the history take precedence: they aren't rounded by the age of an observation.
    A target's history belongs to this runbook, except for restarts of another runbook's incidents: two runbooks may share a
    target, and one may have been renamed."""
    others = (record for record in known.records if record.incident.runbook != name)
    of_others = {_mark(execution) for record in others for execution in record.executions}
    restarts: dict[str, RestartAt] = {}
    for record in records:
        note_restarts(restarts, record.incident)
    for key, (runbook, _) in known.targets.items():
        history = known.histories.get(key)
        if runbook == name and isinstance(history, ExecutionHistory):
            for execution in history.executions:
                if _mark(execution) not in of_others or _mark(execution) in restarts:
                    _note(restarts, execution, history.runner_now - now)
    return list(restarts.values())


def note_restarts(restarts: dict[str, RestartAt], incident: Incident) -> None:
    """Add the restarts that the incident knows of, each once."""
    for execution in incident.executions:
        _note(restarts, execution, incident.runner_ahead_s)


def is_own_recovery(incident: Incident, outcome: Outcome | None) -> bool:
    """Whether Unstick's own restart healed it, which saved somebody the work."""
    recovered = outcome is not None and outcome.ending is Ending.RECOVERED
    return recovered and incident.execution is not None and incident.execution.tag.startswith(f"{incident.id}.")


def _mark(execution: Execution) -> str:
    """Identifies a restart: by its tag, which the runner's own retries share, otherwise by its execution."""
    return execution.tag or f"execution {execution.id}"


def _note(restarts: dict[str, RestartAt], execution: Execution, ahead_s: float) -> None:
    if execution.refused or execution.scheduled or execution.runner_started_at is None:
        return
    mark, at = _mark(execution), execution.runner_started_at - ahead_s
    if mark not in restarts or at < restarts[mark].at:
        restarts[mark] = RestartAt(at, by_hand=not execution.tag)


def _counts(
    records: list[Archive], restarts: list[RestartAt], minutes: float, passed: Mapping[str, int], days: list[date], rules: Rules
) -> Counts:
    begin, dates = _midnight(days[0], rules), {day.isoformat() for day in days}
    moved = sum(count for day, count in passed.items() if day in dates)
    ended = [record for record in records if record.outcome.at >= begin]
    endings = Counter(record.outcome.ending for record in ended)
    recovered = [record for record in ended if record.outcome.ending is Ending.RECOVERED]
    took_s = [max(0.0, record.outcome.at - record.incident.first_alert_at) for record in recovered]
    own = sum(is_own_recovery(record.incident, record.outcome) for record in recovered)
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


def _sum(days: tuple[Day, ...]) -> Day:
    return Day(days[0].day, sum(day.by_unstick for day in days), sum(day.by_hand for day in days))


def _cause(records: list[Archive]) -> Cause | None:
    """The likely cause that at least half of the incidents share, of those whose consumers before the restart are known."""
    restarted = [record.incident.queues for record in records if record.incident.restarts]
    seen = [[one.before for one in queues if one.before and one.before.consumers is not None] for queues in restarted]
    causes = [_likely(befores) for befores in seen if befores]
    for likely, incidents in Counter(causes).most_common():
        if likely is not None and 2 * incidents >= len(causes):
            return Cause(likely, incidents, len(causes))
    return None


def _likely(befores: list[QueueSnapshot]) -> Likely | None:
    if any(map(_holds_unacked, befores)):
        return Likely.HELD_UNACKED
    return Likely.NO_CONSUMER if any(before.consumers == 0 and before.depth for before in befores) else None


def _holds_unacked(before: QueueSnapshot) -> bool:
    """Whether messages are held and none was acknowledged recently. A sample between two collections reads 0."""
    counted = [value for _, value in before.ack_samples if value]
    return bool(before.unacked and before.consumers) and (not counted or max(counted) == counted[0])


def local_day(at: float, rules: Rules) -> date:
    """The day of this time, in the configured time zone."""
    return datetime.fromtimestamp(at, rules.zone).date()


def _midnight(day: date, rules: Rules) -> float:
    return datetime(day.year, day.month, day.day, tzinfo=rules.zone).timestamp()


def find_gaps(known: Known, rules: Rules, begin: float, now: float) -> tuple[Gap, ...]:
    """All gaps since `begin`, except those found while reading."""
    first_at = min(map(min, known.began.values()), default=None)
    archive = [Gap(MissingData.ARCHIVE_EMPTY)] if first_at is None else []
    if first_at is not None and first_at > begin:
        archive = [Gap(MissingData.ARCHIVE_BEGINS, first_at)]
    unasked = (Gap(MissingData.HISTORY_UNASKED, about=name) for name in rules.runbooks if name not in _asked(known))
    return (*archive, *unasked, *_history_gaps(known, begin, now))


def is_unseen(known: Known, runbook: str) -> bool:
    """Whether restarts of the runbook may be missing: it has no known target, or the history of one could not be read."""
    names = (name for key, (name, _) in known.targets.items() if not isinstance(known.histories.get(key), ExecutionHistory))
    return runbook not in _asked(known) or runbook in names


def _asked(known: Known) -> set[str]:
    return {name for name, _ in known.targets.values()} | set(known.began)


def _history_gaps(known: Known, begin: float, now: float) -> list[Gap]:
    """Histories that can't be read, lack restarts that the archive has, or begin inside the month."""
    gaps_found = []
    for key, (_, target) in known.targets.items():
        history = known.histories.get(key, NOT_CHECKED)
        if isinstance(history, Unknown):
            gaps_found.append(Gap(MissingData.HISTORY_UNREAD, about=named(target.name, history.why)))
            continue
        listed_ids = {execution.id for execution in history.executions}
        starts = [execution.runner_started_at for execution in history.executions if execution.runner_started_at]
        begun = min(starts, default=history.runner_now) - (history.runner_now - now)
        if _missing(known.records, key, listed_ids, begin):
            gaps_found.append(Gap(MissingData.HISTORY_SHORT, begun, about=target.name))
        elif starts and begun > begin:
            gaps_found.append(Gap(MissingData.HISTORY_BEGINS, begun, about=target.name))
    return gaps_found


def _missing(records: tuple[Archive, ...], key: str, listed_ids: set[str], begin: float) -> bool:
    """Whether the archive has a restart since `begin` that the target's history lacks."""
    return any(
        execution.ended
        and execution.id not in listed_ids
        and (execution.runner_started_at or 0.0) - record.incident.runner_ahead_s >= begin
        for record in records
        if record.target is not None and record.target.key == key
        for execution in record.executions
    )
