"""A suspicion: waited out by the broker's own samples, told only when it proves true, counted when it does not."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from functions.domain.health.proofs import SAMPLE_LATE_S
from functions.domain.model.codes import Action, Phase, Reason
from functions.domain.model.incidents import Document, QueueState
from functions.domain.model.observations import Pause, QueueSnapshot, Unknown
from functions.domain.model.runbooks import Symptom
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
    """A stuck queue whose last acknowledgement shows in the sample of this many seconds ago."""
    made = sighting(50, at=at)
    counted = tuple((when, 1000 if at - when > seconds else 1004) for when, _ in made.ack_samples)
    return replace(made, ack_samples=counted, history=replace(made.history, deliveries=counted))


def actions(step) -> tuple[Action, Reason | None]:
    assert step.reply is not None
    return step.reply.action, step.reply.reason


@pytest.mark.parametrize("moving", [well(), sighting(acks=3), replace(sighting(50), depth=40, ready=40)])
def test_while_it_waits_more_of_the_same_cost_nothing(moving):
    """The same again joins and costs nothing; one that moves costs one check, and waits anew where it stands still again."""
    made = moved(EMPTY, suspected(), seen(mail=still(20)))
    for second in range(10, 40, 10):
        again = moved(made.document, suspected(starts_at=NOW - 90 + second), None, NOW + second)
        assert not again.acts
        assert again.document.due == made.document.due
    incident = again.document.incident
    assert incident is not None
    assert len(incident.triggers) == 1
    made = moved(EMPTY, suspected(), seen(mail=still(20)))
    at = wakes(made)[0]
    after = woken(made.document, at, seen(now=at, mail=still(30, at)))
    assert (phase(after), wakes(after)) == (Phase.WAITING, [at + 30.0 + SAMPLE_LATE_S])
    made = moved(EMPTY, suspected(), seen(mail=moving))
    assert made.document == replace(EMPTY, target=TARGET, passed={"2027-01-15": 1})
    assert not made.acts
    assert actions(made) == (Action.HELD, Reason.SYMPTOM_GONE)


# --- what people are told all the same -------------------------------------------------------------------------------


def test_no_guard_speaks_before_the_suspicion_proves_true():
    """With the kill switch on, most suspicions still come to nothing; one that proves true is held and told."""
    paused = Pause("maintenance")
    made = moved(EMPTY, suspected(), seen(mail=still(20), pause=paused))
    assert (phase(made), kinds(made.document)) == (Phase.WAITING, [])
    at = wakes(made)[0]
    assert woken(made.document, at, seen(now=at, mail=well(at), pause=paused)).document.passed == {"2027-01-15": 1}
    held = woken(made.document, at, seen(now=at, mail=still(65, at), pause=paused))
    assert (kinds(held.document), held.document.outcomes[-1].reason) == (["held"], Reason.PAUSED)


@pytest.mark.parametrize(
    "unread",
    [Unknown("it is down"), Unknown("no answer", late=True), replace(bare(50), blind=Unknown("the page is slow", late=True))],
)
def test_a_broker_that_can_not_be_read_is_told_when_it_lasts(unread):
    """I4: a suspicion that can't be checked is reported within a minute, so a hiccup is not; a refusal with a remedy at once."""

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
