"""The phases of an incident, one step at a time: starting, running, verifying, the next attempt, and the ends."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from functions.domain.model.codes import Action, Ending, Mode, Phase, Reason, Verdict
from functions.domain.model.events import Start, StartResult, TimerFired
from functions.domain.model.incidents import REFUSED_LATE, STUCK, UNCLEAR, AfterRestart, Document, PastAttempt, QueueState
from functions.domain.model.observations import Channel, Holder, Observation, Pause, Unknown
from functions.domain.model.runbooks import Limits, Rules, Verify
from functions.runtime.text import Text
from tests.support.worlds.scenes import (
    MAIL,
    NEW,
    NOW,
    POST,
    RUNNER_NOW,
    alerted,
    case,
    change,
    channels,
    document,
    escalation,
    execution,
    history_of,
    holding,
    incident,
    kinds,
    moved,
    phase,
    reason,
    rules,
    runbook,
    seen,
    snapshot,
    starting,
    trigger,
    verifying,
    wakes,
    well,
    woken,
)

SAID = Text("Rundeck: answered {status}", status="500")
MISSING = Unknown("it is down", remedy="Start it.")
OURS = execution(started=2, ended=None, tag="inc-1.1")
ENDED = replace(OURS, status="succeeded", runner_ended_at=RUNNER_NOW + 10)
WITHIN_S, GRACE_S = 600.0, 900.0


def starts(result) -> list[Start]:
    return [act for act in result.acts if isinstance(act, Start)]


def last(result) -> tuple[Ending, Reason | None]:
    return result.document.outcomes[-1].ending, result.document.outcomes[-1].reason


def through(document: Document, looks: list[tuple[float, Observation]], with_rules: Rules | None = None):
    """Wake the document at these times after NOW, each time with what is seen then; messages are posted in between."""
    result = None
    for after_s, what in looks:
        result = woken(document, NOW + after_s, what, with_rules)
        document = replace(result.document, to_tell=(), to_archive=())
    assert result is not None
    return result


# --- what came of the POST -------------------------------------------------------------------------------------------


def unclear(at: float, **changes):
    """Attempt 1 got no clear answer, and this look does not show it."""
    return woken(moved(starting(**changes), StartResult("inc-1.1", unclear=SAID), at=NOW + 10).document, at)


def test_a_start_without_a_clear_answer_is_told_at_the_first_look():
    """`start_unclear`: within a minute, with Rundeck's words and the way to restart by hand; an unreadable history too."""
    result = unclear(NOW + 20, start_page="https://rundeck/job")
    card = result.document.to_tell[0].card
    assert (kinds(result.document), channels(result.document)) == (["held"], {"ops", "duty"})
    assert (card.urgency, result.document.incident.reason) == ("act", Reason.START_UNCLEAR)
    assert result.document.to_tell[0].link == "", "only messages that go out together need one"
    assert "Rundeck: answered 500" in " ".join(card.text)
    assert ("Restart by hand", "https://rundeck/job") in card.links
    assert "may not have been restarted" in card.headline
    document = moved(starting(), StartResult("inc-1.1", unclear=SAID), at=NOW + 10).document
    result = woken(document, NOW + 20, seen(history=MISSING))
    text = " ".join(result.document.to_tell[0].card.text)
    assert "Rundeck: answered 500" in text
    assert "it is down" in text


def queue_shown(result) -> str:
    card = result.document.to_tell[0].card
    return next(value for label, value in card.facts if label == "Queue")


def test_a_card_has_the_figures_of_its_look():
    """Those of before the start aren't shown as of today; what can't be read now has its age."""
    result = woken(starting(), NOW + 20, seen(now=NOW + 20, mail=snapshot(77, at=NOW + 20)))
    assert queue_shown(result) == "mail.delivery: 77 messages, 1 consumer"
    before = document(incident(Phase.RUNNING, attempt=1, restarts=1, execution=OURS, looked_at=NOW))
    soon = woken(before, NOW + 41, seen(history=MISSING, mail=snapshot(77, at=NOW + 41)))
    assert queue_shown(soon) == "mail.delivery: 77 messages, 1 consumer"
    noted = replace(soon.document, to_tell=(), holds={})
    later = woken(noted, NOW + 82, seen(history=MISSING, mail=Unknown("it is down")))
    assert queue_shown(later) == "mail.delivery: 77 messages, 1 consumer (41 s ago)"


def test_a_restart_of_which_the_answer_was_lost_is_told_though_it_has_ended():
    """People hear of it before it recovers; the incident goes by the execution at the end of a chain of retries."""
    done = execution(started=2, ended=10, tag="inc-1.1")
    result = woken(starting(), NOW + 20, seen(done, now=NOW + 20))
    assert (phase(result), kinds(result.document)) == (Phase.VERIFYING, ["started"])
    assert result.document.to_tell[0].card.headline.endswith("mail was restarted (attempt 1 of 2)")
    retry = replace(OURS, id="10", tag="")
    result = woken(RUNNING, NOW + 15, seen(history=replace(history_of(OURS, now=NOW + 15), followed=retry)))
    assert result.document.incident is not None
    assert result.document.incident.execution == replace(retry, tag="inc-1.1", retry_of_restart=True)


def test_a_refused_restart_is_told_at_once_with_the_remedy():
    """`restart_refused`: a 4xx other than 409 is nobody's attempt, and people hear what to mend."""
    result = moved(
        starting(),
        StartResult("inc-1.1", refusal="the token's role lacks a permission", remedy="load the ACL policy"),
        at=NOW + 1,
    )
    assert last(result) == (Ending.HELD, Reason.RESTART_REFUSED)
    assert result.reply is not None
    assert (result.reply.action, result.reply.reason) == (Action.HELD, Reason.RESTART_REFUSED)
    text = " ".join(result.document.to_tell[0].card.text)
    assert "load the ACL policy" in text
    assert "lacks a permission" in text
    assert result.document.to_archive[0].incident.attempt == 0


@pytest.mark.parametrize(
    ("status", "ended", "by", "problem", "said"),
    [
        ("running", None, "", "Rundeck: no right", "was not aborted: Rundeck: no right"),
        ("running", None, "unstick", "", "after the abort Rundeck shows it as running"),
        ("aborted", 1.0, "unstick", "", "after the abort Rundeck shows it as aborted"),
        ("succeeded", 1.0, "", "", "after the abort Rundeck shows it as succeeded"),
    ],
)
def test_a_start_that_runs_with_other_options_is_escalated_as_seen_after_the_abort(status, ended, by, problem, said):
    """Rundeck drops values without a word; what ran is not what was asked for, and may have been a restart."""
    ran = execution(99, started=0, ended=ended, status=status, aborted_by=by)
    result = moved(starting(), StartResult("inc-1.1", ran, refusal=problem, mismatch=True), at=NOW + 1)
    assert last(result) == (Ending.ESCALATED, Reason.RESTART_REFUSED)
    assert channels(result.document) == {"ops", "duty"}
    text = " ".join(result.document.to_tell[0].card.text)
    assert said in text
    assert "being aborted" not in text
    assert "see what it restarted before you restart anything by hand" in text
    assert "by hand now" not in text
    assert links_of(result)[0] == ran.url


