"""What holds a restart: each guard, its reason code, its bounds, and who goes first."""

from __future__ import annotations

from datetime import datetime
from zoneinfo import ZoneInfo

import pytest
from msgspec.structs import replace

from functions.domain.decisions.guards import GUARDS, decide, freeze_at
from functions.domain.decisions.turn import GuardContext
from functions.domain.model.codes import ASKED, OVERRULED, UNKNOWN, Ending, Mode, Phase, Reason
from functions.domain.model.events import Decision, Kind
from functions.domain.model.incidents import UNCLEAR, Asked, Document, Outcome, PastAttempt, QueueState
from functions.domain.model.observations import Execution, ExecutionHistory, Observation, Pause, Slot, Storm, Unknown
from functions.domain.model.runbooks import Freeze, Limits, Restart
from functions.runtime.text import Text
from tests.support.worlds.scenes import (
    MAIL,
    NOW,
    POST,
    RUNNER_NOW,
    TARGET,
    bare,
    document,
    escalation,
    execution,
    going_round,
    history_of,
    incident,
    never_used,
    rules,
    runbook,
    seen,
    snapshot,
    trigger,
    well,
)

ALL_DAYS = frozenset(range(7))
NOON = Freeze(ALL_DAYS, 0, 24 * 60 - 1, "all day")
MISSING = Unknown("it is down", remedy="Start it.")
ALL = Asked(NOW, guards=tuple(GUARDS))
"""A card that named whatever objected."""

LONG_AGO = execution(1, started=-7000, ended=-6990)
"""A restart that no cooldown knows of, and that ended before the alert began."""


def scene(what: Observation | None = None, *, before: Document | None = None, **changes) -> GuardContext:
    book = changes.pop("book", runbook())
    before = before or document(incident())
    with_rules = changes.pop("with_rules", rules(book))
    return GuardContext(with_rules, book, before, before.incident or incident(), what or seen(), NOW, **changes)


def between(**changes) -> Document:
    """Between two attempts of one incident."""
    return document(incident(Phase.VERIFYING, restarts=1, attempt=1, **changes))


def since(began: float, **changes) -> Document:
    """The alert began this many seconds from NOW."""
    return document(incident(triggers=(trigger(starts_at=NOW + began),)), **changes)


def failed(number: int, ended: float) -> Execution:
    return execution(number, started=ended - 5, ended=ended, status="failed")


def ended_by_rundeck(status: str, started: float = -1800.0) -> Execution:
    return execution(9, started=started, ended=started + 8, status=status, over=False)


def ahead_by(seconds: float) -> ExecutionHistory:
    """Read a while ago, by a clock that is this far ahead."""
    return ExecutionHistory(NOW - 40 + seconds, read_at=NOW - 40)


def many(count: int, spacing_s: float, first: float = -3000.0) -> tuple[Execution, ...]:
    return tuple(
        execution(n, started=first + n * spacing_s, ended=first + n * spacing_s + 5) for n in reversed(range(1, count + 1))
    )


def taken(count: int, at: float = NOW - 10.0) -> Storm:
    """Slots of other targets, some of whose names come before ours and some after it."""
    return Storm(tuple(Slot(f"{'az'[n % 2]}-{n}", at) for n in range(count)))


def test_nothing_in_the_way_is_a_restart():
    """I3: an alert that fires, a queue that is ill now and no objection. An unreadable history hides no healthy queue."""
    assert decide(scene()) == Decision(Kind.RESTART)
    down = seen(history=MISSING, mail=well())
    assert decide(scene(down)).reason is Reason.SYMPTOM_GONE
    assert decide(scene(down, before=between())).reason is Reason.LEDGER_UNKNOWN
    assert decide(scene(seen(history=MISSING, mail=going_round()))).reason is Reason.LEDGER_UNKNOWN


