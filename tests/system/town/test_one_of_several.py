"""One of three workers hangs: only its host is restarted, and the others never pause. On a real broker, with all of Unstick."""

from __future__ import annotations

import gc
import time
from pathlib import Path

import pytest

from testbed.broker import Broker
from testbed.patience import wait_until
from tests.system.town.play import PAUSE_S, town
from tests.system.town.stuck import STUCK

FOR_S = 20.0
ONE_OF_THREE = next(pattern for pattern in STUCK if pattern.name == "one-of-three")


@pytest.mark.long
@pytest.mark.timeout(600)
@pytest.mark.filterwarnings("ignore:unclosed <socket:ResourceWarning")
def test_only_the_worker_that_hangs_is_restarted(rabbitmq_server: Broker, tmp_path: Path) -> None:
    """The job gets its host, the message is worked off, people read both, and something is acknowledged in each second."""
    host, cards = restart_one(rabbitmq_server, tmp_path)
    assert f"A consumer on {host} hangs" in cards
    assert f"only on {host}" in cards
    gc.collect()  # here, where their warnings are expected: workers that are killed leave their sockets behind


def restart_one(broker: Broker, folder: Path) -> tuple[str, str]:
    """The host that was restarted, and what people read of it."""
    with town([broker], [ONE_OF_THREE], folder, for_s=FOR_S, stuck_after_s=10.0) as played:
        (scene,) = played.scenes
        wait_until(lambda: "\n".join(played.unstick.cards()), lambda text: "recovered in" in text, within_s=240.0)
        ((_, host),) = scene.restarted
        assert (len(scene.former), len([worker for worker in scene.workers if worker not in scene.former])) == (1, 3)
        assert scene.began_at is not None
        assert scene.longest_pause_s(scene.began_at, time.time()) <= PAUSE_S
        return host, " ".join(" ".join(played.unstick.cards()).split())
