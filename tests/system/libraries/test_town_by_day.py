"""Three applications by day, and three with real client libraries in the long tests: the town of every night in small."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.needs import need_broker, need_libraries
from tests.system.town.play import ALL, single_node
from tests.system.town.scene import Truth

FOR_S = 10.0
WITHIN_S = 150.0
BY_DAY = ("steady", "held", "one-of-three")
WITH_LIBRARIES = ("celery-countdown", "kombu-hung", "aio-blocked")


@pytest.mark.timeout(600)  # the first time, the libraries are installed
@pytest.mark.parametrize("chosen", [BY_DAY, pytest.param(WITH_LIBRARIES, marks=pytest.mark.long)], ids=["threads", "libraries"])
def test_who_works_is_left_alone_and_who_hangs_is_restarted(chosen: tuple[str, ...], tmp_path: Path) -> None:
    """A consumer, one of three, an event loop that hang are restarted, and lose nothing; who works, or holds a task of in an hour
    all the time, is left alone."""
    if chosen == WITH_LIBRARIES:
        need_libraries()
    need_broker("host")
    patterns = [pattern for pattern in ALL if pattern.name in chosen]
    with single_node(tmp_path, patterns, for_s=FOR_S, stuck_after_s=5.0) as played:
        hanging = [scene for scene in played.scenes if scene.pattern.truth is not Truth.HEALTHY]
        played.unstick.until(lambda: all(scene.restarted for scene in hanging), within_s=WITHIN_S, what="all restarts")
        restarted_at = {scene.name: scene.restarted[0][0] for scene in hanging}
        played.unstick.until(
            lambda: all(any(at > restarted_at[one.name] for at, _ in one.finished) for one in hanging),
            what="work after the restart",
        )
        played.close()
    restarts = {scene.name: len(scene.restarted) for scene in played.scenes}
    assert restarts == {scene.name: int(scene in hanging) for scene in played.scenes}
    assert [bool(host) for scene in hanging if scene.pattern.truth is Truth.ONE for _, host in scene.restarted] in ([], [True])
    assert [scene.lost for scene in played.scenes] == [[]] * len(chosen)
