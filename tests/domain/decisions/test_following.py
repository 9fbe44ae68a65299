"""A restart while it runs and after it, one step at a time; and what a runbook in mode observe would have restarted."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from functions.domain.model.codes import Ending, Phase, Reason, Verdict
from functions.domain.model.incidents import REFUSED_LATE, UNCLEAR, AfterRestart, Asked, Document, PastAttempt, QueueState, failed
from functions.domain.model.observations import Channel, Holder, Observation, QueueStalls, Stall, StallKind, Unknown
from functions.domain.model.runbooks import Limits, Rules
from functions.domain.texts.words import LINK_BY_HAND
from tests.support.worlds.scenes import (
    MAIL,
    NEW,
    NOW,
    POST,
    RUNNER_NOW,
    alerted,
    channels,
    document,
    escalation,
    execution,
    held_by,
    history_of,
    holding,
    ill,
    incident,
    kinds,
    last,
    links_of,
    moved,
    phase,
    reason,
    rules,
    runbook,
    seen,
    snapshot,
    starts,
    through,
    trigger,
    verifying,
    well,
    woken,
)

MISSING = Unknown("it is down", remedy="Start it.")
OURS = execution(started=2, ended=None, tag="inc-1.1")
ENDED = replace(OURS, status="succeeded", runner_ended_at=RUNNER_NOW + 10, over=True)
WITHIN_S, GRACE_S = 600.0, 900.0


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


GONE = "execution 7 is gone and its end was not recorded, so nobody knows how far it got"


@pytest.mark.parametrize("mail", [well(NOW + 30), snapshot(500)])
def test_a_run_that_left_no_end_is_handed_to_people(mail):
    """Nobody waits for `max_run` to hear it: it may have restarted the application, or stopped it."""
    lost = replace(OURS, abandoned=True, status="lost", runner_ended_at=RUNNER_NOW + 20)
    result = woken(RUNNING, NOW + 30, seen(now=NOW + 30, history=history_of(lost, now=NOW + 30), mail=mail))
    assert (starts(result), last(result)) == ([], (Ending.ESCALATED, Reason.LEDGER_UNKNOWN))
    assert str(result.document.to_archive[-1].incident.detail) == GONE
    assert OURS.url in links_of(result)


DOWN = Unknown("Rundeck: no answer")
WAIT_S = 1800 + WITHIN_S + GRACE_S
"""`max_run`, `within` and 15 minutes: until then an execution that can't be seen is waited for."""


def run_unseen(history, *, after_s: float = 60.0, mail=None, document: Document = RUNNING):
    """A running restart that was last seen at NOW, and what a later look makes of it."""
    document = woken(document, NOW, seen(history=history_of(OURS))).document
    shown = history if isinstance(history, Unknown) else replace(history, runner_now=RUNNER_NOW + after_s, read_at=NOW + after_s)
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


@pytest.mark.parametrize(("attempts", "then"), [(1, None), (2, Phase.VERIFYING)])
def test_a_retry_of_the_runners_own_is_no_other_restart_and_its_refusal_ends_no_command(attempts, then):
    """It was met while the job's guard was about to refuse it: the first command may go on, and people are told of that."""
    book = rules(runbook(limits=Limits(attempts=attempts)))
    first = replace(FAILED, status="failed-with-retry", over=False)
    retry = execution(8, started=45, ended=None, tag="inc-1.1", runner_not_after=RUNNER_NOW + 30)
    history = replace(history_of(retry, first, now=NOW + 50), followed=first if attempts > 1 else retry)
    met = woken(RUNNING, NOW + 50, seen(now=NOW + 50, history=history), book)
    assert (phase(met), met.document.incident.execution.id, met.document.incident.restarts) == (Phase.RUNNING, "8", 1)
    refused = replace(retry, status="failed", runner_ended_at=RUNNER_NOW + 52)
    history = replace(history_of(refused, first, now=NOW + 90), followed=refused)
    result = woken(met.document, NOW + 90, seen(now=NOW + 90, history=history), book)
    assert (phase(result), starts(result)) == (then, [])
    assert "execution 7 ended as failed-with-retry" in " ".join(result.document.to_tell[-1].card.text)


def test_a_run_that_the_history_shows_after_its_refused_retry_counts_as_the_restart():
    """The retry had been found first, and taken off the count."""
    refused = execution(8, started=40, ended=41, tag="inc-1.1", status="failed", runner_not_after=RUNNER_NOW + 30)
    tries = (PastAttempt("inc-1.1", refused, REFUSED_LATE),)
    waiting = replace(RUNNING.incident, phase=Phase.WAITING, execution=None, restarts=0, tries=tries)
    history = history_of(refused, FAILED, now=NOW + 60)
    result = woken(replace(RUNNING, incident=waiting), NOW + 60, seen(now=NOW + 60, history=history))
    assert (result.document.incident.restarts, result.document.incident.execution) == (1, FAILED)


