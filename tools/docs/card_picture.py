"""Draws a card as SVG for docs/cards, 400 px wide like a phone. Chats draw cards themselves."""

import re
from html import escape
from unicodedata import east_asian_width

from msgspec import Struct, field

from functions.adapters.chats.slack import BUTTONS
from functions.domain.cards import facts
from functions.domain.cards.content import split_headline
from functions.domain.cards.incident import Curve, draw_curve
from functions.domain.model.cards import ACKNOWLEDGE, APPROVE, Card
from functions.domain.texts.words import log_title
from functions.runtime.text import in_language, named

WIDTH = 400
EDGE = 16
INNER = WIDTH - 2 * EDGE
LABEL = 104
DEPTH = 62
BOLD = 1.12
"""Factor by which bold letters are wider, in the widest font."""

SANS = "system-ui,-apple-system,'Segoe UI',Roboto,'Noto Sans','Noto Sans CJK JP','Hiragino Sans',sans-serif"
MONO = "ui-monospace,'SF Mono',Menlo,Consolas,'Noto Sans Mono CJK JP',monospace"
INK, GREY, LINE = "#1c1e21", "#5c6370", "#d9dce1"
STRONG = {"act": "#b3261e", "watch": "#8a5a00", "plan": "#1f4e8c", "fine": "#1b6e3c"}
SOFT = {"act": "#fdecea", "watch": "#fff5dc", "plan": "#e8effa", "fine": "#e8f5ec"}
SHAPES = {  # each urgency has its own shape, 24 px wide, to be recognizable without colour
    "act": '<path d="M12 2 23 22H1z" fill="{c}"/><path d="M12 9v6M12 17.6v1.6" stroke="#fff" stroke-width="2.4"/>',
    "watch": '<circle cx="12" cy="12" r="10" fill="none" stroke="{c}" stroke-width="2.4"/>'
    '<path d="M12 6v6l4 3" fill="none" stroke="{c}" stroke-width="2.4"/>',
    "plan": '<path d="M2 5h20v17H2zM2 10h20M7 1.5v6M17 1.5v6" fill="none" stroke="{c}" stroke-width="2.4"/>',
    "fine": '<circle cx="12" cy="12" r="11" fill="{c}"/>'
    '<path d="m6.5 12.5 3.7 3.7 7.3-8" fill="none" stroke="#fff" stroke-width="2.6"/>',
}

WIDE = "\u2e80-\u9fff\uf900-\uffef"
OPENING = "（「『【〈《〔［｛"
"""Characters that never end a row."""
CLOSING = "、。，．・：；？！ー～〜…々ゝゞヽヾ）」』】〉》〕］｝％ぁぃぅぇぉっゃゅょゎァィゥェォッャュョヮヵヶ),.;:!?"
"""Characters that never begin a row in Japanese typesetting (JIS X 4051)."""
UNBROKEN = rf"\s|[{OPENING}]*(?:\d[\d,]*[件回分秒時日週]|[^\s{WIDE}]+|[{WIDE}])[{CLOSING}]*"
"""White space, a count with its counter, a word, or a wide character with its marks."""
NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


class _Sheet(Struct):
    """Elements from top to bottom, and their total height."""

    y: float = 0.0
    parts: list[str] = field(default_factory=list)

    def text(  # noqa: PLR0913 - the attributes of an SVG text
        self,
        text: str,
        size: float,
        *,
        x: float = EDGE,
        width: float = INNER,
        colour: str = INK,
        bold: bool = False,
        mono: bool = False,
    ) -> None:
        for row in wrapped(text, width / size / (BOLD if bold else 1.0), mono=mono):
            self.y += size * 1.4
            style = f' font-family="{MONO}"' if mono else ""
            weight = ' font-weight="700"' if bold else ""
            self.parts.append(
                f'<text x="{x:g}" y="{self.y - size * 0.32:.1f}" font-size="{size:g}" fill="{colour}"{weight}{style} '
                f'xml:space="preserve">{xml(row)}</text>'
            )


def card_svg(card: Card, language: str) -> str:
    """The whole card as an SVG document."""
    strong, soft = STRONG.get(card.urgency, GREY), SOFT.get(card.urgency, "#f2f3f5")
    sheet = _Sheet()
    _headline(sheet, card, strong, soft)
    sheet.y += 12
    answers = [in_language(language, BUTTONS[action]) for action in card.actions]
    for place, text in enumerate(card.text):
        sheet.text(text, 14.5)
        sheet.y += 7
        if place == 0:
            advised = card.actions[:1] in ((APPROVE,), (ACKNOWLEDGE,))
            _buttons(sheet, answers, strong if advised else "")
    _facts(sheet, card)
    _depth(sheet, card, strong, language)
    _evidence(sheet, card, language)
    labels = [label for label, url in card.links if not (card.actions and card.nonce in url)]
    _buttons(sheet, labels, "")
    height = round(sheet.y + 14)
    frame = f'x=".5" y=".5" width="{WIDTH - 1}" height="{height - 1}" rx="12"'
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{height}" viewBox="0 0 {WIDTH} {height}" role="img" '
        f'lang="{language}" font-family="{SANS}">\n<title>{xml(card.headline)}</title>\n'
        f'<clipPath id="c"><rect {frame}/></clipPath>\n<rect {frame} fill="#fff"/>\n<g clip-path="url(#c)">\n'
        + "\n".join(sheet.parts)
        + f'\n</g>\n<rect {frame} fill="none" stroke="{LINE}"/>\n</svg>\n'
    )


