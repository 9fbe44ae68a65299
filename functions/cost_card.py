"""Core: what the bug costs -> the card that people read. The longer a bug stays, the louder it is said."""

from __future__ import annotations

from datetime import datetime

from functions.cost_model import LOUDEST, Cost, Counts, Day, Gap, Spent
from functions.cost_words import say
from functions.facts import exactly, number, tidy
from functions.model import Card, Rules
from functions.text import safe_url
from functions.words import duration
from functions.words import say as say_card

SHOWN = 6
GAPS_SHOWN = 5
HEADLINE = 140
BARS = "▁▂▃▄▅▆▇█"
OFTEN_SHOWN = 3
TREND = 14
"""Days whose bars fit into one line of a phone."""


def card(cost: Cost, rules: Rules, *, days: int = 7) -> Card:
    """The report as a card; its headline speaks of the last 7 or 30 days.

    Week by week the open bug moves from a sentence at the end to the headline: loudness 1 is a reminder, from 2 on it comes
    first with a mark more each week, and `LOUDEST` calls for somebody to act.
    """
    language = rules.language
    active = [one for one in cost.runbooks if not one.quiet]
    loud = max(active, key=lambda one: one.loudness, default=None)
    louder = loud.loudness if loud else 0
    urgency = "act" if louder >= LOUDEST else "watch" if louder > 1 else "fine"
    causes = [_open(one, rules) for one in sorted(active, key=lambda one: -one.loudness)]
    likely = [_likely(one, rules) for one in active if one.cause]
    gaps = [_gap(gap, rules) for gap in cost.gaps[:GAPS_SHOWN]]
    headline = _headline(cost, loud, rules, days)
    return Card(
        kind="report",
        urgency=urgency,
        headline=tidy(rules, f"{say_card(language, urgency)}: {headline}", HEADLINE),
        facts=_facts(cost, active, rules),
        text=(*causes[:SHOWN], *likely[:SHOWN], *gaps),
        links=_links(active, rules),
        at=cost.at,
    )


def _headline(cost: Cost, loud: Spent | None, rules: Rules, days: int) -> str:
    language = rules.language
    counts = [one.month if days > 7 else one.week for one in cost.runbooks]
    by_unstick, by_hand = sum(one.by_unstick for one in counts), sum(one.by_hand for one in counts)
    if loud is not None and loud.loudness >= LOUDEST:
        return say(language, "head_loud", runbook=tidy(rules, loud.runbook, 60), weeks=loud.weeks_open)
    if by_unstick + by_hand == 0:
        return say(language, "head_quiet", days=days)
    return say(language, "head", days=days, by_unstick=number(by_unstick), by_hand=number(by_hand))


def _open(one: Spent, rules: Rules) -> str:
    """That the bug is still there, in the words of this week."""
    cause = tidy(rules, one.root_cause, 300)
    key = ("open" if cause else "missing") + ("_1" if one.loudness <= 1 else "_more")
    restarts = number(one.month.by_unstick + one.month.by_hand)
    return say(
        rules.language,
        key,
        runbook=tidy(rules, one.runbook, 60),
        cause=cause,
        weeks=one.weeks_open,
        restarts=restarts,
        marks="!" * (one.loudness - 1),
    )


def _likely(one: Spent, rules: Rules) -> str:
    if one.cause is None:
        return ""
    runbook = tidy(rules, one.runbook, 60)
    return say(rules.language, one.cause.likely.value, runbook=runbook, incidents=one.cause.incidents, of=one.cause.of)


def _gap(gap: Gap, rules: Rules) -> str:
    date = datetime.fromtimestamp(gap.at, rules.time_zone).strftime("%Y-%m-%d") if gap.at is not None else ""
    return say(rules.language, gap.lack.value, date=date, about=exactly(rules, gap.about, 300), count=gap.count)


def _facts(cost: Cost, active: list[Spent], rules: Rules) -> tuple[tuple[str, str], ...]:
    language = rules.language
    found: list[tuple[str, str]] = []
    for one in active[:SHOWN]:
        name = tidy(rules, one.runbook, 60)
        spans = (one.week, one.month)
        found += [(say(language, "days", runbook=name, days=counts.days), _counted(counts, language)) for counts in spans]
        found.append((say(language, "weeks"), " → ".join(number(_sum(day)) for day in one.weekly)))
        found.append((say(language, "trend", days=TREND), bars([_sum(day) for day in one.daily[-TREND:]])))
        by_two = [sum(one.hours[hour : hour + 2]) for hour in range(0, 24, 2)]
        if any(by_two):
            found.append((say(language, "hours"), f"{_often(one.hours, language)} {bars(by_two)}"))
    if len(active) > SHOWN:
        found.append(("", say(language, "more", count=len(active) - SHOWN)))
    quiet = [tidy(rules, one.runbook, 60) for one in cost.runbooks if one.quiet]
    if quiet:
        found.append((say(language, "quiet"), tidy(rules, ", ".join(quiet), 300)))
    return tuple(found)


def _sum(day: Day) -> int:
    return day.by_unstick + day.by_hand


def _counted(counts: Counts, language: str) -> str:
    text = say(
        language,
        "counts",
        by_unstick=number(counts.by_unstick),
        by_hand=number(counts.by_hand),
        recovered=number(counts.recovered),
        escalated=number(counts.escalated),
        held=number(counts.held),
    )
    if counts.median_recovery_s is not None:
        text += say(language, "median", took=duration(language, counts.median_recovery_s))
    if counts.saved_minutes is not None:
        text += say(language, "saved", saved=duration(language, counts.saved_minutes * 60))
    return text


def bars(values: list[int]) -> str:
    """The values as bars of text; zero is the lowest one."""
    most = max(values, default=0) or 1
    return "".join(BARS[max(1, round(value * 7 / most)) if value else 0] for value in values)


def _often(hours: tuple[int, ...], language: str) -> str:
    """The hours that have most of it."""
    most = sorted((hour for hour in range(24) if hours[hour]), key=lambda hour: (-hours[hour], hour))[:OFTEN_SHOWN]
    shown = ", ".join(f"{hour:02d}:00 ({hours[hour]})" for hour in most)
    return say(language, "mostly", hours=shown)


def _links(active: list[Spent], rules: Rules) -> tuple[tuple[str, str], ...]:
    safe = ((one.runbook, safe_url(one.root_cause)) for one in active[:SHOWN])
    return tuple((f"{say_card(rules.language, 'link_cause')}: {tidy(rules, name, 40)}", url) for name, url in safe if url)
