"""The phases of an incident until its job runs, one step at a time; and a restart of the host alone whose consumer hangs."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from functions.domain.model.codes import Ending, Mode, Phase, Reason
from functions.domain.model.events import Start, StartResult
from functions.domain.model.incidents import STUCK, AfterRestart, Document, PastAttempt, QueueState
from functions.domain.model.observations import Execution, Holder, Observation, QueueSnapshot, Unknown
from functions.domain.model.runbooks import HolderOption, Limits, Restart, Rules, Symptom
from functions.runtime.text import Text
from tests.support.worlds.scenes import (
    MAIL,
    NOW,
    RUNNER_NOW,
    TARGET,
    alerted,
    case,
    channels,
    document,
    execution,
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
    starting,
    starts,
    through,
    trigger,
    wakes,
    well,
    woken,
)

SAID = Text("Rundeck: answered {status}", status="500")
MISSING = Unknown("it is down", remedy="Start it.")
OURS = execution(started=2, ended=None, tag="inc-1.1")
ENDED = replace(OURS, status="succeeded", runner_ended_at=RUNNER_NOW + 10)
WITHIN_S, GRACE_S = 600.0, 900.0


def unclear(at: float, **changes):
    """Attempt 1 got no clear answer, and this look does not show it."""
    return woken(moved(starting(**changes), StartResult("inc-1.1", unclear=SAID), at=NOW + 10).document, at)


def test_nobody_is_told_of_an_unclear_start_before_the_history_can_say_what_came_of_it():
    """Until the fence is over Rundeck may still run it, and nothing may have been sent. What people can mend is told at once."""
    result = unclear(NOW + 20)
    assert (kinds(result.document), result.document.incident.reason) == ([], Reason.START_UNCLEAR)
    over = woken(result.document, NOW + 92, seen(now=NOW + 92))
    assert (kinds(over.document), [act.tag for act in starts(over)]) == ([], ["inc-1.2"]), "it did not run: decided anew"
    document = moved(starting(), StartResult("inc-1.1", unclear=SAID), at=NOW + 10).document
    result = woken(document, NOW + 20, seen(history=MISSING))
    assert "it is down" in " ".join(result.document.to_tell[0].card.text)


def test_a_restart_of_which_the_answer_was_lost_is_told_though_it_has_ended():
    """People hear of it before it recovers."""
    done = execution(started=2, ended=10, tag="inc-1.1")
    result = woken(starting(), NOW + 20, seen(done, now=NOW + 20))
    assert (phase(result), kinds(result.document)) == (Phase.VERIFYING, ["started"])
    assert result.document.to_tell[0].card.headline.endswith("Restarting mail (attempt 1 of 2)")


@pytest.mark.parametrize(
    ("status", "ended", "by", "problem", "said"),
    [
        ("running", None, "", "Rundeck: no right", "it was not aborted: Rundeck: no right; "),
        ("running", None, "unstick", "", ""),
        ("aborted", 1.0, "unstick", "", ""),
        ("succeeded", 1.0, "", "", ""),
    ],
)
def test_a_start_that_runs_with_other_options_is_escalated_as_seen_after_the_abort(status, ended, by, problem, said):
    """Rundeck drops values without a word; what ran is not what was asked for, and may have been a restart."""
    ran = execution(99, started=0, ended=ended, status=status, aborted_by=by)
    result = moved(starting(), StartResult("inc-1.1", ran, refusal=problem, mismatch=True, remedy="Name them."), at=NOW + 2)
    assert last(result) == (Ending.ESCALATED, Reason.ZOMBIE_EXECUTION)
    assert channels(result.document) == {"ops", "duty"}
    card = result.document.to_tell[0].card
    assert card.headline == "ACT NOW: mail needs a person: the outcome of a restart is unclear"
    started = "execution 99 was started with options that were not sent"
    assert f"Details: {started}; {said}it may have restarted the application" in card.text
    assert "Name them." in card.text
    assert "by hand" not in " ".join(card.text)
    assert links_of(result)[0] == ran.url
    assert result.document.outcomes[-1].restarts == 1, "whatever is told later does not say that nothing was restarted"


def test_a_start_is_waited_for_until_a_minute_after_its_fence():
    """The history may lag."""
    result = woken(starting(), NOW + 20)
    assert (phase(result), result.document.incident.due) == (Phase.STARTING, NOW + 91)
    early = woken(replace(result.document, due=NOW + 90, incident=replace(result.document.incident, due=NOW + 90)), NOW + 90)
    assert (phase(early), starts(early)) == (Phase.STARTING, [])
    late = woken(result.document, NOW + 91)
    assert [act.tag for act in starts(late)] == ["inc-1.2"]
    assert (late.document.incident.attempt, late.document.incident.restarts) == (2, 0)


def test_a_409_waits_and_is_no_attempt():
    """The wake-up adopts what runs, if it is the target's."""
    busy = StartResult("inc-1.1", refusal="the job is already running", busy=True)
    theirs = execution(8, started=-3, ended=None, user="anna")
    for history in (history_of(others=(theirs,)), history_of(), MISSING, history_of(replace(theirs, scheduled=True))):
        waiting = moved(starting(), busy, seen(history=history), NOW + 1)
        assert (phase(waiting), reason(waiting), waiting.document.due) == (Phase.WAITING, Reason.JOB_BUSY, NOW + 16)
        assert (waiting.document.incident.attempt, kinds(waiting.document)) == (0, ["held"])
        assert [act.tag for act in starts(woken(waiting.document, NOW + 16))] == ["inc-1.1"]
    ended = moved(starting(), busy, seen(execution(8, started=-9, ended=-1)), NOW + 1)
    assert (phase(ended), reason(ended)) == (Phase.WAITING, Reason.JOB_BUSY), "what has ended keeps nothing busy"


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
    assert after.document.incident.restarts == 0
    assert {one.how for one in after.document.incident.tries} == {"refused_late"}
    second = replace(during.document, incident=replace(during.document.incident, attempt=2, restarts=2))
    assert woken(second, NOW + 60, seen(now=NOW + 60, history=history)).document.incident.restarts == 1, "the first was one"


