"""Google Chat, by a space's incoming webhook: one thread per incident without stored state, and idempotent posts.

Documented (developers.google.com/workspace/chat): a message with cards may have 32,000 bytes; `thread.threadKey` counts only
with `messageReplyOption`; a repeated `requestId` returns the first message and doesn't post again."""

import json
import re
import uuid
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit

from msgspec import Struct, to_builtins
from msgspec.structs import replace

from functions.adapters.chats import _plain_text, _shared
from functions.application.ports import Chat, Finding
from functions.domain.model.cards import Card
from functions.domain.texts.words import ALERT, log_title
from functions.runtime.errors import Denied
from functions.runtime.secrets import SecretRef
from functions.runtime.text import in_language

MAX_BYTES = 32_000

REPLY = "REPLY_MESSAGE_FALLBACK_TO_NEW_THREAD"
MENTION = re.compile(r"<users/[A-Za-z0-9._@-]{1,80}>")
REMEDIES = dict.fromkeys((401, 403, 404), "make a new webhook in the space (Apps & integrations) and put its URL into the secret")


class GoogleChat(Struct, frozen=True):
    """`url`: the webhook's whole URL."""

    url: SecretRef

    def post(self, card: Card, *, thread: str | None, language: str, timeout_s: float) -> None:
        """Post into the incident's thread, whose key is the incident's id. Never posts the same card twice."""
        message = render(card, language)
        parts = urlsplit(_shared.webhook_url("google_chat", self.url))
        query = dict(parse_qsl(parts.query)) | {"messageReplyOption": REPLY, "requestId": _request_id(card)}
        answer = _shared.post("google_chat", parts._replace(query=urlencode(query)).geturl(), message, timeout_s=timeout_s)
        _shared.require_accepted(answer, self.url, REMEDIES)

    def check(self, *, timeout_s: float) -> list[Finding]:
        query = dict(parse_qsl(urlsplit(_shared.webhook_url("google_chat", self.url)).query))
        if not {"key", "token"} <= query.keys():
            raise Denied("google_chat", "the URL lacks key or token", remedy="copy the webhook's whole URL into the secret")
        return [_shared.NOT_TRIED]


def render(card: Card, language: str) -> dict[str, Any]:
    """The card as the JSON that Google Chat's webhook takes."""
    return _shared.fit(card, language, _message, MAX_BYTES, lambda message: len(json.dumps(message, ensure_ascii=False).encode()))


def _message(card: Card, language: str) -> dict[str, Any]:
    headline = _replace_brackets(_shared.show_headline(card))
    paragraphs = (
        f"<b>{_shared.escape_tags(card.headline)}</b>" if card.headline else "",
        _shared.escape_tags("\n\n".join(card.text)),
    )
    widgets: list[dict[str, Any]] = [{"textParagraph": {"text": text}} for text in paragraphs if text]
    sections: list[dict[str, Any]] = [{"widgets": widgets}] if widgets else []
    if card.links:
        buttons = [{"text": _replace_brackets(label), "onClick": {"openLink": {"url": url}}} for label, url in card.links]
        sections.append({"widgets": [{"buttonList": {"buttons": buttons}}]})
    if shown := [_fact(label, text) for label, text in _shared.list_facts(card, language, between="\n")]:
        sections.append({"widgets": shown})
    if card.evidence:
        log = {"textParagraph": {"text": _shared.escape_tags("\n".join(card.evidence))}}
        sections.append({"header": _shared.escape_tags(log_title(card.evidence_title, language)), "widgets": [log]})
    header = _header(card, language)
    message: dict[str, Any] = {"cardsV2": [{"cardId": "incident", "card": {"header": header, "sections": sections}}]}
    if mentions := _shared.find_mentions(card, MENTION):
        message["text"] = " ".join((*mentions, _plain_text.escape_markup(headline)))
    else:
        message["fallbackText"] = headline
    if card.incident:
        message["thread"] = {"threadKey": _replace_brackets(card.incident)}
    return message


def _header(card: Card, language: str) -> dict[str, str]:
    """Title and subtitle, one line each. The headline is longer, so the body has it in full."""
    words = re.split("[:：]", card.headline, maxsplit=1)[0]
    subject = dict(card.facts).get(in_language(language, ALERT))
    title = {"title": _replace_brackets(_shared.show_headline(replace(card, headline=words)))}
    return {**title, "subtitle": _replace_brackets(subject)} if subject else title


def _fact(label: str, text: str) -> dict[str, Any]:
    top = {"topLabel": _shared.escape_tags(label)} if label else {}
    return {"decoratedText": {**top, "text": _shared.escape_tags(text), "wrapText": True}}


def _replace_brackets(text: str) -> str:
    """Replace angle brackets, which mention and link, by look-alikes. For places without an escape."""
    return text.replace("<", "‹").replace(">", "›")


def _request_id(card: Card) -> str:
    """The same for the same card, whoever posts it and when. A newly signed link doesn't change it."""
    body = to_builtins(card)
    body["links"] = [label for label, _ in card.links]
    return str(uuid.uuid5(uuid.NAMESPACE_OID, json.dumps(body, sort_keys=True, default=str)))


ADAPTER: type[Chat] = GoogleChat
