"""How an incident is held, asked about, or handed over to people; and escalations until somebody takes them."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace

from functions.domain.decisions.waiting import GRACE_S
from functions.domain.health.looks import SAMPLE_LATE_S
from functions.domain.model.cards import Message
from functions.domain.model.codes import Action, Ending, Mode, Phase, Reason
from functions.domain.model.events import (
    Acknowledged,
    Approved,
    Declined,
    MessagesDelivered,
    Start,
    StartResult,
    Step,
    TimerFired,
)
from functions.domain.model.incidents import Asked, Document, Outcome, PastAttempt, QueueState, Told
from functions.domain.model.observations import (
    Channel,
    Observation,
    Pause,
    QueueSnapshot,
    QueueStalls,
    Stall,
    StallKind,
    Statement,
    Subject,
    Unknown,
)
from functions.domain.model.runbooks import Freeze, Limits
from tests.support.worlds.scenes import (
    AHEAD_S,
    MAIL,
    NOW,
    POST,
    RUNNER_NOW,
    TARGET,
    alerted,
    case,
    change,
    channels,
    document,
    execution,
    history_of,
    incident,
    kinds,
    last,
    moved,
    phase,
    reason,
    rules,
    runbook,
    seen,
    snapshot,
    through,
    trigger,
    wakes,
    well,
    woken,
)

EMPTY = Document(TARGET.key)
URL = "https://unstick.example.com"
PUBLIC = rules(public_url=URL)
APPROVE = rules(runbook(mode=Mode.APPROVE), public_url=URL)
WAIT_S = 600.0 + GRACE_S
MISSING = Unknown("it is down")
LIMITED = runbook(limits=Limits(restarts=((86400.0, 1),), cooldown_s=0.0))
RESTARTED = execution(11, started=-7000, ended=-6990)


def told(reason: Reason, ago_s: float) -> dict[str, Any]:
    """Of the standstill that all see here."""
    still = Subject(MAIL.key, StallKind.UNSERVED, acks=1000)
    return {"before": replace(EMPTY, told=(Told(still, reason, NOW - ago_s, "inc-0"),))}


@pytest.mark.parametrize(
    ("changes", "asks"),
    [
        pytest.param({}, True, id="a limit"),
        pytest.param({"with_rules": rules(LIMITED)}, False, id="no address for the link"),
        pytest.param({"with_rules": rules(replace(LIMITED, mode=Mode.OBSERVE), public_url="https://x")}, False, id="observe"),
        pytest.param(told(Reason.TOO_MANY_RESTARTS, 60.0), False, id="told"),
        pytest.param(told(Reason.FROZEN, 60.0), True, id="told another"),
        pytest.param(told(Reason.TOO_MANY_RESTARTS, 3600.0), True, id="long ago"),
    ],
)
def test_a_person_may_overrule_a_limit(changes, asks):
    """People are asked where they can answer, and once an hour."""
    with_rules = changes.get("with_rules", rules(LIMITED, public_url="https://unstick.example.com"))
    result = moved(changes.get("before", EMPTY), alerted(), seen(history=history_of(RESTARTED)), with_rules=with_rules)
    assert (result.reply.action, result.reply.reason) == (Action.HELD, Reason.TOO_MANY_RESTARTS)
    assert (phase(result) is Phase.ASKED) is asks
    before = replace(told(Reason.AWAITING_APPROVAL, 60.0)["before"], incident=incident())
    again = woken(before, NOW, seen(), APPROVE)
    assert (phase(again), kinds(again.document)) == (Phase.ASKED, ["held"]), "each question is told"
    assert (again.document.due, again.document.incident.due) == (NOW + 15, NOW + 15), "it looks"
    if asks:
        assert result.document.incident.approval.expires_at == NOW + 1800
        assert any("/approve/#inc-1.0." in url for _, url in result.document.to_tell[0].card.links)


def test_what_was_restarted_and_then_held_is_peoples():
    """Nothing is asked, since the restart has not helped; one that waits is told once, with what it is about."""
    before = document(incident(attempt=1, restarts=1))
    result = woken(before, NOW, seen(pause=Pause("x")), PUBLIC)
    (outcome,) = result.document.outcomes
    assert (outcome.ending, outcome.reason, outcome.restarts) == (Ending.ESCALATED, Reason.PAUSED, 1)
    assert outcome.channels == ("ops", "duty")
    assert not any(isinstance(act, Start) for act in result.acts)
    assert result.document.escalation.at == NOW
    result = woken(document(incident()), NOW, seen(mail=MISSING))
    assert (phase(result), reason(result), kinds(result.document)) == (Phase.WAITING, Reason.SYMPTOM_UNKNOWN, ["held"])
    assert [message.id for message in result.document.to_tell] == ["inc-1-0-symptom_unknown@ops"]
    card = result.document.to_tell[0].card
    assert card.urgency == "watch"
    assert any("tries again by itself" in text for text in card.text)
    unsure = woken(document(incident()), NOW, seen(mail=replace(snapshot(), depth_samples=())))
    assert (phase(unsure), reason(unsure), unsure.document.to_tell) == (Phase.WAITING, Reason.SYMPTOM_UNKNOWN, ())


UNSURE = replace(snapshot(), depth_samples=())
PAUSE_UNREAD = StartResult("inc-1.1", refusal="no answer", unsent=Reason.PAUSED, unread=True)


@pytest.mark.parametrize(
    ("suspicion", "event", "mail", "ending", "passed"),
    [
        pytest.param(True, TimerFired(), UNSURE, None, True, id="a suspicion of a queue that moves now and then"),
        pytest.param(True, TimerFired(), MISSING, (Ending.ESCALATED, Reason.SYMPTOM_UNKNOWN), False, id="an unreadable one"),
        pytest.param(False, TimerFired(), UNSURE, (Ending.ESCALATED, Reason.SYMPTOM_UNKNOWN), False, id="an alert"),
        pytest.param(True, PAUSE_UNREAD, UNSURE, (Ending.ESCALATED, Reason.PAUSED), False, id="a suspicion that was proved"),
    ],
)
def test_only_a_suspicion_that_was_never_proved_ends_without_a_word(suspicion, event, mail, ending, passed):
    """When its time is over. One that was proved, and could not be restarted, is people's."""
    waiting = incident(triggers=(trigger(suspicion=suspicion),), began_at=NOW - WAIT_S, found=dict.fromkeys(Reason, NOW - WAIT_S))
    if isinstance(event, StartResult):
        waiting = change(waiting, phase=Phase.STARTING, attempt=1, runner_not_after=RUNNER_NOW - 30)
    after = moved(document(waiting), event, seen(mail=mail)).document
    assert after.incident is None
    assert [(one.ending, one.reason) for one in after.outcomes] == ([ending] if ending else [])
    assert (after.passed_at is not None) is passed


