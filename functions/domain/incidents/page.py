"""The page of one incident as data. Title and advice come from the code that writes the cards, so that both say the same."""

from collections.abc import Iterator, Mapping
from itertools import groupby

from msgspec import Struct
from msgspec.structs import replace

from functions.domain.cards import card, facts, queue_facts
from functions.domain.cards.approval_page import Paragraph
from functions.domain.cards.card_input import CardInput
from functions.domain.cards.curve import Curve, find_starts, plot
from functions.domain.cards.queue_facts import QUEUE_NAME, held
from functions.domain.cards.rendering import Fact, clock, tidy
from functions.domain.incidents.overview import say_minutes, summarize
from functions.domain.incidents.timeline import ENDINGS, KINDS, PHASES, Entry, Known, tell
from functions.domain.model.codes import ASKED, Ending, Phase, Reason
from functions.domain.model.incidents import Incident, QueueState
from functions.domain.model.messages import CardKind
from functions.domain.model.observations import Execution
from functions.domain.model.runbooks import Rules
from functions.domain.texts.sanitize import safe_url
from functions.domain.texts.words import LINE, LINES, LINK_DETAILS, duration, worded
from functions.runtime.text import COMMA, Phrase, Text, in_brackets, join, named

QUEUES_SHOWN = 5
DAY_S = 86400.0
WORKING = Text("Nothing yet: Unstick is working on it, and calls people if it needs them.")
LOOK = Text("Check the queue and the application's log, and restart it by hand if it hangs.")
NOTHING = Text("Nothing has to be done.")
NOW: Mapping[Phase, Text] = {
    Phase.ASKED: Text("Answer the question: by the button or link of the message in the chat."),
    Phase.OBSERVING: Text("The runbook only observes: restart by hand as before."),
}
"""The phases in which people have something to do, and what. In the others they wait."""

PARTS: tuple[facts.Part, ...] = (
    *(queue_facts.proofs, queue_facts.queues, facts.tried, facts.declined, queue_facts.head, facts.evidence),
)

LABELS: Mapping[str, Text] = {
    "to_all": Text("All incidents"),
    "todo": Text("What to do now"),
    "about": Text("What it is about"),
    "holders": Text("Who held messages"),
    "runs": Text("Job runs"),
    "evidence": Text("Evidence before the restart"),
    "timeline": Text("Timeline"),
    "open_link": Text("Open"),
    "zone": Text("Times are in {zone}."),
}


class Figure(Struct, frozen=True):
    """One queue, and who held its messages."""

    name: str
    curve: Curve | None
    holders: tuple[Phrase, ...]


class Moment(Struct, frozen=True):
    time: str
    kind: Phrase
    entry: Entry


class Run(Struct, frozen=True):
    """A run of a job, with its link if the runner has pages."""

    label: Phrase
    said: Phrase
    url: str


class IncidentPage(Struct, frozen=True):
    title: Phrase
    todo: tuple[Paragraph, ...]
    facts: tuple[Fact, ...]
    figures: tuple[Figure, ...]
    evidence: tuple[str, ...]
    runs: tuple[Run, ...]
    days: tuple[tuple[str, tuple[Moment, ...]], ...]
    links: tuple[tuple[Phrase, str], ...]


def compose(known: Known, rules: Rules, now: float) -> IncidentPage:
    """Compose the page of one incident, open or ended."""
    incident, story = known.incident, to_card_input(known, rules, now)
    title, todo = _say(known, story, rules, now)
    saved = summarize(known, rules).saved_minutes
    about: list[Fact] = [(Text("Began"), clock(rules, incident.first_alert_at))]
    if known.outcome is not None:
        about.append((Text("Ended"), clock(rules, known.outcome.at)))
        about += [(Text("Saved"), say_minutes(saved))] if saved is not None else []
    if by := incident.approval.approved_by:
        about.append((Text("Approved by"), named(tidy(by), tidy(incident.approval.approved_why, 200))))
    gathered = [fact for fact in facts.gathered(story, rules, *PARTS) if fact[0] != Text("Time")]
    evidence = incident.evidence.lines if incident.evidence else ()
    return IncidentPage(
        title,
        todo,
        (*about, *gathered),
        tuple(_figure(watched, incident) for watched in incident.queues[:QUEUES_SHOWN]),
        tuple(tidy(line, LINE) for line in evidence[-LINES:]),
        tuple(_runs(incident)),
        tuple(_days(known, rules)),
        tuple((label, url) for label, url in facts.links(story, rules) if label != LINK_DETAILS),
    )


