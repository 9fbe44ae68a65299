"""Servers for tests and the demo, which end with the process that started them, however that ends.

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
"""The shell that guards a server: it waits on a pipe whose other end only we have, and which closes when we end."""


class Server(subprocess.Popen[Any]):
    """A process in a group of its own. A shell beside it kills the group if the starter is gone, even by SIGKILL."""

    def __init__(self, command: Sequence[str], **options: Any) -> None:
        super().__init__(command, stdin=subprocess.DEVNULL, start_new_session=True, **options)
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "start_new_session": True}
        self._guard = subprocess.Popen(["sh", "-c", GUARD, "guard", str(self.pid)], stdin=subprocess.PIPE, **quiet)

    def end(self) -> None:
        """Kill all its processes by SIGKILL, but only once: later the group's number may be another's."""
        if self._guard.returncode is None:
            with suppress(ProcessLookupError):
                os.killpg(self.pid, signal.SIGKILL)
            self._guard.communicate(b"ended\n")
        self.wait()
