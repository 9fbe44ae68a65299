"""Slack, by incoming webhook (separate messages) or bot token (a thread per incident; its first card shows the current state).

Limits (docs.slack.dev, Block Kit): 50 blocks, header 150 characters, section text 3,000, 10 fields of 2,000. Slack refuses a
whole message somewhere beyond 13,000 characters (slackapi/bolt-js#2509), so messages stay under 10,000."""

import json
import re
import time
from collections.abc import Callable, Mapping
from typing import Annotated, Any
from urllib.parse import urlencode, urlsplit

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from functions.adapters.chats import _shared
from functions.adapters.chats._shared import escape_tags
from functions.application.ports import Chat, Finding
from functions.domain.cards import queues
from functions.domain.model.messages import ACKNOWLEDGE, APPROVE, DECLINE, HEALTHY, Card
from functions.domain.texts.words import DO_NOT, INCIDENT, ON_PURPOSE, RESTART, SHORTENED, WAS_HEALTHY, log_title
from functions.runtime import http_client
from functions.runtime.errors import Denied, Unavailable
from functions.runtime.logs import event
from functions.runtime.secrets import SecretRef
from functions.runtime.structs import decoder, written
from functions.runtime.text import Text, in_language

MAX_CHARACTERS = 10_000
MAX_HEADER = 150
MAX_SECTION = 3000
MAX_FIELD = 2000
MAX_LOG = 2900  # characters of a section's 3,000, so that heading and fences fit too
FIELDS_IN_SECTION = 10
FACTS_FIRST, LINKS_FIRST = 6, 3
"""A phone shows this much at once. The rest is the thread's one message "Details", or follows below where there is no thread."""
MENTION = re.compile(r"<(?:!(?:channel|here|everyone)|@[UW][A-Z0-9]+|!subteam\^S[A-Z0-9]+)>")
FORMATTING = re.compile(r"[*_~`]|^>|:(?!\d\d?:)[\w+'-]+:")
"""Emphasis, a quotation or an emoji's name; a time such as 03:12:05 isn't one."""

WRONG_TOKEN = {"invalid_auth", "not_authed", "token_revoked", "token_expired", "account_inactive"}
TOO_LARGE = {"invalid_blocks", "invalid_blocks_format", "msg_blocks_too_long", "msg_too_long"}
GONE = {"message_not_found", "cant_update_message", "edit_window_closed", "thread_not_found"}
LATER = {"internal_error", "fatal_error", "service_unavailable", "request_timeout", "ratelimited", "rate_limited"}
REMEDIES = {
    "channel_not_found": "set `channel` to the channel's id and invite the bot into it",
    "not_in_channel": "invite the bot into the channel",
    "is_archived": "unarchive the channel or set another one",
    "missing_scope": "give the bot the scope chat:write and install it again",
    **dict.fromkeys(WRONG_TOKEN, "put a valid bot token (Bot User OAuth Token) into the secret"),
}
WEBHOOK_REMEDIES = dict.fromkeys((403, 404, 410), "create a new incoming webhook in Slack and put its URL into the secret")

NOT_SLACK = (
    "use type: apprise, with a URL such as mmosts://HOST/TOKEN (Mattermost) or rockets://TOKEN_A/TOKEN_B@HOST (Rocket.Chat)"
)

BACK, DETAILS, PRIMARY = Text("Back"), Text("Details"), "primary"
BUTTONS: Mapping[str, tuple[Text, str, Text | None]] = {
    APPROVE: (RESTART, PRIMARY, Text("Restart it now?")),
    DECLINE: (ON_PURPOSE, "", None),
    HEALTHY: (WAS_HEALTHY, "", Text("Next time, Unstick asks instead of restarting.")),
    ACKNOWLEDGE: (Text("Acknowledge"), PRIMARY, None),
}
"""By action: label, style, and the confirmation."""