def test_an_outcome_knows_when_its_last_restart_ended():
    """Of the execution that it follows, else of its newest attempt."""
    tries = tuple(PastAttempt(f"inc-1.{n}", execution(n, ended=-100.0 * n) if n < 3 else None, "stuck") for n in (2, 1, 3))
    for current, ended in ((execution(9, ended=-5.0), -5.0), (None, -100.0)):
        before = document(incident(attempt=3, restarts=2, tries=tries, execution=current))
        result = woken(before, NOW, seen(pause=Pause("x")))
        assert result.document.outcomes[-1].runner_ended_at == RUNNER_NOW + ended
    without = woken(document(incident(attempt=3, restarts=2)), NOW, seen(pause=Pause("x")))
    assert without.document.outcomes[-1].runner_ended_at is None


SUSPECTED = {"alertname": "Stuck", "queue": "mail", "unstick": "suspicion"}
SUSPICION = alerted(case(labels=SUSPECTED))


def still(seconds: int, at: float = NOW) -> QueueSnapshot:
    """A stuck queue whose last acknowledgement shows in the sample of this many seconds ago."""
    stuck = snapshot(50, at=at)
    counted = tuple((when, 1000 if at - when > seconds else 1004) for when, _ in stuck.ack_samples)
    return replace(stuck, ack_samples=counted, history=replace(stuck.history, deliveries=counted))


