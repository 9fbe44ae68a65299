"""What the bug costs: counting, what is likely behind it, what is missing, and how loud it is said."""

from __future__ import annotations

from datetime import datetime
from xml.etree import ElementTree as ET  # only our own pictures are read
from zoneinfo import ZoneInfo

import pytest
from msgspec.structs import replace

from functions.adapters.symptoms.rabbitmq import to_queue
from functions.domain.costs import card as cost_card
from functions.domain.costs import report as cost
from functions.domain.costs import would_be
from functions.domain.costs.model import MAX_PROMINENCE, Became, Known, Likely, RunbookCost
from functions.domain.model.alerts import Target
from functions.domain.model.codes import Ending, Mode, Phase, Reason
from functions.domain.model.incidents import AlertRef, Archive, Doubt, Incident, Outcome, PastAttempt, QueueState
from functions.domain.model.messages import Card
from functions.domain.model.observations import Execution, ExecutionHistory, QueueSnapshot, Unknown
from functions.domain.model.runbooks import Restart, Rules, Runbook, Symptom
from functions.domain.model.unmatched import UnmatchedAlert
from tests.support.worlds.scenes import change

TOKYO = ZoneInfo("Asia/Tokyo")
NOW = datetime(2026, 11, 25, 9, 0, tzinfo=TOKYO).timestamp()
DAY_S = 86400.0
TARGET = Target("t1", "https://rundeck.example.com", "job", {"service": "mail-delivery"})
RUNBOOK = Runbook(
    "mail",
    (),
    Restart("job"),
    Symptom("rabbitmq"),
    mode=Mode.AUTO,
    root_cause="https://tracker.example.com/MAIL-123",
    manual_minutes=8,
)
HELD = QueueSnapshot(0.0, 362, 342, 20, consumers=1, ack_samples=((1.0, 900), (6.0, 0), (11.0, 900)))


def rules(language: str = "en", **runbooks: Runbook) -> Rules:
    return Rules(runbooks or {"mail": RUNBOOK}, language=language, time_zone=TOKYO.key)


def execution(number: int, at: float, tag: str = "", **changes: object) -> Execution:
    return replace(Execution(str(number), f"https://r/{number}", "succeeded", at, at + 30, tag), **changes)  # type: ignore[arg-type]


def record(
    days_ago: float,
    number: int,
    *,
    ending: Ending = Ending.RECOVERED,
    took_s: float = 300,
    before: QueueSnapshot | None = HELD,
    runbook: str = "mail",
    tag: str | None = None,
    target: Target = TARGET,
) -> Archive:
    """An incident that ended so long ago, with one restart by Unstick (or with another tag)."""
    at = NOW - days_ago * DAY_S
    name = f"inc{number}"
    watched = QueueState(to_queue("/", "mail"), runbook, at - took_s, before)
    ran = execution(number, at - 100, f"{name}.1" if tag is None else tag) if ending is not Ending.HELD else None
    trigger = AlertRef("f", "g", at - took_s, watched.queue.key)
    incident = Incident(
        name, Phase.VERIFYING, at - took_s + 5, runbook, (watched,), (trigger,), restarts=1 if ran else 0, execution=ran
    )
    return Archive(target, incident, Outcome(name, ending, None, at, (trigger,)))


def known(*records: Archive, history: tuple[Execution, ...] | Unknown = (), ahead_s: float = 0.0) -> Known:
    """As report.gather has it."""
    began: dict[str, tuple[float, ...]] = {}
    for one in records:
        began[one.incident.runbook] = (*began.get(one.incident.runbook, ()), one.incident.began_at)
    ran = history if isinstance(history, Unknown) else ExecutionHistory(NOW + ahead_s, history)
    seen = {one.target.key: (one.incident.runbook, one.target) for one in records if one.target} or {"t1": ("mail", TARGET)}
    return Known(records, began, seen, dict.fromkeys(seen, ran))


def counted(archived: Known, spoken: Rules | None = None) -> RunbookCost:
    """The cost of the first runbook."""
    return cost.cost(archived, spoken or rules(), NOW).runbooks[0]


