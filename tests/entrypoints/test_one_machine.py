"""One machine's Unstick over HTTP: who may call what without a platform in front, what monitors ask it, the Test button."""

import sqlite3
import time
from pathlib import Path

import pytest

from functions import bootstrap
from functions.bootstrap import current_config
from functions.entrypoints.verify import sweep_overdue
from testbed.doubles.rundeck import Job, Rundeck
from testbed.unstick_process import MACHINE_TOKEN, ROOT, alert, notification

pytestmark = pytest.mark.usefixtures("patient_code", "health_asked_anew")


def test_the_least_configuration_serves_the_whole_way(place, monkeypatch):
    """examples/one-queue.yaml with `mode: auto`: an alert of Alertmanager's, one restart, and *recovered* in the only channel."""
    monkeypatch.chdir(place.folder)
    monkeypatch.setenv("ALERTMANAGER_TOKEN", "a-token-of-alertmanager-with-32-characters")
    queue = place.rabbit.queue("orders.created", ready=5, unacked=1, acks=9)
    empty = {"ready": 0, "unacked": 0, "acks": 18, "consumers": ("127.0.0.1:50002 -> 127.0.0.1:5672",)}
    written = (ROOT / "examples" / "one-queue.yaml").read_text(encoding="utf-8")
    with Rundeck(Job(id="11111111-1111-4111-8111-111111111111", action=lambda _: queue.set(**empty))) as rundeck:
        own = {"127.0.0.1:4440": rundeck.url[7:], "127.0.0.1:15672": place.rabbit.url[7:], "mode: observe": "mode: auto"}
        own["{rabbitmq: {}}"] = "{rabbitmq: {vhost: /, users: [mail], for: 60s}}"
        for shipped, value in own.items():
            assert shipped in written
            written = written.replace(shipped, value)
        (place.folder / "unstick.yaml").write_text(written, encoding="utf-8")
        current_config.cache_clear()
        bootstrap.current_adapters.cache_clear()
        place.rundeck = rundeck
        client = place.entry("webhook", "a-token-of-alertmanager-with-32-characters")
        answer = client.post("/", data=notification(alert("orders", "orders.created")), content_type="application/json")
        assert answer.status_code == 200, answer.text
        place.until_told(sweep_overdue)
    assert place.restarts() == 1
    assert "recovered" in place.cards()


@pytest.mark.parametrize("entry", ["verify", "report"])
def test_whoever_does_not_know_this_machines_token_is_refused(place, entry):
    """Neither a sweep nor a report, wherever the request seems to come from; with the token both work. Without one in the
    configuration nobody is let in, and the answer says what to set."""
    for token in ("", "another", MACHINE_TOKEN[:-1], f"{MACHINE_TOKEN} "):
        answer = place.entry(entry, token).post("/", headers={"Host": "127.0.0.1:8080"})
        assert (answer.status_code, "machine_tokens" in answer.json["error"]) == (403, True)
    assert place.entry(entry).post("/", headers={"X-Forwarded-For": "203.0.113.7"}).status_code == 200
    place.configured(machine_tokens=[])
    answer = place.entry(entry, "another").post("/")
    assert (answer.status_code, "machine_tokens" in answer.json["error"]) == (403, True)


def test_a_token_that_can_not_be_read_lets_nobody_in(place, monkeypatch):
    """503, as for Grafana's own secrets."""
    monkeypatch.delenv("UNSTICK_MACHINE_TOKEN")
    assert place.entry("verify").post("/").status_code == 503


def test_a_platform_lets_them_in(place, monkeypatch):
    """Cloud Run has checked the caller's permission; Knative, which sets one of the two names as well, has not."""
    current_config()  # which would refuse a local store there
    monkeypatch.setenv("K_SERVICE", "unstick-verify")
    assert place.entry("verify", "").post("/").status_code == 403
    monkeypatch.setenv("GOOGLE_CLOUD_PROJECT", "mail")
    assert place.entry("verify", "").post("/").status_code == 200


def swept(folder: Path, ago_s: float) -> None:
    """The last sweep was this long ago."""
    with sqlite3.connect(folder / "unstick.db") as file:
        file.execute("INSERT INTO sweeps (one, next_at) VALUES (1, ?)", (time.time() - ago_s + 60.0,))
    file.close()


def test_it_is_healthy_while_wake_ups_are_delivered_and_the_store_is_writable(place, tmp_path):
    """Anybody may ask, through the proxy too; figures are for those who know this machine's token."""
    webhook = place.entry("webhook")
    assert webhook.get("/healthz").json == {"healthy": False, "wrong": ["no process delivers wake-ups"]}
    swept(tmp_path, 5.0)
    stranger = place.entry("webhook", "")
    answer = stranger.get("/healthz")
    assert (answer.status_code, answer.json) == (200, {"healthy": True, "wrong": []})
    assert stranger.get("/metrics", headers={"Host": "127.0.0.1"}).status_code == 403
    lines = webhook.get("/metrics").text.splitlines()
    assert {"unstick_healthy 1", "unstick_paused 0", "unstick_documents_open 0", "unstick_documents_overdue 0"} <= set(lines)
    assert webhook.post("/healthz").status_code == 405


def test_a_loop_that_stands_still_and_a_store_that_is_locked_are_ill(place, tmp_path):
    """503, so that any monitor of addresses notices. Strangers learn which part it is, and only the log has the file's path."""
    webhook = place.entry("webhook")
    webhook.get("/healthz")
    swept(tmp_path, 300.0)
    assert webhook.get("/healthz").status_code == 503
    other = sqlite3.connect(tmp_path / "unstick.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    answer = webhook.get("/healthz")
    other.close()
    assert (answer.status_code, answer.json["wrong"]) == (503, ["the store can't be written", "wake-ups can't be written"])
    said = place.capsys.readouterr().out
    assert "unhealthy: the store can't be written: " in said
    assert "locked" in said
    assert "unstick_healthy 0" in webhook.get("/metrics").text
