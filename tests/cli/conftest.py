"""The command line beside a Rundeck and a RabbitMQ that are stand-ins, and the local store: `here`, with a stuck queue."""

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import pytest
from click.testing import CliRunner, Result

from functions.application.documents import encode
from functions.bootstrap import Adapters
from functions.config.loader import load_config
from functions.domain.model.incidents import Document
from testbed.unstick_process import notification
from tests.support.worlds.one_machine import Place, stuck
from unstick.main import command_line

RECORDINGS = Path(__file__).parents[1] / "recordings" / "grafana"
FIRING = str(RECORDINGS / "01-hmac-firing.json")


class Line(Place):
    services: ClassVar[tuple[str, ...]] = ("mail-delivery",)

    @property
    def config(self) -> Path:
        return self.folder / "unstick.yaml"

    @property
    def ports(self) -> Adapters:
        return Adapters(load_config(self.config))

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

    def write(self, key: str, body: bytes, due: float | None = None) -> None:
        """Put this into the store, or in the place of what is there."""
        stored = self.ports.store.load(key, timeout_s=5)
        self.ports.store.save(key, body, generation=stored and stored.generation, due=due, timeout_s=5)

    def saved(self, document: Document) -> None:
        self.write(document.key, encode(document), document.due)

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
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Iterator[Line]:
    """Everything up, and the queue of mail-delivery stuck."""
    with stuck(tmp_path, monkeypatch, capsys, Line) as line:
        line.rabbit.queue("mail.delivery", ready=342, unacked=20, acks=9000, head_at=int(time.time()) - 1560)
        yield line