def test_it_counts_endings_median_and_minutes_saved() -> None:
    """Each ending once, the median from the alert on, and minutes only for recoveries by Unstick's own restarts."""
    costs = cost.cost(
        known(
            record(1, 1, took_s=200),
            record(2, 2, took_s=400),
            record(3, 3, took_s=900),
            record(4, 4, ending=Ending.ESCALATED),
            record(5, 5, ending=Ending.HELD),
            record(6, 6, tag="", took_s=500),
            record(20, 7, took_s=100),
            record(31, 8),
        ),
        rules(),
        NOW,
    ).runbooks[0]
    assert (costs.week.by_unstick, costs.week.by_hand) == (4, 1)
    assert (costs.week.recovered, costs.week.escalated, costs.week.held) == (4, 1, 1)
    assert costs.week.median_recovery_s == 450
    assert costs.week.saved_minutes == 3 * 8
    assert (costs.month.by_unstick, costs.month.recovered, costs.month.saved_minutes) == (5, 5, 4 * 8)
    ahead, half = record(1, 1, took_s=-60), rules(mail=replace(RUNBOOK, manual_minutes=0.5))
    assert counted(known(ahead)).week.median_recovery_s == 0.0, "the sender's clock is ahead"
    assert counted(known(ahead), half).week.saved_minutes == 0.5


def suspected(days_ago: float, number: int, runbook: str = "mail", target: Target = TARGET) -> Archive:
    """An incident that began as a suspicion and proved true."""
    archived = record(days_ago, number, runbook=runbook, target=target)
    incident = replace(archived.incident, triggers=tuple(replace(one, suspicion=True) for one in archived.incident.triggers))
    return replace(archived, incident=incident)


def test_suspicions_are_counted_with_those_that_came_to_nothing() -> None:
    """The archive has those that proved true, the documents how many did not, by day."""
    passed = {"mail": {"2026-11-25": 30, "2026-11-19": 8, "2026-11-18": 4, "2026-10-01": 500}}
    archived = replace(known(suspected(1, 1), suspected(2, 2), suspected(6, 3), record(3, 4)), passed=passed)
    spent = counted(archived)
    assert (spent.week.suspicions, spent.week.passed) == (41, 38)
    assert (spent.month.suspicions, spent.month.passed) == (45, 42)
    assert dict(card_of(archived, rules()).facts)["Suspicions, 7 days"] == "mail: 41 suspicions; the queue moved by itself in 38"


def test_it_says_who_declined_a_restart_and_why() -> None:
    """The newest first; other holds are not among them."""

    def declined(days_ago: float, number: int, by: str, why: str) -> Archive:
        one = record(days_ago, number, ending=Ending.HELD)
        incident = change(one.incident, declined_by=by, detail=why)
        return replace(one, incident=incident, outcome=replace(one.outcome, reason=Reason.DECLINED))

    old, new = declined(9, 1, "anna", ""), declined(1, 2, "bert", "a rollout is under way")
    said = known(old, new, record(2, 3, ending=Ending.HELD))
    costs = cost.cost(said, rules(), NOW)
    assert costs.runbooks[0].declined == ("bert: a rollout is under way", "anna")
    facts = dict(card_of(said, rules()).facts)
    assert "declined: 2 (bert: a rollout is under way; anna)" in facts["mail, 30 days"]
    assert "declined" not in facts["mail, 7 days"]
    fourth, long = declined(4, 4, "cora", "later"), declined(3, 3, "dora", "x" * 200)
    facts = dict(card_of(known(old, new, long, fourth), rules()).facts)
    assert f"declined: 4 (bert: a rollout is under way; dora: {'x' * 113}…; cora: later)" in facts["mail, 30 days"]


def test_it_says_how_often_a_queue_was_only_likely_to_hang() -> None:
    """So that somebody writes the line that settles it."""
    one = record(2, 1, ending=Ending.HELD)
    (queue,) = one.incident.queues
    likely = replace(one.incident, queues=(replace(queue, doubt=Doubt("it could take more")),))
    asked = replace(one, incident=change(likely, nonce="inc1.0.n"))
    said = known(asked, replace(one, incident=likely), record(3, 2))
    assert cost.cost(said, rules(), NOW).runbooks[0].likely == 1
    assert "only likely to hang: 1" in dict(card_of(said, rules()).facts)["mail, 30 days"]


