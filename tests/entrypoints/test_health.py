"""What monitors ask one machine's Unstick about itself, without a secret."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from functions.entrypoints import health
from tests.support.worlds.one_machine import Place, stuck

pytestmark = pytest.mark.usefixtures("patient_code")


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Iterator[Place]:
    monkeypatch.delenv("K_SERVICE", raising=False)
    monkeypatch.setattr(health, "KEPT_S", 1e-9)
    with stuck(tmp_path, monkeypatch, capsys) as made:
        yield made


def swept(folder: Path, ago_s: float) -> None:
    """The last sweep was this long ago."""
    with sqlite3.connect(folder / "unstick.db") as file:
        file.execute("INSERT INTO sweeps (one, next_at) VALUES (1, ?)", (time.time() - ago_s + 60.0,))
    file.close()


def test_it_is_healthy_while_wake_ups_are_delivered_and_the_store_is_writable(place, tmp_path):
    """Anybody may ask, through the proxy too; figures are for this machine alone."""
    webhook = place.entry("webhook")
    assert webhook.get("/healthz").json == {"healthy": False, "wrong": ["no process delivers wake-ups"]}
    swept(tmp_path, 5.0)
    elsewhere = {"environ_overrides": {"REMOTE_ADDR": "10.0.0.7"}}
    answer = webhook.get("/healthz", **elsewhere)
    assert (answer.status_code, answer.json) == (200, {"healthy": True, "wrong": []})
    assert webhook.get("/metrics", **elsewhere).status_code == 403
    assert webhook.get("/metrics", headers={"X-Forwarded-For": "10.0.0.7"}).status_code == 403
    lines = webhook.get("/metrics").text.splitlines()
    assert {"unstick_healthy 1", "unstick_paused 0", "unstick_documents_open 0", "unstick_documents_overdue 0"} <= set(lines)
    assert webhook.post("/healthz").status_code == 405


def test_a_loop_that_stands_still_and_a_store_that_is_locked_are_ill(place, tmp_path):
    """503, so that any monitor of addresses notices."""
    webhook = place.entry("webhook")
    webhook.get("/healthz")
    swept(tmp_path, 300.0)
    assert webhook.get("/healthz").status_code == 503
    other = sqlite3.connect(tmp_path / "unstick.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    answer = webhook.get("/healthz")
    other.close()
    assert (answer.status_code, "locked" in answer.json["wrong"][0]) == (503, True)
    assert "unstick_healthy 0" in webhook.get("/metrics").text
