"""The pages of incidents, as data: what the list and the page of one say."""

from __future__ import annotations

import re
from typing import Any

import pytest
from msgspec.structs import replace

from functions.domain.cards.curve import find_starts, plot
from functions.domain.incidents import overview, page, weeks
from functions.domain.incidents.overview import Filter, RestartAt, Summary, summarize
from functions.domain.incidents.timeline import Known, tell
from functions.domain.model.codes import Ending, Phase, Reason, Verdict
from functions.domain.model.incidents import STUCK, AfterRestart, Evidence, HistoryEntry, Outcome, PastAttempt
from functions.domain.model.observations import Execution, QueueSnapshot
from functions.runtime.text import in_language
from tests.support.worlds.example_stories import EXAMPLES, NASTY, NOW, RUNBOOK, TARGET, hostile, rules
from tests.support.worlds.scenes import change

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
        (
            known("recovered", Ending.RECOVERED, approved_by="anna"),
            "recovered, by anna",
            {"Done": "1 restart by Unstick", "Saved": "8 min"},
        ),
        (
            known("escalated", Ending.ESCALATED, approved_by="anna"),
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
    opened, early = known("held-awaiting-approval"), known("escalated")
    early = replace(early, incident=replace(early.incident, id="early"))
    every = overview.compose(RULES, [early, opened], rows, Filter(), is_all=True, notes=())
    assert ([one.id for one in every.open], len(every.ended), every.ended[0].id) == ([opened.incident.id, "early"], 100, "i-0")
    assert every.has_older
    assert set(every.runbooks) == {"mail-delivery", "mail", "post"}
    some = overview.compose(RULES, [opened], rows, Filter("mail", "held"), is_all=True, notes=())
    assert ([one.id for one in some.open], [one.id for one in some.ended]) == ([], ["i-1", "i-3"])
    assert not some.has_older
    for is_all in (True, False):
        assert overview.compose(RULES, [], rows[:100], Filter(), is_all=is_all, notes=()).has_older is not is_all


def test_one_that_is_archived_while_the_list_is_read_is_shown_once():
    """Its document still waits to be saved without it."""
    ended = known("recovered", Ending.RECOVERED)
    content = overview.compose(RULES, [ended], (summarize(ended, RULES),), Filter(), is_all=True, notes=())
    assert len(content.open) + len(content.ended) == 1


def test_done_counts_restarts_by_unstick_and_by_hand():
    """An open one has saved nothing yet, nor has one whose runbook doesn't say what a restart takes."""
    one = known("escalated", reason=Reason.FAILING)
    tags = (f"{one.incident.id}.1", f"{one.incident.id}.2", "", "", "")
    runs = (Execution(str(number), "", "failed", NOW, tag=tag) for number, tag in enumerate(tags))
    tries = tuple(PastAttempt(run.tag, run, STUCK) for run in runs)
    row = summarize(replace(one, incident=replace(one.incident, tries=tries, execution=None)), RULES)
    assert facts(row)["Done"] == "2 restarts by Unstick, 3 restarts by hand"
    assert not {"Saved", "Against it"} & {*facts(row), *facts(summarize(known("held-likely"), RULES))}
    ended = known("recovered", Ending.RECOVERED)
    assert (summarize(ended, RULES).saved_minutes, summarize(ended, rules()).saved_minutes) == (8.0, None)
    removed = summarize(replace(ended, incident=replace(ended.incident, runbook="")), RULES)
    assert (removed.saved_minutes, removed.target) == (None, "service=mail-delivery")
    assert summarize(replace(ended, target=None), RULES).target == "mail-delivery"


def test_the_timeline_has_everything_by_our_clock():
    """What the runner's clock says is converted. Of depths between two other entries the first and the last are told, once."""
    (trigger,), (queue,) = EXAMPLES["escalated"].incident.triggers, EXAMPLES["escalated"].incident.queues
    curve = (
        (NOW - 290, 5),
        (NOW - 200, 5),
        (NOW - 157, 7),
        (NOW - 90, 7),
        (NOW - 80, 9),
        (NOW - 75, 9),
        (NOW - 30, 9),
        (NOW - 20, 4),
    )
    before = QueueSnapshot(NOW - 157, 7, 5, 2, 1, head_at=NOW - 217, held_bytes=2048)
    after = AfterRestart(4, verdict=Verdict.STUCK, looked_at=NOW - 38)
    mine = Execution("51", "https://rundeck.example.com/51", "failed", NOW - 148, NOW - 118, tag="i.1")
    theirs = Execution("49", "javascript:alert(1)", "aborted", NOW - 98, NOW - 58, user="anna")
    other = Execution("47", "", "failed", NOW - 109, NOW - 108, tag="i.2")
    incident = change(
        EXAMPLES["escalated"].incident,
        triggers=(
            replace(trigger, resolved_at=NOW - 5, starts_at=NOW - 300, links={"dashboard": "https://grafana.example.com/d"}),
        ),
        queues=(replace(queue, curve=curve, before=before, after=after),),
        history=(HistoryEntry(NOW - 280, Phase.STARTING, Reason.COOLDOWN, "restarted 4 min ago", 3),),
        evidence=Evidence(asked_at=NOW - 270, execution=Execution("50", "", "succeeded", NOW - 268, NOW - 258), lines=("x",)),
        tries=(PastAttempt("i.1", mine, STUCK), PastAttempt("i.2", other, STUCK), PastAttempt("i.3", None, STUCK)),
        execution=theirs,
        tail=("end",),
        approved_by="bert",
    )
    shown = [
        (entry.at - NOW, entry.kind, str(entry.text), entry.link.rpartition("/")[2], entry.lines)
        for entry in tell(incident, Outcome("i", Ending.ESCALATED, Reason.FAILING, NOW - 5, ()))
    ]
    assert shown == [
        (-300, "alert",
            "RabbitMQQueueStuck (critical) fires: Nothing was acknowledged in mail.outgoing for 5 minutes", "d", ()),
        (-290, "check", "mail.outgoing: 5 messages", "", ()),
        (-280, "decision", "restarts: attempt 3: it was restarted recently (restarted 4 min ago)", "", ()),
        (-260, "evidence", "execution 50: succeeded", "", ("x",)),
        (-157, "check", "mail.outgoing: 7 messages, 2 unacknowledged (2 kB), 1 consumer, the oldest is 1 min old", "", ()),
        (-150, "restart", "execution 51 started", "51", ()),
        (-120, "restart", "execution 51: failed after 30 s, still stuck", "51", ()),
        (-111, "restart", "execution 47 started", "", ()),
        (-110, "restart", "execution 47: failed after 1 s, still stuck", "", ()),
        (-100, "restart", "execution 49 started (started by anna)", "", ()),
        (-75, "check", "mail.outgoing: 7 → 9 messages", "", ()),
        (-60, "restart", "execution 49: aborted after 40 s", "", ("end",)),
        (-40, "verdict", "mail.outgoing: still stuck (4 messages, 1 consumer)", "", ()),
        (-20, "check", "mail.outgoing: 9 → 4 messages", "", ()),
        (-5, "alert", "RabbitMQQueueStuck (critical) is resolved", "", ()),
        (-5, "outcome", "a person is needed; the restart job keeps failing; approved by bert", "", ()),
    ]  # fmt: skip
    late = replace(mine, runner_started_at=None)
    late_only = change(incident, triggers=(), queues=(), history=(), evidence=None, tries=(), execution=late)
    assert [str(one.text) for one in tell(late_only)] == ["execution 51: failed after 0 s"]


def test_no_text_of_the_timeline_takes_the_place_of_the_others():
    """However long names are."""
    text = "x" * 2000
    run = Execution(text, "", text, NOW, NOW + 9, user=text)
    trigger = replace(EXAMPLES["escalated"].incident.triggers[0], name=text, severity=text, summary=text, resolved_at=NOW)
    evidence = Evidence(asked_at=NOW, execution=run)
    incident = change(EXAMPLES["escalated"].incident, triggers=(trigger,), queues=(), tries=(), execution=run, evidence=evidence)
    shown = [[len(one) for one in re.findall("x{9,}…", str(entry.text))] for entry in tell(incident)]
    assert sorted(shown) == [[40, 60], [40, 60], [40, 60], [120, 20], [120, 20, 300]]


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
    """Seven days each, today among the last; minutes where it ended. A runbook without restarts has no picture."""
    over = replace(row(13), ended_at=NOW - 6 * DAY_S)
    ahead = row(-1)  # another machine's clock
    rows = (row(0, minutes=8.4), row(6, restarts=2), row(7, minutes=0.0), over, ahead, row(3, restarts=0, runbook="post"))
    (course,) = weeks.plot(rows, RULES, NOW, is_all=True)
    assert [(week.begins, week.restarts, week.minutes) for week in course.weeks] == [("2026-11-11", 2, 0), ("2026-11-18", 3, 24)]
    assert str(course.caption) == "5 restarts since 2026-11-11; saved 24 min"
    assert course.fix_x is None


def test_a_fix_is_marked_where_a_quiet_month_begins():
    """With what a week cost before and after it. The highest bar nearly fills the picture, and the others are to scale."""
    rows = (row(5), row(60, restarts=2), row(67, restarts=3), row(74, restarts=6, minutes=24.0))
    (course,) = weeks.plot(rows, RULES, NOW, is_all=True)
    assert [(bar.x, bar.y, bar.height) for bar in course.restarts] == [
        (0, 4, 52),
        (21, 30, 26),
        (42, 38.7, 17.3),
        (210, 47.3, 8.7),
    ]
    assert [(bar.x, bar.height) for bar in course.minutes] == [(0, 52), (21, 17.3), (42, 17.3), (210, 17.3)]
    assert (course.fix_x, course.width, course.height, course.bar) == (61, 231, 56, 16)
    assert str(course.caption).endswith("; before the line 3.7 a week, after it 0.1")


def test_the_six_runbooks_with_the_most_restarts_are_shown():
    rows = tuple(row(1, restarts=count, runbook=f"r{count}" if count < 9 else "") for count in range(10))
    assert [course.runbook for course in weeks.plot(rows, RULES, NOW, is_all=True)] == ["r8", "r7", "r6", "r5", "r4", "r3"]


@pytest.mark.parametrize(
    ("began", "fixed"), [((), None), ((1,), None), ((30,), None), ((31,), 31), ((40, 9), 40), ((20, 60, 100), 60)]
)
def test_a_month_without_an_incident_is_what_the_report_calls_fixed(began: tuple[int, ...], fixed: int | None):
    """Of several the latest."""
    at = weeks.find_fix([NOW - days * DAY_S for days in began], NOW)
    assert (at and (NOW - at) / DAY_S) == fixed


def test_a_week_that_was_read_in_part_is_left_out():
    """If the archive has older records, the oldest week that was read may lack some."""
    rows = tuple(row(days) for days in (1, 8, 17))
    for is_all, counts in ((True, [1, 1, 1]), (False, [1, 1])):
        assert [week.restarts for week in weeks.plot(rows, RULES, NOW, is_all=is_all)[0].weeks] == counts
    for few in ((), (row(1),), (row(-1),)):
        assert weeks.plot(few, RULES, NOW, is_all=False) == ()
    assert len(weeks.plot((row(300), row(1)), RULES, NOW, is_all=True)[0].weeks) == weeks.WEEKS


def test_a_runbook_that_says_no_minutes_has_no_bars_of_them():
    (course,) = weeks.plot((replace(row(1), saved_minutes=None),), RULES, NOW, is_all=True)
    assert (course.minutes, "saved" in str(course.caption)) == ((), False)
