"""The Rundeck stand-in's server: sockets, headers, and faults on demand."""

from __future__ import annotations

import socket
import sys
import time
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from testbed.doubles.rundeck.calls import Reply, Seen, answer

if TYPE_CHECKING:
    from testbed.doubles.rundeck import Rundeck

SERVER_ERROR = Reply(500, b'{"error": "A server error occurred"}', "application/json")
INSTEAD = {
    "500": SERVER_ERROR,
    "html": Reply(200, b"<html>Sign in</html>", "text/html"),
    "redirect": Reply(302, b"", "text/html", (("Location", "https://sso.example.com/"),)),
}
"""Faults that answer without doing anything."""


class Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 128

    def __init__(self, address: tuple[str, int], double: Rundeck) -> None:
        self.double = double
        self.sockets: set[socket.socket] = set()
        super().__init__(address, Handler)

    def process_request(self, request: Any, client_address: Any) -> None:
        self.sockets.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        self.sockets.discard(request)
        super().shutdown_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that hung up is nothing to report; anything else is a mistake of the stand-in and kept for the test."""
        error = sys.exc_info()[1]
        if not isinstance(error, OSError):
            self.double.mistakes.append(repr(error))


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server_version = "Jetty"
    sys_version = ""
    wbufsize = -1
    disable_nagle_algorithm = True
    timeout = 60
    server: Server

    def do_GET(self) -> None:
        double = self.server.double
        parts = urlsplit(self.path)
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        headers = {name.lower(): value for name, value in self.headers.items()}
        seen = Seen(self.command, parts.path, parts.query, headers, body, time.time())
        kind, seconds = double.arrived(seen)
        if kind == "refuse":
            self._hang_up()
            return
        if kind == "slow":
            double.over.wait(seconds)
        reply = INSTEAD.get(kind) or answer(double, seen)
        if kind == "drop":
            self._hang_up()
            return
        if kind == "500_after":
            reply = SERVER_ERROR
        elif kind == "garbage":
            reply = Reply(reply.status, reply.body[: len(reply.body) // 2], reply.kind)
        elif kind == "late":
            double.over.wait(seconds)
        self._send(reply, dated=kind != "no_date")

    do_POST = do_PUT = do_DELETE = do_GET

    def _send(self, reply: Reply, *, dated: bool) -> None:
        self.send_response_only(reply.status)
        if dated:
            self.send_header("Date", formatdate(self.server.double.state.now(), usegmt=True))
        if reply.session:
            self.send_header("Set-Cookie", "JSESSIONID=stand-in; Path=/; HttpOnly; SameSite=Lax")
        self.send_header("Content-Type", reply.kind)
        self.send_header("Content-Length", str(len(reply.body)))
        for name, value in reply.headers:
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(reply.body)

    def _hang_up(self) -> None:
        self.close_connection = True
        self.connection.shutdown(socket.SHUT_RDWR)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the name is the base's
        """Quiet: `requests` has it all."""