def test_the_kill_switch_at_the_last_moment_holds():
    """I9: nothing is sent, and people are told why. One that can't be read is read again, and nobody is told."""
    result = moved(starting(), StartResult("inc-1.1", refusal="migration (anna)", unsent=Reason.PAUSED), at=NOW + 1)
    assert last(result) == (Ending.HELD, Reason.PAUSED)
    assert reason(result) is Reason.PAUSED
    assert kinds(result.document) == ["held"]
    unread = StartResult("inc-1.1", refusal="no answer", unsent=Reason.PAUSED, unread=True)
    result = moved(starting(), unread, at=NOW + 1)
    assert (phase(result), reason(result), result.document.due, result.document.to_tell) == (
        Phase.WAITING,
        Reason.PAUSED,
        NOW + 16,
        (),
    )
    assert [act.tag for act in starts(woken(result.document, NOW + 16))] == ["inc-1.1"]


def test_a_start_that_lost_its_storm_slot_is_decided_again_a_moment_later():
    """At once by the process that lost it; the history may lag, so a start is waited for until a minute after its fence."""
    result = moved(starting(), StartResult("inc-1.1", unsent=Reason.TOO_MANY_TARGETS), at=NOW + 1)
    assert (phase(result), result.document.due) == (Phase.DEFERRED, NOW + 2)
    assert not starts(moved(result.document, TimerFired(), at=NOW + 1))
    assert [act.tag for act in starts(moved(result.document, TimerFired(at_once=True), at=NOW + 1))] == ["inc-1.1"]
    result = woken(starting(), NOW + 20)
    assert (phase(result), result.document.incident.due) == (Phase.STARTING, NOW + 91)
    early = woken(replace(result.document, due=NOW + 90, incident=replace(result.document.incident, due=NOW + 90)), NOW + 90)
    assert (phase(early), starts(early)) == (Phase.STARTING, [])
    late = woken(result.document, NOW + 91)
    assert [act.tag for act in starts(late)] == ["inc-1.2"]
    assert late.document.incident is not None
    assert (late.document.incident.attempt, late.document.incident.restarts) == (2, 0)


def test_a_409_adopts_only_an_execution_with_the_targets_own_options():
    """`already_running` where it is ours to verify, else `job_busy`, told with the run that keeps it busy; no attempt."""
    busy = StartResult("inc-1.1", refusal="the job is already running", busy=True)
    theirs = execution(8, started=-3, ended=None, user="anna")
    adopted = moved(starting(), busy, seen(theirs), NOW + 1)
    assert adopted.reply is not None
    assert (phase(adopted), adopted.reply.action, reason(adopted)) == (Phase.RUNNING, Action.ADOPTED, Reason.ALREADY_RUNNING)
    for history in (history_of(others=(theirs,)), history_of(), MISSING, history_of(replace(theirs, scheduled=True))):
        waiting = moved(starting(), busy, seen(history=history), NOW + 1)
        assert (phase(waiting), reason(waiting), waiting.document.due) == (Phase.WAITING, Reason.JOB_BUSY, NOW + 16)
        assert waiting.document.incident is not None
        assert (waiting.document.incident.attempt, kinds(waiting.document)) == (0, ["held"])
        assert [act.tag for act in starts(woken(waiting.document, NOW + 16))] == ["inc-1.1"]
    busy = StartResult("inc-1.1", refusal="the job is already running", busy=True)
    planned = execution(8, started=600, ended=None, scheduled=True)
    blocking = execution(9, started=-3, ended=None)
    result = moved(starting(), busy, seen(history=history_of(others=(planned, blocking))), NOW + 1)
    assert (reason(result), links_of(result)[0]) == (Reason.JOB_BUSY, blocking.url)
    ended = moved(starting(), busy, seen(execution(8, started=-9, ended=-1)), NOW + 1)
    assert (phase(ended), reason(ended)) == (Phase.WAITING, Reason.JOB_BUSY), "what has ended keeps nothing busy"


@pytest.mark.parametrize(("due_s", "looked_s"), [(9.0, 9.0), (20.0, 16.0), (1.0, 16.0), (-5.0, 16.0)])
def test_a_run_is_looked_at_by_the_wake_up_that_exists_or_after_every(due_s, looked_s):
    """Whichever comes first; it was started at once."""
    result = moved(starting(due=NOW + due_s), StartResult("inc-1.1", OURS), at=NOW + 1)
    assert (phase(result), result.document.due) == (Phase.RUNNING, NOW + looked_s)


def test_an_ended_restart_by_somebody_else_is_judged_by_its_own_end():
    """The history that was read follows our own, which has ended long ago."""
    document = verifying(ended=-300.0, queues=(QueueState(MAIL, "mail", NOW - 400),))
    ours = document.incident.execution
    theirs = execution(13, started=-40, ended=-30, user="anna")
    history = replace(history_of(theirs, ours), followed=ours)
    result = woken(document, NOW, seen(history=history, mail=snapshot(50, ids=NEW)))
    assert (phase(result), result.document.incident.execution, result.document.incident.restarts) == (Phase.VERIFYING, theirs, 2)
    assert [one.execution for one in result.document.incident.tries] == [ours]


@pytest.mark.parametrize("attempt", [1, 2, 3])
def test_a_start_that_was_not_sent_gives_its_number_back(attempt):
    """The next one has the same number, and its fence is a new one."""
    document = starting(attempt=attempt, restarts=attempt - 1)
    result = moved(document, StartResult(f"inc-1.{attempt}", unsent=Reason.LEDGER_UNKNOWN), at=NOW + 28)
    assert result.document.incident is not None
    assert (result.document.incident.attempt, result.document.incident.run.runner_not_after) == (attempt - 1, None)


@pytest.mark.parametrize("before", [Phase.DEFERRED, Phase.WAITING])
@pytest.mark.parametrize("how", ["failed: failed", STUCK])
def test_a_queue_that_is_healthy_before_the_next_attempt_has_recovered(before, how):
    """Nothing more is started, and nobody is called: it is verified like after any restart."""
    run = execution(started=-70, ended=-60, tag="inc-1.1", status="failed" if how != STUCK else "succeeded")
    waiting = incident(before, attempt=1, restarts=1, began_at=NOW - 100, tries=(PastAttempt("inc-1.1", run, how),))
    looks = [(after_s, seen(run, now=NOW + after_s, mail=well(NOW + after_s))) for after_s in (0.0, 15.0)]
    result = through(document(waiting), looks[:1])
    assert (phase(result), result.document.incident.due, starts(result)) == (Phase.VERIFYING, NOW + 15, [])
    assert result.document.to_tell == ()
    result = through(document(waiting), looks)
    assert (last(result), kinds(result.document)) == ((Ending.RECOVERED, None), ["recovered"])


