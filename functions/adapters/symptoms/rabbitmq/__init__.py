from collections.abc import Mapping
from typing import ClassVar

from functions.adapters.symptoms.rabbitmq import client, settings
from functions.adapters.symptoms.rabbitmq.settings import Symptom, name_queue, to_queue
from functions.application.ports import Finding, SymptomAdapter, SymptomKeys
from functions.domain.model import runbooks

__all__ = ["ADAPTER", "RabbitMQ", "Symptom", "name_queue", "to_queue"]


class RabbitMQ(settings.Settings, frozen=True):
    """`rabbitmq` in unstick.yaml."""

    Keys: ClassVar[type[SymptomKeys]] = Symptom
    name_queue = staticmethod(settings.name_queue)
    look_all = client.look_all

    def check(self, symptom: runbooks.Symptom, labels: Mapping[str, str], *, timeout_s: float) -> list[Finding]:
        from functions.adapters.symptoms.rabbitmq import checks  # no start and no alert needs it

        return checks.check(self, symptom, labels, timeout_s=timeout_s)


ADAPTER: type[SymptomAdapter] = RabbitMQ
