"""What Cloud Storage does and fake-gcs-server does not: it takes one write a second to one object, and answers others 429.

https://cloud.google.com/storage/quotas#objects
"""

import http.client
import re
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit

from testbed.doubles import server
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

    class Handler(server.Handler):
        def answer(self) -> None:
            body = self.sent()
            named = _NAME.search(body) if self.path.startswith("/upload/") else None
            if named is None:
                return self.pass_on(body)
            name = named[1].decode()
            with locks[name]:
                if time.monotonic() - written.get(name, -APART_S) < APART_S:
                    return self.reply(429, {"error": _REFUSAL})
                if self.pass_on(body) == http.HTTPStatus.OK:
                    written[name] = time.monotonic()
                    writes[name] += 1
            return None

        def pass_on(self, body: bytes) -> int:
            line = http.client.HTTPConnection(urlsplit(upstream).netloc, timeout=PATIENCE_S)
            try:
                headers = {name: value for name, value in self.headers.items() if name not in _OF_THE_LINE}
                line.request(self.command, self.path, body, headers)
                answer = line.getresponse()
                self.reply(answer.status, answer.read(), headers={name: answer.headers[name] for name in _KEPT})
                return answer.status
            finally:
                line.close()

    with server.Serving(Handler) as serving:
        yield serving.url
