"""Chatwork, by an account's API token: separate messages in one room.

Documented (developer.chatwork.com): forms, not JSON; 300 requests in five minutes. The maximum length of a message is not
documented: 40,000 bytes were accepted and 80,000 refused (docs/decisions.md)."""

import re
from typing import Annotated
from urllib.parse import urlencode

from msgspec import Struct

from functions.adapters.chats import _plain_text, _shared
from functions.application.ports import Chat, Finding
from functions.domain.model.cards import Card
from functions.runtime import http_client
from functions.runtime.secrets import SecretRef
from functions.runtime.structs import written

MAX_UNITS = 12_000  # characters below the headline. Each takes at most three bytes in UTF-8, so 36,000 bytes
NOTATION = re.compile(r"\[(?=\s*/?\s*[^\W\d_])")
MENTION = re.compile(r"\[(?:toall|To:\d{1,15})\]")
FORM = "application/x-www-form-urlencoded"
JOIN_ROOM = "set `room` to the number behind `rid` in the room's address, and add the token's account to the room"
REMEDIES = {401: "put a valid API token into the secret", 403: JOIN_ROOM, 404: JOIN_ROOM}


class Chatwork(Struct, frozen=True):
    """`token`: the posting account's API token. `room`: the number after `rid` in the room's address."""

    token: SecretRef
    room: int
    base_url: Annotated[str, written("base-url")] = "https://api.chatwork.com/v2"

    def post(self, card: Card, *, thread: str | None, language: str, timeout_s: float) -> None:
        """Post a new message. It is also unread for the token's own account, which may be a person's."""
        form = urlencode({"body": render(card, language), "self_unread": 1}).encode()
        headers = {**self._token_header(), "Content-Type": FORM}
        answer = _shared.post("chatwork", f"{self._room_url()}/messages", form, timeout_s=timeout_s, headers=headers)
        _shared.require_accepted(answer, self.token, REMEDIES)

    def _room_url(self) -> str:
        return f"{self.base_url.rstrip('/')}/rooms/{self.room}"

    def _token_header(self) -> dict[str, str]:
        return {"X-ChatWorkToken": self.token.read().decode(errors="replace").strip()}

    def check(self, *, timeout_s: float) -> list[Finding]:
        """Read the room, which needs a valid token of one of its members."""
        answer = http_client.request("chatwork", "GET", self._room_url(), timeout_s=timeout_s, headers=self._token_header())
        _shared.require_accepted(answer, self.token, REMEDIES)
        return [Finding("chatwork", ok=True, detail="the token is valid, and its account is in the room")]


def render(card: Card, language: str) -> str:
    """The message in Chatwork's notation."""
    card = _shared.clean_card(card, language)
    title = _literal(_shared.show_headline(card))
    body = _plain_text.lay_out_body(card, language, MAX_UNITS, _literal)
    return f"{_plain_text.write_mentions(card, MENTION)}[info][title]{title}[/title]{body}[/info]"


def _literal(text: str) -> str:
    """Chatwork has no escape, so a bracket that may begin a tag is replaced by a look-alike."""
    return NOTATION.sub("［", text)


ADAPTER: type[Chat] = Chatwork
