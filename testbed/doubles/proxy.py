"""A forward proxy on loopback, for plain HTTP and CONNECT. It resolves every host to 127.0.0.1."""

import contextlib
import select
import socket
import socketserver
from urllib.parse import urlsplit

from testbed.doubles.server import Serving
from testbed.patience import PATIENCE_S


class Proxy(Serving):
    """Use it in a `with` block. `asked` has the first line of each request."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        double = self

        class Handler(socketserver.BaseRequestHandler):
            def handle(self) -> None:
                self.request.settimeout(PATIENCE_S)
                head = b""
                while b"\r\n\r\n" not in head and (more := self.request.recv(65536)):
                    head += more
                first, _, rest = head.partition(b"\r\n")
                double.asked.append(first.decode())
                method, address, version = first.decode().split(" ")
                parts = urlsplit(address if "://" in address else f"//{address}")
                with (
                    contextlib.suppress(OSError),
                    socket.create_connection(("127.0.0.1", parts.port or 80), PATIENCE_S) as server,
                ):
                    if method == "CONNECT":
                        self.request.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
                    else:
                        path = parts.path + (f"?{parts.query}" if parts.query else "")
                        server.sendall(f"{method} {path} {version}\r\n".encode() + rest)
                    _join(self.request, server)

        super().__init__(Handler)


def _join(one: socket.socket, other: socket.socket) -> None:
    while True:
        ready, _, _ = select.select([one, other], [], [], PATIENCE_S)
        for line in ready:
            content = line.recv(65536)
            if not content:
                return
            (other if line is one else one).sendall(content)
        if not ready:
            return
