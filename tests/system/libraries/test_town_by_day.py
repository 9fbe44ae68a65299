"""Three applications with real client libraries, by day: the town of every night in small."""

from __future__ import annotations

from pathlib import Path

import pytest

from testbed.broker import broker
from tests.support.needs import need_broker, need_libraries
from tests.system.town.libraries import LIBRARIES
from tests.system.town.play import town

FOR_S = 10.0
WITHIN_S = 150.0
CHOSEN = ("celery-countdown", "kombu-hung", "aio-blocked")


@pytest.mark.timeout(600)  # the first time, the libraries are installed
def test_a_countdown_is_left_alone_and_who_hangs_is_restarted(tmp_path: Path) -> None:
    """Celery holds a task of in an hour all the time; a consumer and an event loop that hang are restarted, and lose nothing."""
    need_libraries()
    need_broker("host")
    patterns = [one for one in LIBRARIES if one.name in CHOSEN]
    running = broker(tmp_path / "broker")
    with running as node, town([node], patterns, tmp_path / "unstick", for_s=FOR_S, stuck_after_s=5.0) as played:
        hanging = [scene for scene in played.scenes if scene.name != "celery-countdown"]
        played.unstick.until(lambda: all(scene.restarted for scene in hanging), within_s=WITHIN_S, what="both restarts")
        healthy = {scene.name: scene.restarted[0][0] for scene in hanging}
        played.unstick.until(
            lambda: all(any(at > healthy[one.name] for at, _ in one.finished) for one in hanging), what="work after the restart"
        )
        played.close()
    assert {scene.name: len(scene.restarted) for scene in played.scenes} == dict.fromkeys(CHOSEN, 1) | {"celery-countdown": 0}
    assert [scene.lost for scene in played.scenes] == [[], [], []]
