"""What Cloud Storage does and fake-gcs-server does not: it takes one write a second to one object, and answers others 429.

https://cloud.google.com/storage/quotas#objects
"""

from __future__ import annotations

import http.client
import json
import re
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler
from urllib.parse import urlsplit

from testbed.doubles.server import Server
from testbed.patience import PATIENCE_S

APART_S = 1.0
_NAME = re.compile(rb'"name": ?"([^"]+)"')
_KEPT = ("Content-Type", "X-Goog-Generation", "X-Goog-Hash", "X-Goog-Stored-Content-Encoding", "X-Goog-Metageneration")
_OF_THE_LINE = ("Host", "Connection", "Accept-Encoding")
_REFUSAL = {
    "code": 429,
    "message": "The object exceeded the rate limit for object mutation operations (create, update, and delete).",
    "errors": [{"domain": "usageLimits", "reason": "rateLimitExceeded"}],
}


@contextmanager
def one_a_second(upstream: str, writes: Counter[str]) -> Iterator[str]:
    """The base URL of a server that passes all on to `upstream`, but for writes that come too soon. `writes` counts by object."""
    locks: defaultdict[str, threading.Lock] = defaultdict(threading.Lock)
    written: dict[str, float] = {}

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def answer(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            named = _NAME.search(body) if self.path.startswith("/upload/") else None
            if named is None:
                return self.pass_on(body)
            name = named[1].decode()
            with locks[name]:
                if time.monotonic() - written.get(name, -APART_S) < APART_S:
                    return self.reply(429, {"Content-Type": "application/json"}, json.dumps({"error": _REFUSAL}).encode())
                if self.pass_on(body) == http.HTTPStatus.OK:
                    written[name] = time.monotonic()
                    writes[name] += 1
            return None

        do_GET = do_POST = do_PUT = do_DELETE = do_PATCH = answer

        def pass_on(self, body: bytes) -> int:
            line = http.client.HTTPConnection(urlsplit(upstream).netloc, timeout=PATIENCE_S)
            try:
                headers = {name: value for name, value in self.headers.items() if name not in _OF_THE_LINE}
                line.request(self.command, self.path, body, headers)
                answer = line.getresponse()
                self.reply(answer.status, {name: answer.headers[name] for name in _KEPT if name in answer.headers}, answer.read())
                return answer.status
            finally:
                line.close()

        def reply(self, status: int, headers: dict[str, str], body: bytes) -> None:
            self.send_response(status)
            for name, value in {**headers, "Content-Length": str(len(body))}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """A test that fails says enough."""

    server = Server(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
