"""All HTTP requests of our own go through here: bounded in time and size, no redirects, no cookies, no secrets in errors.

Proxies and certificates come from the usual environment variables: HTTPS_PROXY, HTTP_PROXY, NO_PROXY; REQUESTS_CA_BUNDLE,
CURL_CA_BUNDLE, SSL_CERT_FILE. A system's own `ca` takes precedence."""

from __future__ import annotations

import ipaddress
import json as jsonlib
import logging
import os
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from functools import lru_cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypedDict, TypeVar, Unpack
from urllib.parse import urlsplit

import msgspec
from msgspec import Struct

from functions.runtime.errors import Denied, Unavailable
from functions.runtime.parallel import MOST_THREADS, name_late, run_parallel
from functions.runtime.structs import convert
from functions.runtime.text import Phrase, Text, named

if TYPE_CHECKING:
    import requests
    from requests.adapters import HTTPAdapter

T = TypeVar("T")
OK, FORBIDDEN, SERVER_ERROR = 200, frozenset({401, 403}), 500
MAX_ANSWER_BYTES = 4 * 1024 * 1024
POOL_SIZE = 16
METADATA = "metadata.google.internal"
CA_VARIABLES = ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE")
TRUST_IT = Text("Set `ca` (or SSL_CERT_FILE) to its authority's certificates as PEM, and use a name in `url` that its own has.")


class Answer(Struct, frozen=True):
    """An HTTP response. Header names are lower case. `at`: our clock (Unix seconds) when the headers arrived."""

    system: str
    status: int
    headers: Mapping[str, str]
    body: bytes
    at: float

    def json(self) -> Any:
        """Decode the body. Raises Unavailable if it isn't JSON, such as the page of a proxy or a login."""
        try:
            return jsonlib.loads(self.body)
        except (ValueError, RecursionError):
            kind = self.headers.get("content-type", "").split(";")[0] or Text("no content type")
            why = Text("answered {status} with {kind} that is not JSON", status=str(self.status), kind=kind)
            raise Unavailable(self.system, why) from None

    def object(self) -> dict[str, Any]:
        """Decode the body. Raises Unavailable if it isn't a JSON object."""
        content = self.json()
        if not isinstance(content, dict):
            raise Unavailable(self.system, Text("sent something other than what was asked for"))
        return content


@lru_cache(maxsize=1)
def adapter() -> HTTPAdapter:
    """Returns the process's connection pool, created on first use because servers fork their workers. A bare adapter instead of
    a Session: a Session keeps cookies, reads a redirect's body without a limit even if it doesn't follow it, and replaces our
    Authorization header with a login from .netrc."""
    from functions.runtime.exchange import Adapter  # 70 ms and 10 MiB, so not before the first request

    logging.getLogger("urllib3").setLevel(logging.INFO)  # at DEBUG it logs paths and queries, which are secrets of webhooks
    return Adapter(pool_maxsize=POOL_SIZE, max_retries=0)


class Content(TypedDict, total=False):
    """The optional parts of a request. `auth`: user and password. `max_bytes`: the largest answer. `ca`: a file or folder of PEM
    certificates to trust instead of the usual ones."""

    headers: Mapping[str, str]
    json: Any
    body: bytes | None
    auth: tuple[bytes, bytes] | None
    max_bytes: int
    ca: str


def request(system: str, method: str, url: str, *, timeout_s: float, **content: Unpack[Content]) -> Answer:
    """Send one request once. `timeout_s` bounds the whole exchange, the body included. Raises Unavailable (`late` when the time
    was used up) if there is no complete answer. A redirect is returned as it is."""
    ends = time.monotonic() + timeout_s
    import requests
    import urllib3

    from functions.runtime.exchange import deadline

    if ends <= time.monotonic():
        raise Unavailable(system, Text("deadline exceeded before sending"), late=True)
    host = _host(url)
    trusted, proxies = _trusted(system, url, content.get("ca", "")), choose_proxies(url, host)
    try:
        headers, body = _prepare(content)
        prepared = requests.Request(method, url, headers=headers, data=body, auth=content.get("auth")).prepare()
        with deadline(ends), adapter().send(prepared, stream=True, verify=trusted, proxies=proxies) as answer:
            at = time.time()
            received = _receive(system, answer, content.get("max_bytes", MAX_ANSWER_BYTES))
            lowered = {name.lower(): value for name, value in answer.headers.items()}
            return Answer(system, answer.status_code, lowered, received, at)
    except (requests.RequestException, urllib3.exceptions.HTTPError, TimeoutError, ValueError) as error:
        raise failure(system, host, timeout_s, error) from None


def failure(system: str, host: str, timeout_s: float, error: Exception) -> Unavailable:
    """The error to raise for one of requests or urllib3."""
    import ssl

    causes = list(_causes(error))
    if any(isinstance(cause, TimeoutError) for cause in causes):
        silent = Text("{host} did not answer within {seconds} s", host=host, seconds=f"{timeout_s:.1f}")
        return Unavailable(system, silent, late=True)
    # Waiting doesn't help where a certificate is not trusted.
    remedy = TRUST_IT if any(isinstance(cause, ssl.SSLCertVerificationError) for cause in causes) else ""
    return Unavailable(system, named(host, _explain(causes)), remedy=remedy)