def test_a_run_that_rundeck_itself_tried_again_is_verified_once():
    """Both have the tag of the attempt: the newest is followed."""
    ran = [
        execution(8, started=0, ended=9, tag="inc-1.1", status="failed"),
        execution(9, started=1, ended=10, tag="inc-1.1", status="succeeded"),
    ]
    at = NOW + 900.0
    result = woken(starting(), at, seen(*ran, now=at, mail=ill(at)))
    assert [act.tag for act in starts(result)] == ["inc-1.2"]
    assert [past.execution for past in result.document.incident.tries] == ran[1:]


def test_a_history_that_stays_unreadable_while_starting_is_told_and_then_escalated():
    """Looked at every 15 s until `within` after the fence, then told; after another 15 minutes people take over."""
    fence_s = 30.0
    unread = [(after_s, seen(history=Unknown("it is down"))) for after_s in (20.0, fence_s + WITHIN_S - 15, fence_s + WITHIN_S)]
    assert through(starting(), unread[:2]).document.to_tell == ()
    told = through(starting(), unread)
    assert (phase(told), kinds(told.document)) == (Phase.STARTING, ["held"])
    ended = through(starting(), [*unread, (fence_s + WITHIN_S + GRACE_S, seen(history=Unknown("it is down")))])
    assert last(ended) == (Ending.ESCALATED, Reason.LEDGER_UNKNOWN)
    result = woken(starting(), NOW + 20, seen(history=MISSING))
    assert (result.document.due, wakes(result)) == (NOW + 35, [NOW + 35])
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


@pytest.mark.parametrize("adopted", [False, True])
def test_a_restart_that_a_person_aborted_is_that_persons_decision(adopted):
    """No further attempt, and people are told who aborted it; the button of the escalation or `resume` goes on."""
    aborted = replace(ENDED, status="aborted", aborted_by="alice", over=False)
    before = document(incident(Phase.RUNNING, attempt=1, restarts=1, execution=OURS, adopted=adopted))
    result = woken(before, NOW + 15, seen(aborted, now=NOW + 15))
    assert (starts(result), last(result)) == ([], (Ending.ESCALATED, Reason.ABORTED))
    card = result.document.to_tell[0].card
    assert "a person aborted the restart" in card.headline
    assert "alice aborted execution 7; its command may still run on the job's nodes" in " ".join(card.text)
    assert "ps -ef" in " ".join(card.text)
    again = moved(result.document, alerted(case(starts_at=NOW + 100, fingerprint="fp-2")), seen(now=NOW + 120), at=NOW + 120)
    assert (starts(again), reason(again)) == ([], Reason.ESCALATED)


