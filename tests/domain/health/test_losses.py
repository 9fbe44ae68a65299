"""What a restart may cost in messages: asked for where it may drop some, and said on the card that ends the incident."""

from typing import Any

import pytest
from msgspec.structs import replace

from functions.domain.health.looks import judge_health
from functions.domain.model.codes import Ending, Phase, Reason
from functions.domain.model.events import Approved, Start
from functions.domain.model.incidents import Document
from functions.domain.model.observations import Holder, QueueSnapshot, Returns
from tests.support.worlds.scenes import (
    NEW,
    NOW,
    alerted,
    change,
    document,
    history_of,
    holding,
    incident,
    kinds,
    moved,
    phase,
    rules,
    seen,
    snapshot,
    verifying,
    woken,
)

MAY_BE_GONE = (
    "RabbitMQ may have dropped or dead-lettered messages that came back too often (delivery limit): "
    "find out which, and have them sent again."
)
HELD = Holder("10.0.3.7", "worker-1")
ASKING = rules(public_url="https://unstick.example.com")
LIMIT_ONE, USED_UP, DEAD_LETTERED = Returns(1), Returns(1, 1), Returns(1, 1, dead_letters=True)


@pytest.mark.parametrize(
    ("returns", "asks"), [(None, False), (LIMIT_ONE, False), (USED_UP, True), (Returns(0), True), (DEAD_LETTERED, False)]
)
def test_a_restart_that_may_drop_messages_asks_a_person_in_auto_too(returns: Returns | None, asks: bool) -> None:
    """Asked in `auto` too, held where nobody can answer; who approves has read what it may cost."""
    what = seen(mail=holding(HELD, returns=returns))
    result = moved(Document("key"), alerted(), what, with_rules=ASKING)
    assert phase(result) is (Phase.ASKED if asks else Phase.STARTING)
    assert result.document.incident is not None
    if asks:
        assert result.document.incident.reason is Reason.AWAITING_APPROVAL
        cost = "a restart may make RabbitMQ drop the messages that are held: mail.delivery: delivery limit"
        assert cost in str(told(result.document).text)
        approved = Approved(result.document.incident.approval.nonce, "anna")
        assert [act for act in moved(result.document, approved, what, with_rules=ASKING).acts if isinstance(act, Start)]
        alone = moved(Document("key"), alerted(), what)
        assert alone.reply is not None
        assert (alone.reply.reason, kinds(alone.document)) == (Reason.AWAITING_APPROVAL, ["held"])


def told(document: Document) -> Any:
    return next(message.card for message in document.to_tell if message.channel == "ops")


def recovered(before: QueueSnapshot | None, again: int | None) -> tuple[Document, Any]:
    """The restart has ended, and the queue was healthy in two checks, with so many redeliveries by now."""
    document = verifying(-30.0)
    assert document.incident is not None
    (watched,) = document.incident.queues
    document = replace(document, incident=change(document.incident, queues=(replace(watched, before=before),)))
    execution = document.incident.execution
    for after_s in (0.0, 16.0):
        at = NOW + after_s
        mail = replace(snapshot(0, at=at, ids=NEW), redeliveries=again)
        document = woken(document, at, seen(execution, now=at, mail=mail, history=history_of(execution, now=at))).document
    assert document.outcomes[-1].ending is Ending.RECOVERED
    return document, told(document)


def held(returns: Returns | None, unacked: int = 1, consumers: int | None = 1) -> QueueSnapshot:
    """The last look before the restart, at 10 redeliveries."""
    return replace(snapshot(unacked), unacked=unacked, ready=0, redeliveries=10, returns=returns, consumers=consumers)


@pytest.mark.parametrize(
    ("before", "again", "gone"),
    [
        pytest.param(held(USED_UP), 10, True, id="no return left: what is dropped is not delivered again"),
        pytest.param(held(DEAD_LETTERED), 10, True, id="or dead-lettered"),
        pytest.param(held(Returns(None)), 10, True, id="a limit that can't be read"),
        pytest.param(held(None), 99, False, id="no limit"),
        pytest.param(held(Returns(20), 50), 60, False, id="each of 50 came back once"),
        pytest.param(held(Returns(20), 50), 78, False, id="some came back twice"),
        pytest.param(held(Returns(20), 50), 79, True, id="some may have come back twenty times: a loop of crashes"),
        pytest.param(held(Returns(3, 2)), 10, False, id="one return left, for one consumer"),
        pytest.param(held(Returns(3, 2), consumers=2), 11, True, id="one for two, who may hand on what they held"),
        pytest.param(held(Returns(3, 2), consumers=2), 10, False, id="which nothing shows"),
        pytest.param(held(Returns(3, 2), consumers=None), 10, False, id="one for whoever consumes"),
        pytest.param(held(USED_UP), None, False, id="counters that fell tell nothing"),
        pytest.param(None, 99, False, id="nothing was seen before"),
    ],
)  # fmt: skip
def test_what_came_back_too_often_may_be_gone(before: QueueSnapshot | None, again: int | None, gone: bool) -> None:
    """The card of the recovery says so, and is never "No action needed"."""
    _, card = recovered(before, again)
    assert (card.urgency, MAY_BE_GONE in card.text) == (("plan", True) if gone else ("fine", False))


def test_a_crash_loop_that_may_drop_messages_is_remembered() -> None:
    """Messages return and are held again without a return left, while nobody restarted anything."""
    (watched,) = incident().queues
    symptom = rules().runbooks["mail"].symptom
    for number, gone in ((None, False), (0, False), (0, False), (1, True), (1, True)):
        looping = replace(holding(HELD, returns=USED_UP), redeliveries=number)
        _, watched = judge_health(symptom, looping, watched, NOW)
        assert watched.may_be_gone is gone
    (watched,) = incident().queues
    for seen_now, gone in (
        (replace(snapshot(1, returns=Returns(20, 5)), redeliveries=5), False),
        (replace(snapshot(1, returns=Returns(20, 12)), redeliveries=12), False),
        (replace(snapshot(0), redeliveries=19), False),
        (replace(snapshot(0), redeliveries=20), True),
    ):
        _, watched = judge_health(symptom, seen_now, watched, NOW)
        assert watched.may_be_gone is gone, "it waits between two crashes, and is gone by the next look"
    result = woken(document(change(incident(), queues=(watched,))), NOW, seen(mail=snapshot(0)))
    card = told(result.document)
    assert (card.kind, card.urgency, MAY_BE_GONE in card.text) == ("held", "plan", True)
