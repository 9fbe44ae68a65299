"""The report: what the bug behind each runbook cost in a period, beside the period before, from the archive alone."""

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Iterator

from msgspec import Struct

from functions.domain.cards.content import Content, Fact, clock, render, tidy
from functions.domain.model.cards import Card, CardKind
from functions.domain.model.codes import Ending
from functions.domain.model.incidents import Archive
from functions.domain.model.runbooks import Rules
from functions.domain.texts.words import LINK_CAUSE, duration, safe_url
from functions.runtime.text import Phrase, Text, join, named

DAY_S = 86400.0
SHOWN = 8  # runbooks. Each has two of the 24 facts that every chat shows.
NAME = 60
DAY = "%Y-%m-%d"


class Case(Struct, frozen=True):
    """What the report keeps of an archived incident."""

    runbook: str
    target: str
    ended_at: float
    stuck: tuple[float, float]  # from the first alert until the queue was healthy, or people took over
    handed_over: bool
    restarts: frozenset[str]  # marks, since two incidents may know of the same restart by hand
    places: frozenset[str]  # where it hung; an empty text if that isn't known, and nothing if it did not hang


class PlaceCount(Struct, frozen=True):
    """How many incidents of a period hung at a place; when the first, of both periods, and the last one ended."""

    place: str  # empty: those of which none is known
    incidents: int
    first_at: float
    last_at: float


class Counts(Struct, frozen=True):
    incidents: int = 0
    restarts: int = 0  # by Unstick and by hand, as far as incidents know of them
    handed_over: int = 0  # incidents that ended with people
    stuck_s: float = 0.0  # of all targets; where incidents of one overlap, once
    places: tuple[PlaceCount, ...] = ()  # where incidents hung, the most frequent first
    hung: int = 0  # how many of the incidents hung: a place is known, or they were restarted or handed over


class RunbookReport(Struct, frozen=True):
    runbook: str
    root_cause: str
    now: Counts
    before: Counts


class Report(Struct, frozen=True):
    """The last `days` days and as many before. `read`: how many of the `archived` incidents of that time were read, the newest;
    `broken`: how many of these could not be decoded."""

    at: float
    days: int
    now: Counts  # of all runbooks
    runbooks: tuple[RunbookReport, ...]  # those with incidents, the longest stuck first
    archived: int = 0
    read: int = 0
    broken: int = 0


def to_case(record: Archive) -> Case:
    """Reduce an archived incident to what is counted."""
    incident, outcome = record.incident, record.outcome
    began_at = incident.first_alert_at
    ran = [run for run in incident.executions if run.runner_started_at is not None and not (run.refused or run.scheduled)]
    return Case(
        incident.runbook,
        record.target.key if record.target else incident.id,
        outcome.at,
        (began_at, max(began_at, outcome.at)),
        outcome.ending is Ending.ESCALATED,
        frozenset(run.tag or run.id for run in ran),  # the runner's own retries share the tag
        frozenset(place.spot for place in incident.places)
        or frozenset([""] if ran or outcome.ending is Ending.ESCALATED else []),
    )


def count(cases: Iterable[Case], rules: Rules, at: float, days: int) -> Report:
    """Count the cases of both periods. Runbooks that were removed from the configuration count too."""
    now, before = defaultdict[str, list[Case]](list), defaultdict[str, list[Case]](list)
    for case in cases:
        if case.ended_at >= at - 2 * days * DAY_S:
            (now if case.ended_at >= at - days * DAY_S else before)[case.runbook].append(case)
    causes = {name: runbook.root_cause for name, runbook in rules.runbooks.items()}
    runbooks = [
        RunbookReport(name, causes.get(name, ""), _count(now[name], before[name]), _count(before[name]))
        for name in {**now, **before}
    ]
    runbooks.sort(key=lambda book: (-book.now.stuck_s, -book.before.stuck_s, book.runbook))
    return Report(at, days, _count([case for cases_of in now.values() for case in cases_of]), tuple(runbooks))


def _count(cases: Collection[Case], earlier: Collection[Case] = ()) -> Counts:
    return Counts(
        len(cases),
        len(frozenset().union(*(case.restarts for case in cases))),
        sum(case.handed_over for case in cases),
        _add_up(cases),
        tuple(_count_places(cases, earlier)),
        sum(bool(case.places) for case in cases),
    )


