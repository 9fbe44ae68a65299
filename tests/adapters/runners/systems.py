"""Stand-ins for what runs jobs. A new runner needs one here, and its name in SYSTEMS; test_runners.py does the rest."""

import threading
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Protocol

from functions.adapters.runners import rundeck
from functions.application.ports import Runner
from functions.runtime.secrets import SecretRef
from testbed.doubles.rundeck import INCIDENT, TOKEN, Job, Option, Rundeck
from testbed.patience import PATIENCE_S

SECRET = SecretRef("env://RUNNER_SECRET")
"""Whoever needs a secret gets it by this reference; the test sets it to `secret` of the system."""
STACK = "Thread 71\n>>   read_reply (smtp.py:41)"


class System(Protocol):
    """A job that restarts what its option `service` names and prints `restarted`, and one that prints STACK."""

    job: str
    """The restart. Each run lasts until `finish`."""
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
    job, evidence, secret = Job().id, "22222222-2222-4222-8222-222222222222", TOKEN

    def __init__(self) -> None:
        options = (Option("process", required=True), Option(INCIDENT))
        stack = Job(self.evidence, "evidence", options=options, action=lambda _: STACK, begins="", limit=0, guard=False)
        super().__init__(Job(action=self._restart, begins=""), stack)
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


SYSTEMS: dict[str, Callable[[Path], AbstractContextManager[System]]] = {"rundeck": lambda _folder: RundeckServer()}
"""By the runner's name in unstick.yaml: its stand-in, given an empty folder."""
