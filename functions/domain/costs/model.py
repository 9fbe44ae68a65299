"""The words of the report as types: plain, frozen, and all that JSON, card and chart are made of."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum

from msgspec import Struct

from functions.domain.model.alerts import Target
from functions.domain.model.incidents import Archive
from functions.domain.model.observations import Execution, ExecutionHistory, Unknown

LOUDEST = 5
"""After four weeks the bug itself is the headline, with the weeks that go on counting."""


class Likely(StrEnum):
    """What is likely behind it, as far as the figures before the restarts show."""

    HELD_UNACKED = "held_unacked"
    """A consumer was connected, held messages, and acknowledged none."""
    NO_CONSUMER = "no_consumer"


class Cause(Struct, frozen=True):
    """`incidents` of the `of` whose figures are known look like this."""

    likely: Likely
    incidents: int
    of: int


class Counts(Struct, frozen=True):
    """What happened in the last `days` days."""

    days: int
    by_unstick: int
    by_hand: int
    recovered: int
    escalated: int
    held: int
    median_recovery_s: float | None
    """From the alert to the recovery."""
    saved_minutes: float | None
    """Recoveries by Unstick's own restarts, times `manual_minutes`; None where the runbook gives none."""


class Day(Struct, frozen=True):
    """Restarts of a day, or of the seven days that begin with it."""

    day: str
    by_unstick: int
    by_hand: int


class RunbookCost(Struct, frozen=True):
    """What one runbook's bug costs."""

    runbook: str
    root_cause: str
    manual_minutes: float
    week: Counts
    month: Counts
    daily: tuple[Day, ...]
    """The last 30 days, oldest first."""
    weekly: tuple[Day, ...]
    """The last four times seven days, oldest first."""
    hours: tuple[int, ...]
    """Restarts of the month by the hour of the day, from 0 to 23."""
    cause: Cause | None
    first_at: float | None
    """When the first incident of the present run began. A month without any ends a run: the bug was mended, or went away."""
    weeks_open: int
    """Whole weeks since then."""
    unseen: bool = False
    """Rundeck's history of it could not be read, or was not looked at."""

    @property
    def quiet(self) -> bool:
        """Nothing happened in the month."""
        month = self.month
        return not (month.by_unstick or month.by_hand or month.recovered or month.escalated or month.held)

    @property
    def loudness(self) -> int:
        """How loud to say that the bug is still there: 0 for not at all, and one more every week."""
        return 0 if self.quiet else min(1 + self.weeks_open, LOUDEST)


class MissingData(StrEnum):
    """Why a figure may be too low."""

    ARCHIVE_BEGINS = "archive_begins"
    ARCHIVE_EMPTY = "archive_empty"
    ARCHIVE_BROKEN = "archive_broken"
    HISTORY_BEGINS = "history_begins"
    HISTORY_SHORT = "history_short"
    HISTORY_UNASKED = "history_unasked"
    HISTORY_UNREAD = "history_unread"
    OLDER_UNREAD = "older_unread"
    TARGETS_UNREAD = "targets_unread"


UNSEEN = frozenset(
    {
        MissingData.ARCHIVE_BROKEN,
        MissingData.HISTORY_SHORT,
        MissingData.HISTORY_UNASKED,
        MissingData.HISTORY_UNREAD,
        MissingData.TARGETS_UNREAD,
    }
)
"""Where restarts are sure to have gone by unseen, or may have; what merely shows nothing older is none of them."""


class Gap(Struct, frozen=True):
    """`at`: from when on it is known; `about`: target, runbook or reason; `count`: how many records."""

    lack: MissingData
    at: float | None = None
    about: str = ""
    count: int = 0


class Cost(Struct, frozen=True):
    at: float
    runbooks: tuple[RunbookCost, ...]
    """The most restarts first; runbooks without any are last."""
    gaps: tuple[Gap, ...] = ()

    def partial(self, days: int) -> bool:
        """Whether there may have been restarts in the last `days` days that nobody could see."""
        begin = self.at - days * 86400.0
        return any(gap.lack in UNSEEN and (gap.at is None or gap.at > begin) for gap in self.gaps)


class Known(Struct, frozen=True):
    """What was gathered. `records`: of the month at least. `began`: runbook -> when its incidents in the archive began.
    `ledgers`: by target key; `targets`: runbook's name by target key, with the target."""

    records: tuple[Archive, ...]
    began: Mapping[str, tuple[float, ...]]
    targets: Mapping[str, tuple[str, Target]]
    ledgers: Mapping[str, ExecutionHistory | Unknown]
    gaps: tuple[Gap, ...] = ()


def executions(record: Archive) -> tuple[Execution, ...]:
    """The restarts of an archived incident, without starts that the job refused."""
    tried = [attempt.execution for attempt in record.incident.tries if attempt.how != "refused_late"]
    return tuple(execution for execution in (*tried, record.incident.execution) if execution is not None)
