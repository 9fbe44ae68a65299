"""Draws the cost of the bug as an SVG chart that loads nothing.

Restarts by hand are hatched, so that they show without colour.
"""

from __future__ import annotations

from functions.domain.cards.rendering import date_of, rendered, tidy
from functions.domain.cards.svg import EDGE, GREY, INK, LINE, STRONG, WIDTH, bar, label, picture, xml
from functions.domain.costs.card import quiet
from functions.domain.costs.model import Cost, RunbookCost
from functions.domain.model.runbooks import Rules
from functions.runtime.text import Text

BLOCK = 156
"""Height of one runbook's part."""
TOP = 64
PLOT = 84
DAY_X, DAY_STEP = EDGE, 13
HOUR_X, HOUR_STEP = 436, 7.6
OWN, HAND = STRONG["fine"], STRONG["watch"]
SHOWN = 8
HATCH = (
    '<pattern id="hand" width="5" height="5" patternUnits="userSpaceOnUse" patternTransform="rotate(45)">'
    f'<rect width="5" height="5" fill="#fff"/><rect width="2.6" height="5" fill="{HAND}"/></pattern>'
)


def chart(cost: Cost, rules: Rules) -> str:
    """Draw the chart: for each runbook the restarts of 30 days, and the times of day."""
    active = [spent for spent in cost.runbooks if not spent.quiet][:SHOWN]
    height = TOP + max(1, len(active)) * BLOCK
    title = xml(rendered(rules, Text("What the bug costs, until {date}", date=date_of(rules, cost.at))))
    parts = [f"<defs>{HATCH}</defs>", label(EDGE, 32, title, 17, bold=True), _legend(rules)]
    for place, spent in enumerate(active):
        parts.append(f'<g transform="translate(0 {TOP + place * BLOCK})">{_block(spent, rules)}</g>')
    if not active:
        parts.append(label(EDGE, TOP + 40, xml(rendered(rules, quiet(cost, 30))), 14))
    return picture(rules.language, title, height, parts)


def _legend(rules: Rules) -> str:
    own, hand = xml(rendered(rules, Text("by Unstick"))), xml(rendered(rules, Text("by hand")))
    square = 'y="22" width="11" height="11"'
    return (
        f'<rect x="{HOUR_X}" {square} fill="{OWN}"/>{label(HOUR_X + 17, 32, own, 12)}'
        f'<rect x="{HOUR_X + 95}" {square} fill="url(#hand)" stroke="{HAND}"/>{label(HOUR_X + 112, 32, hand, 12)}'
    )


def _block(spent: RunbookCost, rules: Rules) -> str:
    daily = spent.daily
    most = max(day.by_unstick + day.by_hand for day in daily) or 1
    total = Text(
        "30 days: {by_unstick} by Unstick, {by_hand} by hand", by_unstick=spent.month.by_unstick, by_hand=spent.month.by_hand
    )
    title = Text("{runbook} – {total}", runbook=tidy(spent.runbook, 40), total=total)
    parts = [
        f'<path d="M{EDGE} 0H{WIDTH - EDGE}" stroke="{LINE}"/>',
        label(EDGE, 22, xml(rendered(rules, title)), 14, bold=True),
        label(DAY_X, 42, xml(rendered(rules, Text("restarts per day, peak {most}", most=most))), 11, GREY),
        label(HOUR_X, 42, xml(rendered(rules, Text("by hour of day"))), 11, GREY),
    ]
    base = 48 + PLOT
    for place, day in enumerate(daily):
        own, hand = day.by_unstick / most * PLOT, day.by_hand / most * PLOT
        x = DAY_X + place * DAY_STEP
        parts += [bar(x, base - own, DAY_STEP - 3, own, OWN), bar(x, base - own - hand, DAY_STEP - 3, hand, "url(#hand)", HAND)]
    top_hour = max(spent.hours) or 1
    for hour, count in enumerate(spent.hours):
        tall = count / top_hour * PLOT
        parts.append(bar(HOUR_X + hour * HOUR_STEP, base - tall, HOUR_STEP - 2, tall, INK))
    parts.append(f'<path d="M{DAY_X} {base}h{len(daily) * DAY_STEP}M{HOUR_X} {base}h{24 * HOUR_STEP:g}" stroke="{GREY}"/>')
    parts += [
        label(DAY_X, base + 14, daily[0].day, 11, GREY),
        label(DAY_X + len(daily) * DAY_STEP, base + 14, daily[-1].day, 11, GREY, "end"),
    ]
    parts += [label(HOUR_X + hour * HOUR_STEP, base + 14, f"{hour:02d}", 11, GREY) for hour in (0, 6, 12, 18)]
    return "".join(parts)