@pytest.mark.parametrize("moving", [well(), snapshot(acks=3), replace(snapshot(50), depth=40, ready=40)])
def test_while_it_waits_more_of_the_same_cost_nothing(moving):
    """The same again joins and costs nothing; one that moves costs one check, and waits anew where it stands still again."""
    result = moved(EMPTY, SUSPICION, seen(mail=still(20)))
    for second in range(10, 40, 10):
        again = moved(result.document, alerted(case(labels=SUSPECTED, starts_at=NOW - 90 + second)), None, NOW + second)
        assert not again.acts
        assert again.document.due == result.document.due
    incident = again.document.incident
    assert len(incident.triggers) == 1
    result = moved(EMPTY, SUSPICION, seen(mail=still(20)))
    at = wakes(result)[0]
    after = woken(result.document, at, seen(now=at, mail=still(30, at)))
    assert (phase(after), wakes(after)) == (Phase.WAITING, [at + 30.0 + SAMPLE_LATE_S])
    result = moved(EMPTY, SUSPICION, seen(mail=moving))
    looked = {MAIL.key: QueueStalls(NOW)}
    assert result.document == replace(EMPTY, target=TARGET, passed_at=NOW, matched={"mail": NOW}, stalls=looked)
    assert not result.acts
    assert (result.reply.action, result.reply.reason) == (Action.HELD, Reason.SYMPTOM_GONE)


def test_no_guard_speaks_before_the_suspicion_proves_true():
    """With the kill switch on, most suspicions still come to nothing; one that proves true is held and told."""
    paused = Pause("maintenance")
    result = moved(EMPTY, SUSPICION, seen(mail=still(20), pause=paused))
    assert (phase(result), kinds(result.document)) == (Phase.WAITING, [])
    at = wakes(result)[0]
    assert woken(result.document, at, seen(now=at, mail=well(at), pause=paused)).document.passed_at == at
    held = woken(result.document, at, seen(now=at, mail=still(65, at), pause=paused))
    assert (kinds(held.document), held.document.outcomes[-1].reason) == (["held"], Reason.PAUSED)


ALWAYS = (Freeze(frozenset(range(7)), 0, 86400, "the whole week"),)


def held_at_once(document: Document, at: float = NOW, *, freeze: bool = False) -> Step:
    """An alert comes while Unstick is paused, or in a freeze window."""
    book = runbook(freeze=ALWAYS if freeze else ())
    event = replace(alerted(case(book=book), incident=f"inc-{at:.0f}"), crowd=False)
    paused = None if freeze else Pause("a broker upgrade", "h.tanaka", NOW - 60)
    return moved(document, event, seen(now=at, pause=paused), at, rules(book))


def test_a_repeat_that_posts_nothing_writes_no_record():
    """The same hold within the hour costs no card and no record; an hour later both come again."""
    first = held_at_once(document()).document
    sent = replace(first, to_tell=(), to_archive=())
    assert held_at_once(sent, at=NOW + 600.0).document.to_archive == ()
    again = held_at_once(sent, at=NOW + 3700.0).document
    assert (len(again.to_archive), bool(again.to_tell)) == (1, True)


