"""The JSON of Google Chat against what the platform publishes: protocol buffers."""

import functools

import pytest

from functions.adapters.chats import google_chat
from functions.domain.cards.card import compose
from functions.domain.model.messages import Card
from tests.support.worlds.example_stories import EXAMPLES, hostile, rules

every_card = pytest.mark.parametrize(
    ("card", "language"),
    [
        pytest.param((name, sort, language), language, id=f"{name}-{language}-{sort}", marks=marks)
        for language, sort, marks in (
            ("en", "plain", ()),
            ("ja", "plain", pytest.mark.long),
            ("en", "hostile", ()),
            ("ja", "hostile", pytest.mark.long),
        )
        for name in EXAMPLES
    ],
    indirect=["card"],
)


@pytest.fixture
def card(request: pytest.FixtureRequest) -> Card:
    return composed(*request.param)


@functools.cache
def composed(name: str, sort: str, language: str) -> Card:
    """Once for all tests, and not for workers that have none of them."""
    story = EXAMPLES[name]
    return compose(hostile(story) if sort == "hostile" else story, rules(language))


@every_card
def test_google_chat_messages_meet_the_protocol(card: Card, language: str):
    """Google's own message types: an unknown field or a wrong type is an error."""
    from google.apps.chat_v1 import Message
    from google.protobuf import json_format

    message = google_chat.render(card, language)
    json_format.ParseDict(message, Message.pb(Message()), ignore_unknown_fields=False)
