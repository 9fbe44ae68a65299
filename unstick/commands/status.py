"""status: shows what is going on, what happened lately, and whether anything is paused."""

from collections.abc import Iterable, Sequence
from typing import Any

import click
import msgspec
from msgspec import Struct

from functions.application.history import LOAD_S, document_keys, load_documents, name_of, read_records
from functions.application.observe import or_unknown, read_pause
from functions.bootstrap import Adapters
from functions.domain.decisions.guards import ESCALATION_HOLDS_S
from functions.domain.health.stalls import say_stalls
from functions.domain.model.alerts import NO_RUNBOOK_KEY, TurnedAway
from functions.domain.model.codes import Reason
from functions.domain.model.incidents import Archive, Document
from functions.domain.model.observations import Pause, Unknown
from functions.domain.model.runbooks import Rules
from functions.runtime.errors import Denied
from unstick import output

OVERDUE_S = 120.0  # seconds after which the sweep should have advanced a document whose wake-up was lost
ARCHIVE_S = 60.0
READ = 500  # the newest records by their paths, which are in the order of days and then of when they began
DAY_S = 86400.0
WEEK_S = 7 * DAY_S


class State(Struct, frozen=True):
    at: float
    pause: Pause | Unknown | None
    open: tuple[Document, ...]
    escalated: tuple[Document, ...]
    unreadable: tuple[tuple[str, Denied], ...]
    recent: tuple[Archive, ...]
    archive_unreadable: tuple[str, ...]
    matches: dict[str, float | None]
    stalls: tuple[str, ...]
    unmatched: tuple[str, ...]  # the newest first
    turned_away: TurnedAway

    def overdue(self, document: Document) -> bool:
        return document.due is not None and self.at - document.due > OVERDUE_S

    @property
    def wrong(self) -> bool:
        wrong = self.pause or self.escalated or self.unreadable or self.archive_unreadable
        return bool(wrong or any(map(self.overdue, self.open)))


def last_matches(runbooks: Iterable[str], documents: Sequence[Document]) -> dict[str, float | None]:
    """When each runbook last matched an alert, by what the documents note."""
    noted = [document.matched for document in documents]
    return {name: max((matched[name] for matched in noted if name in matched), default=None) for name in runbooks}


@click.command()
@output.options
@click.option("--days", type=click.IntRange(1, 400), default=7, show_default=True, help="How far back to show ended incidents.")
@click.option("--last", type=click.IntRange(0, 1000), default=20, show_default=True, help="How many of them to show.")
def status(*, config_path: str, as_json: bool, days: int, last: int) -> None:
    """Show open incidents, recent outcomes and the kill switch.

    Times are in the configuration's time zone. Documents of a newer release are named instead of shown. Exit code 1: it
    is paused, a target is escalated, a document is overdue by two minutes, or something can't be read.
    """
    ports = output.load_with_store(config_path)
    state = _read(ports, days, last)
    if as_json:
        output.print_json(_as_json(state) | {"token_expires": ports.rules.token_expires_at})
    else:
        _print(state, ports.rules)
    if state.wrong:
        raise SystemExit(output.WRONG)


def _read(ports: Adapters, days: int, last: int) -> State:
    now = ports.now()
    since = now - days * DAY_S
    with output.logs_to_stderr():
        pause = or_unknown(ports.run_parallel([lambda: read_pause(ports, LOAD_S)], LOAD_S)[0])
        keys = document_keys(ports)
        with output.progress("reading documents", len(keys)) as advance:
            documents = load_documents(ports, keys, advance)
        records = read_records(ports, since, max(last, READ), lambda record: record, ARCHIVE_S)
    archive_unreadable = tuple(f"{denied.detail}. {denied.remedy}" for denied in records.broken)
    ended = (record for record in records.kept if record.outcome.at >= since)
    recent = sorted(ended, key=lambda record: -record.outcome.at)[:last]
    opened = sorted((document for document in documents.readable if document.open), key=lambda document: document.due or 0.0)
    called = [document for document in documents.readable if document.incident is None]
    escalated = tuple(each for each in called if each.escalation and now - each.escalation.at < ESCALATION_HOLDS_S)
    matches = last_matches(ports.rules.runbooks, documents.readable)
    away = next((document.turned_away for document in documents.readable if document.key == NO_RUNBOOK_KEY), TurnedAway())
    unreadable = documents.unreadable, tuple(recent), archive_unreadable
    stalls = _list_stalls(ports.rules, documents.readable)
    return State(now, pause, tuple(opened), escalated, *unreadable, matches, stalls, away.since(since), away)


