"""The HTTP server of the stand-ins."""

import json
import socketserver
import sys
import threading
from collections.abc import Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self


class Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128
    """With the usual five, connections are dropped while a busy machine keeps the server from taking them."""

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client may hang up first."""
        if not isinstance(sys.exc_info()[1], OSError):
            super().handle_error(request, client_address)


class Handler(BaseHTTPRequestHandler):
    """Answers without a pause, keeps the connection open, and logs nothing: a test that fails says enough."""

    protocol_version = "HTTP/1.1"
    wbufsize = -1
    disable_nagle_algorithm = True  # else an answer's body waits 40 ms for the acknowledgement of its head

    def do_GET(self) -> None:
        self.answer()

    do_POST = do_PUT = do_PATCH = do_DELETE = do_GET

    def answer(self) -> None:
        """Whatever the method is: `self.command`."""
        raise NotImplementedError

    def sent(self) -> bytes:
        """The body of the request."""
        return self.rfile.read(int(self.headers.get("Content-Length") or 0))

    def reply(
        self, status: int, body: object = b"", kind: str = "application/json", headers: Mapping[str, str | None] | None = None
    ) -> None:
        """`body`: bytes, or what is sent as JSON. `headers`: in place of others, and without those that are None."""
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        usual = {"Date": self.date_time_string(), "Content-Type": kind, "Content-Length": str(len(content))}
        self.send_response_only(status)
        for name, value in {**usual, **(headers or {})}.items():
            if value is not None:
                self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: object) -> None: ...


class Serving:
    """A server of loopback that is there from the beginning, and answers until the `with` block ends. Of any protocol of TCP."""

    def __init__(self, handler: type[socketserver.BaseRequestHandler], port: int = 0) -> None:
        self._server = Server(("127.0.0.1", port), handler)
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)

    @property
    def port(self) -> int:
        return self._server.server_port

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
