"""Who gets which message."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from functions.domain.cards.card import KINDS
from functions.domain.cards.card_input import CardInput
from functions.domain.decisions.messages import enqueue_message
from functions.domain.model.codes import Reason
from functions.domain.model.incidents import Document
from functions.domain.model.messages import Card
from functions.domain.model.runbooks import Rules
from tests.support.worlds.example_stories import INCIDENT, NOW, RUNBOOK, TARGET, TRIGGER

BOOK = replace(RUNBOOK, notify=("team",), escalate=("pager", "team"), mention=("<!here>", "<users/all>"))
OTHER = replace(RUNBOOK, name="other", notify=("others",), escalate=("boss",), mention=("<@U1>",))
RULES = Rules({BOOK.name: BOOK, OTHER.name: OTHER}, ("ops",), public_url="https://unstick.example.com")
FIRST_WORDS = {"en": "ACT NOW: ", "ja": "至急対応："}

MESSAGES = [
    *(CardInput(kind, NOW, BOOK, TARGET, INCIDENT, reason) for kind in KINDS for reason in (None, *Reason)),
    *(CardInput("held", NOW, BOOK, TARGET, INCIDENT, reason, again=True) for reason in Reason),
    *(CardInput("held", NOW, BOOK, TARGET, INCIDENT, reason, approve_url="https://x.example.com/#n") for reason in Reason),
]


def _posted(card_input: CardInput, language: str = "en") -> dict[str, Card]:
    document = enqueue_message(Document("d"), replace(RULES, language=language), card_input, ("team",), "m")
    return {message.channel: message.card for message in document.to_tell}


@pytest.mark.parametrize("language", FIRST_WORDS)
@pytest.mark.parametrize("kind", KINDS)
def test_a_message_that_begins_with_act_now_calls_people(kind: str, language: str):
    """It mentions people and goes to `escalate` too; no other message does."""
    for card_input in (one for one in MESSAGES if one.kind == kind):
        posted = _posted(card_input, language)
        for card in posted.values():
            assert card.headline.startswith(FIRST_WORDS[language]) == bool(card.mention), card_input.reason
        calls = posted["team"].headline.startswith(FIRST_WORDS[language])
        assert posted["team"].mention == (BOOK.mention if calls else ()), card_input.reason
        expected = {"team"} if not calls or kind == "bundle" else {"team", "pager"}
        assert set(posted) == expected, card_input.reason


@pytest.mark.parametrize("reason", [Reason.AWAITING_APPROVAL, Reason.LEDGER_UNKNOWN])
def test_approvals_and_an_unreadable_history_call_people(reason: Reason):
    """An approval expires in half an hour, and without a history nothing is restarted."""
    link = "https://x.example.com/#n" if reason is Reason.AWAITING_APPROVAL else ""
    posted = _posted(CardInput("held", NOW, BOOK, TARGET, INCIDENT, reason, approve_url=link, again=not link))
    assert set(posted) == {"team", "pager"}
    assert {card.mention for card in posted.values()} == {BOOK.mention}


def test_a_message_about_no_runbook_calls_the_people_of_all():
    """Nobody knows whose alert it is; each runbook's channels and people are called once."""
    posted = _posted(CardInput("held", NOW, reason=Reason.NO_RUNBOOK, trigger=TRIGGER))
    assert set(posted) == {"team", "pager", "boss"}
    assert posted["boss"].mention == ("<!here>", "<users/all>", "<@U1>")
