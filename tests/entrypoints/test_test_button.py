"""The Test button of a contact point, as each release of Grafana sends it: it restarts nothing, whatever labels it carries."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from testbed.unstick_process import alert, notification, signed
from tests.support.worlds.one_machine import Place, stuck

pytestmark = pytest.mark.usefixtures("patient_code")


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Iterator[Place]:
    with stuck(tmp_path, monkeypatch, capsys) as made:
        yield made


@pytest.mark.parametrize(
    ("receiver", "key"),
    [
        ("webhook", "webhook-57c6d9296de2ad39-1795561723"),
        ("test", "test-57c6d9296de2ad39-1795561723"),
        ("unstick", "a form of a later release"),
    ],
)
def test_a_test_with_the_labels_of_a_runbook_restarts_nothing(place, receiver, key):
    """I3: the queue that it names is stuck, and all guards would let it through."""
    content = json.loads(notification({**alert("mail", "mail.delivery"), "generatorURL": ""}))
    body = json.dumps(content | {"receiver": receiver, "groupKey": key}).encode()
    (answer,) = place.entry("webhook").post("/", data=body, headers=signed(body)).json["incidents"]
    assert (answer["action"], answer["reason"]) == ("held", "test_alert")
    assert place.rundeck.posts() == []
    assert "ACT NOW" not in place.cards()
