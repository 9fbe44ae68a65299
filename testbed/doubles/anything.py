"""A server that answers with any bytes at all, whatever it is asked, and hangs up after each answer."""

import contextlib
import re
import socketserver
import ssl
import threading
from typing import Any

from testbed.doubles.server import Serving
from testbed.patience import PATIENCE_S

LENGTH = re.compile(rb"(?im)^content-length:\s*(\d+)")
DRIP, DRIP_S = b"<drip>", 0.1
"""What follows it in an answer comes byte by byte."""


class Anything(Serving):
    """Use it in a `with` block. Each request takes the next of `answers`, and the last one is given again. `reads`: else it
    answers at once, and reads nothing."""

    def __init__(self, *, reads: bool = True, tls: ssl.SSLContext | None = None) -> None:
        self.answers: list[bytes] = [b""]
        self.asked = 0
        double = self

        class Handler(socketserver.BaseRequestHandler):
            def handle(self) -> None:
                self.request.settimeout(PATIENCE_S)
                with contextlib.suppress(OSError):  # whoever asked has had enough
                    if tls:
                        with tls.wrap_socket(self.request, server_side=True) as line:
                            self.serve(line)
                    else:
                        self.serve(self.request)

            def serve(self, line: Any) -> None:
                if reads and not _read(line):
                    return
                with double._lock:
                    answer = double.answers.pop(0) if len(double.answers) > 1 else double.answers[0]
                    double.asked += 1
                at_once, _, slowly = answer.partition(DRIP)
                line.sendall(at_once)
                for at in range(len(slowly)):
                    line.sendall(slowly[at : at + 1])
                    if double._over.wait(DRIP_S):
                        return
                if not reads:
                    double._over.wait(PATIENCE_S)

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