OWN = execution(1, NOW - DAY_S - 100, "inc1.1")
LATE = PastAttempt("inc1.1", execution(9, NOW - DAY_S - 200, "inc1.1"), "refused_late")


def again_after_a_late_start() -> Archive:
    archived = record(1, 1)
    return replace(archived, incident=replace(archived.incident, tries=(LATE,), execution=execution(1, NOW - DAY_S, "inc1.2")))


@pytest.mark.parametrize(
    ("archived", "history", "week"),
    [
        (record(1, 1), (OWN,), (1, 0)),
        (record(1, 1), (OWN, replace(OWN, id="2")), (1, 0)),
        (record(1, 1), (execution(10, NOW - 3600), execution(11, NOW - 7200)), (1, 2)),
        (record(1, 1), (execution(12, NOW - 50, scheduled=True),), (1, 0)),
        (record(1, 1), (execution(13, NOW - 60, "inc9.1", runner_not_after=NOW - 70, status="failed"),), (1, 0)),
        (record(1, 1), (execution(13, NOW - 60, "inc9.1", runner_not_after=NOW - 60, status="failed"),), (2, 0)),
        (again_after_a_late_start(), (), (1, 0)),
    ],
    ids=["in both", "Rundeck's retry", "by hand", "scheduled", "refused late", "failed in time", "a try that was refused late"],
)
def test_a_restart_counts_once(archived: Archive, history: tuple[Execution, ...], week: tuple[int, int]) -> None:
    """By Unstick and by hand, whatever its source; what never ran is none."""
    counts = counted(known(archived, history=history)).week
    assert (counts.by_unstick, counts.by_hand) == week


def test_days_and_hours_are_those_of_the_configured_zone() -> None:
    """Those of the configured zone by our clock, and of the incident's runbook, whatever it was called before."""
    at = datetime(2026, 11, 23, 23, 30, tzinfo=ZoneInfo("UTC")).timestamp()
    costs = cost.cost(known(history=(execution(1, at + 7200),), ahead_s=7200.0), rules(), NOW).runbooks[0]
    assert [day.day for day in costs.daily if day.by_hand] == ["2026-11-24"]
    assert (costs.daily[0].day, costs.daily[-1].day, len(costs.daily)) == ("2026-10-27", "2026-11-25", 30)
    assert costs.hours[8] == sum(costs.hours) == 1
    assert len(costs.hours) == 24
    assert [day.by_hand for day in costs.weekly] == [0, 0, 0, 1]
    for old in ("former", "the former"):
        earlier, later = record(1, 2, runbook=old), record(2, 1)
        history = tuple(one.incident.execution for one in (earlier, later) if one.incident.execution)
        costs = cost.cost(known(earlier, later, history=(*history, execution(9, NOW - 3600))), rules(), NOW)
        assert {one.runbook: (one.week.by_unstick, one.week.by_hand) for one in costs.runbooks} == {"mail": (1, 1), old: (1, 0)}


def test_the_first_day_counts_from_midnight_on() -> None:
    """Of the week and of the month: what ended or ran a second before belongs to the day before."""
    for days, first in ((7, datetime(2026, 11, 19, tzinfo=TOKYO)), (30, datetime(2026, 10, 27, tzinfo=TOKYO))):
        midnight = first.timestamp()
        ended = [record((NOW - at) / DAY_S, n, ending=Ending.HELD) for n, at in enumerate((midnight, midnight - 1))]
        history = tuple(execution(n, at) for n, at in enumerate((midnight, midnight - 1)))
        spent = counted(known(*ended, history=history))
        counts = spent.week if days == 7 else spent.month
        assert (counts.days, counts.held, counts.by_hand) == (days, 1, 1)
    assert (spent.daily[0].by_hand, sum(spent.hours), spent.likely) == (1, 1, 0)


