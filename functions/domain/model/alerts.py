"""Alerts, and the targets and queues that they name. Times are Unix seconds in UTC."""

import hashlib
from collections.abc import Mapping

from msgspec import Struct, field

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
    def said(self) -> str:
        """As people know it: by its name and its label `queue`, which all shipped rules set."""
        return f"{self.name[:SAID]} {self.labels.get('queue', '')[:SAID]}".strip()

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


NO_RUNBOOK_KEY = "no-runbook"  # the key of the document of the alerts that no runbook matches
NOTED_S = 3600.0  # a repeated alert is noted once an hour, which saves writes
NOTED_KEPT = 1000  # of further ones the oldest are forgotten, and logged again if they come again
SAID = 120


class TurnedAway(Struct, frozen=True):
    """The alerts without a target that got no card of their own, in the document of their reason."""

    alerts: Mapping[str, float] = field(default_factory=dict)  # `Alert.said` -> when it was last noted; the newest is the last
    reason: Reason | None = None
    detail: Phrase = ""  # the newest, and why it has no target
    told_at: float = 0.0
    due: float | None = None  # when people are told of what was noted since the last message; None: nothing was

    def since(self, at: float) -> tuple[str, ...]:
        """Those that were noted after this time, the newest first."""
        return tuple(name for name, noted_at in list(self.alerts.items())[::-1] if noted_at > at)
