"""Real programs for the system tests. Where one can't be had the tests are skipped loudly, and fail on a CI machine."""

import gc
import warnings
from collections.abc import Iterator

import pytest

from testbed.broker import Broker
from testbed.broker.shared import shared
from tests.support.needs import EACH_VERSION, need_broker


@pytest.fixture(scope="module", autouse=True)
def _nothing_left_to_collect() -> Iterator[None]:
    """Where a broker ends while pika connects, pika leaves the socket open: that must not fail a test of another file."""
    yield
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        gc.collect()


@pytest.fixture(scope="session", params=EACH_VERSION)
def rabbitmq_server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broker]:
    """One broker of a version for all tests of a run, on whatever worker; each test has queues of its own name."""
    need_broker(request.param)
    run = tmp_path_factory.getbasetemp()
    run = run.parent if hasattr(request.config, "workerinput") else run
    with shared(run / f"broker-{request.param}", request.param) as node:
        yield node
