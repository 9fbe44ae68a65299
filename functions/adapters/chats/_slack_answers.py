"""Reads button presses from Slack, and shows their results in Slack.

Slack signs each request over its timestamp and raw body (docs.slack.dev, "Verifying requests from Slack"), and wants an answer
within three seconds. The result goes to the request's `response_url`, which accepts five answers in 30 minutes."""

import hmac
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any
from urllib.parse import parse_qs, urlsplit

import msgspec
from msgspec import Struct, field

from functions.adapters.chats import _shared
from functions.adapters.chats._shared import escape_tags
from functions.adapters.chats.slack import Slack
from functions.application.ports import Buttons, Chat, Press
from functions.domain.model.cards import ACKNOWLEDGE, APPROVE, DECLINE, HEALTHY, ON_PURPOSE
from functions.domain.texts.words import clean
from functions.runtime.errors import BadRequest, Denied
from functions.runtime.http_client import is_loopback
from functions.runtime.secrets import any_matches
from functions.runtime.structs import decoder

SIGNATURE, TIMESTAMP = "X-Slack-Signature", "X-Slack-Request-Timestamp"
FRESH_S = 300.0  # seconds that a request's timestamp may be off in either direction, as Slack advises
MAX_BODY = 256 * 1024  # bytes. The request contains the whole message of up to 10,000 characters, percent-encoded
ACTIONS = (APPROVE, DECLINE, ON_PURPOSE, ACKNOWLEDGE, HEALTHY)
NAME = 80
HOOKS = "https://hooks.slack.com/"


class _Place(Struct, frozen=True):
    id: str = ""


class _User(Struct, frozen=True):
    id: str
    username: str = ""
    name: str = ""
    team_id: str = ""


class _Action(Struct, frozen=True):
    action_id: str = ""
    value: str = ""


class _Message(Struct, frozen=True):
    text: str = ""
    blocks: tuple[dict[str, Any], ...] = ()


class _Payload(Struct, frozen=True):
    type: str
    user: _User
    actions: tuple[_Action, ...] = ()
    message: _Message = field(default_factory=_Message)
    response_url: str = ""
    team: _Place | None = None
    channel: _Place | None = None


class SlackButtons(Struct, frozen=True):
    """The buttons in the messages of all channels of type slack."""

    channels: tuple[Slack, ...]

    def read_press(self, headers: Mapping[str, str], read_body: Callable[[int], bytes], now: float) -> Press | None:
        """Raises Unavailable or Denied if a signing secret could not be read and no other matches."""
        secrets = tuple(dict.fromkeys(slack.signing_secret for slack in self.channels if slack.signing_secret is not None))
        stamp, signature = _read_signature(headers, now)
        body = read_body(MAX_BODY)

        def sign(secret: bytes) -> bytes:
            mac = hmac.new(secret, f"v0:{stamp}:".encode(), "sha256")
            mac.update(body)
            return b"v0=" + mac.hexdigest().encode()

        if not any_matches(secrets, signature.encode(), sign):
            raise BadRequest(401, "The signature does not match: is signing_secret that of the Slack app?")
        ids = frozenset(slack.channel for slack in self.channels)
        return _read_press(body, frozenset() if "" in ids else ids)

    def show_answer(self, press: Press, note: str, *, timeout_s: float) -> None:
        blocks = [block for block in press.blocks if block.get("type") != "actions"]
        said = {"type": "context", "elements": [{"type": "plain_text", "text": note[:1900], "emoji": False}]}
        text = f"{press.text}\n{escape_tags(note)}".strip()
        self._respond(press, {"replace_original": True, "text": text, "blocks": [*blocks[:49], said]}, timeout_s)

    def show_refusal(self, press: Press, sentence: str, *, timeout_s: float) -> None:
        content = {"response_type": "ephemeral", "replace_original": False, "text": escape_tags(sentence)}
        self._respond(press, content, timeout_s)

    def _respond(self, press: Press, content: dict[str, Any], timeout_s: float) -> None:
        slack = self.channels[0]
        if not is_slacks(press.response_url, slack.base_url):
            raise Denied("slack", "the response_url is not Slack's", remedy="the press counted all the same")
        answer = _shared.post("slack", press.response_url, content, timeout_s=timeout_s)
        if answer.status != 200:
            raise Denied("slack", f"the message could not be updated: answered {answer.status}", status=answer.status)


def find_buttons(chats: Iterable[Chat]) -> Buttons | None:
    """The buttons of these chats; None if no channel of type slack has a signing_secret."""
    channels = tuple(chat for chat in chats if isinstance(chat, Slack))
    return SlackButtons(channels) if any(slack.signing_secret for slack in channels) else None


def _read_signature(headers: Mapping[str, str], now: float) -> tuple[str, str]:
    """The timestamp and signature of a request. Raises BadRequest 401 if they are missing, malformed or too old."""
    stamp, signature = headers.get(TIMESTAMP, ""), headers.get(SIGNATURE, "")
    if not re.fullmatch(r"[0-9]{1,12}", stamp, re.ASCII) or not re.fullmatch(r"v0=[0-9a-f]{64}", signature, re.ASCII):
        raise BadRequest(401, f"Slack signs its requests: {TIMESTAMP} and {SIGNATURE} are missing or malformed.")
    if abs(int(stamp) - now) > FRESH_S:
        raise BadRequest(401, f"The request is more than {FRESH_S:.0f} s off the clock here.")
    return stamp, signature


def _read_press(body: bytes, channels: frozenset[str]) -> Press | None:
    """The press in a signed body; None if it isn't a button of ours. `channels`: the ids of those that Unstick posts to, if
    known. Raises BadRequest: 400 if it isn't an interaction, 403 if it comes from another channel, or from a person of another
    workspace (the app may be installed in several, and channels be shared)."""
    try:
        fields = parse_qs(body.decode(), max_num_fields=8)
        payload: _Payload = decoder(_Payload).decode(fields["payload"][0])
    except (ValueError, KeyError, RecursionError, msgspec.MsgspecError):
        raise BadRequest(400, "This is no interaction of Slack's.") from None
    action = payload.actions[0] if payload.actions else _Action()
    if payload.type != "block_actions" or action.action_id not in ACTIONS:
        return None
    team, channel = payload.team or _Place(), payload.channel or _Place()
    if (channels and channel.id not in channels) or (team.id and payload.user.team_id not in ("", team.id)):
        raise BadRequest(403, "This was pressed in another channel, or by somebody of another workspace.")
    user, message, token = payload.user, payload.message, action.value[:1000]
    name, url = clean(user.username or user.name, NAME, "…"), payload.response_url
    return Press(action.action_id, token, user.id, name, url, message.text, message.blocks)


def is_slacks(url: str, base_url: str) -> bool:
    """Whether the address is Slack's own. If the API is a stand-in on this machine, that one's counts too."""
    places = [HOOKS]
    if base_url.startswith("http:") and is_loopback(urlsplit(base_url).hostname):
        places.append(f"http://{urlsplit(base_url).netloc}/")
    return url.startswith(tuple(places)) and url.isascii() and url.isprintable() and " " not in url
