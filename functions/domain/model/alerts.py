"""Alerts, and the targets and queues that they name. Times are Unix seconds in UTC."""

import hashlib
from collections.abc import Callable, Mapping

from msgspec import Struct, field
from msgspec.structs import replace

from functions.domain.model.codes import Reason
from functions.domain.model.runbooks import Runbook
from functions.runtime.text import Phrase

CONSUMERS_1D, ACKED_1D = "unstick_consumers_1d", "unstick_acked_1d"
"""Annotations of the shipped rules, as integers: the most consumers that the queue had in the last day, and how many messages
they acknowledged. They outlive a restart of the broker, which begins its counters anew."""

SOURCE_KEPT = 200
SUSPICION = ("unstick", "suspicion")  # label and value of an early alert, which fires long before the queue certainly is stuck


class Alert(Struct, frozen=True):
    """One entry of a notification's `alerts`, from Grafana or Alertmanager."""

    fingerprint: str
    source: str  # the sender's external URL and organisation: fingerprints are unique only inside one source
    firing: bool
    labels: Mapping[str, str]
    annotations: Mapping[str, str]
    starts_at: float
    ends_at: float | None = None  # None while the alert fires (Grafana sends year 1)
    generator_url: str = ""
    silence_url: str = ""
    dashboard_url: str = ""
    panel_url: str = ""
    test: bool = False  # sent by the Test button of a contact point

    @property
    def name(self) -> str:
        return self.labels.get("alertname", "")

    @property
    def short_source(self) -> str:
        """The source if it is short, otherwise its hash."""
        fits = len(self.source) <= SOURCE_KEPT and self.source.isascii() and self.source.isprintable()
        return self.source if fits else hashlib.sha256(self.source.encode(errors="surrogatepass")).hexdigest()

    @property
    def key(self) -> str:
        """Identifies the alert across its firing periods. A fingerprint is unique only inside one source."""
        return f"{self.short_source}|{self.fingerprint}"

    @property
    def is_suspicion(self) -> bool:
        """Whether the rule only suspects: Unstick waits for `symptom.for`, and notifies nobody if the suspicion clears."""
        label, value = SUSPICION
        return self.labels.get(label) == value

    def history_of(self, annotation: str) -> int | None:
        """The count in this annotation; None if it is missing, or no number."""
        try:
            count = float(self.annotations.get(annotation, "")[:20])
            return int(count) if count >= 0 else None
        except (ValueError, OverflowError):  # not a number, or an infinite one
            return None


class Target(Struct, frozen=True):
    """What Unstick restarts: the runner's URL, its job and the rendered options, without Unstick's own options."""

    key: str
    url: str
    job: str
    options: Mapping[str, str]
    holder: str = ""  # the option that limits a restart to one host. Runs with any value of it are restarts of this target.

    @property
    def name(self) -> str:
        """The name for people: the option values, or the job if there are none."""
        return " ".join(f"{k}={v}" for k, v in sorted(self.options.items())) or self.job


class QueueRef(Struct, frozen=True):
    """What a symptom watches: a queue, or anything with a depth. The symptom makes it from its own keys."""

    kind: str  # the symptom's name
    key: str  # unique, `KIND:PLACE:NAME`. Identifies the queue in documents, the archive and logs.
    name: str  # for people
    keys: Mapping[str, str]  # the symptom's own keys of unstick.yaml, with the alert's labels filled in
    page: str = ""  # where people look at it in a browser, if the symptom's system has such pages


class MatchedAlert(Struct, frozen=True):
    """One alert after matching: its target, or the reason why it has none (`reason` set, target None)."""

    alert: Alert
    runbook: Runbook | None = None
    target: Target | None = None
    queue: QueueRef | None = None
    reason: Reason | None = None
    detail: Phrase = ""


UNMATCHED_KEY = "unmatched"  # the key of the document with the suspicions that matched no runbook
NOTED_S = 3600.0  # a repeated alert is noted once an hour, which saves writes
GATHERED_S = 60.0  # how long the first card waits for others of the same cause
TOLD_S = 86400.0
UNMATCHED_KEPT, UNMATCHED_KEPT_S = 50, 7 * 86400.0
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
    """The suspicions that matched no runbook, in a document of their own, which stays small however many come and how often."""

    alerts: Mapping[str, UnmatchedAlert] = field(default_factory=dict)  # by `Alert.key`
    told_at: float = 0.0
    due: float | None = None  # when people are told of what was noted since the last message; None: nothing was

    def recent(self, now: float, within_s: float = TOLD_S) -> tuple[UnmatchedAlert, ...]:
        """The alerts that were noted within this time, newest first."""
        return tuple(sorted((alert for alert in self.alerts.values() if now - alert.at <= within_s), key=lambda alert: -alert.at))


def note_unmatched(known: Unmatched, alert: Alert, explain: Callable[[], Phrase], now: float) -> Unmatched:
    """Note the alert, unless it was noted within the hour. A week of as many as are kept leaves no place for another."""
    before = known.alerts.get(alert.key)
    if before is not None and now - before.at < NOTED_S:
        return known
    kept = {name: alert for name, alert in known.alerts.items() if now - alert.at < UNMATCHED_KEPT_S}
    if alert.key not in kept and len(kept) >= UNMATCHED_KEPT:
        return known
    name, queue = alert.name[:TEXT_KEPT], alert.labels.get("queue", "")[:TEXT_KEPT]
    kept[alert.key] = UnmatchedAlert(name, queue, explain(), before.first_at if before else now, now)
    due = known.due if known.due is not None else max(now + GATHERED_S, known.told_at + TOLD_S)
    return replace(known, alerts=kept, due=due)
