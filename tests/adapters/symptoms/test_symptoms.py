"""What every symptom must do. A new symptom is tested automatically, and fails here until it has a stand-in in systems.py."""

import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from functions.application.documents import decode, encode
from functions.application.observe import or_unknown
from functions.application.ports import Finding, Query, SymptomAdapter
from functions.config.settings import adapter_names
from functions.domain.decisions.matching import NotRendered
from functions.domain.health.looks import Judgement, judge_health
from functions.domain.model.alerts import QueueRef
from functions.domain.model.codes import Health
from functions.domain.model.incidents import QueueState
from functions.domain.model.observations import figures_of
from functions.domain.model.runbooks import Symptom
from functions.runtime.errors import Denied, Unavailable
from testbed.patience import PATIENCE_S
from tests.adapters.symptoms.systems import SYSTEMS, System

SYMPTOMS = adapter_names("symptoms")
MAX_REF_BYTES = 4000
"""Of a queue in a document, which holds up to twenty."""
MOST_OLD_S = 5.0
"""A reading may be about a moment this long ago."""


@dataclass(frozen=True)
class Lab:
    name: str
    system: System

    @property
    def adapter(self) -> SymptomAdapter:
        return self.system.adapter

    @property
    def symptom(self) -> Symptom:
        return self.adapter.Keys(**self.system.keys).to_symptom()

    def queue(self, name: str = "mail") -> QueueRef:
        return self.adapter.name_queue(self.symptom, {"queue": name})

    def look(self, *names: str, timeout_s: float = PATIENCE_S) -> list[Any]:
        return self.adapter.look_all([Query(self.queue(name), self.symptom.for_s) for name in names], timeout_s=timeout_s)

    def judge(self, *names: str) -> list[Judgement]:
        """What the core makes of it."""
        seen = zip(names, map(or_unknown, self.look(*names)), strict=True)
        return [judge_health(self.symptom, one, QueueState(self.queue(name), "mail", 0.0), time.time())[0] for name, one in seen]

    def check(self, **labels: str) -> list[Finding]:
        return self.adapter.check(self.symptom, labels, timeout_s=PATIENCE_S)


@pytest.fixture(params=SYMPTOMS)
def lab(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Lab]:
    name = request.param
    assert name in SYSTEMS, f"add a stand-in for {name} to tests/adapters/symptoms/systems.py and to SYSTEMS"
    with SYSTEMS[name](tmp_path) as system:
        monkeypatch.setenv("SYMPTOM_SECRET", system.secret)
        system.fill(5)
        yield Lab(name, system)


def test_its_keys_become_a_symptom_of_its_name(lab: Lab):
    """The core finds the adapter by its name; the same labels give the same key, others another, in the store, too."""
    assert lab.symptom.kind == lab.name
    queue = lab.queue()
    assert (queue, queue.kind) == (lab.queue(), lab.name)
    assert queue.key.startswith(f"{lab.name}:")
    assert "mail" in queue.key.split(":", 2)[2]
    assert "mail" in queue.name
    assert lab.queue("other").key != queue.key
    watched = QueueState(queue, "mail", 0.0)
    assert decode(QueueState, encode(watched), "mail") == watched
    assert len(encode(lab.queue("a" * 120))) < MAX_REF_BYTES


HOSTILE = ["", "a\nb", "a\x00b", "a\x1b[31m", "a\u2028b", "x" * 2000, "\ud800"]


@pytest.mark.parametrize("value", HOSTILE, ids=ascii)
def test_a_label_that_can_not_be_used_is_refused(lab: Lab, value: str):
    """I8: missing, hostile and huge ones hold the restart."""
    with pytest.raises(NotRendered):
        lab.queue(value)


def test_the_depth_is_read(lab: Lab):
    """At our time, with all that it can tell as numbers of 0 or more, and None for the rest."""
    began = time.time()
    (seen,) = lab.look("mail")
    figures = figures_of(seen)
    assert figures is not None, seen
    assert figures.depth == 5
    assert began - MOST_OLD_S <= seen.at <= time.time()
    assert figures.consumers is None or figures.consumers >= 0
    assert list(figures.depth_samples) == sorted(figures.depth_samples)


def test_an_empty_queue_is_well_and_a_full_one_is_not(lab: Lab):
    """I3: more than `max_messages` alone makes nobody restart anything, and fewer keep everybody from it."""
    for depth, well in ((0, True), (5, False)):
        lab.system.fill(depth)
        (judged,) = lab.judge("mail")
        assert (judged.health is Health.WELL) is well, judged.why


def test_what_is_wrong_with_one_queue_says_nothing_of_another(lab: Lab):
    """Each has its own place, and what is not there is unknown, never empty."""
    gone, mail, gone_too = lab.judge("gone", "mail", "gone-too")
    assert mail.health is not Health.UNKNOWN
    assert (gone.health, gone_too.health) == (Health.UNKNOWN, Health.UNKNOWN)


def test_what_does_not_answer_is_unavailable(lab: Lab):
    """I4: never an exception, and never a queue that looks empty."""
    lab.system.close()
    (reading,) = lab.look("mail")
    assert isinstance(reading, Unavailable | Denied), reading
    said = f"{reading!r} {reading} {getattr(reading, 'remedy', '')}"
    assert not lab.system.secret or lab.system.secret not in said


def test_no_time_left_is_unavailable(lab: Lab):
    """A webhook has eight seconds for all; none may be left."""
    (reading,) = lab.look("mail", timeout_s=0.0)
    assert isinstance(reading, Unavailable), reading


def test_check_finds_nothing_wrong_where_nothing_is(lab: Lab):
    """Lines for people: what, whether it is right, and details."""
    lines = lab.check(queue="mail")
    assert lines
    assert [line for line in lines if line.ok is False] == []
    assert any(line.ok for line in lines)


def test_check_says_what_is_wrong_and_what_to_do(lab: Lab):
    """A queue that is not there, and a system that does not answer."""
    gone = [line for line in lab.check(queue="gone") if line.ok is False]
    lab.system.close()
    down = [line for line in lab.check(queue="mail") if line.ok is False]
    for wrong in (gone, down):
        assert wrong
        assert all(line.remedy for line in wrong)


def test_check_says_that_labels_come_with_the_alert(lab: Lab):
    """Before the first alert nobody knows them: that is no mistake, and the other lines are asked all the same."""
    lines = lab.check()
    assert [line for line in lines if line.ok is False] == []
    assert any("with the alert" in str(line.detail) for line in lines)