def test_a_would_be_restart_is_told_once_an_hour_for_its_queue():
    """At once or by a wake-up, whichever alert fires; its standstill is followed, and the incident is over."""
    observes = rules(runbook(mode=Mode.OBSERVE))
    at_once = moved(document(), alerted(), with_rules=observes)
    assert (at_once.reply.action, at_once.reply.reason) == (Action.HELD, Reason.OBSERVE_ONLY)
    later = woken(document(incident(Phase.DEFERRED)), NOW, with_rules=observes)
    for first in (at_once.document, later.document):
        (record,) = first.to_archive
        assert (first.incident, record.outcome.reason, record.outcome.restarts) == (None, Reason.OBSERVE_ONLY, 0)
        assert [message.card.kind for message in first.to_tell] == ["held"]
        sent, other = replace(first, to_tell=(), to_archive=()), alerted(case(fingerprint="fp-2"), incident="inc-2")
        for event in (alerted(incident="inc-2"), other):
            again = moved(sent, event, seen(now=NOW + 900), NOW + 900, observes).document
            assert (again.to_tell, again.to_archive, again.incident) == ((), (), None)
        post = moved(sent, alerted(case(POST, fingerprint="fp-3")), seen(post=snapshot(9)), NOW + 5, observes).document
        assert len(post.to_tell) == 1, "another queue"
        assert moved(sent, other, seen(now=NOW + 3700), NOW + 3700, observes).document.to_tell


AGAIN_S = 900.0


A_DAY_AGO = Asked(NOW - 86400, NOW - 86400 + AHEAD_S)


def escalated(with_rules=PUBLIC) -> Document:
    """A second attempt that nobody approved: people were called."""
    asked = document(incident(Phase.ASKED, restarts=1, attempt=1, nonce="n", asked=A_DAY_AGO))
    return posted(woken(asked, NOW, seen(now=NOW), with_rules=with_rules).document)


def posted(document: Document) -> Document:
    """Everything is reported and archived; what is due stays due."""
    due = document.escalation.due if document.escalation else None
    return replace(document, to_tell=(), to_archive=(), due=due)


def links(message: Message) -> list[str]:
    return [url for _, url in message.card.links if "/approve/#" in url]


def test_an_escalation_stays_open_until_somebody_takes_it():
    """It has a due time, and a link with a nonce of its own; reminders call people, where the escalation went."""
    asked = document(incident(Phase.ASKED, restarts=1, attempt=1, nonce="n", asked=A_DAY_AGO))
    result = woken(asked, NOW, seen(now=NOW), with_rules=PUBLIC)
    before = result.document
    assert (before.open, before.escalation.due, before.escalation.asked.remind_at) == (True, NOW + 15, NOW + AGAIN_S)
    assert [message.id for message in before.to_tell] == ["inc-1-not_approved@duty", "inc-1-not_approved@ops"]
    assert links(before.to_tell[0]) == [f"{URL}/approve/#{before.escalation.nonce}"]
    assert before.to_tell[0].card.nonce_until == NOW + 86400
    assert posted(before).open
    mentioning = rules(runbook(mention=("<!here>",)), public_url=URL)
    result = woken(escalated(mentioning), NOW + AGAIN_S, seen(now=NOW + AGAIN_S), with_rules=mentioning)
    assert channels(result.document) == {"ops", "duty"}
    assert links(result.document.to_tell[0]) == [f"{URL}/approve/#{before.escalation.nonce}"]
    assert {message.card.mention for message in result.document.to_tell} == {("<!here>",)}
    assert {message.card.headline for message in result.document.to_tell} == {"ACT NOW: Nobody has taken mail yet"}
    taken = moved(posted(result.document), Acknowledged("anna", before.escalation.incident), seen(), NOW + 960, mentioning)
    assert channels(taken.document) == {"ops", "duty"}


def test_a_wake_up_that_was_lost_is_ordered_anew_by_whatever_comes_next():
    """A restart that is approved meanwhile would have none, and be looked for by the sweep alone."""
    overdue = posted(escalated())
    taken = moved(overdue, Acknowledged("anna", overdue.escalation.incident), seen(), NOW + 400, PUBLIC)
    assert (wakes(taken), taken.document.due) == ([NOW + 401], NOW + 401)


