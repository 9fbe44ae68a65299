"""Unstick on one machine, with a test for its scheduler: it has what was written for it, and delivers when it likes.

with stuck(folder, monkeypatch, capsys, Place) as place:      # mail.delivery and post.delivery are stuck; a restart empties them
    place.alerted()
    place.later(3600.0)                      # all that was written down lies an hour back
    place.until_told(place.swept)
    assert "recovered" in place.cards()
"""

import json
import os
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, TypeVar

import functions_framework
import pytest
import yaml
from flask.testing import FlaskClient

from functions import bootstrap
from functions.application import signing
from functions.application.documents import decode
from functions.bootstrap import current_config
from functions.domain.model.codes import VERSION
from functions.domain.model.incidents import Document
from functions.runtime.errors import BadRequest
from functions.runtime.secrets import SecretRef
from testbed.doubles.rabbitmq import RabbitDouble
from testbed.doubles.rundeck import NOT_AFTER, Job, Rundeck
from testbed.unstick_process import (
    HMAC_SECRET,
    MACHINE_TOKEN,
    ROOT,
    RUNNER_TOKEN,
    SIGNING_KEY,
    alert,
    configuration,
    job_id,
    notification,
    runbook,
    signed,
)

ANOTHER_KEY = "another-signing-key-of-tests-32-characters"
SECRETS = {
    "GRAFANA_HMAC_SECRET": HMAC_SECRET, "RUNDECK_TOKEN": RUNNER_TOKEN, "RABBITMQ_PASSWORD": "secret",
    "UNSTICK_SIGNING_KEY": SIGNING_KEY, "ANOTHER_KEY": ANOTHER_KEY, "UNSTICK_MACHINE_TOKEN": MACHINE_TOKEN,
}  # fmt: skip


@dataclass
class Place:
    """One machine with Unstick on it, and what it meets."""

    services: ClassVar[tuple[str, ...]] = ("mail", "post")
    """What Rundeck can restart. A configuration has a runbook for the first where none is given."""
    folder: Path
    rundeck: Rundeck
    rabbit: RabbitDouble
    capsys: pytest.CaptureFixture[str]
    seen: str = field(default="")
    moved_s: float = 0.0
    """How far back all that was written down was moved so far."""

    @property
    def database(self) -> Path:
        return self.folder / "unstick.db"

    def configured(self, *runbooks: dict[str, Any], name: str = "unstick.yaml", **changes: Any) -> Path:
        """Deploy this configuration, or write it to another file."""
        local = {"local": {"path": str(self.database)}}
        changes = {"store": local, "scheduler": local} | changes
        settings = configuration(self.rundeck.url, self.rabbit.url, runbooks or [runbook(self.services[0])], **changes)
        (self.folder / name).write_text(yaml.safe_dump(settings))
        current_config.cache_clear()
        bootstrap.current_adapters.cache_clear()
        return self.folder / name

    def entry(self, target: str, token: str = MACHINE_TOKEN) -> FlaskClient:
        """The entry point, for a caller with this machine's token. `token`: another, or none if it is empty."""
        client = functions_framework.create_app(target, str(ROOT / "main.py")).test_client()
        if token:
            client.environ_base["HTTP_AUTHORIZATION"] = f"Bearer {token}"
        return client

    def alerted(self, *services: str, starts_at: float | None = None, **labels: str) -> None:
        """Grafana notifies; the answer is 200."""
        alerts = (alert(name, f"{name}.delivery", starts_at=starts_at, **labels) for name in services or ["mail"])
        body = notification(*alerts)
        answer = self.entry("webhook").post("/", data=body, headers=signed(body))
        assert answer.status_code == 200, answer.text
        self.rundeck.state.finish_work()

    def wake_ups(self) -> list[str]:
        """The payloads that the scheduler has."""
        with closing(sqlite3.connect(self.database)) as file:
            return [row[0] for row in file.execute("SELECT payload FROM wake_ups ORDER BY id")]

    def delivered(self, payload: str) -> tuple[int, str]:
        """The scheduler brings one."""
        answer = self.entry("verify").post("/", json={"wake": payload})
        return answer.status_code, answer.text

    def swept(self) -> None:
        assert self.entry("verify").post("/").status_code == 200

    def later(self, seconds: float) -> None:
        """All that was written down lies further back."""
        self.rundeck.state.finish_work()
        self.moved_s += seconds
        with closing(sqlite3.connect(self.database)) as file, file:
            for key, body, due in file.execute("SELECT key, body, due FROM documents").fetchall():
                older = json.dumps(_earlier(json.loads(body), seconds)).encode()
                file.execute("UPDATE documents SET body = ?, due = ? WHERE key = ?", (older, due and due - seconds, key))
            for row, payload in file.execute("SELECT id, payload FROM wake_ups").fetchall():
                content = content_of(payload)
                if content and "due" in content:
                    older = payload_of(content | {"due": content["due"] - seconds})
                    file.execute("UPDATE wake_ups SET payload = ? WHERE id = ?", (older, row))
        with self.rundeck.state.lock:
            for run in self.rundeck.state.runs.values():
                run.started, run.ends_at = run.started - seconds, run.ends_at - seconds
                run.command_ends -= seconds
                if NOT_AFTER in run.options:
                    run.options[NOT_AFTER] = str(int(run.options[NOT_AFTER]) - int(seconds))
                run.ended = run.ended and run.ended - seconds

    def set_back(self, seconds: float) -> None:
        """Set this machine's clock back: all that it wrote down lies ahead. Rundeck's clock stays."""
        with closing(sqlite3.connect(self.database)) as file, file:
            for key, body, due in file.execute("SELECT key, body, due FROM documents").fetchall():
                ahead = json.dumps(_earlier(json.loads(body), -seconds)).encode()
                file.execute("UPDATE documents SET body = ?, due = ? WHERE key = ?", (ahead, due and due + seconds, key))
            file.execute("UPDATE wake_ups SET at = at + ?", (seconds,))
            file.execute("UPDATE sweeps SET next_at = next_at + ?", (seconds,))

    @staticmethod
    def now() -> float:
        return time.time()

    def documents(self) -> list[Document]:
        with closing(sqlite3.connect(self.database)) as file:
            rows = file.execute("SELECT key, body FROM documents WHERE key <> 'pause' AND key NOT LIKE 'storm%'").fetchall()
        return [decode(Document, body, key) for key, body in rows]

    def cards(self) -> str:
        """What people have read so far."""
        self.seen += self.capsys.readouterr().out
        return self.seen

    def restarts(self) -> int:
        return len(self.rundeck.state.carried_out)

    def until_told(self, deliver: Callable[[], object]) -> None:
        """Deliver, a while apart, until every incident has ended and people were told."""
        for _ in range(6):
            deliver()
            if not any(one.incident or one.to_tell or one.to_archive for one in self.documents()):
                return
            self.later(70.0)
        raise AssertionError(f"still open: {self.documents()}")


