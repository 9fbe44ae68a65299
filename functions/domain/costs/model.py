"""The types of the report, the source of its JSON, card and chart."""

from collections.abc import Mapping
from enum import StrEnum

from msgspec import Struct, field

from functions.domain.model.alerts import Target
from functions.domain.model.incidents import Archive
from functions.domain.model.observations import ExecutionHistory, Unknown
from functions.domain.model.unmatched import UnmatchedAlert
from functions.runtime.text import Phrase

MAX_PROMINENCE = 5  # after this many weeks the bug itself is the headline
NAME = 60  # characters of a name


class Likely(StrEnum):
    HELD_UNACKED = "held_unacked"  # a consumer was connected, held messages, and acknowledged none
    NO_CONSUMER = "no_consumer"


class Cause(Struct, frozen=True):
    likely: Likely
    incidents: int
    of: int


class Became(StrEnum):
    HEALED_BY_PERSON = "healed_by_person"
    HEALED_BY_ITSELF = "healed_by_itself"  # or by something that the runner's history doesn't show
    NOT_ILL = "not_ill"  # it was healthy again before a restart would have ended
    STILL_ILL = "still_ill"  # it was unhealthy for a day
    UNKNOWN = "unknown"  # it was not followed to its end because the runbook changed


class WouldBe(Struct, frozen=True):
    healed_by_person: int
    healed_by_itself: int
    not_ill: int
    still_ill: int
    unknown: int
    median_after_s: float | None  # from the would-be restart to the person's

    @property
    def total(self) -> int:
        return self.healed_by_person + self.healed_by_itself + self.not_ill + self.still_ill + self.unknown


class Counts(Struct, frozen=True):
    days: int
    by_unstick: int
    by_hand: int
    recovered: int
    escalated: int
    held: int
    median_recovery_s: float | None  # from the alert to the recovery
    saved_minutes: float | None  # recoveries by Unstick's own restarts, times `manual_minutes`; None if the runbook sets none
    suspicions: int
    passed: int  # the suspicions whose queue moved by itself
    would_be: WouldBe  # the would-be restarts that were only observed

    @property
    def restarts(self) -> int:
        return self.by_unstick + self.by_hand


class Day(Struct, frozen=True):
    day: str  # YYYY-MM-DD; of `weekly` the first of seven
    by_unstick: int
    by_hand: int

    @property
    def restarts(self) -> int:
        return self.by_unstick + self.by_hand


class RunbookCost(Struct, frozen=True):
    runbook: str
    root_cause: str
    manual_minutes: float
    week: Counts
    month: Counts
    daily: tuple[Day, ...]  # the last 30 days, oldest first
    weekly: tuple[Day, ...]  # the last four times seven days, oldest first
    hours: tuple[int, ...]  # restarts of the month by the hour of the day, from 0 to 23
    cause: Cause | None
    first_at: float | None  # when the first incident of the current run began; a month without incidents ends a run
    weeks_open: int  # whole weeks since then
    likely: int  # incidents of the month that were only likely, so that a person was asked
    declined: tuple[str, ...]  # who declined a restart in the month, and why; newest first
    unseen: bool  # its history could not be read, or was not read

    @property
    def quiet(self) -> bool:
        month = self.month
        return not (month.restarts or month.recovered or month.escalated or month.held)

    @property
    def prominence(self) -> int:
        """How prominently to mention that the bug is still open: 0 is not at all, and each week adds one."""
        return 0 if self.quiet else min(1 + self.weeks_open, MAX_PROMINENCE)


class MissingData(StrEnum):
    ARCHIVE_BEGINS = "archive_begins"
    ARCHIVE_EMPTY = "archive_empty"
    ARCHIVE_BROKEN = "archive_broken"
    HISTORY_BEGINS = "history_begins"
    HISTORY_SHORT = "history_short"
    HISTORY_UNASKED = "history_unasked"
    HISTORY_UNREAD = "history_unread"
    OLDER_UNREAD = "older_unread"
    TARGETS_UNREAD = "targets_unread"


SHORT = {MissingData.ARCHIVE_BEGINS, MissingData.ARCHIVE_EMPTY, MissingData.HISTORY_BEGINS, MissingData.OLDER_UNREAD}
UNSEEN = frozenset(MissingData) - SHORT
"""Gaps in which restarts may be missing. Data that merely doesn't reach back isn't one."""


class Gap(Struct, frozen=True):
    """`at`: when the known data begins; `about`: target, runbook or reason; `count`: the number of records."""

    lack: MissingData
    at: float | None = None
    about: Phrase = ""
    count: int = 0


class Cost(Struct, frozen=True):
    at: float
    runbooks: tuple[RunbookCost, ...]  # the most restarts first; runbooks without restarts are last
    gaps: tuple[Gap, ...]
    unmatched: tuple[UnmatchedAlert, ...]  # suspicions of the week that matched no runbook; newest first

    def partial(self, days: int) -> bool:
        """Whether restarts of the last `days` days may be missing."""
        begin = self.at - days * 86400.0
        return any(gap.lack in UNSEEN and (gap.at is None or gap.at > begin) for gap in self.gaps)


class Known(Struct, frozen=True):
    """The gathered data. `records`: at least those of the month. `began`: runbook -> when its incidents in the archive began.
    `histories`: by target key; `targets`: runbook's name by target key, with the target."""

    records: tuple[Archive, ...]
    began: Mapping[str, tuple[float, ...]]
    targets: Mapping[str, tuple[str, Target]]
    histories: Mapping[str, ExecutionHistory | Unknown]
    gaps: tuple[Gap, ...] = ()
    passed: Mapping[str, Mapping[str, int]] = field(default_factory=dict)  # runbook -> day (YYYY-MM-DD) -> cleared suspicions
    unmatched: tuple[UnmatchedAlert, ...] = ()
