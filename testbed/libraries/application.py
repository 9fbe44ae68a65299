"""One process of an application, and what it has said so far."""

import secrets
import subprocess
import threading
import time
from pathlib import Path
from typing import Self

from testbed.libraries.environment import MACHINE, python
from testbed.patience import PATIENCE_S
from testbed.process import Server

HERE = Path(__file__).parent
PROGRAMS = {
    "celery": "celery_app.py", "kombu": "kombu_app.py", "dramatiq": "dramatiq_app.py", "aio-pika": "aio_pika_app.py",
    "faststream": "faststream_app.py", "pika": "pika_app.py",
}  # fmt: skip
CAUSES = HERE.parent / "workers"
"""Where what they hang in is."""
START_S = 4 * PATIENCE_S
"""Forty of them start at once on two cores."""


class Application:
    """A library's program in one of its forms. `healthy`: as after a restart that helped, when nothing hangs any more."""

    def __init__(self, library: str, form: str, url: str, queue: str, *, node: str = "", healthy: bool = False) -> None:
        address = url.partition("?")[0]  # what comes behind it is for pika alone
        self.command = [
            str(python()), str(HERE / PROGRAMS[library]), "--url", address, "--queue", queue, "--form", form,
            "--node", node or f"{form}-{secrets.token_hex(4)}",
            *(["--healthy"] if healthy else []),
        ]  # fmt: skip
        self.held: list[float] = []
        """When each of its tasks began to hang."""
        self.done: list[tuple[float, str]] = []
        """When it was through with which message."""
        self.output: list[str] = []
        self._began = threading.Event()

    def __enter__(self) -> Self:
        self.process = Server(
            self.command,
            cwd=HERE,
            env=MACHINE
            | {"PYTHONUTF8": "1", "PYTHONDONTWRITEBYTECODE": "1", "PYTHONWARNINGS": "ignore", "PYTHONPATH": str(CAUSES)},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self._reader = threading.Thread(target=self._read, daemon=True, name=" ".join(self.command[1:2]))
        self._reader.start()
        if not self._began.wait(START_S) or self.process.poll() is not None:
            self.__exit__()
            raise RuntimeError(f"{self.command} did not start: {''.join(self.output)[-2000:]}")
        return self

    def __exit__(self, *_: object) -> None:
        """Kill -9 of all of its processes, as a restart of the service does it in the end."""
        self.process.end()
        self._reader.join(PATIENCE_S)

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            word, _, rest = line.rstrip("\n").partition(" ")
            if word == "consuming":
                self._began.set()
            elif word == "hangs":
                self.held.append(time.time())
            elif word == "done":
                self.done.append((time.time(), rest))
            self.output.append(line)
        self.process.stdout.close()
        self._began.set()
