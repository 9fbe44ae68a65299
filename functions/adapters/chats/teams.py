"""Microsoft Teams, by a webhook of Workflows (Power Automate), as an Adaptive Card 1.4.

The documented limit is 28 KB, but one library measured that only 21 KB arrive (docs/decisions.md). Office 365 connectors
are retired. All untrusted text goes into text runs, which don't interpret Markdown. A mention needs an entity; only configured
ones get one."""

import re
from typing import Any
from urllib.parse import urlsplit

from msgspec import Struct

from functions.adapters.chats import _cards, _posting
from functions.application.ports import Chat, Finding
from functions.domain.model.messages import Card
from functions.domain.texts.words import log_title
from functions.runtime.errors import Denied
from functions.runtime.secrets import SecretRef

MAX_BYTES = 21_000
ACTIONS_IN_SET = 2  # a phone cuts off what stands further right
MENTION = re.compile(r"[^@\s<>]{1,64}@[A-Za-z0-9.-]{1,200}")
COLOURS = {"act": "attention", "watch": "warning", "fine": "good"}
NEW_FLOW = "make a new flow with the trigger 'When a Teams webhook request is received' and put its URL into the secret"
REMEDIES = dict.fromkeys((400, 401, 403, 404, 410), NEW_FLOW)


class Teams(Struct, frozen=True):
    """`url`: the flow's whole URL, with its sig. `mention` takes user principal names (addresses)."""

    url: SecretRef

    def post(self, card: Card, *, thread: str | None, language: str, timeout_s: float) -> None:
        """Post a new message. Teams' webhooks can neither reply nor edit."""
        message = render(card, language)
        answer = _posting.post("teams", _posting.webhook_url("teams", self.url), message, timeout_s=timeout_s)
        _posting.require_accepted(answer, self.url, REMEDIES, accepted=(200, 202))

    def check(self, *, timeout_s: float) -> list[Finding]:
        host = urlsplit(_posting.webhook_url("teams", self.url)).hostname or ""
        if host.endswith((".webhook.office.com", "outlook.office.com")):
            raise Denied("teams", "the URL belongs to a retired Office 365 connector", remedy=NEW_FLOW)
        return [_posting.NOT_TRIED]


def render(card: Card, language: str) -> dict[str, Any]:
    """The message as JSON."""
    return _cards.fit(card, language, _message, MAX_BYTES, _cards.json_bytes)


def _message(card: Card, language: str) -> dict[str, Any]:
    mentions = _cards.mentions(card, MENTION)
    entities = [{"type": "mention", "text": f"<at>{one}</at>", "mentioned": {"id": one, "name": one}} for one in mentions]
    content: dict[str, Any] = {
        "$schema": "http://adaptivecards.io/schemas/adaptive-card.json",
        "type": "AdaptiveCard",
        "version": "1.4",
        "fallbackText": _literal(card.headline),
        "body": _body(card, mentions, language),
        "msteams": {"width": "Full", "entities": entities},
    }
    attachment = {"contentType": "application/vnd.microsoft.card.adaptive", "contentUrl": None, "content": content}
    return {"type": "message", "attachments": [attachment]}


def _body(card: Card, mentions: list[str], language: str) -> list[dict[str, Any]]:
    headline = _runs(_run(_cards.headline(card), weight="bolder", size="large"))
    style = COLOURS.get(card.urgency, "default")
    body: list[dict[str, Any]] = [{"type": "Container", "style": style, "bleed": True, "items": [headline]}]
    if mentions:
        body.append({"type": "TextBlock", "wrap": True, "text": " ".join(f"<at>{mention}</at>" for mention in mentions)})
    body += [_runs(_run(text)) for text in card.text if text]
    actions = [{"type": "Action.OpenUrl", "title": _literal(label), "url": url} for label, url in card.links]
    for at in range(0, len(actions), ACTIONS_IN_SET):
        body.append({"type": "ActionSet", "actions": actions[at : at + ACTIONS_IN_SET]})
    facts = _cards.facts(card, language)
    body += [_runs(_run(f"{label}  ", weight="bolder"), _run(text), spacing="small") for label, text in facts]
    if card.evidence:
        lines = [_runs(_run(line, fontType="monospace", size="small"), spacing="none") for line in card.evidence if line]
        title = _runs(_run(log_title(card.evidence_title, language), weight="bolder"))
        body.append({"type": "Container", "style": "emphasis", "items": [title, *lines]})
    return body


def _runs(*runs: dict[str, Any], spacing: str = "default") -> dict[str, Any]:
    return {"type": "RichTextBlock", "spacing": spacing, "inlines": [run for run in runs if run["text"].strip()]}


def _run(text: str, **style: str) -> dict[str, Any]:
    return {"type": "TextRun", "text": _literal(text), **style}


def _literal(text: str) -> str:
    """Break up what Teams, or a template engine before it, interprets: `<at>`, `{{DATE(...)}}`, `${...}`."""
    return re.sub(r"(?<=[{$])(?={)", " ", text.replace("<", "‹").replace(">", "›"))


ADAPTER: type[Chat] = Teams
