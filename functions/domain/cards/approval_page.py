"""The content of the pages behind links for people's answers, as data. `entrypoints/people` renders it as HTML."""

from collections.abc import Mapping

from msgspec import Struct
from msgspec.structs import replace

from functions.domain.cards import card, facts
from functions.domain.cards.card_input import CardInput
from functions.domain.cards.curve import Curve, find_starts, plot
from functions.domain.cards.queue_facts import QUEUE_NAME, holders, proofs
from functions.domain.cards.rendering import Fact, clock, tidy
from functions.domain.health.looks import extend
from functions.domain.model.codes import ASKED, Health
from functions.domain.model.observations import QueueSnapshot, Unknown
from functions.domain.model.runbooks import Rules
from functions.domain.texts.reasons import REASONS
from functions.domain.texts.sanitize import safe_url
from functions.domain.texts.words import LINE, LINES, LOG_END, duration, messages
from functions.runtime.text import COMMA, Phrase, Text, join, named

QUEUES_SHOWN = 5
NAME, WHY = 80, 200  # maximum length of a person's name and reason
RESTART, DECLINE, ACKNOWLEDGE = "restart", "decline", "acknowledge"  # the values of `act` that the buttons send
RESTS_ON = (proofs, holders)
NOTHING_CHANGED = Text("Opening this page has changed nothing.")
HEALTH = {
    Health.ILL: Text("Stuck"),
    Health.LIKELY: Text("Likely stuck"),
    Health.WELL: Text("Not stuck"),
    Health.UNSURE: Text("Not yet clear whether it is stuck"),
}
LABELS: Mapping[str, Text] = {
    "state": Text("Current state"),
    "about": Text("What it is about"),
    "links": Text("Where to look"),
    "reason": Text("Reason (optional)"),
    "name": Text("Your name (optional)"),
    "needed_name": Text("Your name"),
    "signed_in": Text("You are signed in as {name}."),
    "opening": Text("Opening the approval page"),
    "pasting": Text(
        "If nothing happens, this browser does not run JavaScript. Copy the whole link from the message and paste it here."
    ),
    "link": Text("Link from the message"),
    "open": Text("Open"),
    "ready": Text("all messages, ready and unacknowledged"),
    "unacked": Text("of these unacknowledged"),
    "restart": Text("restart"),
}
"""Texts that are on every page."""


class Row(Struct, frozen=True):
    name: str
    seen: QueueSnapshot | Unknown
    health: Health


class View(Struct, frozen=True):
    """The input of a page with buttons. `warnings`: what would prevent the button from restarting anything."""

    card_input: CardInput
    rows: tuple[Row, ...]
    warnings: tuple[Phrase, ...] = ()


class Person(Struct, frozen=True):
    """The visitor of the page, if known. `verified`: signed in by a proxy; otherwise the browser remembered the name."""

    name: str = ""
    verified: bool = False
    address: str = ""  # what the proxy said, unchanged: names are shown, addresses compared


class Paragraph(Struct, frozen=True):
    """`kind`: `note` is less prominent, `warn` stands out."""

    text: Phrase
    kind: str = ""


class Button(Struct, frozen=True):
    act: str
    label: Phrase
    quiet: bool = False


class Queue(Struct, frozen=True):
    """The live figures of one queue; `summary` stands above the buttons."""

    name: str
    summary: Phrase
    problem: Phrase = ""
    facts: tuple[Fact, ...] = ()
    curve: Curve | None = None


class Question(Struct, frozen=True):
    """A page with buttons. Above them is what fits on a phone's first screen, below them everything else. `rests_on`: what is
    proved or likely, who holds the messages, and of an escalation what was tried."""

    title: Phrase
    why: tuple[Paragraph, ...]
    queues: tuple[Queue, ...]
    below_queues: tuple[Paragraph, ...]
    buttons: tuple[Button, ...]
    notes: tuple[Paragraph, ...]
    facts: tuple[Fact, ...]
    links: tuple[tuple[Phrase, str], ...]
    none_stuck: Phrase = ""
    takes_reason: bool = False
    needs_name: bool = False
    rests_on: tuple[Fact, ...] = ()
    log_title: Phrase = ""
    log: tuple[str, ...] = ()


class Notice(Struct, frozen=True):
    """A page with the result of a link or button. `recorded`: what was noted."""

    title: Phrase
    text: tuple[Phrase, ...]
    links: tuple[tuple[Phrase, str], ...] = ()
    recorded: Phrase = ""


def ask(view: View, rules: Rules) -> Question:
    """The question whether to restart."""
    card_input = view.card_input
    subject = facts.subject(card_input)
    condition = Text(
        "Nothing is done if the kill switch is on by then, the queue has recovered, or its figures or {runner} can't be read."
    )
    declining = Text("If you decline, Unstick doesn't ask again for this alert. A new alert is decided anew.")
    tail = card_input.shown.run.tail
    log_title, log = (LOG_END, tail) if tail else facts.shown_lines(card_input)
    restart = Button(RESTART, Text("Restart {subject} now", subject=subject))
    stuck = not view.rows or any(row.health is not Health.WELL for row in view.rows)
    return Question(
        Text("Restart {subject}?", subject=subject),
        why=(*_why(card_input), *(Paragraph(warning, "warn") for warning in view.warnings)),
        queues=_queues(view),
        below_queues=_below_queues(view, rules),
        buttons=(restart, Button(DECLINE, Text("Don't restart it"), quiet=True)),
        notes=(Paragraph(_until(card_input, rules)), Paragraph(condition, "note"), Paragraph(declining, "note")),
        facts=tuple(facts.gathered(card_input, rules, facts.since, facts.restart, facts.tried)),
        links=_links(card_input, rules),
        none_stuck="" if stuck else Text("No queue is stuck: the button would restart nothing."),
        takes_reason=True,
        rests_on=tuple((label, value) for part in RESTS_ON for label, value in part(card_input) if value),
        log_title=log_title,
        log=tuple(tidy(line, LINE) for line in log[-LINES:]),
    )