HOLDS = [
    pytest.param(scene(seen(pause=Pause("migration", "anna"))), Reason.PAUSED, "migration (anna)", id="paused"),
    pytest.param(scene(seen(pause=MISSING)), Reason.PAUSED, "can't be read", id="paused-unread"),
    pytest.param(scene(before=since(-86401)), Reason.STALE_ALERT, "1 d 0 h ago", id="stale_alert"),
    pytest.param(scene(book=runbook(freeze=(NOON,))), Reason.FROZEN, "all day", id="frozen"),
    pytest.param(scene(seen(mail=well())), Reason.SYMPTOM_GONE, "mail.delivery: depth 0", id="symptom_gone-empty"),
    pytest.param(scene(seen(mail=snapshot(acks=3))), Reason.SYMPTOM_GONE, "processed in the last 10 s: 3",
        id="symptom_gone-busy"),
    pytest.param(scene(seen(mail=MISSING)), Reason.SYMPTOM_UNKNOWN, "it is down", id="symptom_unknown"),
    pytest.param(scene(seen(mail=bare(50))), Reason.SYMPTOM_UNKNOWN, "the page can't be read", id="symptom_unknown-no-page"),
    pytest.param(scene(replace(seen(), queues={})), Reason.SYMPTOM_UNKNOWN, "not checked", id="symptom_unknown-unseen"),
    pytest.param(scene(seen(history=MISSING)), Reason.LEDGER_UNKNOWN, "it is down", id="ledger_unknown"),
    pytest.param(scene(seen(execution(ended=None, started=-1801))), Reason.ZOMBIE_EXECUTION, "30 min", id="zombie_execution"),
    *(pytest.param(scene(seen(ended_by_rundeck(status))), Reason.ZOMBIE_EXECUTION, "may still run", id=status)
        for status in ("timedout", "failed", "failed-with-retry", "other: incomplete")),
    pytest.param(scene(seen(ended_by_rundeck("aborted"), mail=well())), Reason.SYMPTOM_GONE, "depth 0", id="aborted, well"),
    pytest.param(scene(seen(history=history_of(others=(execution(ended=None),)))), Reason.JOB_BUSY, "execution 7",
        id="job_busy-running"),
    pytest.param(scene(seen(history=history_of(others=(execution(ended=None, started=600, scheduled=True),)))), Reason.JOB_BUSY,
        "waiting to start", id="job_busy-scheduled"),
    pytest.param(scene(seen(execution(ended=None, started=600, scheduled=True))), Reason.JOB_BUSY, "waiting",
        id="job_busy-own-scheduled"),
    pytest.param(scene(seen(history=ahead_by(31))), Reason.RUNNER_CLOCK, "Rundeck's clock is 31 s ahead of Unstick's",
        id="runner_clock-ahead"),
    pytest.param(scene(seen(history=ahead_by(-600)), before=between()), Reason.RUNNER_CLOCK, "is 10 min behind Unstick's",
        id="runner_clock-behind, between attempts"),
    pytest.param(scene(before=document(incident(), escalation=escalation(NOW - 86399))), Reason.ESCALATED, "23 h 59 min ago",
        id="escalated"),
    pytest.param(scene(seen(execution(started=-310, ended=-300))), Reason.COOLDOWN, "5 min ago", id="cooldown"),
    pytest.param(scene(seen(execution(started=-610, ended=-599))), Reason.COOLDOWN, "9 min 59 s ago", id="cooldown-last-second"),
    pytest.param(scene(seen(*many(3, 600))), Reason.TOO_MANY_RESTARTS, "restarts within 1 h: 3", id="too_many_restarts-hour"),
    pytest.param(scene(seen(*many(7, 9000, -80000))), Reason.TOO_MANY_RESTARTS, "restarts within 24 h: 7",
        id="too_many_restarts-day"),
    pytest.param(scene(seen(failed(2, -4000), failed(1, -9000))), Reason.FAILING, "in a row: 2", id="failing"),
    pytest.param(scene(seen(storm=taken(3))), Reason.TOO_MANY_TARGETS, "within 10 min: 3", id="too_many_targets"),
    pytest.param(scene(seen(storm=MISSING)), Reason.STORM_UNKNOWN, "can't be read", id="storm_unknown"),
    pytest.param(scene(book=runbook(mode=Mode.OBSERVE)), Reason.OBSERVE_ONLY, "", id="observe_only"),
]  # fmt: skip


