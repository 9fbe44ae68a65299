"""The catalogues: nothing that is said lacks a translation, none is left over, and what is read is what was written."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
from babel.messages.catalog import Catalog
from babel.messages.pofile import read_po

from functions.runtime.text import LOCALES, Text, in_language, join, languages, named
from tools import catalogues

FILES = sorted(LOCALES.glob("*/LC_MESSAGES/unstick.po"))
PLACE = re.compile(r"\{\w+\}")


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
    """With the same values as the English one, and none with a mark that says that it is only a guess."""
    catalogue = read(po)
    assert not catalogue.obsolete
    for message in catalogue:
        if not message.id:
            continue
        ids = message.id if isinstance(message.id, tuple) else (message.id,)
        translations = message.string if isinstance(message.string, tuple) else (message.string,)
        assert all(translations), message.id
        assert not message.fuzzy, message.id
        for translation in translations:
            assert set(PLACE.findall(translation)) == set(PLACE.findall(ids[-1])), message.id


@pytest.mark.parametrize(
    ("text", "japanese"),
    [
        (Text("{count} consumer", "{count} consumers", count=1), "コンシューマー数 1"),
        (Text("{count} consumer", "{count} consumers", count=2), "コンシューマー数 2"),
        (
            Text("the alert started {age} ago", age=Text("{days} d {hours} h", days=1, hours=1)),
            "アラートは1日1時間前に発生しました",
        ),
        (Text("It can't be read: {why}", why=Text("answered {status}", status="502")), "読み取れません：応答 502"),
        (join([named("mail.a", Text("depth {depth}", depth=3)), "Odd words: depth 3"]), "mail.a：滞留数3件；Odd words: depth 3"),
        (Text("nobody ever translated this {way}", way="x"), "nobody ever translated this x"),
    ],
)
def test_a_text_is_said_in_japanese(text: Text, japanese: str):
    """What is ours is translated at any depth; words of others never are, not even those that are like ours."""
    assert in_language("ja", text) == japanese


def test_english_reads_no_catalogue():
    """A cold start that has nobody to say anything in Japanese pays nothing for it."""
    code = """if True:
        import sys
        opened = []
        sys.addaudithook(lambda event, args: opened.append(str(args[0])) if event == "open" else None)
        from functions.domain.cards.card import compose
        from functions.domain.cards.card_input import CardInput
        from functions.domain.model.codes import Reason
        from functions.domain.model.runbooks import Rules
        for language in sys.argv[1:]:
            print(compose(CardInput("held", 0.0, reason=Reason.PAUSED), Rules({}, language=language)).headline)
            print([name for name in opened if name.endswith(".mo")] != [])
        """
    run = subprocess.run([sys.executable, "-c", code, "en", "ja"], capture_output=True, text=True, check=True, encoding="utf-8")
    assert run.stdout.splitlines() == [
        "ACT NOW: an unnamed target was not restarted: Unstick is paused",
        "False",
        "至急対応：名前のない対象 を再起動していません：Unstick は一時停止中",
        "True",
    ]
