"""Escalations in people's hands: told again until somebody takes them, or their target is healthy."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from functions.domain.model.codes import Mode, Phase, Reason
from functions.domain.model.events import Acknowledged, Approved, Declined, MessagesDelivered
from functions.domain.model.incidents import Document, QueueState
from functions.domain.model.messages import Message
from functions.domain.model.observations import Observation
from tests.support.worlds import scenes
from tests.support.worlds.scenes import (
    MAIL,
    NOW,
    alerted,
    case,
    channels,
    document,
    incident,
    kinds,
    moved,
    phase,
    rules,
    runbook,
    trigger,
    well,
    woken,
)


def seen(*executions: object, **changes: object) -> Observation:
    """A look with a nonce, as `observe` draws it."""
    return replace(scenes.seen(*executions, **changes), nonce="r4nd0m")


URL = "https://unstick.example.com"
PUBLIC = rules(public_url=URL)
AGAIN_S = 900.0


def escalated(with_rules=PUBLIC) -> Document:
    """A second attempt that nobody approved: people were called."""
    asked = document(incident(Phase.ASKED, restarts=1, attempt=1, nonce="n", expires_at=NOW))
    return posted(woken(asked, NOW, seen(now=NOW), with_rules=with_rules).document)


def posted(document: Document) -> Document:
    """Everything is reported and archived; what is due stays due."""
    due = document.escalation.due if document.escalation else None
    return replace(document, to_tell=(), to_archive=(), due=due)


def links(message: Message) -> list[str]:
    return [url for _, url in message.card.links if "/approve/#" in url]


def test_an_escalation_stays_open_until_somebody_takes_it():
    """It has a due time, and a link with a nonce of its own; reminders call people, where the escalation went."""
    asked = document(incident(Phase.ASKED, restarts=1, attempt=1, nonce="n", expires_at=NOW))
    result = woken(asked, NOW, seen(now=NOW), with_rules=PUBLIC)
    before = result.document
    assert before.escalation is not None
    assert (before.open, before.escalation.due) == (True, NOW + AGAIN_S)
    assert [message.id for message in before.to_tell] == ["inc-1-not-approved@duty", "inc-1-not-approved@ops"]
    assert links(before.to_tell[0]) == [f"{URL}/approve/#{before.escalation.nonce}"]
    assert before.to_tell[0].card.nonce_until == NOW + 86400
    assert posted(before).open
    mentioning = rules(runbook(mention=("<!here>",)), public_url=URL)
    result = woken(escalated(mentioning), NOW + AGAIN_S, seen(now=NOW + AGAIN_S), with_rules=mentioning)
    assert channels(result.document) == {"ops", "duty"}
    assert {message.card.mention for message in result.document.to_tell} == {("<!here>",)}
    assert all(
        message.card.headline.endswith("still stuck after 1 restart, and nobody has taken it")
        for message in result.document.to_tell
    )
    taken = moved(posted(result.document), Acknowledged("anna", before.escalation.incident), seen(), NOW + 960, mentioning)
    assert channels(taken.document) == {"ops", "duty"}


def test_people_are_reminded_three_times():
    """A fourth would not help if three did not."""
    document, ids = escalated(), []
    for number in range(1, 5):
        result = woken(document, NOW + number * AGAIN_S, seen(now=NOW + number * AGAIN_S), with_rules=PUBLIC)
        ids += [message.id for message in result.document.to_tell if message.channel == "ops"]
        document = posted(result.document)
    assert ids == [f"inc-1-again-{number}@ops" for number in (1, 2, 3)]
    assert (document.escalation.told, document.due, document.escalation.at) == (3, None, NOW)


def about_post(document: Document) -> Document:
    """The same target's other queue has an incident now, which nobody approved."""
    queue = QueueState(scenes.POST, "mail", NOW)
    asked = incident(Phase.ASKED, id="inc-2", restarts=1, attempt=1, nonce="n", expires_at=NOW, queues=(queue,))
    return replace(document, incident=asked, due=NOW)


def test_an_escalation_of_another_queue_keeps_the_first():
    """Both queues are in people's hands, so neither is restarted until both are healthy or a person says so."""
    both = posted(woken(about_post(escalated()), NOW, seen(now=NOW), with_rules=PUBLIC).document)
    assert both.escalation is not None
    assert both.escalation.incident == "inc-2"
    assert {watched.queue.key for watched in both.escalation.queues} == {MAIL.key, scenes.POST.key}


MAIL_AGAIN = case(starts_at=NOW + 300, fingerprint="fp-2")
POST_TOO = case(scenes.POST, starts_at=NOW + 300, fingerprint="fp-3")


def of_both(at: float) -> Observation:
    """Both queues hang."""
    return seen(now=at, post=scenes.snapshot(at=at))


