"""Exact sentences in Japanese: whatever the code could put on a card is in the catalogue, and nothing else."""

from __future__ import annotations

import re
from string import Formatter

import pytest

from functions.domain.texts.details import catalogue, in_language, template
from functions.domain.texts.details_decisions import DECISIONS
from functions.domain.texts.details_rooms import ROOMS
from tests.support.sentences import OTHER_FILES, OTHER_PLACES, OTHER_TEXTS, ROOT, Sentence, of_code, of_file, sentences

FILES = sorted((ROOT / "functions").rglob("*.py"))
ALL = {**DECISIONS, **ROOMS}

NAMES = re.compile(r"`[^`]*`|Cloud Run|'‹x›'")
"""What is English in Japanese texts as well: commands and settings, a product, and a value in quotes."""

ENGLISH = re.compile(r"[A-Za-z][A-Za-z']*,? [A-Za-z']*[A-Za-z]")
"""Two English words behind each other."""

IN_PARTS = [
    "runs", "failed", "aborted", "succeeded", "queue", "option a (from label b)", "a) (from label b", "7 s", "it answered 7",
    "UNSTICK_PAUSED=1 is set (a)", "not tried, since it might restart: a: no.", "refused the request: a",
    "the job does not take these options: a", "there is no folder a",
]  # fmt: skip
"""Texts that the code makes of several, or that are one word."""


def lacking(found: list[Sentence]) -> list[str]:
    """The sentences that stay English in Japanese, or in part."""
    in_japanese = [(sentence, in_language("ja", sentence.text)) for sentence in found]
    return [
        f"{sentence.place}: {sentence.text}"
        for sentence, said in in_japanese
        if said == sentence.text or ENGLISH.search(NAMES.sub("", said))
    ]


def test_every_sentence_of_the_program_has_its_japanese():
    """Whatever the code could put on a card is in the catalogue, or excused in tests/support/sentences.py with a reason."""
    found = sentences()
    assert {"functions/domain/decisions/guards.py:frozen", "functions/runtime/http_client.py:request"} & {
        sentence.place for sentence in found
    }
    assert lacking(found) == []


@pytest.mark.parametrize(
    "code",
    [
        'def new(scene):\n    return hold(Reason.PAUSED, "the moon is full")',
        'def new(scene):\n    return hold(Reason.PAUSED, f"the moon is {scene.moon} tonight")',
        'def new(scene):\n    return hold(Reason.PAUSED, f"{scene.moon} moons", remedy="")',
        'def new():\n    raise Denied("store", "no", remedy="Wait for the sun.")',
        'REMEDIES = {403: "Wait for the sun."}',
        'TABLE = (("sign", "it is dark"),)',
        'def new():\n    detail = "" if day else "it is dark"\n    return Unknown(detail)',
        'class New:\n    def look(self):\n        raise Unavailable("moon", "it is dark")',
        'def new():\n    """A docstring is none."""\n    outside.log("INFO", "the log is none")\n    return "it is dark"',
    ],
)
def test_a_new_sentence_without_japanese_is_found(code: str):
    """The proof that the test above can fail, for each way in which the code makes a sentence. Docstrings and logs are none."""
    assert len(lacking([Sentence(f"new.py:{owner}", text) for owner, text in of_code(code)])) == 1


def test_every_excuse_is_still_needed():
    """What excuses nothing any more is taken out, before it hides something new."""
    assert [one for one in OTHER_FILES if not any(path.match(one) for path in FILES)] == []
    everything = [sentence for path in FILES for sentence in of_file(path)]
    assert sorted(OTHER_PLACES.keys() - {sentence.place for sentence in everything}) == []
    assert sorted(OTHER_TEXTS.keys() - {sentence.text for sentence in everything}) == []


def test_no_sentence_is_left_from_older_code():
    """Each template fits something that the code makes."""
    texts = {*IN_PARTS, *(sentence.text for path in FILES for sentence in of_file(path))}
    assert sorted(catalogue().plain.keys() - texts) == []
    assert [one.literals for one in catalogue().templates if not any(one.values(text) for text in texts)] == []


@pytest.mark.parametrize("english", ALL)
def test_both_languages_have_the_same_places(english: str):
    """Neither side lacks a value; the Japanese is Japanese; and places have words between them, so that each has its end."""
    made, japanese = template(english, ALL[english]), ALL[english]
    names = [place.name for place in made.places]
    assert sorted(names) == sorted(name for _, name, _, _ in Formatter().parse(japanese) if name)
    assert len(names) == len(set(names))
    assert not japanese.isascii()
    assert {place.kind for place in made.places} <= {"", "number", "text"}
    assert all(made.literals[1:-1])


def test_no_sentence_is_in_both_parts():
    """One place to mend each."""
    assert DECISIONS.keys() & ROOMS.keys() == set()
