"""A server that answers with any bytes at all, whatever it is asked, and hangs up after each answer."""

import re
import socketserver
import threading
from typing import Any, Self

from testbed.patience import PATIENCE_S

LENGTH = re.compile(rb"(?im)^content-length:\s*(\d+)")


class Anything:
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

        class Server(socketserver.ThreadingTCPServer):
            daemon_threads, allow_reuse_address = True, True
            request_queue_size = 50

            def handle_error(self, request: Any, client_address: Any) -> None:
                """A client may hang up first."""

        self._lock, self._over = threading.Lock(), threading.Event()
        self._server = Server(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)

    @property
    def port(self) -> int:
        port: int = self._server.server_address[1]
        return port

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


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
