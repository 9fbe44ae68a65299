"""Lines of evidence against healthy samples, and how everything is put into words, a picture and a ticket."""

from __future__ import annotations

import os
import re
from pathlib import Path
from xml.etree import ElementTree as ET  # only our own pictures are read

import pytest
from msgspec.structs import replace

from functions.domain.causes.chart import chart
from functions.domain.causes.lines import common_lines
from functions.domain.causes.model import Common, Kind, Pattern, ordered
from functions.domain.causes.ticket import draft
from functions.domain.causes.words import in_short, judgement, odds, sentence
from functions.domain.model.incidents import Evidence
from tests.domain.causes.test_common import NOW, RULES, compared, on, record

HANGS = "smtp relay-2: timed out"
HEADING = "== sockets =="


def lines(*counts: tuple[str, int], of: int) -> list[frozenset[str]]:
    """Samples of which so many have each line."""
    return [frozenset(line for line, count in counts if place < count) for place in range(of)]


def with_lines() -> Common:
    """Six incidents after nine, with evidence."""
    common = compared(*on([0, 2, 5, 9, 13, 18, 20], hour=9.4))
    found = common_lines(lines((HANGS, 6), (HEADING, 7), of=7), lines((HANGS, 1), (HEADING, 40), of=40))
    return replace(common, patterns=ordered([*common.patterns, *found]), examined=7)


def test_a_line_of_most_incidents_is_compared_with_healthy_times() -> None:
    """The issue's own example; what stands in every sample anyway is left out."""
    (found,) = common_lines(lines((HANGS, 6), (HEADING, 7), of=7), lines((HANGS, 1), (HEADING, 40), of=40))
    assert (found.what, found.count, found.of, found.without, found.samples) == (HANGS, 6, 7, 1, 40)
    assert found.telling
    assert str(sentence(found)) == (
        f"in 6 of 7 incidents, in 1 of 40 samples from healthy times (by chance 1 in 110,000): {HANGS}"
    )


def test_without_healthy_samples_there_is_no_figure_against_chance() -> None:
    """The count is a fact all the same; it is called neither telling nor chance."""
    found = common_lines(lines((HANGS, 6), (HEADING, 7), ("rare", 3), of=7))
    assert [(one.what, one.count, one.chance) for one in found] == [(HEADING, 7, None), (HANGS, 6, None)]
    assert not any(one.telling for one in found)


def test_few_incidents_have_no_common_lines() -> None:
    assert common_lines(lines((HANGS, 4), of=4), lines(of=40)) == ()


@pytest.mark.parametrize(
    ("chance", "said"),
    [
        (None, ""),
        (0.7, "as likely by chance"),
        (0.1234, "by chance 1 in 8"),
        (0.000437, "by chance 1 in 2,300"),
        (1e-9, "by chance less than 1 in 1,000,000"),
        (0.0, "by chance less than 1 in 1,000,000"),
    ],
)
def test_odds_in_words(chance: float | None, said: str) -> None:
    assert str(odds(chance)) == said


def test_few_incidents_and_chance_are_said_to_be_that() -> None:
    assert str(judgement(compared(*on([0, 1, 2])))) == "Can't tell from 3 incidents what they have in common."
    irregular = [record(NOW - days * 86400, place) for place, days in enumerate([1.1, 4.6, 9.9, 11.3, 20.7])]
    assert str(judgement(compared(*irregular))) == "Nothing that they have in common is more than chance."
    assert in_short(compared(*irregular)) == ""


def test_the_report_has_only_what_is_hardly_chance() -> None:
    short = str(in_short(compared(*on([0, 2, 5, 9, 13, 18, 20], hour=9.4))))
    assert short.startswith("mail, in common: 7 of 7 began from 09:00 to 10:00 (by chance less than")
    assert "Monday" not in short


def test_the_report_has_the_line_that_most_cards_showed() -> None:
    """Its count is a fact. It differs in numbers from run to run, but not in the line of code."""
    records = [
        replace(one, incident=replace(one.incident, evidence=Evidence(lines=(f"worker {place} hangs", "send (mailer.py:212)"))))
        for place, one in enumerate(on([0, 3, 9, 11, 19]))
    ]
    common = compared(*records)
    lines = {one.what: (one.count, one.of, one.telling) for one in common.patterns if one.kind is Kind.LINE}
    assert lines == {"worker * hangs": (5, 5, False), "send (mailer.py:212)": (5, 5, False)}
    assert "in 5 of 5 incidents: " in str(in_short(common))


def test_the_ticket_has_figures_lines_and_incidents() -> None:
    """Markdown that a tracker shows: other people's words are code, or are escaped."""
    text = draft(with_lines(), RULES, root_cause="https://tracker.example.com/MAIL-1")
    assert text.startswith("# mail gets stuck until it is restarted\n")
    assert "7 incidents from 2026-10-05 to 2026-10-25, 7 restarts, a person was needed 0 times." in text
    assert "The runbook names this ticket: https://tracker.example.com/MAIL-1" in text
    assert f"- `{HANGS}` – in 6 of 7 incidents, in 1 of 40 samples from healthy times (by chance 1 in 110,000)" in text
    assert "| 2026-10-25 09:24 | inc20 | 300 |" in text
    assert "`python -m functions incident ID --evidence`" in text


def test_a_hostile_line_stays_inside_its_code() -> None:
    """A backtick in evidence ends no code, and no line breaks out."""
    hostile = Pattern(Kind.LINE, "x` [click](http://evil.example)\n# heading", 6, 7)
    text = draft(replace(compared(*on([0, 2, 5, 9, 13])), patterns=(hostile,)), RULES)
    (row,) = [row for row in text.splitlines() if "click" in row]
    assert row.startswith("- `x' [click](http://evil.example) # heading` – ")


@pytest.mark.parametrize("language", ["en", "ja"])
def test_the_picture_loads_nothing(language: str) -> None:
    """Valid SVG with a ring for each incident, without scripts or addresses outside."""
    escalated = replace(compared(*on([0, 1])), runbook="<other>")
    drawn = chart([with_lines(), escalated], replace(RULES, language=language))
    root = ET.fromstring(drawn)  # noqa: S314 - our own
    assert len(root.findall(".//{*}circle")) == 7 + 2
    assert not re.search(r"<script|href|url\(", drawn)
    assert "relay-2" in drawn


def test_a_picture_of_nothing_says_so() -> None:
    assert "There are no incidents." in chart([], RULES)


def test_the_picture_in_the_docs() -> None:
    """docs/causes.svg is this picture: UPDATE=1 in the environment writes it anew."""
    file = Path(__file__).parents[3] / "docs" / "causes.svg"
    drawn = chart([with_lines()], RULES)
    if os.environ.get("UPDATE"):
        file.write_text(drawn, encoding="utf-8")
    assert file.read_text(encoding="utf-8") == drawn
