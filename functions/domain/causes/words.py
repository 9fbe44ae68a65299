"""Puts what incidents have in common into words, for the report's card, the command line and the ticket."""

from collections.abc import Callable, Iterator, Mapping

from functions.domain.cards.rendering import date_of, tidy
from functions.domain.causes.common import Common, Kind, Pattern, Spread
from functions.domain.model.runbooks import Rules
from functions.domain.texts.words import bars, duration
from functions.runtime.text import Phrase, Text, in_brackets, join

LINE = 160
LINES_SHOWN = 8
IN_REPORT = 3

SENTENCES: Mapping[Kind, Text] = {
    Kind.HOURS: Text("{count} of {of} began from {what}"),
    Kind.TARGET: Text("{count} of {of} were of {what}"),
    Kind.HOST: Text("in {count} of {of} the messages were held by {what}"),
    Kind.HOLDER: Text("in {count} of {of} the messages were held by {what}"),
    Kind.LINE: Text("in {count} of {of} incidents: {what}"),
}


def sentence(pattern: Pattern) -> Phrase:
    """Such as `6 of 7 began from 09:00 to 12:00`; a line of evidence comes last."""
    what = tidy(pattern.what, LINE) if isinstance(pattern.what, str) else pattern.what
    return SENTENCES[pattern.kind].fill(count=pattern.count, of=pattern.of, what=what)


def in_short(common: Common) -> Phrase:
    """For the weekly report: what most incidents share, and their most frequent line; empty if there is nothing."""
    shown = (*common.besides_lines[:IN_REPORT], *common.lines[:1])
    if not shown:
        return ""
    return Text("{runbook}, in common: {patterns}", runbook=tidy(common.runbook, 60), patterns=join(map(sentence, shown)))


def counted(common: Common, rules: Rules) -> Phrase:
    """Such as `7 incidents from 2026-10-28 to 2026-11-26`."""
    first, last = date_of(rules, common.cases[0].at), date_of(rules, common.cases[-1].at)
    text = Text("{count} incident from {first} to {last}", "{count} incidents from {first} to {last}")
    return text.fill(count=len(common.cases), first=first, last=last)


def judgement(common: Common) -> Phrase:
    """The sentence that there are too few incidents, or that they have nothing in common."""
    if common.too_few:
        return Text(
            "Can't tell from {count} incident what they have in common.",
            "Can't tell from {count} incidents what they have in common.",
            count=len(common.cases),
        )
    return "" if common.patterns else Text("Nothing is common to three in four of them.")


def figures(common: Common) -> Iterator[tuple[Phrase, Phrase]]:
    """(label, figures): when the incidents began, and what was measured before the restart."""
    rows: tuple[tuple[Phrase, Spread | None, Callable[[float], Phrase]], ...] = (
        (Text("Messages"), common.depth, lambda figure: f"{figure:,.0f}"),
        (Text("Growth per minute"), common.growth, lambda figure: f"{figure:+,.1f}"),
        (Text("Oldest message"), common.oldest_s, duration),
        (Text("Since the restart before"), common.since_restart_s, duration),
    )
    yield Text("Times of day, from 00:00 to 23:00"), bars(list(common.hours))
    yield Text("Weekdays, from Monday to Sunday"), bars(list(common.weekdays))
    for label, spread, shown in rows:
        if spread is not None:
            yield label, _spread(spread, shown, len(common.cases))


def _spread(spread: Spread, shown: Callable[[float], Phrase], incidents: int) -> Phrase:
    low, middle, high = shown(spread.low), shown(spread.middle), shown(spread.high)
    between = Text("{low} to {high}, median {middle}", low=low, middle=middle, high=high)
    known = Text("known of {of} of {incidents}", of=spread.of, incidents=incidents)
    return in_brackets(between, known if spread.of < incidents else "")
