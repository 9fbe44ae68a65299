"""`causes`: what archived incidents have in common, as text, JSON and ticket."""

from __future__ import annotations

import time

import pytest

from functions.application.deliver import archive_path
from functions.application.serialization import encode
from tests.cli.line import Line
from tests.domain.causes.test_common import record


@pytest.fixture
def here(here: Line) -> Line:
    """Seven incidents at the same time of day, six of them with the same line of evidence."""
    began = time.time() // 86400 * 86400 - 60 * 86400 + 9.2 * 3600
    for place, day in enumerate([0, 3, 8, 12, 21, 30, 44]):
        lines = (f"worker {place} hangs in send (mailer.py:212)",) if place else ("idle",)
        one = record(began + day * 86400, place, lines=lines)
        here.ports.store.archive(archive_path(one), encode(one), timeout_s=5)
    return here


def test_causes_in_text(here: Line) -> None:
    """What they share, the figures before the restart, and lines."""
    text = here.run("causes", code=0).stdout
    assert "mail: 7 incidents from " in text
    assert "  * 7 of 7 began from 09:00 to 10:00\n" in text
    assert "Messages: 300 to 300, median 300" in text
    assert "  * in 6 of 7 incidents: worker * hangs in send (mailer.py:212)" in text


def test_causes_as_json(here: Line) -> None:
    """Every case and every pattern, with its count."""
    (causes,) = here.json("causes")
    assert (causes["runbook"], causes["too_few"], len(causes["cases"])) == ("mail", False, 7)
    line = next(one for one in causes["patterns"] if one["kind"] == "line")
    assert (line["what"], line["count"], line["of"]) == ("worker * hangs in send (mailer.py:212)", 6, 7)
    assert line["sentence"].startswith("in 6 of 7 incidents: ")


def test_causes_as_ticket(here: Line) -> None:
    text = here.run("causes", "--ticket", code=0).stdout
    assert text.startswith("# mail gets stuck until it is restarted\n")
    assert "- `worker * hangs in send (mailer.py:212)` – in 6 of 7 incidents" in text


def test_nothing_to_compare(here: Line) -> None:
    """Neither an error nor an empty page; only a ticket can't be written."""
    assert here.run("causes", "--days", "1", code=0).stdout.startswith("no incident ended since 20")
    assert "no incident to write a ticket about" in here.run("causes", "--days", "1", "--ticket", code=1).stderr
