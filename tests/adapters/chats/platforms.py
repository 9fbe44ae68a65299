"""Stand-ins for the chat platforms: HTTP servers on loopback that refuse what the real ones are documented to refuse.

Limits are those of each platform's documentation, written down in docs/decisions.md, not those of the adapters under test.
"""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs, parse_qsl, urlsplit

import pytest
from google.apps.chat_v1 import Message
from google.protobuf import json_format
from slack_sdk.errors import SlackObjectFormationError
from slack_sdk.models.blocks import Block

from functions.runtime.secrets import SecretRef
from testbed.doubles.server import Handler, Serving

SECRET = "S3CR3T-do-not-show"


@dataclass(frozen=True, slots=True)
class Call:
    path: str
    query: dict[str, str]
    token: str
    body: Any
    size: int
    method: str = "POST"


@dataclass(frozen=True, slots=True)
class HttpAnswer:
    status: int
    body: str = ""
    headers: dict[str, str] = field(default_factory=dict)


class Platform(Serving):
    """Use it in a `with` block. It gives `next_answers` first, whatever is sent."""

    mention = "@here"
    """A mention in the platform's own form, as `pings` lists it; empty if the platform has none."""
    secret_is_url = True
    """Whether the secret is the address that is posted to, so that anything else is a mistake."""

    def __init__(self) -> None:
        self.taken: list[Call] = []
        self.refusals: list[str] = []
        self.calls = 0
        self.next_answers: list[HttpAnswer] = []
        platform = self

        class PlatformHandler(Handler):
            def answer(self) -> None:
                raw, parts = self.sent(), urlsplit(self.path)
                form = self.headers.get("Content-Type", "").startswith("application/x-www-form-urlencoded")
                body = dict(parse_qsl(raw.decode())) if form else json.loads(raw or "{}")
                query = {name: values[0] for name, values in parse_qs(parts.query).items()}
                token = self.headers.get("Authorization", "").removeprefix("Bearer ") or self.headers.get("X-ChatWorkToken", "")
                platform.calls += 1
                if platform.next_answers:
                    said = platform.next_answers.pop(0)
                else:
                    said = platform.handle(Call(parts.path, query, token, body, len(raw), self.command))
                self.reply(said.status, said.body.encode(), headers={"Content-Type": None, **said.headers})

        super().__init__(PlatformHandler)

    def close(self) -> None:
        """From now on the port is closed."""
        self.__exit__()

    def handle(self, call: Call) -> HttpAnswer:
        if problem := self.problem(call):
            self.refusals.append(problem)
            return HttpAnswer(400, problem)
        if call.method == "POST":
            self.taken.append(call)
        return self.accepted(call)

    def installed(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Points a client with a built-in address to this server."""

    def problem(self, call: Call) -> str:
        raise NotImplementedError

    def accepted(self, call: Call) -> HttpAnswer:
        raise NotImplementedError

    def secret(self) -> str:
        """The value of the secret setting."""
        raise NotImplementedError

    def chat(self, adapter: type[Any], secret: SecretRef) -> Any:
        """The chat that posts to this platform; `secret` refers to the value above."""
        return adapter(url=secret)

    def pings(self, body: Any) -> list[str]:
        """Whom this message would wake."""
        raise NotImplementedError


def strings(value: Any) -> Iterator[str]:
    """All strings of a JSON value."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for inner in value.values():
            yield from strings(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from strings(inner)


def slack_problem(body: dict[str, Any]) -> str:
    """Types and lengths of blocks are checked by slack_sdk's own models when they are written, those of buttons too."""
    blocks = body.get("blocks", [])
    if not body.get("text") and not blocks:
        return "no_text"
    if len(blocks) > 50 or len(json.dumps(blocks, ensure_ascii=False)) > 13_000:
        return "msg_blocks_too_long"
    if len(body.get("text", "")) > 40_000:
        return "msg_too_long"
    try:
        known = [block and block.to_dict()["type"] for block in Block.parse_all(blocks)]
    except SlackObjectFormationError as error:
        return f"invalid_blocks: {error}"
    texts = [
        text for block in blocks for text in (*block.get("fields", ()), *block.get("elements", ())) if text["type"] != "button"
    ]
    wrong = (
        known != [block["type"] for block in blocks]
        or any(block.get("elements") == [] for block in blocks)
        or any(block["type"] == "header" and block["text"]["type"] != "plain_text" for block in blocks)
        or any(not 1 <= len(text["text"]) <= 2000 or ("verbatim" in text and text["type"] != "mrkdwn") for text in texts)
    )
    return "invalid_blocks" if wrong else ""


def slack_pings(body: Any) -> list[str]:
    """In Slack only angle brackets mention; as entities they mean nothing."""
    return [ping for text in strings(body) for ping in re.findall(r"<[!@#][^>]*>", text)]


class SlackWebhook(Platform):
    mention = "<!channel>"

    def secret(self) -> str:
        return f"{self.url}/services/T0/B0/{SECRET}"

    def problem(self, call: Call) -> str:
        return slack_problem(call.body) if call.path == f"/services/T0/B0/{SECRET}" else "no_service"

    def accepted(self, call: Call) -> HttpAnswer:
        return HttpAnswer(200, "ok")

    def pings(self, body: Any) -> list[str]:
        return slack_pings(body)


class SlackApi(Platform):
    """The Web API, which answers errors with status 200."""

    mention = "<!channel>"
    secret_is_url = False

    def __init__(self) -> None:
        super().__init__()
        self.messages: dict[str, dict[str, Any]] = {}

    def secret(self) -> str:
        return f"xoxb-{SECRET}"

    def chat(self, adapter: type[Any], secret: SecretRef) -> Any:
        return adapter(token=secret, channel="C0123456789", base_url=self.url)

    def handle(self, call: Call) -> HttpAnswer:
        error = self.problem(call)
        if error:
            self.refusals.append(error)
            return HttpAnswer(200, json.dumps({"ok": False, "error": error}))
        if call.path != "/auth.test":
            self.taken.append(call)
        return self.accepted(call)

    def problem(self, call: Call) -> str:
        if call.token != self.secret():
            return "invalid_auth"
        if call.path == "/auth.test":
            return ""
        if call.path != "/chat.postMessage":
            return "unknown_method"
        if call.body.get("channel") != "C0123456789":
            return "channel_not_found"
        if call.body.get("thread_ts", "") and call.body["thread_ts"] not in self.messages:
            return "thread_not_found"
        return slack_problem(call.body)

    def accepted(self, call: Call) -> HttpAnswer:
        ts = f"17954.{len(self.messages):06d}"
        self.messages[ts] = call.body
        return HttpAnswer(200, json.dumps({"ok": True, "channel": "C0123456789", "ts": ts}))

    def pings(self, body: Any) -> list[str]:
        return slack_pings(body)


class GoogleChat(Platform):
    mention = "<users/all>"

    def __init__(self) -> None:
        super().__init__()
        self.threads: dict[str, str] = {}
        self.by_request: dict[str, str] = {}

    def secret(self) -> str:
        return f"{self.url}/v1/spaces/AAAA/messages?key=k&token={SECRET}"

    def problem(self, call: Call) -> str:
        if call.query.get("token") != SECRET or call.query.get("key") != "k":
            return "PERMISSION_DENIED"
        if call.size > 32_000:
            return "INVALID_ARGUMENT: message too large"
        cards = call.body.get("cardsV2", [])
        widgets = sum(len(section["widgets"]) for card in cards for section in card["card"].get("sections", []))
        if any(not section["widgets"] for card in cards for section in card["card"].get("sections", [])):
            return "INVALID_ARGUMENT: section without widgets"
        try:  # Google's own message types: an unknown field or a wrong type is an error
            json_format.ParseDict(call.body, Message.pb(Message()), ignore_unknown_fields=False)
        except json_format.ParseError as error:
            return f"INVALID_ARGUMENT: {error}"
        urls = [button["onClick"]["openLink"]["url"] for button in buttons(call.body)]
        if widgets > 100 or any(not url.startswith("http") for url in urls):
            return "INVALID_ARGUMENT: card"
        return "" if cards or call.body.get("text") else "INVALID_ARGUMENT: empty"

    def accepted(self, call: Call) -> HttpAnswer:
        request = call.query.get("requestId", "")
        if request in self.by_request:
            self.taken.pop()
            return HttpAnswer(200, json.dumps({"name": self.by_request[request]}))
        key = call.body.get("thread", {}).get("threadKey", "") if "messageReplyOption" in call.query else ""
        thread = self.threads.setdefault(key, f"t{len(self.threads)}") if key else f"t-alone-{len(self.taken)}"
        name = f"spaces/AAAA/messages/{thread}.{len(self.taken)}"
        if request:
            self.by_request[request] = name
        return HttpAnswer(200, json.dumps({"name": name, "thread": {"name": thread}}))

    def pings(self, body: Any) -> list[str]:
        return [ping for text in strings(body) for ping in re.findall(r"<users/[^>]*>", text)]


def buttons(body: Any) -> Iterator[Any]:
    for card in body.get("cardsV2", []):
        for section in card["card"].get("sections", []):
            for widget in section["widgets"]:
                yield from widget.get("buttonList", {}).get("buttons", [])


class AnyService(Platform):
    """Apprise's own JSON notification, which takes texts literally."""

    def secret(self) -> str:
        return f"json://{self.url.removeprefix('http://')}/{SECRET}"

    def problem(self, call: Call) -> str:
        if call.path.strip("/") != SECRET:
            return "unknown path"
        return "too long" if len(call.body["message"]) > 32_768 or len(call.body["title"]) > 250 else ""

    def accepted(self, call: Call) -> HttpAnswer:
        return HttpAnswer(200)

    def pings(self, body: Any) -> list[str]:
        form = r"<[!@#][^>]*>|<users/[^>]*>|@(?:everyone|here|channel)\b"
        return [ping for text in strings(body) for ping in re.findall(form, text)]