@pytest.mark.parametrize(
    ("days_ago", "first", "weeks"),
    [
        ((7.0,), 7.0, 1), ((7 - 1 / DAY_S,), 7 - 1 / DAY_S, 0), ((30.0,), 30.0, 4), ((30.01,), None, 0), ((20.0, 50.0), 50.0, 7),
        ((20.0, 50.01), 20.0, 2),
    ],
)  # fmt: skip
def test_a_month_without_incidents_ends_a_run(days_ago: tuple[float, ...], first: float | None, weeks: int) -> None:
    """The bug before it was fixed; the weeks are those since the first incident of the run."""
    spent = counted(replace(known(), began={"mail": tuple(NOW - days * DAY_S for days in days_ago)}))
    assert (spent.first_at, spent.weeks_open) == (None if first is None else NOW - first * DAY_S, weeks)


def test_runbooks_are_listed_by_their_restarts() -> None:
    """The quiet ones last, then by name; one that left the configuration too, and none without a name."""
    names = ("b", "b", "c", "a", "d", "gone", "")
    records = [record(n + 1, n, runbook=name, target=replace(TARGET, key=name)) for n, name in enumerate(names)]
    spoken = rules(**dict.fromkeys(("z", "d", "c", "b", "a"), replace(RUNBOOK, manual_minutes=0)))
    costs = cost.cost(known(*records), spoken, NOW).runbooks
    assert [one.runbook for one in costs] == ["b", "a", "c", "d", "gone", "z"]
    assert (costs[0].week.saved_minutes, costs[4].root_cause, costs[4].manual_minutes) == (None, "", 0.0)


@pytest.mark.parametrize(
    ("seen", "cause"),
    [
        ([HELD], (Likely.HELD_UNACKED, 1, 1)),
        ([replace(HELD, ack_samples=())], (Likely.HELD_UNACKED, 1, 1)),
        ([replace(HELD, ack_samples=((1.0, 900), (6.0, 905)))], None),
        ([replace(HELD, unacked=0)], None),
        ([replace(HELD, consumers=None)], None),
        ([None], None),
        ([replace(HELD, consumers=0, unacked=0)], (Likely.NO_CONSUMER, 1, 1)),
        ([HELD, HELD, replace(HELD, unacked=0)], (Likely.HELD_UNACKED, 2, 3)),
        ([HELD, replace(HELD, unacked=0), replace(HELD, unacked=0)], None),
        ([HELD, None, None], (Likely.HELD_UNACKED, 1, 1)),
    ],
)
def test_the_likely_cause_comes_from_what_was_seen_before_the_restart(
    seen: list[QueueSnapshot | None], cause: tuple | None
) -> None:
    """A consumer that held messages and acknowledged none, or none at all; in half of the incidents at least; else nothing."""
    records = [record(n + 1, n, before=before) for n, before in enumerate(seen)]
    likely_cause = counted(known(*records)).cause
    assert (likely_cause and (likely_cause.likely, likely_cause.incidents, likely_cause.of)) == cause


YOUNG = {"archive_begins": "2026-11-22", "history_begins": "2026-11-22"}


@pytest.mark.parametrize(
    ("archived", "gaps"),
    [
        (known(record(3, 1), history=(execution(1, NOW - 3 * DAY_S, "inc1.1"),)), YOUNG),
        (known(record(100, 1), record(20, 2), history=(execution(3, NOW - 5 * DAY_S),)), {"history_short": "2026-11-20"}),
        (known(record(100, 1), history=Unknown("rundeck: 403")), {"history_unread": ""}),
        (known(), {"archive_empty": ""}),
        (known(record(100, 1), history=(execution(1, NOW - 3 * DAY_S), execution(2, NOW - 40 * DAY_S))), {}),
        (known(record(100, 1), history=()), {}),
    ],
    ids=["both young", "rows lost", "unreadable", "empty", "one row from before the month", "never restarted"],
)
def test_it_says_how_far_archive_and_history_reach(archived: Known, gaps: dict[str, str]) -> None:
    """One row from before the month is proof; a target that nobody ever restarted is nothing to warn of."""
    listed = cost.cost(archived, rules(), NOW).gaps
    day = {gap.lack.value: datetime.fromtimestamp(gap.at, TOKYO).strftime("%Y-%m-%d") if gap.at else "" for gap in listed}
    assert day == gaps
    assert all("mail-delivery" in str(gap.about) for gap in listed if gap.lack.value.startswith("history"))


