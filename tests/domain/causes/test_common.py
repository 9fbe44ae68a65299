"""What incidents have in common: what three in four share is found and said, and few incidents say nothing."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from msgspec.structs import replace

from functions.adapters.symptoms.rabbitmq import to_queue
from functions.domain.causes.common import Common, Kind, Pattern, compare
from functions.domain.causes.words import in_short, say_moved, sentence
from functions.domain.costs.model import Known
from functions.domain.model.alerts import Target
from functions.domain.model.codes import Ending, Phase, Reason
from functions.domain.model.incidents import AlertRef, Archive, Evidence, Incident, Outcome, QueueState, change
from functions.domain.model.observations import Execution, ExecutionHistory, Holder, QueueSnapshot
from functions.domain.model.runbooks import Rules
from unstick.commands.ticket import draft, figures, judgement

TOKYO = ZoneInfo("Asia/Tokyo")
MONDAY = datetime(2026, 10, 5, tzinfo=TOKYO)
NOW = datetime(2026, 11, 26, tzinfo=TOKYO).timestamp()
DAY_S = 86400.0
AHEAD_S = 200.0  # the runner's clock less ours
RULES = Rules({}, time_zone=TOKYO.key)
TARGET = Target("t1", "https://rundeck.example.com", "job", {"service": "mail-delivery"})
QUEUE = to_queue("/", "mail.delivery")


def record(
    at: float,
    number: int,
    *,
    depth: int = 300,
    reason: Reason | None = None,
    restarts: int = 1,
    held_by: str = "",
    of: int = 2,
    lines: tuple[str, ...] = (),
    target: Target | None = TARGET,
) -> Archive:
    """An incident whose alert began at this time; its restart ended four minutes later. `held_by`: one of `of` consumers."""
    name = f"inc{number}"
    before = QueueSnapshot(at + 180, depth, depth - 1, 1, consumers=of, head_at=at - 60)
    if held_by:
        before = replace(before, holders=(Holder(f"10.0.3.{number}", held_by, 1, at - 200),))
    curve = ((at, depth - 30), (at + 180, depth), (at + 300, 0))
    ran = Execution(str(number), "", "succeeded", at + 400, at + 440, f"{name}.1") if restarts else None
    trigger = AlertRef("f", "g", at, QUEUE.key)
    incident = Incident(
        name,
        Phase.VERIFYING,
        at + 10,
        "mail",
        (QueueState(QUEUE, "mail", at, before, curve=curve),),
        (trigger,),
        restarts=restarts,
        execution=ran,
        runner_ahead_s=AHEAD_S,
        evidence=Evidence(lines=lines),
    )
    ending = Ending.HELD if reason else Ending.RECOVERED
    return Archive(target, incident, Outcome(name, ending, reason, at + 600, (trigger,), restarts=restarts))


def compared(*records: Archive, by_hand: tuple[Execution, ...] = ()) -> Common:
    (common,) = compare(Known(records, {}, {}, {"t1": ExecutionHistory(NOW + AHEAD_S, by_hand)}), RULES, NOW)
    return common


def on(days: list[int], hour: float = 12.0, **changes: Any) -> list[Archive]:
    """One incident on each of these days after a Monday, at this hour in Tokyo."""
    return [record((MONDAY + timedelta(days=day, hours=hour)).timestamp(), day, **changes) for day in days]


def daily(count: int, **changes: Any) -> list[Archive]:
    """So many, a day and five hours apart, with these changes."""
    return [record(NOW - place * 1.21 * DAY_S, place, **changes) for place in range(count)]


def said(common: Common) -> list[str]:
    return [str(sentence(one)) for one in common.patterns]


AFTERNOON = [record((MONDAY + timedelta(hours=14, minutes=40 * place)).timestamp(), place) for place in range(9)]
OTHER = replace(TARGET, key="t2", options={"service": "letters"})
CODE = "send (mailer.py:212)"
HELD = "in 6 of 7 the messages were held by worker-2"
LONG = f"in 6 of 8 the messages were held by {'x' * 59}…"


@pytest.mark.parametrize(
    ("records", "sentences"),
    [
        (on([0, 2, 5, 9, 13, 18], hour=9.4), ["6 of 6 began from 09:00 to 10:00"]),
        ([*on([0, 3, 6, 9], hour=23.5), *on([12, 15, 18], hour=0.5)], ["7 of 7 began from 23:00 to 01:00"]),
        ([*on([0, 3, 6], hour=9), *on([9, 12, 15], hour=17)], []),
        (AFTERNOON, []),
        ([*on([0, 3, 6, 9, 12, 15], hour=9), *on([18, 21], hour=17)], ["6 of 8 began from 09:00 to 10:00"]),
        ([*on([0, 3], 23.5), *on([6, 9], hour=0.5), *on([12, 15], hour=1.5)], ["6 of 6 began from 23:00 to 02:00"]),
        ([*daily(6), record(NOW - 9 * DAY_S, 9, target=OTHER)], ["6 of 7 were of service=mail-delivery"]),
        ([*daily(6, target=None), record(NOW - 9 * DAY_S, 9)], []),
        ([*daily(6, held_by="worker-2"), record(NOW - 9 * DAY_S, 9, held_by="worker-5")], [HELD]),
        ([*daily(6, held_by="x" * 99), *[record(NOW - day * DAY_S, day, held_by="w") for day in (9, 15)]], [LONG]),
        (daily(7, held_by="worker-1", of=1), []),
        ([*daily(4, lines=("hangs",)), *daily(3)], []),
        (
            [record(NOW - day * 1.21 * DAY_S, day, lines=(f"worker {day} hangs", f"0x7f{day} recv", CODE)) for day in range(5)],
            ["in 5 of 5 incidents: * recv", f"in 5 of 5 incidents: {CODE}", "in 5 of 5 incidents: worker * hangs"],
        ),
        (daily(4, lines=("hangs",)), []),
    ],
    ids=[
        "an hour", "across midnight", "two times of day", "one bad afternoon is one bout", "exactly three in four",
        "three hours", "a target", "no target is none", "a holder", "a long name", "an only consumer",
        "lines of too few incidents", "lines differ in numbers, but not in the line of code",
        "too few incidents",
    ],
)  # fmt: skip
def test_what_three_in_four_share_is_named(records: list[Archive], sentences: list[str]) -> None:
    """In the time zone of the configuration, with its count."""
    assert said(compared(*records)) == sentences


def test_the_figures_before_the_restart() -> None:
    """Depth, growth, the oldest message and the time since the last restart, those by hand included, and when they began."""
    ended = NOW - 2.5 * DAY_S + 230
    by_hand = Execution("90", "", "succeeded", ended - 30, ended)
    refused = replace(by_hand, id="91", status="failed", runner_ended_at=NOW - 0.5 * DAY_S, runner_not_after=ended - 31)
    records = [record(NOW - place * DAY_S, place, depth=depth) for place, depth in enumerate([40, 300, 90])]
    shown = {str(label): str(value) for label, value in figures(compared(*records, by_hand=(by_hand, refused)))}
    assert shown == {
        "Times of day, from 00:00 to 23:00": "█" + "▁" * 23,
        "Weekdays, from Monday to Sunday": "▁███▁▁▁",
        "Messages": "40 to 300, median 90",
        "Growth per minute": "+10.0 to +10.0, median +10.0",
        "Oldest message": "4 min to 4 min, median 4 min",
        "Since the restart before": "11 h 59 min to 23 h 56 min, median 23 h 56 min",
    }
    (queue,) = records[0].incident.queues
    assert queue.before is not None
    ahead = replace(queue, before=replace(queue.before, head_at=queue.before.at + 60))
    (case,) = compared(replace(records[0], incident=replace(records[0].incident, queues=(ahead,)))).cases
    assert case.oldest_s == 0.0, "the publisher's clock is ahead"


def test_incidents_within_three_hours_are_one_bout() -> None:
    """Exactly three hours apart, too."""
    assert sum(compared(record(NOW, 1), record(NOW + 10800, 2)).hours) == 1
    assert sum(compared(record(NOW, 1), record(NOW + 10801, 2)).hours) == 2


@pytest.mark.parametrize(
    ("curve", "depth", "growth"),
    [
        (((60.0, 10), (90.0, 99), (120.0, 40)), 40, 30.0),
        (((60.0, 10), (119.0, 40)), 40, None),
        (((60.0, 10),), 10, None),
        ((), None, None),
    ],
    ids=["over a minute", "in less", "one point", "none"],
)
def test_without_a_reading_before_the_restart_the_curve_tells(
    curve: tuple[tuple[float, int], ...], depth: int | None, growth: float | None
) -> None:
    """How deep the deepest queue was at last, and by how much it grew a minute."""
    one = record(60.0, 1)
    (queue,) = one.incident.queues
    shallow = replace(queue, before=None, curve=((60.0, 1), (120.0, 1)))
    queues = (shallow, replace(queue, before=None, curve=curve)) if curve else (replace(queue, before=None, curve=()),)
    (case,) = compared(replace(one, incident=replace(one.incident, queues=queues))).cases
    assert (case.depth, case.growth, case.oldest_s) == (depth, growth, None)


@pytest.mark.parametrize(
    ("records", "sentence"),
    [
        (on([0, 1, 2]), "Can't tell from 3 incidents what they have in common."),
        ([*on([0, 3, 6], hour=9), *on([9, 12, 15], hour=17)], "Nothing is common to three in four of them."),
    ],
)
def test_where_nothing_can_be_said_it_says_so(records: list[Archive], sentence: str) -> None:
    common = compared(*records)
    assert str(judgement(common)) == sentence
    assert in_short(common) == ""


def test_what_was_never_stuck_does_not_count() -> None:
    """A queue that was well is no incident of the bug, one that was only observed is; the report has the most frequent line."""
    gone = record(NOW, 1, reason=Reason.SYMPTOM_GONE, restarts=0)
    observed = record(NOW, 2, reason=Reason.OBSERVE_ONLY, restarts=0)
    assert [case.incident for case in compared(gone, observed).cases] == ["inc2"]
    assert compare(Known((gone,), {}, {}, {}), RULES, NOW) == ()
    records = [
        replace(one, incident=replace(one.incident, evidence=Evidence(lines=(CODE, "b")))) for one in on([0, 3, 9, 11, 19])
    ]
    assert str(in_short(compared(*records))) == ("mail, in common: 5 of 5 began from 12:00 to 13:00; in 5 of 5 incidents: b")


def parked(one: Archive, message: str, *, ending: Ending = Ending.RECOVERED, name: str = "-park") -> Archive:
    """After the restart this message was moved aside."""
    execution = one.incident.execution
    assert execution is not None
    ran, log = replace(execution, tag=f"{execution.tag}{name}"), (f"message 1 of 1: {message}", "exit 0: moved 1")
    incident = change(replace(one.incident, execution=ran), tail=log)
    return replace(one, incident=incident, outcome=replace(one.outcome, ending=ending))


def test_the_message_that_hung_the_application_is_named_first() -> None:
    """In `causes`, in the report's line and in the ticket; what such messages share is counted."""
    named = [f'{{"message_id": "`m{place}`", "type": "order", "routing_key": "mail.{place % 2}"}}' for place in range(5)]
    common = compared(*(parked(one, message) for one, message in zip(daily(5), named, strict=True)))
    assert [str(say_moved(message)) for message in common.moved[:1]] == [
        "it hung on the message with message id `m0`, type order, routing key mail.0"
    ]
    assert said(common) == ["in 5 of 5 the message that hung it had type order"]
    assert str(in_short(common)).startswith("mail, in common: it hung on the message with message id `m0`, type order")
    assert "- it hung on the message with message id" in draft(common, RULES).replace("`", "")


