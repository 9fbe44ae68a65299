"""Reads incidents for people: one by its id, the open ones, the newest of the archive. Composes the report from the archive."""

import time
from calendar import timegm
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from operator import attrgetter
from typing import Any, Generic, TypeVar

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from functions.application.announce import post_to_all
from functions.application.documents import PAUSE_KEY, STORM_KEY, decode, write_day
from functions.application.ports import Ports, Stored
from functions.domain.cards import report as costs
from functions.domain.cards.incident import Record, Row, to_row
from functions.domain.cards.report import DAY_S, Report, to_case
from functions.domain.decisions.guards import ESCALATION_HOLDS_S
from functions.domain.model.cards import Card
from functions.domain.model.codes import Ending
from functions.domain.model.incidents import Archive, Document
from functions.runtime.errors import Denied
from functions.runtime.parallel import Calls, unwrap

LIST_S, LOAD_S = 30.0, 30.0
NEWEST_S = 365 * DAY_S  # how far back the newest records are looked for
EARLIER_READ = 200  # records in which earlier incidents of a target are looked for
OPEN_READ = 200  # open documents that are read at most
ARCHIVE_S = 120.0
AT_ONCE = 16  # calls to the store, where many documents or records are read
MOST = 10_000  # records that the report reads: 160 a day, over a month and the month before

Kept = TypeVar("Kept")


class Documents(Struct, frozen=True):
    readable: tuple[Document, ...]
    unreadable: tuple[tuple[str, Denied], ...]  # documents of a newer release, or broken ones: (key, why and what to do)


class Records(Struct, Generic[Kept], frozen=True):
    """What was kept of the archive's newest records; how many were read, of so many; and why some could not be decoded."""

    kept: tuple[Kept, ...]
    read: int
    archived: int
    broken: tuple[Denied, ...]


def name_of(document: Document) -> str:
    """The target's name, or the document's key if it has none."""
    return document.target.name if document.target else document.key


def document_keys(ports: Ports, *, only_open: bool = False, timeout_s: float = LIST_S) -> list[str]:
    """The keys of the documents of targets, alerts and bundles. `only_open`: of those that have something left to do."""
    listed = ports.store.list_documents(timeout_s=timeout_s)
    keys = [entry.key for entry in listed if not only_open or entry.due is not None]
    return [key for key in keys if key not in (PAUSE_KEY, STORM_KEY) and not key.startswith("check-")]


def load_documents(
    ports: Ports, keys: list[str], advance: Callable[[], object] = bool, *, timeout_s: float = LOAD_S
) -> Documents:
    """Load documents; one that can't be read fails alone. Raises Unavailable or Denied if the store can't be read at all."""
    readable: list[Document] = []
    unreadable: list[tuple[str, Denied]] = []
    calls = [partial(ports.store.load, key, timeout_s=timeout_s) for key in keys]
    results = _run_in_batches(ports, calls, timeout_s)
    for key, result in zip(keys, results, strict=True):
        stored: Stored | None = unwrap(result)
        advance()
        if stored is None:
            continue
        try:
            readable.append(decode(Document, stored.body, key))
        except Denied as denied:
            unreadable.append((key, denied))
    return Documents(tuple(readable), tuple(unreadable))


def _run_in_batches(ports: Ports, calls: Calls, timeout_s: float) -> Iterator[Any]:
    """Yield the results in order, as `run_parallel` returns them. Each batch of AT_ONCE calls has `timeout_s`."""
    for start in range(0, len(calls), AT_ONCE):
        yield from ports.run_parallel(calls[start : start + AT_ONCE], timeout_s)


def read_open(ports: Ports, timeout_s: float) -> tuple[list[Record], int]:
    """The incidents that are open, or ended and not yet archived; and how many open documents can't be read."""
    keys = document_keys(ports, only_open=True, timeout_s=timeout_s)[:OPEN_READ]
    documents = load_documents(ports, keys, timeout_s=timeout_s)
    return [record for document in documents.readable for record in _incidents_of(document)], len(documents.unreadable)


def _incidents_of(document: Document) -> Iterator[Record]:
    if document.incident is not None:
        yield Record(document.target, document.incident)
    for waiting in document.to_archive:
        yield _escalated(to_record(waiting), document)


def to_record(archived: Archive) -> Record:
    """The archived incident, as people ask for it."""
    return Record(archived.target, archived.incident, archived.outcome)


def _escalated(record: Record, document: Document) -> Record:
    escalation = document.escalation
    return replace(record, escalation=escalation) if escalation and escalation.incident == record.incident.id else record


def _read_escalation(ports: Ports, record: Record, timeout_s: float) -> Record:
    """The ended incident, with its escalation if people still have to handle it."""
    outcome, target = record.outcome, record.target
    if outcome is None or target is None or outcome.ending is not Ending.ESCALATED:
        return record
    if ports.now() - outcome.at > ESCALATION_HOLDS_S:
        return record
    stored = ports.store.load(target.key, timeout_s=timeout_s)
    try:
        return _escalated(record, decode(Document, stored.body, target.key)) if stored else record
    except Denied:  # of a newer release, or broken: the list names it
        return record