class _Refused(Denied):
    """Slack's Web API refused a call. `said`: the error as Slack names it."""

    def __init__(self, method: str, said: str, status: int) -> None:
        super().__init__("slack", f"{method} answered {said}", remedy=REMEDIES.get(said, ""), status=status)
        self.said = said


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
        card = card if self.signing_secret else replace(card, actions=())
        ends = time.monotonic() + timeout_s
        if self.token is None:
            self._post_to_webhook(render(card, language), ends)
            return None
        bot, message = Bot(self, self.token, ends), render_first(card, language)
        first = parse_handle(thread)
        newest = first is None or card.at >= first.at
        if first is not None and newest:
            first = _update_first_card(bot, first, card, language)
        if first is None:
            answer = _call(bot, "chat.postMessage", {"channel": self.channel, **message})
            first = _FirstCard(str(answer.get("channel") or self.channel), str(answer.get("ts", "")), card.at)
        else:
            reply = {"channel": first.channel, "thread_ts": first.ts, "reply_broadcast": card.urgency == "act", **message}
            _call(bot, "chat.postMessage", reply)
        return (_show_details(bot, first, card, language) if newest and first.ts else first).handle

    def _post_to_webhook(self, message: dict[str, Any], ends: float) -> None:
        secret, url = self._webhook()
        answer = _shared.post("slack", url, message, timeout_s=ends - time.monotonic())
        if answer.status == 400:
            answer = _shared.post("slack", url, {"text": message["text"]}, timeout_s=ends - time.monotonic())
        _shared.require_accepted(answer, secret, WEBHOOK_REMEDIES)

    def _webhook(self) -> tuple[SecretRef, str]:
        if self.url is None:
            raise Denied("slack", "neither url nor token is set", remedy="set `url` (incoming webhook), or `token` and `channel`")
        url = _shared.webhook_url("slack", self.url)
        if urlsplit(url).path.startswith("/hooks/"):
            raise Denied("slack", "the URL is a webhook of Mattermost or Rocket.Chat, which show no blocks", remedy=NOT_SLACK)
        return self.url, url

    def check(self, *, timeout_s: float) -> list[Finding]:
        """Call auth.test for a bot. For a webhook, only the URL's form can be checked without posting."""
        if self.token is None:
            self._webhook()
            return [_shared.NOT_TRIED]
        if not self.channel:
            raise Denied("slack", "channel is not set", remedy=REMEDIES["channel_not_found"])
        _call(Bot(self, self.token, time.monotonic() + timeout_s), "auth.test", {})
        return [Finding("slack", True, "the token is valid; the first post shows whether the bot is in the channel")]


def render(card: Card, language: str) -> dict[str, Any]:
    """The whole message as JSON, for incoming webhooks."""
    return _fit(card, language, lambda card, language: [*_first_blocks(card, language), *_detail_blocks(card, language)])


def render_first(card: Card, language: str) -> dict[str, Any]:
    """The message that a person reads first."""
    return _fit(card, language, _first_blocks)


def render_details(card: Card, language: str) -> dict[str, Any]:
    """The rest, for the thread's message "Details"; without blocks if there is none."""
    message, title = _fit(replace(card, mention=()), language, _detail_blocks), in_language(language, DETAILS)
    return {**message, "text": title, "blocks": message["blocks"] and [_section(f"*{title}*"), *message["blocks"]]}


def _fit(card: Card, language: str, layout: Callable[[Card, str], list[dict[str, Any]]]) -> dict[str, Any]:

    def message(card: Card, language: str) -> dict[str, Any]:
        text = " ".join((*_shared.find_mentions(card, MENTION), escape_tags(_shared.show_headline(card))))
        return {"text": text, "blocks": layout(card, language), "unfurl_links": False, "unfurl_media": False}

    return _shared.fit(card, language, message, MAX_CHARACTERS, lambda message: len(json.dumps(message, ensure_ascii=False)))


def _first_blocks(card: Card, language: str) -> list[dict[str, Any]]:
    """What a person needs first: the headline, a sentence, the buttons, the first facts and links, and the incident."""
    blocks: list[dict[str, Any]] = [{"type": "header", "text": _plain_text(_shared.show_headline(card), MAX_HEADER, language)}]
    if mentions := _shared.find_mentions(card, MENTION):
        blocks.append(_section(" ".join(mentions)))
    sentences = [{"type": "section", "text": _plain_text(text, MAX_SECTION, language)} for text in card.text if text]
    blocks += sentences[:1]
    if _has_buttons(card):
        buttons = [_button(action, card.token, language, first=action == card.actions[0]) for action in card.actions]
        blocks.append({"type": "actions", "elements": buttons})
    blocks += [*sentences[1:], *_fields(card.facts[:FACTS_FIRST], language), *_link_sections(_links(card)[:LINKS_FIRST])]
    if card.incident:
        incident = f"{in_language(language, INCIDENT)} {card.incident}"
        blocks.append({"type": "context", "elements": [_plain_text(incident, MAX_FIELD, language)]})
    return blocks


