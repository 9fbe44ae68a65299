"""The broker is restarted, and applications do not come back: its counters are new, and others know what was before."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from testbed.broker import HOST, VERSIONS, cluster
from testbed.patience import wait_until
from tests.support.needs import need_broker, need_libraries
from tests.system.town.libraries import application
from tests.system.town.play import read_cards, town
from tests.system.town.scene import Pattern, Scene, Truth

FOR_S = 20.0
JUDGED_WITHIN_S = 240.0
REMEMBERED = {"unstick_consumers_1d": "1"}
pytestmark = [pytest.mark.long, pytest.mark.timeout(900)]


def lives_on(library: str, form: str) -> object:
    """It consumes, and does not connect again."""

    def play(scene: Scene) -> None:
        scene.other_after = application(
            scene, library, "busy" if form == "gone" and library != "aio-pika" else form, healthy=True
        )
        scene.enter(application(scene, library, form))

    return play


def gone(name: str, library: str, form: str, truth: Truth, **remembers: str) -> Pattern:
    return Pattern(name, truth, "", lives_on(library, form), vhost="prod", remembers=remembers)  # type: ignore[arg-type]


PATTERNS = (
    gone("pika-gone", "pika", "gone", Truth.STUCK, **REMEMBERED),
    gone("aio-gone", "aio-pika", "gone", Truth.STUCK, **REMEMBERED),
    gone("kombu-gone", "kombu", "gone", Truth.LIKELY),
    gone("pika-incident", "pika", "hung", Truth.STUCK),
)


@pytest.mark.parametrize("version", [HOST, *VERSIONS])
def test_applications_that_do_not_come_back_after_the_brokers_restart(version: str, tmp_path: Path) -> None:
    """Who is remembered, by the alert or by an open incident, is restarted once and works. Of the other one, nothing is known: a
    person is asked."""
    need_libraries()
    need_broker(version)
    running = cluster(tmp_path / "broker", 1, version=version)
    with running as brokers, town(brokers.nodes, PATTERNS, tmp_path / "unstick", for_s=FOR_S) as played:
        scenes = {scene.name: scene for scene in played.scenes}
        (node,) = brokers.nodes
        pages = [f"queues/prod/{scene.queue}" for scene in played.scenes]
        wait_until(lambda: all(scene._processes for scene in played.scenes))
        wait_until(lambda: [node.api("GET", page).get("consumers") for page in pages] == [1] * len(pages))
        incident = scenes["pika-incident"]
        incident.publish(1, body="hang")
        wait_until(lambda: incident._processes[0].held)
        played.unstick.until(played.unstick.open_documents, what="the incident")
        brokers.stop(node)
        brokers.start(node)
        restarted_at = time.time()
        for scene in played.scenes:
            scene.publish(3)
        expected = [scene for scene in played.scenes if scene.pattern.truth is Truth.STUCK]

        def asked() -> bool:
            return any(card.asks for card in read_cards(played.unstick.cards()).get("kombu-gone", []))

        played.unstick.until(lambda: all(scene.restarted for scene in expected) and asked(), within_s=JUDGED_WITHIN_S)
        wait_until(lambda: all(len({body for _, body in scene.finished}) >= 3 for scene in expected), within_s=JUDGED_WITHIN_S)
        played.close()
        print({scene.name: [round(at - restarted_at, 1) for at, _ in scene.restarted] for scene in played.scenes})
    assert {name: len(scene.restarted) for name, scene in scenes.items()} == dict.fromkeys(scenes, 1) | {"kombu-gone": 0}
    assert [scene.lost for scene in played.scenes] == [[]] * len(PATTERNS)
