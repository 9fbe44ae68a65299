"""The three functions as functions-framework serves them, without a port, with an unstick.yaml in a folder of the test."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import functions_framework
import pytest
import yaml
from werkzeug.test import Client, TestResponse

from testbed.unstick_process import HMAC_SECRET, ROOT, RUNNER_TOKEN, SIGNING_KEY, signed


class Entry:
    """`entry["webhook"]` is a client of that function's; each is made on first use, after the settings are there."""

    def __init__(self) -> None:
        self.clients: dict[str, Client] = {}

    def __getitem__(self, target: str) -> Client:
        if target not in self.clients:
            self.clients[target] = functions_framework.create_app(target, str(ROOT / "main.py")).test_client()
        return self.clients[target]

    def notify(self, body: bytes, **headers: str) -> TestResponse:
        return self["webhook"].post("/", data=body, headers=signed(body) | headers)


def configured(written: dict[str, Any], folder: Path, monkeypatch: pytest.MonkeyPatch) -> Entry:
    """The functions with this configuration and the secrets of tests."""
    (folder / "unstick.yaml").write_text(yaml.safe_dump(written), encoding="utf-8")
    monkeypatch.chdir(folder)
    monkeypatch.delenv("FUNCTION_TARGET", raising=False)
    for name, value in {
        "UNSTICK_CONFIG": "unstick.yaml",
        "GRAFANA_HMAC_SECRET": HMAC_SECRET,
        "RUNDECK_TOKEN": RUNNER_TOKEN,
        "RABBITMQ_PASSWORD": "secret",
        "UNSTICK_SIGNING_KEY": SIGNING_KEY,
    }.items():
        monkeypatch.setenv(name, value)
    return Entry()
