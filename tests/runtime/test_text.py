"""What is said as data: English by itself, other languages by their catalogue, and nothing of a value is ever a template."""

from pathlib import Path

import msgspec
import pytest
from babel.messages.catalog import Catalog
from babel.messages.pofile import read_po

from functions.domain.model.incidents import Document, Incident, Phase
from functions.runtime.errors import Denied, Unavailable
from functions.runtime.text import LOCALES, Phrase, Text, in_language, join, languages, named
from tools import catalogues


@pytest.mark.parametrize(
    ("phrase", "english"),
    [
        ("answered 502", "answered 502"),
        (Text("is not JSON"), "is not JSON"),
        (Text("in {hours} h: {count}, at most {limit}", hours=1, count=3, limit=3), "in 1 h: 3, at most 3"),
        (Text("{count} runbook", "{count} runbooks", count=1), "1 runbook"),
        (Text("{count} runbook", "{count} runbooks", count=1200), "1,200 runbooks"),
        (Text("{size} bytes in {seconds} s", size=8388608, seconds=0.5), "8,388,608 bytes in 0.5 s"),
        (Text("can't be read: {why}", why=Text("answered {status}", status="502")), "can't be read: answered 502"),
        (join([Text("mail: depth {depth}", depth=3), "another"]), "mail: depth 3; another"),
        (join([]), ""),
    ],
)
def test_a_text_is_english_by_itself(phrase: Phrase, english: str) -> None:
    """With its values, one and many, and whatever stands in it."""
    assert str(phrase) == in_language("en", phrase) == in_language("none that exists", phrase) == english


@pytest.mark.parametrize("hostile", ["{why}", "{0.__class__}", "{why!r:>99999999}", "%s", "{{", "}", r"\1\g<0>", "depth {depth}"])
def test_a_value_is_never_a_template(hostile: str) -> None:
    """Whatever a stranger wrote comes out as it went in."""
    text = Text("can't be read: {why}, {other}", why=hostile, other=Text("said {said}", said=hostile))
    assert str(text) == f"can't be read: {hostile}, said {hostile}"


def test_a_document_keeps_template_and_values() -> None:
    """Errors' own text is English; cards show keys without backticks."""
    detail = join([Text("{name}: depth {depth}", name="mail", depth=3), Text("{count} h", "{count} hs", count=2.5)])
    document = Document("k", incident=Incident("i", Phase.WAITING, 0.0, "r", (), (), detail=detail))
    assert msgspec.json.decode(msgspec.json.encode(document), type=Document) == document
    assert b'{"template":"{name}: depth {depth}","values":{"name":"mail","depth":3}}' in msgspec.json.encode(detail)
    late = Unavailable("Rundeck", Text("answered {status}", status="502"))
    denied = Denied("Rundeck", Text("is not JSON"), remedy=Text("Check the URL."))
    assert (str(late), late.detail) == ("Rundeck: answered 502", Text("answered {status}", status="502"))
    assert (str(denied), denied.remedy) == ("Rundeck: is not JSON", Text("Check the URL."))
    phrase = Text("Set `room` to the number of {name}.", name="`ops`")
    assert str(phrase) == "Set `room` to the number of `ops`."
    assert in_language("en", phrase) == "Set room to the number of `ops`."


FILES = sorted(LOCALES.glob("*/LC_MESSAGES/unstick.po"))


def by_language(path: Path) -> str:
    return path.parts[-3]


def read(po: Path) -> Catalog:
    with po.open("rb") as file:
        return read_po(file, locale=by_language(po))


def test_every_language_has_its_catalogue():
    """A new one is offered as soon as it is there."""
    assert languages() == ("en", *map(by_language, FILES)) == ("en", "ja")


@pytest.mark.parametrize("po", FILES, ids=by_language)
def test_catalogues_are_current(po: Path):
    """No message is missing or left over, and what is read was compiled of it: `python tools/catalogues.py` writes both anew."""
    text, compiled = catalogues.written(catalogues.updated(po))
    assert po.read_bytes().decode() == text.decode()
    assert po.with_suffix(".mo").read_bytes() == compiled


@pytest.mark.parametrize("po", FILES, ids=by_language)
def test_every_message_is_translated(po: Path):
    """With the same values as the English one."""
    catalogue = read(po)
    assert not catalogue.obsolete
    for message in catalogue:
        if not message.id:
            continue
        ids = message.id if isinstance(message.id, tuple) else (message.id,)
        translations = message.string if isinstance(message.string, tuple) else (message.string,)
        assert all(translations), message.id
        for translation in translations:
            assert set(catalogues.PLACE.findall(translation)) == set(catalogues.PLACE.findall(ids[-1])), message.id


@pytest.mark.parametrize(
    ("text", "japanese"),
    [
        (Text("{count} consumer", "{count} consumers", count=1), "コンシューマー数 1"),
        (Text("{count} consumer", "{count} consumers", count=2), "コンシューマー数 2"),
        (
            Text("the alert started {age} ago", age=Text("{days} d {hours} h", days=1, hours=1)),
            "アラートは1日1時間前に発生しました",
        ),
        (
            Text("the kill switch can't be read: {why}", why=Text("answered {status}", status="502")),
            "停止スイッチを読み取れません：応答 502",
        ),
        (join([named("mail.a", Text("depth {depth}", depth=3)), "Odd words: depth 3"]), "mail.a：滞留数3件；Odd words: depth 3"),
        (Text("nobody ever translated this {way}", way="x"), "nobody ever translated this x"),
    ],
)
def test_a_text_is_said_in_japanese(text: Text, japanese: str):
    """What is ours is translated at any depth; words of others never are, not even those that are like ours."""
    assert in_language("ja", text) == japanese
