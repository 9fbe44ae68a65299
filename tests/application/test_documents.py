"""Documents survive the store, also that of the storm slots, which has as many as are allowed."""

import json
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from msgspec import inspect
from msgspec.structs import replace

from functions.adapters.stores import cloud_storage
from functions.application import intake
from functions.application.documents import claim_slot, decode, encode, load_storm
from functions.application.ports import Budget
from functions.domain.model.alerts import Alert, MatchedAlert
from functions.domain.model.codes import VERSION, Action, Phase
from functions.domain.model.incidents import Document
from functions.domain.model.observations import Pause, Slot, Storm
from functions.runtime.errors import Conflict, Denied
from functions.runtime.parallel import run_parallel
from functions.runtime.structs import convert
from functions.runtime.text import Text
from testbed.doubles.cloud_storage import cloud_storage as cloud_storage_double
from testbed.patience import PATIENCE_S
from tests.support.worlds.memory import Memory
from tests.support.worlds.scenes import MAIL, NOW, TARGET, alert, rules, runbook

TEXT = Text("answered {status}", status="500")


def sample(kind: inspect.Type) -> Any:
    """A value of this type in which each field has another value than its default, and each collection one item."""
    match kind:
        case inspect.StructType(cls=cls) if cls is Text:
            return TEXT
        case inspect.StructType(cls=cls, fields=members):
            return cls(**{one.name: sample_of(one) for one in members if one.name != "version"})
        case inspect.Metadata() | inspect.UnionType():
            types = (kind.type,) if isinstance(kind, inspect.Metadata) else kind.types
            return sample(next(one for one in types if not isinstance(one, inspect.NoneType)))
        case inspect.VarTupleType(item_type=item) | inspect.FrozenSetType(item_type=item):
            return (frozenset if isinstance(kind, inspect.FrozenSetType) else tuple)([sample(item)])
        case inspect.TupleType(item_types=items):
            return tuple(map(sample, items))
        case inspect.DictType(key_type=key, value_type=value):
            return {sample(key): sample(value)}
        case inspect.EnumType(cls=cls):
            return list(cls)[-1]
    most = getattr(kind, "le", None) or NOW + 0.5
    of_kind = {inspect.BoolType: True, inspect.IntType: min(7, int(most)), inspect.FloatType: most, inspect.StrType: "配送 (v)"}
    return of_kind[type(kind)]


def sample_of(field: inspect.Field) -> Any:
    return not field.default if isinstance(field.default, bool) else sample(field.type)


FULL: Document = sample(inspect.type_info(Document))
assert FULL.incident is not None


@pytest.mark.parametrize(
    "stored",
    [FULL, Document("k"), Storm((Slot("t", NOW),)), Pause("why", "anna", NOW, on=False, until=NOW)],
    ids=["full", "empty", "storm", "pause"],
)
def test_a_document_survives_the_store(stored):
    """Every field, nested and enumerated ones too, comes back equal."""
    assert decode(type(stored), encode(stored), "k") == stored


RECORDED = Path("tests/recordings/document.json")
"""Every field, as the first release writes it."""


def test_what_the_first_release_wrote_is_read():
    """A field that was added since needs a default, in the document and in archive records. Never record this file again."""
    read = decode(Document, RECORDED.read_bytes(), "k")
    incidents = [read.incident, *(record.incident for record in read.to_archive)]
    assert [len(one.queues) for one in incidents if one is not None] == [1, 1]


def test_fields_that_are_no_longer_known_are_passed_over():
    """Rollback inside one version: what the newer release added is not ours to read."""
    body = {**json.loads(encode(FULL)), "invented": {"later": [1, 2]}}
    assert decode(Document, json.dumps(body).encode(), "k") == FULL


@pytest.mark.parametrize(
    "change",
    [{}, {"incident": "in another form"}, {"outcomes": None}, {"due": "soon"}],
    ids=["same form", "incident", "null", "text"],
)
def test_a_newer_releases_document_is_refused_by_name(change):
    """Whatever form it has: the message names document and versions, and what to do."""
    body = {**json.loads(encode(FULL)), "version": VERSION + 1, **change}
    with pytest.raises(Denied, match=f"mail-key was written by a newer release .version {VERSION + 1}") as denied:
        decode(Document, json.dumps(body).encode(), "mail-key")
    assert "newer release" in str(denied.value.remedy)