def test_what_was_held_for_one_reason_and_is_held_for_another_is_decided_anew():
    """The new reason passes by itself, so the link is gone. A cooldown looks every minute, later every nine; its end is
    known, so it calls nobody before."""
    held = document(incident(Phase.ASKED, nonce="n", due=NOW, expires_at=NOW + 99, reason=Reason.TOO_MANY_RESTARTS))
    run = execution(started=-310, ended=-300)
    result = woken(held, NOW, seen(run))
    assert (phase(result), reason(result)) == (Phase.WAITING, Reason.COOLDOWN)
    assert (result.document.incident.approval.nonce, result.document.incident.approval.expires_at) == ("", None)
    book = rules(runbook(limits=Limits(cooldown_s=4 * 3600.0)))
    run = execution(started=-310, ended=-300)
    almost = woken(document(incident()), NOW, seen(execution(started=-602, ended=-599.5)))
    assert (almost.document.incident.reason, almost.document.incident.due) == (Reason.COOLDOWN, NOW + 1), "not at once"
    result = woken(document(incident()), NOW, seen(run), book)
    ends = NOW + 4 * 3600.0 - 300
    assert (phase(result), result.document.incident.due) == (Phase.WAITING, NOW + 60)
    slow = woken(replace(result.document, to_tell=()), NOW + 1800, seen(run, now=NOW + 1800, mail=ill(NOW + 1800)), book)
    assert (phase(slow), slow.document.incident.due) == (Phase.WAITING, NOW + 1800 + 540)
    later = woken(replace(result.document, to_tell=()), ends, seen(run, now=ends, mail=MISSING), book)
    assert (phase(later), later.document.outcomes) == (Phase.WAITING, ())
    late = ends + WITHIN_S + 901
    over = woken(
        replace(later.document, incident=replace(later.document.incident, due=late)),
        late,
        seen(run, now=late, mail=MISSING),
        book,
    )
    assert last(over) == (Ending.ESCALATED, Reason.SYMPTOM_UNKNOWN)


def test_what_is_well_in_two_looks_ends_a_cooldown_calmly():
    """One look may meet a pause of the hang. People learn that it works again; before they were told, one look is enough."""
    run = execution(started=-310, ended=-300)
    told = woken(document(incident()), NOW, seen(run))
    assert (phase(told), reason(told), len(told.document.to_tell)) == (Phase.WAITING, Reason.COOLDOWN, 1)
    first = woken(told.document, NOW + 60, seen(run, now=NOW + 60, mail=well(NOW + 60)))
    assert (phase(first), first.document.incident.due) == (Phase.WAITING, NOW + 75)
    again = woken(first.document, NOW + 75, seen(run, now=NOW + 75, mail=ill(NOW + 75)))
    once_more = woken(again.document, NOW + 135, seen(run, now=NOW + 135, mail=well(NOW + 135)))
    assert phase(once_more) is Phase.WAITING, "it was stuck between the two"
    ended = woken(first.document, NOW + 75, seen(run, now=NOW + 75, mail=well(NOW + 75)))
    assert last(ended) == (Ending.HELD, Reason.SYMPTOM_GONE)
    assert ended.document.to_tell[-1].card.urgency == "fine"
    assert woken(document(incident()), NOW, seen(run, mail=well(NOW))).document.incident is None


def test_a_look_that_finds_it_stuck_begins_the_two_looks_anew():
    """Also where it makes Unstick ask: one look that finds it well doesn't end the question."""
    book = rules(runbook(mode=Mode.APPROVE), public_url="https://unstick.example.com")
    was_well = QueueState(MAIL, "mail", NOW, after=AfterRestart(well_at=RUNNER_NOW - 60))
    waiting = document(incident(Phase.WAITING, told=("ops",), queues=(was_well,), due=NOW))
    asked = woken(waiting, NOW, seen(mail=ill(NOW)), book)
    assert phase(asked) is Phase.ASKED
    first = woken(replace(asked.document, to_tell=()), NOW + 15, seen(now=NOW + 15, mail=well(NOW + 15)), book)
    assert (phase(first), first.document.incident.queues[0].after.well_at) == (Phase.ASKED, RUNNER_NOW + 15)


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


