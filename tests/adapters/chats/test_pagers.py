"""Services behind apprise that call people: one alert for an incident, closed when it is over; nothing for what needs nobody."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
from msgspec.structs import replace

from functions.adapters.chats import apprise
from functions.domain.cards.card import compose
from functions.domain.model.messages import Card
from functions.runtime.secrets import SecretRef
from testbed.patience import PATIENCE_S
from tests.adapters.chats.platforms import Call, HttpAnswer, Platform
from tests.support.worlds.example_stories import EXAMPLES, rules

pytestmark = pytest.mark.filterwarnings("ignore:'imghdr' is deprecated:DeprecationWarning")  # apprise on Python 3.11

INCIDENT = "20261126-031207-7f3a9c21"


class Pager(Platform):
    """Takes whatever is posted."""

    def handle(self, call: Call) -> HttpAnswer:
        self.taken.append(call)
        return HttpAnswer(202, json.dumps({"result": "ok", "requestId": "r-1"}))


@pytest.fixture
def pager() -> Iterator[Pager]:
    with Pager() as platform:
        yield platform


def post(url: str, name: str, monkeypatch: pytest.MonkeyPatch, incident: str = INCIDENT) -> None:
    monkeypatch.setenv("PAGER_URL", url)
    card: Card = replace(compose(EXAMPLES[name], rules()), incident=incident)
    apprise.Apprise(url=SecretRef("env://PAGER_URL")).post(card, thread=None, language="en", timeout_s=PATIENCE_S)


def sent(pager: Pager) -> list[dict[str, Any]]:
    return [call.body for call in pager.taken]


def test_pagerduty_opens_one_incident_and_resolves_it(pager: Pager, monkeypatch: pytest.MonkeyPatch) -> None:
    """By the incident's id: what calls people triggers, a reminder joins, a recovery resolves; what needs nobody is not sent."""
    from apprise.plugins import pagerduty

    monkeypatch.setitem(pagerduty.PAGERDUTY_API_LOOKUP, "us", f"{pager.url}/v2/enqueue")
    url = f"pagerduty://{'k' * 32}@{'a' * 20}"
    for name in ("escalated", "escalated-again", "acknowledged", "started", "recovered"):
        post(url, name, monkeypatch)
    assert [(one["event_action"], one["dedup_key"]) for one in sent(pager)] == [
        ("trigger", INCIDENT),
        ("trigger", INCIDENT),
        ("resolve", INCIDENT),
    ]
    assert sent(pager)[0]["payload"]["severity"] == "critical"


def test_opsgenie_opens_an_alert_with_the_incident_as_its_alias(pager: Pager, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a type, the plugin would only add notes to alerts that it knows, and say that all went well."""
    from apprise.plugins import opsgenie

    monkeypatch.setitem(opsgenie.OPSGENIE_API_LOOKUP, "us", f"{pager.url}/v2/alerts")
    for name in ("escalated", "started"):
        post("opsgenie://12345678-1234-1234-1234-123456789012", name, monkeypatch)
    (one,) = sent(pager)
    assert one["alias"] == INCIDENT
    assert one["message"].startswith("🚨 ACT NOW")


def test_json_carries_what_a_receiver_groups_and_resolves_by(pager: Pager, monkeypatch: pytest.MonkeyPatch) -> None:
    """For Grafana OnCall's webhook integration, and receivers of one's own."""
    for name in ("escalated", "started", "recovered"):
        post(pager.url.replace("http://", "json://"), name, monkeypatch)
    assert [(one["incident"], one["urgency"], one["type"]) for one in sent(pager)] == [
        (INCIDENT, "act", "failure"),
        (INCIDENT, "watch", "warning"),
        (INCIDENT, "fine", "success"),
    ]
