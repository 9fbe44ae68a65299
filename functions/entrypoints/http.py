"""What all entry points share: the answers, who may call, and what strangers' requests may cost.

gunicorn has a thread for each request, and reads a body only while the function asks for it, without a time limit. So each body
has a deadline. What else slow senders could do is the business of the proxy in front (docs/security.md)."""

import json
import os
import socket
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from io import BytesIO
from typing import IO

from flask import Request, current_app, has_app_context
from flask import request as current_request
from msgspec import Struct

from functions.bootstrap import current_config
from functions.runtime import logs
from functions.runtime.errors import BadRequest, Denied, Unavailable
from functions.runtime.secrets import SecretRef, any_matches

Response = tuple[str, int, dict[str, str]]
JSON = {"Content-Type": "application/json"}
MAX_BODY = 8 * 1024 * 1024  # bytes; 1,000 alerts are 2.6 MB
READ_BYTES = 64 * 1024
BODY_S = 10.0  # the longest that a body may take. 1,000 alerts (2.6 MB) take this long at 2.1 Mbit/s
BASE_S, BYTES_PER_S = 2.0, 256 * 1024  # a shorter body gets this time, and its announced length at this rate
REFUSED_S = 1.0  # seconds in which the rest of an answered request may arrive
LOGGED_EVERY_S = 1.0  # further refusals are only counted: 1,000 a second would be 40 GB of log a day
PLATFORM = "K_SERVICE", "GOOGLE_CLOUD_PROJECT"
"""Set where Cloud Run lets in only callers with a permission, by it and by our module. Knative sets the first one too."""
BEARER = "Bearer "


def json_response(status: int, **content: object) -> Response:
    """A response with a JSON object."""
    return json.dumps(content, ensure_ascii=False), status, JSON


def not_allowed(methods: str) -> Response:
    """The response to another method. No body, so that a redirect that turned POST into GET doesn't look like success."""
    return "", 405, {"Allow": methods}


def error_response(error: BadRequest) -> Response:
    """The response to a bad request."""
    return json_response(error.status, error=error.sentence)


# --- bodies


class _Timed(Struct):
    """gunicorn's connection while it reads a body: each read has what is left of the body's time. After that it still returns
    what has arrived, so that a process that stood still blames no sender."""

    connection: socket.socket
    ends: float

    def recv(self, size: int) -> bytes:
        self.connection.settimeout(max(0.0, self.ends - time.monotonic()))
        return self.connection.recv(size)


@contextmanager
def _limit_time(request: Request, seconds: float) -> Iterator[None]:
    """Give the rest of the request's body this time to arrive. Other servers than gunicorn, as in tests, have no limit.
    Raises BadRequest 503 for what came too late: Alertmanager then sends it again."""
    connection = request.environ.get("gunicorn.socket")
    if connection is None:
        yield
        return
    reader, ends = request.environ["wsgi.input"].reader, time.monotonic() + seconds
    unreader = reader.unreader if hasattr(reader, "unreader") else reader.req.unreader  # the latter with chunks
    unreader.sock = _Timed(connection, ends)
    try:
        yield
    except BadRequest as error:
        if error.status == 400 and time.monotonic() >= ends:
            raise BadRequest(503, "The body did not arrive in time.") from None
        raise
    finally:
        unreader.sock = connection
        connection.settimeout(None)


def read_body(request: Request, max_body: int = MAX_BODY) -> bytes:
    """The whole body, within a time that its length justifies. Reads at most `max_body` + 1 bytes, whatever Content-Length says.
    Raises BadRequest: 413 over `max_body` bytes, 415 if it is compressed, 503 if it is late, 400 if it ends early."""
    if (request.content_encoding or "").strip().lower() not in ("", "identity"):
        raise BadRequest(415, "The body is compressed. Grafana never does that: send it as it is, without Content-Encoding.")
    length, too_large = request.content_length, f"The body has more than {max_body} bytes: set Max Alerts in the contact point."
    if length is not None and length > max_body:
        raise BadRequest(413, too_large)
    wanted = max_body + 1 if length is None else length
    chunks, size = [], 0
    with _limit_time(request, BODY_S if length is None else min(BODY_S, BASE_S + length / BYTES_PER_S)):
        while size < wanted and (chunk := _read_chunk(request.stream, wanted - size)):
            chunks.append(chunk)
            size += len(chunk)
        if size > max_body:
            raise BadRequest(413, too_large)
        if length is not None and size < wanted:
            raise BadRequest(400, f"The body ended after {size} of {wanted} bytes.")
    return b"".join(chunks)