def card_of(archived: Known, spoken: Rules, days: int = 7) -> Card:
    return cost_card.card(cost.cost(archived, spoken, NOW), spoken, days=days)


SHORT = known(record(100, 1), record(20, 2), history=(execution(3, NOW - 10 * DAY_S), execution(4, NOW - DAY_S)))


def reaching_back(seconds: float) -> Known:
    """The archive has a restart that the history lost: its oldest is so old."""
    return known(record(100, 1), record(20, 2), history=(execution(3, NOW - seconds),))


@pytest.mark.parametrize(
    ("archived", "days", "headline"),
    [
        (known(record(1, 1), history=(execution(1, NOW - DAY_S),)), 7, "Restarts in 7 days: 1 by Unstick, 1 by hand"),
        (known(record(1, 1), history=Unknown("403")), 7, "Known restarts in 7 days: 1 by Unstick, 0 by hand"),
        (SHORT, 7, "Restarts in 7 days: 0 by Unstick, 1 by hand"),
        (SHORT, 30, "Known restarts in 30 days: 1 by Unstick, 2 by hand"),
        (reaching_back(7 * DAY_S), 7, "No restarts in 7 days"),
        (reaching_back(7 * DAY_S - 0.5), 7, "No known restarts in 7 days, but the data is incomplete"),
    ],
    ids=["all known", "history unreadable", "it has the week", "it lacks the month", "exactly the week", "not all of it"],
)
def test_the_headline_counts_what_is_known(archived: Known, days: int, headline: str) -> None:
    """Zero by hand is not claimed where the history of these days could not be read."""
    assert card_of(archived, rules(), days=days).headline.partition(": ")[2].lstrip("! ") == headline


def test_gaps_that_do_not_fit_are_counted() -> None:
    """Nothing that is missing is passed over in silence; markup and length in names are shown as text."""
    targets = {f"t{n}": ("mail", replace(TARGET, key=f"t{n}", options={"service": f"s{n}"})) for n in range(9)}
    archived = Known((), {"mail": (NOW - 90 * DAY_S,)}, targets, dict.fromkeys(targets, Unknown("Rundeck: answered 403")))
    five, six = ({f"t{n}": targets[f"t{n}"] for n in range(count)} for count in (5, 6))
    assert len(card_of(replace(archived, targets=five), rules()).text) == 5
    assert card_of(replace(archived, targets=six), rules()).text[5:] == ("1 more of these is in the report's JSON.",)
    assert card_of(archived, rules()).text[-2:] == (
        "Rundeck's history can't be read, so restarts by hand are not counted: service=s4: Rundeck: answered 403",
        "4 more of these are in the report's JSON.",
    )
    name = "<b>&\u202e" + "x" * 500
    target = replace(TARGET, options={"service": name})
    spoken = rules(mail=RUNBOOK)
    costs = cost.cost(known(record(1, 1, runbook=name, target=target), history=Unknown(name)), spoken, NOW)
    card = cost_card.card(costs, spoken)
    assert all(len(text) < 1000 and "\u202e" not in text for text in (card.headline, *card.text, *(b for _, b in card.facts)))


def test_a_week_with_restarts_is_no_week_without_work() -> None:
    """The bug behind them is somebody's work, though nobody gets up for it; nor is a month, if the card is the month's."""
    assert card_of(known(*(record(1, n) for n in range(3))), rules()).headline.startswith("In working hours: ")
    by_hand = known(history=(execution(1, NOW - 20 * DAY_S),))
    assert card_of(by_hand, rules()).headline == "No action needed: No restarts in 7 days"
    assert card_of(known(record(9, 1)), rules()).headline.startswith("In working hours: ! No known"), "for a week by now"
    assert card_of(by_hand, rules(), days=30).headline == "In working hours: Restarts in 30 days: 0 by Unstick, 1 by hand"


