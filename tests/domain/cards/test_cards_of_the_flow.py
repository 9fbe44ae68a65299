"""What people get in a real incident is what the gallery promises: the examples' figures are not set by hand alone."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from msgspec import field

from functions.bootstrap import Adapters
from functions.domain.cards.card import compose
from functions.domain.model.codes import Reason
from functions.domain.model.messages import Card
from tests.support.worlds.example_stories import EXAMPLES, held, rules
from tests.support.worlds.memory import EveryChannel
from tests.support.worlds.stuck_mail import StuckMail, stuck_mail

pytestmark = pytest.mark.usefixtures("patient_code")


class Overheard(Adapters, frozen=True):
    """The real outside; what it posts is kept instead."""

    cards: list[Card] = field(default_factory=list)

    @property
    def chats(self) -> EveryChannel:
        return EveryChannel(self)

    def post(self, channel: str, card: Card, thread: str | None, timeout_s: float) -> str | None:
        self.cards.append(card)
        return None


@contextmanager
def overheard(folder: Path, mode: str) -> Iterator[tuple[StuckMail, list[Card]]]:
    with stuck_mail(folder, mode=mode) as mail:
        ports = Overheard(mail.ports.config)
        mail.ports = ports
        yield mail, ports.cards


def shape(card: Card) -> dict[str, object]:
    """What a card has, whatever the figures are."""
    queue = re.sub(r"[\d,]+", "N", dict(card.facts)["Queue"])
    labels = [label for label, _ in card.facts]
    return {"kind": card.kind, "urgency": card.urgency, "facts": labels, "queue": queue, "curve": len(card.curve) > 1}


@pytest.mark.parametrize(
    ("mode", "example"),
    [
        ("approve", EXAMPLES["held-awaiting-approval"]),
        ("observe", EXAMPLES["held-observe-only"]),
        ("paused", held(Reason.PAUSED)),
        ("auto", EXAMPLES["started"]),
    ],
)
def test_the_first_card_says_how_many_messages_are_stuck(tmp_path: Path, mode: str, example: object) -> None:
    """Before any restart the figures are those of the look that decided, and nothing in the gallery is missing."""
    with overheard(tmp_path, "auto" if mode == "paused" else mode) as (mail, cards):
        if mode == "paused":
            mail.pause("broker upgrade")
        mail.alert()
    (card,) = cards
    assert dict(card.facts)["Queue"] == "mail.outgoing: 362 messages, 1 consumer"
    assert shape(card) == shape(compose(example, rules()))  # type: ignore[arg-type]
    assert ("Approve the restart" in dict(card.links)) is (mode == "approve")