def _detail_blocks(card: Card, language: str) -> list[dict[str, Any]]:
    blocks = _fields(card.facts[FACTS_FIRST:], language)
    if bars := queues.to_bars(card.curve):
        figures = escape_tags(in_language(language, queues.say_curve(card.curve)))
        blocks.append(_section(f"*{in_language(language, queues.CURVE)}*  `{bars}`  {figures}"))
    if card.evidence:
        blocks.append(_section(f"*{log_title(card.evidence_title, language)}*\n```\n{_fit_log(card.evidence, language)}\n```"))
    return blocks + _link_sections(_links(card)[LINKS_FIRST:])


def _has_buttons(card: Card) -> bool:
    return bool(card.token and card.actions)


def _links(card: Card) -> tuple[tuple[str, str], ...]:
    """The links, without the one that the buttons repeat."""
    return tuple(link for link in card.links if not (_has_buttons(card) and card.token in link[1]))


def _fields(facts: tuple[tuple[str, str], ...], language: str) -> list[dict[str, Any]]:
    fields = [_field(label, text, language) for label, text in facts]
    starts = range(0, len(fields), FIELDS_IN_SECTION)
    return [{"type": "section", "fields": fields[start : start + FIELDS_IN_SECTION]} for start in starts]


def _button(action: str, token: str, language: str, *, first: bool) -> dict[str, Any]:
    """A button that Slack reports to `/slack`, with the link's token as its value. Some ask for confirmation.
    The first is what the card advises, so no other is coloured."""

    def plain(phrase: Text) -> dict[str, Any]:
        return {"type": "plain_text", "text": in_language(language, phrase), "emoji": False}

    label, style, question = BUTTONS[action]
    label = DO_NOT if action == DECLINE and first else label
    button: dict[str, Any] = {"type": "button", "action_id": action, "text": plain(label), "value": token}
    if style and first:
        button["style"] = style
    if question:
        words = {"title": label, "text": question, "confirm": label, "deny": BACK}
        button["confirm"] = {name: plain(phrase) for name, phrase in words.items()}
    return button


def _plain_text(text: str, limit: int, language: str) -> dict[str, Any]:
    return {"type": "plain_text", "text": _shared.fit_text(text, limit, escape_tags, language), "emoji": False}


def _fit_log(lines: tuple[str, ...], language: str) -> str:
    """As many of the log's last lines as fit: the end shows what went wrong."""
    rows = [escape_tags(line).replace("```", "'''") for line in reversed(lines)]
    last_rows = _shared.take_rows(rows, MAX_LOG)
    mark = [in_language(language, SHORTENED).strip()] if len(last_rows) < len(rows) else []
    return "\n".join([*mark, *reversed(last_rows)])


def _section(text: str) -> dict[str, Any]:
    return {"type": "section", "text": {"type": "mrkdwn", "text": text, "verbatim": True}}


def _field(label: str, text: str, language: str) -> dict[str, Any]:
    """The label in bold. A value with formatting characters becomes code, so that it is shown unchanged."""
    is_code = FORMATTING.search(text) is not None
    heading = f"*{escape_tags(label)}*\n" if label else ""
    left = MAX_FIELD - len(heading) - 2
    value = _shared.fit_text(text.replace("`", "'") if is_code else text, left, escape_tags, language)
    return {"type": "mrkdwn", "text": heading + (f"`{value}`" if is_code else value), "verbatim": True}