def test_many_runbooks_share_the_card() -> None:
    """The loudest bug comes first among the sentences, the most restarts among the facts; of each kind four are shown, cut."""
    name = "x" * 79
    book = replace(RUNBOOK, mode=Mode.OBSERVE, root_cause="https://t/" + "c" * 400)
    records = []
    for n in range(9):  # the first has the most restarts, the last has been stuck for the longest
        for days_ago in (*range(1, 7 - n), *(8 + 7 * week for week in range(min(n, 4)))):
            one = suspected(days_ago, len(records), f"{n}{name}", replace(TARGET, key=f"t{n}"))
            incident = change(one.incident, observed_at=one.outcome.at - 900, healed_at=one.outcome.at)
            records.append(replace(one, incident=incident))
    unmatched = tuple(UnmatchedAlert(f"{n}{name}", "", "no service", NOW, NOW) for n in range(6))
    spoken = rules(**{f"{n}{name}": book for n in range(9)})
    costs = cost.cost(replace(known(*records), unmatched=unmatched), spoken, NOW)
    card = cost_card.card(costs, spoken)
    short = {n: f"{n}{name[:58]}…" for n in range(9)}
    kinds = ("still open", "observes", "probably holds")
    shown = [(int(text.lstrip("! ")[0]), kind) for text in card.text for kind in kinds if kind in text]
    assert shown == [(n, kind) for kind, of in zip(kinds, (range(4, 8), *[range(4)] * 2), strict=True) for n in of]
    assert (
        card.text[0] == f"!!!! {short[4]}: still open after 4 weeks and 6 restarts in the last 30 days: {book.root_cause[:299]}…"
    )
    each = "{}, 7 days", "{}, 30 days", "Restarts per week", "Last 14 days", "Times of day"
    unmatched_shown = [("Matched no runbook", f"{short[n]}: no service") for n in range(4)]
    labels = [label.format(short[n]) for n in range(4) for label in each]
    assert [label for label, _ in card.facts] == [*labels, "", "Suspicions, 7 days", *["Matched no runbook"] * 4]
    assert card.facts[2] == ("Restarts per week", "0 → 0 → 0 → 6")
    assert card.facts[20][1] == "and 5 more runbooks"
    assert card.facts[21][1].count("the queue moved by itself") == 4
    assert card.facts[22:] == tuple(unmatched_shown)
    assert [label for label, _ in card.links] == [f"Root cause: {n}{name[:38]}…" for n in range(4)]


def test_the_times_of_day_are_named_by_how_often() -> None:
    """The three most frequent hours, the earlier first among equals, and a bar for two hours each."""
    hours = (23, 23, 23, 8, 8, 0, 1)
    history = tuple(execution(n, datetime(2026, 11, 11 + n, hour, 59, tzinfo=TOKYO).timestamp()) for n, hour in enumerate(hours))
    facts = dict(card_of(known(history=history), rules()).facts)
    assert facts["Times of day"] == "mostly at 23:00 (3), 08:00 (2), 00:00 (1) ▆▁▁▁▆▁▁▁▁▁▁█"
    assert facts["Last 14 days"] == "██████▁▁▁▁▁▁▁▁"
    held = card_of(known(record(1, 1, ending=Ending.HELD)), rules())
    assert [label for label, _ in held.facts] == ["mail, 7 days", "mail, 30 days", "Restarts per week", "Last 14 days"]


def test_the_data_that_is_missing_is_named() -> None:
    """What was never asked for comes first, in one sentence."""
    spoken = rules(mail=RUNBOOK, post=RUNBOOK, fax=RUNBOOK)
    assert card_of(known(record(3, 1), history=Unknown("403")), spoken).text[1:4] == (
        (
            "Rundeck's history was not checked for post, fax: no alert has named a target yet. "
            "Restarts by hand are not counted there."
        ),
        "The archive begins on 2026-11-22; nothing before that is counted.",
        "Rundeck's history can't be read, so restarts by hand are not counted: service=mail-delivery: 403",
    )
    assert card_of(known(record(60, 1), history=Unknown("403")), rules()).facts == (), "it can't be called quiet"


def at_week(weeks: int, root_cause: str = "", language: str = "en"):
    """The card when the first incident is this many weeks old, and one happens each week."""
    spoken = rules(language, mail=replace(RUNBOOK, root_cause=root_cause))
    costs = cost.cost(known(*(record(7 * n + 1, n) for n in range(weeks + 1))), spoken, NOW)
    return cost_card.card(costs, spoken), costs.runbooks[0]


