"""Saves one notification that Grafana posts to a file, for `simulate` and `send`."""

import json
import os
from functools import partial
from http.server import BaseHTTPRequestHandler, HTTPServer

from unstick import output

SOCKET_S = 30.0


def keep_one(path: str, address: str) -> None:
    """Write one notification posted to HOST:PORT to a file, without headers, which have secrets. Raises Unusable if it can't."""
    host, _, port = address.rpartition(":")
    if not host or not port.isdecimal():
        raise output.Unusable(f"--listen {address} is not HOST:PORT. Write for example --listen 127.0.0.1:8090.")
    _write(path, "")  # find out before waiting whether the file can be written
    try:
        server = _Recorder((host, int(port)), _Handler)
    except (OSError, OverflowError) as error:
        why = getattr(error, "strerror", None) or error
        raise output.Unusable(f"can't listen on {address}: {why}. If another process uses the port, name a free one.") from None
    with server:
        output.print_text(
            f"waiting for what Grafana posts to http://{host}:{server.server_address[1]}/ (Ctrl-C ends it)", err=True
        )
        while server.body is None:
            server.handle_request()
    _write(path, json.dumps({"request": {"body": server.body}}, ensure_ascii=False))


def _write(path: str, text: str) -> None:
    try:
        with open(path, "w", encoding="utf-8", opener=partial(os.open, mode=0o600)) as file:
            file.write(text)
    except OSError as error:
        raise output.Unusable(f"{path}: can't be written ({type(error).__name__}). Name another file.") from None


class _Recorder(HTTPServer):
    body: str | None = None


class _Handler(BaseHTTPRequestHandler):
    server: _Recorder
    timeout = SOCKET_S

    def do_POST(self) -> None:
        self.server.body = self.rfile.read(int(self.headers.get("Content-Length", 0))).decode(errors="replace")
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    do_PUT = do_POST  # noqa: N815 - http.server's name

    def log_message(self, *_: object) -> None:
        """Silent: the command itself prints what was saved."""
