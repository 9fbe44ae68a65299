"""RabbitMQ. A forged request needs its settings only, so what calls it is imported when it is first called."""

from collections.abc import Mapping, Sequence
from typing import ClassVar
from urllib.parse import quote

from msgspec.structs import replace

from functions.adapters.symptoms.rabbitmq import settings
from functions.adapters.symptoms.rabbitmq.settings import Symptom, name_queue, to_queue
from functions.application.ports import Finding, Query, QueueOutcome, SymptomAdapter, SymptomKeys
from functions.domain.model import runbooks
from functions.domain.model.alerts import QueueRef
from functions.runtime.import_lock import IMPORTING

__all__ = ["ADAPTER", "RabbitMQ", "Symptom", "name_queue", "to_queue"]


class RabbitMQ(settings.Settings, frozen=True):
    """`rabbitmq` in unstick.yaml."""

    Keys: ClassVar[type[SymptomKeys]] = Symptom

    def name_queue(self, symptom: runbooks.Symptom, labels: Mapping[str, str]) -> QueueRef:
        queue = settings.name_queue(symptom, labels)
        place = "/".join(quote(queue.keys[key], safe="") for key in ("vhost", "queue"))
        return replace(queue, page=f"{self.url.rstrip('/')}/#/queues/{place}")

    def look_all(self, queries: Sequence[Query], *, timeout_s: float) -> list[QueueOutcome]:
        with IMPORTING:
            from functions.adapters.symptoms.rabbitmq import client

        return client.look_all(self, queries, timeout_s=timeout_s)

    def check(self, symptom: runbooks.Symptom, labels: Mapping[str, str], *, timeout_s: float) -> list[Finding]:
        from functions.adapters.symptoms.rabbitmq import checks  # no start and no alert needs it

        return checks.check(self, symptom, labels, timeout_s=timeout_s)


ADAPTER: type[SymptomAdapter] = RabbitMQ
