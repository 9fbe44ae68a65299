"""Suspicions that match no runbook: noted seldom, told once a day. And when each runbook last matched."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from functions.application.intake import document_key
from functions.domain.decisions.matching import last_matches
from functions.domain.model.alerts import UNMATCHED_KEPT, UNMATCHED_KEY, MatchedAlert, Unmatched, UnmatchedAlert
from functions.domain.model.codes import Reason
from functions.domain.model.events import MessagesDelivered
from functions.domain.model.incidents import Document
from functions.domain.model.runbooks import Matcher
from tests.support.worlds.scenes import NOW, TARGET, alert, alerted, case, document, moved, rules, runbook, wakes, woken

HOUR_S, DAY_S = 3600.0, 86400.0
BOOKS = rules(runbook(match=(Matcher("alertname", "=", "MaybeStuck"), Matcher("service", "=", "mail"))))
EMPTY = Document(UNMATCHED_KEY)


def suspected(queue: str = "invoice_jobs", *, firing: bool = True) -> MatchedAlert:
    """The shipped suspicion for a queue without a dot, which gets no label `service`."""
    labels = {"alertname": "MaybeStuck", "queue": queue, "unstick": "suspicion"}
    return MatchedAlert(alert(fingerprint=f"fp-{queue}", labels=labels, firing=firing), reason=Reason.NO_RUNBOOK)


def delivered(document: Document) -> Document:
    """What was to tell was posted."""
    return moved(document, MessagesDelivered(frozenset(one.id for one in document.to_tell)), with_rules=BOOKS).document


def test_all_of_them_share_a_document():
    """Which an alert of a rule that doesn't only suspect has no part in."""
    calls = MatchedAlert(alert(), reason=Reason.NO_RUNBOOK)
    assert {document_key(suspected()), document_key(suspected("other"))} == {UNMATCHED_KEY}
    assert document_key(calls) != UNMATCHED_KEY


def test_a_minute_of_them_is_one_message_and_a_day_another():
    """It names each with what the closest runbook asks for. As long as they come it comes once a day, and no longer."""
    first = moved(EMPTY, alerted(suspected()), at=NOW, with_rules=BOOKS)
    assert (first.document.to_tell, first.document.due, wakes(first)) == ((), NOW + 60.0, [NOW + 60.0])
    second = moved(first.document, alerted(suspected("orders")), at=NOW + 10.0, with_rules=BOOKS)
    told = woken(second.document, NOW + 60.0, with_rules=BOOKS)
    (message,) = told.document.to_tell
    assert (message.channel, message.card.urgency) == ("everybody", "plan")
    assert message.card.headline.endswith("2 suspicions matched no runbook")
    asked = 'the runbooks look at alertname="MaybeStuck", no service · closest is mail, which needs service="mail"'
    assert [name for name, _ in message.card.facts[:2]] == ["MaybeStuck orders", "MaybeStuck invoice_jobs"]
    assert all(part in message.card.facts[0][1] for part in asked.split(" · "))
    quiet = delivered(told.document)
    assert quiet.due is None
    later = moved(quiet, alerted(suspected()), at=NOW + 2 * HOUR_S, with_rules=BOOKS).document
    assert later.due == NOW + 60.0 + DAY_S
    again = woken(later, later.due, with_rules=BOOKS).document
    assert [message.card.headline for message in again.to_tell] == [
        "In working hours: MaybeStuck invoice_jobs matched no runbook"
    ]
    assert woken(delivered(again), NOW + 9 * DAY_S, with_rules=BOOKS).document.to_tell == ()


def test_a_repeated_one_is_written_once_an_hour():
    """Alertmanager sends it every 20 s."""
    first = moved(EMPTY, alerted(suspected()), with_rules=BOOKS).document
    for at in (NOW + 20.0, NOW + 3599.0):
        assert moved(first, alerted(suspected()), at=at, with_rules=BOOKS).document == first
    noted = moved(first, alerted(suspected()), at=NOW + HOUR_S, with_rules=BOOKS).document
    (one,) = noted.unmatched.alerts.values()
    assert (one.first_at, one.at) == (NOW, NOW + HOUR_S)
    assert moved(first, alerted(suspected(firing=False)), with_rules=BOOKS).document == first
    assert moved(first, alerted(suspected(), suspected("orders", firing=False)), with_rules=BOOKS).document == first


def test_the_document_stays_small():
    """A rule that names a thousand queues takes no more than fifty places, and is not written for the others."""
    crowd = alerted(*(suspected(f"queue-{number}") for number in range(1000)))
    full = moved(EMPTY, crowd, with_rules=BOOKS).document
    assert len(full.unmatched.alerts) == UNMATCHED_KEPT
    assert moved(full, crowd, at=NOW + 20.0, with_rules=BOOKS).document == full
    new = alerted(suspected("n" * 200))
    assert moved(full, new, at=NOW + 7 * DAY_S - 1, with_rules=BOOKS).document == full
    later = moved(full, new, at=NOW + 7 * DAY_S, with_rules=BOOKS).document
    assert [one.queue for one in later.unmatched.alerts.values()] == ["n" * 120]


def test_what_was_noted_within_a_day_is_recent():
    """`status`, `check` and the report name these, the newest first."""
    noted = {key: UnmatchedAlert(key, "", "", NOW, at) for key, at in (("a", NOW), ("b", NOW + 1), ("c", NOW - 1))}
    assert [one.name for one in Unmatched(noted).recent(NOW + DAY_S)] == ["b", "a"]


@pytest.mark.parametrize("wrong", [False, True])
def test_a_runbook_remembers_to_the_hour_when_it_matched(wrong: bool):
    """Whether its target can be named or not; a resolved alert is no match."""
    books, key = rules(runbook(), runbook(name="other")), "alert-1" if wrong else TARGET.key
    one = MatchedAlert(alert(), runbook(), reason=Reason.INVALID_OPTION) if wrong else case()
    before = moved(Document(key), alerted(one), with_rules=books).document
    assert last_matches(books.runbooks, [before, document()]) == {"mail": NOW, "other": None}
    again = moved(before, alerted(one), at=NOW + 60.0, with_rules=books).document
    assert again.matched == before.matched
    assert moved(before, alerted(one), at=NOW + HOUR_S, with_rules=books).document.matched == {"mail": NOW + HOUR_S}
    gone = MatchedAlert(replace(one.alert, firing=False), one.runbook, one.target, one.queue, one.reason)
    assert moved(Document(key), alerted(gone), with_rules=books).document.matched == {}
