"""Stand-ins for what runs jobs. A new runner needs one here, and its name in SYSTEMS; test_runners.py does the rest."""

import json
import threading
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from email.utils import formatdate
from pathlib import Path
from typing import Any, Protocol

from functions.adapters.runners import command, rundeck
from functions.adapters.runners.rundeck import answers
from functions.application.ports import Runner
from functions.runtime.http_client import Answer
from functions.runtime.secrets import SecretRef
from testbed.doubles.rundeck import INCIDENT, TOKEN, Job, Option, Rundeck
from testbed.patience import PATIENCE_S

SECRET = SecretRef("env://RUNNER_SECRET")
"""Whoever needs a secret gets it by this reference; the test sets it to `secret` of the system."""
STACK = "Thread 71\n>>   read_reply (smtp.py:41)\n\tat com.example.Mail.deliver(Mail.java:7)"
"""A Java stack is evidence too: nothing of it is taken for Rundeck's own noise."""


class System(Protocol):
    """A job that restarts what its option `service` names and prints `restarted`, and one that prints STACK."""

    job: str
    """The restart, of one host if its option `host` names one. Each run lasts until `finish`."""
    evidence: str
    """Collects evidence; it takes the option `process`."""
    secret: str
    """What `SECRET` stands for; empty where the system needs none."""

    @property
    def adapter(self) -> Runner:
        """The runner, with this system in its settings."""

    @property
    def restarted(self) -> list[str]:
        """The option `service` of each run that really restarted something, oldest first."""

    def finish(self, *, well: bool = True) -> None:
        """What runs now ends, and so does at once what is started later; `well`: whether it succeeds."""

    def close(self) -> None:
        """From now on it answers nothing."""


class RundeckServer(Rundeck):
    job, evidence = Job().id, "22222222-2222-4222-8222-222222222222"
    secret = TOKEN

    def __init__(self) -> None:
        options = (Option("process", required=True), Option(INCIDENT))
        stack = Job(self.evidence, "evidence", options=options, action=lambda _: STACK, begins="", limit=0, guard=False)
        restart = Job(options=(*Job().options, Option("host")), action=self._restart, begins="")
        super().__init__(restart, stack)
        self.restarted: list[str] = []
        self._ends, self._well = threading.Event(), True

    @property
    def adapter(self) -> Runner:
        return rundeck.Rundeck(self.url, SECRET)

    def _restart(self, options: Mapping[str, str]) -> str | bool:
        self.restarted.append(options["service"])
        self._ends.wait(PATIENCE_S)
        return self._well and "restarted"

    def finish(self, *, well: bool = True) -> None:
        self._well = well
        self._ends.set()

    def close(self) -> None:
        self.fault("*", "", "500", times=99)

    def stop(self) -> None:
        self._ends.set()
        super().stop()


class CommandMachine(AbstractContextManager["CommandMachine"]):
    job, evidence, secret = "restart", "stack", ""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "machine"
        self.folder.mkdir()
        (self.folder / "stack").write_text(STACK)
        wait = 'echo "$1" >>"$0/restarted"; echo restarted; while [ ! -e "$0/end" ]; do sleep 0.05; done; exit "$(cat "$0/end")"'
        restart = command.Job(("sh", "-c", wait, str(self.folder), "${option.service}"))
        stack = command.Job(("sh", "-c", 'cat "$0"', f"{self.folder}/stack", "${option.process}"))
        self.adapter = command.Command(f"{self.folder}/unstick.db", {self.job: restart, self.evidence: stack})

    @property
    def restarted(self) -> list[str]:
        notes = self.folder / "restarted"
        return notes.read_text().splitlines() if notes.exists() else []

    def finish(self, *, well: bool = True) -> None:
        (self.folder / "end").write_text("0" if well else "1")

    def close(self) -> None:
        self.folder = self.folder.rename(self.folder.with_name("unplugged"))

    def __exit__(self, *_: object) -> None:
        self.finish()


SYSTEMS: dict[str, Callable[[Path], AbstractContextManager[System]]] = {
    "command": CommandMachine,
    "rundeck": lambda _folder: RundeckServer(),
}
"""By the runner's name in unstick.yaml: its stand-in, given an empty folder."""


AT = 1_800_000_000.0
RECORDINGS = Path(__file__).parents[2] / "recordings" / "rundeck"
SETTINGS = rundeck.Rundeck("http://rundeck", SecretRef("env://NONE"), token_expires="2027-03-01T00:00:00Z")
"""Of a Rundeck that only `Said` stands for."""


def recorded(name: str) -> dict[str, Any]:
    """The recorded exchange with a real Rundeck."""
    exchange: dict[str, Any] = json.loads((RECORDINGS / f"{name}.json").read_text())
    return exchange


def answered(body: Any, date: float = AT, at: float = AT) -> Answer:
    """Answered when Rundeck's clock was at `date`, and read at `at`."""
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    return Answer("Rundeck", 200, {"date": formatdate(date, usegmt=True)}, content, at)


class Said:
    """What Rundeck says, by the end of the path: a body, a whole answer, an error, or what a function makes of the path."""

    def __init__(self) -> None:
        self.bodies: dict[str, Any] = {"system/info": {"system": {}}}
        self.date = AT
        self.asked: list[str] = []
        self.sent: Any = None

    def ask(self, _to: answers.Connection, _method: str, path: str, *, json: Any = None, **_: Any) -> Answer:
        self.asked.append(path)
        self.sent = json
        body = next(self.bodies[end] for end in sorted(self.bodies, key=len, reverse=True) if path.endswith(end))
        body = body(path) if callable(body) else body
        if isinstance(body, Exception):
            raise body
        return body if isinstance(body, Answer) else answered(body, self.date)
