"""Cards on standard output, for terminals, logs and `make demo`."""

import contextlib
import os
import re
import sys
import unicodedata

from msgspec import Struct
from msgspec.structs import replace

from functions.adapters.chats import _shared
from functions.application.ports import Chat, Finding
from functions.domain.model.cards import Card
from functions.domain.texts.words import log_title
from functions.runtime.text import Text, in_language

RULE = "─" * 72
COLUMNS = 78  # with the indentation, a row fits 80 columns
COLOURS = {"act": "\x1b[1;31m", "watch": "\x1b[1;33m", "fine": "\x1b[1;32m"}
DIM, PLAIN = "\x1b[2m", "\x1b[0m"
MAX_CHARACTERS = 20_000  # a terminal takes more; readers don't
APPROVAL = "/approve/#"
WITHHELD = Text(
    "The approval link is not printed, since this output may be a log that others read. "
    "Set approval_links: true on this channel, or add another channel."
)


_WORD = r"\s*[（「『【]*(?:[^\s\u2e80-\uffef]+|[\u2e80-\uffef])[、。，．・：；？！）」』】々ー…]*"
"""A word with the spaces before it. Each Japanese character is one, with punctuation that no line may end or begin with."""


class Console(Struct, frozen=True):
    """Prints messages. Needs no keys."""

    approval_links: bool = False
    """Whether to print approval links to a log, whose readers can then approve."""

    def post(self, card: Card, *, thread: str | None, language: str, timeout_s: float) -> None:
        """Print the card. A terminal that is closed or can't show a character is not an error."""
        text = render(card if self.approval_links or _is_terminal() else _withhold_link(card, language), language)
        if _is_terminal() and not os.environ.get("NO_COLOR"):  # https://no-color.org
            head, _, rest = text.partition("\n")
            text = f"{DIM}{RULE}{PLAIN}\n{COLOURS.get(card.urgency, '')}{head}{PLAIN}\n{rest}\n"
        else:
            text = f"{RULE}\n{text}\n"
        encoding = getattr(sys.stdout, "encoding", None) or "utf-8"
        with contextlib.suppress(OSError, ValueError):  # closed pipe, closed file
            print(text.encode(encoding, errors="replace").decode(encoding), flush=True)

    def check(self, *, timeout_s: float) -> list[Finding]:
        return [Finding("console", ok=True)]


def render(card: Card, language: str) -> str:
    """The card as plain text without colour. Mentions are left out: a terminal notifies nobody."""
    return _shared.fit(card, language, _lay_out, MAX_CHARACTERS, len)


def _lay_out(card: Card, language: str) -> str:
    facts = _shared.list_facts(card, language)
    width = max((columns(label) for label, _ in facts), default=0)
    log = [f"{log_title(card.evidence_title, language)}:", *(f"  {line}" for line in card.evidence)]
    blocks = (
        [row for text in card.text for row in wrap(text, COLUMNS)],
        [row for label, text in facts for row in _hang(f"{label}{' ' * (width - columns(label))}  ", text, width + 2)],
        log if card.evidence else [],
        [row for label, url in card.links for row in _hang(f"{label}: ", url, 2)],
    )
    body = "\n\n".join("\n".join(_indent(row) for row in block) for block in blocks if block)
    return f"{_shared.show_headline(card)}\n{body}".rstrip("\n")


def _indent(row: str) -> str:
    """The row as it is printed. What strangers wrote must not parse as an entry of the log, which is JSON."""
    return f"  {'| ' if row.lstrip().startswith(('{', '[')) else ''}{row}".rstrip()


def _hang(label: str, text: str, indent: int) -> list[str]:
    """The text after its label, continued below it. A URL is never broken: people click and copy it."""
    first, *others = wrap(text, COLUMNS - indent, COLUMNS - columns(label))
    return [f"{label}{first}", *(f"{' ' * indent}{other}" for other in others)]


def _withhold_link(card: Card, language: str) -> Card:
    """The card without its approval link, unless on a terminal: others may read a log, and the link approves."""
    links = tuple(link for link in card.links if APPROVAL not in link[1])
    if len(links) == len(card.links):
        return card
    return replace(card, links=links, text=(*card.text, in_language(language, WITHHELD)))


def _is_terminal() -> bool:
    with contextlib.suppress(OSError, ValueError, AttributeError):
        return sys.stdout.isatty()
    return False


def columns(text: str) -> int:
    """The number of columns that the text takes."""
    return sum(2 if unicodedata.east_asian_width(character) in "WF" else 1 for character in text)


def wrap(text: str, at_most: int, first_at_most: int | None = None) -> list[str]:
    """The text in lines of at most this many columns; a longer word, such as a URL, stays whole."""
    lines, taken, limit = [""], 0, at_most if first_at_most is None else first_at_most
    for word in re.findall(_WORD, text):
        taken += columns(word)
        if taken > limit and (lines[-1] or limit < at_most):
            lines.append(word.lstrip())
            taken, limit = columns(lines[-1]), at_most
        else:
            lines[-1] += word
    return lines


ADAPTER: type[Chat] = Console