@pytest.mark.parametrize(
    "body",
    [
        b"", b"{", b"null", b"[]", b'"text"', b"{}", b'{"key": 5}', b'{"key": "k", "version": "two"}',
        b'{"key": "k", "due": "soon"}', b'{"key": "k", "incident": {"phase": "dancing"}}', b"\xff\xfe", b"[" * 100_000,
        b'{"key": "k"} trailing', b'{"version": true}',
    ],
    ids=lambda body: ascii(body[:40]),
)  # fmt: skip
def test_a_broken_document_is_refused_by_name(body):
    """Never a crash and never an empty document in its place: the target's restarts are held until a person looked."""
    with pytest.raises(Denied, match="the document mail-key can't be read") as denied:
        decode(Document, body, "mail-key")
    assert "move it away" in str(denied.value.remedy)


ROOT = Path(__file__).parents[2]
ROUNDS = """
import importlib, sys, threading
from functions.domain.model import incidents as model
from functions.application.documents import decode, encode

sys.setswitchinterval(1e-6)
body = encode(model.Document("a"))

def use(together):
    together.wait()
    assert decode(model.Document, body, "a") == model.Document("a")

for _ in range(60):
    importlib.reload(model)  # classes that nobody has decoded by
    together = threading.Barrier(8)
    threads = [threading.Thread(target=use, args=(together,)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
print("all rounds done")
"""


def test_a_type_may_be_met_by_many_threads_at_once():
    """The first requests of a fresh process come together (msgspec alone crashes here); nobody gets a value of another form."""
    done = subprocess.run(
        [sys.executable, "-c", ROUNDS], cwd=ROOT, capture_output=True, text=True, check=False, timeout=2 * PATIENCE_S
    )
    assert (done.returncode, done.stdout) == (0, "all rounds done\n"), done.stderr[-2000:]
    with pytest.raises(msgspec.ValidationError):
        convert([{"fingerprint": 7}], tuple[Alert, ...])


def storm_of(ports: Memory) -> Storm:
    return load_storm(ports, 5.0)


def slots_of(ports: Memory) -> list[str]:
    return sorted(slot.target for slot in storm_of(ports).slots)


@pytest.mark.parametrize("targets", [1, 3, 20])
def test_whoever_looked_before_others_claimed_takes_no_slot_too_many(targets):
    """All saw every slot free; the last ones are told that there are none any more."""
    ports = Memory(rules=rules(storm_targets=targets))
    seen, lost = storm_of(ports), 0
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
        claim_slot(ports, Slot("t", NOW + later), storm_of(ports), 5.0)
    assert slots_of(ports) == ["t"]
    ports = Memory()
    for number in range(9):
        claim_slot(ports, Slot(f"t{number}", NOW + 600.0 * (number // 3)), storm_of(ports), 5.0)
    assert slots_of(ports) == ["t6", "t7", "t8"]
    ports = Memory()
    for number in range(4):
        claim_slot(ports, Slot(f"t{number}", NOW), storm_of(ports), 5.0)
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


def test_three_targets_at_once_are_all_restarted_within_their_request(writes):
    """On a store that takes one write a second to one object: none is lost, and Grafana is answered in time."""
    ports = OnTheRealStore()
    cases = [
        MatchedAlert(alert(fingerprint=f"fp-{n}"), runbook(), replace(TARGET, key=f"key-{n}", options={"service": f"s{n}"}), MAIL)
        for n in range(3)
    ]
    began = time.monotonic()
    handled = intake.handle_notification(ports, cases, Budget(ports, began + 8.0))
    took_s = time.monotonic() - began
    assert Counter(reply.action for reply in handled.replies) == {Action.RESTARTED: 3}
    assert took_s < 10.0
    assert max(count for name, count in writes.items() if not name.startswith("documents/storm")) == 3
    saved = [decode(Document, ports.store.load(f"key-{n}", timeout_s=PATIENCE_S).body, f"key-{n}") for n in range(3)]
    assert {document.incident.phase for document in saved if document.incident} == {Phase.RUNNING}