def _link_sections(links: tuple[tuple[str, str], ...]) -> list[dict[str, Any]]:
    """Links as text, since buttons need an app that answers clicks. A section holds as many as its limit allows."""
    rows = [""] if links else []
    for label, url in links:
        link = f"<{escape_tags(url).replace('|', '%7C')}|{escape_tags(label)}>"
        if rows[-1] and len(rows[-1]) + len(link) > MAX_SECTION - 10:
            rows.append("")
        rows[-1] += f"  ·  {link}" if rows[-1] else link
    return [_section(row) for row in rows]


class _FirstCard(Struct, frozen=True):
    """The first card of an incident, which starts its thread. `at`: the time of the newest state that it shows."""

    channel: str
    ts: str
    at: float
    details: str = ""
    """The thread's message "Details"; empty: not posted yet."""

    @property
    def handle(self) -> str | None:
        return msgspec.json.encode(self).decode() if self.ts else None


class Bot(Struct, frozen=True):
    """A channel's bot, until the monotonic time `ends`."""

    slack: Slack
    token: SecretRef
    ends: float


def parse_handle(thread: str | None) -> _FirstCard | None:
    """The thread's first card; None without a handle, or for one of another chat."""
    try:
        first: _FirstCard = decoder(_FirstCard).decode(thread or "null")
    except msgspec.DecodeError:
        return None
    return first


def _update_first_card(bot: Bot, first: _FirstCard, card: Card, language: str) -> _FirstCard | None:
    """Show the new state in the first card, before the reply: an update is idempotent. None if somebody deleted the card."""
    message = render_first(replace(card, mention=()), language)
    try:
        _call(bot, "chat.update", {"channel": first.channel, "ts": first.ts, **message})
    except _Refused as error:
        if error.said in GONE:
            return None
        raise
    return replace(first, at=card.at)


def _show_details(bot: Bot, first: _FirstCard, card: Card, language: str) -> _FirstCard:
    """Show the rest of the newest card in the thread's message "Details". Without it the card counts as posted all the same."""
    message = {**render_details(card, language), "channel": first.channel}
    if not message["blocks"]:
        return first
    try:
        if first.details:
            _call(bot, "chat.update", {**message, "ts": first.details})
            return first
        answer = _call(bot, "chat.postMessage", {**message, "thread_ts": first.ts})
        return replace(first, details=str(answer.get("ts", "")))
    except (Denied, Unavailable) as error:
        event("WARNING", f"details are missing in Slack until the next card: {error}", incident=card.incident)
        return replace(first, details="") if isinstance(error, _Refused) and error.said in GONE else first


def _call(bot: Bot, method: str, body: dict[str, Any]) -> dict[str, Any]:
    """Call one method of the Web API. If Slack finds the message too large, send only its headline."""
    url, headers = _address(bot, method)
    answer = _shared.post("slack", url, body, timeout_s=bot.ends - time.monotonic(), headers=headers)
    try:
        return _result(bot, method, answer)
    except _Refused as error:
        if error.said in TOO_LARGE and "blocks" in body:
            return _call(bot, method, {name: value for name, value in body.items() if name != "blocks"})
        raise


def ask(bot: Bot, method: str, **query: str) -> dict[str, Any]:
    """Call a method that reads: these take forms, not JSON."""
    url, headers = _address(bot, f"{method}?{urlencode(query)}")
    left_s = bot.ends - time.monotonic()
    return _result(bot, method, http_client.request("slack", "GET", url, timeout_s=left_s, headers=headers))


def _address(bot: Bot, path: str) -> tuple[str, dict[str, str]]:
    authorization = f"Bearer {bot.token.read().decode(errors='replace').strip()}"
    return f"{bot.slack.base_url.rstrip('/')}/{path}", {"Authorization": authorization}


def _result(bot: Bot, method: str, answer: http_client.Answer) -> dict[str, Any]:
    _shared.require_accepted(answer, bot.token, {})
    result = answer.object()
    error = str(result.get("error"))
    if result.get("ok") is True:
        return result
    if error in LATER:
        raise Unavailable("slack", f"{method} answered {error}")
    if error in WRONG_TOKEN:
        bot.token.invalidate()
    code = error if re.fullmatch(r"[a-z0-9_]{1,80}", error) else "unknown_error"
    raise _Refused(method, code, answer.status)


ADAPTER: type[Chat] = Slack