# --- starting --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("tag", ["inc-1.2", "inc-1.10", "inc-1.0", "inc-0.1", "inc-2.1", ""])
def test_a_run_of_another_attempt_is_not_the_start_that_is_looked_for(tag):
    """Only its own tag proves that it was started."""
    other = execution(12, started=-7000, ended=-6990, tag=tag)
    assert phase(woken(starting(), NOW + 20, seen(other, now=NOW + 20))) is Phase.STARTING


@pytest.mark.parametrize("attempts", [1, 2])
def test_a_refused_start_that_rundeck_tries_again_is_no_restart_either(attempts):
    """One that has not ended is no proof that anything ran; refused as well, it leaves all attempts to come."""
    book = rules(runbook(limits=Limits(attempts=attempts)))
    refused = execution(started=40, ended=41, tag="inc-1.1", status="failed", runner_not_after=RUNNER_NOW + 30)
    retry = execution(8, started=42, ended=None, tag="inc-1.1", runner_not_after=RUNNER_NOW + 30)
    during = woken(starting(), NOW + 45, seen(refused, retry, now=NOW + 45), book)
    assert woken(starting(), NOW + 45, seen(retry, refused, now=NOW + 45), book).document == during.document
    assert during.document.outcomes == ()
    assert (phase(during), during.document.incident.restarts, starts(during)) == (Phase.RUNNING, 1, [])
    ended = replace(retry, status="failed", runner_ended_at=RUNNER_NOW + 46)
    history = replace(history_of(refused, ended, now=NOW + 60), followed=ended)
    after = woken(during.document, NOW + 60, seen(now=NOW + 60, history=history), book)
    assert [act.tag for act in starts(after)] == ["inc-1.2"]
    assert after.document.incident is not None
    assert after.document.incident.restarts == 0
    assert {one.how for one in after.document.incident.tries} == {"refused_late"}
    second = replace(during.document, incident=replace(during.document.incident, attempt=2, restarts=2))
    assert woken(second, NOW + 60, seen(now=NOW + 60, history=history)).document.incident.restarts == 1, "the first was one"


@pytest.mark.parametrize(("attempts", "then"), [(2, []), (3, ["inc-1.2"])])
def test_a_run_that_rundeck_itself_tried_again_is_verified_once(attempts, then):
    """Both have the tag of the attempt, and both restarted it. The second was adopted again and again."""
    ran = [
        execution(8, started=0, ended=9, tag="inc-1.1", status="failed"),
        execution(9, started=1, ended=10, tag="inc-1.1", status="succeeded"),
    ]
    at = NOW + 900.0
    result = woken(starting(), at, seen(*ran, now=at, mail=ill(at)), rules(runbook(limits=Limits(attempts=attempts))))
    assert [act.tag for act in starts(result)] == then


def test_a_history_that_stays_unreadable_while_starting_is_told_and_then_escalated():
    """Looked at every 15 s until `within` after the fence, then told; after another 15 minutes people take over."""
    fence_s = 30.0
    unread = [(after_s, seen(history=MISSING)) for after_s in (20.0, fence_s + WITHIN_S - 15, fence_s + WITHIN_S)]
    assert through(starting(), unread[:2]).document.to_tell == ()
    told = through(starting(), unread)
    assert (phase(told), kinds(told.document)) == (Phase.STARTING, ["held"])
    assert "Start it." in " ".join(told.document.to_tell[0].card.text)
    ended = through(starting(), [*unread, (fence_s + WITHIN_S + GRACE_S, seen(history=MISSING))])
    assert last(ended) == (Ending.ESCALATED, Reason.LEDGER_UNKNOWN)
    late_s = fence_s + WITHIN_S + GRACE_S + 5
    assert last(woken(starting(), NOW + late_s, seen(history=MISSING))) == (Ending.ESCALATED, Reason.LEDGER_UNKNOWN)
    result = woken(starting(), NOW + 20, seen(history=MISSING))
    assert (result.document.due, wakes(result)) == (NOW + 35, [NOW + 35])
    last_s = 30 + WITHIN_S + GRACE_S  # `not_after`, and then the time that an incident may wait
    before = starting(due=NOW + last_s - 5)
    assert woken(before, NOW + last_s - 5, seen(history=MISSING)).document.incident.due == NOW + last_s
    result = woken(starting(began_at=NOW - 1800), NOW + 20, seen(history=MISSING))
    assert (phase(result), result.document.outcomes) == (Phase.STARTING, ())
    unsent = StartResult("inc-1.1", refusal="too much time had passed", unsent=Reason.LEDGER_UNKNOWN)
    soon = moved(starting(), unsent)
    assert (phase(soon), soon.document.incident.due, soon.document.outcomes) == (Phase.DEFERRED, NOW, ())
    late = moved(starting(began_at=NOW - WITHIN_S - GRACE_S), unsent)
    assert last(late) == (Ending.ESCALATED, Reason.LEDGER_UNKNOWN)


def test_six_numbered_attempts_escalate_with_the_last_reason():
    """A seventh start mends nothing; only an incident without a restart ends with its alerts."""
    before = document(incident(Phase.WAITING, attempt=6, reason=Reason.LEDGER_UNKNOWN))
    result = woken(before, NOW)
    assert (starts(result), last(result)) == ([], (Ending.ESCALATED, Reason.LEDGER_UNKNOWN))
    assert starts(woken(document(incident(Phase.WAITING, attempt=5)), NOW))
    over = (trigger(resolved_at=NOW),)
    assert [act.tag for act in starts(woken(document(incident(attempt=1, restarts=1, triggers=over)), NOW))] == ["inc-1.2"]
    assert last(woken(document(incident(attempt=1, triggers=over)), NOW)) == (Ending.HELD, Reason.NOT_FIRING)


@pytest.mark.parametrize(("answer", "said"), [(SAID, "Rundeck: answered 500"), ("", "the answer to the start is lost")])
def test_two_starts_without_a_clear_answer_are_peoples(answer, said):
    """What keeps Rundeck from answering may last."""
    tries = [PastAttempt(f"inc-1.{number}", None, how) for number, how in enumerate((UNCLEAR, STUCK, REFUSED_LATE, UNCLEAR))]
    result = woken(document(incident(attempt=4, tries=tuple(tries), unclear=answer)), NOW)
    assert (starts(result), last(result)) == ([], (Ending.ESCALATED, Reason.START_UNCLEAR))
    assert str(result.document.to_archive[-1].incident.detail) == said
    assert starts(woken(document(incident(attempt=3, tries=tuple(tries[:3]), unclear=answer)), NOW))


@pytest.mark.parametrize("adopted", [False, True])
def test_a_restart_that_a_person_aborted_is_that_persons_decision(adopted):
    """No further attempt, and people are told who aborted it; the button of the escalation or `resume` goes on."""
    aborted = replace(ENDED, status="aborted", aborted_by="alice")
    before = document(incident(Phase.RUNNING, attempt=1, restarts=1, execution=OURS, adopted=adopted))
    result = woken(before, NOW + 15, seen(aborted, now=NOW + 15))
    assert (starts(result), last(result)) == ([], (Ending.ESCALATED, Reason.ABORTED))
    card = result.document.to_tell[0].card
    assert "a person aborted the restart" in card.headline
    assert "alice aborted execution 7" in " ".join(card.text)
    again = moved(result.document, alerted(case(starts_at=NOW + 100, fingerprint="fp-2")), seen(now=NOW + 120), at=NOW + 120)
    assert (starts(again), reason(again)) == ([], Reason.ESCALATED)


