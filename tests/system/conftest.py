"""Real programs for the system tests. Where one can't be had the tests are skipped loudly, and fail on a CI machine."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests import broker as brokers
from tests.broker import Broker
from tests.debian import ensure


def need(*packages: str) -> None:
    """Skip, or with CI=true fail, unless these Debian packages are installed or can be without a question.

    RabbitMQ may come from elsewhere.
    """
    missing = [name for name in packages if name != "rabbitmq-server" or not brokers.available()]
    if ensure(*missing):
        return
    sentence = f"{', '.join(missing)} can't be had here: install it, or run the tests as root on Debian"
    if os.environ.get("CI") == "true":
        pytest.fail(sentence, pytrace=False)
    print(f"\nSKIPPED, AND NOTHING STANDS IN FOR IT: {sentence}", file=sys.__stderr__, flush=True)
    pytest.skip(sentence)


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
