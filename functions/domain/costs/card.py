"""Turns the cost of the bug into a card. The longer a bug stays open, the more prominent it is."""

from collections.abc import Iterator, Mapping
from itertools import islice

from functions.domain.cards.rendering import Content, Fact, date_of, render, tidy
from functions.domain.costs import would_be
from functions.domain.costs.model import MAX_PROMINENCE, NAME, Cause, Cost, Counts, Gap, Likely, MissingData, RunbookCost
from functions.domain.model.codes import Mode
from functions.domain.model.messages import Card, CardKind
from functions.domain.model.runbooks import Rules
from functions.domain.texts.sanitize import safe_url
from functions.domain.texts.words import LINK_CAUSE, bars, duration
from functions.runtime.text import COMMA, Phrase, Text, in_brackets, join, named

SHOWN = 4  # runbooks. Each has at most five facts, of the 24 that every chat shows.
GAPS_SHOWN = 5
OFTEN_SHOWN = 3
DECLINED_SHOWN, DECLINED = 3, 120
WEEK = 7
TREND = 14  # days whose bars fit into one line of a phone


def card(cost: Cost, rules: Rules, *, days: int = 7) -> Card:
    """Compose the report's card. Its headline covers the last 7 or 30 days.
    An open bug gets more prominent every week: 1 is a reminder, from 2 on each week adds a mark to headline and sentence, and at
    `MAX_PROMINENCE` the bug is the headline. The card never uses the words that make people get up."""
    active = [spent for spent in cost.runbooks if not spent.quiet]
    restarted = any((spent.month if days > WEEK else spent.week).restarts for spent in active)
    most_prominent = max(active, key=lambda spent: spent.prominence, default=None)
    # Advice applies while a runbook only observes.
    observing = [spent for spent in active if (book := rules.runbooks.get(spent.runbook)) and book.mode is Mode.OBSERVE]
    observed = (would_be.sentence(spent, spent.month if days > WEEK else spent.week) for spent in observing)
    links = ((tidy(spent.runbook, 40), safe_url(spent.root_cause)) for spent in active[:SHOWN])
    content = Content(
        "plan" if restarted or (most_prominent and most_prominent.prominence > 1) else "fine",
        _headline(cost, most_prominent, days),
        (
            *[_open(spent) for spent in sorted(active, key=lambda spent: -spent.prominence)][:SHOWN],
            *islice((phrase for phrase in observed if phrase), SHOWN),
            *_gaps(cost, rules),
            *[_likely(spent.runbook, spent.cause) for spent in active if spent.cause][:SHOWN],
        ),
        _facts(cost, active),
        [(named(LINK_CAUSE, runbook), url) for runbook, url in links if url],
    )
    return render(rules, CardKind.REPORT, content, cost.at)


def _headline(cost: Cost, most_prominent: RunbookCost | None, days: int) -> Phrase:
    counts = [spent.month if days > WEEK else spent.week for spent in cost.runbooks]
    by_unstick, by_hand = sum(spent.by_unstick for spent in counts), sum(spent.by_hand for spent in counts)
    if most_prominent is not None and most_prominent.prominence >= MAX_PROMINENCE:
        headline = Text(
            "{runbook} has kept getting stuck for {weeks}, and the bug is still open",
            runbook=tidy(most_prominent.runbook, NAME),
            weeks=_weeks(most_prominent),
        )
    elif by_unstick + by_hand == 0:
        none_known = Text("No known restarts in {days} days, but the data is incomplete", days=days)
        headline = none_known if cost.partial(days) else Text("No restarts in {days} days", days=days)
    else:
        known = Text("Known restarts in {days} days: {by_unstick} by Unstick, {by_hand} by hand")
        certain = Text("Restarts in {days} days: {by_unstick} by Unstick, {by_hand} by hand")
        headline = (known if cost.partial(days) else certain).fill(days=days, by_unstick=by_unstick, by_hand=by_hand)
    return _marked(most_prominent, headline) if most_prominent else headline


