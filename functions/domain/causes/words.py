"""Puts what incidents have in common into words, for the report's card and the command `causes`."""

from collections.abc import Mapping

from functions.domain.cards.identity import name_message
from functions.domain.cards.rendering import tidy
from functions.domain.causes.common import Common, Kind, Pattern
from functions.domain.costs.model import NAME
from functions.domain.model.moves import Moved
from functions.runtime.text import Phrase, Text, join

LINE = 160
IN_REPORT = 3

SENTENCES: Mapping[Kind, Text] = {
    Kind.HOURS: Text("{count} of {of} began from {what}"),
    Kind.TARGET: Text("{count} of {of} were of {what}"),
    Kind.HOST: Text("in {count} of {of} the messages were held by {what}"),
    Kind.HOLDER: Text("in {count} of {of} the messages were held by {what}"),
    Kind.MESSAGE: Text("in {count} of {of} the message that hung it had {what}"),
    Kind.LINE: Text("in {count} of {of} incidents: {what}"),
}


def sentence(pattern: Pattern) -> Phrase:
    """Such as `6 of 7 began from 09:00 to 12:00`; a line of evidence comes last."""
    what = tidy(pattern.what, LINE) if isinstance(pattern.what, str) else pattern.what
    return SENTENCES[pattern.kind].fill(count=pattern.count, of=pattern.of, what=what)


def say_moved(message: Moved) -> Phrase:
    """Which message hung the application: it flowed once that one was moved aside."""
    return Text("it hung on the message with {message}", message=name_message(message))


def in_short(common: Common) -> Phrase:
    """For the weekly report: what most incidents share, and their most frequent line; empty if there is nothing."""
    shown = [*map(sentence, common.besides_lines[:IN_REPORT]), *map(sentence, common.lines[:1])]
    shown = [*(say_moved(message) for message in common.moved[:IN_REPORT]), *shown]
    if not shown:
        return ""
    return Text("{runbook}, in common: {patterns}", runbook=tidy(common.runbook, NAME), patterns=join(shown))
