"""The suspicions that matched no runbook, in a document of their own, which stays small however many come and how often."""

from collections.abc import Callable, Mapping

from msgspec import Struct, field
from msgspec.structs import replace

from functions.domain.model.alerts import Alert
from functions.runtime.text import Phrase

KEY = "unmatched"  # the document's key
NOTED_S = 3600.0  # a repeated alert is noted once an hour, which saves writes
GATHERED_S = 60.0  # how long the first card waits for others of the same cause
TOLD_S = 86400.0
KEPT, KEPT_S = 50, 7 * 86400.0
TEXT_KEPT = 120


class UnmatchedAlert(Struct, frozen=True):
    name: str
    queue: str  # its label `queue`, which all shipped rules set
    detail: Phrase  # the labels that the runbooks look at, and what the closest one lacks
    first_at: float
    at: float  # when it was last noted

    @property
    def said(self) -> str:
        return f"{self.name} {self.queue}".strip()


class Unmatched(Struct, frozen=True):
    alerts: Mapping[str, UnmatchedAlert] = field(default_factory=dict)  # by `firings.alert_key`
    told_at: float = 0.0
    due: float | None = None  # when people are told of what was noted since the last message; None: nothing was

    def recent(self, now: float, within_s: float = TOLD_S) -> tuple[UnmatchedAlert, ...]:
        """The alerts that were noted within this time, newest first."""
        return tuple(sorted((one for one in self.alerts.values() if now - one.at <= within_s), key=lambda one: -one.at))


def note(known: Unmatched, key: str, alert: Alert, explain: Callable[[], Phrase], now: float) -> Unmatched:
    """Note the alert, unless it was noted within the hour. A week of `KEPT` distinct ones leaves no place for another."""
    before = known.alerts.get(key)
    if before is not None and now - before.at < NOTED_S:
        return known
    kept = {name: one for name, one in known.alerts.items() if now - one.at < KEPT_S}
    if key not in kept and len(kept) >= KEPT:
        return known
    name, queue = alert.name[:TEXT_KEPT], alert.labels.get("queue", "")[:TEXT_KEPT]
    kept[key] = UnmatchedAlert(name, queue, explain(), before.first_at if before else now, now)
    due = known.due if known.due is not None else max(now + GATHERED_S, known.told_at + TOLD_S)
    return replace(known, alerts=kept, due=due)
