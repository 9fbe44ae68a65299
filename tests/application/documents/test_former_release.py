"""An upgrade in the middle of everything: what the former release wrote is read, and its incidents go on."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from functions.application import reconcile, signing
from functions.application.history.report import as_json
from functions.application.serialization import decode, encode
from functions.domain.costs import card as cost_card
from functions.domain.costs import report as costs
from functions.domain.costs.model import Known
from functions.domain.model.codes import VERSION, Ending, Mode, Phase, Reason
from functions.domain.model.events import Approved, TimerFired
from functions.domain.model.incidents import Archive, Document
from functions.domain.model.runbooks import Verify
from functions.runtime.errors import Denied
from functions.runtime.secrets import SecretRef
from tests.support.worlds.memory import Memory
from tests.support.worlds.scenes import AHEAD_S, NOW, TARGET, alerted, case, execution, rules, runbook, snapshot, well

RECORDED = Path(__file__).parents[2] / "recordings" / "documents-v1"
NAMES = sorted(path.stem for path in RECORDED.glob("*.json") if path.stem not in ("pause", "storm"))
ARCHIVED = [name for name in NAMES if name.startswith("archive-")]
DOCUMENTS = [name for name in NAMES if name not in ARCHIVED]
KEY = TARGET.key
GONE = {"version", "ill_since", "ill_depth", "ill_head_at", "ill_acks"}
"""The former release judged a queue without statistics by two checks at its depth; this one begins its own."""


def recorded(name: str) -> bytes:
    return (RECORDED / f"{name}.json").read_bytes()


def read(name: str) -> Document:
    return decode(Document, recorded(name), name)


def world(name: str, after_s: float = 0.0, **changes: Any) -> Memory:
    """The document as the former release left it, and the outside as it was then; the new release's clock goes on from there."""
    memory = Memory(rules=rules(runbook(verify=Verify(first_s=5.0), **changes), public_url="https://unstick.example.com"))
    document = read(name)
    memory.bodies[document.key] = (recorded(name), 1, document.due)
    memory.clock = max(NOW + after_s, document.due or 0.0)
    if document.incident and document.incident.execution:
        memory.executions = [document.incident.execution]
    return memory


def advance(memory: Memory, event: Any = None, after_s: float = 0.0) -> Document:
    memory.clock += after_s
    reconcile.advance(memory, KEY, event or TimerFired(), memory.budget(20.0))
    return memory.document(KEY)


def kinds(memory: Memory) -> list[str]:
    return list(dict.fromkeys(card.kind for _, card in memory.posts))


def test_the_recordings_are_of_the_first_version():
    """Else they would prove nothing; every phase of that time is among them."""
    assert {json.loads(recorded(name))["version"] for name in NAMES} == {1}
    phases = {document.incident.phase for document in map(read, DOCUMENTS) if document.incident}
    assert phases == set(Phase) - {Phase.OBSERVING, Phase.COLLECTING}, "nothing was observed or collected"
    assert VERSION == 2


@pytest.mark.parametrize("name", DOCUMENTS)
def test_a_document_is_read_with_all_it_holds(name: str):
    """Nothing that the former release wrote is dropped, and it is written again as this release's version."""
    document = read(name)
    written = json.loads(encode(document))
    assert written.pop("version") == VERSION
    assert is_kept(json.loads(recorded(name)), written)


def is_kept(old: Any, new: Any) -> bool:
    """Whether all of the old is in the new; what the new one adds has its default."""
    if isinstance(old, dict):
        if "vhost" in old:
            return bool(new["keys"] == {"vhost": old["vhost"], "queue": old["name"]} and new["key"] == "rabbitmq:/:mail.delivery")
        return all(key in GONE or (key in new and is_kept(value, new[key])) for key, value in old.items())
    if isinstance(old, list):
        return len(old) == len(new) and all(map(is_kept, old, new))
    return bool(old == new)


def test_a_detail_is_shown_as_it_was_written():
    """I1: in the former release's words, also in Japanese; what it ended isn't started again; one report has both."""
    memory = world("asked-after-failures")
    memory.rules = replace(memory.rules, language="ja")
    memory.mail = lambda at: snapshot(at=at)
    advance(memory)
    assert any("executions that failed in a row: 2" in text for _, card in memory.posts for text in card.text)
    for name in ("recovered", "escalated"):
        memory = world(name, after_s=300.0)
        reply = reconcile.advance(memory, KEY, alerted(), memory.budget())
        assert reply.reason is Reason.DUPLICATE, name
    reply = reconcile.advance(memory, KEY, alerted(case(fingerprint="another", starts_at=NOW + 250.0)), memory.budget())
    assert reply.reason is Reason.ESCALATED
    records = tuple(decode(Archive, recorded(name), name) for name in ARCHIVED)
    assert {record.outcome.ending for record in records} == set(Ending)
    known = Known(records, {"mail": (NOW,)}, {}, {})
    cost = costs.cost(known, rules(), NOW + 3600.0)
    assert as_json(cost)["runbooks"][0]["week"]["recovered"] == 1
    assert cost_card.card(cost, rules()).headline


