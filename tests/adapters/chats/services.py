"""Stand-ins for chats that take text: Chatwork, and services behind apprise, each with its own limit and pings; and DOUBLES.

A new chat needs a stand-in here or in platforms.py, and its line in DOUBLES; test_chats.py does the rest.
Limits and their sources: docs/decisions.md.
"""

import json
import re
from types import SimpleNamespace
from typing import Any

import pytest
import requests

from functions.domain.model.cards import Card
from functions.runtime.secrets import SecretRef
from tests.adapters.chats import platforms
from tests.adapters.chats.platforms import SECRET, Call, HttpAnswer, Platform

ROOM = 123456789

DRAWN = re.compile(
    r"```"
    r"|\*[^*\n]+\*|~[^~\n]+~|\|\|.+?\|\|"
    r"|(?<![^\W_])_(?=\S)[^\n]*?\S?_(?![^\W_])|__[^\n]+?__"
    r"|(?m:^\s*(?:#{1,6}|>|-#|[*+-])\s)"
    r"|\]\(|:(?!\d\d?:)[a-z0-9_+-]+:",
    re.IGNORECASE,
)
"""What Discord, Mattermost or Rocket.Chat would not draw literally."""


def drawn(text: str) -> list[str]:
    """What is drawn as markup. Nothing inside `code` is, and addresses are checked separately."""
    without = re.sub(r"`[^`\n]+`", "", text)
    return DRAWN.findall(re.sub(r"https?://\S+", "", without)) + re.findall("`", without)


def linked(text: str) -> list[str]:
    """The links that a reader can open. An autolinker ends at these characters and ignores code."""
    return re.findall(r"https?://[^\s<>()\[\]*~|]+", re.sub(r"`[^`\n]+`", "", text))


def units(text: str) -> int:
    """Length in UTF-16, the stricter of the two ways platforms count characters."""
    return len(text.encode("utf-16-le")) // 2


def links_that_stay(card: Card) -> tuple[tuple[str, str], ...]:
    """The links of a card that was cut: those up to its incident's page, which has the others."""
    pages = [place for place, (_, url) in enumerate(card.links, 1) if card.incident and f"/incidents/{card.incident}" in url]
    return card.links[: pages[0]] if pages else card.links


class Service(Platform):
    """One text in one field, with one limit."""

    path = ""
    field_name = "text"
    limit = 0
    pinging = r"@(?:all|channel|everyone|here)\b"

    def text(self, body: Any) -> str:
        return str(body.get(self.field_name, ""))

    def problem(self, call: Call) -> str:
        if call.path != self.path:
            return "unknown path"
        if set(call.body) - {self.field_name, "tts", "wait", "avatar_url", "avatar", "username", "channel", "icon_url"}:
            return "a field that nobody expects"
        return "" if 1 <= units(self.text(call.body)) <= self.limit else f"{self.limit} characters at most"

    def accepted(self, call: Call) -> HttpAnswer:
        return HttpAnswer(200, '{"success": true}')

    def pings(self, body: Any) -> list[str]:
        return re.findall(self.pinging, self.text(body))


class Discord(Service):
    path = f"/api/webhooks/1234567890/{SECRET}"
    field_name = "content"
    limit = 2000
    pinging = r"@(?:everyone|here)\b|<@[!&]?\d+>"

    def secret(self) -> str:
        return f"discord://1234567890/{SECRET}"

    def installed(self, monkeypatch: pytest.MonkeyPatch) -> None:
        from apprise.plugins.discord import NotifyDiscord

        monkeypatch.setattr(NotifyDiscord, "notify_url", f"{self.url}/api/webhooks")

    def accepted(self, call: Call) -> HttpAnswer:
        return HttpAnswer(204)


class Chatwork(Service):
    mention = "[toall]"
    secret_is_url = False
    path = f"/v2/rooms/{ROOM}/messages"
    field_name = "body"
    limit = 65_535
    pinging = r"(?i)\[(?:toall|to:\s*\d+|rp\s|返信)[^\]]*\]"

    def secret(self) -> str:
        return SECRET

    def chat(self, adapter: type[Any], secret: SecretRef) -> Any:
        return adapter(token=secret, room=ROOM, base_url=f"{self.url}/v2")

    def problem(self, call: Call) -> str:
        if call.token != SECRET:
            return "Invalid API token"
        if call.method == "GET":
            return "" if call.path == f"/v2/rooms/{ROOM}" else "unknown room"
        if call.path != self.path or set(call.body) - {"body", "self_unread"}:
            return "unknown path or parameter"
        return "" if 1 <= len(self.text(call.body).encode()) <= self.limit else "Parameter 'body' is too long or missing"

    def accepted(self, call: Call) -> HttpAnswer:
        return HttpAnswer(200, json.dumps({"message_id": str(len(self.taken))} if call.method == "POST" else {"room_id": ROOM}))


class Teams(Service):
    """A flow of Power Automate that posts apprise's Adaptive Card, by https only: `installed` leads it here."""

    mention = "<at>oncall@example.com</at>"
    path = f"/powerautomate/automations/direct/workflows/{'b' * 32}/triggers/manual/paths/invoke"
    host = "default01.23.environment.api.powerplatform.com"
    limit = 28 * 1024

    def secret(self) -> str:
        return f"https://{self.host}:443{self.path}?api-version=1&sp=%2Ftriggers%2Fmanual%2Frun&sv=1.0&sig={SECRET}"

    def installed(self, monkeypatch: pytest.MonkeyPatch) -> None:
        from apprise.plugins import workflows

        def post(url: str, *, timeout: Any, **request: Any) -> Any:
            return requests.post(url.replace(f"https://{self.host}:443", self.url), timeout=timeout, **request)

        there = SimpleNamespace(post=post, codes=requests.codes, RequestException=requests.RequestException)
        monkeypatch.setattr(workflows, "requests", there)

    def problem(self, call: Call) -> str:
        if call.path != self.path or call.query.get("sig") != SECRET:
            return "DirectApiAuthorizationRequired"
        return "RequestEntityTooLarge" if call.size > self.limit else ""

    def text(self, body: Any) -> str:
        """Title and paragraphs. A line's end alone is drawn as a blank."""
        blocks = [block["text"] for block in body["attachments"][0]["content"]["body"] if block["type"] == "TextBlock"]
        return "\n".join(re.sub(r"\n\n|(\n)", lambda end: " " if end[1] else "\n", text) for text in blocks)

    def accepted(self, call: Call) -> HttpAnswer:
        return HttpAnswer(202)

    def pings(self, body: Any) -> list[str]:
        """A mention needs its text and an entity."""
        entities = body["attachments"][0]["content"]["msteams"].get("entities", ())
        return [entity["text"] for entity in entities if entity["text"] in self.text(body)]


DOUBLES: dict[str, list[tuple[str, type[Platform] | None]]] = {
    "console": [("console", None)],
    "slack": [("slack-webhook", platforms.SlackWebhook), ("slack-bot", platforms.SlackApi)],
    "google_chat": [("google_chat", platforms.GoogleChat)],
    "chatwork": [("chatwork", Chatwork)],
    "apprise": [("apprise", platforms.AnyService), ("apprise-discord", Discord), ("apprise-teams", Teams)],
}
"""By the chat's name: what it can post to, each with the name of its tests. None: it posts nowhere."""
