"""Commands of a test in a folder of its own, and what they left there."""

import json
import os
import sqlite3
import sys
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

from functions.adapters.runners.command import Command, Job
from functions.domain.decisions.matching import target_key
from functions.domain.model.alerts import Target
from functions.domain.model.observations import Execution, ExecutionHistory
from testbed.patience import wait_until

LIMIT_S = 10.0
BEGINS_S = 30.0
"""A start's time-out, on a machine that has other work."""


class Place:
    """The command `restart` runs this script in sh, where $0 is a folder for its notes; `more` are other commands."""

    def __init__(self, folder: Path, script: str = "true", *, timeout_s: float = 60.0, **more: Job) -> None:
        self.folder, self.tags = folder, 0
        restart = Job(("sh", "-c", script, str(folder)), timeout_s)
        self.command = Command(str(folder / "unstick.db"), {"restart": restart, **more})

    def target(self, service: str = "mail", job: str = "restart") -> Target:
        options = {"service": service}
        return Target(target_key(self.command.url, job, options), self.command.url, job, options)

    def start(self, target: Target | None = None, *, tag: str = "") -> Execution:
        self.tags += 1
        tag, not_after = tag or f"incident.{self.tags}", time.time() + 60.0
        return self.command.run(target or self.target(), tag=tag, runner_not_after=not_after, timeout_s=BEGINS_S)

    def look(self, execution: Execution | None = None, target: Target | None = None) -> ExecutionHistory:
        follow = execution.id if execution else None
        return self.command.look(target or self.target(), since_s=3600.0, follow=follow, tail=True, timeout_s=LIMIT_S)

    def until_ended(self, execution: Execution) -> tuple[Execution, tuple[str, ...]]:
        """The run once it is over, and its last lines."""
        history = wait_until(lambda: self.look(execution), lambda history: history.followed and history.followed.ended)
        assert history.followed is not None
        return history.followed, history.tail or ()

    def until(self, name: str) -> str:
        """What the command wrote into its note of this name, once it has."""
        note = self.folder / name
        return wait_until(lambda: note.exists() and note.read_text(), what=lambda: f"{name} of {sorted(self.folder.iterdir())}")

    def until_gone(self, pid: int) -> None:
        wait_until(lambda: not is_running(pid), what=lambda: f"the end of process {pid}")

    def supervisor(self, execution: Execution) -> int:
        """The process id of a run's supervisor."""
        _, began, *_ = (self.runs / f"{execution.id}.jsonl").read_text().splitlines()
        return int(json.loads(began)["pid"])

    @property
    def runs(self) -> Path:
        return self.folder / "unstick.db-runs"

    def change(self, query: str) -> None:
        """Change the history by hand."""
        with closing(sqlite3.connect(self.command.path)) as file, file:
            file.execute(query)


def is_running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def stand_in(folder: Path, name: str, script: str) -> Path:
    """A program of this name, in Python, which has its arguments in `argv`, and its folder in `here`."""
    folder.mkdir(exist_ok=True)
    program = folder / name
    begin = "import os, subprocess, sys\nfrom pathlib import Path\nargv, here = sys.argv[1:], Path(__file__).parent\n"
    program.write_text(f"#!{sys.executable} -S\n{begin}{script}\n")
    program.chmod(0o755)
    return program


def first_on_path(folder: Path, set_variable: Callable[[str, str], None]) -> None:
    """Have programs of this folder found before all others."""
    set_variable("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")
