"""The mail server that the workers hand their mails to: it leaves one of them without a reply, and remembers the others."""

import socket
import threading
import time
from contextlib import suppress
from dataclasses import dataclass
from itertools import pairwise

from testbed.patience import PATIENCE_S


@dataclass(frozen=True, slots=True)
class Handover:
    """A mail that a worker brought. `at`: on the monotonic clock."""

    at: float
    worker: str
    mail: str


class MailServer:
    """`mends`: whether it takes the mail when it is brought again."""

    def __init__(self, *, mends: bool) -> None:
        self.mends = mends
        self.taken: list[Handover] = []
        self.unanswered: list[Handover] = []
        self._ignored = ""
        self._open: list[socket.socket] = []
        self._listening = socket.create_server(("127.0.0.1", 0))
        threading.Thread(target=self._serve, daemon=True, name="mail-server").start()

    @property
    def port(self) -> int:
        port: int = self._listening.getsockname()[1]
        return port

    def ignore(self, worker: str) -> None:
        """Say nothing to the next mail of this worker."""
        self._ignored = worker

    def close(self) -> None:
        """Hang up on everybody."""
        self._listening.shutdown(socket.SHUT_RDWR)  # else its thread would wait for ever
        for one in (self._listening, *self._open):
            one.close()

    def find(self, mail: str) -> Handover | None:
        """When it took this mail, if it has."""
        return next((one for one in list(self.taken) if one.mail == mail), None)

    def count(self, worker: str, since: float = 0.0, until: float = float("inf")) -> int:
        """How many mails it has taken from a worker in that time."""
        return len(self._times(worker, since, until))

    def longest_pause_s(self, worker: str, since: float, until: float) -> float:
        """The longest time between two mails of a worker."""
        times = [since, *self._times(worker, since, until), until]
        return max(later - earlier for earlier, later in pairwise(times))

    def _times(self, worker: str, since: float, until: float) -> list[float]:
        return [one.at for one in list(self.taken) if one.worker == worker and since < one.at < until]

    def _serve(self) -> None:
        with suppress(OSError):  # it is closed
            while True:
                connection, _ = self._listening.accept()
                connection.settimeout(PATIENCE_S)
                with suppress(OSError):  # the worker was killed
                    self._take(connection)

    def _take(self, connection: socket.socket) -> None:
        worker, _, mail = connection.makefile().readline().strip().partition(" ")
        brought = Handover(time.monotonic(), worker, mail)
        if self._is_ignored(brought):
            self.unanswered.append(brought)
            self._open.append(connection)
            return
        if mail:
            self.taken.append(brought)
            connection.sendall(b"250 taken\n")
        connection.close()

    def _is_ignored(self, brought: Handover) -> bool:
        if not self.unanswered:
            return bool(brought.mail) and brought.worker == self._ignored
        return not self.mends and brought.mail == self.unanswered[0].mail