# --- waiting ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("expires_at", "asks"), [(NOW + 0.5, True), (NOW, False), (NOW - 1, False), (None, False)])
def test_a_question_is_open_until_its_link_expires(expires_at, asks):
    """A wake-up before that waits for it."""
    result = woken(document(incident(Phase.ASKED, nonce="n", expires_at=expires_at)), NOW)
    assert (phase(result) is Phase.ASKED) == asks
    assert (result.document.incident.due, result.document.to_tell) == (expires_at, ()) if asks else kinds(result.document)


def test_what_was_held_for_one_reason_and_is_held_for_another_is_decided_anew():
    """The new reason passes by itself, so the link is gone; a cooldown ends at a time that is known and calls nobody."""
    held = document(incident(Phase.ASKED, nonce="n", due=NOW + 99, expires_at=NOW + 99, reason=Reason.TOO_MANY_RESTARTS))
    run = execution(started=-310, ended=-300)
    result = moved(held, alerted(), seen(run))
    assert (phase(result), reason(result)) == (Phase.WAITING, Reason.COOLDOWN)
    assert (result.document.incident.approval.nonce, result.document.incident.approval.expires_at) == ("", None)
    book = rules(runbook(limits=Limits(cooldown_s=4 * 3600.0)))
    run = execution(started=-310, ended=-300)
    almost = woken(document(incident()), NOW, seen(execution(started=-602, ended=-599.5)))
    assert (almost.document.incident.reason, almost.document.incident.due) == (Reason.COOLDOWN, NOW + 1), "not at once"
    result = woken(document(incident()), NOW, seen(run), book)
    ends = NOW + 4 * 3600.0 - 300
    assert result.document.incident is not None
    assert (phase(result), result.document.incident.due) == (Phase.WAITING, ends)
    later = woken(replace(result.document, to_tell=()), ends, seen(run, now=ends, mail=MISSING), book)
    assert (phase(later), later.document.outcomes) == (Phase.WAITING, ())
    assert last(woken(later.document, ends + WITHIN_S + 901, seen(run, now=ends, mail=MISSING), book)) == (
        Ending.ESCALATED,
        Reason.SYMPTOM_UNKNOWN,
    )


HOLDS = [
    pytest.param({"mail": MISSING}, Reason.SYMPTOM_UNKNOWN, id="symptom_unknown"),
    pytest.param({"history": MISSING}, Reason.LEDGER_UNKNOWN, id="ledger_unknown"),
    pytest.param({"storm": MISSING}, Reason.STORM_UNKNOWN, id="storm_unknown"),
    pytest.param({"history": history_of(others=(execution(ended=None),))}, Reason.JOB_BUSY, id="job_busy"),
]


@pytest.mark.parametrize(("look", "code"), HOLDS)
def test_what_passes_by_itself_but_does_not_pass_escalates_after_within_and_fifteen_minutes(look, code):
    """I2: every incident ends, with its last reason."""
    deadline = WITHIN_S + GRACE_S
    looks = [(float(after_s), seen(**look)) for after_s in (*range(0, 1500, 15), int(deadline) - 1)]
    waiting = through(document(incident()), looks)
    assert phase(waiting) is Phase.WAITING
    result = through(document(incident()), [*looks, (deadline, seen(**look))])
    assert last(result) == (Ending.ESCALATED, code)
    assert channels(result.document) == {"ops", "duty"}


@pytest.mark.parametrize("phase_now", [one for one in Phase if one not in (Phase.ASKED, Phase.OBSERVING)])
def test_an_incident_whose_runbook_is_gone_ends(phase_now):
    """An old document meets a new configuration: told on the top-level channels. A restart that nobody checks goes to people."""
    before = document(incident(phase_now, told=("old-channel",)))
    result = woken(before, NOW, with_rules=rules(runbook(name="other")))
    assert last(result) == (Ending.HELD, Reason.NO_RUNBOOK)
    assert channels(result.document) == {"everybody"}
    result = woken(document(incident(phase_now, told=("old-channel",), restarts=1)), NOW, with_rules=rules(runbook(name="other")))
    assert last(result) == (Ending.ESCALATED, Reason.NO_RUNBOOK)
    assert channels(result.document) == {"everybody", "old-channel", "duty"}


def test_a_runbook_that_only_observes_escalates_nothing():
    """What can't be known to the end is held, and the next alert is decided anew."""
    observes = rules(runbook(mode=Mode.OBSERVE))
    before, at = document(incident()), NOW
    while before.incident is not None:
        at = before.due or 0.0
        before = woken(before, at, seen(now=at, mail=MISSING), observes).document
    assert (before.outcomes[-1].ending, before.escalation) == (Ending.HELD, None)
    assert channels(before) == {"ops"}


OTHER = execution(9, started=-720, ended=None, user="alice")


def links_of(result) -> list[str]:
    return [url for _, url in result.document.to_tell[0].card.links]


@pytest.mark.parametrize(
    ("started", "code", "called", "said"),
    [
        (-720, Reason.JOB_BUSY, {"ops"}, {"has been running for 12 min", "started by alice"}),
        (-1801, Reason.ZOMBIE_EXECUTION, {"ops", "duty"}, {"has been running for 30 min", "Abort the execution in Rundeck"}),
    ],
)
def test_what_blocks_the_job_is_told_with_its_age(started, code, called, said):
    """Whoever reads the card opens it, also when it escalates. One that crashed never ends: people are called to abort it."""
    other = execution(9, started=started, ended=None, user="alice")
    result = woken(document(incident()), NOW, seen(history=history_of(others=(other,))))
    (*_, message) = result.document.to_tell
    shown = "\n".join((*message.card.text, *(f"{label}: {text}" for label, text in message.card.facts)))
    assert (phase(result), reason(result), channels(result.document)) == (Phase.WAITING, code, called)
    assert [one for one in said if one not in shown] == []
    assert links_of(result)[0] == other.url
    assert result.document.incident.execution is None, "it is not the incident's own"
    late = woken(document(incident()), NOW + WITHIN_S + GRACE_S, seen(now=NOW + 1500, history=history_of(others=(other,))))
    assert (last(late), links_of(late)[0]) == ((Ending.ESCALATED, code), other.url)
    assert len(starts(woken(replace(result.document, to_tell=()), NOW + 16, seen(now=NOW + 16)))) == 1


# --- running ---------------------------------------------------------------------------------------------------------

RUNNING = document(incident(Phase.RUNNING, attempt=1, restarts=1, execution=OURS))


