"""What incidents have in common: planted causes are found, chance is not taken for one, and few incidents say nothing."""

from __future__ import annotations

import random
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from msgspec.structs import replace

from functions.adapters.symptoms.rabbitmq import to_queue
from functions.domain.causes.common import compare
from functions.domain.causes.model import Common, Kind, Pattern
from functions.domain.costs.model import Known
from functions.domain.model.alerts import Target
from functions.domain.model.codes import Ending, Phase, Reason
from functions.domain.model.incidents import AlertRef, Archive, Evidence, Incident, Outcome, QueueState
from functions.domain.model.observations import Execution, ExecutionHistory, Holder, QueueSnapshot
from functions.domain.model.runbooks import Rules

TOKYO = ZoneInfo("Asia/Tokyo")
MONDAY = datetime(2026, 10, 5, tzinfo=TOKYO)
NOW = datetime(2026, 11, 26, tzinfo=TOKYO).timestamp()
DAY_S = 86400.0
RULES = Rules({}, time_zone=TOKYO.key)
TARGET = Target("t1", "https://rundeck.example.com", "job", {"service": "mail-delivery"})
QUEUE = to_queue("/", "mail.delivery")


def record(
    at: float, number: int, *, depth: int = 300, reason: Reason | None = None, restarts: int = 1, held_by: str = "", of: int = 2
) -> Archive:
    """An incident whose alert began at this time; its restart ended four minutes later. `held_by`: one of `of` consumers."""
    name = f"inc{number}"
    before = QueueSnapshot(at + 180, depth, depth - 1, 1, consumers=of, head_at=at - 60)
    if held_by:
        before = replace(before, holders=(Holder(f"10.0.3.{number}", held_by, 1, at - 200),))
    curve = ((at, depth - 30), (at + 180, depth), (at + 300, 0))
    ran = Execution(str(number), "", "succeeded", at + 200, at + 240, f"{name}.1") if restarts else None
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
    )
    ending = Ending.HELD if reason else Ending.RECOVERED
    return Archive(TARGET, incident, Outcome(name, ending, reason, at + 600, (trigger,), restarts=restarts))


def compared(*records: Archive, by_hand: tuple[Execution, ...] = ()) -> Common:
    (common,) = compare(Known(records, {}, {}, {"t1": ExecutionHistory(NOW, by_hand)}), RULES, NOW)
    return common


def pattern(common: Common, kind: Kind) -> Pattern:
    return next(one for one in common.patterns if one.kind is kind)


def on(days: list[int], hour: float = 12.0) -> list[Archive]:
    """One incident on each of these days after a Monday, at this hour in Tokyo."""
    return [record((MONDAY + timedelta(days=day, hours=hour)).timestamp(), day) for day in days]


def test_an_hour_of_the_day_is_found() -> None:
    """Every one in the hour after nine, in the time zone of the configuration."""
    common = compared(*on([0, 2, 5, 9, 13, 18], hour=9.4))
    found = pattern(common, Kind.HOURS)
    assert (str(found.what), found.count, found.of) == ("09:00 to 10:00", 6, 6)
    assert found.telling
    assert found.chance == pytest.approx(96 / 24**6)
    assert common.hours[9] == 6


def test_a_window_may_pass_midnight() -> None:
    """Late evenings and early mornings are neighbours."""
    late, early = on([0, 3, 6, 9], hour=23.5), on([12, 15, 18], hour=0.5)
    assert str(pattern(compared(*late, *early), Kind.HOURS).what) == "23:00 to 01:00"


def test_a_weekday_is_found_and_so_is_the_weekend() -> None:
    assert str(pattern(compared(*on([1, 8, 15, 22, 29])), Kind.WEEKDAYS).what) == "Tuesday"
    weekend = pattern(compared(*on([5, 6, 12, 13, 19, 20, 26])), Kind.WEEKDAYS)
    assert str(weekend.what) == "Saturday or Sunday"
    assert weekend.telling


def test_one_bad_afternoon_is_no_pattern() -> None:
    """Incidents that follow within three hours of each other are one bout, and count once."""
    afternoon = [record((MONDAY + timedelta(hours=14, minutes=40 * place)).timestamp(), place) for place in range(9)]
    common = compared(*afternoon)
    assert len(common.cases) == 9
    assert sum(common.hours) == 1
    assert not any(one.telling for one in common.patterns if one.kind in (Kind.HOURS, Kind.WEEKDAYS))


