"""docs/cards: every card as a picture. `UPDATE=1 pytest tests/adapters/chats/test_gallery.py` draws them again."""

from __future__ import annotations

import os
import re
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from functions.domain.cards.card import compose
from functions.domain.cards.svg import plot
from functions.domain.model.messages import Card
from tests.support.worlds.example_stories import EXAMPLES, LONG, NOW, hostile, rules
from tests.system.browser import chat_screens
from tools.docs.card_picture import card_svg, wrapped

DOCS = Path(__file__).parents[3] / "docs"
IN_JAPANESE = ("started", "held-awaiting-approval", "recovered", "escalated", "held-restart-refused", "held-overrule")
PICTURES = {f"{name}.svg": (name, "en") for name in EXAMPLES} | {f"{name}-ja.svg": (name, "ja") for name in IN_JAPANESE}


@pytest.mark.parametrize("picture", PICTURES)
def test_the_gallery_shows_what_is_sent(picture: str):
    """A change of a card's words or looks shows in docs/cards, or this fails."""
    name, language = PICTURES[picture]
    drawn = card_svg(compose(EXAMPLES[name], rules(language)), language)
    path = DOCS / "cards" / picture
    if os.environ.get("UPDATE") == "1":
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(drawn, encoding="utf-8")
    assert path.read_text(encoding="utf-8") == drawn, "out of date: run with UPDATE=1"


@pytest.mark.parametrize("chat", chat_screens.CHATS)
def test_the_screens_of_the_chats_are_of_what_is_posted(chat: str):
    """docs/screens has the JSON beside each picture; `python -m tests.system.browser.chat_screens` takes the pictures again."""
    path = chat_screens.SCREENS / f"{chat}.json"
    if os.environ.get("UPDATE") == "1":
        path.write_text(chat_screens.as_text(chat), encoding="utf-8")
    assert path.read_text(encoding="utf-8") == chat_screens.as_text(chat), "out of date: take the pictures again"
    assert path.with_suffix(".png").exists()


@pytest.mark.parametrize("name", [name for name, story in EXAMPLES.items() if story.incident and story.incident.queues])
def test_picture_and_words_of_an_example_agree(name: str):
    """The curve ends at the figure beside it and at the one in the headline, and good news never stands over a rising curve."""
    card = compose(EXAMPLES[name], rules())
    last, peak = card.curve[-1][1], max(depth for _, depth in card.curve)
    (queue,) = (value for label, value in card.facts if label == "Queue")
    assert re.search(rf"(: |→ ){last} messages", queue), queue
    left = re.search(r"(\d+) messages left", card.headline)
    assert left is None or int(left[1]) == last
    assert card.urgency != "fine" or last < peak / 2
    before = re.search(r"(\d+) → ", queue)
    assert before is None or int(before[1]) in range(peak + 1)


def test_the_gallery_has_no_other_pictures_and_the_page_shows_all():
    """docs/chat.md links every picture, and no picture of an older card is left."""
    assert {path.name for path in (DOCS / "cards").iterdir()} == set(PICTURES)
    page = (DOCS / "chat.md").read_text(encoding="utf-8")
    assert [name for name in PICTURES if f"cards/{name}" not in page] == []


@pytest.mark.parametrize("language", ["en", "ja"])
@pytest.mark.parametrize("name", EXAMPLES)
def test_pictures_of_hostile_cards_are_well_formed(name: str, language: str):
    """Well-formed XML without script, link or outside address, whatever the texts hold."""
    root = ET.fromstring(card_svg(compose(hostile(EXAMPLES[name]), rules(language)), language))  # noqa: S314 - we made it
    assert {element.tag.rpartition("}")[2] for element in root.iter()} <= {
        "svg", "title", "clipPath", "rect", "g", "path", "circle", "text", "polygon", "polyline",
    }  # fmt: skip
    assert not [key for element in root.iter() for key in element.attrib if key.startswith("on") or "href" in key]


def test_a_card_that_nobody_cleaned_can_be_drawn():
    """Control characters and odd figures are not an error."""
    ET.fromstring(card_svg(Card("x", "odd", LONG[:500], (("a", "\x00\x0b\ufffe"),), curve=((NOW, 1), (NOW, -5))), "en"))  # noqa: S314


@pytest.mark.parametrize(("curve", "drawn"), [((), False), (((0.0, 5),), False), (((0.0, 5), (10.0, 0)), True)])
def test_a_curve_needs_two_samples(curve: tuple[tuple[float, int], ...], drawn: bool):
    """One sample is not a curve."""
    assert (plot(curve, 400) is not None) is drawn


@pytest.mark.parametrize(
    ("text", "width", "rows"),
    [
        ("one two three", 5.0, ["one two", "three"]),
        ("x" * 20, 5.8, ["x" * 10, "x" * 10]),
        ("再起動しません。", 4.0, ["再起動し", "ません。"]),
        ("コンシューマーと", 4.0, ["コン", "シュー", "マーと"]),
        ("待ち、やっと", 3.0, ["待ち、", "やっと"]),
        ("実行 1847、成功", 5.0, ["実行", "1847、成", "功"]),
        ("直近（30日間）です", 3.5, ["直近", "（30日", "間）で", "す"]),
        ("完了から16分26秒", 5.0, ["完了から", "16分26秒"]),
        ("", 5.0, []),
    ],
)
def test_rows_break_where_people_expect(text: str, width: float, rows: list[str]):
    """At spaces, within endless words, and between Japanese characters, but none begins a row that may not."""
    assert wrapped(text, width) == rows