@pytest.mark.parametrize("root_cause", ["", "https://tracker.example.com/MAIL-123"])
def test_the_open_bug_is_said_louder_every_week(root_cause: str) -> None:
    """Another mark every week, in headline and text; in the end the bug is the headline, and its weeks go on counting."""
    cards = [at_week(weeks, root_cause) for weeks in range(7)]
    assert [one.prominence for _, one in cards] == [1, 2, 3, 4, 5, 5, 5]
    assert [card.text[0].count("!") for card, _ in cards] == [0, 1, 2, 3, 4, 4, 4]
    assert [card.headline.count("!") for card, _ in cards] == [0, 1, 2, 3, 4, 4, 4]
    for weeks, (card, _) in enumerate(cards):
        said = "still open" if root_cause else "nobody owns the bug"
        assert said in card.text[0]
        assert root_cause in card.text[0]
        assert (f"after {weeks} week" in card.text[0]) == (weeks > 0)
        assert ("the bug is still open" in card.headline) == (weeks >= MAX_PROMINENCE - 1)
    assert cards[6][0].headline.endswith("!!!! mail has kept getting stuck for 6 weeks, and the bug is still open")


def test_a_bug_that_is_quiet_is_not_nagged_about() -> None:
    """Nothing in 30 days: it is listed as quiet, and that is all."""
    spoken = rules()
    costs = cost.cost(known(record(60, 1)), spoken, NOW)
    card = cost_card.card(costs, spoken)
    assert card.headline == "No action needed: No restarts in 7 days"
    assert card.facts == (("Quiet", "mail"),)
    assert card.text == ()


def test_the_card_has_the_figures_and_links() -> None:
    """Counts of week and month, trend, hours, likely cause and the link to the root cause; no mention, and nothing as `depth`."""
    card, _ = at_week(1, "https://tracker.example.com/MAIL-123")
    shown = dict(card.facts)
    assert shown["mail, 7 days"] == (
        "restarts: 1 by Unstick, 0 by hand; incidents: 1 recovered, 0 escalated, 0 held; "
        "median time to recovery 5 min; saved about 8 min"
    )
    assert shown["Restarts per week"] == "0 → 0 → 1 → 1"
    assert shown["Last 14 days"] == "▁▁▁▁▁█▁▁▁▁▁▁█▁"
    assert shown["Times of day"] == "mostly at 08:00 (2) ▁▁▁▁█▁▁▁▁▁▁▁"
    assert any("consumer_timeout" in text for text in card.text)
    assert card.links == (("Root cause: mail", "https://tracker.example.com/MAIL-123"),)
    assert (card.kind, card.mention, card.curve) == ("report", (), ())


@pytest.mark.parametrize("language", ["en", "ja"])
def test_every_chat_can_show_it(language: str) -> None:
    """The card goes through each chat's rendering and stays whole, in both languages."""
    from functions.adapters.chats import console, google_chat, slack
    from tools.docs.card_picture import card_svg

    card, _ = at_week(5, "", language)
    for chat in (console, google_chat, slack):
        assert "mail" in str(chat.render(card, language))
    ET.fromstring(card_svg(card, language))  # noqa: S314


# --- what became of what a runbook in mode observe would have restarted -------------------------------------------------------

AHEAD_S = 30.0


def observed(number: int, healed_s: float | None, restarted_s: float | None = None, ended_s: float | None = None) -> Archive:
    """Held two days ago; healed and restarted by a person so long after that."""
    archived = record(2, number, ending=Ending.HELD)
    at = archived.outcome.at
    by_hand = None if restarted_s is None else execution(number, at + restarted_s + AHEAD_S)
    healed_at = None if healed_s is None else at + healed_s
    ended_at = at + (ended_s if ended_s is not None else (healed_s or 0.0) + 15)
    incident = change(
        archived.incident, observed_at=at, healed_at=healed_at, execution=by_hand, adopted=bool(by_hand), runner_ahead_s=AHEAD_S
    )
    return replace(archived, incident=incident, outcome=replace(archived.outcome, reason=Reason.OBSERVE_ONLY, at=ended_at))


