"""The town on each version of RabbitMQ: who is healthy is left alone, who is stuck is restarted in time."""

from __future__ import annotations

import time

import pytest

from testbed.broker import HOST, PLUGINS, VERSIONS, broker, cluster, free_ports
from tests.support.needs import need_broker, need_libraries
from tests.system.town import nodes
from tests.system.town.healthy import HEALTHY
from tests.system.town.libraries import LIBRARIES
from tests.system.town.play import Town, summary, town
from tests.system.town.protocols import PROTOCOLS, SPOKEN, listener
from tests.system.town.scene import Truth
from tests.system.town.stuck import STUCK

OPEN_S = 200.0
"""Stuck after half a minute, restarted after `for`, and a minute and a half for what would be a second restart."""

pytestmark = [pytest.mark.long, pytest.mark.timeout(1200)]
"""Long are two on 4.3 that few applications live in; all others are left to `make test-manual`. By day: test_town_by_day.py."""
OTHERS = [pytest.param(one, marks=pytest.mark.manual) for one in (HOST, *VERSIONS) if one != "4.3"]


@pytest.fixture(params=[*OTHERS, "4.3"])
def version(request):
    need_broker(request.param)
    return request.param


def assert_treated_rightly(played: Town) -> None:
    played.close()
    lines, mistakes = played.lines(), list(played.alerts.mistakes)
    print(*lines, *summary(lines), sep="\n")
    assert [line.pattern.name for line in lines if not line.right] == []
    assert mistakes == []


def assert_no_healthy_one_is_restarted(played: Town, *, but_stuck_ones_are: bool = False) -> None:
    """Where something can't be read, this is told of healthy ones too."""
    lines = played.lines()
    print(*lines, *summary(lines), sep="\n")
    assert [line.pattern.name for line in lines if line.pattern.truth is Truth.HEALTHY and line.restarts] == []
    wrong = [line.pattern.name for line in lines if line.pattern.truth is not Truth.HEALTHY and not line.right]
    assert wrong == [] or not but_stuck_ones_are


@pytest.mark.manual
def test_the_healthy_are_left_alone_and_the_stuck_are_restarted(version, tmp_path):
    """Of more than ninety applications on one broker, each is treated as the truth about it asks for."""
    need_libraries()
    (port,) = free_ports(1)
    running = broker(tmp_path / "broker", version=version, plugins=(*PLUGINS, *SPOKEN), lines=(listener(port),))
    patterns = HEALTHY + STUCK + PROTOCOLS + LIBRARIES
    with running as node, town([node], patterns, tmp_path / "unstick", mqtt_port=port) as played:
        time.sleep(OPEN_S)
        assert_treated_rightly(played)


@pytest.mark.manual
@pytest.mark.parametrize("line", ["management_agent.disable_metrics_collector = true", "collect_statistics_interval = 30000"])
def test_without_statistics_or_with_late_ones_no_healthy_application_is_restarted(version, line, tmp_path):
    """Where nothing or nothing recent is known, the stuck ones are reported, and the healthy ones left alone."""
    with (
        broker(tmp_path / "broker", version=version, lines=(line,)) as node,
        town([node], HEALTHY + STUCK, tmp_path / "unstick") as played,
    ):
        time.sleep(OPEN_S)
        assert_no_healthy_one_is_restarted(played)


@pytest.mark.parametrize(("size", "patterns"), [(2, nodes.PATTERNS), pytest.param(3, nodes.OF_THREE, marks=pytest.mark.manual)])
def test_what_happens_to_nodes_restarts_nobody(version, size, patterns, tmp_path):
    """The second of two is stopped, killed and parted; of three the one that leads is killed, and later two at once. They come
    back each time: no healthy application is restarted."""
    running = cluster(tmp_path / "nodes", size, version=version, lines=nodes.LINES)
    with running as brokers, town(brokers.nodes, patterns, tmp_path / "unstick") as played:
        nodes.live_through(brokers, print)
        assert_no_healthy_one_is_restarted(played, but_stuck_ones_are=True)


def test_consumers_of_which_nothing_is_known_are_left_alone(version, tmp_path):
    """Of two nodes the second has no management plugin: what is consumed there is not taken for stuck."""
    running = cluster(tmp_path / "nodes", 2, version=version, bare=(1,))
    with running as brokers, town(brokers.nodes, nodes.STATISTICS_ON_ONE, tmp_path / "unstick") as played:
        time.sleep(OPEN_S)
        assert_no_healthy_one_is_restarted(played, but_stuck_ones_are=True)
