"""The function as it is served, for crowds and floods at its door; and health that is asked anew each time."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from functions.adapters.schedulers import _local_health
from testbed.doubles.rabbitmq import RabbitDouble
from testbed.doubles.rundeck import Job, Rundeck
from testbed.unstick_process import Unstick, configuration, job_id, runbook, signed

THREADS = 4


def forged() -> list[str]:
    """Headers of the right form, and fresh: only the body can tell that they are wrong."""
    return [f"{name}: {'0' * 64 if name.endswith('Signature') else value}" for name, value in signed(b"").items()]


@pytest.fixture(scope="module")
def door(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Unstick]:
    """A served function with four threads. Nothing that its tests send may reach Rundeck or RabbitMQ."""
    folder = Path(tmp_path_factory.mktemp("door"))
    with Rundeck(Job(id=job_id("mail"))) as rundeck, RabbitDouble() as rabbitmq:
        file = configuration(rundeck.url, rabbitmq.url, [runbook("mail")])
        with Unstick(folder, file, THREADS=str(THREADS)) as unstick:
            yield unstick
        assert (rundeck.requests, rabbitmq.asked) == ([], [])


@pytest.fixture
def health_asked_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_local_health, "KEPT_S", 1e-9)
