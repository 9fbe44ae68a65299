"""Draws what incidents have in common as an SVG picture that loads nothing."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from functions.domain.cards.rendering import date_of, rendered, tidy
from functions.domain.cards.svg import EDGE, GREY, INK, LINE, STRONG, WIDTH, bar, label, picture, wrapped, xml
from functions.domain.causes.model import Case, Common, Pattern
from functions.domain.causes.words import counted, judgement, sentence
from functions.domain.model.codes import Ending
from functions.domain.model.runbooks import Rules
from functions.domain.texts.words import WEEKDAYS
from functions.runtime.text import Text, named

TOP = 56
INNER = WIDTH - 2 * EDGE
STRIP_Y, PLOT_Y, PLOT = 62, 96, 64
HOUR_STEP, DAY_X, DAY_STEP = 15.0, 420, 28.0
PATTERNS_Y = PLOT_Y + PLOT + 40
ROW, SHARE, TEXT_X = 17, 120, 160
"""Each pattern: its share as a bar of at most SHARE px, and beside it the sentence in rows."""
SHOWN, LINES_SHOWN = 6, 4
TELLING, MAYBE = STRONG["plan"], LINE


def chart(compared: Sequence[Common], rules: Rules) -> str:
    """Draw, for each runbook, its incidents over time, by hour and weekday, and what they have in common."""
    blocks: list[str] = []
    y = float(TOP)
    for common in compared[:SHOWN]:
        block, height = _block(common, rules)
        blocks.append(f'<g transform="translate(0 {y:g})">{block}</g>')
        y += height
    title = xml(rendered(rules, Text("What the incidents have in common")))
    if not blocks:
        blocks.append(label(EDGE, y + 24, xml(rendered(rules, Text("There are no incidents."))), 14))
        y += 48
    return picture(rules.language, title, y, (label(EDGE, 34, title, 17, bold=True), *blocks))


def _block(common: Common, rules: Rules) -> tuple[str, float]:
    """One runbook's part, and its height."""
    title = named(tidy(common.runbook, 40), counted(common, rules))
    parts = [
        f'<path d="M{EDGE} 0H{WIDTH - EDGE}" stroke="{LINE}"/>',
        label(EDGE, 24, xml(rendered(rules, title)), 14, bold=True),
        *_strip(common.cases, rules),
        label(EDGE, PLOT_Y - 8, xml(rendered(rules, Text("by hour of day"))), 11, GREY),
        *_bars(EDGE, HOUR_STEP, common.hours, [f"{hour:02d}" if hour % 3 == 0 else "" for hour in range(24)]),
        label(DAY_X, PLOT_Y - 8, xml(rendered(rules, Text("by weekday"))), 11, GREY),
        *_bars(DAY_X, DAY_STEP, common.weekdays, [_short(rendered(rules, name)) for name in WEEKDAYS]),
    ]
    y = float(PATTERNS_Y)
    if judged := judgement(common):
        parts.append(label(EDGE, y + 4, xml(rendered(rules, judged)), 13, GREY))
        y += ROW + 6
    for pattern in (*common.lines[:LINES_SHOWN], *common.besides_lines):
        drawn, height = _pattern(pattern, y, rules)
        parts += drawn
        y += height
    return "".join(parts), y + 8


def _strip(cases: Sequence[Case], rules: Rules) -> Iterator[str]:
    """The incidents over time: a ring for each, and a triangle where a person had to come."""
    first, last = cases[0].at, cases[-1].at
    yield f'<path d="M{EDGE} {STRIP_Y}h{INNER}" stroke="{LINE}"/>'
    for case in cases:
        x = EDGE + 6 + (case.at - first) / max(last - first, 1e-9) * (INNER - 12)
        if case.ending == Ending.ESCALATED:
            yield f'<path d="M{x:.1f} {STRIP_Y - 7}l6.5 12h-13z" fill="{STRONG["act"]}"/>'
        else:
            yield f'<circle cx="{x:.1f}" cy="{STRIP_Y}" r="5" fill="#fff" stroke="{STRONG["fine"]}" stroke-width="2"/>'
    yield label(EDGE, STRIP_Y - 14, date_of(rules, first), 11, GREY)
    yield label(WIDTH - EDGE, STRIP_Y - 14, date_of(rules, last), 11, GREY, "end")


def _short(weekday: str) -> str:
    """`Mon`; where a weekday is written with wide characters, the first one tells it."""
    return weekday[:3] if weekday.isascii() else weekday[:1]


def _bars(x: float, step: float, counts: Sequence[int], names: Sequence[str]) -> Iterator[str]:
    """Upright bars, with their names below."""
    most, base = max(counts) or 1, PLOT_Y + PLOT
    for place, (count, name) in enumerate(zip(counts, names, strict=True)):
        tall = count / most * (PLOT - 4)
        yield bar(x + place * step, base - tall, step - 3, tall, INK)
        yield label(x + place * step, base + 14, xml(name), 11, GREY) if name else ""
    yield f'<path d="M{x} {base}h{len(counts) * step:g}" stroke="{GREY}"/>'


def _pattern(pattern: Pattern, y: float, rules: Rules) -> tuple[list[str], float]:
    """Its share as a bar, solid where it is hardly chance, with a mark for its share of healthy samples; and the sentence."""
    share = pattern.count / max(1, pattern.of) * SHARE
    parts = [
        f'<rect x="{EDGE}" y="{y - 6:.1f}" width="{SHARE}" height="12" fill="none" stroke="{LINE}"/>',
        bar(EDGE, y - 6, share, 12, TELLING if pattern.telling else MAYBE, TELLING),
    ]
    if pattern.samples:
        x = EDGE + (pattern.without or 0) / pattern.samples * SHARE
        parts.append(f'<path d="M{x:.1f} {y - 9:.1f}v18" stroke="{STRONG["watch"]}" stroke-width="2.5"/>')
    rows = wrapped(rendered(rules, sentence(pattern)), (WIDTH - EDGE - TEXT_X) / 12.5)
    parts += [label(TEXT_X, y + 4 + place * ROW, xml(row), 12.5) for place, row in enumerate(rows)]
    return parts, ROW * len(rows) + 9