def _read_chunk(stream: IO[bytes], most: int = READ_BYTES) -> bytes:
    """The next bytes; none at the end. Raises BadRequest 400 if the body ends early or its chunks are malformed."""
    from gunicorn.http.errors import ParseException  # the server has already imported both
    from werkzeug.exceptions import HTTPException

    try:
        return stream.read(min(READ_BYTES, most))
    except (OSError, ValueError, HTTPException, ParseException):
        raise BadRequest(400, "The body could not be read to its end.") from None


def stop_reading(request: Request) -> None:
    """Discard what arrives of an answered request's body within REFUSED_S. With a part unread the connection would be reset,
    and the sender might not see the answer; functions-framework would read the rest into memory without a limit."""
    stream, request.stream = request.stream, BytesIO()
    closes = request.environ["SERVER_PROTOCOL"] == "HTTP/1.0" or "close" in request.headers.get("Connection", "").lower()
    try:
        with _limit_time(request, REFUSED_S):
            while _read_chunk(stream):
                pass
    except BadRequest:
        closes = True
    connection = request.environ.get("gunicorn.socket")
    if closes and connection is not None:
        with suppress(OSError):  # else gunicorn waits two seconds for the sender to close it, in the loop that accepts others
            connection.shutdown(socket.SHUT_RD)


def guard_server() -> None:
    """Have functions-framework, which is about to serve in this process, read no body for what it answers itself, such as 404
    for /robots.txt: it would read it without any limit."""
    if has_app_context():  # functions-framework loads main.py within its application's
        current_app.before_request(_answer_without_function)


def _answer_without_function() -> None:
    if current_request.url_rule is None or current_request.url_rule.endpoint == "error":
        stop_reading(current_request)


_LOCK, _HELD_BACK = threading.Lock(), Counter[int]()
_NEXT_AT: dict[int, float] = {}
"""By status, so that strangers' 401 don't hide Grafana's own 400: until when lines are only counted, and how many were."""


def log_refusal(status: int, sentence: str) -> None:
    """Log one line in LOGGED_EVERY_S seconds, and count the others."""
    now = time.monotonic()
    with _LOCK:
        if now < _NEXT_AT.get(status, now):
            _HELD_BACK[status] += 1
            return
        _NEXT_AT[status], before = now + LOGGED_EVERY_S, _HELD_BACK.pop(status, 0)
    more = f" ({before} more were refused since the last such line)" if before else ""
    logs.event("WARNING", f"refused with {status}: {sentence}{more}")


# --- who may call


def has_token(request: Request, tokens: tuple[SecretRef, ...]) -> bool:
    """Whether the request carries one of these tokens. Raises Unavailable or Denied if the tokens can't be read."""
    shown = request.headers.get("Authorization", "")
    token = shown.removeprefix(BEARER).encode(errors="replace")
    return shown.startswith(BEARER) and any_matches(tokens, token, lambda secret: secret)


def refuse_stranger(request: Request) -> Response | None:
    """Returns 403 for a caller without a token of this machine if no platform checks callers, 503 if the tokens can't be read;
    None for callers that are let in."""
    if all(map(os.environ.get, PLATFORM)):
        return None
    tokens = current_config().machine_tokens
    try:
        if has_token(request, tokens):
            return None
    except (Unavailable, Denied) as error:
        log_refusal(503, f"machine_tokens can't be read: {error}")
        return json_response(503, error="Unstick can't read its own secrets; its log says why.")
    log_refusal(403, "a caller without one of machine_tokens")
    return json_response(403, error="Send the header Authorization: Bearer, with one of `machine_tokens` in unstick.yaml.")
