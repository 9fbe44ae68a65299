"""A server that answers with any bytes at all, whatever it is asked, and hangs up after each answer."""

import re
import socketserver
import threading
from typing import Any

from testbed.doubles.server import Serving
from testbed.patience import PATIENCE_S

LENGTH = re.compile(rb"(?im)^content-length:\s*(\d+)")


class Anything(Serving):
    """Use it in a `with` block. Each request takes the next of `answers`, and the last one is given again."""

    def __init__(self) -> None:
        self.answers: list[bytes] = [b""]
        self.asked = 0
        self.pause_s = 0.0
        """After each byte of a body."""
        double = self

        class Handler(socketserver.BaseRequestHandler):
            def handle(self) -> None:
                self.request.settimeout(PATIENCE_S)
                if not _read(self.request):
                    return
                with double._lock:
                    answer = double.answers.pop(0) if len(double.answers) > 1 else double.answers[0]
                    double.asked += 1
                if not double.pause_s:
                    self.request.sendall(answer)
                    return
                head, end, body = answer.partition(b"\r\n\r\n")
                self.request.sendall(head + end)
                for at in range(len(body)):
                    self.request.sendall(body[at : at + 1])
                    if double._over.wait(double.pause_s):
                        return

        self._lock, self._over = threading.Lock(), threading.Event()
        super().__init__(Handler)

    def __exit__(self, *error: object) -> None:
        self._over.set()
        super().__exit__(*error)


def _read(line: Any) -> bool:
    """The whole request, so that hanging up afterwards resets nothing. False where there was none."""
    seen = b""
    while b"\r\n\r\n" not in seen:
        part = line.recv(65536)
        if not part:
            return False
        seen += part
    head, _, body = seen.partition(b"\r\n\r\n")
    length = LENGTH.search(head)
    missing = int(length[1]) - len(body) if length else 0
    while missing > 0 and (part := line.recv(65536)):
        missing -= len(part)
    return True