@pytest.mark.parametrize(("held", "reason", "detail"), HOLDS)
def test_each_guard_holds_with_its_reason_code(held, reason, detail):
    """I3, I4: every objection, and everything that can't be known, holds the restart and says why."""
    decision = decide(held)
    assert (decision.kind, decision.reason) == (Kind.HOLD, reason)
    assert detail in str(decision.detail)
    assert (decision.again_in_s is not None) == (
        reason in (Reason.COOLDOWN, Reason.JOB_BUSY, *UNKNOWN) or detail in ("can't be read", "may still run")
    ), "what passes without a person is waited for"


PASSES = [
    pytest.param(scene(before=since(-86400)), id="as old as `stale` allows"),
    pytest.param(scene(before=document(incident(), escalation=escalation(NOW - 86400))), id="24 hours after the escalation"),
    pytest.param(scene(seen(execution(started=-610, ended=-600))), id="cooldown is over"),
    pytest.param(scene(seen(*many(2, 600))), id="a window with room"),
    pytest.param(scene(seen(execution(2, started=-4000, ended=-3990), failed(1, -9000), failed(3, -9500))), id="newest is well"),
    pytest.param(scene(seen(failed(2, -4000)), book=runbook(limits=Limits(failing=2))), id="fewer than `failing`"),
    pytest.param(scene(seen(storm=taken(2))), id="a slot is free"),
    pytest.param(scene(seen(storm=taken(3, NOW - 600))), id="old slots"),
    pytest.param(scene(seen(storm=Storm((*taken(2).slots, Slot("".join(TARGET.key), NOW - 60))))), id="the slot is its own"),
    pytest.param(scene(seen(*many(3, 100, -3900.0), LONG_AGO)), id="exactly as old as the window"),
    pytest.param(
        scene(seen(execution(ended=-4000, started=-4030, runner_not_after=RUNNER_NOW - 4031, status="failed"))), id="late"
    ),
    pytest.param(scene(seen(ended_by_rundeck("timedout", -1801))), id="timed out, and began over `max_run` ago"),
    pytest.param(
        scene(seen(execution(9, started=3600, ended=-7000, status="aborted", over=False))), id="aborted before it began"
    ),
    pytest.param(scene(seen(failed(9, -1790)), book=runbook(limits=Limits(failing=2))), id="failed, and its command is over"),
    *(pytest.param(scene(seen(history=ahead_by(off_s))), id=f"a clock {off_s} s off") for off_s in (30, -30)),
    pytest.param(scene(before=between(), book=runbook(limits=Limits(stale_s=10))), id="not stale between attempts"),
    pytest.param(scene(seen(execution(started=-40, ended=-30)), before=between()), id="no cooldown between attempts"),
    pytest.param(scene(seen(storm=taken(9)), before=between()), id="no storm between attempts"),
    pytest.param(scene(before=replace(between(), escalation=escalation())), id="not escalated between attempts"),
]


@pytest.mark.parametrize("passing", PASSES)
def test_at_its_bound_a_guard_lets_pass(passing):
    """Limits are exact, and those between incidents do not hold the next attempt of one."""
    assert decide(passing).kind is Kind.RESTART


def test_the_cooldown_counts_from_the_restart_that_ended_last():
    """Whichever began last; where its job was deleted with its history, the document knows of it."""
    for restarts, code in ((1, Reason.COOLDOWN), (0, None)):
        outcome = Outcome("inc-0", Ending.RECOVERED, None, NOW - 70, (), runner_ended_at=RUNNER_NOW - 77, restarts=restarts)
        decision = decide(scene(before=document(incident(), outcomes=(outcome,))))
        assert decision.reason is code
    ended_last, began_last = execution(11, started=-900, ended=-300), execution(12, started=-390, ended=-350)
    assert decide(scene(seen(began_last, ended_last))).again_in_s == 300.0
    assert decide(scene(seen(ended_last, began_last))).again_in_s == 300.0
    assert decide(scene(seen(began_last, ended_last), before=since(-500))).execution == ended_last


@pytest.mark.parametrize("order", [1, -1])
def test_failures_in_a_row_are_counted_from_the_newest_end(order):
    """The hold names the newest one, for people to open."""
    newest, older, oldest = failed(13, -4000), failed(12, -5000), execution(11, started=-9000, ended=-8990)
    decision = decide(scene(seen(*(newest, older, oldest)[::order])))
    assert (decision.reason, decision.execution) == (Reason.FAILING, newest)
    mended = (newest, replace(older, status="succeeded"), replace(oldest, status="failed"))
    assert decide(scene(seen(*mended[::order]))).kind is Kind.RESTART
    three = seen(*(newest, older, replace(oldest, status="failed"))[::order])
    assert "in a row: 3" in str(decide(scene(three, book=runbook(limits=Limits(failing=3)))).detail)


