"""The figures of `/metrics`: what is open, and counters that are counted in the archive."""

import re
import subprocess
import time
from typing import Any

import pytest

from functions.adapters.schedulers import _local_health
from functions.application.documents import encode
from functions.bootstrap import current_adapters
from functions.domain.model.alerts import NO_RUNBOOK_KEY, TurnedAway
from functions.domain.model.cards import Card, Message
from functions.domain.model.codes import Ending, Phase, Reason
from functions.domain.model.incidents import Archive, Document, HistoryEntry, Outcome
from tests.support.needs import need
from tests.support.worlds.one_machine import Place
from tests.support.worlds.scenes import TARGET, change, incident, trigger

pytestmark = pytest.mark.usefixtures("patient_code", "health_asked_anew")
DAY_S = 86400.0


def scraped(place: Place) -> dict[str, float]:
    """By name and labels, as Prometheus reads it."""
    answer = place.entry("webhook").get("/metrics")
    assert answer.status_code == 200
    pairs = (line.rpartition(" ") for line in answer.text.splitlines() if not line.startswith("#"))
    return {name: float(value) for name, _, value in pairs}


def saved(document: Document) -> None:
    store = current_adapters().store
    old = store.load(document.key, timeout_s=5)
    store.save(document.key, encode(document), generation=old and old.generation, due=document.due, timeout_s=5)


def archived(name: str, ago_s: float, ending: Ending, reason: Reason | None = None, **changes: Any) -> None:
    at = time.time() - ago_s
    ended = change(incident(id=name, triggers=(trigger(starts_at=at - 600.0),)), **changes)
    record = Archive(TARGET, ended, Outcome(name, ending, reason, at, ended.triggers, restarts=ended.restarts))
    path = f"incidents/{time.strftime('%Y-%m-%d', time.gmtime(at))}/{name}.json"
    current_adapters().store.archive(path, encode(record), timeout_s=5)


def some_history() -> None:
    """A month's restarts and holds."""
    archived("a", 30 * DAY_S, Ending.RECOVERED, restarts=2)
    archived("b", 10.0, Ending.ESCALATED, restarts=2)
    archived("c", 5 * DAY_S, Ending.HELD, Reason.PAUSED)
    archived("d", 10.0, Ending.HELD, Reason.PAUSED)


def some_trouble() -> None:
    """Something of everything that an alert is about."""
    now = time.time()
    stale = HistoryEntry(now - 900.0, Phase.RUNNING)
    card = Card("held", "act", "x", at=now - 300.0)
    open_one = incident(Phase.RUNNING, began_at=now - 1000.0, due=now - 130.0, history=(stale,))
    saved(Document("t-1", TARGET, open_one, to_tell=(Message("m@ops", "ops", card),), due=now - 130.0))
    asked = incident(Phase.ASKED, began_at=now - 9000.0, due=now + 60.0)
    saved(Document("t-2", TARGET, asked, due=now + 60.0))
    saved(Document(NO_RUNBOOK_KEY, turned_away=TurnedAway({"old": now - 2 * DAY_S, "MaybeStuck jobs": now})))


def test_a_quiet_machine_shows_zeros(place: Place):
    """A figure that appears with the first trouble can't be compared with before."""
    figures = scraped(place)
    for name in ("paused", "documents_open", "documents_overdue", "messages_waiting", "unmatched_alerts",
                 "wakeup_lateness_seconds", "incident_unchanged_seconds", "message_waiting_seconds"):  # fmt: skip
        assert figures[f"unstick_{name}"] == 0.0
    assert figures['unstick_incidents_open{phase="running"}'] == 0.0
    assert figures['unstick_incidents_total{runbook="mail",outcome="held"}'] == 0.0
    assert "unstick_token_expiry_timestamp_seconds" in figures
    place.configured(rundeck={"url": place.rundeck.url, "token": "env://RUNDECK_TOKEN"})
    assert "unstick_token_expiry_timestamp_seconds" not in scraped(place), "nobody knows it"


def test_what_is_open_late_or_unsaid(place: Place):
    """Each by its age in seconds. An incident that waits for a person is not stuck."""
    some_trouble()
    figures = scraped(place)
    assert (figures["unstick_documents_open"], figures["unstick_documents_overdue"]) == (2, 1)
    assert figures['unstick_incidents_open{phase="running"}'] == figures['unstick_incidents_open{phase="asked"}'] == 1
    assert figures["unstick_wakeup_lateness_seconds"] == pytest.approx(130.0, abs=30.0)
    assert figures["unstick_incident_unchanged_seconds"] == pytest.approx(900.0, abs=30.0)
    assert figures["unstick_message_waiting_seconds"] == pytest.approx(300.0, abs=30.0)
    assert (figures["unstick_messages_waiting"], figures["unstick_unmatched_alerts"]) == (1, 1)


def test_counters_are_counted_in_the_archive(place: Place):
    """They never fall while it is kept: a new process, or a record that ends today, only adds."""
    some_history()
    figures = scraped(place)
    ended = 'unstick_incidents_total{runbook="mail",outcome="%s"}'
    assert [figures[ended % ending.value] for ending in Ending] == [1, 1, 2]
    assert (figures['unstick_holds_total{reason="paused"}'], figures['unstick_holds_total{reason="frozen"}']) == (2, 0)
    assert figures['unstick_restarts_total{runbook="mail"}'] == 4
    archived("e", 1.0, Ending.RECOVERED, restarts=2)
    _local_health.count_before.cache_clear()
    assert scraped(place)['unstick_restarts_total{runbook="mail"}'] == 6


def test_what_can_not_be_decoded_hides_nothing_else(place: Place):
    """A record or document of another release is left out."""
    some_history()
    store = current_adapters().store
    store.archive(f"incidents/{time.strftime('%Y-%m-%d')}/broken.json", b"{", timeout_s=5)
    store.save("t-3", b"{broken", generation=None, due=time.time() + 60.0, timeout_s=5)
    figures = scraped(place)
    assert (figures["unstick_documents_open"], figures["unstick_healthy"]) == (1, 0)
    assert figures['unstick_restarts_total{runbook="mail"}'] == 4


def test_label_values_are_escaped(place: Place):
    """A runbook that was removed may have had any name."""
    archived("a", 10.0, Ending.HELD, Reason.PAUSED, runbook='a"b\\c\nd')
    assert r'unstick_incidents_total{runbook="a\"b\\c\nd",outcome="held"} 1' in place.entry("webhook").get("/metrics").text


def test_prometheus_finds_nothing_to_improve(place: Place):
    """Names, units and help as its conventions want them."""
    need("prometheus")
    some_history()
    some_trouble()
    text = place.entry("webhook").get("/metrics").text
    done = subprocess.run(["promtool", "check", "metrics"], input=text, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert len(re.findall(r"^# TYPE unstick_\w+ counter$", text, re.MULTILINE)) == 3
