"""Servers of tests and the demo: they end with whoever started them, however that one ends.

server = Server(["redis-server", "--port", "6379"], cwd=folder, stdout=out, stderr=out)
server.end()
"""

import os
import signal
import subprocess
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

GUARD = 'read -r ended || kill -s KILL -- "-$1"'
"""A pipe's only other end is ours, and closes with us: the shell then reads no line."""


class Server(subprocess.Popen[Any]):
    """A process in a group of its own. A shell beside it kills the group where the starter is gone, by SIGTERM or SIGKILL."""

    def __init__(self, command: Sequence[str], **options: Any) -> None:
        super().__init__(command, stdin=subprocess.DEVNULL, start_new_session=True, **options)
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "start_new_session": True}
        self._guard = subprocess.Popen(["sh", "-c", GUARD, "guard", str(self.pid)], stdin=subprocess.PIPE, **quiet)

    def end(self) -> None:
        """Kill -9 of all its processes at once, unless that was done before: its number may be another's by now."""
        if self._guard.returncode is None:
            with suppress(ProcessLookupError):
                os.killpg(self.pid, signal.SIGKILL)
            self._guard.communicate(b"ended\n")
        self.wait()
