"""What docs/benchmarks.md promises of the time to a restart: with real servers, and behind Cloud Storage's limit on writes."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from bench import promises, restart_time
from bench.claims import under_write_limit
from bench.samples import Samples
from bench.stage import stage
from bench.writes import eight_at_once
from testbed.alerting import PACKAGES


@pytest.mark.long
@pytest.mark.timeout(600)
def test_restarts_and_news_come_as_soon_as_promised(needed: Callable[..., None]):
    """Ten applications get stuck at other times of scrapes, evaluations and samples; healthy ones beside them are left alone."""
    needed("rabbitmq-server", *PACKAGES)
    measured = restart_time.measure()
    print(promises.page(measured))
    assert [promise.row() for promise in promises.promises(measured) if not promise.holds] == []


@pytest.mark.long  # by day tests/application/documents/test_storm.py has eight targets on such a store
def test_eight_targets_are_restarted_though_an_object_takes_one_write_a_second():
    """The store sees two writes of each document on an alert's way: `starting`, and its result once reported."""
    samples = Samples()
    with stage() as stand:
        eight_at_once(stand, samples)
    assert [claim.row() for claim in under_write_limit(samples) if not claim.holds] == []
