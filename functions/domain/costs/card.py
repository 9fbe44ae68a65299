"""Turns the cost of the bug into a card. The longer a bug stays open, the louder the card."""

from __future__ import annotations

from datetime import datetime

from functions.domain.cards.facts import exactly, listed, named, number, tidy
from functions.domain.cards.facts import headline as headline_of
from functions.domain.costs.model import LOUDEST, Cost, Counts, Day, Gap, MissingData, RunbookCost
from functions.domain.costs.words import say, say_counted
from functions.domain.model.messages import Card
from functions.domain.model.runbooks import Rules
from functions.domain.texts.sanitize import safe_url
from functions.domain.texts.words import duration
from functions.domain.texts.words import say as say_card

SHOWN = 4
"""Runbooks. Each has at most five facts, of the 24 that every chat shows."""
GAPS_SHOWN = 5
HEADLINE = 140
BARS = "▁▂▃▄▅▆▇█"
OFTEN_SHOWN = 3
TREND = 14
"""Days whose bars fit into one line of a phone."""


def card(cost: Cost, rules: Rules, *, days: int = 7) -> Card:
    """Compose the report's card. Its headline covers the last 7 or 30 days.

    An open bug gets louder every week: 1 is a reminder, from 2 on each week adds a mark to headline and sentence, and from
    `LOUDEST` on the bug is the headline. The card never uses the words that make people get up: it can wait for the morning.
    """
    active = [one for one in cost.runbooks if not one.quiet]
    loud = max(active, key=lambda one: one.loudness, default=None)
    louder = loud.loudness if loud else 0
    urgency = "plan" if louder > 1 else "fine"
    causes = [_open(one, rules) for one in sorted(active, key=lambda one: -one.loudness)]
    likely = [_likely(one, rules) for one in active if one.cause]
    gaps = _gaps(cost, rules)
    headline = _headline(cost, loud, rules, days)
    return Card(
        kind="report",
        urgency=urgency,
        headline=tidy(rules, headline_of(rules, urgency, headline), HEADLINE),
        facts=_facts(cost, active, rules),
        text=(*causes[:SHOWN], *gaps, *likely[:SHOWN]),
        links=_links(active, rules),
        at=cost.at,
    )


def _headline(cost: Cost, loud: RunbookCost | None, rules: Rules, days: int) -> str:
    language = rules.language
    counts = [one.month if days > 7 else one.week for one in cost.runbooks]
    by_unstick, by_hand = sum(one.by_unstick for one in counts), sum(one.by_hand for one in counts)
    marks = _marks(loud) if loud is not None else ""
    if loud is not None and loud.loudness >= LOUDEST:
        weeks = say_counted(language, "weeks_open", loud.weeks_open)
        said = say(language, "head_loud", runbook=tidy(rules, loud.runbook, 60), weeks=weeks)
    elif by_unstick + by_hand == 0:
        said = quiet(cost, rules, days)
    else:
        key = "head_known" if cost.partial(days) else "head"
        said = say(language, key, days=days, by_unstick=number(by_unstick), by_hand=number(by_hand))
    return f"{marks} {said}" if marks else said


def quiet(cost: Cost, rules: Rules, days: int) -> str:
    """The sentence that there was no restart, as far as known."""
    return say(rules.language, "head_quiet_known" if cost.partial(days) else "head_quiet", days=days)


def _marks(one: RunbookCost) -> str:
    """One mark more every week."""
    return "!" * (one.loudness - 1)


def _open(one: RunbookCost, rules: Rules) -> str:
    """The sentence that the bug is still there, as loud as its age asks for."""
    cause = tidy(rules, one.root_cause, 300)
    key = ("open" if cause else "missing") + ("_1" if one.loudness <= 1 else "_more")
    return say(
        rules.language,
        key,
        runbook=tidy(rules, one.runbook, 60),
        cause=cause,
        weeks=say_counted(rules.language, "weeks_open", one.weeks_open),
        restarts=say_counted(rules.language, "restarts", one.month.by_unstick + one.month.by_hand),
        marks=_marks(one),
    )


def _likely(one: RunbookCost, rules: Rules) -> str:
    if one.cause is None:
        return ""
    runbook = tidy(rules, one.runbook, 60)
    return say(rules.language, one.cause.likely.value, runbook=runbook, incidents=one.cause.incidents, of=one.cause.of)


def _gaps(cost: Cost, rules: Rules) -> list[str]:
    """The sentences about missing data. Runbooks without any alert so far share one."""
    unasked = [tidy(rules, gap.about, 60) for gap in cost.gaps if gap.lack is MissingData.HISTORY_UNASKED]
    gaps = [gap for gap in cost.gaps if gap.lack is not MissingData.HISTORY_UNASKED]
    shared = [Gap(MissingData.HISTORY_UNASKED, about=listed(rules, unasked))] if unasked else []
    lines = [_gap(gap, rules) for gap in (*shared, *gaps)]
    more = len(lines) - GAPS_SHOWN
    return [*lines[:GAPS_SHOWN], say(rules.language, "more_gaps", count=number(more))] if more > 0 else lines


def _gap(gap: Gap, rules: Rules) -> str:
    date = datetime.fromtimestamp(gap.at, rules.zone).strftime("%Y-%m-%d") if gap.at is not None else ""
    if gap.lack is MissingData.ARCHIVE_BROKEN:
        return say_counted(rules.language, gap.lack.value, gap.count)
    return say(rules.language, gap.lack.value, date=date, about=exactly(rules, gap.about, 300))


def _facts(cost: Cost, active: list[RunbookCost], rules: Rules) -> tuple[tuple[str, str], ...]:
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
            found.append((say(language, "hours"), f"{_often(one.hours, rules)} {bars(by_two)}"))
    if len(active) > SHOWN:
        found.append(("", say_counted(language, "more", len(active) - SHOWN)))
    silent = [tidy(rules, one.runbook, 60) for one in cost.runbooks if one.quiet and not one.unseen]
    if silent:
        found.append((say(language, "quiet"), tidy(rules, listed(rules, silent), 300)))
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
    """The values as bars of text; the lowest bar is zero."""
    most = max(values, default=0) or 1
    return "".join(BARS[max(1, round(value * 7 / most)) if value else 0] for value in values)


def _often(hours: tuple[int, ...], rules: Rules) -> str:
    """The hours with the most restarts."""
    most = sorted((hour for hour in range(24) if hours[hour]), key=lambda hour: (-hours[hour], hour))[:OFTEN_SHOWN]
    shown = (say_card(rules.language, "in_brackets", text=f"{hour:02d}:00", more=hours[hour]) for hour in most)
    return say(rules.language, "mostly", hours=listed(rules, shown))


def _links(active: list[RunbookCost], rules: Rules) -> tuple[tuple[str, str], ...]:
    safe = ((one.runbook, safe_url(one.root_cause)) for one in active[:SHOWN])
    cause = say_card(rules.language, "link_cause")
    return tuple((named(rules, cause, tidy(rules, name, 40)), url) for name, url in safe if url)