def test_while_it_runs_it_is_looked_at_every_so_often():
    """Nothing is judged before its end; `zombie_execution` when it was seen running for longer than `max_run`."""
    result = woken(RUNNING, NOW + 60, seen(OURS, now=NOW + 60, mail=well(NOW + 60)))
    assert (phase(result), result.document.due, result.document.to_tell) == (Phase.RUNNING, NOW + 75, ())
    result = woken(RUNNING, NOW + 1803, seen(now=NOW + 1803, history=history_of(OURS, now=NOW + 1803)))
    assert last(result) == (Ending.ESCALATED, Reason.ZOMBIE_EXECUTION)
    assert str(result.document.to_archive[-1].incident.detail) == "execution 7 has been running for 30 min 1 s"
    assert OURS.url in [url for _, url in result.document.to_tell[0].card.links]
    assert phase(woken(RUNNING, NOW + 1802, seen(history=history_of(OURS, now=NOW + 1802)))) is Phase.RUNNING


@pytest.mark.parametrize(("mail", "healthy"), [(well(NOW + 30), "; the queue looks healthy"), (snapshot(500), "")])
def test_a_run_that_rundeck_lost_is_told_at_the_next_look(mail, healthy):
    """Rundeck was killed in it and started anew: it stays `running` for ever, and nobody waits for `max_run` to hear it."""
    lost = replace(OURS, abandoned=True)
    result = woken(RUNNING, NOW + 30, seen(now=NOW + 30, history=history_of(lost, now=NOW + 30), mail=mail))
    assert last(result) == (Ending.ESCALATED, Reason.ZOMBIE_EXECUTION)
    said = str(result.document.to_archive[-1].incident.detail)
    assert said == f"Rundeck was started anew during execution 7, so nothing runs it any more{healthy}"
    assert OURS.url in [url for _, url in result.document.to_tell[0].card.links]


@pytest.mark.parametrize(("mail", "healthy"), [(well(NOW + 30), "; the queue looks healthy"), (snapshot(500), "")])
def test_a_run_that_left_no_end_is_handed_to_people(mail, healthy):
    """The runner knows only that nothing runs it any more: it may have restarted the application, or stopped it."""
    lost = replace(OURS, abandoned=True, status="lost", runner_ended_at=RUNNER_NOW + 20)
    result = woken(RUNNING, NOW + 30, seen(now=NOW + 30, history=history_of(lost, now=NOW + 30), mail=mail))
    assert (starts(result), last(result)) == ([], (Ending.ESCALATED, Reason.LEDGER_UNKNOWN))
    said = str(result.document.to_archive[-1].incident.detail)
    assert said == f"execution 7 is gone and left no end, so nobody knows how far it came{healthy}"


@pytest.mark.parametrize(("started", "counted"), [(-30.0, 2), (-150.0, 2), (-151.0, 1)])
def test_restarts_by_hand_that_were_made_for_the_same_alert_count(started, counted):
    """Who was faster than Unstick has used up attempts; what began over a minute before the alert is about something else."""
    earlier = execution(11, started=started, ended=started + 10, user="anna")
    running = execution(12, started=-5, ended=None, user="anna")
    result = woken(document(incident()), NOW, seen(running, earlier))
    assert (phase(result), result.document.incident.restarts, result.document.incident.run.adopted) == (
        Phase.RUNNING,
        counted,
        True,
    )
    newer = incident(triggers=(trigger(starts_at=NOW - 5000), trigger(fingerprint="fp-2")))
    assert woken(document(newer), NOW, seen(running, earlier)).document.incident.restarts == counted
    ours = woken(document(incident(attempt=1)), NOW, seen(replace(running, tag="inc-1.1"), earlier)).document.incident
    assert (ours.restarts, ours.run.adopted) == (1, False), "our own lost start is one, whoever was faster"
    other = replace(earlier, id="13")
    assert woken(document(incident()), NOW, seen(running, other)).document.incident.restarts == counted, "whatever its number"


DOWN = Unknown("Rundeck: no answer")
WAIT_S = 1800 + WITHIN_S + GRACE_S
"""`max_run`, `within` and 15 minutes: until then an execution that can't be seen is waited for."""


def run_unseen(history, *, after_s: float = 60.0, mail=None, document: Document = RUNNING):
    """A running restart that was last seen at NOW, and what a later look makes of it."""
    document = woken(document, NOW, seen(history=history_of(OURS))).document
    shown = history if isinstance(history, Unknown) else replace(history, runner_now=RUNNER_NOW + after_s)
    return woken(document, NOW + after_s, seen(now=NOW + after_s, history=shown, mail=mail or snapshot(500)))


@pytest.mark.parametrize(("after_s", "told"), [(60, []), (WITHIN_S - 1, []), (WITHIN_S, ["held"]), (1900, ["held"])])
@pytest.mark.parametrize("history", [DOWN, history_of(), MISSING], ids=["no answer", "vanished", "refused"])
def test_a_restart_that_is_not_seen_is_told_after_within(history, after_s, told):
    """A hiccup of Rundeck is nobody's business; after `within` without a sight of the execution it is, and it is no zombie. What
    people can mend is told at once; the card does not say "not restarted"."""
    told = ["held"] if history is MISSING else told
    result = run_unseen(history, after_s=after_s)
    assert (phase(result), kinds(result.document), starts(result)) == (Phase.RUNNING, told, [])
    assert (result.document.due, result.document.incident.reason) == (NOW + after_s + 15, Reason.LEDGER_UNKNOWN)
    for card in (message.card for message in result.document.to_tell):
        assert (channels(result.document), card.urgency) == ({"ops", "duty"}, "act")
        assert "not restarted" not in card.headline
        assert OURS.url in links_of(result)
        assert history is not MISSING or "Start it." in card.text


def test_what_is_known_of_an_unseen_restart_is_said():
    """Why, since when nobody has seen it (without any look: since the incident began), and whether the queue looks healthy."""
    result = run_unseen(history_of(), after_s=120.0)
    assert str(result.document.incident.detail) == (
        "execution 7 is no longer in Rundeck: it was deleted, or its job; the restart was last seen running 2 min ago"
    )
    document = replace(RUNNING, incident=replace(RUNNING.incident, began_at=NOW - 240, looked_at=None))
    never = woken(document, NOW + 60, seen(history=DOWN))
    assert str(never.document.incident.detail).endswith("last seen running 5 min ago")
    undated = replace(document, incident=replace(document.incident, execution=replace(OURS, runner_started_at=None)))
    for after_s, ends in ((WAIT_S - 241, False), (WAIT_S - 240, True), (WAIT_S - 200, True)):
        assert (woken(undated, NOW + after_s, seen(history=DOWN)).document.outcomes != ()) == ends
    assert "the queue looks healthy" in str(run_unseen(MISSING, mail=well(NOW + 60)).document.incident.detail)
    assert "the queue looks healthy" not in str(run_unseen(MISSING).document.incident.detail)


