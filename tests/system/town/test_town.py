"""The town on each version of RabbitMQ: who is healthy is left alone, who is stuck is restarted in time."""

import time
from dataclasses import replace

import pytest

from testbed.broker import HOST, VERSIONS, cluster
from testbed.patience import wait_until
from tests.support.needs import need_broker, need_libraries
from tests.system.town import nodes
from tests.system.town.healthy import HEALTHY
from tests.system.town.play import ALL, Town, read_cards, single_node, summary, town
from tests.system.town.scene import Pattern, Scene, Truth
from tests.system.town.stuck import HANGS, STUCK, WORKS, hangs, hangs_at_once

OPEN_S = 200.0
"""Stuck after half a minute, restarted after `for`, and a minute and a half for what would be a second restart."""
JUDGED_WITHIN_S = 240.0

pytestmark = [pytest.mark.long, pytest.mark.timeout(1200)]
"""Long are those that few applications live in; all others are left to `make test-manual`. By day: test_town_by_day.py."""
OTHERS = [pytest.param(one, marks=pytest.mark.manual) for one in (HOST, *VERSIONS) if one != "4.3"]


@pytest.fixture(params=[*OTHERS, "4.3"])
def version(request):
    need_broker(request.param)
    return request.param


def assert_no_healthy_one_is_restarted(played: Town, *, but_stuck_ones_are: bool = False) -> None:
    """Where something can't be read, this is told of healthy ones too."""
    lines = played.lines()
    print(*lines, *summary(lines), sep="\n")
    assert [line.pattern.name for line in lines if line.pattern.truth is Truth.HEALTHY and line.restarts] == []
    wrong = [line.pattern.name for line in lines if line.pattern.truth is not Truth.HEALTHY and not line.right]
    assert wrong == [] or not but_stuck_ones_are


@pytest.mark.manual
@pytest.mark.timeout(3600)
def test_the_healthy_are_left_alone_and_the_stuck_are_restarted(version, tmp_path):
    """Of some ninety applications on one broker, each is treated as the truth about it asks for, after Unstick has observed at
    least three stalls of those that stall; six more follow."""
    need_libraries()
    with single_node(tmp_path, ALL, version=version, observed_s=720.0) as played:
        time.sleep(1200.0)
        played.close()
        lines = played.lines()
    print(*lines, *summary(lines), sep="\n")
    assert [line.pattern.name for line in lines if not line.right] == []
    assert played.alerts.mistakes == []


@pytest.mark.manual
@pytest.mark.parametrize("line", ["management_agent.disable_metrics_collector = true", "collect_statistics_interval = 30000"])
def test_without_statistics_or_with_late_ones_no_healthy_application_is_restarted(version, line, tmp_path):
    """Where nothing or nothing recent is known, the stuck ones are reported, and the healthy ones left alone."""
    with single_node(tmp_path, HEALTHY + STUCK, version=version, lines=(line,)) as played:
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


def consumes(scene: Scene) -> None:
    """It does not connect again where its connection is lost."""
    scene.then(WORKS)
    scene.hire(replace(WORKS, hangs=hangs))


def polls(scene: Scene) -> None:
    """The same by basic.get, after which it has no consumer again."""
    scene.then(replace(WORKS, gets=True))
    scene.hire(replace(WORKS, gets=True))


GONE = (
    Pattern("remembered", Truth.STUCK, "", consumes, remembers={"unstick_consumers_1d": "1"}),
    Pattern("incident", Truth.STUCK, "", consumes),
    Pattern("polled", Truth.STUCK, "", polls, remembers={"unstick_acked_1d": "1"}),
    Pattern("forgotten", Truth.LIKELY, "", consumes),
)


@pytest.mark.parametrize("version", [HOST, *VERSIONS], indirect=True)
def test_who_does_not_come_back_after_the_brokers_restart(version, tmp_path):
    """The broker's counters are new. Who is remembered, by the alert or by an open incident, is restarted once and recovers. Of
    the other one, nothing is known: a person is asked."""
    running = cluster(tmp_path / "broker", 1, version=version)
    with running as brokers, town(brokers.nodes, GONE, tmp_path / "unstick", for_s=20.0) as played:
        (node,) = brokers.nodes
        pages = [f"queues/%2F/{scene.queue}" for scene in played.scenes]
        wait_until(lambda: all(scene.workers for scene in played.scenes))
        wait_until(lambda: [node.api("GET", page).get("consumers") for page in pages] == [1, 1, 0, 1])
        *stuck, forgotten = played.scenes
        stuck[1].publish(1, body="hang")
        played.unstick.until(played.unstick.open_documents, what="the incident")
        brokers.stop(node)
        brokers.start(node)
        for scene in played.scenes:
            scene.publish(3)

        def asked() -> bool:
            return any(card.asks for card in read_cards(played.unstick.cards()).get(forgotten.name, []))

        played.unstick.until(lambda: all(scene.restarted for scene in stuck) and asked(), within_s=JUDGED_WITHIN_S)
        wait_until(lambda: all(len({body for _, body in scene.finished}) >= 3 for scene in stuck), within_s=JUDGED_WITHIN_S)
        for scene in stuck:
            (outcome,) = played.unstick.until(lambda name=scene.name: played.unstick.outcomes(name), within_s=JUDGED_WITHIN_S)
            assert outcome["ending"] == "recovered", scene.name
        played.close()
    assert [len(scene.restarted) for scene in played.scenes] == [1, 1, 1, 0]
    assert [scene.lost for scene in played.scenes] == [[]] * len(GONE)


AT_THE_LIMIT = {"x-queue-type": "quorum", "x-delivery-limit": 0}
NEVER = {"keeps": "never"}
LIMITED = Pattern(
    "limited", Truth.LIKELY, "", hangs_at_once(replace(HANGS, prefetch=5), WORKS), AT_THE_LIMIT, symptom=NEVER, counted=False
)


@pytest.mark.parametrize("version", [HOST, *VERSIONS], indirect=True)
def test_what_the_broker_dropped_is_told(version, tmp_path):
    """Five messages are held, and the next return drops them: asked in `auto` too; after the approval the outcome says so."""
    with single_node(tmp_path, [LIMITED], version=version, for_s=10.0) as played:
        unstick, (scene,) = played.unstick, played.scenes
        card = unstick.until(lambda: unstick.cards("delivery limit 0"), within_s=60.0, what="the question")[-1]
        assert scene.restarted == []
        assert "a restart may make RabbitMQ drop the messages that are held" in " ".join(card.split())
        unstick.approve(card, "the test")
        outcome = unstick.until(lambda: unstick.outcomes("limited"), within_s=JUDGED_WITHIN_S, what="the outcome")[-1]
        told = " ".join(unstick.cards("limited")[-1].split())
    assert "RabbitMQ may have dropped or dead-lettered messages that came back too often" in told
    assert "No action needed" not in told
    assert (outcome["restarts"], len(scene.restarted)) == (1, 1)
