"""The pictures of docs/cards as a browser draws them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tools.docs.card_picture import EDGE, INNER
from tools.docs.gallery import CARDS, PICTURES

if TYPE_CHECKING:
    from selenium.webdriver import Chrome

BEYOND = """
const beyond = e => { const box = e.getBBox(); return box.x < 0 || box.x + box.width > arguments[0]; };
return [...document.querySelectorAll('text')].filter(beyond).map(e => e.textContent)
"""


def test_no_text_of_a_card_reaches_its_border(browser: Chrome) -> None:
    """In the widest of the fonts that it names, which this machine's is."""
    found = {}
    for picture in PICTURES:
        browser.get((CARDS / picture).as_uri())
        found[picture] = browser.execute_script(BEYOND, EDGE + INNER + EDGE / 4)
    assert {picture: texts for picture, texts in found.items() if texts} == {}
