"""Real programs for the system tests. Where one can't be had the tests are skipped loudly, and fail on a CI machine."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support import broker as brokers
from tests.support.broker import Broker
from tests.support.needs import need


@pytest.fixture(scope="session")
def rabbitmq_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broker]:
    """One broker for all tests of a run; each test has queues of its own name."""
    need("rabbitmq-server")
    with brokers.broker(Path(tmp_path_factory.mktemp("broker"))) as made:
        yield made


@pytest.fixture(scope="session")
def rabbitmq_without_statistics(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broker]:
    need("rabbitmq-server")
    with brokers.broker(Path(tmp_path_factory.mktemp("broker-without-statistics")), statistics=False) as made:
        yield made


@pytest.fixture(scope="session")
def needed() -> Callable[..., None]:
    """`need`, for tests of a single file that want more than a broker."""
    return need
