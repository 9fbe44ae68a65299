"""The HTTP server of the stand-ins."""

from __future__ import annotations

import sys
from http.server import ThreadingHTTPServer
from typing import Any


class Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128
    """With the usual five, connections are dropped while a busy machine keeps the server from taking them."""

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client may hang up first."""
        if not isinstance(sys.exc_info()[1], OSError):
            super().handle_error(request, client_address)
