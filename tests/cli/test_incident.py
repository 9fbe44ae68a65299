"""`incident`: everything about one, open or archived, as text and JSON."""

from __future__ import annotations

import time

import pytest
from msgspec.structs import replace

from functions.application.deliver import archive_path
from functions.application.serialization import encode
from functions.domain.model.incidents import Archive, Document, change
from tests.cli.line import Line
from tests.cli.test_timeline import OUTCOME, told
from tests.support.worlds.example_stories import NOW, TARGET
from unstick.output import columns

ID = time.strftime("%Y%m%d-%H%M%S-7f3a9c21", time.gmtime(NOW - 300))
EVIDENCE = 'Thread 0x7f: "MainThread"\n  File "/app/mailer.py", line 212, in send\n'


@pytest.fixture
def here(here: Line) -> Line:
    here.saved(Document("closed"))
    return here


def archived(here: Line, *, evidence: str = "", name: str = ID, at: float = NOW + 1) -> None:
    incident = change(told(), id=name, nonce="never-shown")
    record = Archive(TARGET, incident, replace(OUTCOME, incident=name, at=at))
    here.ports.store.archive(archive_path(record), encode(record), timeout_s=5)
    if evidence:
        here.ports.store.archive(f"evidence/{name}.txt", evidence.encode(), timeout_s=5)


def test_an_archived_incident_is_told_in_order(here: Line) -> None:
    """From the alert to the outcome, with times of the day, in 80 columns."""
    archived(here)
    shown = here.run("incident", ID, code=0, env={"COLUMNS": "80"}).stdout
    kinds = [row.split()[1] for row in shown.splitlines() if len(row) > 8 and row[4:5] == ":" and row[7:8] == ":"]
    assert (kinds[0], kinds[-1]) == ("alert", "outcome")
    assert {"check", "decision", "restart", "verdict"} <= set(kinds)
    assert "held by mail-worker-2 (10.0.3.7)" in " ".join(shown.split())
    too_long = [row for row in shown.splitlines() if columns(row) > 80 and "http" not in row]
    assert too_long == []


def test_an_open_incident_is_told_too(here: Line) -> None:
    """What has happened so far, and the phase that it is in."""
    here.saved(Document("t-1", TARGET, replace(told(), id=ID), due=time.time() + 30))
    shown = here.run("incident", ID, code=0).stdout
    assert "open, verifying" in shown
    assert "outcome" not in shown


def test_the_evidence_is_printed_whole(here: Line) -> None:
    archived(here, evidence=EVIDENCE)
    assert EVIDENCE.strip() in here.run("incident", ID, "--evidence", code=0).stdout
    assert here.json("incident", ID, "--evidence")["evidence"] == EVIDENCE


def test_without_evidence_the_rest_is_told_all_the_same(here: Line) -> None:
    """--evidence then ends with code 1."""
    archived(here)
    result = here.run("incident", ID, "--evidence", code=1)
    assert "a person is needed" in result.stdout
    assert "no evidence was kept" in result.stderr


def test_as_json_nothing_is_missing_but_the_nonce(here: Line) -> None:
    archived(here)
    found = here.json("incident", ID)
    assert (found["incident"]["id"], found["incident"]["nonce"], found["outcome"]["ending"]) == (ID, "", "escalated")
    assert [entry["at"] for entry in found["timeline"]] == sorted(entry["at"] for entry in found["timeline"])


def test_one_that_ended_and_is_not_archived_yet(here: Line) -> None:
    """Its record waits in the document."""
    record = Archive(TARGET, replace(told(), id=ID), replace(OUTCOME, incident=ID))
    here.saved(Document("t-1", TARGET, to_archive=(record,), due=time.time() + 30))
    assert here.json("incident", ID)["outcome"]["ending"] == "escalated"


@pytest.mark.parametrize("name", [ID, "an-id-of-another-kind"])
def test_an_incident_that_took_weeks_is_found(here: Line, name: str) -> None:
    """Its record is filed under the day on which it ended."""
    archived(here, name=name, at=NOW + 20 * 86400)
    assert here.json("incident", name)["incident"]["id"] == name