def test_a_history_that_comes_back_is_believed():
    """The restart's real end counts, after `max_run` too; a restart that is seen running again has a new silence to pass."""
    unseen = run_unseen(MISSING, after_s=1900.0).document
    result = woken(unseen, NOW + 2000, seen(now=NOW + 2000, history=history_of(ENDED, now=NOW + 2000), mail=well(NOW + 2000)))
    assert (phase(result), result.document.incident.execution.status, starts(result)) == (Phase.VERIFYING, "succeeded", [])
    result = woken(
        result.document, NOW + 2016, seen(now=NOW + 2016, history=history_of(ENDED, now=NOW + 2016), mail=well(NOW + 2016))
    )
    assert last(result) == (Ending.RECOVERED, None)
    unseen = run_unseen(DOWN, after_s=590.0).document
    result = woken(unseen, NOW + 605, seen(now=NOW + 605, history=history_of(OURS, now=NOW + 605)))
    assert (phase(result), result.document.incident.reason) == (Phase.RUNNING, None)
    result = woken(result.document, NOW + 1200, seen(now=NOW + 1200, history=DOWN))
    assert kinds(result.document) == []


@pytest.mark.parametrize("order", [1, -1])
def test_other_runs_of_the_target_say_nothing_of_the_one_that_is_followed(order):
    """Whoever started them, before or after it."""
    others = [execution(n, started=started, ended=started + 5, user="anna") for n, started in ((9, 8.0), (12, 4.0), (1, -7000.0))]
    result = woken(RUNNING, NOW + 15, seen(*[*others, OURS][::order], now=NOW + 15))
    assert (phase(result), result.document.incident.execution) == (Phase.RUNNING, OURS)
    lagging = woken(RUNNING, NOW + 15, seen(*others[::order], now=NOW + 15))
    assert lagging.document.incident.execution == OURS


@pytest.mark.parametrize(
    ("other", "named"),
    [
        pytest.param({"started": -5, "ended": 2}, True, id="ended as ours began"),
        pytest.param({"started": -5, "ended": 1.9}, False, id="ended before it"),
        pytest.param({"started": 10, "ended": 12}, True, id="began as ours ended"),
        pytest.param({"started": 10.1, "ended": 12}, False, id="began after it"),
        pytest.param({"started": 3, "ended": None, "tag": "inc-0.1"}, True, id="of another incident"),
        pytest.param({"started": 3, "ended": None, "tag": f"{incident().id}.1"}, False, id="ours, tried again"),
        pytest.param({"started": 3, "ended": None, "scheduled": True}, False, id="waits to start"),
        pytest.param({"runner_started_at": None}, False, id="of unknown age"),
    ],
)
@pytest.mark.parametrize(("number", "user"), [(3, "anna"), (9, "")])
def test_another_restart_at_the_same_time_is_noted(other, named, number, user):
    """It stays noted where the next look does not show it; what ran before or after ours does not matter."""
    beside = execution(number, user=user, **other)
    looked = woken(RUNNING, NOW + 15, seen(beside, ENDED, now=NOW + 15)).document
    assert str(looked.incident.run.beside) == (f"execution {number} by {user or '?'}" if named else "")
    later = woken(looked, NOW + 30, seen(ENDED, now=NOW + 30)).document
    assert later.incident.run.beside == looked.incident.run.beside
    undated = replace(RUNNING, incident=replace(RUNNING.incident, execution=replace(OURS, runner_started_at=None)))
    assert woken(undated, NOW + 15, seen(beside, now=NOW + 15)).document.incident.run.beside == ""
    by_hand = replace(RUNNING, incident=replace(RUNNING.incident, execution=replace(OURS, tag="")))
    untagged = replace(OURS, tag=""), execution(number, started=3, ended=None)
    assert woken(by_hand, NOW + 15, seen(*untagged, now=NOW + 15)).document.incident.run.beside, "both by hand"


FAILED = replace(ENDED, status="failed")


@pytest.mark.parametrize("while_it_runs", [False, True])
def test_a_refused_retry_is_no_refused_start_where_the_history_lags(while_it_runs):
    """What was tried again was seen to begin in time, so it needs no place in the history to count as the one attempt."""
    book = rules(runbook(limits=Limits(attempts=1)))
    first = replace(OURS, runner_not_after=RUNNER_NOW + 30)
    retry = execution(8, started=40, ended=None, tag="inc-1.1", runner_not_after=RUNNER_NOW + 30)
    document = replace(RUNNING, incident=replace(RUNNING.incident, execution=first))
    if while_it_runs:
        seen_running = seen(now=NOW + 45, history=replace(history_of(now=NOW + 45), followed=retry))
        document = woken(document, NOW + 45, seen_running, book).document
    refused = replace(retry, status="failed", runner_ended_at=RUNNER_NOW + 50)
    result = woken(document, NOW + 60, seen(now=NOW + 60, history=replace(history_of(now=NOW + 60), followed=refused)), book)
    assert last(result) == (Ending.ESCALATED, Reason.FAILING)
    assert starts(result) == []


@pytest.mark.parametrize(
    ("other", "counts"),
    [
        pytest.param(FAILED, True, id="ran and failed"),
        pytest.param(replace(FAILED, id="9"), True, id="whatever its number"),
        pytest.param(None, False, id="not in the history"),
        pytest.param(execution(6, started=-7000, ended=-6990, tag="inc-0.1", status="failed"), False, id="of another incident"),
        pytest.param(execution(6, started=-7000, ended=-6990, tag="inc-2.1", status="failed"), False, id="of a later one"),
        pytest.param(replace(FAILED, runner_not_after=RUNNER_NOW), False, id="refused as well"),
    ],
)
def test_a_retry_that_was_found_first_is_a_restart_where_the_history_shows_the_run_before_it(other, counts):
    """The history lagged, so the incident follows a retry that the job refused: only what ran before it was a restart."""
    book = rules(runbook(limits=Limits(attempts=1)))
    retry = execution(8, started=40, ended=None, tag="inc-1.1", runner_not_after=RUNNER_NOW + 30)
    document = replace(RUNNING, incident=replace(RUNNING.incident, execution=retry))
    refused = replace(retry, status="failed", runner_ended_at=RUNNER_NOW + 41)
    history = history_of(replace(refused, tag=""), *((other,) if other else ()), now=NOW + 60)
    result = woken(document, NOW + 60, seen(now=NOW + 60, history=history), book)
    assert [one.reason for one in result.document.outcomes] == ([Reason.FAILING] if counts else [])
    assert [act.tag for act in starts(result)] == ([] if counts else ["inc-1.2"])
    shown = result.document.incident or result.document.to_archive[-1].incident
    assert [one.how for one in shown.tries] == ([] if counts else ["refused_late"])


def test_a_failed_execution_is_a_restart_and_the_next_attempt_is_decided():
    """The queue is still ill: attempt 2, the first stays on record; people open what blocks the next one."""
    result = woken(RUNNING, NOW + 15, seen(FAILED, now=NOW + 15))
    assert [act.tag for act in starts(result)] == ["inc-1.2"]
    assert result.document.incident is not None
    assert [(one.tag, one.how) for one in result.document.incident.tries] == [("inc-1.1", "failed: failed")]
    assert result.document.incident.restarts == 1
    busy = history_of(replace(FAILED, runner_ended_at=RUNNER_NOW - 5000), others=(execution(9, ended=None),), now=NOW + 15)
    for began, then in ((NOW - 584, Phase.VERIFYING), (NOW - 585, None)):
        adopted = replace(RUNNING, incident=replace(RUNNING.incident, began_at=began))
        assert phase(woken(adopted, NOW + 15, seen(history=busy))) is then, "one that ended before the alert has its time, too"
    crashed = execution(9, started=-1801, ended=None)
    late = NOW + WITHIN_S + 16
    result = woken(RUNNING, late, seen(now=late, history=history_of(FAILED, others=(crashed,), now=late)))
    assert last(result) == (Ending.ESCALATED, Reason.ZOMBIE_EXECUTION)
    assert links_of(result)[0] == crashed.url
    assert "1. execution 7, failed" in str(result.document.to_tell[0].card.facts)


