"""The list of incidents as data, the open ones first."""

from collections.abc import Iterable, Mapping

from msgspec import Struct

from functions.domain.cards import queue_facts
from functions.domain.cards.card_input import CardInput
from functions.domain.cards.rendering import Fact, clock, tidy
from functions.domain.incidents.timeline import ENDINGS, PHASES, Known
from functions.domain.model.codes import Ending
from functions.domain.model.incidents import Incident, Outcome
from functions.domain.model.messages import CardKind
from functions.domain.model.runbooks import Rules
from functions.domain.texts.reasons import REASONS
from functions.runtime.text import COMMA, Phrase, Text, in_brackets, join

OPEN = "open"
SHOWN = 100  # how many ended incidents the list shows
STATES: Mapping[str, Text] = {OPEN: Text("open"), **{ending.value: words for ending, words in ENDINGS.items()}}

LABELS: Mapping[str, Text] = {
    "title": Text("Incidents"),
    "runbook": Text("Runbook"),
    "outcome": Text("Outcome"),
    "all": Text("All"),
    "show": Text("Show"),
    "open": Text("Open incidents"),
    "none_open": Text("No open incident."),
    "ended": Text("Ended, the last 100"),
    "none_ended": Text("No ended incident."),
    "older": Text("Older ones: `unstick status --days` lists them, and `unstick incident ID` shows each."),
    "weeks": Text("Week by week"),
    "about_weeks": Text("From the archive: restarts of incidents. A dashed line is where a month without an incident began."),
    "restarts": Text("Restarts"),
    "minutes": Text("Minutes saved"),
    "by_week": Text("Table"),
    "week": Text("Week from"),
    "none_weeks": Text("No restart is known."),
    "zone": Text("Times are in {zone}."),
}


class RestartAt(Struct, frozen=True):
    at: float
    by_hand: bool


class Summary(Struct, frozen=True):
    """What the list and its picture need of an incident. `state`: `open`, or how it ended; `outcome`: the same for people."""

    id: str
    at: float  # when its first alert began
    ended_at: float | None
    target: str
    runbook: str
    state: str
    outcome: Phrase
    facts: tuple[Fact, ...]
    saved_minutes: float | None  # None: the runbook doesn't say how long a restart by hand takes
    restarts: Mapping[str, RestartAt]


class Filter(Struct, frozen=True):
    """Which incidents to show. An empty field filters nothing."""

    runbook: str = ""
    state: str = ""

    def takes(self, row: Summary) -> bool:
        return self.runbook in ("", row.runbook) and self.state in ("", row.state)


class Overview(Struct, frozen=True):
    """`runbooks`: the choices of the filter. `notes`: what could not be read, and why. `has_older`: the archive has more than
    is shown."""

    chosen: Filter
    runbooks: tuple[str, ...]
    open: tuple[Summary, ...]
    ended: tuple[Summary, ...]
    has_older: bool
    notes: tuple[Phrase, ...]


def summarize(known: Known, rules: Rules) -> Summary:
    """Reduce an incident to the facts of its row."""
    incident, outcome = known.incident, known.outcome
    runbook = rules.runbooks.get(incident.runbook)
    minutes = runbook.manual_minutes if runbook else 0.0
    saved = (minutes if is_own_recovery(incident, outcome) else 0.0) if minutes else None
    restarts: dict[str, RestartAt] = {}
    note_restarts(restarts, incident)
    proofs = queue_facts.proofs(CardInput(CardKind.HELD, 0.0, reason=outcome.reason if outcome else None, incident=incident))
    facts = (
        *proofs[:1],
        (Text("Done"), _done(restarts)),
        *([(Text("Saved"), say_minutes(saved))] if saved is not None and outcome else []),
    )
    return Summary(
        incident.id,
        incident.first_alert_at,
        outcome.at if outcome else None,
        tidy(known.target.name if known.target else "") or tidy(incident.runbook) or "-",
        tidy(incident.runbook),
        outcome.ending.value if outcome else OPEN,
        _ended(known),
        facts,
        saved,
        restarts,
    )


def note_restarts(restarts: dict[str, RestartAt], incident: Incident) -> None:
    """Add the restarts that the incident knows of, each once. The runner's own retries share the tag."""
    for execution in incident.executions:
        if execution.refused or execution.scheduled or execution.runner_started_at is None:
            continue
        mark, at = execution.tag or f"execution {execution.id}", execution.runner_started_at - incident.runner_ahead_s
        if mark not in restarts or at < restarts[mark].at:
            restarts[mark] = RestartAt(at, by_hand=not execution.tag)


def is_own_recovery(incident: Incident, outcome: Outcome | None) -> bool:
    """Whether Unstick's own restart healed it, which saved somebody the work."""
    recovered = outcome is not None and outcome.ending is Ending.RECOVERED
    return recovered and incident.execution is not None and incident.execution.tag.startswith(f"{incident.id}.")


def say_minutes(minutes: float) -> Text:
    """Whole minutes, in the unit of `manual_minutes`."""
    return Text("{minutes} min", minutes=round(minutes))


def _done(restarts: Mapping[str, RestartAt]) -> Phrase:
    """What was done, in words: restarts by Unstick and by hand."""
    by_hand = sum(restart.by_hand for restart in restarts.values())
    by_unstick = len(restarts) - by_hand
    parts = (
        Text("{count} restart by Unstick", "{count} restarts by Unstick", count=by_unstick) if by_unstick else "",
        Text("{count} restart by hand", "{count} restarts by hand", count=by_hand) if by_hand else "",
    )
    return join(parts, COMMA) or Text("nothing")


def _ended(known: Known) -> Phrase:
    outcome, incident = known.outcome, known.incident
    if outcome is None:
        why = REASONS[incident.reason].short if incident.reason else ""
        return in_brackets(PHASES[incident.phase].fill(attempt=incident.attempt), why)
    why = REASONS[outcome.reason].short if outcome.reason else ""
    by = outcome.by or (incident.approval.approved_by if outcome.ending is Ending.RECOVERED else "")
    return join((in_brackets(ENDINGS[outcome.ending], why), Text("by {name}", name=tidy(by)) if by else ""), COMMA)


def compose(
    rules: Rules, opened: Iterable[Known], ended: tuple[Summary, ...], chosen: Filter, *, is_all: bool, notes: tuple[Phrase, ...]
) -> Overview:
    """The list: what the filter lets through of the open incidents, then of the newest ended ones. `is_all`: the archive has
    no older ones."""
    rows = sorted((summarize(known, rules) for known in opened), key=lambda row: -row.at)
    names = {name for name in (*rules.runbooks, *(row.runbook for row in (*rows, *ended))) if name}
    seen = {row.id for row in rows}
    taken = tuple(row for row in ended if row.id not in seen and chosen.takes(row))
    return Overview(
        chosen,
        tuple(sorted(names)),
        tuple(row for row in rows if chosen.takes(row)),
        taken[:SHOWN],
        not is_all or len(taken) > SHOWN,
        notes,
    )


def minute(rules: Rules, at: float) -> str:
    """A date and time for people, to the minute."""
    return clock(rules, at, "%Y-%m-%d %H:%M")