@pytest.mark.parametrize(
    ("began", "kind"),
    [(-400.0, Kind.ADOPT), (-300.0, Kind.ADOPT), (-241.0, Kind.ADOPT), (-240.0, Kind.HOLD), (-100.0, Kind.HOLD)],
)
@pytest.mark.parametrize("ahead_s", [20.0, -9.0])
def test_an_alert_of_the_same_cause_is_verified_and_a_new_one_cools_down(began, kind, ahead_s):
    """I1: what began before a minute after the newest restart's end goes on from that restart, a manual one too. The runner's
    clock may be ahead or behind."""
    manual = execution(user="anna", runner_started_at=NOW + ahead_s - 310, runner_ended_at=NOW + ahead_s - 300)
    context = scene(seen(history=ExecutionHistory(NOW + ahead_s, (manual,))), before=since(began))
    assert decide(replace(context, approved=ALL)).kind is Kind.RESTART, "a person has seen that it did not help"
    decision = decide(context)
    assert decision.kind is kind
    assert decision.reason is (Reason.COOLDOWN if kind is Kind.HOLD else None)
    assert (decision.execution is not None) == (kind is Kind.ADOPT)


def test_a_running_execution_is_adopted_whoever_started_it():
    """`already_running`: no second restart while one with the target's options runs, whatever is planned."""
    run = execution(ended=None, user="anna")
    assert decide(scene(seen(run))) == Decision(
        Kind.ADOPT, Reason.ALREADY_RUNNING, Text("execution {id} is already running", id="7"), execution=run
    )
    run, plan = execution(7, ended=None), execution(8, started=900, ended=None, scheduled=True)
    assert decide(scene(seen(plan, run))).execution == run
    assert decide(scene(seen(execution(ended=None, runner_started_at=None)))).kind is Kind.ADOPT
    assert decide(scene(seen(execution(ended=None, started=-1800)))).kind is Kind.ADOPT, "as long as `max_run`"
    short = runbook(restart=Restart("job-1", max_run_s=60.0))
    for started, code in ((-60, Reason.ALREADY_RUNNING), (-61, Reason.ZOMBIE_EXECUTION)):
        run = execution(ended=None, started=started)
        decision = decide(scene(seen(run), book=short))
        assert (decision.reason, decision.execution) == (code, run), "people open and abort it"


@pytest.mark.parametrize(
    ("mine", "adopts"),
    [
        pytest.param({"tag": "inc-1.2"}, True, id="another number"),
        pytest.param({"tag": "inc-1.3"}, True, id="one whose answer was lost"),
        pytest.param({"tag": "inc-1.1"}, False, id="known"),
        pytest.param({"tag": "inc-1."}, False, id="no number"),
        pytest.param({"tag": "inc-1"}, False, id="no tag of ours"),
        pytest.param({"tag": "inc-10.2"}, False, id="another incident"),
        pytest.param({"tag": "a.inc-1.2"}, False, id="somebody else's"),
        pytest.param({"tag": "inc-1.2", "runner_not_after": RUNNER_NOW - 5001, "status": "failed"}, False, id="refused"),
    ],
)
def test_only_a_start_of_this_incident_that_is_not_known_is_its_own(mine, adopts):
    """Whatever else the history shows is judged by the other guards."""
    run = execution(12, started=-5000, ended=-4990, **mine)
    tries = PastAttempt("inc-1.1", None, "stuck"), PastAttempt("inc-1.3", None, UNCLEAR)
    before = document(incident(attempt=3, tries=tries))
    decision = decide(scene(seen(run), before=before))
    assert (decision.kind is Kind.ADOPT) == adopts
    assert decision.execution == (run if adopts else None)