def ask_to_take(view: View, rules: Rules) -> Question:
    """The question whether to take an escalation."""
    card_input = view.card_input
    meaning = Text("Nobody is reminded any more once somebody has taken it. It restarts nothing.")
    return Question(
        Text("Acknowledge {subject}?", subject=facts.subject(card_input)),
        why=(*(Paragraph(warning, "warn") for warning in view.warnings), *_why(replace(card_input, detail=""))),
        queues=_queues(view),
        below_queues=_below_queues(view, rules),
        buttons=(Button(ACKNOWLEDGE, Text("I'm on it")),),
        needs_name=True,
        notes=(Paragraph(meaning, "note"),),
        facts=tuple(facts.gathered(card_input, rules, facts.taken, facts.since)),
        links=_links(card_input, rules),
        rests_on=tuple((label, value) for label, value in (*holders(card_input), *facts.tried(card_input)) if value),
    )


def _why(card_input: CardInput) -> tuple[Paragraph, ...]:
    if card_input.reason is None:
        return ()
    parts = [Paragraph(REASONS[card_input.reason].why)]
    if card_input.reason not in ASKED and card_input.escalation is None:
        parts.append(Paragraph(Text("Approving overrules Unstick, which does not restart this by itself."), "warn"))
    if card_input.detail:
        parts.append(Paragraph(card.details(card_input.detail)))
    return tuple(parts)


def _until(card_input: CardInput, rules: Rules) -> Phrase:
    expires_at = card_input.shown.approval.expires_at
    if expires_at is None:
        return NOTHING_CHANGED
    return Text(
        "The buttons work once, until {until} (another {left}). {nothing_changed}",
        until=clock(rules, expires_at),
        left=duration(expires_at - card_input.at),
        nothing_changed=NOTHING_CHANGED,
    )


def _below_queues(view: View, rules: Rules) -> tuple[Paragraph, ...]:
    read_at = Text("Read at {at}. Reload the page for newer figures.", at=clock(rules, view.card_input.at))
    count = len(view.rows) - QUEUES_SHOWN
    more = (Paragraph(Text("and {count} more queue", "and {count} more queues", count=count)),) if count > 0 else ()
    return (*more, Paragraph(read_at, "note"))


def _queues(view: View) -> tuple[Queue, ...]:
    return tuple(_queue(row, view.card_input) for row in view.rows[:QUEUES_SHOWN])


def _queue(row: Row, card_input: CardInput) -> Queue:
    name, seen = tidy(row.name, QUEUE_NAME), row.seen
    if isinstance(seen, Unknown):
        problem = Text("It can't be read: {why}", why=seen.why)
        return Queue(name, named(name, problem), problem)
    depths = extend((), seen.at, seen.depth, seen.depth_samples)
    held = extend((), seen.at, seen.unacked, seen.history.unacked)
    starts = tuple(at for at in find_starts(card_input.shown) if depths[0][0] < at)
    summary = named(name, join((HEALTH.get(row.health, ""), messages(seen.depth)), COMMA))
    return Queue(name, summary, "", tuple(_figures(seen, row.health, card_input.at)), plot(depths, held, starts))


def _figures(seen: QueueSnapshot, health: Health, now: float) -> list[Fact]:
    depths: Phrase = f"{seen.depth:,}"
    if seen.ready is not None and seen.unacked is not None:
        parts = {"depth": seen.depth, "ready": seen.ready, "unacked": seen.unacked}
        depths = Text("{depth} ({ready} ready, {unacked} unacknowledged)", **parts)
    figures: list[Fact] = [(Text("State"), HEALTH[health])] if health in HEALTH else []
    figures.append((Text("Messages"), depths))
    if seen.consumers is not None:
        figures.append((Text("Consumers"), f"{seen.consumers:,}"))
    if len(seen.ack_samples) > 1:
        (first_at, first), (last_at, last) = seen.ack_samples[0], seen.ack_samples[-1]
        number = max(0, last - first)
        beside = number and health in (Health.ILL, Health.LIKELY)  # one hangs, and the others work
        processed = Text("{number} in the last {span}", number=number, span=duration(last_at - first_at))
        figures.append((Text("Processed beside it") if beside else Text("Processed"), processed))
    if seen.head_at is not None:
        figures.append((Text("Oldest message"), Text("{age} old", age=duration(now - seen.head_at))))
    return figures


def _links(card_input: CardInput, rules: Rules) -> tuple[tuple[Phrase, str], ...]:
    """The card's links, with the job's page in Rundeck first."""
    links, page = tuple(facts.links(card_input, rules)), safe_url(facts.page_to_restart(card_input))
    return links if not page or page in (url for _, url in links) else ((Text("Job in {runner}"), page), *links)
