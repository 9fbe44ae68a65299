"""Chats that take text only: the approval link arrives complete and first, and other people's markup shows literally."""

import re
from typing import Any
from urllib.parse import unquote

import pytest
import services
from hypothesis import example, given
from hypothesis import strategies as st
from msgspec.structs import replace

from functions.adapters.chats import apprise, chatwork
from functions.adapters.chats._plain_text import escape_markup, lay_out_body
from functions.domain.cards.card import compose
from functions.domain.model.cards import Card
from functions.domain.texts.words import SHORTENED
from functions.runtime.secrets import SecretRef
from functions.runtime.text import in_language
from testbed.patience import PATIENCE_S
from tests.adapters.chats.platforms import AnyService
from tests.support.worlds.example_stories import EXAMPLES, rules

pytestmark = pytest.mark.filterwarnings("ignore:'imghdr' is deprecated:DeprecationWarning")  # apprise on Python 3.11
REFERENCE = SecretRef("env://CHAT_SECRET")
APPROVE = f"https://unstick.example.com/approve/eyJhbGciOi_JIUzI1NiJ9.{'a-_b.' * 40}c/"
OVERRULED = EXAMPLES["held-overrule"]
ASKED = compose(OVERRULED, rules())
ESCALATED = compose(EXAMPLES["escalated"], rules())
EVERY = pytest.mark.parametrize("double", [services.Discord, services.Teams, AnyService, services.Chatwork])


