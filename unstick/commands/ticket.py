"""Puts the figures of incidents into words, and drafts a ticket for fixing the bug as Markdown: only figures and quotes."""

import re
from collections.abc import Callable, Iterator
from datetime import datetime
from functools import partial

from functions.domain.cards.rendering import date_of, rendered, tidy
from functions.domain.causes.common import Case, Common, Spread
from functions.domain.causes.words import say_moved, sentence
from functions.domain.model.codes import Ending
from functions.domain.model.runbooks import Rules
from functions.domain.texts.words import bars, duration
from functions.runtime.text import Phrase, Text, in_brackets

INCIDENTS_SHOWN = 20
LINES_SHOWN = 12
COMMAND = "unstick incident"


def draft(common: Common, rules: Rules, *, root_cause: str = "") -> str:
    """The ticket for one runbook's bug. `root_cause`: the link to it, if it exists."""
    say = partial(rendered, rules)
    title = Text("{runbook} gets stuck until it is restarted", runbook=tidy(common.runbook, 60))
    parts = [f"# {say(title)}", "", say(_how_often(common, rules))]
    if root_cause:
        parts += ["", say(Text("The runbook names this ticket: {cause}", cause=tidy(root_cause, 300)))]
    parts += ["", f"## {say(Text('What the incidents have in common'))}", ""]
    if judged := judgement(common):
        parts += [say(judged), ""]
    parts += [f"- {_code(say(say_moved(message)))}" for message in common.moved[:LINES_SHOWN]]
    parts += [f"- {_code(say(sentence(one)))}" for one in common.besides_lines]
    parts += [f"- {say(label)}: {say(value)}" for label, value in figures(common)]
    parts += list(_lines(common, rules))
    parts += ["", f"## {say(Text('Incidents'))}", "", *_table(common, rules), ""]
    parts.append(f"{say(Text('All about one incident'))}: `{COMMAND} ID --evidence`")
    return "\n".join(parts) + "\n"


def _how_often(common: Common, rules: Rules) -> Phrase:
    needed_by = sum(case.asked or case.ending == Ending.ESCALATED for case in common.cases)
    restarts = sum(case.restarts for case in common.cases)
    restarted = Text("{count} restart", "{count} restarts", count=restarts)
    needed = Text("a person was needed {count} time", "a person was needed {count} times", count=needed_by)
    return Text("{incidents}, {restarts}, {escalated}.", incidents=counted(common, rules), restarts=restarted, escalated=needed)


def _lines(common: Common, rules: Rules) -> Iterator[str]:
    """The lines of evidence, verbatim, each with its count."""
    if not common.lines:
        return
    yield from ("", f"## {rendered(rules, Text('Lines of evidence in most incidents'))}", "")
    for one in common.lines[:LINES_SHOWN]:
        count = rendered(rules, Text("in {count} of {of} incidents", count=one.count, of=one.of))
        yield f"- `{tidy(one.what, 240).replace('`', chr(39))}` – {count}"


def _table(common: Common, rules: Rules) -> Iterator[str]:
    heads = (Text("Began"), Text("Incident"), Text("Messages"), Text("Since the restart before"), Text("Outcome"))
    yield "| " + " | ".join(_cell(rendered(rules, head)) for head in heads) + " |"
    yield "| --- " * len(heads) + "|"
    for case in reversed(common.cases[-INCIDENTS_SHOWN:]):
        yield "| " + " | ".join(_cell(rendered(rules, cell)) for cell in _cells(case, rules)) + " |"
    more = len(common.cases) - INCIDENTS_SHOWN
    if more > 0:
        yield ""
        yield rendered(rules, Text("and {count} more", count=more))


def _cells(case: Case, rules: Rules) -> tuple[Phrase, ...]:
    return (
        datetime.fromtimestamp(case.at, rules.zone).strftime("%Y-%m-%d %H:%M"),
        tidy(case.incident, 60),
        "" if case.depth is None else f"{case.depth:,}",
        "" if case.since_restart_s is None else duration(case.since_restart_s),
        case.ending,
    )


def _cell(text: str) -> str:
    return re.sub(r"([|\\`*_<>\[\]])", r"\\\1", text)


def _code(text: str) -> str:
    """Text from elsewhere, such as a host's name, as code, so that it can't be markup."""
    return re.sub(r"([\\*_<>\[\]])", r"\\\1", text)


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
