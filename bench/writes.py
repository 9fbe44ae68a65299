"""Eight targets get their alerts at the same moment, and the store takes one write a second to one object, as Cloud Storage does."""

from __future__ import annotations

from collections import Counter

from bench import wire
from bench.contenders import UNSTICK, Form, start
from bench.samples import Samples
from bench.stage import BUCKET, Stage, one
from testbed.doubles.cloud_storage import cloud_storage

TARGETS = 8
SLOWEST = "8 alerts at once, and a store that takes one write a second to an object: time to the slowest answer"
RESTARTED = "the same: restarts before that answer"
WRITES = "the same: most writes of one document"


def eight_at_once(stage: Stage, samples: Samples) -> None:
    """One round, on a server that has served an alert before."""
    counts = Counter[str]()
    with cloud_storage(BUCKET, writes=counts) as url:
        server = start(UNSTICK, stage, Form.CLOUD, STORAGE_EMULATOR_HOST=url)
        try:
            wire.first(server.port, UNSTICK.message(one(stage.service())), within_s=60.0).expected(200)
            stage.clear()
            counts.clear()
            answers = wire.at_once(server.port, [UNSTICK.message(one(stage.service())) for _ in range(TARGETS)])
            restarted = len(stage.rundeck.posts())
        finally:
            server.tree.stop()
    samples.add(SLOWEST, UNSTICK.name, max(answer.expected(200).took_s for answer in answers))
    samples.add(RESTARTED, UNSTICK.name, restarted)
    samples.add(WRITES, UNSTICK.name, max(count for name, count in counts.items() if not name.startswith("documents/storm")))