def test_what_is_not_known_of_a_queue_is_said():
    """With its remedy, the others unnamed; of several the one that can be told first is waited for, by its own runbook."""
    queues = (QueueState(MAIL, "mail", NOW), QueueState(POST, "mail", NOW))
    blind = replace(snapshot(), blind=Unknown("no counter", remedy="Name it."))
    decision = decide(scene(seen(mail=well(), post=blind), before=document(incident(queues=queues))))
    assert decision.reason is Reason.SYMPTOM_UNKNOWN
    assert (decision.remedy, str(decision.detail)) == ("Name it.", "mail.post: no counter")
    unread = decide(scene(seen(mail=replace(well(), blind=None), post=MISSING), before=document(incident(queues=queues))))
    assert (unread.again_in_s, unread.tell, str(unread.detail)) == (15.0, True, "mail.post: it is down")
    post = runbook(name="post", symptom=replace(runbook().symptom, for_s=20.0))
    queues = (QueueState(MAIL, "mail", NOW), QueueState(POST, "post", NOW))
    both = seen(mail=snapshot(samples_s=15.0), post=snapshot(7, samples_s=15.0))
    for order in (queues, queues[::-1]):
        decision = decide(scene(both, before=document(incident(queues=order)), with_rules=rules(runbook(), post)))
        assert (decision.again_in_s, str(decision.detail)) == (6.0, "mail.post: depth 7, still for 15 s")


@pytest.mark.parametrize(("mail", "reason"), [(never_used(), Reason.NEVER_CONSUMED), (going_round(), Reason.GOING_ROUND)])
def test_what_a_restart_does_not_help_is_held_and_told(mail, reason):
    """A dead-letter queue, a loop: people decide; an alert that lasts asks again."""
    decision = decide(scene(seen(mail=mail)))
    assert (decision.reason, decision.again_in_s, decision.tell) == (reason, None, True)


IN_ORDER = [
    (Reason.PAUSED, {"pause": Pause("x")}, {}, {}),
    (Reason.SYMPTOM_GONE, {"mail": well()}, {}, {}),
    (Reason.ESCALATED, {}, {}, {"escalation": escalation()}),
    (Reason.FROZEN, {}, {"freeze": (NOON,)}, {}),
    (Reason.COOLDOWN, {"run": execution(5, started=-310, ended=-300)}, {}, {}),
    (Reason.TOO_MANY_RESTARTS, {}, {"limits": Limits(restarts=((86400.0, 1),))}, {}),
    (Reason.TOO_MANY_TARGETS, {"storm": taken(3)}, {}, {}),
    (Reason.OBSERVE_ONLY, {}, {"mode": Mode.OBSERVE}, {}),
]


@pytest.mark.parametrize("first", range(len(IN_ORDER)), ids=[entry[0].value for entry in IN_ORDER])
def test_the_first_guard_that_objects_is_the_reason(first):
    """Where several hold, the one that is said is always the same: kill switch first, mode last."""
    looks, books, documents = {}, {}, {}
    for _, look, book, changes in reversed(IN_ORDER[first:]):
        looks |= look
        books |= book
        documents |= changes
    run = looks.pop("run", None)
    what = seen(*([run] if run else []), LONG_AGO, **looks)
    held = scene(what, book=runbook(**books), before=document(incident(), **documents))
    assert decide(held).reason is IN_ORDER[first][0]


@pytest.mark.parametrize("code", sorted(Reason))
def test_a_person_overrules_limits_and_nothing_else(code):
    """Approved, a limit gives way. The kill switch, a queue that is well, and what can't be known never do."""
    held = [param.values[0] for param in HOLDS if param.values[1] is code]
    for one in held:
        decision = decide(replace(one, approved=ALL))
        assert (decision.kind is Kind.RESTART) == (code in OVERRULED)
    if not held:
        assert code not in OVERRULED - ASKED


@pytest.mark.parametrize(
    ("changes", "unread", "told"),
    [
        ({"found": dict.fromkeys(Reason, NOW - 599)}, Unknown("no answer"), False),
        ({"found": dict.fromkeys(Reason, NOW - 600)}, Unknown("no answer"), True),
        ({"began_at": NOW - 9000}, Unknown("no answer"), False),
        ({"began_at": NOW}, MISSING, True),
        ({"began_at": NOW, "restarts": 1, "attempt": 1}, Unknown("no answer"), True),
    ],
)
@pytest.mark.parametrize("part", ["pause", "history"])
def test_what_can_not_be_read_is_told_after_within_or_where_people_can_mend_it(part, changes, unread, told):
    """Or between two restarts; until then it may pass."""
    decision = decide(scene(seen(**{part: unread}), before=document(incident(**changes))))
    assert (decision.kind, decision.again_in_s, decision.tell) == (Kind.HOLD, 15.0, told)


