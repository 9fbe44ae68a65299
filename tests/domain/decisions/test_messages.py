"""Who gets which message; and suspicions that match no runbook, which are noted seldom and told once a day."""

import hashlib

import pytest
from msgspec.structs import replace

from functions.domain.cards.card import KINDS
from functions.domain.cards.content import CardInput
from functions.domain.decisions.messages import channels_for, post, post_hold, to_alert_ref
from functions.domain.decisions.turn import Turn
from functions.domain.model.alerts import MatchedAlert
from functions.domain.model.cards import Card
from functions.domain.model.codes import Mode, Reason
from functions.domain.model.incidents import AlertRef, Document
from functions.domain.model.runbooks import Rules
from tests.support.worlds import scenes
from tests.support.worlds.scenes import NOW, TARGET, alert, alerted, case, document, moved, rules, runbook
from unstick.commands.status import last_matches

INCIDENT = scenes.incident()
BOOK = runbook(notify=("team",), escalate=("pager", "team"), mention=("<!here>", "<users/all>"))
OTHER = runbook(name="other", notify=("others",), escalate=("boss",), mention=("<@U1>",))
RULES = Rules({BOOK.name: BOOK, OTHER.name: OTHER}, ("ops",), public_url="https://unstick.example.com")
EMPTY = Document("d")
FIRST_WORDS = {"en": "ACT NOW: ", "ja": "至急対応："}

MESSAGES = [
    *(CardInput(kind, NOW, BOOK, TARGET, INCIDENT, reason) for kind in KINDS for reason in (None, *Reason)),
    *(CardInput("held", NOW, BOOK, TARGET, INCIDENT, reason, again=True) for reason in Reason),
    *(CardInput("held", NOW, BOOK, TARGET, INCIDENT, reason, approve_url="https://x.example.com/#n") for reason in Reason),
]


def posted(card_input: CardInput, *channels: str, to: Document = EMPTY, with_rules: Rules = RULES) -> Document:
    """The document with this message."""
    turn = Turn(to, with_rules, scenes.seen(), NOW)
    post(turn, card_input, "m", channels or ("team",))
    return turn.document


def held(*triggers: AlertRef, to: Document = EMPTY, reason: Reason | None = Reason.PAUSED, **how: bool) -> Document:
    """The document with the hold of these alerts."""
    turn = Turn(to, RULES, scenes.seen(), NOW)
    post_hold(turn, CardInput("held", NOW, BOOK, TARGET, replace(INCIDENT, triggers=triggers), reason), "m", **how)
    return turn.document


def cards(document: Document) -> dict[str, Card]:
    return {message.channel: message.card for message in document.to_tell}


@pytest.mark.parametrize("language", FIRST_WORDS)
@pytest.mark.parametrize("kind", KINDS)
def test_a_message_that_begins_with_act_now_calls_people(kind: str, language: str):
    """It mentions people and goes to `escalate` too; not for runbooks that only observe."""
    for card_input in (one for one in MESSAGES if one.kind == kind):
        to_team = cards(posted(card_input, with_rules=replace(RULES, language=language)))
        for card in to_team.values():
            assert card.headline.startswith(FIRST_WORDS[language]) == bool(card.mention), card_input.reason
        calls = to_team["team"].headline.startswith(FIRST_WORDS[language])
        assert to_team["team"].mention == (BOOK.mention if calls else ()), card_input.reason
        expected = {"team"} if not calls or kind == "bundle" else {"team", "pager"}
        assert set(to_team) == expected, card_input.reason
    observing = replace(OTHER, mode=Mode.OBSERVE)
    document = posted(
        CardInput("bundle", NOW), "ops", with_rules=replace(RULES, runbooks={BOOK.name: BOOK, OTHER.name: observing})
    )
    assert {one.channel: one.card.mention for one in document.to_tell} == {"ops": BOOK.mention}


