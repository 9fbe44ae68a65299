"""What docs/benchmarks.md promises of the time to a restart: with real servers."""

from collections.abc import Callable

import pytest

from bench import promises, restart_time
from testbed.alerting import PACKAGES


@pytest.mark.long
@pytest.mark.timeout(600)
def test_restarts_and_news_come_as_soon_as_promised(needed: Callable[..., None]):
    """Ten applications get stuck at other times of scrapes, evaluations and samples; healthy ones beside them are left alone."""
    needed("rabbitmq-server", *PACKAGES)
    measured = restart_time.measure()
    print(promises.page(measured))
    assert [promise.row() for promise in promises.promises(measured) if not promise.holds] == []
