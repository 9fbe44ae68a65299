"""Three applications by day, and some with real client libraries in the long tests: the town of every night in small.

It is the whole way with real parts; only Rundeck is a stand-in."""

from pathlib import Path

import pytest

from testbed.unstick_process import ENDED_WITHIN_S, HELPED, SHORT
from tests.support.needs import need_broker, need_libraries
from tests.system.town.play import ALL, single_node
from tests.system.town.scene import Truth

FOR_S = 10.0
WITHIN_S = 150.0
BY_DAY = ("steady", "held", "one-of-three")
WITH_LIBRARIES = ("celery-countdown", "kombu-hung", "aio-blocked")
SURVIVE = ("held-survives", "held-in-channels")


@pytest.mark.timeout(600)  # the first time, the libraries are installed
@pytest.mark.parametrize("chosen", [BY_DAY, *(pytest.param(one, marks=pytest.mark.long) for one in (WITH_LIBRARIES, SURVIVE))])
def test_who_works_is_left_alone_and_who_hangs_is_restarted(chosen: tuple[str, ...], tmp_path: Path) -> None:
    """A consumer, one of three, an event loop that hang are restarted, and lose nothing; who works, or holds a task of in an hour
    all the time, is left alone. A connection that the restart did not end is left to people: another one would leave it too."""
    if chosen == WITH_LIBRARIES:
        need_libraries()
    need_broker("host")
    patterns = [pattern for pattern in ALL if pattern.name in chosen]
    verify = SHORT | {"patience": "5s"} if chosen == SURVIVE else HELPED  # less than figures are late
    with single_node(tmp_path, patterns, for_s=FOR_S, stuck_after_s=5.0, verify=verify) as played:
        unstick = played.unstick
        hanging = [scene for scene in played.scenes if scene.pattern.truth is not Truth.HEALTHY]
        unstick.until(lambda: all(scene.restarted for scene in hanging), within_s=WITHIN_S, what="all restarts")
        restarted_at = {scene.name: scene.restarted[0][0] for scene in hanging}
        unstick.until(
            lambda: all(any(at > restarted_at[one.name] for at, _ in one.finished) for one in hanging),
            what="work after the restart",
        )
        ends = {one.name: unstick.until(lambda one=one: unstick.outcomes(one.name), within_s=ENDED_WITHIN_S) for one in hanging}
        played.close()
    assert {name: (outcome["ending"], outcome["restarts"]) for name, (outcome, *_) in ends.items()} == {
        name: ("escalated" if name in SURVIVE else "recovered", 1) for name in ends
    }
    assert {one.name: len(one.restarted) for one in played.scenes} == {one.name: int(one in hanging) for one in played.scenes}
    assert [bool(host) for scene in hanging if scene.pattern.truth is Truth.ONE for _, host in scene.restarted] in ([], [True])
    assert [scene.lost for scene in played.scenes] == [[]] * len(chosen)
    if chosen == SURVIVE:
        assert all("rabbitmqctl close_connection PID" in card for card in unstick.cards("ACT NOW"))
