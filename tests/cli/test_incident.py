"""`incident`: everything about one, open or archived, from the first alert to its outcome, as text and JSON."""

import time
from typing import Any

import pytest
from msgspec.structs import replace

from functions.application.documents import archive_path, encode
from functions.domain.model.codes import Ending, Phase, Reason, Verdict
from functions.domain.model.incidents import AfterRestart, Archive, Document, HistoryEntry, Incident, Outcome, Place
from functions.runtime.text import Text
from tests.cli.conftest import Line
from tests.support.worlds.example_stories import EXAMPLES, NOW, TARGET
from tests.support.worlds.scenes import change
from unstick.output import columns

ID = time.strftime("%Y%m%d-%H%M%S-7f3a9c21", time.gmtime(NOW - 300))
DAY_S = 86400.0
EVIDENCE = 'Thread 0x7f: "MainThread"\n  File "/app/mailer.py", line 212, in send\n'
OUTCOME = Outcome("7f3a9c21", Ending.ESCALATED, None, NOW + 1, ())


@pytest.fixture
def here(here: Line) -> Line:
    here.saved(Document("closed"))
    return here


def told() -> Incident:
    """The gallery's escalated incident, with a history: it waited for a cooldown, and both restarts did not help."""
    incident = EXAMPLES["escalated"].incident
    assert incident is not None
    history = (
        HistoryEntry(NOW - 280, Phase.WAITING, Reason.COOLDOWN, Text("restarted {age} ago", age="4 min")),
        HistoryEntry(NOW - 121, Phase.STARTING, attempt=1),
        HistoryEntry(NOW - 118, Phase.RUNNING, attempt=1),
        HistoryEntry(NOW - 86, Phase.VERIFYING, attempt=1),
    )
    after = AfterRestart(615, looked_at=NOW, verdict=Verdict.STUCK)
    return replace(incident, history=history, queues=(replace(incident.queues[0], after=after),))


def archived(here: Line, *, output: str = "", name: str = ID, at: float = NOW + 1, **changes: Any) -> None:
    incident = change(told(), id=name, nonce="never-shown", **changes)
    record = Archive(TARGET, incident, replace(OUTCOME, incident=name, at=at))
    here.ports.store.archive(archive_path(record), encode(record), timeout_s=5)
    if output:
        here.ports.store.archive(f"evidence/{name}.txt", output.encode(), timeout_s=5)


def test_an_archived_incident_is_told_in_order(here: Line) -> None:
    """From the alert to the outcome, with times of the day, in 80 columns."""
    archived(here)
    shown = here.run("incident", ID, code=0, env={"COLUMNS": "80"}).stdout
    kinds = [row.split()[1] for row in shown.splitlines() if len(row) > 8 and row[4:5] == ":" and row[7:8] == ":"]
    assert (kinds[0], kinds[-1]) == ("alert", "outcome")
    assert {"check", "decision", "restart", "verdict"} <= set(kinds)
    words = " ".join(shown.split())
    for said in (
        *("held by mail-worker-2 (10.0.3.7)", "20 unacknowledged", "(restarted 4 min ago)", "restarts: attempt 1"),
        *("still stuck (615 messages, 1 consumer)", "a person is needed"),
    ):
        assert said in words
    too_long = [row for row in shown.splitlines() if columns(row) > 80 and "http" not in row]
    assert too_long == []


def test_one_that_is_not_archived_yet_is_told_too(here: Line) -> None:
    """What has happened so far, and the phase that it is in; or its record, which waits in the document."""
    here.saved(Document("t-1", TARGET, replace(told(), id=ID), due=time.time() + 30))
    shown = here.run("incident", ID, code=0).stdout
    assert ("open, verifying" in shown, "outcome" in shown) == (True, False)
    ended = Archive(TARGET, replace(told(), id="ended"), replace(OUTCOME, incident="ended"))
    here.saved(Document("t-2", TARGET, to_archive=(ended,), due=time.time() + 30))
    assert here.json("incident", "ended")["outcome"]["ending"] == "escalated"


def test_the_evidence_is_printed_whole(here: Line) -> None:
    """Where there is none, the rest is told all the same, and --evidence ends with code 1."""
    archived(here, output=EVIDENCE)
    assert EVIDENCE.strip() in here.run("incident", ID, "--evidence", code=0).stdout
    assert here.json("incident", ID, "--evidence")["evidence"] == EVIDENCE
    without = f"{ID}-without"
    archived(here, name=without)
    result = here.run("incident", without, "--evidence", code=1)
    assert "a person is needed" in result.stdout
    assert "no evidence was kept" in result.stderr


def test_as_json_nothing_reaches_the_terminal_that_it_would_obey(here: Line) -> None:
    """What is invisible or moves the cursor is escaped, and is still there for a program."""
    hidden = "a\u009b31mb\u202ec\u200bd\u2066e\U000e0041f"
    archived(here, start_page=hidden)
    shown = here.run("incident", ID, "--json", code=0).stdout
    assert [char for char in shown if not char.isprintable() and char != "\n"] == []
    assert here.json("incident", ID)["incident"]["start_page"] == hidden


def test_as_json_nothing_is_missing_but_the_nonce(here: Line) -> None:
    """The entries are in the order of time, whatever clock they were noted by; runs have their links."""
    archived(here)
    shown = here.json("incident", ID)
    assert (shown["incident"]["id"], shown["incident"]["approval"]["nonce"], shown["outcome"]["ending"]) == (ID, "", "escalated")
    entries = shown["timeline"]
    assert [entry["at"] for entry in entries] == sorted(entry["at"] for entry in entries)
    runs = [entry for entry in entries if entry["kind"] == "restart"]
    assert len(runs) == 4
    assert all(entry["link"].startswith("https://rundeck.example.com/") for entry in runs)
    assert [bool(entry["lines"]) for entry in runs].count(True) == 1


PLACED = EXAMPLES["started-evidence"].incident


def test_the_place_comes_first_with_how_often_it_was_so(here: Line) -> None:
    """By the archive: what another target, or a later incident, hung at is not counted. --ticket prints Markdown instead."""
    assert PLACED is not None
    for number, text in enumerate(("mail_worker.py, deliver, line 99", "stock.py, reserve, line 7")):
        at = NOW - DAY_S * (number + 1)
        earlier = f"{time.strftime('%Y%m%d-%H%M%S', time.gmtime(at))}-{number}"
        outcome = replace(OUTCOME, incident=earlier, at=at, restarts=1, places=(Place("w", text),))
        for target in (TARGET, replace(TARGET, key="other")):
            record = Archive(target, replace(told(), id=f"{earlier}-{target.key}"), outcome)
            here.ports.store.archive(archive_path(record), encode(record), timeout_s=5)
    archived(here, evidence=PLACED.evidence)
    shown = here.run("incident", ID, code=0).stdout
    assert f"Hangs at: {PLACED.places[0].text}; as in 1 of the last 2 incidents" in shown
    assert here.json("incident", ID)["incident"]["evidence"]["places"][0]["host"] == "10.0.3.7"
    ticket = here.run("incident", ID, "--ticket", code=0).stdout
    assert ticket.startswith("# `service=mail-delivery` hangs at `mail_worker.py deliver, waits for 10.0.3.9:25`\n- ")
    assert "- 2 of 3 incidents hung there, the first on 2026-11-22; " in ticket
    archived(here, name=f"{ID}-without")
    assert "no place" in here.run("incident", f"{ID}-without", "--ticket", code=1).stderr
