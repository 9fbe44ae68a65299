"""Slack, by incoming webhook (separate messages) or bot token (a thread per incident).

Limits (docs.slack.dev, Block Kit): 50 blocks, header 150 characters, section text 3,000, 10 fields of 2,000. Slack refuses a
whole message somewhere beyond 13,000 characters (slackapi/bolt-js#2509), so messages stay under 10,000."""

import json
import re
import time
from typing import Annotated, Any

from msgspec import Struct
from msgspec.structs import replace

from functions.adapters.chats import _shared
from functions.adapters.chats._shared import escape_tags
from functions.application.ports import Chat, Finding
from functions.domain.model.cards import ACKNOWLEDGE, APPROVE, DECLINE, HEALTHY, ON_PURPOSE, Card
from functions.domain.texts import words
from functions.domain.texts.words import log_title
from functions.runtime.errors import Denied, Unavailable
from functions.runtime.secrets import SecretRef
from functions.runtime.structs import written
from functions.runtime.text import Text, in_language

MAX_CHARACTERS = 10_000
MAX_HEADER = 150
MAX_SECTION = 3000
MAX_FIELD = 2000
MAX_LOG = 2900  # characters of a section's 3,000, so that heading and fences fit too
FIELDS_IN_SECTION = 10
MENTION = re.compile(r"<(?:!(?:channel|here|everyone)|@[UW][A-Z0-9]+|!subteam\^S[A-Z0-9]+)>")

WRONG_TOKEN = {"invalid_auth", "not_authed", "token_revoked", "token_expired", "account_inactive"}
REFUSED = {"invalid_blocks", "invalid_blocks_format", "msg_blocks_too_long", "msg_too_long", "thread_not_found"}
"""Refusals of a thread or of a card: it is then posted to the channel, and if that is refused too, its headline."""
LATER = {"internal_error", "fatal_error", "service_unavailable", "request_timeout", "ratelimited", "rate_limited"}
REMEDIES = {
    "channel_not_found": "set `channel` to the channel's id and invite the bot into it",
    "not_in_channel": "invite the bot into the channel",
    "is_archived": "unarchive the channel or set another one",
    "missing_scope": "give the bot the scope chat:write and install it again",
    **dict.fromkeys(WRONG_TOKEN, "put a valid bot token (Bot User OAuth Token) into the secret"),
}
WEBHOOK_REMEDIES = dict.fromkeys((403, 404, 410), "create a new incoming webhook in Slack and put its URL into the secret")

BUTTONS = {
    APPROVE: words.RESTART,
    DECLINE: words.DO_NOT,
    ON_PURPOSE: words.ON_PURPOSE,
    HEALTHY: words.WAS_HEALTHY,
    ACKNOWLEDGE: Text("Acknowledge"),
}
CONFIRM = {"title": words.RESTART, "text": Text("Restart it now?"), "confirm": words.RESTART, "deny": Text("Back")}


class Slack(Struct, frozen=True):
    """Either `url` (incoming webhook) or `token` with `channel` (bot with the scope chat:write)."""

    url: SecretRef | None = None
    """The incoming webhook."""
    token: SecretRef | None = None
    """The bot's token."""
    channel: str = ""
    """The channel's id."""
    signing_secret: SecretRef | None = None
    """The Slack app's, for buttons: its interactivity must point to `/slack` at the webhook's URL."""
    base_url: Annotated[str, written("base-url")] = "https://slack.com/api"

    def post(self, card: Card, *, thread: str | None, language: str, timeout_s: float) -> str | None:
        """Post the card, as a reply if its incident has a thread: of that, the channel sees what isn't only progress.
        A thread's handle is its first message's `ts`."""
        message = render(card if self.signing_secret else replace(card, actions=()), language)
        if self.token is None:
            self._post_to_webhook(message, timeout_s)
            return None
        ends, bodies = time.monotonic() + timeout_s, [message, {"text": message["text"]}]
        if thread:
            bodies = [{**message, "thread_ts": thread, "reply_broadcast": card.urgency != "watch"}, *bodies]
        for body in bodies:
            result = self._call(self.token, "chat.postMessage", {"channel": self.channel, **body}, ends)
            if str(result.get("error")) not in REFUSED:
                break
            thread = None
        _require_ok(result, self.token)
        return thread or str(result.get("ts", "")) or None

    def _post_to_webhook(self, message: dict[str, Any], timeout_s: float) -> None:
        secret, url = self._webhook_url()
        answer = _shared.post("slack", url, message, timeout_s=timeout_s / 2)
        if answer.status == 400:
            answer = _shared.post("slack", url, {"text": message["text"]}, timeout_s=timeout_s / 2)
        _shared.require_accepted(answer, secret, WEBHOOK_REMEDIES)

    def _webhook_url(self) -> tuple[SecretRef, str]:
        if self.url is None:
            raise Denied("slack", "neither url nor token is set", remedy="set `url` (incoming webhook), or `token` and `channel`")
        return self.url, _shared.webhook_url("slack", self.url)

    def _call(self, token: SecretRef, method: str, body: dict[str, Any], ends: float) -> dict[str, Any]:
        """Call one method of the Web API. `ends`: monotonic."""
        url = f"{self.base_url.rstrip('/')}/{method}"
        headers = {"Authorization": f"Bearer {token.read().decode(errors='replace').strip()}"}
        answer = _shared.post("slack", url, body, timeout_s=ends - time.monotonic(), headers=headers)
        _shared.require_accepted(answer, token, {})
        return answer.object()

    def check(self, *, timeout_s: float) -> list[Finding]:
        """Call auth.test for a bot. For a webhook, only the URL's form can be checked without posting."""
        if self.token is None:
            self._webhook_url()
            return [_shared.NOT_TRIED]
        if not self.channel:
            raise Denied("slack", "channel is not set", remedy=REMEDIES["channel_not_found"])
        _require_ok(self._call(self.token, "auth.test", {}, time.monotonic() + timeout_s), self.token)
        return [Finding("slack", True, "the token is valid; the first post shows whether the bot is in the channel")]


