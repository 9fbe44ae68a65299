"""The storm slots are in several documents, and together they are as many as are allowed."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest
from msgspec.structs import replace

from functions.adapters.stores import cloud_storage
from functions.application import intake
from functions.application.documents import claim_slot, decode, plan_shards
from functions.application.ports import Budget
from functions.domain.model.alerts import MatchedAlert
from functions.domain.model.codes import Action, Phase
from functions.domain.model.incidents import Document
from functions.domain.model.observations import Slot
from functions.runtime.errors import Conflict
from functions.runtime.parallel import run_parallel
from testbed.doubles.cloud_storage import cloud_storage as cloud_storage_double
from testbed.patience import PATIENCE_S
from tests.support.worlds.memory import Memory
from tests.support.worlds.scenes import MAIL, NOW, TARGET, alert, rules, runbook


def shards_of(ports: Memory, timeout_s: float = 5.0):
    calls, read = plan_shards(ports, timeout_s)
    return read(ports.run_parallel(calls, timeout_s))


def slots_of(ports: Memory) -> list[str]:
    return sorted(slot.target for shard in shards_of(ports) for slot in shard.slots)


@pytest.mark.parametrize("targets", [1, 3, 8, 20, 1000])
def test_there_are_as_many_slots_as_targets(targets):
    ports = Memory(rules=rules(storm_targets=targets))
    assert sum(shard.capacity for shard in shards_of(ports)) == targets
    assert len(ports.calls) <= 8, "each restart reads all of them"


@pytest.mark.parametrize("targets", [1, 3, 20])
def test_whoever_looked_before_others_claimed_takes_no_slot_too_many(targets):
    """All saw every slot free; the last ones are told that there are none any more."""
    ports = Memory(rules=rules(storm_targets=targets))
    seen, lost = shards_of(ports), 0
    for number in range(targets + 5):
        try:
            claim_slot(ports, Slot(f"t{number}", NOW), seen, 5.0)
        except Conflict:
            lost += 1
    assert (len(slots_of(ports)), lost) == (targets, 5)


def test_slots():
    """A target has one however often it claims, old ones make room, and people may restart one more."""
    ports = Memory()
    for later in range(5):
        claim_slot(ports, Slot("t", NOW + later), shards_of(ports), 5.0)
    assert slots_of(ports) == ["t"]
    ports = Memory()
    for number in range(9):
        claim_slot(ports, Slot(f"t{number}", NOW + 600.0 * (number // 3)), shards_of(ports), 5.0)
    assert slots_of(ports) == ["t6", "t7", "t8"]
    ports = Memory()
    for number in range(4):
        claim_slot(ports, Slot(f"t{number}", NOW), shards_of(ports), 5.0)
    assert slots_of(ports) == ["t0", "t1", "t2", "t3"]


@pytest.fixture
def writes(monkeypatch) -> Iterator[Counter[str]]:
    """How often each object of the bucket was written."""
    counts = Counter[str]()
    with cloud_storage_double("bucket-one", writes=counts) as url:
        monkeypatch.setenv("STORAGE_EMULATOR_HOST", url)
        yield counts


class OnTheRealStore(Memory):
    """Everything in memory but the store, and clocks that go."""

    began = 0.0

    @property
    def store(self) -> Any:
        return cloud_storage.CloudStorage("bucket-one")

    def monotonic(self) -> float:
        return time.monotonic()

    def now(self) -> float:
        self.began = self.began or time.monotonic()
        return NOW + time.monotonic() - self.began

    def run_parallel(self, calls, timeout_s):
        return run_parallel(calls, timeout_s=timeout_s)


def test_eight_targets_at_once_are_all_restarted_within_their_request(writes):
    """On a store that takes one write a second to one object: none is lost, and Grafana is answered in time."""
    ports = OnTheRealStore(rules=rules(storm_targets=20))
    cases = [
        MatchedAlert(alert(fingerprint=f"fp-{n}"), runbook(), replace(TARGET, key=f"key-{n}", options={"service": f"s{n}"}), MAIL)
        for n in range(8)
    ]
    began = time.monotonic()
    handled = intake.handle_notification(ports, cases, Budget(ports, began + 8.0))
    took_s = time.monotonic() - began
    assert Counter(reply.action for reply in handled.replies) == {Action.RESTARTED: 8}
    assert took_s < 10.0
    assert max(count for name, count in writes.items() if not name.startswith("documents/storm")) == 2
    saved = [decode(Document, ports.store.load(f"key-{n}", timeout_s=PATIENCE_S).body, f"key-{n}") for n in range(8)]
    assert {document.incident.phase for document in saved if document.incident} == {Phase.RUNNING}