@pytest.mark.parametrize("phase_now", [one for one in Phase if one is not Phase.ASKED])
def test_an_incident_whose_runbook_is_gone_ends(phase_now):
    """An old document meets a new configuration: told on the top-level channels. A restart that nobody checks goes to people."""
    before = document(incident(phase_now, told=("old-channel",)))
    result = woken(before, NOW, with_rules=rules(runbook(name="other")))
    assert last(result) == (Ending.HELD, Reason.NO_RUNBOOK)
    assert channels(result.document) == {"everybody", "old-channel"}, "whoever was told of it"
    result = woken(document(incident(phase_now, told=("old-channel",), restarts=1)), NOW, with_rules=rules(runbook(name="other")))
    assert last(result) == (Ending.ESCALATED, Reason.NO_RUNBOOK)
    assert channels(result.document) == {"everybody", "old-channel", "duty"}


@pytest.mark.parametrize(
    "look", [lambda at: MISSING, lambda at: snapshot(at=at, samples_s=10.0)], ids=["unreadable", "never still"]
)
def test_a_runbook_that_only_observes_escalates_nothing(look):
    """What can't be known to the end is held and told, and the next alert is decided anew."""
    observes = rules(runbook(mode=Mode.OBSERVE))
    before, at = document(incident()), NOW
    while before.incident is not None:
        at = before.due or 0.0
        before = woken(before, at, seen(now=at, mail=look(at)), observes).document
    assert (before.outcomes[-1].ending, before.escalation) == (Ending.HELD, None)
    assert channels(before) == {"ops"}


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
    waited = incident(found=dict.fromkeys(Reason, NOW), due=NOW + WITHIN_S + GRACE_S)
    late = woken(document(waited), NOW + WITHIN_S + GRACE_S, seen(now=NOW + 1500, history=history_of(others=(other,))))
    assert (last(late), links_of(late)[0]) == ((Ending.ESCALATED, code), other.url)
    assert len(starts(woken(replace(result.document, to_tell=()), NOW + 16, seen(now=NOW + 16)))) == 1


QUEUE = {"vhost": "/", "queue": "mail"}
HOLDER = HolderOption("host", r"10\.0\.3\.[0-9]{1,3}")
ONE, ANOTHER = Holder("10.0.3.7", "worker-1"), Holder("10.0.3.8", "worker-2")


def limited(holder: HolderOption | None = HOLDER) -> Rules:
    """With the application's users, since a restart that is limited to a host needs them."""
    return rules(runbook(restart=Restart("job-1", holder=holder), symptom=Symptom("rabbitmq", QUEUE, users=("app",))))


def own(mail: QueueSnapshot) -> QueueSnapshot:
    """Held by channels of the application's user."""
    return replace(mail, channels=tuple(replace(one, user="app") for one in mail.channels or ()))


def ordered(*holders: Holder, holder: HolderOption | None = HOLDER) -> tuple[Document, Start]:
    """The order to start for one queue whose messages these hold; without any, messages wait that nobody takes."""
    mail = own(holding(*holders)) if holders else snapshot()
    result = moved(Document("key"), alerted(), seen(mail=mail), with_rules=limited(holder))
    (start,) = (act for act in result.acts if isinstance(act, Start))
    return result.document, start


@pytest.mark.parametrize(
    ("holders", "holder", "options", "host"),
    [
        ([ONE], HOLDER, {"host": "10.0.3.7"}, "10.0.3.7"),
        ([ONE], None, {}, ""),
        ([ONE, ANOTHER], HOLDER, {}, ""),
        ([ONE, Holder("10.0.3.7", "worker-4")], HOLDER, {"host": "10.0.3.7"}, "10.0.3.7"),
        *(([Holder(host, "worker-3")], HOLDER, {}, "") for host in ("192.168.0.1", "", "10.0.3.1234", "10.0.3.7\n")),
        (None, HOLDER, {}, ""),
    ],
)
def test_the_start_has_the_host_beside_the_target_s_options(holders, holder, options, host):
    """Where a single one explains all, and the pattern allows it. The target stays what it was; that its runs may have the
    option is noted with it."""
    document, start = ordered(*holders or (), holder=holder)
    assert start == Start("inc-1.1", RUNNER_NOW + 30.0, 30.0, options)
    assert document.incident.run.holder_host == host
    assert document.target == replace(TARGET, holder="host" if holder else "")


