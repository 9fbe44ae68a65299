"""For text-only chats: lays a card out within a number of characters, and shows other people's text literally."""

import re
from collections.abc import Callable
from urllib.parse import quote, urlsplit

from functions.adapters.chats import _cards
from functions.adapters.chats._cards import fit_text, size, take_rows, units
from functions.domain.model.messages import Card
from functions.domain.texts.words import SHORTENED, log_title
from functions.runtime.text import in_language

MIN_PARAGRAPH = 40  # characters. Less of a paragraph is useless
_MARKUP = re.compile(
    r"[*~`]|\|\||://|^www\.|\\[^\w\s]"
    r"|(?<![^\W_])_|_(?![^\W_])"  # not inside a word, so that names such as mail_queue_a stay unchanged
    r"|:(?!\d\d?:)[a-z0-9_+-]+:",  # the name of an emoji; a time such as 03:12:05 is not one
    re.IGNORECASE,
)
_WORD = r"[!-~‹›［］\u200b]+"  # ASCII only, so that a name in a Japanese sentence counts as a word
_REPLACED = {"<": "‹", ">": "›", "[": "［", "]": "］", "@": "@\u200b"}
"""Whatever a word is escaped to: the brackets of a link may stand in different words."""


def literal(text: str) -> str:
    """Escape text that Markdown and its relatives would interpret: words with markup become code; no mentions, no links."""
    for char, harmless in _REPLACED.items():
        text = text.replace(char, harmless)
    return re.sub(_WORD, lambda word: _as_code_if_markup(word[0]), text)


def _as_code_if_markup(word: str) -> str:
    if not _MARKUP.search(word):
        return word
    name = word.rstrip(".,:;!?)")
    code = name.strip("`").replace("`", "'") or "'" * len(name)
    return f"`{code}`{word[len(name) :]}"


def escape_url(url: str) -> str:
    """Percent-encode everything after the host that a chat takes for markup, a mention or the end of the URL."""
    start = url.index("//") + 2 + len(urlsplit(url).netloc)
    return url[:start] + quote(url[start:], safe="/?#&=%,:;+!").replace("~", "%7E").replace("__", "_%5F")


def mention_line(card: Card, form: re.Pattern[str]) -> str:
    """The mentions in this platform's form, as a line of their own."""
    mentions = _cards.mentions(card, form)
    return " ".join(mentions) + "\n" if mentions else ""


def lay_out_body(card: Card, language: str, limit: int, escape: Callable[[str], str]) -> str:
    """The card below its headline within `limit`: text, links, facts, end of the log. Links come where a phone shows them. The
    log is cut first, then facts, then the links that the incident's page has too, then text, then links from the end."""
    mark = in_language(language, SHORTENED).strip()
    left = limit - units(mark) - 1
    link_rows = [f"{escape(label)}: {escape_url(url)}" for label, url in card.links]
    wanted = link_rows
    if size(link_rows) + size([escape(paragraph) for paragraph in card.text]) > left:
        wanted = link_rows[: _cards.place_of_details(card) or None]
    links = take_rows(wanted, left * 3 // 4) or take_rows(link_rows[:1], left)  # leaves a quarter for the advice
    text, complete = _fit_paragraphs(card.text, left - size(links), escape, language)
    left = left - size(links) - size(text) if complete else 0
    fact_rows = [escape(f"{label}: {value}" if label else value) for label, value in _cards.facts(card, language)]
    facts = take_rows(fact_rows, left)
    left = left - size(facts) if len(facts) == len(fact_rows) else 0
    title = escape(f"{log_title(card.evidence_title, language)}:")
    log = take_rows([f"│ {escape(line)}" for line in reversed(card.evidence)], left - units(title) - 2)[::-1]
    complete = complete and len(links) + len(facts) + len(log) == len(link_rows) + len(fact_rows) + len(card.evidence)
    blocks = (text, links, facts, [title, *log] if log else [], [] if complete else [mark])
    return "\n\n".join("\n".join(block) for block in blocks if block)[: max(0, limit)]


def _fit_paragraphs(text: tuple[str, ...], limit: int, escape: Callable[[str], str], language: str) -> tuple[list[str], bool]:
    """The paragraphs that fit, the last one shortened if needed, and whether they are complete."""
    rows: list[str] = []
    for paragraph in text:
        left = limit - size(rows) - 2
        row = escape(paragraph)
        if units(row) <= left:
            rows.append(row)
            continue
        if left >= MIN_PARAGRAPH:
            rows.append(fit_text(paragraph, left, escape, language))
        return rows, False
    return rows, True
