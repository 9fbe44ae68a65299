"""What chats share that take text only: they lay a card out here, and show other people's text literally."""

import re
from collections.abc import Callable
from urllib.parse import quote, urlsplit

from functions.adapters.chats._shared import count_units, find_mentions, fit_text, list_facts
from functions.domain.model.cards import Card
from functions.domain.texts.words import SHORTENED, log_title
from functions.runtime.text import in_language

_MARKUP = re.compile(
    r"[*~`]|\|\||://|^www\.|\\[^\w\s]"
    r"|(?<![^\W_])_|_(?![^\W_])"  # not inside a word, so that names such as mail_queue_a stay unchanged
    r"|:(?!\d\d?:)[a-z0-9_+-]+:",  # the name of an emoji; a time such as 03:12:05 is not one
    re.IGNORECASE,
)
_WORD = r"[!-~‹›［］\u200b]+"  # ASCII only, so that a name in a Japanese sentence counts as a word
_REPLACED = {"<": "‹", ">": "›", "[": "［", "]": "］", "@": "@\u200b"}
"""Whatever a word is escaped to: the brackets of a link may stand in different words."""


def measure_rows(rows: list[str]) -> int:
    """The length of the rows, each with a line end, and a blank line after them."""
    return sum(count_units(row) + 1 for row in rows) + 1 if rows else 0


def take_rows(rows: list[str], limit: int) -> list[str]:
    """As many of the first rows as fit."""
    count = len(rows)
    while count and measure_rows(rows[:count]) > limit:
        count -= 1
    return rows[:count]


def count_links_to_page(card: Card) -> int:
    """How many links the card has up to the one to its incident's page, which has the others; 0 if it has none."""
    page = f"/incidents/{card.incident}"
    return next((place for place, (_, url) in enumerate(card.links, 1) if card.incident and page in url), 0)


def escape_markup(text: str) -> str:
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


def write_mentions(card: Card, form: re.Pattern[str]) -> str:
    """The mentions in this platform's form, as a line of their own."""
    in_form = find_mentions(card, form)
    return " ".join(in_form) + "\n" if in_form else ""


def lay_out_body(card: Card, language: str, limit: int, escape: Callable[[str], str]) -> str:
    """The card below its headline within `limit`: text, links, facts, end of the log. Links come where a phone shows them. The
    log is cut first, then facts, then text, then links: first those that the incident's page has too, then from the end."""
    mark = in_language(language, SHORTENED).strip()
    left = limit - count_units(mark) - 1
    links = [f"{escape(label)}: {escape_url(url)}" for label, url in card.links]
    facts = [escape(f"{label}: {value}" if label else value) for label, value in list_facts(card, language)]
    log = [f"│ {escape(line)}" for line in reversed(card.evidence)]
    log = [escape(f"{log_title(card.evidence_title, language)}:"), *log] if log else []
    whole = [links, [escape(paragraph) for paragraph in card.text], facts, log]
    text = [fit_text(paragraph, max(left // 2, 0), escape, language) for paragraph in card.text]
    if measure_rows(links) + measure_rows(text) > left:
        links = links[: count_links_to_page(card) or None]
    shown = []
    for rows in (links, text, facts, log):
        shown.append(take_rows(rows, left))
        left -= measure_rows(shown[-1])
    links, text, facts, log = shown
    end = [log[0], *reversed(log[1:])] if len(log) > 1 else []
    blocks = (text, links, facts, end, [] if shown == whole else [mark])
    return "\n\n".join("\n".join(block) for block in blocks if block)[: max(0, limit)]