def test_a_reminder_is_as_urgent_as_the_escalation_whose_alert_was_a_suspicion():
    """The shipped rules send suspicions alone to Unstick."""
    document = escalated()
    suspected = tuple(replace(one, suspicion=True) for one in document.outcomes[-1].triggers)
    document = replace(document, outcomes=(replace(document.outcomes[-1], triggers=suspected),))
    mentioning = rules(runbook(mention=("<!here>",)), public_url=URL)
    again = woken(document, NOW + AGAIN_S, seen(now=NOW + AGAIN_S), with_rules=mentioning)
    (card, _) = (message.card for message in again.document.to_tell)
    assert (card.urgency, card.mention) == ("act", ("<!here>",))


def test_in_a_freeze_window_only_what_is_stuck_is_told():
    """An empty queue was told with ACT NOW. And a question ends once it is well in two looks, whatever was asked."""
    frozen = rules(runbook(freeze=ALWAYS), public_url=URL)
    healthy = moved(EMPTY, alerted(), seen(mail=well()), with_rules=frozen)
    assert (reason(healthy), healthy.document.to_tell[0].card.urgency) == (Reason.SYMPTOM_GONE, "fine")
    stuck = moved(EMPTY, alerted(), seen(), with_rules=frozen)
    assert (phase(stuck), reason(stuck)) == (Phase.ASKED, Reason.FROZEN)
    looks = [(15.0, seen(now=NOW + 15, mail=well(NOW + 15))), (30.0, seen(now=NOW + 30, mail=well(NOW + 30)))]
    ended = through(stuck.document, looks, frozen)
    assert (phase(ended), last(ended)) == (None, (Ending.HELD, Reason.SYMPTOM_GONE))


def test_holds_push_no_outcome_out_that_settles_its_alerts():
    """An alert that still fires would open its incident anew (I2)."""
    settled = Outcome("settled", Ending.RECOVERED, None, NOW - 99, ())
    holds = [Outcome(f"held-{number}", Ending.HELD, Reason.FROZEN, NOW - 9, ()) for number in range(19)]
    before = document(incident(Phase.ASKED, nonce="n", due=NOW, asked=A_DAY_AGO), outcomes=(settled, *holds))
    kept = [known.incident for known in woken(before, NOW).document.outcomes]
    assert (len(kept), kept[0], kept[1]) == (20, "settled", "held-1")


def test_people_are_reminded_three_times():
    """A fourth would not help if three did not."""
    document, ids = escalated(), []
    for number in range(1, 5):
        result = woken(document, NOW + number * AGAIN_S, seen(now=NOW + number * AGAIN_S), with_rules=PUBLIC)
        ids += [message.id for message in result.document.to_tell if message.channel == "ops"]
        document = posted(result.document)
    assert ids == [f"inc-1-again-{number}@ops" for number in (1, 2, 3)]
    assert (document.escalation.asked.reminded, document.escalation.at) == (3, NOW)


def about_post(document: Document) -> Document:
    """The same target's other queue has an incident now, which nobody approved."""
    queue = QueueState(POST, "mail", NOW)
    asked = incident(Phase.ASKED, id="inc-2", restarts=1, attempt=1, nonce="n", asked=A_DAY_AGO, queues=(queue,))
    return replace(document, incident=asked, due=NOW)


def looked_twice(document: Document, look, at: float = NOW + AGAIN_S) -> Document:
    """Two looks at what people were called for, `every` apart."""
    for when in (at, at + 15):
        document = woken(document, when, seen(now=when, mail=look(when)), PUBLIC).document
    return document


