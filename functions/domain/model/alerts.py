"""What comes in, and what it asks for: alerts, targets and queues. Times are Unix seconds in UTC."""

from __future__ import annotations

from collections.abc import Mapping

from msgspec import Struct

from functions.domain.model.codes import Reason
from functions.domain.model.runbooks import Runbook
from functions.runtime.text import Phrase


class Alert(Struct, frozen=True):
    """One entry of a notification's `alerts`, of Grafana or Alertmanager."""

    fingerprint: str
    source: str
    """Who sent it: external URL and organisation, since fingerprints are unique only inside one."""
    firing: bool
    labels: Mapping[str, str]
    annotations: Mapping[str, str]
    starts_at: float
    ends_at: float | None = None
    """None while it fires (Grafana sends year 1)."""
    generator_url: str = ""
    silence_url: str = ""
    dashboard_url: str = ""
    panel_url: str = ""
    test: bool = False
    """Sent by the Test button of a contact point."""

    @property
    def name(self) -> str:
        return self.labels.get("alertname", "")


class Notification(Struct, frozen=True):
    """One request of Grafana or Alertmanager, parsed. `truncated` alerts were left out by the sender."""

    alerts: tuple[Alert, ...]
    truncated: int = 0
    group_key: str = ""
    receiver: str = ""


class Target(Struct, frozen=True):
    """What is restarted: the runner's URL, its job and the rendered options, without Unstick's own options."""

    key: str
    url: str
    job: str
    options: Mapping[str, str]

    @property
    def name(self) -> str:
        """For people: the option values, or the job where there are none."""
        return " ".join(f"{k}={v}" for k, v in sorted(self.options.items())) or self.job


class QueueRef(Struct, frozen=True):
    vhost: str
    name: str
    kind: str = "rabbitmq"

    @property
    def key(self) -> str:
        return f"{self.kind}:{self.vhost}:{self.name}"


class MatchedAlert(Struct, frozen=True):
    """One alert after matching: what it asks for, or why nothing can come of it (`reason` set, target None)."""

    alert: Alert
    runbook: Runbook | None = None
    target: Target | None = None
    queue: QueueRef | None = None
    reason: Reason | None = None
    detail: Phrase = ""
