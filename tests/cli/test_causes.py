"""`causes`: what archived incidents have in common, with their evidence, as text, JSON, picture and ticket."""

from __future__ import annotations

import time

import pytest

from functions.application.deliver import archive_path
from functions.application.serialization import encode
from functions.cli.log_templates import mine
from tests.cli.line import Line
from tests.domain.causes.test_common import record

EVIDENCE = """== stack of {pid} ==
Thread 0x7f{pid} (idle): "MainThread"
    recv_into (socket.py:706)
  File "/app/mailer.py", line 212, in send
>> worker {pid} hangs in send (mailer.py:212)
== last lines of its log ==
2026-11-{day:02d}T09:12:33.120Z smtp relay-2: timed out after {pid} s
2026-11-{day:02d}T09:12:30.001Z sent mail {pid}
"""
HEALTHY = """== stack of {pid} ==
Thread 0x7f{pid} (idle): "MainThread"
    recv_into (socket.py:706)
== last lines of its log ==
2026-11-{day:02d}T21:12:30.001Z sent mail {pid}
"""


@pytest.fixture
def here(here: Line) -> Line:
    """Seven incidents at the same time of day, six of them with the same line of evidence."""
    began = time.time() // 86400 * 86400 - 60 * 86400 + 9.2 * 3600
    for place, day in enumerate([0, 3, 8, 12, 21, 30, 44]):
        one = record(began + day * 86400, place)
        here.ports.archive(archive_path(one), encode(one), 5)
        text = (EVIDENCE if place else HEALTHY).format(pid=4000 + place, day=1 + place)
        here.ports.archive(f"evidence/{one.incident.id}.txt", text.encode(), 5)
    return here


def healthy(here: Line, count: int) -> list[str]:
    arguments = []
    for place in range(count):
        path = here.folder / f"healthy-{place}.txt"
        path.write_text(HEALTHY.format(pid=700 + place, day=1 + place))
        arguments += ["--healthy", str(path)]
    return arguments


def test_lines_that_differ_in_numbers_and_times_are_one_template() -> None:
    """And the number of a line of code stays: it says where it hangs."""
    first, second = mine([EVIDENCE.format(pid=4711, day=1).splitlines(), EVIDENCE.format(pid=93, day=24).splitlines()])
    assert first == second
    assert {'File "/app/mailer.py", line 212, in send', "<time> smtp relay-2: timed out after <number> s"} <= first


def test_one_relay_that_times_out_is_not_the_same_as_one_that_sends() -> None:
    (first, second) = mine([["smtp relay-2: timed out"], ["smtp relay-2: mail sent"]])
    assert not first & second


def test_causes_in_text(here: Line) -> None:
    """Hours against chance, figures before the restart, and lines against healthy samples."""
    text = here.run("causes", *healthy(here, 10), code=0).stdout
    assert "mail: 7 incidents from " in text
    assert "  * 7 of 7 began from 09:00 to 10:00 (by chance less than 1 in 1,000,000)" in text
    assert "Messages: 300 to 300, median 300" in text
    assert "  * in 6 of 7 incidents, in 0 of 10 samples from healthy times (by chance 1 in" in text
    assert "smtp relay-2: timed out after <number> s" in text
    assert "sent mail" not in text


def test_causes_as_json(here: Line) -> None:
    """Every case and every pattern, with its count and its chance."""
    (found,) = here.json("causes", *healthy(here, 10))
    assert (found["runbook"], found["examined"], found["too_few"], len(found["cases"])) == ("mail", 7, False, 7)
    line = next(one for one in found["patterns"] if one["what"] == 'File "/app/mailer.py", line 212, in send')
    assert (line["count"], line["of"], line["without"], line["samples"], line["telling"]) == (6, 7, 0, 10, True)


def test_without_healthy_samples_only_the_lines_that_cards_show(here: Line) -> None:
    """The job marks what matters; its headings stand in every output and would say nothing."""
    (found,) = here.json("causes")
    lines = [one for one in found["patterns"] if one["kind"] == "line"]
    assert [(one["what"], one["count"], one["of"], one["chance"]) for one in lines] == [
        ("worker <number> hangs in send (mailer.py:212)", 6, 7, None)
    ]


def test_causes_as_ticket_and_picture(here: Line) -> None:
    picture = here.folder / "causes.svg"
    text = here.run("causes", "--ticket", "--chart", str(picture), code=0).stdout
    assert text.startswith("# mail gets stuck until it is restarted\n")
    assert "- `worker <number> hangs in send (mailer.py:212)` – in 6 of 7 incidents" in text
    assert picture.read_text().startswith("<svg")


def test_few_incidents_say_nothing(here: Line) -> None:
    assert "Can't tell from 2 incidents what they have in common." in here.run("causes", "--days", "35", code=0).stdout


def test_nothing_to_compare(here: Line) -> None:
    """Neither an error nor an empty page; only a ticket can't be written."""
    assert here.run("causes", "--days", "1", code=0).stdout.startswith("no incident ended since 20")
    assert "no incident to write a ticket about" in here.run("causes", "--days", "1", "--ticket", code=1).stderr


def test_an_unknown_runbook_is_named(here: Line) -> None:
    assert "there is no runbook mial" in here.run("causes", "--runbook", "mial", code=2).stderr


def test_the_report_says_it_in_short(here: Line) -> None:
    """The weekly report has what is hardly chance; it needs no miner and reads no evidence."""
    began = time.time() // 86400 * 86400 - 20 * 86400 + 9.2 * 3600
    for place, day in enumerate([1, 4, 6, 9, 17]):
        one = record(began + day * 86400, 50 + place)
        here.ports.archive(archive_path(one), encode(one), 5)
    text = here.run("report", code=0).stdout
    assert "mail, in common: " in text
    assert "began from 09:00 to 10:00" in text