def _count_places(cases: Collection[Case], earlier: Collection[Case]) -> Iterator[PlaceCount]:
    counts = Counter(place for case in cases for place in case.places)
    for place, count in sorted(counts.items(), key=lambda item: (not item[0], -item[1], item[0])):
        ends = [case.ended_at for case in (*earlier, *cases) if place in case.places]
        yield PlaceCount(place, count, min(ends), max(ends))


def _add_up(cases: Collection[Case]) -> float:
    """The seconds in which targets were stuck. An alert that fires on is held again and again, from the same beginning."""
    stuck_s, until = 0.0, dict[str, float]()
    for case in sorted(cases, key=lambda case: case.stuck):
        began_at, ended_at = case.stuck
        stuck_s += max(0.0, ended_at - max(began_at, until.get(case.target, began_at)))
        until[case.target] = max(ended_at, until.get(case.target, ended_at))
    return stuck_s


def compose(cost: Report, rules: Rules) -> Card:
    """Compose the card. Its urgency never makes anybody get up."""
    shown = cost.runbooks[:SHOWN]
    facts = [fact for book in shown for fact in _list_facts(book, cost.days, rules)]
    if (more := len(cost.runbooks) - SHOWN) > 0:
        facts.append(("", Text("and {count} more runbook", "and {count} more runbooks", count=more)))
    active = [book for book in shown if book.now.incidents and book.runbook in rules.runbooks]
    nobody = Text("{runbook}: nobody owns the bug yet. Open a ticket and put its link into the runbook as `root_cause`.")
    text = [nobody.fill(runbook=tidy(book.runbook, NAME)) for book in active if not book.root_cause]
    if (count := cost.read - cost.broken) < cost.archived:
        said = Text("Only {count} of {of} archived incidents were read, so the figures are too low.")
        text.insert(0, said.fill(count=count, of=cost.archived))
    links = ((named(LINK_CAUSE, tidy(book.runbook, 40)), safe_url(book.root_cause)) for book in shown)
    stuck, urgency = Text("Stuck for {stuck} in {span}, {restarts}"), "plan" if cost.now.incidents else "fine"
    headline = stuck.fill(stuck=duration(cost.now.stuck_s), span=_say_days(cost.days), restarts=_say_restarts(cost.now))
    content = Content(urgency, headline, text, facts, [(label, url) for label, url in links if url])
    return render(rules, CardKind.REPORT, content, cost.at)


def _say_days(days: int) -> Text:
    return Text("{count} day", "{count} days", count=days)


def _say_restarts(counts: Counts) -> Text:
    return Text("{count} restart", "{count} restarts", count=counts.restarts)


def _list_facts(book: RunbookReport, days: int, rules: Rules) -> list[Fact]:
    """The runbook's figures of both periods, which stand side by side where a chat has two columns."""
    name, span = tidy(book.runbook, NAME), _say_days(days)
    before = Text("{runbook}, the {span} before", runbook=name, span=span)
    now = Text("{runbook}, {span}", runbook=name, span=span)
    return [(now, _say_counts(book.now, rules)), (before, _say_counts(book.before, rules))]


def _say_counts(counts: Counts, rules: Rules) -> Phrase:
    return join(
        (
            Text("stuck for {stuck}", stuck=duration(counts.stuck_s)) if counts.incidents else "",
            Text("{count} incident", "{count} incidents", count=counts.incidents),
            _say_restarts(counts),
            Text("{count} hand-over to people", "{count} hand-overs to people", count=counts.handed_over),
            *(_say_place(number, counts, rules) for number in range(len(counts.places))),
        )
    )


def _say_place(number: int, counts: Counts, rules: Rules) -> Phrase:
    counted = counts.places[number]
    if not counted.place:
        return Text("no place is known of {count}", count=counted.incidents)
    place = Text("{count} at {place}") if number else Text("{count} of {of} hung at {place} (first on {first}, last on {last})")
    first, last = (clock(rules, at, DAY) for at in (counted.first_at, counted.last_at))
    return place.fill(count=counted.incidents, of=counts.hung, place=tidy(counted.place), first=first, last=last)
