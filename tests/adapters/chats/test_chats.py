"""What every chat must do. A new chat is tested automatically, and fails here until it has a stand-in."""

import functools
import html
import logging
import re
import sys
import time
import unicodedata
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote

import msgspec
import pytest
from msgspec.structs import replace

from functions.adapters.chats.apprise import Apprise
from functions.config.settings import adapter_names, load_adapter
from functions.domain.cards.card import compose
from functions.domain.model.cards import Card
from functions.domain.texts.words import SHORTENED
from functions.entrypoints.checks import check_chat
from functions.runtime.errors import Denied, Unavailable
from functions.runtime.secrets import SecretRef
from functions.runtime.text import in_language
from testbed.patience import PATIENCE_S
from tests.adapters.chats import platforms
from tests.adapters.chats.platforms import SECRET, HttpAnswer, Platform, strings
from tests.adapters.chats.services import DOUBLES, links_that_stay
from tests.support.worlds.example_stories import EXAMPLES, LONG, NOW, hostile, rules

pytestmark = pytest.mark.filterwarnings("ignore:'imghdr' is deprecated:DeprecationWarning")  # apprise on Python 3.11

CHATS = adapter_names("chats")
REFERENCE = SecretRef("env://CHAT_SECRET")
EVERYBODY = ("<!channel>", "<users/all>", "<at>oncall@example.com</at>", "@here", "[toall]")
BY_HTTP = [name for variants in DOUBLES.values() for name, double in variants if double]
EVERY = [name for variants in DOUBLES.values() for name, _ in variants]


@dataclass(frozen=True)
class Lab:
    name: str
    chat: Any
    platform: Platform | None
    capsys: pytest.CaptureFixture[str]

    def post(self, card: Card, thread: str | None = None, language: str = "en", timeout_s: float = PATIENCE_S) -> str | None:
        return self.chat.post(card, thread=thread, language=language, timeout_s=timeout_s)

    def shown(self) -> list[str]:
        """All texts that people see."""
        if self.platform is None:
            return [self.capsys.readouterr().out]
        return [text for call in self.platform.taken for text in strings(call.body)]

    def pings(self) -> list[str]:
        return [ping for call in self.platform.taken for ping in self.platform.pings(call.body)] if self.platform else []