def test_a_refused_start_that_is_found_late_takes_no_other_restart_off_the_count():
    """Its step would adopt the second attempt's run for ever."""
    second = replace(FAILED, id="9", tag="inc-1.2")
    late = execution(8, started=60, ended=None, tag="inc-1.1", runner_not_after=NOW)
    tries = (PastAttempt("inc-1.1", None, UNCLEAR), PastAttempt("inc-1.2", second, failed(second)))
    waiting = replace(RUNNING, incident=replace(RUNNING.incident, phase=Phase.WAITING, attempt=2, execution=second, tries=tries))
    met = woken(waiting, NOW + 65, seen(now=NOW + 65, history=history_of(late, second, now=NOW + 65)))
    assert (met.document.incident.restarts, met.document.incident.execution) == (2, late)
    refused = replace(late, status="failed", runner_ended_at=RUNNER_NOW + 66)
    result = woken(met.document, NOW + 80, seen(now=NOW + 80, history=history_of(refused, second, now=NOW + 80)))
    assert (result.document.incident.restarts, [act.tag for act in starts(result)]) == (1, ["inc-1.3"])


def test_a_failed_execution_is_a_restart_and_the_next_attempt_is_decided():
    """The queue is still ill: attempt 2, the first stays on record; people open what blocks the next one. A node that doesn't
    answer fails the job: a minute after its end it may."""
    looks = [(float(after_s), seen(FAILED, now=NOW + after_s, mail=ill(NOW + after_s))) for after_s in range(15, 70, 15)]
    for end in range(1, len(looks) + 1):
        waits = through(RUNNING, looks[:end])
        assert (starts(waits), kinds(waits.document), waits.document.due) == ([], [], min(looks[end - 1][0] + 15, 70) + NOW)
    healed = [(after_s, seen(FAILED, now=NOW + after_s, mail=well(NOW + after_s))) for after_s in (30.0, 45.0, 60.0)]
    assert last(through(RUNNING, [looks[0], *healed])) == (Ending.RECOVERED, None)
    result = woken(waits.document, NOW + 70, seen(FAILED, now=NOW + 70, mail=ill(NOW + 70)))
    assert [act.tag for act in starts(result)] == ["inc-1.2"]
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
    assert "execution 7, failed" in str(result.document.to_tell[0].card.facts)


def test_a_run_that_rundeck_ended_may_still_be_at_work():
    """I20: over SSH its command goes on after a time-out (measured). People are told at once; nothing is started until `max_run`
    since its start, unless the queue is well before. Nothing is concluded from consumers that are still the old ones."""
    timed_out = replace(FAILED, status="timedout", over=False)
    first = woken(RUNNING, NOW + 15, seen(timed_out, now=NOW + 15))
    assert (phase(first), kinds(first.document), channels(first.document)) == (Phase.VERIFYING, ["held"], {"ops", "duty"})
    card = first.document.to_tell[0].card
    assert card.headline == "ACT NOW: mail: the outcome of a restart is unclear"
    assert "its command may still run on the job's nodes" in " ".join(card.text)
    assert "ps -ef" in " ".join(card.text)
    assert LINK_BY_HAND not in [label for label, _ in card.links]
    waits = [(float(after_s), seen(timed_out, now=NOW + after_s, mail=ill(NOW + after_s))) for after_s in range(30, 1800, 15)]
    waited = through(first.document, waits)
    assert (phase(waited), kinds(waited.document)) == (Phase.VERIFYING, [])
    again = woken(waited.document, NOW + 1815, seen(timed_out, now=NOW + 1815, mail=ill(NOW + 1815)))
    assert [act.tag for act in starts(again)] == ["inc-1.2"]
    theirs = execution(5, started=-200, ended=-190, status="aborted", over=False)
    late = woken(document(incident()), NOW + 1595, seen(theirs, now=NOW + 1595))
    assert (phase(late), kinds(late.document)) == (Phase.WAITING, ["held"]), "it waits for a known end"
    healed = [(after_s, seen(timed_out, now=NOW + after_s, mail=well(NOW + after_s))) for after_s in (30.0, 45.0, 60.0)]
    assert last(through(first.document, healed))[0] is Ending.RECOVERED
    used_up = replace(RUNNING, incident=replace(RUNNING.incident, restarts=2))
    assert last(woken(used_up, NOW + 15, seen(timed_out, now=NOW + 15))) == (Ending.ESCALATED, Reason.ZOMBIE_EXECUTION)


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
    kept = result.document.incident.queues[0]
    assert kept.after == AfterRestart()
    result = at_looks(lambda at: well(at) if at >= NOW + 595 else ill_slowly(at), *range(20, 601, 15), 615)
    assert (phase(result), result.document.due) == (Phase.VERIFYING, NOW + 610)
    assert last(woken(result.document, NOW + 610, seen(now=NOW + 610, mail=well(NOW + 610))))[0] is Ending.RECOVERED


