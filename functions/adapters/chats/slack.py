"""Room: Slack, by incoming webhook (separate messages) or bot token (a thread per incident whose first card is kept current).

Limits (docs.slack.dev, Block Kit): 50 blocks, header 150 characters, section text 3,000, 10 fields of 2,000; the whole message
is refused somewhere beyond 13,000 characters (slackapi/bolt-js#2509), so it is kept under 10,000.
"""

from __future__ import annotations

import json
import re
import time
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from functions.adapters.chats import _plain, _texts
from functions.application.ports import Finding
from functions.domain.model.messages import Card
from functions.domain.texts.words import curve_words, say
from functions.runtime import http_client
from functions.runtime.errors import Denied, Unavailable
from functions.runtime.secrets import SecretRef

MAX_CHARACTERS = 10_000
MAX_HEADER = 150
MAX_SECTION = 3000
MAX_FIELD = 2000
MAX_LOG = 2900
"""Of a section's, so that heading and fences fit too."""
FIELDS_IN_SECTION = 10
MENTION = re.compile(r"<(?:!(?:channel|here|everyone)|@[UW][A-Z0-9]+|!subteam\^S[A-Z0-9]+)>")
FORMATTING = re.compile(r"[*_~`]|^>|:(?!\d\d?:)[\w+'-]+:")
"""Emphasis, a quotation, the name of an emoji; a time such as 03:12:05 holds none."""

WRONG_TOKEN = {"invalid_auth", "not_authed", "token_revoked", "token_expired", "account_inactive"}
TOO_MUCH = {"invalid_blocks", "invalid_blocks_format", "msg_blocks_too_long", "msg_too_long"}
GONE = {"message_not_found", "cant_update_message", "edit_window_closed", "thread_not_found"}
LATER = {"internal_error", "fatal_error", "service_unavailable", "request_timeout", "ratelimited", "rate_limited"}
REMEDIES = {
    "channel_not_found": "set `channel` to the channel's id and invite the bot into it",
    "not_in_channel": "invite the bot into the channel",
    "is_archived": "unarchive the channel or set another one",
    "missing_scope": "give the bot the scope chat:write and install it again",
    **dict.fromkeys(WRONG_TOKEN, "put a valid bot token (Bot User OAuth Token) into the secret"),
}
WEBHOOK_REMEDIES = dict.fromkeys((403, 404, 410), "make a new incoming webhook in Slack and put its URL into the secret")


class Settings(Struct, frozen=True):
    """Either `url` (incoming webhook) or `token` with `channel` (bot with the scope chat:write)."""

    url: SecretRef | None = None
    token: SecretRef | None = None
    channel: str = ""
    base_url: str = "https://slack.com/api"


def render(card: Card, language: str) -> dict[str, Any]:
    """The message as JSON for incoming webhooks and chat.postMessage."""
    return _plain.fitted(card, language, lambda shown: _message(shown, language), _fits)


def _fits(message: dict[str, Any]) -> bool:
    return len(json.dumps(message, ensure_ascii=False)) < MAX_CHARACTERS


def _message(card: Card, language: str) -> dict[str, Any]:
    headline = f"{_plain.SIGNS.get(card.urgency, '•')} {card.headline}"
    blocks: list[dict[str, Any]] = [{"type": "header", "text": _words(headline, MAX_HEADER, language)}]
    mentions = [mention for mention in card.mention if MENTION.fullmatch(mention)]
    if mentions:
        blocks.append(_section(" ".join(mentions)))
    blocks += [{"type": "section", "text": _words(text, MAX_SECTION, language)} for text in card.text if text]
    fields = [_field(label, text, language) for label, text in card.facts]
    for at in range(0, len(fields), FIELDS_IN_SECTION):
        blocks.append({"type": "section", "fields": fields[at : at + FIELDS_IN_SECTION]})
    if bars := _plain.sparkline(card.curve):
        blocks.append(_section(f"*{say(language, 'curve')}*  `{bars}`  {escaped(curve_words(card.curve, language))}"))
    if card.evidence:
        blocks.append(_section(f"*{say(language, 'evidence')}*\n```\n{_log(card.evidence, language)}\n```"))
    if card.links:
        blocks += _links(card.links)
    return {"text": " ".join((*mentions, escaped(headline))), "blocks": blocks, "unfurl_links": False, "unfurl_media": False}