@pytest.mark.parametrize("name", ["deferred", "waiting-for-history", "waiting-for-cooldown"])
def test_an_incident_that_waited_is_restarted(name: str):
    """Its guards are asked anew."""
    memory = world(name, after_s=700.0)
    memory.executions = []
    document = advance(memory)
    assert document.incident is not None
    assert document.incident.phase is Phase.RUNNING
    assert memory.names.count("run inc-1.1") == 1
    assert json.loads(memory.bodies[KEY][0])["version"] == VERSION


@pytest.mark.parametrize(("name", "changes"), [("asked", {"mode": Mode.APPROVE}), ("asked-after-failures", {})])
def test_a_link_that_the_former_release_sent_still_approves(name: str, changes: dict[str, Any]):
    """People don't notice the upgrade."""
    memory = world(name, **changes)
    memory.clock = NOW + 60.0
    nonce = read(name).incident.approval.nonce
    document = advance(memory, Approved(nonce, "anna"))
    assert (document.incident.phase, document.incident.approval.approved_by) == (Phase.RUNNING, "anna")


def test_a_start_without_an_answer_is_found_in_the_history():
    """I1: what the former release may have started is not started again."""
    memory = world("starting")
    memory.executions = [execution(started=2.0, ended=None, tag="inc-1.1")]
    assert advance(memory).incident.phase is Phase.RUNNING
    assert not any(name.startswith("run") for name in memory.names)


@pytest.mark.parametrize("name", ["running", "verifying"])
def test_a_restart_under_way_ends_as_recovered(name: str):
    """The former release started it; this one sees it through, and writes the archive."""
    memory = world(name)
    memory.mail = well
    if memory.executions[0].runner_ended_at is None:
        memory.executions = [replace(memory.executions[0], status="succeeded", runner_ended_at=memory.clock + AHEAD_S - 1.0)]
    for _ in range(4):
        document = advance(memory, after_s=20.0)
    assert [outcome.ending for outcome in document.outcomes] == [Ending.RECOVERED]
    assert kinds(memory) == ["recovered"]
    assert [decode(Archive, body, path).version for path, body in memory.archived.items()] == [VERSION]


@pytest.mark.parametrize("name", ["to-tell", "to-archive"])
def test_messages_that_waited_are_posted_and_records_written(name: str):
    """I2: as the former release worded them."""
    memory, document = world(name), read(name)
    advance(memory)
    assert [card.headline for _, card in memory.posts] == [message.card.headline for message in document.to_tell]
    assert [decode(Archive, body, path).incident for path, body in memory.archived.items()] == [
        archived.incident for archived in document.to_archive
    ]
    assert not memory.document(KEY).open


@pytest.mark.parametrize(("name", "field"), [("target", "target"), ("alerts", "deferred")])
def test_a_wake_up_is_taken(name: str, field: str, monkeypatch: pytest.MonkeyPatch):
    """Those that wait at the scheduler were signed by the former release; alerts that were handed over are decided."""
    monkeypatch.setenv("KEY", "a key of the tests, for recordings only")
    payload = (RECORDED / f"wake-up-{name}.txt").read_text().strip()
    content = signing.verify_payload((SecretRef("env://KEY"),), payload)
    assert field in content
    if field == "deferred":
        assert signing.handed_over_since(payload) == pytest.approx(NOW, abs=60.0)
        assert content["deferred"][0]["alerts"][0]["fingerprint"] == "fp-1"


@pytest.mark.parametrize("event", [TimerFired(), alerted()], ids=["wake-up", "alert"])
def test_a_rollback_leaves_newer_documents_alone(event: Any):
    """As the former release meets version 2, this one meets 3: nothing is started, changed or lost, and the message says why."""
    memory = world("running")
    newer = json.dumps({**json.loads(recorded("running")), "version": VERSION + 1, "incident": {"in": "another form"}}).encode()
    memory.bodies[KEY] = (newer, 5, None)
    with pytest.raises(Denied, match=f"written by a newer release .version {VERSION + 1}; this release reads up to 2") as denied:
        reconcile.advance(memory, KEY, event, memory.budget())
    assert memory.bodies[KEY] == (newer, 5, None)
    assert "Deploy the newer release again" in str(denied.value.remedy)
    assert not any(name.startswith(("run", "save", "post")) for name in memory.names)