def _headline(sheet: _Sheet, card: Card, strong: str, soft: str) -> None:
    """The words of urgency have their own row if the headline begins with them."""
    words, rest = split_headline(card)
    band = len(sheet.parts)
    sheet.parts.append("")
    shape = SHAPES.get(card.urgency, SHAPES["watch"]).format(c=strong)
    sheet.parts.append(f'<g transform="translate({EDGE} 13)">{shape}</g>')
    sheet.y = 11
    sheet.text(words, 18, x=EDGE + 34, width=INNER - 34, colour=strong, bold=True)
    sheet.y = max(sheet.y, 40) + 4
    sheet.text(rest, 16, bold=True)
    sheet.y += 8
    sheet.parts[band] = f'<rect width="{WIDTH}" height="{sheet.y:.1f}" fill="{soft}"/>'


def _facts(sheet: _Sheet, card: Card) -> None:
    if card.facts:
        sheet.parts.append(f'<path d="M{EDGE} {sheet.y + 3:.1f}h{INNER}" stroke="{LINE}"/>')
        sheet.y += 9
    for label, text in card.facts:
        begin = sheet.y
        sheet.text(label, 13, width=LABEL - 8, colour=GREY)
        end, sheet.y = sheet.y, begin
        sheet.text(text, 13.5, x=EDGE + LABEL, width=INNER - LABEL)
        sheet.y = max(end, sheet.y) + 3


def _depth(sheet: _Sheet, card: Card, strong: str, language: str) -> None:
    if drawn := draw_curve(Curve(card.curve), (INNER, DEPTH)):
        sheet.y += 8
        sheet.text(in_language(language, named(facts.CURVE, facts.say_curve(card.curve))), 12, colour=GREY)
        sheet.parts.append(f'<g transform="translate({EDGE} {sheet.y:.1f})" color="{strong}">{drawn}</g>')
        sheet.y += DEPTH + 6


def _evidence(sheet: _Sheet, card: Card, language: str) -> None:
    if not card.evidence:
        return
    sheet.y += 6
    sheet.text(log_title(card.evidence_title, language), 12, colour=GREY)
    top, place = sheet.y + 4, len(sheet.parts)
    sheet.parts.append("")
    sheet.y += 10
    for line in card.evidence:
        sheet.text(line, 11, x=EDGE + 10, width=INNER - 20, colour="#e6e8eb", mono=True)
    sheet.y += 7
    sheet.parts[place] = f'<rect x="{EDGE}" y="{top:.1f}" width="{INNER}" height="{sheet.y - top:.1f}" rx="6" fill="#22262b"/>'
    sheet.y += 4


def _buttons(sheet: _Sheet, labels: list[str], strong: str) -> None:
    """Buttons in rows, with labels only: a picture has no links. `strong`: the colour of the first."""
    x, row_height = float(EDGE), 32
    if labels:
        sheet.y += 8
    for place, label in enumerate(labels):
        width = min(measured(label) * 13 + 26, INNER)
        if x + width > WIDTH - EDGE and x > EDGE:
            x, sheet.y = float(EDGE), sheet.y + row_height + 8
        first = place == 0 and bool(strong)
        fill, ink = (strong, "#fff") if first else ("#fff", INK)
        shown = next(iter(wrapped(label, (width - 20) / 13)), "")
        sheet.parts.append(
            f'<rect x="{x:.1f}" y="{sheet.y:.1f}" width="{width:.1f}" height="{row_height}" rx="16" fill="{fill}" '
            f'stroke="{strong if first else LINE}"/><text x="{x + width / 2:.1f}" y="{sheet.y + 21:.1f}" font-size="13" '
            f'fill="{ink}" text-anchor="middle">{xml(shown)}</text>'
        )
        x += width + 8
    if labels:
        sheet.y += row_height + 8


def xml(text: str) -> str:
    """Escape other people's text as XML."""
    return escape(NOT_XML.sub("", text))


def measured(text: str, *, mono: bool = False) -> float:
    """The approximate width of the text, in em."""
    return sum(_em(char, mono=mono) for char in text)


def _em(char: str, *, mono: bool) -> float:
    if east_asian_width(char) in "WF" or char in "→…":
        return 1.0
    if mono:
        return 0.61
    if char in "iIlj.,:;'|! ()[]ft-":
        return 0.36
    if char in "mW@%":
        return 0.97
    return 0.84 if char in "wM&#+<>=~OQ" else 0.7 if char.isupper() else 0.59


def wrapped(text: str, width: float, *, mono: bool = False) -> list[str]:
    """Rows of at most `width` em, broken at spaces, beside wide characters, or within a word that is too long."""
    rows: list[str] = []
    row, row_em = "", 0.0
    for word in re.findall(UNBROKEN, text):
        word_em = measured(word, mono=mono)
        if row and row_em + word_em > width:
            rows.append(row.rstrip())
            row, row_em = "", 0.0
            if word.isspace():
                continue
        while word_em > width and len(word) > 1:
            cut = max(1, int(len(word) * width / word_em))
            rows.append(word[:cut])
            word = word[cut:]  # noqa: PLW2901 - the rest of the word
            word_em = measured(word, mono=mono)
        row, row_em = row + word, row_em + word_em
    return [*rows, row.rstrip()] if row.strip() else rows
