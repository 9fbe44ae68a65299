from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar

from functions.adapters.symptoms.prometheus import client
from functions.adapters.symptoms.prometheus.settings import Settings, Symptom, name_queue
from functions.application.ports import Finding, SymptomAdapter, SymptomKeys
from functions.domain.model import runbooks
from functions.domain.model.alerts import QueueRef
from functions.domain.model.observations import QueueSnapshot
from functions.runtime.errors import Denied, Unavailable

__all__ = ["ADAPTER", "Prometheus", "Symptom", "name_queue"]


class Prometheus(Settings, frozen=True):
    """`prometheus` in unstick.yaml."""

    Keys: ClassVar[type[SymptomKeys]] = Symptom

    def name_queue(self, symptom: runbooks.Symptom, labels: Mapping[str, str]) -> QueueRef:
        """The queries for an alert with these labels. Raises NotRendered."""
        return name_queue(symptom, labels)

    def look_all(
        self, queues: Sequence[tuple[QueueRef, float]], *, timeout_s: float
    ) -> list[QueueSnapshot | Unavailable | Denied]:
        """See client.look_all."""
        return client.look_all(self, queues, timeout_s=timeout_s)

    def check(self, symptom: runbooks.Symptom, labels: Mapping[str, str], *, timeout_s: float) -> list[Finding]:
        """Check that Prometheus answers, and what each query gives for an alert with these labels."""
        from functions.adapters.symptoms.prometheus import checks  # needed only for `check`

        return checks.findings(self, symptom, labels, timeout_s=timeout_s)


ADAPTER: type[SymptomAdapter] = Prometheus