def to_card_input(known: Known, rules: Rules, now: float) -> CardInput:
    """What the card that tells how it ended, or where it stands, would be made from."""
    incident, outcome = known.incident, known.outcome
    runbook = rules.runbooks.get(incident.runbook)
    if outcome is None:
        holds = incident.phase in (Phase.ASKED, Phase.WAITING, Phase.OBSERVING)
        reason = Reason.OBSERVE_ONLY if incident.phase is Phase.OBSERVING else incident.reason
        again = incident.phase is Phase.WAITING
        kind = CardKind.HELD if holds else CardKind.STARTED
        return CardInput(kind, now, runbook, known.target, incident, reason, incident.detail, again=again)
    kind = {Ending.RECOVERED: CardKind.RECOVERED, Ending.ESCALATED: CardKind.ESCALATED, Ending.HELD: CardKind.HELD}[
        outcome.ending
    ]
    if outcome.reason is Reason.DECLINED:
        kind = CardKind.DECLINED
    elif outcome.reason in ASKED and incident.approval.nonce and kind != CardKind.RECOVERED:
        kind = CardKind.NOT_APPROVED
    most = runbook.recovered.max_messages if runbook else 0
    moving = any((watched.after.depth or 0) > most for watched in incident.queues)
    detail = incident.detail if outcome.reason else ""
    return CardInput(kind, outcome.at, runbook, known.target, incident, outcome.reason, detail, moving=moving)


def _say(known: Known, story: CardInput, rules: Rules, now: float) -> tuple[Phrase, tuple[Paragraph, ...]]:
    """The title, and what to do now."""
    incident, outcome = known.incident, known.outcome
    if outcome is None and incident.phase not in (Phase.ASKED, Phase.WAITING, Phase.OBSERVING):
        title = named(facts.subject(story), PHASES[incident.phase].fill(attempt=incident.attempt))
        return title, (Paragraph(WORKING),)
    if outcome is None and incident.phase in NOW:
        said = [NOW[incident.phase], *card.why(replace(story, detail=""), story.reason, todo=False)]
        return named(facts.subject(story), PHASES[incident.phase]), tuple(map(Paragraph, said))
    write, _ = card.KINDS[story.kind]
    content = write(story, rules)
    said = [*([NOTHING] if content.urgency == "fine" else []), *(phrase for phrase in content.text if phrase)]
    said = said or [WORKING if outcome is None else LOOK]
    old = outcome is not None and outcome.ending is not Ending.RECOVERED and now - outcome.at > DAY_S
    return content.headline or ENDINGS[Ending.HELD], (*([OLD] if old else []), *map(Paragraph, said))


OLD = Paragraph(Text("This is what was to be done when it ended. Check first whether it still is."), "warn")


def _figure(watched: QueueState, incident: Incident) -> Figure:
    before = watched.before
    holders = before.holders if before is not None and before.holders else watched.holders
    at = before.at if before is not None and before.holders else watched.curve[-1][0] if watched.curve else watched.joined_at
    curve = plot(watched.curve, watched.held_curve, find_starts(incident))
    return Figure(tidy(watched.queue.name, QUEUE_NAME), curve, tuple(held(holder, at) for holder in holders))


def _runs(incident: Incident) -> Iterator[Run]:
    evidence = incident.evidence.execution if incident.evidence else None
    if evidence is not None:
        yield Run(Text("Evidence"), _run(evidence), safe_url(evidence.url))
    for execution in incident.executions:
        by = Text("started by {user}", user=tidy(execution.user, 60)) if execution.user and not execution.tag else ""
        yield Run(Text("Restart"), in_brackets(_run(execution), by), safe_url(execution.url))


def _run(execution: Execution) -> Phrase:
    started, ended = execution.runner_started_at, execution.runner_ended_at
    took = duration(ended - started) if started is not None and ended is not None else ""
    return join((Text("execution {id}", id=tidy(execution.id, 40)), worded(execution.status), took), COMMA)


def _days(known: Known, rules: Rules) -> Iterator[tuple[str, tuple[Moment, ...]]]:
    moments = [(clock(rules, entry.at), entry) for entry in tell(known.incident, known.outcome)]
    for day, group in groupby(moments, key=lambda moment: moment[0][:10]):
        yield day, tuple(Moment(at[11:19], KINDS[entry.kind], entry) for at, entry in group)
