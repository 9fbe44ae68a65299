"""The same hold again within the hour: nobody is told twice, and the first card doesn't grow old."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pytest
from msgspec.structs import replace

from functions.application.intake import handle_notification
from functions.domain.model.codes import Ending, Reason
from functions.domain.model.incidents import Outcome
from functions.domain.model.messages import Card
from functions.runtime.errors import Denied, Unavailable
from tests.support.worlds.memory import Memory
from tests.support.worlds.scenes import NOW, TARGET, case, snapshot

MINUTE_S = 60.0


@dataclass
class Changeable:
    """A chat that changes its cards, as Slack does. `error`: what it answers instead."""

    cards: list[Card] = field(default_factory=list)
    changed: list[Card] = field(default_factory=list)
    error: Exception | None = None

    def post(self, card: Card, *, thread: str | None, language: str, timeout_s: float) -> str | None:
        self.cards.append(card)
        return "thread-1"

    def update(self, card: Card, *, thread: str, language: str, timeout_s: float) -> str | None:
        assert thread == "thread-1"
        if self.error is not None:
            raise self.error
        self.changed.append(card)
        return thread

    def check(self, *, timeout_s: float) -> list[Any]:
        return []


@dataclass
class Town(Memory):
    """`everybody`'s chat can't change what it posted."""

    chat: Changeable = field(default_factory=Changeable)

    @property
    def chats(self) -> dict[str, Any]:
        return {"ops": self.chat, "everybody": super().chats.get("everybody")}

    def alerted(self, minutes: float, depth: int = 50) -> None:
        """The alert comes this long after the first, while the kill switch is on."""
        self.clock = NOW + minutes * MINUTE_S
        self.mail = lambda at: snapshot(depth, at=at)
        handle_notification(self, [case()], self.budget())


@pytest.fixture
def town() -> Town:
    paused = Town()
    paused.pause()
    paused.alerted(0)
    return paused


def depth_of(card: Card) -> str:
    return dict(card.facts)["Queue"]


def test_the_first_card_says_when_the_next_one_comes(town: Town):
    """So nobody wonders whether Unstick has forgotten it. And that is when it comes."""
    (first,) = town.chat.cards
    assert "If nothing changes, the next message comes after 2027-01-15 09:00:00 UTC." in first.text
    town.alerted(59)
    assert len(town.chat.cards) == 1
    town.alerted(61)
    assert len(town.chat.cards) == 2


def test_the_card_is_brought_up_to_date_every_ten_minutes_at_most(town: Town):
    """With the current figures, the incident that people know, and no mention. Where nothing is due, nothing is written."""
    town.alerted(9)
    writes = town.names.count(f"save {TARGET.key}")
    town.alerted(9.5)
    assert (town.chat.changed, town.names.count(f"save {TARGET.key}")) == ([], writes)
    town.alerted(11, depth=70)
    (card,) = town.chat.changed
    assert card.text[-2:] == (
        "Still so at 2027-01-15 08:11:00 UTC.",
        "If nothing changes, the next message comes after 2027-01-15 09:00:00 UTC.",
    )
    assert ("70" in depth_of(card), card.incident) == (True, town.chat.cards[0].incident)
    town.alerted(15)
    town.alerted(22)
    assert [one.at - NOW for one in town.chat.changed] == pytest.approx([660.0, 1320.0], abs=1.0)
    assert (len(town.chat.cards), town.document(TARGET.key).to_tell) == (1, ())


@pytest.mark.parametrize("error", [Unavailable("slack", "answered 503"), Denied("slack", "is_archived")])
def test_a_card_that_can_not_be_changed_keeps_nobody_waiting(town: Town, error: Exception):
    """Messages behind it are posted; the next update tries again."""
    town.chat.error = error
    town.alerted(11)
    assert town.document(TARGET.key).to_tell == ()
    town.chat.error = None
    town.alerted(22)
    assert len(town.chat.changed) == 1


def test_a_chat_that_only_posts_hears_nothing_more(town: Town):
    """Without a thread there is no card to change, and nothing is written."""
    held = town.document(TARGET.key)
    town.put(TARGET.key, replace(held, threads={}))
    town.posts.clear()
    town.alerted(20)
    assert (town.chat.changed, town.document(TARGET.key).to_tell, town.posts) == ([], (), [])


def test_a_card_that_shows_an_end_is_left_alone(town: Town):
    """The incident went on after its hold, and its card says how it ended."""
    held = town.document(TARGET.key)
    ended = Outcome(town.chat.cards[0].incident, Ending.RECOVERED, None, NOW + 60.0, (), channels=("ops",))
    town.put(TARGET.key, replace(held, outcomes=(ended,)))
    town.alerted(20)
    assert town.chat.changed == []
    town.put(TARGET.key, replace(held, outcomes=(replace(ended, ending=Ending.HELD, reason=Reason.PAUSED),)))
    town.alerted(21)
    assert len(town.chat.changed) == 1
