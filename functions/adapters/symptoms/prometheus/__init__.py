from collections.abc import Mapping

from functions.adapters.symptoms.prometheus.client import look, look_all
from functions.adapters.symptoms.prometheus.past import past_queries
from functions.adapters.symptoms.prometheus.settings import Settings, Symptom, find_mistakes, name_queue, to_symptom
from functions.application.ports import Finding
from functions.domain.model import runbooks

__all__ = ["Settings", "Symptom", "check", "find_mistakes", "look", "look_all", "name_queue", "past_queries", "to_symptom"]


def check(settings: Settings, symptom: runbooks.Symptom, labels: Mapping[str, str], *, timeout_s: float) -> list[Finding]:
    """Whether Prometheus answers, and what each query gives for an alert with these labels."""
    from functions.adapters.symptoms.prometheus import checks  # needed for `check` alone

    return checks.findings(settings, symptom, labels, timeout_s=timeout_s)