@pytest.fixture
def post_and_read(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Posts a card and returns the text that people read."""

    def post(double: Any, card: Card, language: str = "en") -> str:
        with double() as platform:
            platform.installed(monkeypatch)
            monkeypatch.setenv("CHAT_SECRET", platform.secret())
            chat = platform.chat(chatwork.Chatwork if double is services.Chatwork else apprise.Apprise, REFERENCE)
            chat.post(card, thread=None, language=language, timeout_s=PATIENCE_S)
            (call,) = platform.taken
        if double is AnyService:
            return f"{call.body['title']}\n{call.body['message']}"
        return str(platform.text(call.body).replace("\r\n", "\n"))

    return post


@EVERY
@pytest.mark.parametrize("language", ["en", "ja"])
def test_the_approval_link_arrives_whole_and_before_the_facts(double: Any, language: str, post_and_read: Any):
    """A phone shows the first lines, so the link stands there, however long the card is."""
    overruled = compose(OVERRULED, rules(language))
    evidence = tuple(f"03:07:{n:02} WARN smtp relay-{n}.example.com:25 timed out" for n in range(20))
    card = replace(overruled, links=((overruled.links[0][0], APPROVE), *overruled.links[1:]), evidence=evidence)
    text = post_and_read(double, card, language)
    assert services.linked(text)[0] == APPROVE
    is_whole = in_language(language, SHORTENED).strip() not in text
    stay = card.links if is_whole else services.links_that_stay(card)
    assert [url for _, url in stay if url not in services.linked(text)] == []
    assert overruled.headline in text
    first = text.find(f"{overruled.facts[0][0]}: ")
    assert first == -1 or text.index(APPROVE) < first


@pytest.mark.parametrize(
    ("limit", "kept", "cut"),
    [
        (2400, ("Queue", "Time", "relay-19", "relay-10"), ("relay-0.",)),
        (1700, ("Queue", "Runbook"), ("relay-0.", "relay-10")),
        (1150, ("What to do", "MAIL-123"), ("relay-", "Runbook:", "Time")),
        (680, ("What to do", "MAIL-123"), ("relay-", "Queue")),
    ],
)
def test_evidence_is_cut_first_then_facts_then_text(
    limit: int, kept: tuple[str, ...], cut: tuple[str, ...], post_and_read: Any, monkeypatch: pytest.MonkeyPatch
):
    """The last lines of the log stay longest, the links up to the incident's page always. A mark shows what is missing."""
    from apprise.plugins.custom_json import NotifyJSON

    monkeypatch.setattr(NotifyJSON, "body_maxlen", limit)
    monkeypatch.setattr(NotifyJSON, "title_maxlen", 40)
    evidence = tuple(f"03:07:{n:02} WARN smtp relay-{n}.example.com:25 timed out" for n in range(20))
    text = post_and_read(AnyService, replace(ESCALATED, evidence=evidence))
    title, _, body = text.partition("\n")
    assert title.endswith("… (shortened)")
    assert len(body) <= limit
    assert [part for part in kept if part not in body] == []
    assert [part for part in cut if part in body] == []
    assert "… (shortened)" in body
    stay = ESCALATED.links if limit > 1000 else services.links_that_stay(ESCALATED)
    assert [url for _, url in stay if url not in services.linked(text)] == []


@EVERY
@pytest.mark.parametrize(
    "url",
    [
        "https://grafana.example.com/d/abc?var-user=@everyone&x=me@example.com",
        "https://grafana.example.com/d/(abc)?filter=[a](b)&c=*d*~e~",
        "https://grafana.example.com/d/__all__?orgId=1&from=now-6h#panel-4",
        "https://grafana.example.com/d/メール",
        "https://[::1]:3000/d/abc",
    ],
)
def test_a_link_still_leads_to_its_page(double: Any, url: str, post_and_read: Any):
    """Characters that a chat would take for markup or a mention are percent-encoded; nothing is inserted."""
    text = post_and_read(double, replace(ASKED, links=(("Panel", url),)))
    (row,) = [line for line in text.split("\n") if line.startswith("Panel: ")]
    shown = row.removeprefix("Panel: ")
    assert unquote(shown) == unquote(url)
    assert not re.search(r"[@()*~]|__|[^\x21-\x7e]", shown)
    assert "[::1]" in url or services.linked(shown) == [shown]


def test_ordinary_names_stay_as_they_are():
    """People can copy and read them."""
    names = ("mail_queue_a", "mail.outgoing", "jobs:eu", "amq.gen-JzTY20BRgKO_HjmUJj0wLg", "03:06:41", "a|b", "C#")
    text = apprise.render(replace(ASKED, facts=tuple(("Queue", name) for name in names)), "en")
    assert [name for name in names if f"Queue: {name}\n" not in text] == []


PARTS = [*"*_~`|[]()<>@#:!.,-+=\\ab1 ", "```", "**", "__", "~~", "||", "](", ":fire:", "https://e.example.com/", "www.", "日本"]


@given(st.lists(st.sampled_from(PARTS), max_size=25).map("".join))
@example("[Approve the restart](https://evil.example)")
@example("[a] [b]: https://evil")
def test_text_is_always_drawn_literally(text: str):
    """Whatever characters meet, and wherever it is cut; no words become a link."""
    card = Card("x", "act", text, ((f"Queue {text}", text),), (f"Details: {text}",), (text,))
    shown = apprise.render(card, "en")
    for drawn in (shown, lay_out_body(card, "en", 60, escape_markup)):
        assert services.drawn(drawn) == []
        assert services.linked(drawn) == []
        assert not {"[", "]"} & set(drawn)
    assert services.units(shown.split("\n")[0]) <= 250


@pytest.mark.parametrize("mention", ["@here", "@h.tanaka", "<@123456789>", "<@&123456789>"])
def test_apprise_mentions_what_its_services_write(mention: str, post_and_read: Any):
    """Names with @ (Mattermost, Discord, Rocket.Chat) and Discord's ids stand below the headline."""
    text = post_and_read(services.Discord, replace(ESCALATED, mention=("<!channel>", mention)))
    assert text.split("\n")[1] == mention


def test_chatwork_notation_in_names_is_shown_literally(post_and_read: Any):
    """No spelling makes a mention or a box. Figures in brackets, as in logs, stay as they are."""
    names = (
        "[toall]", "[To:1]", "[TO:1]", "[rp aid=1 to=2-3]", "[返信 aid=1]", "[/info]", "[code]", "[qt]", "[INFO] up", "[ hr ]",
    )  # fmt: skip
    text = post_and_read(
        services.Chatwork, replace(ASKED, evidence=(*names, "[12:03] up"), facts=tuple(("Queue", name) for name in names))
    )
    assert re.findall(r"\[[^\]]*\]", text) == ["[info]", "[title]", "[/title]", "[12:03]", "[/info]"]
    assert "Queue: ［INFO] up" in text
