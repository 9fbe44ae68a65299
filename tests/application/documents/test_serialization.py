"""Documents survive the store, a former release's are read, a newer one's are left alone, and broken ones are said."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from msgspec import NODEFAULT, Struct
from msgspec.structs import fields, replace

from functions.application.serialization import decode, encode
from functions.domain.model.alerts import QueueRef
from functions.domain.model.codes import VERSION, Ending, Phase, Proof, Reason, Verdict
from functions.domain.model.incidents import (
    INCIDENT_PARTS,
    AfterRestart,
    AlertRef,
    Approval,
    Archive,
    Document,
    Escalation,
    Evidence,
    HistoryEntry,
    Hold,
    Incident,
    Looks,
    Observed,
    Outcome,
    PastAttempt,
    QueueState,
    Run,
    change,
)
from functions.domain.model.messages import Card, Message
from functions.domain.model.observations import Channel, Holder, Pause, QueueHistory, Returns, Slot, Storm, Unknown
from functions.runtime.errors import Denied
from functions.runtime.text import Text
from tests.application.documents.test_former_release import is_kept
from tests.support.worlds.scenes import MAIL, NOW, TARGET, execution, sighting

RUN = execution(tag="inc-1.1", runner_not_after=NOW, user="anna", aborted_by="bob", scheduled=True, retry_of_restart=True)
TRIGGER = AlertRef(
    "fp", "grafana#1", NOW, MAIL.key, "Stuck", "summary 日本", "critical", {"panel": "https://g.example"}, NOW + 1, suspicion=True
)
SAMPLES = ((NOW, 7),)
CHANNEL = Channel("c (1)", "10.0.3.7", "mail-worker-2", 1, 1, SAMPLES, SAMPLES, 2, shared=True)
WATCHED = QueueState(
    QueueRef("other", "other:v:配送", "配送 (v)", {"file": "v/配送"}),
    "mail",
    NOW,
    sighting(
        head_at=5.0,
        head_bytes=8,
        alarm="memory (rabbit@one)",
        held_bytes=9,
        holders=(Holder("10.0.3.7", "mail-worker-2", 1, NOW),),
        behind_s=7.5,
        zeros=True,
        blind=Unknown("why", late=True, remedy="look"),
        later=1,
        redeliveries=2,
        published=3,
        history=QueueHistory(SAMPLES, SAMPLES, SAMPLES, SAMPLES, SAMPLES),
        channels=(CHANNEL,),
        unseen=Unknown("why", late=True, remedy="look"),
        consumed=True,
        uncounted=True,
        nodes=("a",),
        node_down=True,
        nodes_up_s=4.5,
        returns=Returns(3, 1, dead_letters=True),
    ),
    Proof.HELD,
    (CHANNEL,),
    Looks(NOW, NOW, "a1", NOW, "b2", NOW, 3, consumed=True, oldest_from=NOW),
    AfterRestart(5, 6, NOW, NOW, Verdict.DRAINING, 10.5, 12.5, 1, same_again=True, came=True, lost_since=1),
    7,
    8.5,
    ((NOW, 9),),
    (Holder("10.0.3.7", "mail-worker-2", 1, NOW),),
    9,
    8,
    "memory (rabbit@one)",
    Returns(3, 1, dead_letters=True),
    2,
)
INCIDENT = Incident(
    "inc-1",
    Phase.VERIFYING,
    NOW,
    "mail",
    (WATCHED,),
    (TRIGGER,),
    due=NOW,
    waits_from=NOW,
    attempt=2,
    restarts=1,
    tries=(PastAttempt("inc-1.1", RUN, "stuck", "10.0.3.7"),),
    reason=Reason.COOLDOWN,
    detail="why",
    execution=RUN,
    runner_ahead_s=1.5,
    looked_at=NOW,
    run=Run(
        NOW, unclear=Text("answered {status}", status="500"), adopted=True, tail=("a line",), draining_told="m", holder_host="h"
    ),
    approval=Approval("n", NOW, "anna", "why", "anna", once=True, overruled=True, remedy="park", to_move=1),
    observed=Observed(NOW, NOW),
    evidence=Evidence({"a": "b"}, NOW, NOW, RUN, ("a line",), "why", "without"),
    told=("ops",),
    history=(HistoryEntry(NOW, Phase.VERIFYING, Reason.COOLDOWN, "why", 2),),
)
CARD = Card(
    "held",
    "act",
    "headline",
    (("a", "b"),),
    ("text",),
    ("line",),
    ((NOW, 1),),
    (("link", "https://l.example"),),
    ("@all",),
    "inc-1",
    NOW,
    "nonce",
    NOW,
    ("approve",),
    "token",
    "title",
)
OUTCOME = Outcome("inc-0", Ending.ESCALATED, Reason.FAILING, NOW, (TRIGGER,), NOW, ("ops",), 2, (WATCHED.queue,), "anna")
FULL = Document(
    TARGET.key,
    replace(TARGET, holder="host", remedies=("job-park",), own={"job-park": {"how": "hard"}}),
    INCIDENT,
    (OUTCOME,),
    (Message("m", "ops", CARD, "paused", "app=mail", "https://rundeck.example.com/job"),),
    (Archive(replace(TARGET, holder="host", remedies=("job-park",), own={"job-park": {"how": "hard"}}), INCIDENT, OUTCOME),),
    NOW,
    {"k": Hold(Reason.PAUSED, NOW)},
    NOW,
    Escalation("inc-0", "mail", NOW, NOW, "nonce", 1, "anna", NOW, (WATCHED,), "https://rundeck.example.com/job"),
    {"ops/inc-1": "thread"},
    {"m": NOW},
    {"r": NOW},
    {"2027-01-15": 3},
)


def filled(found: Any) -> Any:
    """The same with fields that came later filled with something, where they are simple."""
    for name, value in unfilled(found):
        found = replace(found, **{name: {bool: True, str: "x", int: 7}.get(type(value), value)})
    return found


def unfilled(found: Any) -> Iterator[tuple[str, Any]]:
    for one in fields(found):
        default = (
            one.default
            if one.default is not NODEFAULT
            else one.default_factory()
            if one.default_factory is not NODEFAULT
            else NODEFAULT
        )
        if one.name != "version" and default == getattr(found, one.name):
            yield one.name, default


def below(found: Any) -> Iterator[Any]:
    """The Struct and all below it."""
    if isinstance(found, Struct):
        yield found
        for one in fields(found):
            yield from below(getattr(found, one.name))
    elif isinstance(found, tuple):
        for item in found:
            yield from below(item)
    elif isinstance(found, dict):
        for item in found.values():
            yield from below(item)


@pytest.mark.parametrize(
    "found",
    [
        replace(FULL, incident=filled(INCIDENT)),
        Document("k"),
        Storm((Slot("t", NOW),)),
        Pause("why", "anna", NOW, on=False, until=NOW),
    ],
    ids=["full", "empty", "storm", "pause"],
)
def test_a_document_survives_the_store(found):
    """Every field, nested and enumerated ones too, comes back equal."""
    assert decode(type(found), encode(found), "k") == found


WRITTEN = Path("tests/recordings/documents-v2/full.json").read_bytes()
"""FULL as the release before the structs had parts wrote it."""


def test_documents_keep_the_form_of_the_release_before():
    """During a rolling deployment either release reads what the other writes; the archive keeps its field names."""
    read = decode(Document, WRITTEN, "k")
    assert read.incident is not None
    unknown = {"held_again": 0, "same_again": False, "came": False, "lost_since": 0}
    assert [one.after for one in read.incident.queues] == [replace(WATCHED.after, **unknown)]
    assert is_kept(json.loads(WRITTEN), json.loads(encode(read)))


OPTIONAL = [one.name for one in fields(Document) if not one.required]
PARTS = {name: part for part, kind in INCIDENT_PARTS.items() for name in kind.__struct_fields__}
OPTIONAL_OF_INCIDENT = [one.name for one in fields(Incident) if not one.required and one.name not in INCIDENT_PARTS] + list(PARTS)


@pytest.mark.parametrize("name", OPTIONAL_OF_INCIDENT)
def test_a_former_releases_incident_lacks_fields(name):
    """An incident continues across an upgrade."""
    body = json.loads(encode(FULL))
    del body["incident"][name]
    unset = Incident("i", Phase.ASKED, 0.0, "r", (), ())
    default = getattr(getattr(unset, PARTS[name]) if name in PARTS else unset, name)
    assert decode(Document, json.dumps(body).encode(), "k").incident == change(INCIDENT, **{name: default})


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
    assert denied.value.code == "newer"
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
    assert (denied.value.code, bool(denied.value.remedy)) == ("document", True)
