"""Draws the depth curve as SVG, and the parts of larger pictures, without fonts, scripts or outside addresses."""

from __future__ import annotations

import re
from collections.abc import Iterable
from html import escape
from unicodedata import east_asian_width

CURVE_HEIGHT = 64
WIDTH, EDGE = 640, 20
"""Pixels: of the pictures of a report, and of their margin."""

SANS = "system-ui,-apple-system,'Segoe UI',Roboto,'Noto Sans','Noto Sans CJK JP','Hiragino Sans',sans-serif"
INK, GREY, LINE = "#1c1e21", "#5c6370", "#d9dce1"
STRONG = {"act": "#b3261e", "watch": "#8a5a00", "plan": "#1f4e8c", "fine": "#1b6e3c"}
WIDE = "\u2e80-\u9fff\uf900-\uffef"
OPENING = "（「『【〈《〔［｛"
"""These never end a row."""
CLOSING = "、。，．・：；？！ー～〜…々ゝゞヽヾ）」』】〉》〕］｝％ぁぃぅぇぉっゃゅょゎァィゥェォッャュョヮヵヶ),.;:!?"
"""These never begin a row, by the rules of Japanese typesetting (JIS X 4051)."""
UNBROKEN = rf"\s|[{OPENING}]*(?:\d[\d,]*[件回分秒時日週]|[^\s{WIDE}]+|[{WIDE}])[{CLOSING}]*"
"""White space, a count with its counter, a word, or a wide character, with the marks that belong to it."""
NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def curve_svg(curve: tuple[tuple[float, int], ...], colour: str, *, width: int) -> str:
    """The depth over time as an SVG element; empty for fewer than two samples. `width` is in px."""
    inner = draw_curve(curve, colour, width)
    if not inner:
        return ""
    return f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{CURVE_HEIGHT}" role="img">{inner}</svg>'


def draw_curve(curve: tuple[tuple[float, int], ...], colour: str, width: int) -> str:
    """The shapes of the curve, for an SVG element of this width (px) and `CURVE_HEIGHT`; empty for fewer than two samples."""
    points = [(at, max(0, depth)) for at, depth in curve]
    if len(points) < 2:
        return ""
    first, span = points[0][0], max(points[-1][0] - points[0][0], 1e-9)
    top = max(depth for _, depth in points) or 1
    drawn_height = CURVE_HEIGHT - 8
    placed = [f"{(at - first) / span * width:.1f},{CURVE_HEIGHT - 2 - depth / top * drawn_height:.1f}" for at, depth in points]
    path = " ".join(placed)
    base = CURVE_HEIGHT - 2
    end_x, end_y = placed[-1].split(",")
    return (
        f'<polygon points="0,{base} {path} {width},{base}" fill="{colour}" fill-opacity=".14"/>'
        f'<path d="M0 {base}H{width}" stroke="{LINE}"/>'
        f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2.2" stroke-linejoin="round"/>'
        f'<circle cx="{end_x}" cy="{end_y}" r="3.5" fill="{colour}"/>'
    )


def picture(language: str, title: str, height: float, parts: Iterable[str]) -> str:
    """A picture of these parts under a title, of the width `WIDTH`. Title and parts are XML already."""
    size = f'width="{WIDTH}" height="{height:g}"'
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" {size} viewBox="0 0 {WIDTH} {height:g}" role="img" '
        f'lang="{language}" font-family="{SANS}">\n<title>{title}</title>\n'
        f'<rect {size} rx="12" fill="#fff"/>\n' + "\n".join(parts) + "\n</svg>\n"
    )


def bar(x: float, y: float, width: float, height: float, fill: str, stroke: str = "") -> str:
    """A bar; empty without a height."""
    if height <= 0:
        return ""
    edge = f' stroke="{stroke}" stroke-width=".8"' if stroke else ""
    return f'<rect x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{height:.1f}" fill="{fill}"{edge}/>'


def label(x: float, y: float, text: str, size: float, colour: str = INK, anchor: str = "", *, bold: bool = False) -> str:
    """One line of text that is XML already."""
    extra = (f' text-anchor="{anchor}"' if anchor else "") + (' font-weight="700"' if bold else "")
    return f'<text x="{x:.1f}" y="{y:g}" font-size="{size:g}" fill="{colour}"{extra}>{text}</text>'


def xml(text: str) -> str:
    """Other people's text as XML."""
    return escape(NOT_XML.sub("", text))


def measured(text: str, *, mono: bool = False) -> float:
    """About how wide the text is, in em."""
    return sum(_em(char, mono=mono) for char in text)


def _em(char: str, *, mono: bool) -> float:
    if east_asian_width(char) in "WF" or char in "→…":
        return 1.0
    if mono:
        return 0.61
    if char in "iIlj.,:;'|! ()[]ft-":
        return 0.36
    return 0.84 if char in "mMwW@" else 0.7 if char.isupper() else 0.57


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
            word = word[cut:]  # noqa: PLW2901 - what is left of it
            word_em = measured(word, mono=mono)
        row, row_em = row + word, row_em + word_em
    return [*rows, row.rstrip()] if row.strip() else rows
