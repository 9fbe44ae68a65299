"""Documents survive the store, a former release's are read, a newer one's are left alone, and broken ones are said."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from msgspec import inspect
from msgspec.structs import fields

from functions.application.serialization import decode, encode
from functions.domain.model.codes import VERSION, Phase, Verdict
from functions.domain.model.incidents import INCIDENT_PARTS, AfterRestart, Document, Incident, change
from functions.domain.model.observations import Pause, Slot, Storm
from functions.runtime.errors import Denied
from functions.runtime.text import Text
from tests.application.documents.test_former_release import is_kept
from tests.support.worlds.scenes import NOW

TEXT = Text("answered {status}", status="500")


def sample(kind: inspect.Type) -> Any:
    """A value of this type in which each field has another value than its default, and each collection one item."""
    match kind:
        case inspect.StructType(cls=cls) if cls is Text:
            return TEXT
        case inspect.StructType(cls=cls, fields=members):
            return cls(**{one.name: sample_of(one) for one in members if one.name != "version"})
        case inspect.UnionType(types=types):
            return sample(next(one for one in types if not isinstance(one, inspect.NoneType)))
        case inspect.VarTupleType(item_type=item):
            return (sample(item),)
        case inspect.TupleType(item_types=items):
            return tuple(map(sample, items))
        case inspect.DictType(key_type=key, value_type=value):
            return {sample(key): sample(value)}
        case inspect.EnumType(cls=cls):
            return list(cls)[-1]
    return {inspect.BoolType: True, inspect.IntType: 7, inspect.FloatType: NOW + 0.5, inspect.StrType: "配送 (v)"}[type(kind)]


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


WRITTEN = Path("tests/recordings/documents-v2/full.json").read_bytes()
"""Every field, as the release before the structs had parts wrote it."""


def test_documents_keep_the_form_of_the_release_before():
    """During a rolling deployment either release reads what the other writes; the archive keeps its field names."""
    read = decode(Document, WRITTEN, "k")
    assert read.incident is not None
    after = AfterRestart(5, 6, NOW, NOW, Verdict.DRAINING, 10.5, 12.5)
    assert [one.after for one in read.incident.queues] == [after]
    assert is_kept(json.loads(WRITTEN), json.loads(encode(read)))


PARTS = {name: part for part, kind in INCIDENT_PARTS.items() for name in kind.__struct_fields__}
OPTIONAL_OF_INCIDENT = [one.name for one in fields(Incident) if not one.required and one.name not in INCIDENT_PARTS] + list(PARTS)


@pytest.mark.parametrize("name", OPTIONAL_OF_INCIDENT)
def test_a_former_releases_incident_lacks_fields(name):
    """An incident continues across an upgrade."""
    body = json.loads(encode(FULL))
    del body["incident"][name]
    unset = Incident("i", Phase.ASKED, 0.0, "r", (), ())
    default = getattr(getattr(unset, PARTS[name]) if name in PARTS else unset, name)
    assert decode(Document, json.dumps(body).encode(), "k").incident == change(FULL.incident, **{name: default})


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