def _list_stalls(rules: Rules, documents: Sequence[Document]) -> tuple[str, ...]:
    """How long each queue stood still and went on, and when it is called stuck."""
    books = [(document, rules.runbooks.get(name)) for document in documents for name in document.matched]
    said = [(key, say_stalls(book.symptom, known)) for document, book in books if book for key, known in document.stalls.items()]
    return tuple(dict.fromkeys(f"{key.split(':', 2)[2]}: {stalls}" for key, stalls in said if stalls))


def _phase(document: Document) -> str:
    if document.incident:
        return document.incident.phase.value
    if document.to_tell or document.to_archive:
        return "untold" if document.to_tell else "unarchived"
    return "escalated"


def _print(state: State, rules: Rules) -> None:
    if isinstance(state.pause, Pause):
        since = f", {output.relative(state.pause.at - state.at)}" if state.pause.at else ""
        ends = state.pause.until
        until = f" until {output.local_time(ends, rules)} ({output.relative(ends - state.at)})" if ends is not None else ""
        output.print_text(f"{state.pause.why}{since}", output.mark(f"PAUSED{until}: ", "wrong"))
        output.print_text("to allow restarts again: unstick resume", "  → ")
    elif isinstance(state.pause, Unknown):
        output.print_text(f"so nothing is restarted: {state.pause.why}", output.mark("KILL SWITCH UNREADABLE, ", "wrong"))
        output.print_text(state.pause.remedy or "make sure that the store can be read", "  → ")
    else:
        click.echo(output.mark("not paused", "ok"))
    output.print_text(f"times are in {rules.time_zone}")
    if (expires_at := rules.token_expires_at) is not None:
        when = f"{output.local_time(expires_at, rules)}, {output.relative(expires_at - state.at)}"
        kind = "warn" if expires_at - state.at <= WEEK_S else "ok"
        text = f"{rules.runner}'s token {'expires' if expires_at > state.at else 'expired'} {when}"
        output.print_text("" if kind == "ok" else "(unstick check says how to replace it)", output.mark(text, kind) + " ")
    _print_open(state)
    if state.escalated:
        click.echo()
        rows = [
            (name_of(document), document.key, output.relative(called.at - state.at), called.taken_by or "nobody")
            for document in state.escalated
            if (called := document.escalation)
        ]
        output.print_table(("escalated, held until healthy or resumed", "document", "when", "taken by"), rows)
        output.print_text("to take one: unstick ack NAME; when it is fixed: unstick resume --target NAME", "  → ")
    wrong = [(f"document {key}: {denied.detail}", denied.remedy) for key, denied in state.unreadable]
    for problem, remedy in wrong + [(f"archive: {problem}", "") for problem in state.archive_unreadable]:
        click.echo()
        output.print_text(problem, output.mark("WRONG ", "wrong"))
        if remedy:
            output.print_text(remedy, "  → ")
    _print_matches(state)
    _print_recent(state, rules)


