"""Room: Chatwork, by the API token of an account: separate messages in one of its rooms.

Documented (developer.chatwork.com): forms, not JSON; 300 requests in five minutes. How long a message may be is not: 40,000 bytes
were seen to be taken and 80,000 to be refused (docs/decisions/chats.md).
"""

from __future__ import annotations

import re
from urllib.parse import urlencode

from msgspec import Struct

from functions.adapters.chats import _plain, _texts
from functions.application.ports import Finding
from functions.domain.model.messages import Card
from functions.runtime import http_client
from functions.runtime.secrets import SecretRef

MAX_UNITS = 12_000
"""Below the headline; at most three bytes each in UTF-8, so 36,000."""

NOTATION = re.compile(r"\[(?=\s*/?\s*[^\W\d_])")
MENTION = re.compile(r"\[(?:toall|To:\d{1,15})\]")
FORM = "application/x-www-form-urlencoded"
NOT_IN = "set `room` to the number behind `rid` in the room's address, and let the token's account join it"
REMEDIES = {401: "put a valid API token into the secret", 403: NOT_IN, 404: NOT_IN}


class Settings(Struct, frozen=True):
    """`token`: the API token of the account that posts. `room`: the number behind `rid` in the room's address."""

    token: SecretRef
    room: int
    base_url: str = "https://api.chatwork.com/v2"


def render(card: Card, language: str) -> str:
    """The message in Chatwork's notation."""
    card = _plain.cleaned(card, language)
    title = _literal(f"{_plain.SIGNS.get(card.urgency, '•')} {card.headline}")
    body = _texts.below(card, language, MAX_UNITS, _literal)
    return f"{_texts.mentioned(card, MENTION)}[info][title]{title}[/title]{body}[/info]"


def _literal(text: str) -> str:
    """Chatwork has no escape, so a bracket that may begin a tag becomes a look-alike."""
    return NOTATION.sub("［", text)


def post(settings: Settings, card: Card, *, thread: str | None, language: str, timeout_s: float) -> None:
    """Post a new message, unread for the token's own account too, since that may be a person's."""
    form = urlencode({"body": render(card, language), "self_unread": 1}).encode()
    headers = {**_token(settings), "Content-Type": FORM}
    answer = _plain.send("chatwork", f"{_room(settings)}/messages", form, timeout_s=timeout_s, headers=headers)
    if answer.status != 200:
        raise _plain.refused("chatwork", answer, settings.token, REMEDIES)


def _room(settings: Settings) -> str:
    return f"{settings.base_url.rstrip('/')}/rooms/{settings.room}"


def _token(settings: Settings) -> dict[str, str]:
    return {"X-ChatWorkToken": settings.token.read().decode(errors="replace").strip()}


def check(settings: Settings, *, timeout_s: float) -> list[Finding]:
    """Asking for the room takes a valid token of one of its members."""

    def look() -> str:
        answer = http_client.request("chatwork", "GET", _room(settings), timeout_s=timeout_s, headers=_token(settings))
        if answer.status != 200:
            raise _plain.refused("chatwork", answer, settings.token, REMEDIES)
        return "the token is valid, and its account is in the room"

    return _plain.checked("chatwork", look, ok=True)
