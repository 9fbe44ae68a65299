"""The town on each version of RabbitMQ: who is healthy is left alone, who is stuck is restarted in time."""

from __future__ import annotations

import time

import pytest

from tests.support.broker import HOST, VERSIONS, broker
from tests.support.needs import need_broker
from tests.system.town.healthy import HEALTHY
from tests.system.town.play import town
from tests.system.town.stuck import STUCK

OPEN_S = 200.0
"""Stuck after half a minute, restarted after `for`, and a minute for what would be a second restart."""

pytestmark = [pytest.mark.long, pytest.mark.timeout(900)]


@pytest.mark.parametrize("version", [HOST, *VERSIONS])
def test_the_healthy_are_left_alone_and_the_stuck_are_restarted(version, tmp_path):
    """Of more than sixty applications on one broker, each is treated as the truth about it asks for."""
    need_broker(version)
    with broker(tmp_path / "broker", version=version) as made, town([made], HEALTHY + STUCK, tmp_path / "unstick") as played:
        time.sleep(OPEN_S)
        lines = played.lines()
        mistakes = list(played.alerts.mistakes)
    print(*lines, sep="\n")
    assert [line.pattern.name for line in lines if not line.right] == []
    assert mistakes == []