def test_an_escalation_ends_where_a_backlog_stays_and_moves():
    """Otherwise it would never end, and the next real hang would not be restarted."""

    def moving(at: float, *, per_s: float = 1.0, hung: bool = False, learned: bool = False):
        counter = tuple((at - age, 1000 - int((age + 100) * per_s)) for age in range(595 if learned else 120, -1, -5))
        work = tuple((when, 7 if hung else 2 * count) for when, count in counter)
        channel = Channel("c", held=1, counted=1, work=work)
        return snapshot(50, at=at, acks=5, ack_samples=counter, channels=(channel,), unacked=1)

    assert looked_twice(escalated(), moving).escalation is None
    assert looked_twice(escalated(), lambda at: moving(at, hung=True)).escalation is not None
    stalls = QueueStalls(NOW, tuple(Stall(StallKind.HELD, NOW - 3600 * number, 150.0) for number in (1, 2)))
    document = replace(escalated(), stalls={MAIL.key: stalls})
    ended = looked_twice(document, lambda at: moving(at, per_s=1 / 150, learned=True))
    assert ended.escalation is None, "one in 150 s, as ever"

    def unserved(at: float):
        counter = tuple((at - age, 1000 - max(age - 90, 0)) for age in range(595, -1, -5))
        history = replace(snapshot(at=at).history, deliveries=counter, unacked=tuple((when, 0) for when, _ in counter))
        return snapshot(50, at=at, acks=5, ack_samples=counter, channels=(Channel("c", window=1),), history=history)

    assert looked_twice(document, unserved).escalation is not None, "it was never seen to leave messages waiting"


def test_the_second_look_at_a_condition_comes_once_it_looks_back_on_nothing_of_the_first():
    at = NOW + AGAIN_S
    looked = woken(escalated(), at, seen(now=at, mail=Statement(at, 240.0, recovered=True)), PUBLIC).document
    assert looked.escalation.due == at + 240.0


def test_an_escalation_of_another_queue_keeps_the_first():
    """Both queues are in people's hands, until they are healthy or a person says so. The end of one is told at once."""
    both = posted(woken(about_post(escalated()), NOW, seen(now=NOW), with_rules=PUBLIC).document)
    assert both.escalation.incident == "inc-2"
    assert {watched.queue.key for watched in both.escalation.queues} == {MAIL.key, POST.key}
    one = looked_twice(both, well)
    said = {message.card.headline for message in one.to_tell if message.card.kind == "resolved"}
    assert said == {"No action yet: mail.delivery of mail has recovered; its other queues have not yet"}
    assert [watched.queue.key for watched in one.escalation.queues] == [POST.key]


MAIL_AGAIN = case(starts_at=NOW + 300, fingerprint="fp-2")
POST_TOO = case(POST, starts_at=NOW + 300, fingerprint="fp-3")


def of_both(at: float) -> Observation:
    """Both queues hang."""
    return seen(now=at, post=snapshot(at=at))


@pytest.mark.parametrize("together", [True, False], ids=["in one group", "while a person is asked"])
def test_an_escalated_queue_keeps_no_other_from_its_restart(together):
    """Its alert is held as it would be alone, and the restart is for the other queue. Nobody can approve it any more."""
    document, at = escalated(), NOW + 400
    if not together:
        asked = moved(document, alerted(MAIL_AGAIN), seen(now=at), at, PUBLIC)
        assert (phase(asked), asked.document.incident.reason) == (Phase.ASKED, Reason.ESCALATED)
        document = posted(asked.document)
    result = moved(document, alerted(*([MAIL_AGAIN, POST_TOO] if together else [POST_TOO])), of_both(at), at, PUBLIC)
    held = [message.card for message in result.document.to_tell if message.card.kind == "held"]
    if not together:  # the question is looked at again within a minute
        result = woken(result.document, at + 60, of_both(at + 60), PUBLIC)
    opened = result.document.incident
    assert phase(result) is Phase.STARTING
    assert [watched.queue.key for watched in opened.queues] == [POST.key]
    assert [one.fingerprint for one in opened.triggers] == ["fp-3"]
    assert opened.approval.nonce == ""
    assert bool(held) == together, "the question has told it already"
    assert all("escalated before" in card.headline for card in held)


def test_an_escalated_queue_does_not_join_a_restart_that_goes_on():
    """Otherwise the next attempt would be for a queue that people work on."""
    at = NOW + 400
    started = moved(escalated(), alerted(POST_TOO), of_both(at), at, PUBLIC)
    assert (phase(started), kinds(started.document)) == (Phase.STARTING, [])
    joined = moved(posted(started.document), alerted(MAIL_AGAIN), of_both(at + 5), at + 5, PUBLIC)
    assert [watched.queue.key for watched in joined.document.incident.queues] == [POST.key]
    assert kinds(joined.document) == ["held"]