def _print_matches(state: State) -> None:
    """When each runbook last matched, and the newest alert that none did."""
    click.echo()
    rows = [(name, "never" if at is None else output.relative(at - state.at)) for name, at in state.matches.items()]
    output.print_table(("runbook", "last matched an alert"), rows)
    for line in state.stalls:
        output.print_text(line, "  ")
    if state.unmatched:
        newest, more = state.unmatched[0], len(state.unmatched) - 1
        said = f"{newest} matched no runbook, {output.relative(state.turned_away.alerts[newest] - state.at)}"
        output.print_text(f"{said}; nor did {more} more" if more else said, output.mark("WRONG ", "warn"))
        output.print_text(state.turned_away.detail, "  → ")


def _print_open(state: State) -> None:
    click.echo("\n" + (click.style("open incidents", bold=True) if state.open else "no open incidents"))
    for document in state.open:
        incident = document.incident
        parts = [_phase(document)]
        if document.due is not None:
            parts.append(f"due {output.relative(document.due - state.at)}" + " OVERDUE" * state.overdue(document))
        if incident:
            parts += [incident.reason.value] if incident.reason else []
            parts += [f"restarts: {incident.restarts}", f"runbook {incident.runbook}", f"incident {incident.id}"]
        else:
            parts.append(f"document {document.key}")
        parts += [f"messages to send: {len(document.to_tell)}"] if document.to_tell else []
        output.print_text(name_of(document), "  ")
        output.print_text(", ".join(parts), "    ")
    if any(map(state.overdue, state.open)):
        output.print_text("the scheduler does not deliver, or `verify` fails: see its log, and `check`", "  → ")


def _print_recent(state: State, rules: Rules) -> None:
    click.echo("\n" + (click.style("ended incidents", bold=True) if state.recent else "no incident ended lately"))
    for record in state.recent:
        outcome, target = record.outcome, record.target
        reason = f" ({outcome.reason.value})" if outcome.reason else ""
        would = ", would have been restarted" if outcome.reason is Reason.OBSERVE_ONLY else ""
        text = f"{target.name if target else '-'}: {outcome.ending.value}{reason}, restarts: {outcome.restarts}{would}"
        output.print_text(f"{text}, incident {record.incident.id}", f"  {output.local_time(outcome.at, rules)}  ")
    if state.recent:
        output.print_text("everything about one: unstick incident ID", "  → ")


def _as_json(state: State) -> dict[str, Any]:
    return {
        "at": state.at,
        "paused": msgspec.to_builtins(state.pause) if state.pause else None,
        "open": [_open_as_json(document, overdue=state.overdue(document)) for document in state.open],
        "escalated": [
            {
                "document": document.key,
                "target": name_of(document),
                "at": called.at,
                "taken_by": called.taken_by or None,
                "taken_at": called.taken_at,
                "told_again": called.asked.reminded,
            }
            for document in state.escalated
            if (called := document.escalation)
        ],
        "unreadable": [{"document": key, "detail": why.detail, "remedy": why.remedy} for key, why in state.unreadable],
        "archive_unreadable": state.archive_unreadable,
        "last_matched": state.matches,
        "stalls": state.stalls,
        "unmatched": [{"alert": name, "at": state.turned_away.alerts[name]} for name in state.unmatched],
        "recent": [
            {
                "incident": record.incident.id,
                "target": record.target.name if record.target else None,
                "runbook": record.incident.runbook,
                "outcome": record.outcome.ending,
                "reason": record.outcome.reason,
                "at": record.outcome.at,
                "restarts": record.outcome.restarts,
            }
            for record in state.recent
        ],
    }


def _open_as_json(document: Document, *, overdue: bool) -> dict[str, Any]:
    incident = document.incident
    return {
        "document": document.key,
        "target": document.target.name if document.target else None,
        "phase": _phase(document),
        "due": document.due,
        "overdue": overdue,
        "to_tell": len(document.to_tell),
        "to_archive": len(document.to_archive),
        "incident": incident.id if incident else None,
        "runbook": incident.runbook if incident else None,
        "restarts": incident.restarts if incident else 0,
        "reason": incident.reason if incident else None,
    }