def at_looks(mail, *ages_s: float, document: Document | None = None, with_rules: Rules | None = None, post=None):
    """Looks at these ages of the restart (which ended 20 s before NOW); `mail` and `post` make what is seen at a time."""
    looks = [
        (age - 20, seen(now=NOW + age - 20, mail=mail(NOW + age - 20), post=post and post(NOW + age - 20))) for age in ages_s
    ]
    return through(document or verifying(), looks, with_rules)


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
    document = replace(verifying(approved=Asked(NOW)), escalation=escalation(NOW - 300))
    result = at_looks(well, 20, 35, document=document)
    assert last(result)[0] is Ending.RECOVERED
    assert result.document.escalation is None
    other = replace(document, escalation=escalation(NOW - 300, queue=POST))
    kept = at_looks(well, 20, 35, document=other, post=ill).document.escalation
    assert [state.queue for state in kept.queues] == [POST], "which is about another queue"


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
    assert [one.how for one in result.document.incident.tries] == ["stuck"]
    book = runbook(limits=Limits(attempts=1), mention=("<users/all>",))
    document = verifying(tail=("connection refused",))
    result = at_looks(ill, 20, 120, document=document, with_rules=rules(book))
    assert (last(result), channels(result.document), starts(result)) == ((Ending.ESCALATED, None), {"ops", "duty"}, [])
    card = result.document.to_tell[0].card
    assert (card.mention, card.evidence) == (("<users/all>",), ("connection refused",))
    assert result.document.escalation.at == NOW + 100


def hangs_again(at: float):
    """The same message came back, and is held without a word."""
    again = replace(snapshot(5, at=at, acks=4), redeliveries=9, unacked=1, ready=4, channels=None)
    return replace(again, history=replace(again.history, redeliveries=tuple((at - ago, 9) for ago in range(120, -1, -5))))


@pytest.mark.parametrize(
    ("mail", "said"),
    [
        (hangs_again, "it hangs on the same message again, so another restart would not help"),
        (lambda at: holding(Holder("10.0.3.7", "worker-1"), at=at), "the restart did not end the connection"),
    ],
    ids=["the same message", "the connection of before"],
)
def test_what_another_restart_would_not_help_goes_to_people(mail, said):
    """With attempts left; it is known what the queue held before."""
    channel = Channel("10.0.3.7 (1)", "10.0.3.7", "worker-1")
    queue = replace(verifying().incident.queues[0], before=replace(snapshot(5, acks=4), redeliveries=3), subject=held_by(channel))
    result = at_looks(mail, 20, 60, 140, document=verifying(queues=(queue,)))
    assert (starts(result), last(result)) == ([], (Ending.ESCALATED, None))
    assert said in str(result.document.to_archive[-1].incident.detail)


@pytest.mark.parametrize("kind", StallKind)
def test_after_a_restart_too_it_stalls_for_as_long_as_is_known(kind):
    """It works on the message that came back for 150 s, as on any, or takes so long to start: that is no failure, by `for` or by
    `patience`."""
    learned = QueueStalls(NOW - 9000, tuple(Stall(kind, NOW - 3600 * number, 150.0) for number in (1, 2)))
    queue = replace(verifying().incident.queues[0], before=replace(snapshot(5, acks=4), redeliveries=3))
    document = replace(verifying(queues=(queue,)), stalls={MAIL.key: learned})
    result = at_looks(hangs_again if kind is StallKind.HELD else ill, 20, 60, 140, 200, document=document)
    assert (phase(result), starts(result)) == (Phase.VERIFYING, [])
    late = at_looks(hangs_again, 20, 60, 140, 240, 260, document=document)
    assert last(late) == (Ending.ESCALATED, None)


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


@pytest.mark.parametrize(("started", "counted"), [(-30.0, 2), (-150.0, 2), (-151.0, 1)])
def test_restarts_by_hand_that_were_made_for_the_same_alert_count(started, counted):
    """Who was faster than Unstick has used up attempts; what began over a minute before the alert is about something else."""
    earlier = execution(11, started=started, ended=started + 10, user="anna")
    running = execution(12, started=-5, ended=None, user="anna")
    result = woken(document(incident()), NOW, seen(running, earlier))
    adopted = result.document.incident
    assert (phase(result), adopted.restarts, adopted.run.adopted) == (Phase.RUNNING, counted, True)
    ours = woken(document(incident(attempt=1)), NOW, seen(replace(running, tag="inc-1.1"), earlier)).document.incident
    assert (ours.restarts, ours.run.adopted) == (1, False), "our own lost start is one, whoever was faster"