def test_the_time_since_the_last_restart_counts_those_by_hand() -> None:
    """A leak of three days: after Unstick's restarts and after a person's."""
    first = MONDAY.timestamp()
    by_hand = Execution("90", "", "succeeded", first + 10 * DAY_S, first + 10 * DAY_S + 30)
    began = [0.0, 3.02, 6.0, 9.05, 13.0, 16.1, 19.0]
    common = compared(*(record(first + at * DAY_S, place) for place, at in enumerate(began)), by_hand=(by_hand,))
    found = pattern(common, Kind.INTERVAL)
    assert (found.count, found.of) == (6, 6)
    assert found.telling
    assert common.since_restart_s is not None
    assert common.since_restart_s.middle == pytest.approx(3 * DAY_S, rel=0.03)


def test_chance_is_not_taken_for_a_cause() -> None:
    """Of 300 made up archives without any pattern, no more than one in fifty claims to have one."""
    drawn = random.Random(11)
    claimed = 0
    for _ in range(300):
        times = sorted(MONDAY.timestamp() + drawn.random() * 45 * DAY_S for _ in range(drawn.randint(5, 20)))
        common = compared(*(record(at, place) for place, at in enumerate(times)))
        claimed += any(one.telling for one in common.patterns)
    assert claimed <= 6


def test_one_of_many_consumers_that_holds_every_time_is_found() -> None:
    """Of eight workers the same one, in six of seven incidents. Its address changes, so no host is named twice."""
    common = compared(
        *(record(NOW - place * DAY_S, place, held_by="worker-2" if place else "worker-5", of=8) for place in range(7))
    )
    found = pattern(common, Kind.HOLDER)
    assert (found.what, found.count, found.of, found.telling) == ("worker-2", 6, 7, True)
    assert found.chance == pytest.approx(8 * (7 * 7 + 1) / 8**7)
    assert pattern(common, Kind.HOST).count == 1


def test_an_only_consumer_is_no_finding() -> None:
    """Nobody else could have held the messages."""
    common = compared(*(record(NOW - place * DAY_S, place, held_by="worker-1", of=1) for place in range(7)))
    found = pattern(common, Kind.HOLDER)
    assert (found.count, found.chance, found.telling) == (7, 1.0, False)


def test_few_incidents_say_nothing() -> None:
    """Four at the same hour are listed, and nothing is said of them."""
    common = compared(*on([0, 1, 2, 3], hour=9))
    assert common.too_few
    assert common.patterns == ()


def test_the_figures_before_the_restart() -> None:
    """Depth, growth and the oldest message, as spreads over all incidents."""
    common = compared(*(record(NOW - place * DAY_S, place, depth=depth) for place, depth in enumerate([40, 300, 90])))
    assert common.depth is not None
    assert (common.depth.low, common.depth.middle, common.depth.high) == (40, 90, 300)
    assert common.growth is not None
    assert common.growth.middle == pytest.approx(10.0)
    assert common.oldest_s is not None
    assert common.oldest_s.middle == pytest.approx(240.0)
    assert common.cases[0].consumers == 2


def test_lines_that_stand_in_as_many_incidents_have_an_order() -> None:
    """The weekly report names the first of them, which must not be another one each time."""
    names = [f"relay-{letter}: timed out" for letter in "gcaebfd"]
    evidence = Evidence(lines=tuple(names))
    records = [record(NOW - place * DAY_S, place) for place in range(6)]
    common = compared(*(replace(one, incident=replace(one.incident, evidence=evidence)) for one in records))
    assert [one.what for one in common.patterns if one.kind is Kind.LINE] == sorted(names)


def test_what_was_never_stuck_does_not_count() -> None:
    """A queue that was well when Unstick looked is no incident of the bug; one that it only observed is."""
    gone = record(NOW, 1, reason=Reason.SYMPTOM_GONE, restarts=0)
    observed = record(NOW, 2, reason=Reason.OBSERVE_ONLY, restarts=0)
    assert [case.incident for case in compared(gone, observed).cases] == ["inc2"]
    assert compare(Known((gone,), {}, {}, {}), RULES, NOW) == ()