PASSING = [
    pytest.param(
        {"history": lambda at: history_of(FAILED, others=(execution(9, ended=None),), now=at)}, "job_busy", 0.0, id="busy"
    ),
    pytest.param({"mail": lambda at: MISSING}, "symptom_unknown", 0.0, id="unseen"),
    pytest.param({"mail": lambda at: snapshot(50, acks=3, at=at)}, "symptom_gone", GRACE_S, id="it works"),
]


@pytest.mark.parametrize(("look", "code", "grace_s"), PASSING)
def test_after_a_failed_restart_what_passes_by_itself_is_waited_for(look, code, grace_s):
    """The verification goes on, nobody is told, and no attempt is recorded twice; after `within` people take over."""

    def at(after_s: float) -> Observation:
        shown = {name: reading_at(NOW + after_s) for name, reading_at in look.items()}
        return seen(FAILED, now=NOW + after_s, **shown)

    first = woken(RUNNING, NOW + 15, at(15.0))
    assert (phase(first), first.document.to_tell, starts(first)) == (Phase.VERIFYING, (), [])
    assert (first.document.incident.due, first.document.incident.tries) == (NOW + 30, ())
    last_s = 10 + WITHIN_S + grace_s  # the restart ended at NOW + 10
    waits = [(float(after_s), at(after_s)) for after_s in range(30, int(last_s), 15)]
    assert phase(through(first.document, waits)) is Phase.VERIFYING
    late = woken(RUNNING, NOW + last_s, at(last_s))
    assert last(late) == (Ending.ESCALATED, Reason(code))
    assert phase(woken(RUNNING, NOW + last_s - 1, at(last_s - 1))) is Phase.VERIFYING


def test_the_end_of_a_restart_begins_the_verification_anew():
    """What was seen before counts no more; the check that proves it may be one interval after the end of `within`."""
    watched = QueueState(MAIL, "mail", NOW, after=AfterRestart(50, 7, NOW, NOW, Verdict.STUCK, NOW))
    document = replace(RUNNING, incident=replace(RUNNING.incident, queues=(watched,)))
    result = woken(document, NOW + 15, seen(ENDED, now=NOW + 15, mail=well(NOW + 15)))
    assert (phase(result), result.document.due) == (Phase.VERIFYING, NOW + 30)
    assert result.document.incident is not None
    kept = result.document.incident.queues[0]
    assert kept.after == AfterRestart()
    result = at_looks(lambda at: well(at) if at >= NOW + 595 else ill_slowly(at), *range(20, 601, 15), 615)
    assert (phase(result), result.document.due) == (Phase.VERIFYING, NOW + 610)
    assert last(woken(result.document, NOW + 610, seen(now=NOW + 610, mail=well(NOW + 610))))[0] is Ending.RECOVERED


# --- verifying -------------------------------------------------------------------------------------------------------


def at_looks(mail, *ages_s: float, document: Document | None = None, with_rules: Rules | None = None, post=None):
    """Looks at these ages of the restart (which ended 20 s before NOW); `mail` and `post` make what is seen at a time."""
    looks = [
        (age - 20, seen(now=NOW + age - 20, mail=mail(NOW + age - 20), post=post and post(NOW + age - 20))) for age in ages_s
    ]
    return through(document or verifying(), looks, with_rules)


def ill(at: float):
    return snapshot(50, at=at, ids=NEW)


def unseen(at: float):
    return Unknown("it is down")


def falling(at: float):
    return snapshot(int(50 - (at - NOW) / 20), at=at, ids=NEW, acks=1)


def test_recovered_takes_two_looks_every_apart():
    """I5: one look is not enough, nor are two that are closer, nor one queue of two. It ends the escalation before it."""
    one = at_looks(well, 20)
    assert (phase(one), one.document.due, one.document.to_tell) == (Phase.VERIFYING, NOW + 15, ())
    close = replace(one.document, incident=replace(one.document.incident, due=NOW + 14), due=NOW + 14)
    assert phase(woken(close, NOW + 14, seen(now=NOW + 14, mail=well(NOW + 14)))) is Phase.VERIFYING
    two = at_looks(well, 20, 35)
    assert (last(two), kinds(two.document), channels(two.document)) == ((Ending.RECOVERED, None), ["recovered"], {"ops"})
    assert two.document.outcomes[-1].runner_ended_at == RUNNER_NOW - 20
    two = (QueueState(MAIL, "mail", NOW), QueueState(POST, "mail", NOW))
    document = verifying(queues=two)
    assert phase(at_looks(well, 20, 35, 50, document=document, post=ill)) is Phase.VERIFYING
    assert last(at_looks(well, 20, 35, document=document, post=well))[0] is Ending.RECOVERED
    document = replace(verifying(overruled=True), escalation=escalation(NOW - 300))
    result = at_looks(well, 20, 35, document=document)
    assert last(result)[0] is Ending.RECOVERED
    assert result.document.escalation is None


def test_an_adopted_restart_is_told_once():
    """Somebody's own restart recovers the queue: one message a channel, and nothing for the alert's repeat."""
    by_hand = replace(OURS, tag="")
    adopted = moved(Document(verifying().key), alerted(), seen(history=history_of(by_hand)))
    assert (phase(adopted), kinds(adopted.document)) == (Phase.RUNNING, ["started"])
    over = replace(ENDED, tag="")
    looks = [(at, seen(over, now=NOW + at, mail=well(NOW + at))) for at in (15.0, 30.0, 45.0)]
    result = through(replace(adopted.document, to_tell=()), looks)
    assert last(result)[0] is Ending.RECOVERED
    assert [message.id for message in result.document.to_tell] == ["inc-1-recovered@ops"]
    again = moved(replace(result.document, to_tell=()), alerted(incident="inc-2"), seen(over, now=NOW + 60), at=NOW + 60)
    assert (again.document.to_tell, reason(again)) == ((), Reason.DUPLICATE)


def test_a_queue_without_movement_for_patience_gets_the_next_attempt():
    """`stuck`: a second start, numbered; then people are called, with what Rundeck wrote last."""
    result = at_looks(ill, 20, 60, 100)
    assert starts(result) == []
    result = at_looks(ill, 20, 60, 120)
    assert [act.tag for act in starts(result)] == ["inc-1.2"]
    assert result.document.incident is not None
    assert [one.how for one in result.document.incident.tries] == ["stuck"]
    book = runbook(limits=Limits(attempts=1), mention=("<users/all>",))
    document = verifying(tail=("connection refused",))
    result = at_looks(ill, 20, 120, document=document, with_rules=rules(book))
    assert (last(result), channels(result.document), starts(result)) == ((Ending.ESCALATED, None), {"ops", "duty"}, [])
    card = result.document.to_tell[0].card
    assert (card.mention, card.evidence) == (("<users/all>",), ("connection refused",))
    assert result.document.escalation.at == NOW + 100