@pytest.fixture
def lab(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Iterator[Lab]:
    name = request.param
    kind, double = next((kind, double) for kind, variants in DOUBLES.items() for known, double in variants if known == name)
    adapter = load_adapter("chats", kind)
    with ExitStack() as stack:
        if double is None:
            yield Lab(name, adapter(), None, capsys)
        else:
            platform = stack.enter_context(double())
            platform.installed(monkeypatch)
            monkeypatch.setenv("CHAT_SECRET", platform.secret())
            yield Lab(name, platform.chat(adapter, REFERENCE), platform, capsys)


every = pytest.mark.parametrize("lab", EVERY, indirect=True)
by_http = pytest.mark.parametrize("lab", BY_HTTP, indirect=True)


@pytest.mark.parametrize("name", CHATS)
def test_every_chat_keeps_the_contract_and_has_a_stand_in(name: str):
    """A frozen struct, a pure `render`, and a double that enforces the platform's limits; mypy compares its methods."""
    chat = load_adapter("chats", name)
    assert name in DOUBLES, f"add a stand-in for {name} and its line in DOUBLES to tests/adapters/chats/services.py"
    assert issubclass(chat, msgspec.Struct)
    assert chat.__struct_config__.frozen
    render = vars(sys.modules[chat.__module__])["render"]
    assert isinstance(render(compose(EXAMPLES["escalated"], rules()), "en"), str | dict)


@every
@pytest.mark.parametrize("language", ["en", "ja"])
def test_every_card_arrives(lab: Lab, language: str):
    """Platforms accept all kinds in both languages. All parts are complete, or the card says that it was cut."""
    for name, story in EXAMPLES.items():
        card = compose(story, rules(language))
        lab.post(card, language=language)
        shown = bare(" ".join(lab.shown()))
        if lab.platform is not None:
            assert not lab.platform.refusals
            lab.platform.taken.clear()
        is_whole = bare(in_language(language, SHORTENED)) not in shown
        links = card.links if is_whole else links_that_stay(card)
        parts = [card.headline, *card.text, *(url for _, url in links)]
        if is_whole:  # a platform that takes 1,000 characters loses the last facts
            parts += [part for fact in card.facts for part in fact]
        assert [part for part in parts if bare(part) not in shown] == [], name


def bare(text: str) -> str:
    """Letters and digits alone, before a platform's escapes: what no markup changes."""
    return "".join(filter(str.isalnum, html.unescape(unquote(text))))


@functools.cache
def hostile_cards(language: str) -> list[Card]:
    """Each different one once. Composing them takes longer than posting them."""
    return list(dict.fromkeys(compose(hostile(story), rules(language)) for story in EXAMPLES.values()))


@every
@pytest.mark.parametrize("language", ["en", pytest.param("ja", marks=pytest.mark.long)])
def test_hostile_text_is_accepted_and_pings_nobody(lab: Lab, language: str):
    """I8: 100 kB of markup and mentions in every label fit the limits, ping nobody, hide nothing, and are marked as cut."""
    cards = hostile_cards(language)
    for card in cards:
        began = time.process_time()
        lab.post(card, language=language)
        assert time.process_time() - began < 3.0
    shown = lab.shown()
    assert lab.pings() == []
    assert lab.platform is None or (not lab.platform.refusals and len(lab.platform.taken) == len(cards))
    assert "…" in "\n".join(shown)
    categories = {unicodedata.category(char) for text in shown for char in re.sub("\r?\n|@\u200b", "", text)}
    assert not categories & {"Cc", "Cf", "Cs", "Co"}


@every
def test_a_card_that_nobody_cleaned_is_accepted_too(lab: Lab):
    """Cards may come from elsewhere, such as the report, so each chat cleans and cuts by itself."""
    many = tuple((LONG, LONG) for _ in range(120))
    urls = tuple((LONG, f"https://e.example.com/{n}?{'a' * 1900}") for n in range(120))
    lab.post(Card("odd", "odd", LONG, many, (LONG,) * 120, (LONG,) * 120, ((0.0, 1),) * 9000, urls, (), LONG, NOW))
    lab.post(Card("empty", "fine", "", curve=((float("nan"), 3), (float("inf"), -1))))
    assert lab.pings() == []
    assert lab.platform is None or (not lab.platform.refusals and len(lab.platform.taken) == 2)


@by_http
def test_configured_mentions_ping_in_their_own_form(lab: Lab):
    """A card pings whom it mentions and nobody else. Names that belong to another platform are left out."""
    lab.post(compose(EXAMPLES["recovered"], rules()))
    assert lab.pings() == []
    own = lab.platform.mention
    everybody = tuple(dict.fromkeys([*EVERYBODY, *filter(None, [own])]))
    lab.post(replace(compose(EXAMPLES["escalated"], rules()), mention=everybody))
    assert set(lab.pings()) == set(filter(None, [own]))
    shown = "\n".join(lab.shown())
    assert [name for name in EVERYBODY if name != own and name in shown] == []


@by_http
@pytest.mark.parametrize("status", [None, 301, 400, 401, 403, 404, 500])
def test_no_error_holds_the_secret(lab: Lab, status: int | None, caplog: pytest.LogCaptureFixture):
    """I8: whatever the platform answers, or if nobody is there, error and log name system and status, never URL or token."""
    caplog.set_level(logging.DEBUG)
    secret = lab.platform.secret()
    if status is None:
        lab.platform.close()
    else:
        lab.platform.next_answers = [HttpAnswer(status, f"no: {secret}", {"Location": f"{lab.platform.url}/{SECRET}"})] * 5
    with pytest.raises((Denied, Unavailable)) as caught:
        lab.post(compose(EXAMPLES["started"], rules()), timeout_s=PATIENCE_S)
    error_text = " ".join((str(caught.value), repr(caught.value), repr(caught.value.__dict__), caplog.text))
    assert SECRET not in error_text
    assert caught.value.__suppress_context__ or caught.value.__context__ is None
    assert lab.platform.calls <= 2, "no redirect is followed, and few tries are made"
    if isinstance(lab.chat, Apprise):
        return  # apprise only says that the message was not accepted
    assert str(status or "refused") in str(caught.value)
    assert isinstance(caught.value, Unavailable if status in (None, 301, 500) else Denied)
    if status in (403, 404) and lab.name != "slack-bot":
        assert caught.value.remedy


NATIVE = [name for kind, variants in DOUBLES.items() for name, double in variants if double and kind != "apprise"]
BY_URL = [name for variants in DOUBLES.values() for name, double in variants if name in NATIVE and double.secret_is_url]


@pytest.mark.parametrize("lab", NATIVE, indirect=True)
def test_a_429_is_unavailable(lab: Lab):
    """A wake-up posts it later."""
    lab.platform.next_answers = [HttpAnswer(429, "", {"Retry-After": "600"})]
    with pytest.raises(Unavailable, match="answered 429"):
        lab.post(compose(EXAMPLES["started"], rules()))


@pytest.mark.parametrize("lab", BY_URL, indirect=True)
@pytest.mark.parametrize(
    "secret", ["", "no url", "ftp://example.com/x", "http://chat.example.com/x", "https://", "https://[::1", "https://a b"]
)
def test_a_secret_that_is_not_a_url_is_denied_with_a_remedy(lab: Lab, secret: str, monkeypatch: pytest.MonkeyPatch):
    """The error comes before anything is sent and does not repeat the secret."""
    monkeypatch.setenv("CHAT_SECRET", secret)
    with pytest.raises((Denied, Unavailable)) as caught:
        lab.post(compose(EXAMPLES["started"], rules()))
    assert not secret or secret not in str(caught.value)
    findings = check_chat("team", lab.chat, PATIENCE_S)
    assert [finding.ok for finding in findings] != [True]


@every
def test_check_posts_nothing(lab: Lab):
    """What only a post would show stays unknown, and nobody sees anything."""
    findings = check_chat("team", lab.chat, PATIENCE_S)
    assert findings
    assert all(finding.ok is not False for finding in findings)
    assert SECRET not in repr(findings)
    assert lab.platform is None or lab.platform.taken == []


@every
def test_one_incident_one_thread(lab: Lab):
    """Where the platform has threads, the cards of an incident share one. An unknown handle loses no message."""
    thread = lab.post(compose(EXAMPLES["started"], rules()))
    again = lab.post(compose(EXAMPLES["recovered"], rules()), thread=thread)
    lab.post(compose(EXAMPLES["recovered-moving"], rules()), thread="not a handle")
    assert (thread is None) == (again is None)
    if isinstance(lab.platform, platforms.GoogleChat):
        assert len(lab.platform.threads) == 1
    if isinstance(lab.platform, platforms.SlackApi):
        first, reply, alone = lab.platform.taken
        assert reply.body["thread_ts"] == thread
        assert "thread_ts" not in first.body | alone.body
