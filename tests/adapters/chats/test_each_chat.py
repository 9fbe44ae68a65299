"""What only one chat does: Slack's threads, Google's request ids, the terminal, services that call people.

Those have one alert for an incident, closed when it is over, and nothing for what needs nobody.
"""

import json
from collections.abc import Iterator
from typing import Any

import pytest
from msgspec.structs import replace

from functions.adapters.chats import apprise, console, google_chat, slack
from functions.adapters.chats._shared import escape_tags
from functions.application.ports import Chat, Finding
from functions.domain.cards.card import compose
from functions.domain.model.cards import Card
from functions.entrypoints.checks import check_chat
from functions.runtime.errors import Denied, Unavailable
from functions.runtime.secrets import SecretRef
from testbed.patience import PATIENCE_S
from tests.adapters.chats.platforms import Call, GoogleChat, HttpAnswer, Platform, SlackApi
from tests.support.worlds.example_stories import EXAMPLES, rules

REFERENCE = SecretRef("env://CHAT_SECRET")
STARTED, RECOVERED, ESCALATED = (compose(EXAMPLES[name], rules()) for name in ("started", "recovered", "escalated"))
pytestmark = pytest.mark.filterwarnings("ignore:'imghdr' is deprecated:DeprecationWarning")  # apprise on Python 3.11


class Bot(SlackApi):
    """Slack's Web API, and the channel that posts there."""

    def post(self, card: Card, thread: str | None = None, **changes: Any) -> str | None:
        return replace(self.settings, **changes).post(card, thread=thread, language="en", timeout_s=PATIENCE_S)

    @property
    def settings(self) -> slack.Slack:
        return slack.Slack(token=REFERENCE, channel="C0123456789", base_url=f"{self.url}/")


@pytest.fixture
def bot(monkeypatch: pytest.MonkeyPatch) -> Iterator[Bot]:
    with Bot() as platform:
        monkeypatch.setenv("CHAT_SECRET", platform.secret())
        yield platform


def test_slack_shows_the_end_of_a_long_log():
    """The error stands last. Lines are shown whole or not at all, and no entity is cut."""
    lines = tuple(f"line {number:02} <{'&' * 40}> {'x' * 150}" for number in range(15))
    message = slack.render(replace(compose(EXAMPLES["escalated"], rules()), evidence=lines), "en")
    (shown,) = [block["text"]["text"] for block in message["blocks"] if "line 14" in str(block)]
    kept = [line for line in shown.splitlines() if line.startswith("line")]
    assert kept == [escape_tags(line) for line in lines[-len(kept) :]]
    assert 2500 < len(shown) <= 3000


def test_a_deleted_first_card_loses_no_message(bot: Bot):
    """Somebody tidied up the channel: the whole card goes there, and begins a new thread."""
    thread = bot.post(STARTED)
    bot.messages.clear()
    again = bot.post(RECOVERED, thread)
    assert "thread_ts" not in bot.taken[-1].body
    assert bot.taken[-1].body["blocks"] == slack.render(RECOVERED, "en")["blocks"]
    assert again in bot.messages


def test_only_progress_stays_in_the_thread(bot: Bot):
    """Who needs to act, and what is over, also shows in the channel."""
    thread = bot.post(STARTED)
    for card in (STARTED, ESCALATED, RECOVERED):
        bot.post(card, thread)
    assert [call.body.get("reply_broadcast") for call in bot.taken] == [None, False, True, True]


def test_the_headline_goes_out_where_slack_finds_the_card_too_much(bot: Bot):
    """Better the headline than nothing."""
    bot.next_answers = [HttpAnswer(200, '{"ok": false, "error": "invalid_blocks"}')]
    assert bot.post(ESCALATED)
    assert "blocks" not in bot.taken[0].body
    assert "ACT NOW" in bot.taken[0].body["text"]


@pytest.mark.parametrize(
    ("error", "kind"), [("token_revoked", Denied), ("channel_not_found", Denied), ("ratelimited", Unavailable)]
)
def test_slacks_errors(bot: Bot, error: str, kind: type[Exception]):
    """A refusal comes with its remedy; an outage is retried later."""
    bot.next_answers = [HttpAnswer(200, json.dumps({"ok": False, "error": error}))]
    with pytest.raises(kind, match=error) as caught:
        bot.post(STARTED)
    assert kind is Unavailable or caught.value.remedy


def check(chat: Chat) -> Finding:
    (finding,) = check_chat("team", chat, PATIENCE_S)
    return finding


