from collections.abc import Mapping
from typing import ClassVar

from functions.adapters.symptoms.prometheus import client, settings
from functions.adapters.symptoms.prometheus.settings import Symptom, name_queue
from functions.application.ports import Finding, SymptomAdapter, SymptomKeys
from functions.domain.model import runbooks

__all__ = ["ADAPTER", "Prometheus", "Symptom", "name_queue"]


class Prometheus(settings.Settings, frozen=True):
    """`prometheus` in unstick.yaml."""

    Keys: ClassVar[type[SymptomKeys]] = Symptom
    name_queue = staticmethod(settings.name_queue)
    look_all = client.look_all

    def check(self, symptom: runbooks.Symptom, labels: Mapping[str, str], *, timeout_s: float) -> list[Finding]:
        from functions.adapters.symptoms.prometheus import checks  # needed only for `check`

        return checks.findings(self, symptom, labels, timeout_s=timeout_s)


ADAPTER: type[SymptomAdapter] = Prometheus