@pytest.mark.parametrize(
    ("top", "own", "expected"),
    [
        (("ops",), ("team",), ("team",)), (("ops",), (), ("ops",)), (("ops", "ops"), (), ("ops",)),
        (("ops",), ("team", "others", "team"), ("team", "others")), ((), (), ("others",)),
    ],
)  # fmt: skip
def test_a_runbook_has_its_own_channels_or_those_of_all(top, own, expected):
    """Each once. Without any at the top, what no runbook takes goes to those of all runbooks."""
    book = replace(BOOK, notify=own)
    known = Rules({book.name: book, OTHER.name: OTHER}, top)
    assert channels_for(known, book) == expected
    assert channels_for(known, None) == tuple(dict.fromkeys(top)) or not top
    everybody = Rules({BOOK.name: BOOK, OTHER.name: OTHER, "third": replace(OTHER, notify=("team", "third"))})
    assert everybody.default_channels == channels_for(everybody, None) == ("team", "others", "third")


@pytest.mark.parametrize(
    ("changes", "kept"),
    [
        ({"annotations": {"description": "d"}}, {"summary": "d"}),
        ({"annotations": {"summary": "s" * 301}}, {"summary": "s" * 300}),
        ({"labels": {"alertname": "n" * 301}}, {"name": "n" * 300}),
        ({"source": "g" * 200}, {"source": "g" * 200}),
        ({"source": "g" * 201}, {"source": hashlib.sha256(b"g" * 201).hexdigest()}),
        ({"source": "\u00fc"}, {"source": hashlib.sha256(b"\xc3\xbc").hexdigest()}),
        ({"source": "\x07"}, {"source": hashlib.sha256(b"\x07").hexdigest()}),
        ({"panel_url": "h" * 2000, "silence_url": "h" * 2001}, {"links": {"panel": "h" * 2000}}),
        (
            {"dashboard_url": "d", "silence_url": "s", "generator_url": "g", "annotations": {"runbook_url": "r"}},
            {"links": {"dashboard": "d", "silence": "s", "alert": "g", "runbook": "r"}},
        ),
    ],
)
def test_of_an_alert_its_texts_are_kept_as_far_as_cards_show_them(changes, kept):
    """A document has to stay small, whatever an alert brings."""
    alert = to_alert_ref(scenes.case(**changes))
    assert {name: getattr(alert, name) for name in kept} == kept
    assert (alert.fingerprint, alert.queue, alert.starts_at) == ("fp-1", scenes.MAIL.key, scenes.NOW - 90)
    assert to_alert_ref(scenes.case(**changes), linked=False) == replace(alert, links={})
    assert to_alert_ref(replace(scenes.case(**changes), queue=None)).queue == ""


FIRST, SECOND = scenes.trigger(), scenes.trigger(fingerprint="fp-2")
KEYS = ("grafana#1|fp-1|paused", "grafana#1|fp-2|paused")


@pytest.mark.parametrize(
    ("holds", "recently"),
    [
        pytest.param([(Reason.PAUSED, 0.0), (Reason.PAUSED, 3599.0)], True, id="both within the hour"),
        pytest.param([(Reason.PAUSED, 0.0), (Reason.PAUSED, 3600.0)], False, id="one an hour ago"),
        pytest.param([(Reason.PAUSED, 3600.0), (Reason.PAUSED, 0.0)], False, id="the other"),
        pytest.param([(Reason.PAUSED, 0.0), (Reason.FROZEN, 0.0)], False, id="one for another reason"),
        pytest.param([(Reason.SYMPTOM_GONE, 0.0), (Reason.PAUSED, 0.0)], False, id="the other for another"),
        pytest.param([(Reason.PAUSED, 0.0)], False, id="only one of two"),
        pytest.param([], False, id="none"),
    ],
)
def test_a_hold_was_told_if_it_was_for_all_its_alerts(holds, recently):
    """The same reason, within the hour, whatever was told for others."""
    told = {key.replace("paused", code): NOW - age_s for key, (code, age_s) in zip(KEYS, holds, strict=False)}
    document = Document("d", holds=told)
    after = held(FIRST, SECOND, to=document)
    assert {message.id for message in after.to_tell} == (set() if recently else {"m-paused@team", "m-paused@pager"})
    new = dict.fromkeys(KEYS, NOW)
    kept = {key: one for key, one in told.items() if NOW - one < 3600.0}
    assert after.holds == (told if recently else kept | new)


HOUR_S = 3600.0


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