@pytest.mark.parametrize("then", [{"holders": [ONE]}, {"holders": [ONE, ANOTHER]}, {}], ids=["held", "two hold", "unserved"])
def test_what_failed_on_one_host_is_repeated_on_that_host(then):
    """Whatever the queue shows by then: it never widens to all hosts, and a second failure goes to people."""
    document, start = ordered(ONE)
    assert start.options == {"host": "10.0.3.7"}
    running = execution(9, started=1.0, ended=None, tag="inc-1.1")
    document = moved(document, StartResult("inc-1.1", running), seen(mail=own(holding(ONE))), with_rules=limited()).document
    failed = replace(running, status="failed", runner_ended_at=RUNNER_NOW + 2.0, over=True)
    starts: list[Start] = []
    for after_s in range(20, 400, 20):
        history = replace(history_of(failed, now=NOW + after_s), followed=failed)
        mail = own(holding(*then["holders"], at=NOW + after_s)) if then else snapshot(at=NOW + after_s)
        what = seen(now=NOW + after_s, mail=mail, history=history)
        result = woken(replace(document, to_tell=()), NOW + after_s, what, with_rules=limited())
        document, starts = result.document, [act for act in result.acts if isinstance(act, Start)]
        if starts or document.incident is None:
            break
    assert [one.options for one in starts] == [{"host": "10.0.3.7"}]
    assert document.incident.run.holder_host == "10.0.3.7"


def by_hand(host: str, *, ended: float | None = -200.0) -> Execution:
    return execution(9, started=-210.0, ended=ended, user="anna", host=host)


def look(*holders: Holder, after_s: float, run: Execution) -> Observation:
    mail = own(holding(*holders, at=NOW + after_s))
    return seen(now=NOW + after_s, mail=mail, history=history_of(run, now=NOW + after_s))


@pytest.mark.parametrize("ended", [-200.0, None], ids=["ended", "runs"])
def test_a_restart_by_hand_of_another_host_is_none_of_what_hangs(ended):
    """It isn't adopted: the host that hangs is restarted in its turn, after the run and the cooldown."""
    run = by_hand("10.0.3.7", ended=ended)
    result = moved(Document("key"), alerted(case(starts_at=NOW - 300)), look(ANOTHER, after_s=0, run=run), with_rules=limited())
    assert (phase(result), reason(result)) == (Phase.WAITING, Reason.COOLDOWN if ended else Reason.JOB_BUSY)
    run = by_hand("10.0.3.7")
    waits = [(float(after_s), look(ANOTHER, after_s=after_s, run=run)) for after_s in range(60, 420, 15)]
    (start,) = starts(through(result.document, waits, limited()))
    assert start.options == {"host": "10.0.3.8"}
    of_all = look(ANOTHER, after_s=0, run=by_hand(""))
    result = moved(Document("key"), alerted(case(starts_at=NOW - 300)), of_all, with_rules=limited())
    assert [past.execution.id for past in result.document.incident.tries] == ["9"], "a restart of all hosts is adopted"


def test_a_restart_by_hand_of_one_of_two_hosts_ends_what_that_host_held():
    """What the other host holds since before is no connection that survived: it is restarted next, and alone."""
    run, alert = by_hand("10.0.3.7", ended=-1.0), alerted(case(starts_at=NOW - 300))
    result = moved(Document("key"), alert, look(ONE, ANOTHER, after_s=0, run=run), with_rules=limited())
    followed = result.document.incident
    assert (followed.run.adopted, followed.run.holder_host) == (True, "10.0.3.7")
    for after_s in range(15, 300, 15):
        result = woken(replace(result.document, to_tell=()), NOW + after_s, look(ANOTHER, after_s=after_s, run=run), limited())
        if starts(result):
            break
    assert [start.options for start in starts(result)] == [{"host": "10.0.3.8"}]