def _require_ok(result: dict[str, Any], token: SecretRef) -> None:
    """The Web API answers errors with status 200. Raises Unavailable or Denied."""
    error = str(result.get("error"))
    if result.get("ok") is True:
        return
    if error in LATER:
        raise Unavailable("slack", f"answered {error}")
    if error in WRONG_TOKEN:
        token.invalidate()
    code = error if re.fullmatch(r"[a-z0-9_]{1,80}", error) else "unknown_error"
    raise Denied("slack", f"answered {code}", remedy=REMEDIES.get(code, ""))


def render(card: Card, language: str) -> dict[str, Any]:
    """The message as JSON."""
    return _shared.fit(card, language, _message, MAX_CHARACTERS, lambda message: len(json.dumps(message, ensure_ascii=False)))


def _message(card: Card, language: str) -> dict[str, Any]:
    headline, mentions = _shared.show_headline(card), _shared.find_mentions(card, MENTION)
    blocks: list[dict[str, Any]] = [{"type": "header", "text": _plain_text(headline, MAX_HEADER, language)}]
    blocks += [_section(mention) for mention in mentions]
    blocks += [{"type": "section", "text": _plain_text(text, MAX_SECTION, language)} for text in card.text if text]
    if card.token and card.actions:
        buttons = [_button(action, card.token, language, first=action == card.actions[0]) for action in card.actions]
        blocks.append({"type": "actions", "elements": buttons})
    fields = [_plain_text(f"{label}\n{text}".strip(), MAX_FIELD, language) for label, text in card.facts]
    starts = range(0, len(fields), FIELDS_IN_SECTION)
    blocks += [{"type": "section", "fields": fields[start : start + FIELDS_IN_SECTION]} for start in starts]
    curve = [f"{label}  {text}" for label, text in _shared.list_facts(card, language)[len(card.facts) :]]
    blocks += [{"type": "section", "text": _plain_text(text, MAX_SECTION, language)} for text in curve]
    links = [f"<{escape_tags(url).replace('|', '%7C')}|{escape_tags(label)}>" for label, url in card.links]
    row = "  ·  ".join(links)
    blocks += map(_section, [row] if 0 < len(row) <= MAX_SECTION else links)
    if card.evidence:
        log = escape_tags("\n".join(card.evidence)).replace("```", "'''")
        if len(log) > MAX_LOG:  # the end shows what went wrong
            log = log[-MAX_LOG:].partition("\n")[2]
        blocks.append(_section(f"*{escape_tags(log_title(card.evidence_title, language))}*\n```\n{log}\n```"))
    text = " ".join((*mentions, escape_tags(headline)))
    return {"text": text, "blocks": blocks, "unfurl_links": False, "unfurl_media": False}


def _button(action: str, token: str, language: str, *, first: bool) -> dict[str, Any]:
    """A button that Slack reports to `/slack`, with the link's token as its value.
    The first is what the card advises, so no other is coloured."""

    def plain(phrase: Text) -> dict[str, Any]:
        return {"type": "plain_text", "text": in_language(language, phrase), "emoji": False}

    button: dict[str, Any] = {"type": "button", "action_id": action, "text": plain(BUTTONS[action]), "value": token}
    if first and action in (APPROVE, ACKNOWLEDGE):
        button["style"] = "primary"
    if action == APPROVE:
        button["confirm"] = {name: plain(phrase) for name, phrase in CONFIRM.items()}
    return button


def _plain_text(text: str, limit: int, language: str) -> dict[str, Any]:
    return {"type": "plain_text", "text": _shared.fit_text(text, limit, escape_tags, language), "emoji": False}


def _section(text: str) -> dict[str, Any]:
    return {"type": "section", "text": {"type": "mrkdwn", "text": text, "verbatim": True}}


ADAPTER: type[Chat] = Slack