MORNING = Freeze(frozenset(range(5)), 9 * 60, 10 * 60, "mon-fri 09:00-10:00")
NIGHT = Freeze(frozenset({4}), 22 * 60, 6 * 60, "fri 22:00-06:00")
WHOLE = Freeze(frozenset({6}), 0, 0, "sun")
SUNDAY = Freeze(frozenset({6}), 22 * 60, 6 * 60, "sun 22:00-06:00")


@pytest.mark.parametrize(
    ("window", "local", "holds"),
    [
        (MORNING, "2027-01-15 08:59", False),
        (MORNING, "2027-01-15 09:00", True),
        (MORNING, "2027-01-15 09:59", True),
        (MORNING, "2027-01-15 10:00", False),
        (MORNING, "2027-01-16 09:30", False),
        (NIGHT, "2027-01-15 21:59", False),
        (NIGHT, "2027-01-15 22:00", True),
        (NIGHT, "2027-01-16 05:59", True),
        (NIGHT, "2027-01-16 06:00", False),
        (NIGHT, "2027-01-16 22:30", False),
        (SUNDAY, "2027-01-18 05:59", True),
        (SUNDAY, "2027-01-17 05:59", False),
        (SUNDAY, "2027-01-19 05:59", False),
        (WHOLE, "2027-01-17 00:00", True),
        (WHOLE, "2027-01-17 23:59", True),
        (WHOLE, "2027-01-18 00:00", False),
    ],
)
def test_a_freeze_window_holds_from_its_first_minute_to_before_its_last(window, local, holds):
    """The day of a window over midnight is the one on which it begins."""
    moment = datetime.fromisoformat(local).replace(tzinfo=ZoneInfo("UTC"))
    assert freeze_at((window,), moment) == (window if holds else None)


@pytest.mark.parametrize(("zone", "hour"), [("Asia/Tokyo", 17), ("America/New_York", 3)])
def test_a_freeze_window_is_in_the_configured_time_zone(zone, hour):
    """NOW is Friday 08:00 UTC: the same window holds in one zone and not in another."""
    hour_long = Freeze(frozenset({4}), hour * 60, hour * 60 + 60, "this hour")
    book = runbook(freeze=(hour_long,))
    assert decide(scene(book=book, with_rules=rules(book, time_zone=zone))).reason is Reason.FROZEN
    elsewhere = "Pacific/Auckland"
    assert decide(scene(book=book, with_rules=rules(book, time_zone=elsewhere))).kind is Kind.RESTART


def test_after_an_attempt_a_newer_restart_by_somebody_else_is_adopted():
    """It is not one of ours, and it ended after the last of ours that was a restart, well or not."""
    own = execution(11, started=-110, ended=-100, tag="inc-1.1")
    refused = execution(12, started=-40, ended=-39, tag="inc-1.2", status="failed", runner_not_after=RUNNER_NOW - 41)
    tries = (PastAttempt("inc-1.1", own, "stuck"), PastAttempt("inc-1.2", refused, "refused_late"))
    for ended, adopts in ((-99.0, True), (-100.0, False), (-101.0, False)):
        other = execution(13, started=-150, ended=ended, user="anna")
        decision = decide(scene(seen(refused, other, own), before=between(tries=tries)))
        assert (decision.kind, decision.execution) == ((Kind.ADOPT, other) if adopts else (Kind.RESTART, None))
    failed = execution(13, started=-150, ended=-90, user="anna", status="failed")
    assert decide(scene(seen(refused, failed, own), before=between(tries=tries))).kind is Kind.ADOPT
    for unproven in ((), tries[1:], (PastAttempt("inc-1.1", None, "stuck"),)):
        assert decide(scene(seen(execution(13, started=-150, ended=-90)), before=between(tries=unproven))).kind is Kind.RESTART