def _marked(spent: RunbookCost, phrase: Phrase) -> Phrase:
    return Text("{marks} {text}", marks="!" * (spent.prominence - 1), text=phrase)


def _weeks(spent: RunbookCost) -> Text:
    return Text("{count} week", "{count} weeks", count=spent.weeks_open)


def _open(spent: RunbookCost) -> Phrase:
    first_week, cause = spent.prominence <= 1, tidy(spent.root_cause, 300)
    if cause:
        reminder = Text("{runbook}: the bug behind it is still open: {cause}")
        later = Text("{runbook}: still open after {weeks} and {restarts} in the last 30 days: {cause}")
    else:
        reminder = Text("{runbook}: nobody owns the bug yet. {ticket}")
        later = Text("{runbook}: nobody owns the bug after {weeks} and {restarts} in the last 30 days. {ticket}")
    restarts = Text("{count} restart", "{count} restarts", count=spent.month.restarts)
    ticket = Text("Open a ticket and put its link into the runbook as root_cause.")
    text, runbook = reminder if first_week else later, tidy(spent.runbook, NAME)
    return _marked(spent, text.fill(runbook=runbook, weeks=_weeks(spent), restarts=restarts, cause=cause, ticket=ticket))


def _likely(name: str, cause: Cause) -> Text:
    text = Text(
        "{runbook}: the application probably loses its connection and does not reconnect: there was no consumer ({incidents} of "
        "{of} incidents). Let it reconnect, or exit so that its supervisor starts it again."
    )
    if cause.likely is Likely.HELD_UNACKED:
        text = Text(
            "{runbook}: a consumer probably holds messages without acknowledging them ({incidents} of {of} incidents). "
            "RabbitMQ's consumer_timeout (30 min by default; from 4.3 on for quorum queues only) would disconnect it and requeue "
            "its messages; a shorter one would do so before people notice."
        )
    return text.fill(runbook=tidy(name, NAME), incidents=cause.incidents, of=cause.of)


def _gaps(cost: Cost, rules: Rules) -> list[Phrase]:
    """The sentences about missing data. Runbooks that had no alert yet share one."""
    unasked = [tidy(gap.about, NAME) for gap in cost.gaps if gap.lack is MissingData.HISTORY_UNASKED]
    gaps = [gap for gap in cost.gaps if gap.lack is not MissingData.HISTORY_UNASKED]
    shared = [Gap(MissingData.HISTORY_UNASKED, about=join(unasked, COMMA))] if unasked else []
    lines: list[Phrase] = []
    for gap in (*shared, *gaps):
        date = date_of(rules, gap.at) if gap.at is not None else ""
        lines.append(GAPS[gap.lack].fill(date=date, about=gap.about, count=gap.count))
    more = len(lines) - GAPS_SHOWN
    in_json = Text("{count} more of these is in the report's JSON.", "{count} more of these are in the report's JSON.")
    return [*lines[:GAPS_SHOWN], in_json.fill(count=more)] if more > 0 else lines


GAPS: Mapping[MissingData, Text] = {
    MissingData.ARCHIVE_BEGINS: Text("The archive begins on {date}; nothing before that is counted."),
    MissingData.ARCHIVE_EMPTY: Text("The archive is empty: no incident has ended yet."),
    MissingData.ARCHIVE_BROKEN: Text(
        "{count} archived incident can't be read and is not counted.",
        "{count} archived incidents can't be read and are not counted.",
    ),
    MissingData.HISTORY_BEGINS: Text(
        "{runner}'s history of {about} starts on {date}. If it was cleaned up, earlier restarts by hand are missing."
    ),
    MissingData.HISTORY_SHORT: Text(
        "{runner}'s history of {about} only goes back to {date}: earlier restarts by hand are not counted."
    ),
    MissingData.HISTORY_UNASKED: Text(
        "{runner}'s history was not checked for {about}: no alert has named a target yet. Restarts by hand are not counted there."
    ),
    MissingData.HISTORY_UNREAD: Text("{runner}'s history can't be read, so restarts by hand are not counted: {about}"),
    MissingData.OLDER_UNREAD: Text(
        "The older part of the archive could not be read in time: the bug may be older than reported here."
    ),
    MissingData.TARGETS_UNREAD: Text(
        "Some of Unstick's documents could not be read, so restarts by hand of some targets may be missing."
    ),
}