def _prepare(content: Content) -> tuple[dict[str, str], bytes | None]:
    import requests

    sent, json = {**requests.utils.default_headers(), **(content.get("headers") or {})}, content.get("json")
    if json is None:
        return sent, content.get("body")
    sent.setdefault("Content-Type", "application/json")
    return sent, jsonlib.dumps(json, ensure_ascii=False).encode()


def _receive(system: str, answer: requests.Response, max_bytes: int) -> bytes:
    body = b""
    while chunk := answer.raw.read1(65536, decode_content=True):  # what is there; iter_content waits for a full chunk
        body += chunk
        if len(body) > max_bytes:
            host = _host(answer.url)
            raise Unavailable(system, Text("{host} answered with more than {limit} bytes", host=host, limit=max_bytes))
    return body


def _host(url: str) -> str:
    """The URL's host; `?` if it has no valid one (requests reports that itself)."""
    try:
        return urlsplit(url).hostname or "?"
    except ValueError:
        return "?"


def _trusted(system: str, url: str, ca: str) -> str | bool:
    """The certificates to trust: a path, or True for those that come with requests."""
    path = ca or next((path for name in CA_VARIABLES if (path := os.environ.get(name))), "")
    if path and url.startswith("https:") and not Path(path).exists():
        absent = Text("the file with trusted certificates does not exist: {path}", path=path)
        raise Unavailable(system, absent, remedy=TRUST_IT)
    return path or True


def choose_proxies(url: str, host: str) -> Mapping[str, str]:
    """The proxies that the environment names for this URL. Loopback addresses and Google's metadata server never use one."""
    if host in ("?", METADATA) or is_loopback(host):
        return {}
    import requests

    return requests.utils.get_environ_proxies(url)


def _explain(causes: Sequence[BaseException]) -> Phrase:
    """Describe a failure by the types of the errors in its chain. Their texts contain the URL, which may be secret."""
    import socket
    import ssl

    import urllib3

    explained: tuple[tuple[type[BaseException], Callable[[Any], Phrase]], ...] = (
        (
            ssl.SSLCertVerificationError,
            lambda cause: Text("the TLS certificate is not trusted ({reason})", reason=cause.verify_message),
        ),
        (ssl.SSLError, lambda cause: Text("TLS failed ({reason})", reason=str(cause.reason or "unknown reason"))),
        (socket.gaierror, lambda _: Text("no such host")),
        (ConnectionRefusedError, lambda _: Text("connection refused")),
        (ValueError, lambda _: Text("the URL or a secret is invalid, or has characters that HTTP can't carry")),
        (BaseException, lambda cause: Text("connection failed ({error})", error=type(cause).__name__)),
    )
    problem = next(say(cause) for kind, say in explained for cause in reversed(causes) if isinstance(cause, kind))
    through_proxy = any(isinstance(cause, urllib3.exceptions.ProxyError) for cause in causes)
    return Text("through the proxy: {problem}", problem=problem) if through_proxy else problem


def _causes(error: BaseException) -> Iterator[BaseException]:
    """Yield the error and the errors that requests, urllib3 and the standard library wrapped in it, outermost first."""
    waiting, visited = [error], {id(error)}
    while waiting:
        cause = waiting.pop(0)
        yield cause
        for inner in (*cause.args, getattr(cause, "reason", None), cause.__cause__, cause.__context__):
            if isinstance(inner, BaseException) and id(inner) not in visited:
                visited.add(id(inner))
                waiting.append(inner)


def is_loopback(host: str | None) -> bool:
    """Whether a URL's host or a peer's address is loopback: plain http is fine there, and no proxy is used."""
    try:
        return ipaddress.ip_address(host or "").is_loopback
    except ValueError:
        return host == "localhost"


def ask_all(
    system: str, limits: Mapping[str, float], ends: float, get: Callable[[str, float], Answer], *, at_once: int = MOST_THREADS
) -> dict[str, Any]:
    """Get all paths, so many at once, each within its limit (s) and until `ends` (monotonic): the Answer, or error, of each."""
    left_s = ends - time.monotonic()
    calls = [partial(get, path, min(left_s, limit_s)) for path, limit_s in limits.items()]
    outcomes = [name_late(outcome, system) for outcome in run_parallel(calls, timeout_s=left_s, at_once=at_once)]
    return dict(zip(limits, outcomes, strict=True))


def require_ok(system: str, answer: Answer, *, passing: Collection[int], remedy: Phrase) -> Answer:
    """Return a success. Raises Unavailable for 5xx and the statuses in `passing`, otherwise Denied, with the remedy for a wrong
    `url`."""
    status, what = answer.status, Text("answered {status}", status=str(answer.status))
    if status == OK:
        return answer
    if status >= SERVER_ERROR or status in passing:
        raise Unavailable(system, what)
    raise Denied(system, what, remedy=remedy, status=status)


def shaped(system: str, value: Any, shape: type[T]) -> T:
    """The answer as its type; raises Unavailable if the form isn't that of a known API."""
    try:
        return convert(value, shape)
    except (msgspec.ValidationError, UnicodeEncodeError) as error:  # the latter of half a surrogate pair
        raise Unavailable(system, Text("sent an unknown form of answer: {error}", error=str(error))) from None