def escaped(text: str) -> str:
    """The three characters that Slack gives a meaning to; without them nothing mentions and nothing links."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _words(text: str, limit: int, language: str) -> dict[str, Any]:
    """Text without any markup. The limit is on what is sent, so entities must not be cut in two."""
    while len(escaped(text)) > limit:
        text = _plain.cut(text, min(limit, len(text) - max(1, (len(escaped(text)) - limit) // 5)), language)
    return {"type": "plain_text", "text": escaped(text), "emoji": False}


def _log(lines: tuple[str, ...], language: str) -> str:
    """As many lines as fit, from the log's end, which says what went wrong."""
    rows = [escaped(line).replace("```", "'''") for line in reversed(lines)]
    kept = _texts.first(rows, MAX_LOG)
    mark = [say(language, "shortened").strip()] if len(kept) < len(rows) else []
    return "\n".join([*mark, *reversed(kept)])


def _section(text: str) -> dict[str, Any]:
    return {"type": "section", "text": {"type": "mrkdwn", "text": text, "verbatim": True}}


def _field(label: str, text: str, language: str) -> dict[str, Any]:
    """Label in bold; a value that holds formatting characters is shown as code, as it is."""
    code = FORMATTING.search(text) is not None
    value = text.replace("`", "'") if code else text
    heading = f"*{escaped(label)}*\n" if label else ""
    while (over := len(heading) + len(escaped(value)) + 2 - MAX_FIELD) > 0:
        value = _plain.cut(value, len(value) - max(1, over // 5), language)
    return {"type": "mrkdwn", "text": heading + (f"`{escaped(value)}`" if code else escaped(value)), "verbatim": True}


def _links(links: tuple[tuple[str, str], ...]) -> list[dict[str, Any]]:
    """Links as text, since buttons need an app that answers clicks; as many lines as the limit of a section asks for."""
    shown = [f"<{escaped(url).replace('|', '%7C')}|{escaped(label)}>" for label, url in links]
    rows, row = [], ""
    for link in shown:
        if row and len(row) + len(link) > MAX_SECTION - 10:
            rows.append(row)
            row = ""
        row = f"{row}  ·  {link}" if row else link
    return [_section(text) for text in (*rows, row)]


# --- posting -----------------------------------------------------------------------------------------------------------


def post(settings: Settings, card: Card, *, thread: str | None, language: str, timeout_s: float) -> str | None:
    """Post; the handle of a bot's thread is JSON with channel, ts of the first card and `at` of the newest state shown there."""
    message = render(card, language)
    if settings.token is None:
        _post_webhook(settings, message, timeout_s)
        return None
    ends = time.monotonic() + timeout_s
    first = _parsed(thread)
    if first is not None and card.at >= first.at:
        first = _updated(settings, settings.token, first, message, card.at, ends)
    if first is None:
        answer = _call(settings, settings.token, "chat.postMessage", {"channel": settings.channel, **message}, ends)
        return _First(str(answer.get("channel") or settings.channel), str(answer.get("ts", "")), card.at).handle
    reply = {"channel": first.channel, "thread_ts": first.ts, "reply_broadcast": card.urgency == "act", **message}
    _call(settings, settings.token, "chat.postMessage", reply, ends)
    return first.handle


class _First(Struct, frozen=True):
    """The first card of an incident."""

    channel: str
    ts: str
    at: float

    @property
    def handle(self) -> str | None:
        return json.dumps({"channel": self.channel, "ts": self.ts, "at": self.at}) if self.ts else None


def _parsed(thread: str | None) -> _First | None:
    try:
        found = json.loads(thread or "null")
        return _First(str(found["channel"]), str(found["ts"]), float(found["at"]))
    except (ValueError, TypeError, KeyError):
        return None


def _updated(
    settings: Settings, token: SecretRef, first: _First, message: dict[str, Any], at: float, ends: float
) -> _First | None:
    """Bring the first card up to date, before the reply: done twice it does no harm. None if somebody deleted it."""
    mute = {**message, "text": message["text"].rsplit("> ", 1)[-1], "blocks": [b for b in message["blocks"] if not _pings(b)]}
    try:
        _call(settings, token, "chat.update", {"channel": first.channel, "ts": first.ts, **mute}, ends)
    except Denied as error:
        if error.code in GONE:
            return None
        raise
    return replace(first, at=at)


def _pings(block: dict[str, Any]) -> bool:
    return block["type"] == "section" and MENTION.match(block.get("text", {}).get("text", "")) is not None


def _call(settings: Settings, token: SecretRef, method: str, body: dict[str, Any], ends: float) -> dict[str, Any]:
    """One method of the Web API. What Slack finds too large goes as its headline alone rather than not at all."""
    headers = {"Authorization": f"Bearer {token.read().decode(errors='replace').strip()}"}
    url = f"{settings.base_url.rstrip('/')}/{method}"
    answer = _plain.send("slack", url, body, timeout_s=ends - time.monotonic(), headers=headers)
    found = _said(answer, token)
    error = str(found.get("error"))
    if found.get("ok") is True:
        return found
    if error in TOO_MUCH and "blocks" in body:
        return _call(settings, token, method, {name: value for name, value in body.items() if name != "blocks"}, ends)
    if error in LATER:
        raise Unavailable("slack", f"{method} answered {error}")
    if error in WRONG_TOKEN:
        token.distrust()
    code = error if re.fullmatch(r"[a-z0-9_]{1,80}", error) else "unknown_error"
    raise Denied("slack", f"{method} answered {code}", code=code, remedy=REMEDIES.get(code, ""), status=answer.status)


def _said(answer: http_client.Answer, token: SecretRef) -> dict[str, Any]:
    if answer.status != 200:
        raise _plain.refused("slack", answer, token, {})
    found = answer.json()
    if not isinstance(found, dict):
        raise Unavailable("slack", "answered with something that is no object")
    return found


def _post_webhook(settings: Settings, message: dict[str, Any], timeout_s: float) -> None:
    ends = time.monotonic() + timeout_s
    secret, url = _webhook(settings)
    answer = _plain.send("slack", url, message, timeout_s=timeout_s)
    if answer.status == 400:
        answer = _plain.send("slack", url, {"text": message["text"]}, timeout_s=ends - time.monotonic())
    if answer.status != 200:
        raise _plain.refused("slack", answer, secret, WEBHOOK_REMEDIES)


def _webhook(settings: Settings) -> tuple[SecretRef, str]:
    if settings.url is None:
        raise Denied("slack", "neither url nor token is set", remedy="set `url` (incoming webhook), or `token` and `channel`")
    return settings.url, _plain.webhook_url("slack", settings.url)


def check(settings: Settings, *, timeout_s: float) -> list[Finding]:
    """auth.test for a bot; of a webhook only the shape of its URL can be known without posting."""
    token = settings.token

    def look() -> str:
        if token is None:
            _webhook(settings)
            return "a webhook can't be tried without posting"
        if not settings.channel:
            raise Denied("slack", "channel is not set", remedy=REMEDIES["channel_not_found"])
        _call(settings, token, "auth.test", {}, time.monotonic() + timeout_s)
        return "the token is valid; whether the bot is in the channel shows with the first post"

    return _plain.checked("slack", look, ok=None if token is None else True)
