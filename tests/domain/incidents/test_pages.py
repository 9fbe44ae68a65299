"""The pages of incidents, as data: what the list and the page of one say."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace

from functions.domain.cards.curve import find_starts, plot
from functions.domain.costs.report import RestartAt
from functions.domain.incidents import overview, page, weeks
from functions.domain.incidents.overview import Filter, Summary, summarize
from functions.domain.incidents.timeline import Known
from functions.domain.model.codes import Ending, Phase, Reason
from functions.domain.model.incidents import Outcome, change
from functions.runtime.text import in_language
from tests.support.worlds.example_stories import EXAMPLES, NASTY, NOW, RUNBOOK, TARGET, hostile, rules

DAY_S = 86400.0
RULES = replace(rules(), runbooks={RUNBOOK.name: replace(RUNBOOK, manual_minutes=8.0)})
STORIES = {name: card_input for name, card_input in EXAMPLES.items() if card_input.incident is not None}


def known(name: str, ending: Ending | None = None, reason: Reason | None = None, at: float = NOW, **changes: Any) -> Known:
    """The incident of a card_input of the gallery, open or ended."""
    incident = change(EXAMPLES[name].incident, id="20261123-181205-7f3a9c21", nonce="never-shown", **changes)
    if incident.execution is not None:
        incident = change(incident, execution=replace(incident.execution, tag=f"{incident.id}.1"))
    return Known(TARGET, incident, Outcome(incident.id, ending, reason, at, incident.triggers) if ending else None)


def facts(row: Summary) -> dict[str, str]:
    return {str(label): str(value) for label, value in row.facts}


@pytest.mark.parametrize(
    ("one", "outcome", "shown"),
    [
        (known("recovered", Ending.RECOVERED), "recovered", {"Done": "1 restart by Unstick", "Saved": "8 min"}),
        (
            known("escalated", Ending.ESCALATED),
            "a person is needed",
            {"Done": "1 restart by Unstick, 1 restart by hand", "Saved": "0 min"},
        ),
        (
            known("held-observe-only", Ending.HELD, Reason.PAUSED),
            "nothing was restarted (Unstick is paused)",
            {"Done": "nothing", "Saved": "0 min"},
        ),
        (known("held-awaiting-approval"), "asks for approval (it is waiting for approval)", {"Done": "nothing"}),
    ],
    ids=["recovered", "escalated", "held", "open"],
)
def test_a_row_says_how_it_ended_and_what_was_proved_done_and_saved(one: Known, outcome: str, shown: dict[str, str]):
    """The outcome, or how it stands, is no fact among others: people look for it first."""
    if shown["Done"].endswith("by hand"):
        by_hand = replace(one.incident.tries[0], execution=replace(one.incident.tries[0].execution, tag=""))
        one = replace(one, incident=replace(one.incident, tries=(by_hand,)))
    summary = summarize(one, RULES)
    row = facts(summary)
    assert str(summary.outcome) == outcome
    assert row["Proved"] == "a consumer holds as many messages as it may, and does nothing with them"
    assert {name: said for name, said in row.items() if name != "Proved"} == shown


def test_the_list_has_the_last_hundred_and_takes_what_the_filter_asks_for():
    """Open ones first; by runbook and outcome."""
    row = summarize(known("recovered", Ending.RECOVERED), RULES)
    rows = tuple(
        replace(row, id=f"i-{n}", runbook="mail" if n % 2 else "post", state="held" if n < 4 else "recovered") for n in range(240)
    )
    opened = known("held-awaiting-approval")
    every = overview.compose(RULES, [opened], rows, Filter(), is_all=True, notes=())
    assert ([one.id for one in every.open], len(every.ended), every.ended[0].id) == ([opened.incident.id], 100, "i-0")
    assert every.has_older
    assert set(every.runbooks) == {"mail-delivery", "mail", "post"}
    some = overview.compose(RULES, [opened], rows, Filter("mail", "held"), is_all=True, notes=())
    assert ([one.id for one in some.open], [one.id for one in some.ended]) == ([], ["i-1", "i-3"])
    assert not some.has_older


def test_one_that_is_archived_while_the_list_is_read_is_shown_once():
    """Its document still waits to be saved without it."""
    ended = known("recovered", Ending.RECOVERED)
    content = overview.compose(RULES, [ended], (summarize(ended, RULES),), Filter(), is_all=True, notes=())
    assert len(content.open) + len(content.ended) == 1


@pytest.mark.parametrize("language", ["en", "ja"])
@pytest.mark.parametrize("name", STORIES)
@pytest.mark.parametrize("ending", [None, *Ending])
def test_each_story_has_a_page(name: str, ending: Ending | None, language: str):
    """Whatever it is and however it ended; no nonce of an approval is in it."""
    content = page.compose(known(name, ending, STORIES[name].reason), replace(RULES, language=language), NOW + 60)
    assert in_language(language, content.title)
    assert content.todo
    assert "never-shown" not in str(content)


@pytest.mark.parametrize("phase", Phase)
def test_each_phase_has_a_page(phase: Phase):
    assert page.compose(known("started", phase=phase), RULES, NOW).todo


def test_the_page_says_what_to_do_who_held_what_and_which_runs_there_were():
    """With links to Rundeck, and the time in the configured zone."""
    content = page.compose(known("escalated", Ending.ESCALATED), RULES, NOW + 60)
    assert str(content.title) == "mail-delivery is still stuck after 2 restarts"
    assert str(content.todo[0].text).startswith("What to do: If the log names a dependency")
    assert [str(one) for one in content.figures[0].holders] == ["mail-worker-2 (10.0.3.7), 20 messages, for at least 2 min 1 s"]
    assert [run.url.rpartition("/")[2] for run in content.runs] == ["1847", "1851"]
    days = dict(content.days)
    assert [moment.time for moment in days["2026-11-24"]] == sorted(moment.time for moment in days["2026-11-24"])
    assert (str(days["2026-11-24"][-1].kind), days["2026-11-24"][-1].time) == ("outcome", "03:12:05")


@pytest.mark.parametrize("language", ["en", "ja"])
def test_headings_name_no_runner(language: str):
    """The page is also for installations that run commands, without Rundeck."""
    labels = [in_language(language, label) for label in (*page.LABELS.values(), *overview.LABELS.values())]
    assert not [label for label in labels if "Rundeck" in label]


def test_what_was_to_be_done_long_ago_is_said_as_that():
    """Nobody restarts by hand for what ended a week before."""
    ended = known("escalated", Ending.ESCALATED)
    warned = [page.compose(ended, RULES, NOW + after_s).todo[0].kind for after_s in (60.0, 7 * DAY_S)]
    assert warned == ["", "warn"]
    assert page.compose(known("recovered", Ending.RECOVERED), RULES, NOW).todo[0].text == page.NOTHING


def test_the_curve_marks_each_restart_and_has_what_consumers_hold():
    """All points are inside the picture, also of what is 100 kB of marks."""
    incident = known("escalated").incident
    watched = replace(incident.queues[0], held_curve=tuple((at, 20) for at, _ in incident.queues[0].curve))
    curve = plot(watched.curve, watched.held_curve, find_starts(incident))
    assert curve is not None
    assert (len(curve.marks), str(curve.caption)) == (2, "Depth: 224 → 615 (peak 615) in 8 min 9 s")
    for points in (curve.area, curve.held):
        xs, ys = zip(*(map(float, point.split(",")) for point in points.split()), strict=True)
        assert (min(xs), max(xs), min(ys) >= 0, max(ys)) == (0, curve.width, True, curve.height)
    assert sorted(map(float, curve.marks)) == [float(mark) for mark in curve.marks]


@pytest.mark.parametrize("name", ["held-awaiting-approval", "escalated"])
def test_hostile_texts_break_no_page(name: str):
    """They are cut and cleaned as on cards; no link but a plain web address is left."""
    card_input = hostile(EXAMPLES[name])
    incident = card_input.incident
    assert incident is not None
    few = {"triggers": incident.triggers[:3], "queues": incident.queues[:2], "tries": incident.tries[:2]}
    shown = Known(card_input.target, replace(incident, **few))
    content = page.compose(shown, RULES, NOW)
    assert all(url.startswith("https://") for _, url in content.links)
    assert [run.url for run in content.runs if run.url] == []
    assert NASTY not in str(content)
    assert len(summarize(shown, RULES).target) <= 120


# --- by week ----------------------------------------------------------------------------------------------------------


def row(days_ago: float, restarts: int = 1, minutes: float = 8.0, runbook: str = "mail") -> Summary:
    at = NOW - days_ago * DAY_S
    known_restarts = {f"{days_ago}.{n}": RestartAt(at, by_hand=False) for n in range(restarts)}
    return Summary(f"i-{days_ago}", at, at, "mail", runbook, "recovered", "recovered", (), minutes, known_restarts)


def test_restarts_and_minutes_are_counted_by_week_as_in_the_report():
    """Seven days each, today among the last; a runbook without restarts has no picture."""
    rows = (row(0), row(6, restarts=2), row(7), row(13), row(3, restarts=0, runbook="post"))
    (course,) = weeks.plot(rows, RULES, NOW, is_all=True)
    assert [(week.restarts, week.minutes) for week in course.weeks] == [(2, 16), (3, 16)]
    assert (course.weeks[0].begins, course.weeks[1].begins) == ("2026-11-11", "2026-11-18")
    assert str(course.caption) == "5 restarts since 2026-11-11; saved 32 min"
    assert course.fix_x is None


def test_a_fix_is_marked_where_a_quiet_month_begins():
    """With what a week cost before and after it; the bug may come back."""
    rows = tuple(row(days, restarts=2) for days in (5, 60, 67, 74))
    (course,) = weeks.plot(rows, RULES, NOW, is_all=True)
    assert course.fix_x is not None
    behind = [bar for bar in course.restarts if bar.x > course.fix_x]
    assert (len(course.restarts), len(behind)) == (4, 1)
    assert "before the line 2.0 a week, after it 0.2" in str(course.caption).replace(" 2 a", " 2.0 a")


@pytest.mark.parametrize(("began", "fixed"), [([], None), ([NOW - DAY_S], None), ([NOW - 40 * DAY_S], NOW - 40 * DAY_S)])
def test_a_month_without_an_incident_is_what_the_report_calls_fixed(began: list[float], fixed: float | None):
    assert weeks.find_fix(began, NOW) == fixed


def test_a_week_that_was_read_in_part_is_left_out():
    """If the archive has older records, the oldest week that was read may lack some."""
    rows = tuple(row(days) for days in (1, 8, 17))
    assert [len(weeks.plot(rows, RULES, NOW, is_all=is_all)[0].weeks) for is_all in (True, False)] == [3, 2]
    assert weeks.plot((), RULES, NOW, is_all=True) == ()
    assert len(weeks.plot((row(300), row(1)), RULES, NOW, is_all=True)[0].weeks) == weeks.WEEKS


def test_a_runbook_that_says_no_minutes_has_no_bars_of_them():
    (course,) = weeks.plot((replace(row(1), saved_minutes=None),), RULES, NOW, is_all=True)
    assert (course.minutes, "saved" in str(course.caption)) == ((), False)