def test_the_report_has_the_first_of_what_is_common() -> None:
    """Three messages, three features and one line, cut."""
    message = '{"message_id": "m", "type": "t", "app_id": "a", "exchange": "e", "routing_key": "r"}'
    records = [parked(one, message) for one in daily(5, lines=("l" * 200, "m"))]
    words = str(in_short(compared(*records)))
    assert words.count("it hung on the message with") == 3
    assert words.count("in 5 of 5 the message that hung it had") == 3
    assert words.endswith(f"; in 5 of 5 incidents: {'l' * 159}…")


def test_a_message_after_which_it_still_hung_is_not_named() -> None:
    """It was probably not that one; and what a restart's log says is nobody's message."""
    message = '{"message_id": "m"}'
    assert compared(parked(daily(1)[0], message, ending=Ending.ESCALATED)).moved == ()
    assert compared(parked(daily(1)[0], message, name="")).moved == ()


def test_the_ticket_has_figures_lines_and_incidents() -> None:
    """Markdown that a tracker shows: other people's words are code that no backtick or line break ends."""
    records = [
        replace(one, incident=replace(one.incident, evidence=Evidence(lines=(CODE,)))) for one in on([0, 2, 5, 9, 20], 9.4)
    ]
    text = draft(compared(*records), RULES, root_cause="https://tracker.example.com/MAIL-1")
    assert text.startswith("# mail gets stuck until it is restarted\n")
    assert "5 incidents from 2026-10-05 to 2026-10-25, 5 restarts, a person was needed 0 times." in text
    approved = [replace(one, incident=change(one.incident, approved_by="anna")) for one in records[:2]]
    assert "5 restarts, a person was needed 2 times." in draft(compared(*approved, *records[2:]), RULES)
    assert "The runbook names this ticket: https://tracker.example.com/MAIL-1" in text
    assert "- 5 of 5 began from 09:00 to 10:00\n" in text
    assert f"- `{CODE}` – in 5 of 5 incidents\n" in text
    assert "| 2026-10-25 09:24 | inc20 | 300 |" in text
    assert "`unstick incident ID --evidence`" in text
    hostile = Pattern(Kind.LINE, "x` [click](http://evil.example)\n# heading", 6, 7)
    text = draft(replace(compared(*on([0, 2, 5, 9, 13])), patterns=(hostile,)), RULES)
    (row,) = [row for row in text.splitlines() if "click" in row]
    assert row.startswith("- `x' [click](http://evil.example) # heading` – ")
