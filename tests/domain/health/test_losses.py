"""What a restart costs in messages: said before it, asked for where it may drop some, and counted after it."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace

from functions.domain.decisions.guards import GuardContext, Kind, decide
from functions.domain.health.looks import judge_health
from functions.domain.health.recovery import count_at_risk, count_lost
from functions.domain.model.codes import Ending, Phase, Reason
from functions.domain.model.events import Approved, Start
from functions.domain.model.incidents import AfterRestart, Document, Looks, change
from functions.domain.model.observations import Holder, QueueSnapshot, Returns
from tests.support.worlds.scenes import (
    NEW,
    NOW,
    alerted,
    document,
    execution,
    history_of,
    holding,
    incident,
    kinds,
    moved,
    phase,
    resolved,
    rules,
    seen,
    snapshot,
    verifying,
    woken,
)

HELD = Holder("10.0.3.7", "worker-1")
ASKING = rules(public_url="https://unstick.example.com")
LIMIT_ONE, USED_UP, DEAD_LETTERED = Returns(1), Returns(1, 1), Returns(1, 1, dead_letters=True)
ONE_LEFT = Returns(3, 2)


def grid(*values: int, at: float = NOW) -> tuple[tuple[float, int], ...]:
    return tuple((at - 5.0 * back, value) for back, value in zip(range(len(values) - 1, -1, -1), values, strict=True))


def figures(depth: int, published: int | None, acks: int | None, again: int | None = 0, **more: Any) -> QueueSnapshot:
    """What the counters of a queue say at one moment."""
    counters = {"published": published, "redeliveries": again, "ack_samples": (), "returns": USED_UP}
    return replace(snapshot(depth, **{**counters, **more}), acks=acks)


def publishing(*values: int) -> QueueSnapshot:
    """Nothing is left, and so much was published lately."""
    emptied = figures(0, values[-1], 80)
    return replace(emptied, history=replace(emptied.history, publishes=grid(*values)))


@pytest.mark.parametrize(
    ("before", "after", "lost"),
    [
        (figures(30, 100, 70), figures(0, 100, 90), 10),
        (figures(30, 100, 70), figures(4, 104, 90), 10),
        (figures(30, 100, 70), figures(0, 100, 100), 0),
        (figures(30, 100, 70), figures(0, 100, 101), 0),
        (figures(30, 100, 70, later=2), figures(0, 100, 90, later=5), 7),
        (figures(30, None, None), figures(0, None, 20), 10),
        (figures(30, None, None), figures(0, None, None), 30),
        (figures(30, 100, 70), figures(0, 104, 94, 3), 10),
        # what comes in 10 s may be counted on one side only
        (figures(30, 90, 70), publishing(100, 100, 100, 100), 30),
        (figures(30, 90, 70), publishing(70, 80, 90, 100), 30),
        (figures(30, 90, 70), publishing(55, 70, 85, 100), 0),
        (figures(30, 90, 70, at=NOW - 10), publishing(50, 65, 80, 95, 95, 100, 100), 30),
        (figures(30, 90, 70, at=NOW - 15), publishing(50, 65, 80, 95, 95, 100, 100), 0),
        (figures(30, 100, 70), figures(0, 100, 90, ack_samples=grid(80, 80, 85, 90)), 0),
        (figures(30, 100, 70), figures(0, 100, 90, ack_samples=grid(81, 81, 86, 90)), 10),
        # a limit that can't have been reached is no reason
        (figures(30, 100, 70, returns=None), figures(0, 100, 90), 0),
        (figures(30, 100, 70, returns=Returns(20)), figures(0, 100, 90, 19), 0),
        (figures(30, 100, 70, returns=Returns(20)), figures(0, 100, 90, 20), 10),
        (figures(30, 100, 70, returns=LIMIT_ONE), figures(0, 100, 90, None), 0),
        # counters that fell or don't exist tell nothing
        (figures(30, 100, 70), figures(0, 5, 3), 0),
        (figures(30, 100, 70), figures(0, 99, 70), 0),
        (figures(30, 100, 70, 3), figures(0, 100, 90, 0), 0),
        (figures(30, 100, 70), figures(0, 100, 90, uncounted=True), 0),
        (figures(30, 100, 70), figures(0, 100, 90, deliveries=None), 0),
        (None, figures(0, 100, 90), 0),
    ],
)  # fmt: skip
def test_what_is_gone_without_an_acknowledgement_is_lost(before: QueueSnapshot | None, after: QueueSnapshot, lost: int) -> None:
    """Depth before and what came since, less what was acknowledged and what is there; and only a number that is sure."""
    assert count_lost(before, after) == lost


def asked(returns: Returns | None, with_rules: Any = ASKING, **changes: Any) -> Any:
    what = seen(mail=holding(HELD, returns=returns))
    book = with_rules.runbooks["mail"]
    return decide(GuardContext(with_rules, book, document(incident(**changes)), incident(**changes), what, NOW))


@pytest.mark.parametrize(
    ("returns", "kind"),
    [(None, Kind.RESTART), (LIMIT_ONE, Kind.RESTART), (USED_UP, Kind.ASK), (Returns(0), Kind.ASK), (DEAD_LETTERED, Kind.RESTART)],
)
def test_a_restart_that_may_drop_messages_asks_a_person_in_auto_too(returns: Returns | None, kind: Kind) -> None:
    """Asked in `auto` too, held where nobody can answer; who approves has read what it may cost."""
    decision = asked(returns)
    assert decision.kind is kind
    if kind is Kind.ASK:
        assert decision.reason is Reason.AWAITING_APPROVAL
        limit = returns.limit if returns else 0
        assert str(decision.detail) == (
            f"a restart may make RabbitMQ drop the messages that are held: mail.delivery: delivery limit {limit}"
        )
    what = seen(mail=holding(HELD, returns=USED_UP))
    result = moved(Document("key"), alerted(), what, with_rules=ASKING)
    assert phase(result) is Phase.ASKED
    assert result.document.incident is not None
    (card,) = (message.card for message in result.document.to_tell if message.channel == "ops")
    assert "at the next restart the held messages may be dropped by RabbitMQ (limit 1)" in dict(card.facts)["Delivery limit"]
    approved = Approved(result.document.incident.approval.nonce, "anna")
    result = moved(result.document, approved, what, with_rules=ASKING)
    assert [act for act in result.acts if isinstance(act, Start)]
    decision = asked(USED_UP, rules())
    assert (decision.kind, decision.reason) == (Kind.HOLD, Reason.AWAITING_APPROVAL)
    result = moved(Document("key"), alerted(), seen(mail=holding(HELD, returns=USED_UP)))
    assert result.reply is not None
    assert (result.reply.reason, kinds(result.document)) == (Reason.AWAITING_APPROVAL, ["held"])


@pytest.mark.parametrize(
    ("returns", "said"),
    [
        (Returns(3, 1), "2 more restarts, then the held messages are dropped by RabbitMQ (limit 3)"),
        (LIMIT_ONE, "1 more restart, then the held messages are dropped by RabbitMQ (limit 1)"),
        (Returns(3, 2, dead_letters=True), "1 more restart, then the held messages are dead-lettered by RabbitMQ (limit 3)"),
        (DEAD_LETTERED, "at the next restart the held messages may be dead-lettered by RabbitMQ (limit 1)"),
        (None, None),
    ],
)
def test_the_card_says_how_many_restarts_the_held_messages_survive(returns: Returns | None, said: str | None) -> None:
    """Where a limit is known."""
    running = execution(9, started=-1.0, ended=None, user="anna")
    what = seen(running, mail=holding(HELD, returns=returns))
    result = woken(document(incident()), NOW, what)
    (card,) = (message.card for message in result.document.to_tell if message.channel == "ops")
    assert dict(card.facts).get("Delivery limit") == said


def recovered(missing: int, returns: Returns = USED_UP, **changes: Any) -> Any:
    """The restart has ended, and the queue was healthy in two checks, with this many messages neither there nor acknowledged."""
    before = verifying(-30.0)
    assert before.incident is not None
    (watched,) = before.incident.queues
    watched = replace(watched, before=figures(30, 100, 70, returns=returns), **changes)
    document = replace(before, incident=change(before.incident, queues=(watched,)))
    for after_s in (0.0, 16.0):
        at = NOW + after_s
        mail = figures(0, 100, 100 - missing, 10, at=at, ids=NEW, returns=None)
        document = woken(
            document,
            at,
            seen(before.incident.execution, now=at, mail=mail, history=history_of(before.incident.execution, now=at)),
        ).document
    assert document.outcomes[-1].ending is Ending.RECOVERED
    return document.to_archive[0], next(message.card for message in document.to_tell if message.channel == "ops")


def test_what_a_restart_cost_is_told_and_kept() -> None:
    """The outcome asks somebody to look, in working hours; dead letters can be found in their queue."""
    record, card = recovered(10)
    assert card.headline == "In working hours: mail recovered, but messages were lost"
    assert "mail.delivery: 10 messages were dropped by the broker: delivery limit 1" in card.text
    assert record.incident.queues[0].after.lost_since == 10
    _, card = recovered(1, DEAD_LETTERED)
    assert "mail.delivery: 1 message was dead-lettered by the broker: delivery limit 1" in card.text


def test_what_each_restart_cost_is_added() -> None:
    """A start takes the figures of the restart before it."""
    waiting = incident()
    (watched,) = waiting.queues
    watched = replace(watched, lost=3, risked=5, after=AfterRestart(lost_since=5, at_risk=7))
    result = woken(document(change(waiting, queues=(watched,))), NOW, seen())
    assert result.document.incident is not None
    (after,) = result.document.incident.queues
    assert (phase(result), after.lost, after.risked, after.after) == (Phase.STARTING, 8, 12, AfterRestart())


def test_what_may_be_gone_is_the_most_that_any_figure_says() -> None:
    """Of all restarts together, of a crash loop, or what is lost for certain."""
    (watched,) = incident().queues
    watched = replace(watched, risked=2, after=AfterRestart(at_risk=4))
    for changes, most in (({}, 6), ({"looks": Looks(at_risk=9)}, 9), ({"lost": 7}, 7)):
        assert replace(watched, **changes).risked_in_all == most


def busy(*acks: int, depth: int = 3, **more: Any) -> QueueSnapshot:
    """What comes is acknowledged at once, eight messages a second."""
    reading = figures(depth, acks[-1] + depth, acks[-1], unacked=depth, ready=0, ack_samples=grid(*acks), **more)
    return replace(reading, history=replace(reading.history, publishes=grid(*acks)))


@pytest.mark.parametrize(
    ("before", "after", "most"),
    [
        pytest.param(busy(900, 940, 980, depth=52), busy(1300, 1340, 1380), 52, id="traffic hides what was dropped"),
        pytest.param(busy(900, 940, 980, depth=52, returns=Returns(3, 1)), busy(1300, 1340, 1380), 0, id="two returns are left"),
        pytest.param(busy(900, 940, 980, depth=52, returns=ONE_LEFT), busy(1300, 1340, 1380), 0, id="one for its consumer"),
        pytest.param(busy(900, 940, 980, depth=52, returns=ONE_LEFT, consumers=2), busy(1300, 1340, 1380), 52,
            id="one for two that may hand on what they held"),
        pytest.param(busy(900, 940, 980, depth=52, returns=ONE_LEFT, consumers=None), busy(1300, 1340, 1380), 0,
            id="one for whoever consumes"),
        pytest.param(busy(900, 940, 980, depth=52, consumers=0), busy(1300, 1340, 1380), 52, id="none, and nobody consumes"),
        pytest.param(busy(900, 940, 980, depth=52, returns=None), busy(1300, 1340, 1380), 0, id="no limit"),
        pytest.param(figures(30, 100, 70, unacked=30), figures(0, 100, 100), 0, id="at rest the counters tell: all acknowledged"),
        pytest.param(figures(30, 100, 70, unacked=30), figures(0, 100, 90), 10, id="at rest the counters tell: ten are gone"),
        pytest.param(figures(30, 100, 70, unacked=30), figures(0, 100, 100, uncounted=True), 30, id="nobody counts"),
        pytest.param(None, busy(1300, 1340, 1380), 0, id="no restart"),
    ],
)  # fmt: skip
def test_what_was_held_without_a_return_left_may_be_gone_whatever_the_traffic(
    before: QueueSnapshot | None, after: QueueSnapshot, most: int
) -> None:
    """By the limit and the returns, and not by a difference of counters that traffic hides."""
    assert count_at_risk(before, after, count_lost(before, after)) == most


def test_nothing_that_may_be_dropped_is_called_no_action_needed() -> None:
    """The card of the recovery, of the hold after a crash loop, and of the resolved alert say how many at most."""
    before = verifying(-30.0)
    assert before.incident is not None
    (watched,) = before.incident.queues
    watched = replace(watched, before=busy(900, 940, 980, depth=52))
    document = replace(before, incident=change(before.incident, queues=(watched,)))
    for after_s in (0.0, 16.0):
        at = NOW + after_s
        mail = replace(busy(1300, 1340, 1380, at=at, ids=NEW, returns=None), depth=0, unacked=0)
        history = history_of(before.incident.execution, now=at)
        document = woken(document, at, seen(before.incident.execution, now=at, mail=mail, history=history)).document
    card = next(message.card for message in document.to_tell if message.channel == "ops")
    assert card.headline == "In working hours: mail recovered, but messages may be lost"
    assert "mail.delivery: at most 52 of the held messages may have been dropped by the broker: delivery limit 1" in card.text
    told = moved(replace(document, to_tell=()), resolved(), at=NOW + 60.0).document
    (message,) = (one for one in told.to_tell if one.channel == "ops")
    assert (
        message.card.urgency,
        "At most 52 of the messages that were held at their delivery limit may be gone" in " ".join(message.card.text),
    ) == ("plan", True)


def test_a_crash_loop_that_drops_messages_is_remembered() -> None:
    """Messages return and are held again without a return left, while nobody restarted anything."""
    (watched,) = incident().queues
    symptom = rules().runbooks["mail"].symptom
    for number, risked in ((None, 0), (0, 0), (0, 0), (1, 1), (1, 1)):
        looping = replace(holding(HELD, returns=USED_UP), redeliveries=number)
        _, watched = judge_health(symptom, looping, watched, NOW)
        assert watched.risked_in_all == risked
    gone = seen(mail=snapshot(0))
    result = woken(document(change(incident(), queues=(watched,))), NOW, gone)
    (message,) = (one for one in result.document.to_tell if one.channel == "ops")
    assert (message.card.urgency, message.card.kind) == ("plan", "held")
    assert "at most 1 of the held messages may have been dropped" in " ".join(message.card.text)
