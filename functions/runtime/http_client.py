"""The only door to HTTP: bounded in time and size, no redirects, no cookies, nothing secret in an error."""

from __future__ import annotations

import json as jsonlib
import logging
import time
from base64 import b64encode
from collections.abc import Mapping
from functools import lru_cache
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from msgspec import Struct

from functions.runtime.errors import Unavailable
from functions.runtime.import_lock import IMPORTING

if TYPE_CHECKING:
    import requests
    from requests.adapters import HTTPAdapter

CONNECT_TIMEOUT_S = 3.05  # a little over the 3 s after which TCP sends its first packet again
MAX_ANSWER_BYTES = 4 * 1024 * 1024
POOL_SIZE = 16


class Answer(Struct, frozen=True):
    """What a server said. Header names are lower case; `at` is our clock when the headers had arrived."""

    system: str
    status: int
    headers: Mapping[str, str]
    body: bytes
    at: float

    def json(self) -> Any:
        """The body as JSON. Raises Unavailable if it is none, as of a proxy or a login page."""
        try:
            return jsonlib.loads(self.body)
        except (ValueError, RecursionError):
            kind = self.headers.get("content-type", "no content type").split(";")[0]
            raise Unavailable(self.system, f"answered {self.status} with {kind} that is not JSON") from None


@lru_cache(maxsize=1)
def adapter() -> HTTPAdapter:
    """One pool of connections for the process; built on first use, since workers are forked.

    Without a Session around it: that keeps cookies, reads a redirect's body without a limit even where it does not follow it, and
    puts a .netrc's login in the place of the Authorization header that we set.
    """
    requests, _ = _libraries()
    logging.getLogger("urllib3").setLevel(logging.INFO)  # at DEBUG it writes paths and queries, which are a webhook's secret
    made: HTTPAdapter = requests.adapters.HTTPAdapter(pool_maxsize=POOL_SIZE, max_retries=0)
    return made


@lru_cache(maxsize=1)
def _libraries() -> Any:
    """Requests and urllib3."""
    with IMPORTING:
        import requests  # 70 ms and 10 MiB, so not before a call goes out
        import urllib3
    return requests, urllib3


def request(
    system: str,
    method: str,
    url: str,
    *,
    timeout_s: float,
    headers: Mapping[str, str] | None = None,
    json: Any = None,
    body: bytes | None = None,
    auth: tuple[bytes, bytes] | None = None,
    max_bytes: int = MAX_ANSWER_BYTES,
) -> Answer:
    """Send one request once. `timeout_s` bounds the whole exchange, the body included.

    Raises Unavailable (`late` when the time was used up) if there is no complete answer. A redirect is returned as it is.
    """
    ends = time.monotonic() + timeout_s
    requests, urllib3 = _libraries()
    left_s = ends - time.monotonic()
    if left_s <= 0:
        raise Unavailable(system, "no time left to ask", late=True)
    sent: dict[str, str] = {**requests.utils.default_headers(), **(headers or {})}
    if auth is not None:
        sent["Authorization"] = "Basic " + b64encode(b":".join(auth)).decode()
    if json is not None:
        body = jsonlib.dumps(json, ensure_ascii=False).encode()
        sent.setdefault("Content-Type", "application/json")
    host = urlsplit(url).hostname or "?"
    try:
        timeout = urllib3.Timeout(total=left_s, connect=min(CONNECT_TIMEOUT_S, left_s))
        prepared = requests.Request(method, url, headers=sent, data=body).prepare()
        with adapter().send(prepared, stream=True, timeout=timeout) as answer:
            at = time.time()
            chunks, size = [], 0
            while chunk := _next(answer, ends - time.monotonic()):
                size += len(chunk)
                if size > max_bytes:
                    raise Unavailable(system, f"{host} answered with more than {max_bytes} bytes")
                if time.monotonic() > ends:
                    raise Unavailable(system, f"{host} did not finish its answer within {timeout_s:.1f} s", late=True)
                chunks.append(chunk)
            lowered = {name.lower(): value for name, value in answer.headers.items()}
            return Answer(system, answer.status_code, lowered, b"".join(chunks), at)
    except (requests.Timeout, urllib3.exceptions.ReadTimeoutError):
        raise Unavailable(system, f"{host} did not answer within {timeout_s:.1f} s", late=True) from None
    except (requests.RequestException, urllib3.exceptions.HTTPError) as error:
        raise Unavailable(system, f"{host}: {_plain(error)}") from None


def _next(answer: requests.Response, left_s: float) -> bytes:
    """The next bytes of the body, waited for no longer than this: the library's own limit is on each read anew."""
    line = getattr(answer.raw.connection, "sock", None)  # gone once all was read
    if line is not None:
        line.settimeout(max(left_s, 0.001))
    found: bytes = answer.raw.read1(65536, decode_content=True)  # what is there: iter_content waits until it has all
    return found


def _plain(error: Exception) -> str:
    """What went wrong, without the URL that requests puts into its texts."""
    text = f"{error!r} {error.__cause__!r} {error.__context__!r}"
    for sign, said in (
        ("Name or service not known", "no such host"),
        ("nodename nor servname", "no such host"),
        ("NameResolution", "no such host"),
        ("Connection refused", "connection refused"),
        ("CertificateError", "its TLS certificate is not trusted"),
        ("SSLError", "TLS failed"),
        ("reset by peer", "connection reset"),
        ("RemoteDisconnected", "closed the connection without an answer"),
        ("Invalid", "the URL is invalid"),
    ):
        if sign in text:
            return said
    return f"connection failed ({type(error).__name__})"
