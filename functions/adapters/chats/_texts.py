"""For chats that take text only: the card within a number of characters, and what strangers wrote shown as they wrote it."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TYPE_CHECKING
from urllib.parse import quote, urlsplit

from functions.adapters.chats import _plain
from functions.domain.texts.words import curve_words, say

if TYPE_CHECKING:
    from functions.domain.model.messages import Card

SHORTEST_PARAGRAPH = 40
"""Less of a paragraph than this says nothing."""

_MARKUP = re.compile(
    r"[*~`]|\|\||\]\(|://|^www\.|\\[^\w\s]"
    r"|(?<![^\W_])_|_(?![^\W_])"  # not within a word, so that names such as mail_queue_a stay as they are
    r"|:(?!\d\d?:)[a-z0-9_+-]+:",  # the name of an emoji; a time such as 03:12:05 is none
    re.IGNORECASE,
)
_WORD = r"[!-~‹›\u200b]+"  # ASCII, so that a name in a Japanese sentence is a word too
_SIGNS = {"<": "‹", ">": "›", "@": "@\u200b"}


def units(text: str) -> int:
    """Its length in UTF-16: some platforms count characters so, and for none it is too small."""
    return len(text.encode("utf-16-le", errors="surrogatepass")) // 2


def literal(text: str) -> str:
    """Text that Markdown and its kin draw as it is: words with markup in them become code, and nothing mentions or links."""
    for sign, harmless in _SIGNS.items():
        text = text.replace(sign, harmless)
    return re.sub(_WORD, lambda found: _as_it_is(found[0]), text)


def _as_it_is(word: str) -> str:
    if not _MARKUP.search(word):
        return word
    name = word.rstrip(".,:;!?)")
    code = name.strip("`").replace("`", "'") or "'" * len(name)
    return f"`{code}`{word[len(name) :]}"


def pressable(url: str) -> str:
    """The URL with everything percent-encoded behind its host that a chat takes for markup, a mention or the URL's end."""
    start = url.index("//") + 2 + len(urlsplit(url).netloc)
    return url[:start] + quote(url[start:], safe="/?#&=%,:;+!").replace("~", "%7E").replace("__", "_%5F")


def shown(text: str, room: int, plain: Callable[[str], str], language: str) -> str:
    """The text as `plain` writes it, within `room`. It is cut before it is written, so that no mark is left open."""
    limit = min(len(text), room)
    while units(made := plain(_plain.cut(text, limit, language))) > room and limit > 0:
        limit -= 1 + (units(made) - room) // 4
    return made if limit > 0 else ""


def mentioned(card: Card, form: re.Pattern[str]) -> str:
    """Those whom the card mentions in this platform's form, as a line of their own; other platforms' names are left out."""
    mentions = [mention for mention in card.mention if form.fullmatch(mention)]
    return " ".join(mentions) + "\n" if mentions else ""


def below(card: Card, language: str, room: int, plain: Callable[[str], str]) -> str:
    """The card below its headline within `room`: text, links, facts, the log's end.

    What people press stands where a phone shows it. The log is cut first, then facts, then text, and links last, from their end.
    """
    mark = say(language, "shortened").strip()
    left = room - units(mark) - 1
    rows = [f"{plain(label)}: {pressable(url)}" for label, url in card.links]
    links = first(rows, left * 3 // 4) or first(rows[:1], left)  # a quarter is left to say what there is to do
    text, whole = _paragraphs(card.text, left - _size(links), plain, language)
    left = left - _size(links) - _size(text) if whole else 0
    figures = _facts(card, language, plain)
    facts = first(figures, left)
    left = left - _size(facts) if len(facts) == len(figures) else 0
    title = plain(f"{say(language, 'evidence')}:")
    log = first([f"│ {plain(line)}" for line in reversed(card.evidence)], left - units(title) - 2)[::-1]
    whole = whole and len(links) + len(facts) + len(log) == len(rows) + len(figures) + len(card.evidence)
    blocks = (text, links, facts, [title, *log] if log else [], [] if whole else [mark])
    return "\n\n".join("\n".join(block) for block in blocks if block)[: max(0, room)]


def _facts(card: Card, language: str, plain: Callable[[str], str]) -> list[str]:
    rows = [plain(f"{label}: {text}" if label else text) for label, text in card.facts]
    if bars := _plain.sparkline(card.curve):
        rows.append(plain(f"{say(language, 'curve')}: {bars} {curve_words(card.curve, language)}"))
    return rows


def _size(rows: list[str]) -> int:
    """With a line's end for each row and a blank line behind them."""
    return sum(units(row) + 1 for row in rows) + 1 if rows else 0


def first(rows: list[str], room: int) -> list[str]:
    """As many of the rows as fit, from the first on."""
    count = len(rows)
    while count and _size(rows[:count]) > room:
        count -= 1
    return rows[:count]


def _paragraphs(text: tuple[str, ...], room: int, plain: Callable[[str], str], language: str) -> tuple[list[str], bool]:
    """The paragraphs that fit, the last one shortened where it does not, and whether these are all."""
    kept: list[str] = []
    for paragraph in text:
        left = room - _size(kept) - 2
        row = plain(paragraph)
        if units(row) <= left:
            kept.append(row)
            continue
        if left >= SHORTEST_PARAGRAPH:
            kept.append(shown(paragraph, left, plain, language))
        return kept, False
    return kept, True
