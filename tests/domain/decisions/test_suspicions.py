"""A suspicion: waited out by the broker's own samples, told only when it proves true, counted when it does not."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from functions.application.observe import NOTHING_SEEN
from functions.application.serialization import decode, encode
from functions.domain.health.proofs import SAMPLE_LATE_S
from functions.domain.model.codes import Action, Ending, Phase, Reason
from functions.domain.model.events import Start
from functions.domain.model.incidents import Document, QueueState
from functions.domain.model.observations import Pause, QueueSnapshot, Unknown
from functions.domain.model.runbooks import Symptom, Verify
from tests.support.worlds.scenes import (
    MAIL,
    NOW,
    TARGET,
    alert,
    alerted,
    bare,
    case,
    kinds,
    moved,
    phase,
    reason,
    resolved,
    rules,
    runbook,
    seen,
    sighting,
    wakes,
    well,
    woken,
)

EMPTY = Document(TARGET.key)
LABELS = alert().labels
SUSPECTED = {**LABELS, "unstick": "suspicion"}
SYMPTOM = Symptom("rabbitmq")
WATCHED = QueueState(MAIL, "mail", NOW)


def suspected(**changes):
    return alerted(case(labels=SUSPECTED, **changes))


def still(seconds: int, at: float = NOW) -> QueueSnapshot:
    """A stuck queue whose last acknowledgement shows in the sample of so many seconds ago."""
    made = sighting(50, at=at)
    counted = tuple((when, 1000 if at - when > seconds else 1004) for when, _ in made.ack_samples)
    return replace(made, ack_samples=counted, history=replace(made.history, deliveries=counted))


def actions(step) -> tuple[Action, Reason | None]:
    assert step.reply is not None
    return step.reply.action, step.reply.reason


# --- waiting ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("event", [suspected(), alerted()])
def test_a_queue_that_has_not_stood_still_for_all_of_for_is_waited_for(event):
    """One wake-up at the second when `for` is over, nothing posted, whatever kind of alert it is."""
    made = moved(EMPTY, event, seen(mail=still(20)))
    assert (phase(made), reason(made), wakes(made)) == (Phase.WAITING, Reason.SYMPTOM_UNKNOWN, [NOW + 40.0 + SAMPLE_LATE_S])
    assert actions(made) == (Action.HELD, Reason.SYMPTOM_UNKNOWN)
    assert not made.document.to_tell


def test_a_suspicion_that_proves_true_is_a_restart_like_any_other():
    """The wake-up decides anew from the broker's samples."""
    made = moved(EMPTY, suspected(), seen(mail=still(20)))
    at = wakes(made)[0]
    after = woken(made.document, at, seen(now=at, mail=still(65, at)))
    assert phase(after) is Phase.STARTING
    assert any(isinstance(act, Start) for act in after.acts)


def test_while_it_waits_more_of_the_same_cost_nothing():
    """The same again, or by another replica with another start, joins: no wake-up, and no more than its start is kept."""
    made = moved(EMPTY, suspected(), seen(mail=still(20)))
    for second in range(10, 40, 10):
        again = moved(made.document, suspected(starts_at=NOW - 90 + second), None, NOW + second)
        assert not again.acts
        assert again.document.due == made.document.due
    incident = again.document.incident
    assert incident is not None
    assert len(incident.triggers) == 1


def test_a_queue_that_moved_and_stands_still_again_is_waited_for_anew():
    """The rule may not fire again for it, so Unstick does not let go while it stands still."""
    made = moved(EMPTY, suspected(), seen(mail=still(20)))
    at = wakes(made)[0]
    after = woken(made.document, at, seen(now=at, mail=still(30, at)))
    assert (phase(after), wakes(after)) == (Phase.WAITING, [at + 30.0 + SAMPLE_LATE_S])


# --- coming to nothing -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("moving", [well(), sighting(acks=3), replace(sighting(50), depth=40, ready=40)])
def test_a_suspicion_of_a_queue_that_moves_costs_one_check(moving):
    """It is counted, and that is all: no incident, no wake-up, nothing to post, to archive or to remember."""
    made = moved(EMPTY, suspected(), seen(mail=moving))
    assert made.document == replace(EMPTY, target=TARGET, passed={"2027-01-15": 1})
    assert not made.acts
    assert actions(made) == (Action.HELD, Reason.SYMPTOM_GONE)


def test_a_suspicion_that_comes_to_nothing_is_counted_and_told_to_nobody():
    """The queue moved before `for` was over."""
    waiting = moved(EMPTY, suspected(), seen(mail=still(20))).document
    at = waiting.due or 0.0
    made = woken(waiting, at, seen(now=at, mail=well(at)))
    assert made.document == replace(EMPTY, target=TARGET, passed={"2027-01-15": 1})


def test_a_suspicion_that_resolves_is_counted_without_a_check():
    """The rule says itself that the queue moves; the wake-up that exists finds nothing to do."""
    waiting = moved(EMPTY, suspected(), seen(mail=still(20))).document
    gone = moved(waiting, resolved(labels=SUSPECTED), NOTHING_SEEN, NOW + 10)
    assert (gone.acts, gone.document) == ((), replace(EMPTY, target=TARGET, passed={"2027-01-15": 1}))
    assert woken(gone.document, waiting.due or 0.0, NOTHING_SEEN).document == gone.document