@pytest.mark.parametrize(
    ("one", "became"),
    [
        (observed(1, 900, 840), Became.HEALED_BY_PERSON),
        (observed(2, 900), Became.HEALED_BY_ITSELF),
        (observed(3, 900, 950), Became.HEALED_BY_ITSELF),
        (observed(3, 900, 900), Became.HEALED_BY_PERSON),
        (observed(4, 60), Became.NOT_ILL),
        (observed(4, 60.5), Became.HEALED_BY_ITSELF),
        (observed(5, None, ended_s=DAY_S), Became.STILL_ILL),
        (observed(6, None, 840, ended_s=DAY_S), Became.STILL_ILL),
        (observed(7, None, ended_s=900), Became.UNKNOWN),
        (record(1, 8, ending=Ending.HELD), None),
    ],
    ids=[
        "person", "itself", "restarted after it healed", "as it healed", "at once", "a little later",
        "still ill", "a restart did not help", "changed",
        "not observed",
    ],
)  # fmt: skip
def test_each_incident_went_one_way(one: Archive, became: Became | None):
    """A restart that somebody made counts only if the target recovered after it."""
    assert would_be.what_became(one) is became


def said(*records: Archive, language: str = "en", mode: Mode = Mode.OBSERVE) -> list[str]:
    """The lines of the report about observing."""
    spoken = rules(language, mail=replace(RUNBOOK, mode=mode))
    text = cost_card.card(cost.cost(known(*records), spoken, NOW), spoken).text
    return [line for line in text if line.startswith("mail observes" if language == "en" else "mail は監視のみ")]


def test_the_report_says_how_it_would_have_gone():
    """The figure that makes a team trust it, with the advice to go on."""
    by_person = [observed(number, 1200 + number, 60.0 * number) for number in range(10, 19)]
    others = [observed(1, 900), observed(2, 900), observed(3, 20)]
    assert said(*by_person[:4], others[0]) == [
        (
            "mail observes: 5 would-be restarts in 7 days: 4 healed only after a person restarted (median 11 min 30 s later), "
            "1 healed by itself. Go on to mode approve: 4 of 5 needed a restart."
        )
    ]
    assert said(*by_person, mode=Mode.APPROVE) == said(*by_person, mode=Mode.AUTO) == [], "nothing is only observed any more"
    assert said(*by_person, *others) == [
        (
            "mail observes: 12 would-be restarts in 7 days: 9 healed only after a person restarted (median 14 min later), "
            "2 healed by themselves, 1 was no longer ill. Stay in mode observe, and raise symptom.for or slow the alert rule "
            "down: 3 of 12 needed no restart."
        )
    ]


def test_few_would_be_restarts_say_nothing_yet():
    """Nor do those that were not followed; one that began before its would-be restart came at once."""
    early, unknown = [observed(number, 1200, -20) for number in range(3)], observed(7, None, ended_s=900)
    assert said(*early, unknown) == [
        (
            "mail observes: 4 would-be restarts in 7 days: 3 healed only after a person restarted (median 0 s later), "
            "1 was not followed. Stay in mode observe: fewer than 5 say nothing yet."
        )
    ]
    still_ill = [observed(number, None, ended_s=DAY_S) for number in range(4)]
    assert "4 did not heal within a day, 1 healed by itself. Go on" in said(*still_ill, observed(5, 900))[0]


def test_without_would_be_restarts_nothing_is_said_about_observing():
    """No blank line either, and the next runbook has its place among the four."""
    books = {name: replace(RUNBOOK, mode=Mode.OBSERVE) for name in ("a", "b", "c", "d", "mail")}
    by_hand = [record(3, n, tag="", runbook=name, target=replace(TARGET, key=name)) for n, name in enumerate(books, 1)]
    card = card_of(known(*by_hand, observed(9, 900)), rules(**books))
    assert "" not in card.text
    assert any(text.startswith("mail observes: 1 would-be restart in 7 days") for text in card.text)
    month = card_of(known(*by_hand, observed(9, 900)), rules(**books), days=30).text
    assert any(text.startswith("mail observes: 1 would-be restart in 30 days") for text in month)


def test_it_is_said_in_japanese():
    """As all of the report."""
    (line,) = said(observed(1, 900, 840), observed(2, None, ended_s=DAY_S), language="ja")
    assert "再起動" in line
    assert "later" not in line
