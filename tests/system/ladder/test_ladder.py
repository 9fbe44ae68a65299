"""The ladder: by day two scenarios on the host's broker, in `make test-long` some more, in `make ladder` all of them."""

from __future__ import annotations

from pathlib import Path

import pytest

from testbed.broker import Broker
from tests.system.ladder.__main__ import KINDS, play_all
from tests.system.ladder.play import HEADER, SCENARIOS

DEATHS = ["kill broker parking", "kill rundeck parking", "kill unstick restarting"]


def assert_all_right(broker: Broker, names: list[str], kinds: tuple[str, ...], folder: Path) -> None:
    print(HEADER)  # and a line for each, which pytest shows where one is wrong
    rows = list(play_all(broker, [SCENARIOS[name] for name in names], kinds, folder))
    assert [row for row in rows if row.wrong] == []


@pytest.mark.timeout(300)
def test_what_hangs_is_moved_aside_by_a_press_and_nothing_is_lost(rabbitmq_server: Broker, tmp_path: Path) -> None:
    """One restart, one question, one run of the shipped script: the queue flows without the message, or nothing does."""
    assert_all_right(rabbitmq_server, ["sticky", "dependency"], ("quorum",), tmp_path)


@pytest.mark.long
@pytest.mark.timeout(600)
def test_whoever_dies_on_the_way_nothing_is_lost_and_no_remedy_runs_twice(rabbitmq_server: Broker, tmp_path: Path) -> None:
    """Each of the three, at the step where most is at stake."""
    assert_all_right(rabbitmq_server, DEATHS, ("quorum",), tmp_path)


@pytest.mark.manual
@pytest.mark.timeout(3600)
def test_whatever_dies_on_the_way_nothing_is_lost_and_no_remedy_runs_twice(rabbitmq_server: Broker, tmp_path: Path) -> None:
    assert_all_right(rabbitmq_server, list(SCENARIOS), KINDS, tmp_path)