def find(ports: Ports, incident_id: str, timeout_s: float) -> Record | None:
    """The archived or open incident of this id. Raises Unavailable or Denied if the store can't be read."""
    day_at = _day_of(incident_id)
    paths = ports.store.list_archive(since=write_day(day_at), timeout_s=timeout_s) if day_at is not None else []
    for path in paths:
        if path.endswith(f"/{incident_id}.json") and (body := ports.store.read_archived(path, timeout_s=timeout_s)) is not None:
            return _add_earlier(ports, _read_escalation(ports, to_record(decode(Archive, body, path)), timeout_s), timeout_s)
    opened, _ = read_open(ports, timeout_s)
    found = next((record for record in opened if record.incident.id == incident_id), None)
    return found and _add_earlier(ports, found, timeout_s)


def _add_earlier(ports: Ports, record: Record, timeout_s: float) -> Record:
    """The incident with the outcomes of those of its target before it, as far as the newest records of a year have them."""
    if not record.incident.places or record.target is None:
        return record
    own, began_at = record.target.key, record.incident.began_at
    records = read_records(ports, ports.now() - NEWEST_S, EARLIER_READ, attrgetter("target", "outcome"), timeout_s)
    outcomes = (outcome for target, outcome in records.kept if target and target.key == own and outcome.at < began_at)
    return replace(record, outcomes=tuple(outcomes))


def _day_of(incident_id: str) -> float | None:
    try:
        return timegm(time.strptime(incident_id[:16], "%Y%m%d-%H%M%S-")) // DAY_S * DAY_S
    except ValueError:
        return None


def read_bodies(ports: Ports, paths: list[str], timeout_s: float) -> Iterator[tuple[str, bytes | None]]:
    """Read these records in order, few at a time, each batch in this time. Raises Unavailable or Denied."""
    calls = [partial(ports.store.read_archived, path, timeout_s=timeout_s) for path in paths]
    results = _run_in_batches(ports, calls, timeout_s)
    return zip(paths, map(unwrap, results), strict=True)


def read_newest(ports: Ports, most: int, timeout_s: float) -> Records[Row]:
    """Read the newest records of a year. Raises Unavailable or Denied if the store can't be read."""
    return read_records(ports, ports.now() - NEWEST_S, most, partial(_to_row, ports, timeout_s), timeout_s)


def _to_row(ports: Ports, timeout_s: float, archived: Archive) -> Row:
    return to_row(_read_escalation(ports, to_record(archived), timeout_s), ports.rules, ports.now())


# --- the report


class Reported(Struct, frozen=True):
    """The figures, the card that shows them, and the problem of each channel; empty if the card was posted."""

    cost: Report
    card: Card
    problems: dict[str, str]

    def as_json(self) -> dict[str, Any]:
        """What `report` answers and prints."""
        told, failed = ([name for name, problem in self.problems.items() if bool(problem) is bad] for bad in (False, True))
        return {"report": msgspec.to_builtins(self.cost), "told": told, "failed": failed}


def post_report(ports: Ports, channels: Iterable[str], days: int) -> Reported:
    """Compose and post. A channel that is down is logged and named. Raises if the archive can't be read."""
    cost, card = compose_report(ports, days)
    return Reported(cost, card, post_to_all(ports, channels, card))


def compose_report(ports: Ports, days: int) -> tuple[Report, Card]:
    """The figures of the last `days` days and of as many before, and their card. Posts and changes nothing."""
    now = ports.now()
    records = read_records(ports, now - 2 * days * DAY_S, MOST, to_case, ARCHIVE_S)
    for denied in records.broken:
        ports.log("WARNING", f"archived incident left out of the report: {denied}")
    cost = costs.count(records.kept, ports.rules, now, days)
    cost = replace(cost, archived=records.archived, read=records.read, broken=len(records.broken))
    return cost, costs.compose(cost, ports.rules)


def read_records(ports: Ports, since: float, most: int, keep: Callable[[Archive], Kept], timeout_s: float) -> Records[Kept]:
    """Read the newest records of the days from `since` on, newest first: at most `most`, until the time is over. However many
    there are, it holds few at a time. Raises Unavailable or Denied if the store can't be read."""
    ends = ports.monotonic() + timeout_s
    paths = ports.store.list_archive(since=write_day(since), timeout_s=timeout_s)[::-1]
    kept: list[Kept] = []
    broken: list[Denied] = []
    read = 0
    for path, body in read_bodies(ports, paths[:most], timeout_s):
        read += 1
        try:
            if body is not None:  # deleted meanwhile
                kept.append(keep(decode(Archive, body, path)))
        except Denied as denied:
            broken.append(denied)
        if ports.monotonic() > ends:
            break
    return Records(tuple(kept), read, len(paths), tuple(broken))