def _earlier(node: Any, seconds: float) -> Any:
    """The same, with all times moved back: the numbers that can be nothing else."""
    if isinstance(node, dict):
        return {name: _earlier(value, seconds) for name, value in node.items()}
    if isinstance(node, list):
        return [_earlier(value, seconds) for value in node]
    is_time = isinstance(node, int | float) and 1e9 < node < 1e11
    return node - seconds if is_time else node


P = TypeVar("P", bound=Place)


@contextmanager
def stuck(folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], kind: type[P]) -> Iterator[P]:
    """The queue SERVICE.delivery of each service is stuck, and a restart empties it."""
    for name, value in {**SECRETS, "UNSTICK_CONFIG": str(folder / "unstick.yaml")}.items():
        monkeypatch.setenv(name, value)
    with RabbitDouble() as rabbit:

        def restart(options: Any) -> None:
            consumers = (f"127.0.0.1:{50002 + len(rabbit.asked)} -> 127.0.0.1:5672",)
            rabbit.queue(f"{options['service']}.delivery").set(ready=0, unacked=0, acks=9, consumers=consumers)

        with Rundeck(*(Job(id=job_id(name), name=name, action=restart) for name in kind.services)) as rundeck:
            for name in kind.services:
                rabbit.queue(f"{name}.delivery", ready=5, unacked=1, acks=9)
            place = kind(folder, rundeck, rabbit, capsys)
            place.configured()
            yield place


def payload_of(content: dict[str, Any], key: str = SIGNING_KEY) -> str:
    """A payload that this key signed."""
    os.environ["KEY_OF_A_PAYLOAD"] = key
    try:
        return signing.sign((SecretRef("env://KEY_OF_A_PAYLOAD"),), content)
    finally:
        del os.environ["KEY_OF_A_PAYLOAD"]


def content_of(payload: str) -> dict[str, Any] | None:
    """What a payload carries, if SIGNING_KEY signed it."""
    with suppress(BadRequest):
        return signing.verify_payload((SecretRef("env://UNSTICK_SIGNING_KEY"),), payload)
    return None


def handed_over(service_name: str, ago_s: float) -> str:
    """What the webhook gave to the scheduler a while ago: the alert as the parser made it."""
    labels = {"alertname": "RabbitMQQueueStuck", "service": service_name, "vhost": "/", "queue": f"{service_name}.delivery"}
    at = time.time() - ago_s
    content = {"fingerprint": "f1", "source": "https://grafana.example.com 1", "firing": True, "labels": labels}
    one = {"incident": "20261125-031500-0a1b2c3d", "crowd": False}
    return payload_of({"v": VERSION, "deferred": [one | {"alerts": [content | {"annotations": {}, "starts_at": at - 60.0}]}]})
