"""Room: Microsoft Teams, by a webhook of Workflows (Power Automate), as an Adaptive Card 1.4.

The platform takes 28 KB, of which 21 KB were measured to arrive (docs/decisions/chats.md). Office 365 connectors are retired.
All untrusted text goes into text runs, which know no Markdown; a mention needs an entity, which only configured ones get.
"""

from __future__ import annotations

import json
import re
from typing import Any
from urllib.parse import urlsplit

from msgspec import Struct

from functions.adapters.chats import _plain
from functions.application.ports import Finding
from functions.domain.model.messages import Card
from functions.domain.texts.words import curve_words, say
from functions.runtime.errors import Denied
from functions.runtime.secrets import SecretRef

MAX_BYTES = 21_000
ACTIONS_IN_SET = 4
"""Teams shows up to six actions of a set; four fit on a phone."""

MENTION = re.compile(r"[^@\s<>]{1,64}@[A-Za-z0-9.-]{1,200}")
COLOURS = {"act": "attention", "watch": "warning", "fine": "good"}
NEW_FLOW = "make a new flow with the trigger 'When a Teams webhook request is received' and put its URL into the secret"
REMEDIES = dict.fromkeys((400, 401, 403, 404, 410), NEW_FLOW)


class Settings(Struct, frozen=True):
    """`url`: the whole URL of the flow, with its sig. Who is mentioned is named by user principal name (an address)."""

    url: SecretRef


def render(card: Card, language: str) -> dict[str, Any]:
    """The message as JSON."""
    return _plain.fitted(card, language, lambda shown: _message(shown, language), _fits)


def _fits(message: dict[str, Any]) -> bool:
    return len(json.dumps(message, ensure_ascii=False).encode()) < MAX_BYTES


def _message(card: Card, language: str) -> dict[str, Any]:
    mentions = [mention for mention in card.mention if MENTION.fullmatch(mention)]
    content: dict[str, Any] = {
        "$schema": "http://adaptivecards.io/schemas/adaptive-card.json",
        "type": "AdaptiveCard",
        "version": "1.4",
        "fallbackText": _literal(card.headline),
        "body": _body(card, mentions, language),
        "msteams": {"width": "Full", "entities": [_entity(mention) for mention in mentions]},
    }
    attachment = {"contentType": "application/vnd.microsoft.card.adaptive", "contentUrl": None, "content": content}
    return {"type": "message", "attachments": [attachment]}


def _body(card: Card, mentions: list[str], language: str) -> list[dict[str, Any]]:
    headline = f"{_plain.SIGNS.get(card.urgency, '•')} {card.headline}"
    style = COLOURS.get(card.urgency, "default")
    body: list[dict[str, Any]] = [
        {"type": "Container", "style": style, "bleed": True, "items": [_runs(_run(headline, weight="bolder", size="large"))]}
    ]
    if mentions:
        body.append({"type": "TextBlock", "wrap": True, "text": " ".join(f"<at>{mention}</at>" for mention in mentions)})
    body += [_runs(_run(text)) for text in card.text if text]
    body += [_runs(_run(f"{label}  ", weight="bolder"), _run(text), spacing="small") for label, text in card.facts]
    if bars := _plain.sparkline(card.curve):
        words = curve_words(card.curve, language)
        body.append(_runs(_run(f"{say(language, 'curve')}  ", weight="bolder"), _run(f"{bars} {words}"), spacing="small"))
    if card.evidence:
        lines = [_runs(_run(line, fontType="monospace", size="small"), spacing="none") for line in card.evidence if line]
        title = _runs(_run(say(language, "evidence"), weight="bolder"))
        body.append({"type": "Container", "style": "emphasis", "items": [title, *lines]})
    actions = [{"type": "Action.OpenUrl", "title": _literal(label), "url": url} for label, url in card.links]
    for at in range(0, len(actions), ACTIONS_IN_SET):
        body.append({"type": "ActionSet", "actions": actions[at : at + ACTIONS_IN_SET]})
    return body


def _runs(*runs: dict[str, Any], spacing: str = "default") -> dict[str, Any]:
    return {"type": "RichTextBlock", "spacing": spacing, "inlines": [run for run in runs if run["text"].strip()]}


def _run(text: str, **style: str) -> dict[str, Any]:
    return {"type": "TextRun", "text": _literal(text), **style}


def _literal(text: str) -> str:
    """Without what Teams or a template engine before it gives a meaning to: `<at>`, `{{DATE(...)}}`, `${...}`."""
    return re.sub(r"(?<=[{$])(?={)", " ", text.replace("<", "‹").replace(">", "›"))


def _entity(mention: str) -> dict[str, Any]:
    return {"type": "mention", "text": f"<at>{mention}</at>", "mentioned": {"id": mention, "name": mention}}


def post(settings: Settings, card: Card, *, thread: str | None, language: str, timeout_s: float) -> None:
    """Post a new message: Teams' webhooks can neither reply nor edit."""
    message = render(card, language)
    answer = _plain.send("teams", _plain.webhook_url("teams", settings.url), message, timeout_s=timeout_s)
    if answer.status not in (200, 202):
        raise _plain.refused("teams", answer, settings.url, REMEDIES)


def check(settings: Settings, *, timeout_s: float) -> list[Finding]:
    """Only the shape of the URL can be known without posting."""

    def look() -> str:
        host = urlsplit(_plain.webhook_url("teams", settings.url)).hostname or ""
        if host.endswith((".webhook.office.com", "outlook.office.com")):
            raise Denied("teams", "the URL is of a retired Office 365 connector", remedy=NEW_FLOW)
        return "a webhook can't be tried without posting"

    return _plain.checked("teams", look, ok=None)
