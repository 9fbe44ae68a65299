"""Alerts, and the targets and queues that they name. Times are Unix seconds in UTC."""

from collections.abc import Mapping

from msgspec import Struct

from functions.domain.model.codes import Reason
from functions.domain.model.runbooks import Runbook
from functions.runtime.text import Phrase

CONSUMERS_1D, ACKED_1D = "unstick_consumers_1d", "unstick_acked_1d"
"""Annotations of the shipped rules, as integers: the most consumers that the queue had in the last day, and how many messages
they acknowledged. They outlive a restart of the broker, which begins its counters anew."""

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
