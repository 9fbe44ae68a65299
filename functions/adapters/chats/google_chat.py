"""Room: Google Chat, by a space's incoming webhook: a thread per incident without any state, and idempotent posts.

Documented (developers.google.com/workspace/chat): a message with cards takes 32,000 bytes; `thread.threadKey` counts only with
`messageReplyOption`; a `requestId` that was used already returns the first message instead of posting a second one.
"""

from __future__ import annotations

import json
import re
import uuid
from html import escape
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit

from msgspec import Struct, to_builtins

from functions.adapters.chats import _plain, _texts
from functions.application.ports import Finding
from functions.domain.model.messages import Card
from functions.domain.texts.words import curve_words, say
from functions.runtime.errors import Denied
from functions.runtime.secrets import SecretRef

MAX_BYTES = 32_000
LINES_OPEN = 3
"""The log's last lines, which show before it is unfolded."""

REPLY = "REPLY_MESSAGE_FALLBACK_TO_NEW_THREAD"
MENTION = re.compile(r"<users/[A-Za-z0-9._@-]{1,80}>")
REMEDIES = dict.fromkeys((401, 403, 404), "make a new webhook in the space (Apps & integrations) and put its URL into the secret")


class Settings(Struct, frozen=True):
    """`url`: the webhook's whole URL, with its key and token."""

    url: SecretRef


def render(card: Card, language: str) -> dict[str, Any]:
    """The message as JSON."""
    return _plain.fitted(card, language, lambda shown: _message(shown, language), _fits)


def _fits(message: dict[str, Any]) -> bool:
    return len(json.dumps(message, ensure_ascii=False).encode()) < MAX_BYTES


def _message(card: Card, language: str) -> dict[str, Any]:
    headline = _unmarked(f"{_plain.SIGNS.get(card.urgency, '•')} {card.headline}")
    paragraphs = (f"<b>{_escaped(card.headline)}</b>" if card.headline else "", _escaped("\n\n".join(card.text)))
    widgets: list[dict[str, Any]] = [{"textParagraph": {"text": text}} for text in paragraphs if text]
    widgets += [_fact(label, text) for label, text in card.facts]
    if bars := _plain.sparkline(card.curve):
        widgets.append(_fact(say(language, "curve"), f"{bars}\n{curve_words(card.curve, language)}"))
    sections: list[dict[str, Any]] = [{"widgets": widgets}] if widgets else []
    if card.evidence:
        parts = [part for part in (card.evidence[-LINES_OPEN:], card.evidence[:-LINES_OPEN]) if part]
        sections.append(
            {
                "header": _escaped(say(language, "evidence")),
                "collapsible": True,
                "uncollapsibleWidgetsCount": 1,
                "widgets": [{"textParagraph": {"text": _escaped("\n".join(part))}} for part in parts],
            }
        )
    if card.links:
        buttons = [{"text": _unmarked(label), "onClick": {"openLink": {"url": url}}} for label, url in card.links]
        sections.append({"widgets": [{"buttonList": {"buttons": buttons}}]})
    header = _header(card, language)
    message: dict[str, Any] = {"cardsV2": [{"cardId": "incident", "card": {"header": header, "sections": sections}}]}
    mentions = [mention for mention in card.mention if MENTION.fullmatch(mention)]
    if mentions:
        message["text"] = " ".join((*mentions, _texts.literal(headline)))
    else:
        message["fallbackText"] = headline
    if card.incident:
        message["thread"] = {"threadKey": _unmarked(card.incident)}
    return message


def _header(card: Card, language: str) -> dict[str, str]:
    """Title and subtitle have one line each, which a headline does not fit into; it stands in full below."""
    words = say(language, card.urgency) if card.urgency in _plain.SIGNS else card.headline
    facts = dict(card.facts)
    subject = facts.get(say(language, "target")) or facts.get(say(language, "alert"))
    title = {"title": _unmarked(f"{_plain.SIGNS.get(card.urgency, '•')} {words}")}
    return {**title, "subtitle": _unmarked(subject)} if subject else title


def _fact(label: str, text: str) -> dict[str, Any]:
    top = {"topLabel": _escaped(label)} if label else {}
    return {"decoratedText": {**top, "text": _escaped(text), "wrapText": True}}


def _escaped(text: str) -> str:
    """Cards know the entities of these three; quotation marks need none."""
    return escape(text, quote=False)


def _unmarked(text: str) -> str:
    """For places that have no escape: angle brackets mention and link, so they become look-alikes."""
    return text.replace("<", "‹").replace(">", "›")


def post(settings: Settings, card: Card, *, thread: str | None, language: str, timeout_s: float) -> None:
    """Post into the incident's thread; the same card again is not posted twice. The thread's key is the incident's id."""
    message = render(card, language)
    parts = urlsplit(_plain.webhook_url("google_chat", settings.url))
    query = dict(parse_qsl(parts.query)) | {"messageReplyOption": REPLY, "requestId": request_id(card)}
    answer = _plain.send("google_chat", parts._replace(query=urlencode(query)).geturl(), message, timeout_s=timeout_s)
    if answer.status != 200:
        raise _plain.refused("google_chat", answer, settings.url, REMEDIES)


def request_id(card: Card) -> str:
    """The same for the same card, whoever posts it and when. A link that is signed anew does not make it another card."""
    body = to_builtins(card)
    body["links"] = [label for label, _ in card.links]
    return str(uuid.uuid5(uuid.NAMESPACE_OID, json.dumps(body, sort_keys=True, default=str)))


def check(settings: Settings, *, timeout_s: float) -> list[Finding]:
    """Only the shape of the URL can be known without posting."""

    def look() -> str:
        query = dict(parse_qsl(urlsplit(_plain.webhook_url("google_chat", settings.url)).query))
        if not {"key", "token"} <= query.keys():
            raise Denied("google_chat", "the URL lacks key or token", remedy="copy the webhook's whole URL into the secret")
        return "a webhook can't be tried without posting"

    return _plain.checked("google_chat", look, ok=None)
