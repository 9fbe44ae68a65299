"""Documents survive the store. Those of a newer release are left alone, and broken ones are reported."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from msgspec import inspect

from functions.application.documents import decode, encode
from functions.domain.model.codes import VERSION
from functions.domain.model.incidents import Document
from functions.domain.model.observations import Pause, Slot, Storm
from functions.runtime.errors import Denied
from functions.runtime.text import Text
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
