"""Finds gaps in the report's data: what archive and history can't show."""

from __future__ import annotations

from functions.domain.costs.model import Gap, Known, MissingData
from functions.domain.model.incidents import Archive
from functions.domain.model.observations import ExecutionHistory, Unknown
from functions.domain.model.runbooks import Rules
from functions.runtime.text import Text, named


def gaps(known: Known, rules: Rules, begin: float, now: float) -> tuple[Gap, ...]:
    """All gaps since `begin`, except those found while reading."""
    return (*_archive_gaps(known, begin), *_unasked(known, rules), *_history_gaps(known, begin, now))


def unseen(known: Known, runbook: str) -> bool:
    """Whether restarts of the runbook may be missing."""
    return runbook not in _asked(known) or any(known.targets[key][0] == runbook for key in _unread(known))


def _archive_gaps(known: Known, begin: float) -> list[Gap]:
    if not known.began:
        return [Gap(MissingData.ARCHIVE_EMPTY)]
    first_at = min(map(min, known.began.values()))
    return [Gap(MissingData.ARCHIVE_BEGINS, first_at)] if first_at > begin else []


def _asked(known: Known) -> set[str]:
    """The runbooks with a known target and a readable history."""
    return {name for name, _ in known.targets.values()} | set(known.began)


def _unasked(known: Known, rules: Rules) -> list[Gap]:
    return [Gap(MissingData.HISTORY_UNASKED, about=name) for name in rules.runbooks if name not in _asked(known)]


def _unread(known: Known) -> list[str]:
    """The targets whose history could not be read."""
    return [key for key in known.targets if not isinstance(known.ledgers.get(key), ExecutionHistory)]


def _history_gaps(known: Known, begin: float, now: float) -> list[Gap]:
    """Histories that can't be read, lack restarts that the archive has, or begin inside the month."""
    gaps_found = []
    for key, (_, target) in known.targets.items():
        ledger = known.ledgers.get(key, Unknown(Text("it was not checked")))
        if isinstance(ledger, Unknown):
            gaps_found.append(Gap(MissingData.HISTORY_UNREAD, about=named(target.name, ledger.why)))
            continue
        listed_ids = {execution.id for execution in ledger.executions}
        starts = [execution.runner_started_at for execution in ledger.executions if execution.runner_started_at]
        begun = min(starts, default=ledger.runner_now) - (ledger.runner_now - now)
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
