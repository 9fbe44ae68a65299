"""Reading incidents for people: each is found, whatever it is in, and the archive's size costs nothing."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from functions.adapters.stores.local import LocalStore
from functions.application.documents import archive_path, encode
from functions.application.history import find, read_newest, read_open
from functions.domain.model.codes import Ending
from functions.domain.model.incidents import Archive, Document, Escalation, Outcome
from functions.runtime.errors import Unavailable
from functions.runtime.parallel import run_parallel
from tests.support.worlds.example_stories import INCIDENT, NOW, TARGET, rules

DAY_S = 86400.0
READ_S = 20.0


class Counting:
    """A local store that counts the records that were read, and may not give some in time."""

    def __init__(self, path: Path) -> None:
        self.store = LocalStore(str(path))
        self.read = 0
        self.late: set[str] = set()

    def __getattr__(self, name: str) -> Any:
        return getattr(self.store, name)

    def read_archived(self, path: str, *, timeout_s: float) -> bytes | None:
        self.read += 1
        if path in self.late:
            raise Unavailable("store", "no answer")
        return self.store.read_archived(path, timeout_s=timeout_s)


class World:
    """The ports that reading needs. `now`: on our clock."""

    def __init__(self, folder: Path) -> None:
        self.store = Counting(folder / "unstick.db")
        self.rules = rules()

    def now(self) -> float:
        return NOW

    def monotonic(self) -> float:
        return time.monotonic()

    def run_parallel(self, calls: Any, timeout_s: float) -> list[Any]:
        return run_parallel(calls, timeout_s=timeout_s)

    def archived(self, name: str, days_ago: float = 0.0) -> str:
        outcome = Outcome(name, Ending.RECOVERED, None, NOW - days_ago * DAY_S, ())
        record = Archive(TARGET, replace(INCIDENT, id=name), outcome)
        self.store.archive(archive_path(record), encode(record), timeout_s=5)
        return archive_path(record)

    def saved(self, document: Document) -> None:
        self.store.save(document.key, encode(document), generation=None, due=document.due, timeout_s=5)


@pytest.fixture
def world(tmp_path: Path) -> Iterator[Any]:
    return World(tmp_path)


def test_an_archived_one_is_found_by_its_day_and_one_that_took_longer_by_its_name(world: Any):
    """Of a long archive only names are listed: one record is read, whichever it is."""
    day = time.strftime("%Y%m%d", time.gmtime(NOW - 20 * DAY_S))
    for n in range(50):
        world.archived(f"{day}-000000-other{n}", days_ago=n % 20)
    for name, days_ago in ((f"{day}-120000-soon", 20.0), (f"{day}-120000-late", 3.0)):
        world.archived(name, days_ago)
        world.store.read = 0
        found = find(world, name, READ_S)
        assert found.record is not None
        assert (found.record.incident.id, found.record.outcome.incident) == (name, name)
        assert world.store.read <= 5


def test_an_open_one_and_one_that_waits_for_its_record_are_found(world: Any):
    """And nothing else is; what can't be read is counted."""
    waiting = Archive(TARGET, replace(INCIDENT, id="waits"), Outcome("waits", Ending.HELD, None, NOW, ()))
    world.saved(Document("t-1", TARGET, replace(INCIDENT, id="open"), to_archive=(waiting,), due=NOW))
    world.saved(Document("t-2", TARGET, replace(INCIDENT, id="closed")))
    world.store.save("t-3", b'{"version": 99}', generation=None, due=NOW, timeout_s=5)
    opened, unreadable = read_open(world, READ_S)
    assert ([one.incident.id for one in opened], unreadable) == (["open", "waits"], 1)
    assert find(world, "open", READ_S).record.outcome is None
    assert find(world, "waits", READ_S).record.outcome is not None
    missing = find(world, "nowhere", READ_S)
    assert (missing.record, missing.unreadable) == (None, 1)


def test_of_a_long_archive_only_the_newest_records_are_read(world: Any):
    """Newest first, however old they are; without older ones it says so."""
    for n in range(60):
        world.archived(f"i-{n:02}", days_ago=30.0 * n)
    newest = read_newest(world, 10, READ_S)
    assert ([row.card.incident for row in newest.rows], newest.is_all) == ([f"i-{n:02}" for n in range(10)], False)
    assert world.store.read == 10
    every = read_newest(world, 100, READ_S)
    assert (len(every.rows), every.is_all, every.unread) == (60, True, 0)


def test_what_is_broken_or_late_is_counted_and_the_others_are_shown(world: Any):
    """One bad record doesn't hide a page full of good ones."""
    for n in range(5):
        world.archived(f"i-{n}", days_ago=n)
    world.store.late = {world.archived("late")}
    world.store.archive(world.archived("broken"), b"{", timeout_s=5)
    newest = read_newest(world, 100, READ_S)
    assert ([row.card.incident for row in newest.rows], newest.unread) == ([f"i-{n}" for n in range(5)], 2)


def test_an_empty_archive_has_no_rows(world: Any):
    assert read_newest(world, 10, READ_S).rows == ()
    assert find(world, "20261123-181205-7f3a9c21", READ_S).record is None


def test_an_escalation_stands_until_its_document_says_otherwise_for_a_day(world: Any):
    """A document that can't be read hides no incident that is archived."""
    name = time.strftime("%Y%m%d-%H%M%S-i", time.gmtime(NOW))
    record = Archive(TARGET, replace(INCIDENT, id=name), Outcome(name, Ending.ESCALATED, None, NOW - 60, ()))
    world.store.archive(archive_path(record), encode(record), timeout_s=5)
    assert find(world, name, READ_S).record.escalation is None
    world.store.save("t-1", b'{"version": 99}', generation=None, due=None, timeout_s=5)
    assert find(world, name, READ_S).record.escalation is None
    assert [row.card.incident for row in read_newest(world, 10, READ_S).rows] == [name]
    stored = world.store.load("t-1", timeout_s=5)
    standing = Document("t-1", TARGET, escalation=Escalation(name, "mail-delivery", NOW - 60))
    world.store.save("t-1", encode(standing), generation=stored.generation, due=None, timeout_s=5)
    assert find(world, name, READ_S).record.escalation is not None
    assert [row.card.urgency for row in read_newest(world, 10, READ_S).rows] == ["act"]
