"""Puts what incidents have in common into words, for the report's card, the command line and the ticket."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

from functions.domain.cards.rendering import date_of, tidy
from functions.domain.causes.model import Common, Kind, Pattern, Spread
from functions.domain.model.runbooks import Rules
from functions.domain.texts.words import duration
from functions.runtime.text import COMMA, Phrase, Text, in_brackets, join, named

LINE = 160
LINES_SHOWN = 8
IN_REPORT = 3
MOST_ODDS = 1_000_000

SENTENCES: Mapping[Kind, Text] = {
    Kind.HOURS: Text("{count} of {of} began from {what}"),
    Kind.WEEKDAYS: Text("{count} of {of} began on {what}"),
    Kind.HOST: Text("in {count} of {of} the messages were held by {what}"),
    Kind.HOLDER: Text("in {count} of {of} the messages were held by {what}"),
    Kind.INTERVAL: Text("{count} of {of} began about {what} after the restart before"),
}


def sentence(pattern: Pattern) -> Phrase:
    """`6 of 7 began from 09:00 to 10:00`, with the figure against chance; a line of evidence comes last."""
    if pattern.kind is Kind.LINE:
        return named(in_evidence(pattern), tidy(pattern.what, LINE))
    return in_brackets(SENTENCES[pattern.kind].fill(count=pattern.count, of=pattern.of, what=pattern.what), odds(pattern.chance))


def in_evidence(pattern: Pattern) -> Phrase:
    """In how many incidents and samples a line stands."""
    counts: list[Phrase] = [Text("in {count} of {of} incidents", count=pattern.count, of=pattern.of)]
    if pattern.without is not None:
        counts.append(
            Text("in {without} of {samples} samples from healthy times", without=pattern.without, samples=pattern.samples)
        )
    return in_brackets(join(counts, COMMA), odds(pattern.chance))


def odds(chance: float | None) -> Phrase:
    """How often chance alone does as much."""
    if chance is None:
        return ""
    if chance * MOST_ODDS < 1:
        return Text("by chance less than 1 in {odds}", odds=MOST_ODDS)
    if chance > 0.5:
        return Text("as likely by chance")
    return Text("by chance 1 in {odds}", odds=_two_digits(1 / chance))


def _two_digits(number: float) -> int:
    return int(float(f"{number:.2g}"))


def in_short(common: Common) -> Phrase:
    """For the weekly report: what is hardly chance, and the line of evidence that most cards showed; empty where nothing is."""
    telling = [one for one in common.patterns if one.telling][:IN_REPORT]
    telling += [one for one in common.lines if one.chance is None][:1]
    if not telling:
        return ""
    return Text("{runbook}, in common: {patterns}", runbook=tidy(common.runbook, 60), patterns=join(map(sentence, telling)))


def counted(common: Common, rules: Rules) -> Phrase:
    """`7 incidents from 2026-10-28 to 2026-11-26`."""
    return Text(
        "{count} incident from {first} to {last}",
        "{count} incidents from {first} to {last}",
        count=len(common.cases),
        first=date_of(rules, common.cases[0].at),
        last=date_of(rules, common.cases[-1].at),
    )


def judgement(common: Common) -> Phrase:
    """What can be said at all."""
    if common.too_few:
        return Text(
            "Can't tell from {count} incident what they have in common.",
            "Can't tell from {count} incidents what they have in common.",
            count=len(common.cases),
        )
    if not any(one.telling for one in common.patterns):
        return Text("Nothing that they have in common is more than chance.")
    return ""


def before_the_restart(common: Common) -> Iterator[tuple[Phrase, Phrase]]:
    """(label, figures) of what was measured."""
    rows: tuple[tuple[Phrase, Spread | None, Callable[[float], Phrase]], ...] = (
        (Text("Messages"), common.depth, lambda figure: f"{figure:,.0f}"),
        (Text("Growth per minute"), common.growth, lambda figure: f"{figure:+,.1f}"),
        (Text("Oldest message"), common.oldest_s, duration),
        (Text("Since the restart before"), common.since_restart_s, duration),
    )
    for label, figures, shown in rows:
        if figures is not None:
            yield label, _spread(figures, shown, len(common.cases))


def _spread(figures: Spread, shown: Callable[[float], Phrase], incidents: int) -> Phrase:
    between: Phrase = Text(
        "{low} to {high}, median {middle}", low=shown(figures.low), high=shown(figures.high), middle=shown(figures.middle)
    )
    if figures.of == incidents:
        return between
    return in_brackets(between, Text("known of {of} of {incidents}", of=figures.of, incidents=incidents))
