"""Stand-ins for what symptoms look at. A new symptom needs one here, and its name in SYSTEMS; test_symptoms.py does the rest."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol, Self

from functions.adapters.symptoms import prometheus, rabbitmq
from functions.application.ports import SymptomAdapter
from functions.runtime.secrets import SecretRef
from testbed.doubles.prometheus import PrometheusDouble, Series
from testbed.doubles.rabbitmq import PASSWORD, RabbitDouble

SECRET = SecretRef("env://SYMPTOM_SECRET")
"""Whoever needs a secret gets it by this reference; the test sets it to `secret` of the system."""


class System(Protocol):
    """A queue called `mail` that the symptom sees, and one called `gone` that it does not."""

    keys: Mapping[str, Any]
    """The symptom's keys in a runbook, with `${labels.queue}` for the queue's name."""
    secret: str
    """What `SECRET` stands for; empty where the system needs none."""

    @property
    def adapter(self) -> SymptomAdapter:
        """The symptom, with this system in its settings."""

    def fill(self, depth: int) -> None:
        """So many jobs wait in `mail`, and have waited for long."""

    def close(self) -> None:
        """From now on nothing can be read."""


class RabbitMQ:
    keys: Mapping[str, Any] = {"vhost": "/", "queue": "${labels.queue}"}
    secret = PASSWORD

    def __init__(self) -> None:
        self.double = RabbitDouble()

    @property
    def adapter(self) -> SymptomAdapter:
        return rabbitmq.RabbitMQ(self.double.url, "unstick", SECRET)

    def fill(self, depth: int) -> None:
        self.double.queues.clear()
        self.double.queue("mail", ready=depth)

    def close(self) -> None:
        self.double.broken = dict.fromkeys(("overview", "totals", "page", "whoami", "alarms"), (503, "text/plain", b"down"))

    def __enter__(self) -> Self:
        self.double.__enter__()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.double.__exit__(kind, error, trace)


class Prometheus:
    keys: Mapping[str, Any] = {"depth": 'sum(jobs_waiting{queue="${labels.queue}"})'}
    secret = "glsa_token"

    def __init__(self) -> None:
        self.double = PrometheusDouble()
        self.double.secret = f"Bearer {self.secret}"

    @property
    def adapter(self) -> SymptomAdapter:
        return prometheus.Prometheus(self.double.url, token=SECRET)

    def fill(self, depth: int) -> None:
        self.double.series = {"mail": Series({2.0 + 5.0 * number: depth for number in range(64)})}

    def close(self) -> None:
        self.double.refuses = (503, {"error": "down"})

    def __enter__(self) -> Self:
        self.double.__enter__()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.double.__exit__(kind, error, trace)


SYSTEMS: dict[str, Callable[[Path], AbstractContextManager[System]]] = {
    "rabbitmq": lambda _folder: RabbitMQ(),
    "prometheus": lambda _folder: Prometheus(),
}
"""By the symptom's name: its stand-in, given an empty folder."""