@pytest.mark.parametrize("together", [True, False], ids=["in one group", "while a person is asked"])
def test_an_escalated_queue_keeps_no_other_from_its_restart(together):
    """Its alert is held as it would be alone, and the restart is for the other queue. Nobody can approve it any more."""
    document, at = escalated(), NOW + 400
    if not together:
        asked = moved(document, alerted(MAIL_AGAIN), seen(now=at), at, PUBLIC)
        assert (phase(asked), asked.document.incident.reason) == (Phase.ASKED, Reason.ESCALATED)
        document = posted(asked.document)
    result = moved(document, alerted(*([MAIL_AGAIN, POST_TOO] if together else [POST_TOO])), of_both(at), at, PUBLIC)
    opened = result.document.incident
    assert phase(result) is Phase.STARTING
    assert opened is not None
    assert [watched.queue.key for watched in opened.queues] == [scenes.POST.key]
    assert [one.fingerprint for one in opened.triggers] == ["fp-3"]
    assert opened.approval.nonce == ""
    held = [message.card for message in result.document.to_tell if message.card.kind == "held"]
    assert bool(held) == together, "the question has told it already"
    assert all("escalated before" in card.headline for card in held)


def test_an_escalated_queue_does_not_join_a_restart_that_goes_on():
    """Otherwise the next attempt would be for a queue that people work on."""
    at = NOW + 400
    started = moved(escalated(), alerted(POST_TOO), of_both(at), at, PUBLIC)
    assert (phase(started), kinds(started.document)) == (Phase.STARTING, [])
    joined = moved(posted(started.document), alerted(MAIL_AGAIN), of_both(at + 5), at + 5, PUBLIC)
    assert [watched.queue.key for watched in joined.document.incident.queues] == [scenes.POST.key]
    assert kinds(joined.document) == ["held"]


def test_a_restart_that_a_person_approved_keeps_its_escalated_queue():
    """Another queue's alert joins it."""
    at = NOW + 400
    asked = moved(escalated(), alerted(MAIL_AGAIN), seen(now=at), at, PUBLIC)
    pressed = Approved(asked.document.incident.approval.nonce, "anna")
    started = moved(posted(asked.document), pressed, seen(now=at + 5), at + 5, PUBLIC)
    joined = moved(posted(started.document), alerted(POST_TOO), of_both(at + 9), at + 9, PUBLIC)
    assert [watched.queue.key for watched in joined.document.incident.queues] == [MAIL.key, scenes.POST.key]


@pytest.mark.parametrize("url", ["", URL])
@pytest.mark.parametrize("nonce", ["", "inc-1.ack.r4nd0m"])
def test_a_reminder_has_its_link_where_there_is_an_address_and_a_nonce(url, nonce):
    """Half a link leads nowhere."""
    document = escalated()
    document = replace(document, escalation=replace(document.escalation, nonce=nonce))
    result = woken(document, NOW + AGAIN_S, seen(now=NOW + AGAIN_S), with_rules=rules(public_url=url))
    assert [link for _, link in result.document.to_tell[0].card.links if "approve" in link] == (
        [f"{URL}/approve/#{nonce}"] if url and nonce else []
    )


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


def test_what_is_no_escalation_any_more_is_not_taken():
    """A button of an old message does nothing."""
    document = replace(escalated(), escalation=None)
    for event in (Acknowledged("anna", "inc-1"), Acknowledged("anna")):
        assert moved(document, event, seen(), NOW + 60, PUBLIC).document == document


def test_who_takes_it_is_told_in_its_thread_and_a_well_queue_reminds_nobody():
    """A link of last week takes nothing."""
    document = escalated()
    result = moved(document, Acknowledged("anna", document.escalation.incident), seen(), NOW + 60, PUBLIC)
    assert {(message.card.kind, message.card.incident) for message in result.document.to_tell} == {("acknowledged", "inc-1")}
    for other in ("another", "inc-0", "inc-2"):
        assert moved(document, Acknowledged("anna", other), seen(), NOW + 60, PUBLIC).document == document
    result = woken(escalated(), NOW + AGAIN_S, seen(mail=well(NOW + AGAIN_S), now=NOW + AGAIN_S), with_rules=PUBLIC)
    assert (result.document.escalation, result.document.to_tell) == (None, ())


def test_while_an_incident_of_the_target_is_open_nobody_is_reminded():
    """Whoever approves it, or Unstick, is at work; no wake-up comes for the reminder, which follows once the incident ended."""
    ask = rules(runbook(mode=Mode.APPROVE), public_url=URL)
    asked = moved(escalated(ask), alerted(case(starts_at=NOW + 300, fingerprint="fp-2")), seen(now=NOW + 400), NOW + 400, ask)
    assert phase(asked) is Phase.ASKED
    document = replace(moved(asked.document, MessagesDelivered(frozenset(one.id for one in asked.document.to_tell))).document)
    assert document.due == document.incident.due > NOW + AGAIN_S
    waits = woken(document, NOW + AGAIN_S, seen(now=NOW + AGAIN_S), with_rules=ask)
    assert waits.document == document
    declined = moved(document, Declined(document.incident.approval.nonce, "anna"), seen(now=NOW + 950), NOW + 950, ask)
    assert declined.document.due == NOW + AGAIN_S
    assert kinds(woken(posted(declined.document), NOW + 951, seen(now=NOW + 951), with_rules=ask).document) == ["escalated_again"]