def test_a_restart_that_a_person_approved_keeps_its_escalated_queue():
    """Another queue's alert joins it."""
    at = NOW + 400
    asked = moved(escalated(), alerted(MAIL_AGAIN), seen(now=at), at, PUBLIC)
    pressed = Approved(asked.document.incident.approval.nonce, "anna")
    started = moved(posted(asked.document), pressed, seen(now=at + 5), at + 5, PUBLIC)
    joined = moved(posted(started.document), alerted(POST_TOO), of_both(at + 9), at + 9, PUBLIC)
    assert [watched.queue.key for watched in joined.document.incident.queues] == [MAIL.key, POST.key]


@pytest.mark.parametrize(("before", "after"), [("inc-0", "inc-2"), ("inc-2", "inc-0")])
def test_a_reminder_is_about_its_own_incident_whatever_ended_since(before, after):
    """Its reason, its first alert and its channels, not those of an outcome before or after it."""
    document = escalated()
    own = replace(document.outcomes[-1], triggers=(trigger(name="First"), trigger(name="Second", fingerprint="fp-2")))
    others = [replace(own, incident=name, channels=("elsewhere",), triggers=(trigger(name="Other"),)) for name in (before, after)]
    result = woken(
        replace(document, outcomes=(others[0], own, others[1])), NOW + AGAIN_S, seen(now=NOW + AGAIN_S), with_rules=PUBLIC
    )
    assert channels(result.document) == {"ops", "duty"}
    shown = str(result.document.to_tell[0].card)
    assert "First" in shown
    assert "Second" not in shown
    assert "Other" not in shown


def test_who_takes_it_is_told_in_its_thread_and_a_well_queue_reminds_nobody():
    """A link of last week takes nothing."""
    document = escalated()
    result = moved(document, Acknowledged("anna", document.escalation.incident), seen(), NOW + 60, PUBLIC)
    assert {(message.card.kind, message.card.incident) for message in result.document.to_tell} == {("acknowledged", "inc-1")}
    over = replace(document, escalation=None)
    assert moved(over, Acknowledged("anna", "inc-1"), seen(), NOW + 60, PUBLIC).document == over
    for other in ("another", "inc-0", "inc-2"):
        assert moved(document, Acknowledged("anna", other), seen(), NOW + 60, PUBLIC).document == document
    ended = looked_twice(escalated(), well)
    assert (ended.escalation, channels(ended)) == (None, {"ops", "duty"})
    assert {message.card.headline for message in ended.to_tell} == {"No action needed: mail works again"}
    lost = replace(document.escalation, queues=tuple(replace(state, may_be_gone=True) for state in document.escalation.queues))
    again = looked_twice(replace(document, escalation=lost), well)
    assert again.to_tell[0].card.urgency == "plan", "messages may be gone"


def test_while_an_incident_of_the_target_is_open_nobody_is_reminded():
    """Whoever is asked, or Unstick, is at work; the reminder follows once the incident ended."""
    ask = rules(runbook(mode=Mode.APPROVE), public_url=URL)
    asked = moved(escalated(ask), alerted(case(starts_at=NOW + 300, fingerprint="fp-2")), seen(now=NOW + 400), NOW + 400, ask)
    assert phase(asked) is Phase.ASKED
    document = replace(moved(asked.document, MessagesDelivered(frozenset(one.id for one in asked.document.to_tell))).document)
    waits = woken(document, NOW + AGAIN_S, seen(now=NOW + AGAIN_S), with_rules=ask)
    assert (waits.document.to_tell, waits.document.due) == ((), NOW + AGAIN_S + 50.0), "it looks"
    declined = moved(document, Declined(document.incident.approval.nonce, "anna"), seen(now=NOW + 950), NOW + 950, ask)
    assert kinds(woken(posted(declined.document), NOW + 951, seen(now=NOW + 951), with_rules=ask).document) == ["escalated_again"]
