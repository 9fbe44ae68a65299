"""Stand-ins for what symptoms look at. A new symptom needs one here, and its name in SYSTEMS; test_symptoms.py does the rest."""

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Protocol

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


class RabbitMQ(RabbitDouble):
    keys: Mapping[str, Any] = {"vhost": "/", "queue": "${labels.queue}"}
    secret = PASSWORD

    @property
    def adapter(self) -> SymptomAdapter:
        return rabbitmq.RabbitMQ(self.url, "unstick", SECRET)

    def fill(self, depth: int) -> None:
        self.queues.clear()
        self.queue("mail", ready=depth)

    def close(self) -> None:
        self.broken = dict.fromkeys(("overview", "totals", "page", "whoami"), (503, "text/plain", b"down"))


class Prometheus(PrometheusDouble):
    keys: Mapping[str, Any] = {name: f'{name}{{queue="${{labels.queue}}"}}' for name in ("stuck", "recovered", "depth")}
    secret = "glsa_token"
    authorization = f"Bearer {secret}"

    @property
    def adapter(self) -> SymptomAdapter:
        return prometheus.Prometheus(self.url, token=SECRET)

    def fill(self, depth: int) -> None:
        says = "stuck" if depth else "recovered"
        self.series = {f'{says}{{queue="mail"}}': [Series()], 'depth{queue="mail"}': [Series(value=str(depth))]}

    def close(self) -> None:
        self.refuses = {"": (503, {"error": "down"})}


SYSTEMS: dict[str, Callable[[Path], AbstractContextManager[System]]] = {
    "rabbitmq": lambda _folder: RabbitMQ(),
    "prometheus": lambda _folder: Prometheus(),
}
"""By the symptom's name: its stand-in, given an empty folder."""
