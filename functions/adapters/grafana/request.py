"""Receives Grafana's requests: size and authentication (auth.py).

Unauthenticated requests are rejected before anything is parsed or imported."""

from typing import Protocol

from functions.adapters.grafana.auth import TOLERANCE_S, authenticate
from functions.runtime.errors import BadRequest

__all__ = ["TOLERANCE_S", "authenticate", "read_body", "read_chunk"]

MAX_BODY = 8 * 1024 * 1024  # bytes; 1,000 alerts are 2.6 MB
READ_BYTES = 16 * 1024  # small enough to show how fast a body arrives


class Stream(Protocol):
    """A request's body, which ends by itself, such as Flask's `request.stream`."""

    def read(self, size: int, /) -> bytes: ...


def read_body(stream: Stream, content_length: int | None, max_body: int, encoding: str | None) -> bytes:
    """The whole body. Reads at most `max_body` + 1 bytes, whatever Content-Length says. `encoding`: the header Content-Encoding.
    Raises BadRequest: 413 over `max_body` bytes, 415 if it is compressed, 400 if it ends early."""
    if (encoding or "").strip().lower() not in ("", "identity"):
        raise BadRequest(415, "The body is compressed. Grafana never does that: send it as it is, without Content-Encoding.")
    too_large = f"The body has more than {max_body} bytes: set Max Alerts in the contact point."
    if content_length is not None and content_length > max_body:
        raise BadRequest(413, too_large)
    wanted = max_body + 1 if content_length is None else max(content_length, 0)
    chunks, size = [], 0
    while size < wanted and (chunk := read_chunk(stream, wanted - size)):
        chunks.append(chunk)
        size += len(chunk)
    if size > max_body:
        raise BadRequest(413, too_large)
    if content_length is not None and size < wanted:
        raise BadRequest(400, f"The body ended after {size} of {wanted} bytes.")
    return b"".join(chunks)


def read_chunk(stream: Stream, most: int = READ_BYTES) -> bytes:
    """The next bytes; none at the end. Raises BadRequest 400 if the body ends early or its chunks are malformed."""
    from gunicorn.http.errors import ParseException  # the server has already imported both
    from werkzeug.exceptions import HTTPException

    try:
        return stream.read(min(READ_BYTES, most))
    except (OSError, ValueError, HTTPException, ParseException):
        raise BadRequest(400, "The body could not be read to its end.") from None
