from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar

from functions.adapters.symptoms.rabbitmq import client
from functions.adapters.symptoms.rabbitmq.settings import Settings, Symptom, name_queue, to_queue
from functions.application.ports import Finding, SymptomAdapter, SymptomKeys
from functions.domain.model import runbooks
from functions.domain.model.alerts import QueueRef
from functions.domain.model.observations import QueueSnapshot
from functions.runtime.errors import Denied, Unavailable

__all__ = ["ADAPTER", "RabbitMQ", "Symptom", "name_queue", "to_queue"]


class RabbitMQ(Settings, frozen=True):
    """`rabbitmq` in unstick.yaml."""

    Keys: ClassVar[type[SymptomKeys]] = Symptom

    def name_queue(self, symptom: runbooks.Symptom, labels: Mapping[str, str]) -> QueueRef:
        """The queue for an alert with these labels. Raises NotRendered."""
        return name_queue(symptom, labels)

    def look_all(
        self, queues: Sequence[tuple[QueueRef, float]], *, timeout_s: float
    ) -> list[QueueSnapshot | Unavailable | Denied]:
        """See client.look_all."""
        return client.look_all(self, queues, timeout_s=timeout_s)

    def check(self, symptom: runbooks.Symptom, labels: Mapping[str, str], *, timeout_s: float) -> list[Finding]:
        """See client.check."""
        return client.check(self, symptom, labels, timeout_s=timeout_s)


ADAPTER: type[SymptomAdapter] = RabbitMQ