def _facts(cost: Cost, active: list[RunbookCost]) -> Iterator[Fact]:
    for spent in active[:SHOWN]:
        name = tidy(spent.runbook, NAME)
        yield Text("{runbook}, {days} days", runbook=name, days=spent.week.days), _counted(spent.week)
        month = join((_counted(spent.month), _asked_about(spent), _declined(spent)))
        yield Text("{runbook}, {days} days", runbook=name, days=spent.month.days), month
        yield Text("Restarts per week"), " → ".join(f"{day.restarts:,}" for day in spent.weekly)
        yield Text("Last {days} days", days=TREND), bars([day.restarts for day in spent.daily[-TREND:]])
        by_two = [sum(spent.hours[hour : hour + 2]) for hour in range(0, 24, 2)]
        if any(by_two):
            yield Text("Times of day"), Text("{hours} {bars}", hours=_often(spent.hours), bars=bars(by_two))
    if len(active) > SHOWN:
        yield "", Text("and {count} more runbook", "and {count} more runbooks", count=len(active) - SHOWN)
    suspected = [spent for spent in cost.runbooks if spent.week.suspicions]
    if suspected:
        yield Text("Suspicions, {days} days", days=suspected[0].week.days), join(map(_suspicions, suspected[:SHOWN]))
    for one in cost.unmatched[:SHOWN]:
        yield Text("Matched no runbook"), named(tidy(one.said, NAME), one.detail)
    silent = [tidy(spent.runbook, NAME) for spent in cost.runbooks if spent.quiet and not spent.unseen]
    if silent:
        yield Text("Quiet"), join(silent, COMMA)


def _asked_about(spent: RunbookCost) -> Phrase:
    """How often a queue was only likely to hang: a line of configuration would settle it."""
    asked = Text("only likely to hang: {count} (`keeps` settles it)")
    return asked.fill(count=spent.likely) if spent.likely else ""


def _declined(spent: RunbookCost) -> Phrase:
    """How many restarts people declined, and the last one's reason."""
    said = join(tidy(one, DECLINED) for one in spent.declined[:DECLINED_SHOWN])
    return Text("declined: {count} ({said})", count=len(spent.declined), said=said) if spent.declined else ""


def _counted(counts: Counts) -> Phrase:
    restarts = Text("restarts: {by_unstick} by Unstick, {by_hand} by hand", by_unstick=counts.by_unstick, by_hand=counts.by_hand)
    incidents = Text("incidents: {recovered} recovered, {escalated} escalated, {held} held")
    ended = {"recovered": counts.recovered, "escalated": counts.escalated, "held": counts.held}
    parts: list[Phrase] = [restarts, incidents.fill(**ended)]
    if counts.median_recovery_s is not None:
        parts.append(Text("median time to recovery {took}", took=duration(counts.median_recovery_s)))
    if counts.saved_minutes is not None:
        parts.append(Text("saved about {saved}", saved=duration(counts.saved_minutes * 60)))
    return join(parts)


def _suspicions(spent: RunbookCost) -> Phrase:
    counted = Text(
        "{count} suspicion; the queue moved by itself in {passed}", "{count} suspicions; the queue moved by itself in {passed}"
    )
    return named(tidy(spent.runbook, NAME), counted.fill(count=spent.week.suspicions, passed=spent.week.passed))


def _often(hours: tuple[int, ...]) -> Phrase:
    most = sorted((hour for hour in range(24) if hours[hour]), key=lambda hour: (-hours[hour], hour))[:OFTEN_SHOWN]
    return Text("mostly at {hours}", hours=join((in_brackets(f"{hour:02d}:00", f"{hours[hour]:,}") for hour in most), COMMA))