def test_one_that_resolves_while_another_alert_fires_waits_on():
    """An alert for people is no suspicion, and neither is what was started for it."""
    waiting = moved(EMPTY, suspected(), seen(mail=still(20))).document
    joined = moved(waiting, alerted(case(fingerprint="fp-2")), NOTHING_SEEN, NOW + 10).document
    gone = moved(joined, resolved(labels=SUSPECTED), NOTHING_SEEN, NOW + 20)
    assert (phase(gone), gone.document.due) == (Phase.WAITING, waiting.due)


def test_a_queue_that_always_moves_before_for_is_over_is_let_go_of():
    """One message in 25 s is no stuck queue: after as long as any incident may wait, it is counted and nobody is woken."""
    document, at = moved(EMPTY, suspected(), seen(mail=still(20))).document, NOW
    while document.incident is not None:
        at = document.due or 0.0
        document = woken(document, at, seen(now=at, mail=still(20, at))).document
        assert at < NOW + 3600
    assert document.passed == {"2027-01-15": 1}
    assert not document.to_tell


def test_thousands_of_suspicions_leave_the_document_as_small():
    """Of 40 days with a suspicion a minute, each day's number is kept for a month."""
    document = EMPTY
    for minute in range(0, 40 * 1440, 97):
        at = NOW + 60.0 * minute
        document = moved(document, suspected(starts_at=at - 20), seen(now=at, mail=well(at)), at).document
    assert len(document.passed) == 32
    assert len(encode(document)) < 1200
    assert decode(Document, encode(document), "again") == document


# --- what people are told all the same -------------------------------------------------------------------------------


def test_an_alert_for_people_that_comes_to_nothing_is_told_as_before():
    """It fired for minutes and people were notified of it, so they want to know why nothing was restarted."""
    made = moved(EMPTY, alerted(), seen(mail=well()))
    assert kinds(made.document) == ["held"]
    assert not made.document.passed


def test_an_alert_for_people_that_joins_a_suspicion_is_told():
    """Then there is an outcome, too."""
    waiting = moved(EMPTY, suspected(), seen(mail=still(20))).document
    joined = moved(waiting, alerted(case(fingerprint="fp-2")), None, NOW + 10).document
    at = waiting.due or 0.0
    made = woken(joined, at, seen(now=at, mail=well(at)))
    assert (kinds(made.document), made.document.outcomes[-1].ending, made.document.passed) == (["held"], Ending.HELD, {})


def test_no_guard_speaks_before_the_suspicion_proves_true():
    """With the kill switch on, most suspicions still come to nothing; one that proves true is held and told."""
    paused = Pause("maintenance")
    made = moved(EMPTY, suspected(), seen(mail=still(20), pause=paused))
    assert (phase(made), kinds(made.document)) == (Phase.WAITING, [])
    at = wakes(made)[0]
    assert woken(made.document, at, seen(now=at, mail=well(at), pause=paused)).document.passed == {"2027-01-15": 1}
    held = woken(made.document, at, seen(now=at, mail=still(65, at), pause=paused))
    assert (kinds(held.document), held.document.outcomes[-1].reason) == (["held"], Reason.PAUSED)


def test_a_suspicion_after_something_was_told_gets_an_outcome():
    """Held for a cooldown and told so, it is told how it ended, too."""
    book = runbook(verify=Verify(every_s=15.0))
    made = moved(EMPTY, suspected(), seen(history=Unknown("refused", remedy="Renew the token.")), with_rules=rules(book))
    assert kinds(made.document) == ["held"]
    at = wakes(made)[0]
    ended = woken(made.document, at, seen(now=at, mail=well(at)), rules(book))
    assert (ended.document.outcomes[-1].reason, ended.document.passed) == (Reason.SYMPTOM_GONE, {})


@pytest.mark.parametrize(
    "unread",
    [Unknown("it is down"), Unknown("no answer", late=True), replace(bare(50), blind=Unknown("the page is slow", late=True))],
)
def test_a_broker_that_can_not_be_read_is_told_when_it_lasts(unread):
    """I4: a suspicion that can't be checked is told within a minute, so a hiccup is not; a refusal with a remedy at once."""

    def look(at):
        return seen(now=at, mail=replace(unread, at=at) if isinstance(unread, QueueSnapshot) else unread)

    document, at = moved(EMPTY, suspected(), look(NOW)).document, NOW
    while not document.to_tell:
        assert at < NOW + 60
        at = document.due or at
        document = woken(document, at, look(at)).document
    assert NOW + 30 <= at < NOW + 60
    refused = moved(EMPTY, suspected(), seen(mail=Unknown("the login failed", remedy="Correct the password.")))
    assert kinds(refused.document) == ["held"]


def test_a_broker_that_could_not_be_read_once_is_told_to_nobody():
    """The count begins anew with each look that could."""
    down = Unknown("it is down")
    document = moved(EMPTY, suspected(), seen(mail=down)).document
    for after_s, what in ((15, still(20, NOW + 15)), (50, down), (65, still(20, NOW + 65)), (95, down)):
        document = woken(replace(document, due=NOW + after_s), NOW + after_s, seen(now=NOW + after_s, mail=what)).document
        assert not document.to_tell
