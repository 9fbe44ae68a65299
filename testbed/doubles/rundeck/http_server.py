"""The Rundeck stand-in's server: sockets, headers, and faults on demand."""

from __future__ import annotations

import socket
import sys
import time
from email.utils import formatdate
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from testbed.doubles import server
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


class Server(server.Server):
    block_on_close = False

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


class Handler(server.Handler):
    timeout = 60
    server: Server

    def answer(self) -> None:
        double = self.server.double
        parts = urlsplit(self.path)
        headers = {name.lower(): value for name, value in self.headers.items()}
        seen = Seen(self.command, parts.path, parts.query, headers, self.sent(), time.time())
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
        dated = None if kind == "no_date" else formatdate(double.state.now(), usegmt=True)
        session = "JSESSIONID=stand-in; Path=/; HttpOnly; SameSite=Lax" if reply.session else None
        self.reply(reply.status, reply.body, reply.kind, {"Date": dated, "Set-Cookie": session, **dict(reply.headers)})

    def _hang_up(self) -> None:
        self.close_connection = True
        self.connection.shutdown(socket.SHUT_RDWR)
