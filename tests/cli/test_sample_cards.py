"""`card` beside the real flow: what it shows of a hold is what people would get."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from functions.domain.cards.card import KINDS
from functions.domain.model.alerts import MatchedAlert
from functions.domain.model.codes import Mode, Phase, Reason
from functions.domain.model.events import Declined, StartResult, TimerFired
from functions.domain.model.incidents import Document
from functions.domain.model.messages import Card
from functions.domain.model.observations import Observation, Pause, Slot, Storm, Unknown
from functions.domain.model.runbooks import Freeze, Limits, Runbook
from tests.cli.line import FIRING, Line
from tests.support.worlds import scenes
from tests.support.worlds.scenes import NOW, alert, case, document, execution, ledger, seen
from unstick import sample_cards
from unstick.commands.trial import card as command
from unstick.output import Unusable

URL = "https://unstick.example.com"
UNREAD = Unknown("Rundeck: answered 403", remedy="give the token its rights")
ALWAYS = Freeze(frozenset(range(7)), 0, 1440, "always")
FAILED = tuple(execution(n, started=-700.0 * n, ended=-650.0 * n, status="failed") for n in (1, 2))
OFTEN = tuple(execution(n, started=-700.0 * n, ended=-650.0 * n) for n in (1, 2, 3))
STORM = Storm(tuple(Slot(name, NOW - 10) for name in "abc"))


def turned_away(reason: Reason) -> MatchedAlert:
    return MatchedAlert(alert(), scenes.runbook() if reason is not Reason.NO_RUNBOOK else None, reason=reason)


def adapters(reason: Reason, book: Runbook) -> Card:
    """The first card that the core makes where this reason holds."""
    rules = scenes.rules(book, public_url=URL)
    found, event, what = document(), scenes.alerted(case(book=book)), seen()
    worlds: dict[Reason, Observation] = {
        Reason.PAUSED: seen(pause=Pause("upgrade", "anna")),
        Reason.SYMPTOM_GONE: seen(mail=scenes.sighting(0)),
        Reason.SYMPTOM_UNKNOWN: seen(mail=Unknown("RabbitMQ: answered 502")),
        Reason.LEDGER_UNKNOWN: seen(history=UNREAD),
        Reason.ALREADY_RUNNING: seen(execution(ended=None)),
        Reason.JOB_BUSY: seen(history=ledger(others=(execution(ended=None),))),
        Reason.ZOMBIE_EXECUTION: seen(execution(started=-4000.0, ended=None)),
        Reason.COOLDOWN: seen(execution(started=-300.0, ended=-290.0)),
        Reason.TOO_MANY_RESTARTS: seen(*OFTEN),
        Reason.FAILING: seen(*FAILED),
        Reason.TOO_MANY_TARGETS: seen(storm=STORM),
    }
    match reason:
        case Reason.INCIDENT_FULL:
            messages = scenes.moved(found, replace(event, left_out=5), with_rules=rules).document.to_tell
            return next(message.card for message in messages if "incident_full" in message.id)
        case Reason.ESCALATED:
            found = document(escalated_at=NOW - 600)
        case Reason.STALE_ALERT:
            event = scenes.alerted(case(book=book, starts_at=NOW - 3 * 86400))
        case Reason.RESTART_REFUSED:
            refused = StartResult("inc-1.1", refusal="no such job", remedy="name the job")
            return scenes.moved(scenes.starting(), refused, with_rules=rules).document.to_tell[0].card
        case Reason.DECLINED:
            asked = scenes.moved(found, event, what, with_rules=scenes.rules(replace(book, mode=Mode.APPROVE), public_url=URL))
            waiting = asked.document.incident
            assert waiting is not None
            no = Declined(waiting.nonce, "an operator")
            return scenes.moved(replace(asked.document, to_tell=()), no, with_rules=rules).document.to_tell[0].card
        case Reason.NOT_FIRING:
            over = scenes.incident(Phase.WAITING, triggers=(scenes.trigger(resolved_at=NOW),))
            return scenes.moved(document(over), TimerFired(), with_rules=rules).document.to_tell[0].card
        case Reason.NO_RUNBOOK | Reason.INVALID_OPTION | Reason.MONITORING_FAILURE | Reason.TEST_ALERT:
            found, event = Document("alert-1"), scenes.alerted(turned_away(reason))
    return scenes.moved(found, event, worlds.get(reason, what), with_rules=rules).document.to_tell[0].card


def book_of(reason: Reason, mode: Mode) -> Runbook:
    fitting = {Reason.OBSERVE_ONLY: Mode.OBSERVE, Reason.AWAITING_APPROVAL: Mode.APPROVE}.get(reason, mode)
    limits = Limits(restarts=((86400.0, 2),)) if reason is Reason.TOO_MANY_RESTARTS else Limits()
    return scenes.runbook(mode=fitting, limits=limits, freeze=(ALWAYS,) if reason is Reason.FROZEN else ())


def seen_by_people(card: Card) -> tuple[str, str, str, bool]:
    return card.kind, card.urgency, card.headline, any(url.startswith(f"{URL}/approve/") for _, url in card.links)


@pytest.mark.parametrize("mode", [Mode.AUTO, Mode.OBSERVE])
@pytest.mark.parametrize("reason", [reason for reason in Reason if reason is not Reason.DUPLICATE])
def test_a_hold_is_shown_as_it_would_be_told(reason: Reason, mode: Mode) -> None:
    """Kind, urgency, headline and approval link are those of the flow, for every reason that anybody is told of."""
    book = book_of(reason, mode)
    rules = scenes.rules(book, public_url=URL)
    shown = sample_cards.card("key", (case(book=book),), "held", reason, NOW, rules)
    assert seen_by_people(shown) == seen_by_people(adapters(reason, book))


def test_a_duplicate_is_told_to_nobody() -> None:
    """So there is nothing to show."""
    with pytest.raises(Unusable, match="nobody is notified"):
        sample_cards.card("key", (case(),), "held", Reason.DUPLICATE, NOW, scenes.rules())


def test_every_kind_can_be_shown() -> None:
    """Whatever people may get is a choice of --kind."""
    assert set(command.KINDS) == set(KINDS)


def text_of(here: Line, *arguments: str) -> str:
    return here.run("card", FIRING, "--channel", "console", *arguments, code=0).stdout


def test_an_escalation_lists_as_many_restarts_as_it_speaks_of(here: Line) -> None:
    """Two tries, two executions."""
    shown = text_of(here, "--kind", "escalated")
    assert "is still stuck after 2 restarts" in shown
    assert "1. execution 1843, succeeded, 30 s: still stuck" in shown
    assert "2. execution 1847, succeeded, 30 s" in shown


def test_a_recovery_takes_longer_than_its_restart(here: Line) -> None:
    """From the alert on, the restart's own time included."""
    shown = text_of(here, "--kind", "recovered")
    assert "recovered in 5 min" in shown
    assert "5 min from the alert, 1 min 30 s from the end of the restart" in shown


def test_a_reason_alone_means_a_hold(here: Line) -> None:
    """`--reason` needs no `--kind`."""
    assert "ACT NOW" in text_of(here, "--reason", "paused")


def test_a_bundle_is_one_card_of_all_targets(here: Line) -> None:
    """And `unsigned` speaks of none."""
    shown = text_of(here, "--kind", "bundle")
    assert shown.count("--- console") == 1
    assert "too many targets are stuck at once" in " ".join(shown.split())
    assert "service=mail-delivery" in shown
    assert "their signing key is missing" in text_of(here, "--kind", "unsigned")
