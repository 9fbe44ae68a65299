"""The command line beside a Rundeck and a RabbitMQ that are stand-ins, and the local store: `here`, with a stuck queue."""

import json
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner, Result

from functions.application.documents import encode
from functions.bootstrap import Adapters
from functions.config.loader import load_config
from functions.domain.model.incidents import Document
from testbed.doubles.rabbitmq import RabbitDouble
from testbed.doubles.rundeck import TOKEN, Job, Rundeck
from testbed.unstick_process import HMAC_SECRET, MACHINE_TOKEN, SIGNING_KEY, configuration, job_id, notification, runbook
from unstick.main import command_line

RECORDINGS = Path(__file__).parents[1] / "recordings" / "grafana"
FIRING = str(RECORDINGS / "01-hmac-firing.json")
SECRETS = {
    "GRAFANA_HMAC_SECRET": HMAC_SECRET,
    "RUNDECK_TOKEN": TOKEN,
    "RABBITMQ_PASSWORD": "secret",
    "UNSTICK_SIGNING_KEY": SIGNING_KEY,
    "UNSTICK_MACHINE_TOKEN": MACHINE_TOKEN,
}


@dataclass
class Line:
    folder: Path
    rundeck: Rundeck
    rabbit: RabbitDouble

    @property
    def config(self) -> Path:
        return self.folder / "unstick.yaml"

    @property
    def ports(self) -> Adapters:
        return Adapters(load_config(self.config))

    def configured(self, *runbooks: dict[str, Any], name: str = "unstick.yaml", **changes: Any) -> Path:
        """Write a configuration with these runbooks; one for mail-delivery where none is given."""
        path = str(self.folder / "unstick.db")
        places = {"store": {"local": {"path": path}}, "scheduler": {"local": {"path": path}}}
        settings = configuration(self.rundeck.url, self.rabbit.url, runbooks or [runbook("mail-delivery")], **(places | changes))
        (self.folder / name).write_text(yaml.safe_dump(settings))
        return self.folder / name

    def run(self, *arguments: str, code: int | None = None, **more: Any) -> Result:
        """Run one command. `code`: the exit code that it must have."""
        result = CliRunner().invoke(command_line, [arguments[0], "--config", str(self.config), *arguments[1:]], **more)
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        assert code is None or result.exit_code == code, result.output
        return result

    def json(self, *arguments: str, code: int = 0, **more: Any) -> Any:
        """The JSON that a command prints, and nothing else."""
        return json.loads(self.run(*arguments, "--json", code=code, **more).stdout)

    def saved(self, document: Document) -> Document:
        """Put a document into the store."""
        self.ports.store.save(document.key, encode(document), generation=None, due=document.due, timeout_s=5)
        return document

    def file(self, *alerts: dict[str, Any], name: str = "notification.json") -> str:
        """A file with a notification of these alerts."""
        path = self.folder / name
        path.write_bytes(notification(*alerts))
        return str(path)


@pytest.fixture(autouse=True)
def _in_a_pipe(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is wrapped, whatever terminal pytest runs on."""
    monkeypatch.delenv("COLUMNS", raising=False)


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Line]:
    """Everything up, and the queue of mail-delivery stuck."""
    for name, value in SECRETS.items():
        monkeypatch.setenv(name, value)
    with RabbitDouble() as rabbit, Rundeck(Job(id=job_id("mail-delivery"))) as rundeck:
        rabbit.queue("mail.delivery", ready=342, unacked=20, acks=9000, head_at=int(time.time()) - 1560)
        ready = Line(tmp_path, rundeck, rabbit)
        ready.configured()
        yield ready