@pytest.mark.parametrize(("restarts", "host"), [(0, "10.0.3.8"), (1, "10.0.3.7")])
def test_what_was_held_before_the_restart_stays_known(restarts, host):
    """It is compared with what is held after it; before any restart, what the newest look shows counts."""
    watched = replace(incident().queues[0], held_by=(Channel("10.0.3.7 (1)", "10.0.3.7"),))
    before = document(incident(attempt=restarts, restarts=restarts, queues=(watched,)))
    result = woken(before, NOW, seen(mail=holding(Holder("10.0.3.8", "worker-2")), pause=Pause("x")))
    (queue,) = result.document.to_archive[-1].incident.queues
    assert [channel.host for channel in queue.held_by] == [host]


def test_after_a_restart_that_did_not_help_the_kill_switch_calls_people():
    """It does not pass by itself, nor does a limit."""
    waits, at = at_looks(ill, 20, 60).document, NOW + 100
    result = woken(waits, at, seen(now=at, mail=ill(at), pause=Pause("x")))
    assert (starts(result), last(result)) == ([], (Ending.ESCALATED, Reason.PAUSED))
    many = [execution(number, started=-900.0 * number, ended=-900.0 * number + 9) for number in (1, 2, 3)]
    result = woken(waits, at, seen(*many, now=at, mail=ill(at)))
    assert (starts(result), last(result)) == ([], (Ending.ESCALATED, Reason.TOO_MANY_RESTARTS))


def test_a_queue_that_joined_after_within_is_looked_at_as_often_as_any():
    """It has its own time. Without an execution, the time is the incident's."""
    early = woken(verifying(execution=None, began_at=NOW - 5), NOW, seen(mail=ill(NOW))).document
    assert (early.due, early.incident.looked_at) == (NOW + 15, None)
    document = verifying(ended=-700.0, queues=(QueueState(MAIL, "mail", NOW - 100),))
    assert woken(document, NOW, seen(mail=ill(NOW))).document.due == NOW + 15


def test_a_slow_drain_is_told_once_and_waited_for():
    """`draining` after `patience`: no restart, one message for each restart; at the end of `within` it has recovered."""
    result = at_looks(falling, 20, 60, 100, 140)
    assert (phase(result), kinds(result.document)) == (Phase.VERIFYING, ["draining"])
    assert kinds(at_looks(falling, 155, document=replace(result.document, to_tell=())).document) == []
    result = at_looks(falling, 20, 60, 120)
    assert result.document.incident.run.draining_told == "inc-1-draining-7"
    again = replace(result.document, incident=change(result.document.incident, draining_told="inc-1-draining-6"), to_tell=())
    assert kinds(at_looks(falling, 135, document=again).document) == ["draining"]
    two = verifying(queues=(QueueState(MAIL, "mail", NOW), QueueState(POST, "mail", NOW)))
    for post, told in ((unseen, []), (ill, []), (falling, ["draining"]), (well, ["draining"])):
        assert kinds(at_looks(falling, 20, 60, 120, document=two, post=post).document) == told, "not while another hangs"
    unknown = at_looks(falling, 20, 60, 120, document=verifying(execution=None, began_at=NOW - 20))
    assert unknown.document.incident.run.draining_told == "inc-1-draining-1"
    result = at_looks(falling, *range(20, 600, 15))
    assert (phase(result), result.document.due) == (Phase.VERIFYING, NOW + 580), "at the end of `within`"
    result = at_looks(falling, *range(20, 601, 15), 620)
    assert last(result)[0] is Ending.RECOVERED


@pytest.mark.parametrize(
    ("changes", "waits"),
    [
        pytest.param({}, True, id="as it is"),
        pytest.param({"resolved_at": NOW + 577}, False, id="resolved"),
        pytest.param({"queue": POST.key}, False, id="of another queue"),
        pytest.param({"starts_at": NOW + 540.0}, False, id="it moved after that"),
    ],
)
def test_only_an_open_alert_of_the_queue_says_that_it_is_stuck_again(changes, waits):
    """Whatever else began meanwhile, a queue that moves has recovered."""
    newest = trigger(**{"fingerprint": "fp-2", "starts_at": NOW + 575.0, **changes})
    document = verifying(triggers=(trigger(), newest))
    result = at_looks(lambda at: falling(min(at, NOW + 560.0)), *range(20, 601, 15), 620, document=document)
    assert (phase(result) is Phase.VERIFYING) == waits
    assert result.document.due == NOW + 615 if waits else last(result)[0] is Ending.RECOVERED


def ill_slowly(at: float):
    """It moves now and then, so that patience is never over."""
    return snapshot(50 - int((at - NOW) / 100), at=at, ids=NEW)


@pytest.mark.parametrize(("moved_s", "recovers"), [(115, True), (120, False), (130, False)])
def test_at_the_end_of_within_only_what_moved_lately_has_recovered(moved_s, recovers):
    """Within `patience` by one clock, wherever the runner's stands; what moved before that is people's."""
    watched = replace(verifying().incident.queues[0], joined_at=NOW - 700, consumers=1)
    watched = replace(watched, after=AfterRestart(50, 1000, moved_at=RUNNER_NOW - moved_s, looked_at=RUNNER_NOW - 15))
    document = verifying(ended=-600.0, queues=(watched,), triggers=(trigger(starts_at=NOW - 700),))
    result = woken(document, NOW, seen(mail=snapshot(50, ids=NEW)))
    assert last(result)[0] is (Ending.RECOVERED if recovers else Ending.ESCALATED)
    said = "mail is processing again, 50 messages left" if recovers else "not recovered within 10 min"
    assert said in str(result.document.to_tell[0].card)


@pytest.mark.parametrize(
    ("mail", "code"),
    [(lambda at: Unknown("down"), Reason.SYMPTOM_UNKNOWN), (lambda at: replace(falling(at), consumers=0, consumer_ids=()), None)],
    ids=["unseen", "nobody there"],
)
def test_at_the_end_of_within_what_is_not_proven_escalates(mail, code):
    """I4, I5: an unreadable queue has not recovered, nor has one that empties itself without a consumer."""
    result = at_looks(mail, *range(20, 601, 15), 620)
    assert last(result) == (Ending.ESCALATED, code)
    said = "the queue could not be read" if code else "not recovered within 10 min"
    assert said in str(result.document.to_archive[-1].incident.detail)
    patient = rules(runbook(verify=Verify(patience_s=900.0, within_s=330.0)))
    result = at_looks(ill, *range(20, 331, 15), 340, with_rules=patient)
    assert (last(result), str(result.document.to_archive[-1].incident.detail)) == (
        (Ending.ESCALATED, None),
        "not recovered within 5.5 min",
    ), "there is no verdict yet"