def test_check_finds_a_wrong_slack_token(bot: Bot, monkeypatch: pytest.MonkeyPatch):
    """auth.test costs no message. Whether the token is right is not known while Slack is down, which fails no deployment."""
    assert check(bot.settings).ok is True
    bot.next_answers = [HttpAnswer(200, '{"ok": false, "error": "service_unavailable"}')]
    assert check(bot.settings).ok is None
    assert check(replace(bot.settings, channel="")).ok is False
    bot.next_answers = [HttpAnswer(200, '{"ok": false, "error": "invalid_auth"}')]
    finding = check(bot.settings)
    assert (finding.ok, bool(finding.remedy)) == (False, True)
    assert check(slack.Slack()).ok is False


def test_google_chat_posts_the_same_card_once(monkeypatch: pytest.MonkeyPatch):
    """I6: posted again after a crash, with a newly signed approval link, it is the same message. A new state is a new message."""
    with GoogleChat() as platform:
        monkeypatch.setenv("CHAT_SECRET", platform.secret())
        settings = google_chat.GoogleChat(url=REFERENCE)
        again = replace(STARTED, links=tuple((label, f"{url}?signed=anew") for label, url in STARTED.links))
        for card in (STARTED, again, RECOVERED):
            settings.post(card, thread=None, language="en", timeout_s=PATIENCE_S)
        assert len(platform.taken) == 2
        assert platform.taken[0].query["messageReplyOption"] == "REPLY_MESSAGE_FALLBACK_TO_NEW_THREAD"


@pytest.mark.parametrize(
    ("chat", "url"), [(google_chat, "https://chat.googleapis.com/v1/spaces/A/messages?key=k"), (apprise, "nonsense://x")]
)
def test_check_knows_a_wrong_url(chat: Any, url: str, monkeypatch: pytest.MonkeyPatch):
    """Such as one that was not copied whole."""
    monkeypatch.setenv("CHAT_SECRET", url)
    finding = check(chat.ADAPTER(url=REFERENCE))
    assert (finding.ok, bool(finding.remedy), url in repr(finding)) == (False, True, False)


def test_no_row_of_a_strangers_parses_as_an_entry_of_the_log():
    """Cloud Logging takes a line that is JSON for an entry, with its severity and labels."""
    forged = '{"severity": "CRITICAL", "message": "restarted"}'
    card = replace(
        STARTED, text=(f"x\n{forged}", forged), evidence=(forged, f"  {forged}"), links=(), curve=(), facts=((forged, forged),)
    )
    rows = console.render(card, "en").splitlines()
    assert sum(forged in row for row in rows) >= 4
    assert not any(row.lstrip().startswith("{") for row in rows)


@pytest.mark.parametrize("body", ["", "<html>log in</html>", "[]", '{"ok": false, "error": ["xoxb-S3CR3T-do-not-show"]}', "{}"])
def test_slack_answers_that_are_not_from_slack(bot: Bot, body: str):
    """A proxy's page or an odd error is not a success, and the error repeats nothing of it."""
    bot.next_answers = [HttpAnswer(200, body)]
    with pytest.raises((Denied, Unavailable)) as caught:
        bot.post(STARTED)
    assert "S3CR3T" not in str(caught.value)


INCIDENT = "20261126-031207-7f3a9c21"


class Pager(Platform):
    """Takes whatever is posted."""

    def handle(self, call: Call) -> HttpAnswer:
        self.taken.append(call)
        return HttpAnswer(202, json.dumps({"result": "ok", "requestId": "r-1"}))


def page(pager: Pager, url: str, monkeypatch: pytest.MonkeyPatch, *names: str) -> list[dict[str, Any]]:
    """What was sent for these cards."""
    monkeypatch.setenv("CHAT_SECRET", url)
    for name in names:
        card = replace(compose(EXAMPLES[name], rules()), incident=INCIDENT)
        apprise.Apprise(url=REFERENCE).post(card, thread=None, language="en", timeout_s=PATIENCE_S)
    return [call.body for call in pager.taken]


def test_pagerduty_opens_one_incident_and_resolves_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """By the incident's id: what calls people triggers, a reminder joins, a recovery resolves; what needs nobody is not sent.

    JSON carries the same for receivers of one's own, such as Grafana OnCall.
    """
    from apprise.plugins import pagerduty

    with Pager() as pager:
        monkeypatch.setitem(pagerduty.PAGERDUTY_API_LOOKUP, "us", f"{pager.url}/v2/enqueue")
        url = f"pagerduty://{'k' * 32}@{'a' * 20}"
        sent = page(pager, url, monkeypatch, "escalated", "escalated-again", "acknowledged", "started", "recovered")
        assert [one["event_action"] for one in sent] == ["trigger", "trigger", "resolve"]
        assert {one["dedup_key"] for one in sent} == {INCIDENT}
        assert sent[0]["payload"]["severity"] == "critical"
        sent = page(pager, pager.url.replace("http://", "json://"), monkeypatch, "recovered")
    assert [sent[-1][key] for key in ("incident", "urgency", "type")] == [INCIDENT, "fine", "success"]
