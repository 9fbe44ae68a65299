"""Mattermost, by an incoming webhook: separate messages in Markdown, of 16,383 characters at most."""

from __future__ import annotations

import re

from msgspec import Struct

from functions.adapters.chats import _plain_text, _shared
from functions.application.ports import Chat, Finding
from functions.domain.model.cards import Card
from functions.runtime.secrets import SecretRef

SYSTEM = "mattermost"
MAX_UNITS = 14_000
"""Below the headline and the mentions."""

MENTION = re.compile(r"@[a-z0-9][a-z0-9._-]{0,63}")
NEW_WEBHOOK = "make a new incoming webhook in Mattermost and put its URL into the secret"
REMEDIES = dict.fromkeys((400, 401, 403, 404), NEW_WEBHOOK)


class Mattermost(Struct, frozen=True):
    """`url`: the whole URL of the incoming webhook. `mention` takes `@name`, `@here`, `@channel` and `@all`."""

    url: SecretRef

    def post(self, card: Card, *, thread: str | None, language: str, timeout_s: float) -> None:
        """Post a new message. The webhook can neither reply nor edit."""
        url = _shared.webhook_url(SYSTEM, self.url)
        answer = _shared.post(SYSTEM, url, render(card, language), timeout_s=timeout_s)
        _shared.require_accepted(answer, self.url, REMEDIES)

    def check(self, *, timeout_s: float) -> list[Finding]:
        """Check the URL's form. More can't be known without posting."""
        _shared.webhook_url(SYSTEM, self.url)
        return [_shared.NOT_TRIED]


def render(card: Card, language: str) -> dict[str, str]:
    """The message as JSON."""
    card = _shared.clean_card(card, language)
    title = _plain_text.escape_markup(_shared.show_headline(card))
    body = _plain_text.lay_out_body(card, language, MAX_UNITS, _plain_text.escape_markup)
    return {"text": f"{_plain_text.write_mentions(card, MENTION)}**{title}**\n\n{body}"}


ADAPTER: type[Chat] = Mattermost
