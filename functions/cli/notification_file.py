"""Notifications from files: a body as Grafana posts it, or a recorded request; gzipped or not; `-` is stdin."""

from __future__ import annotations

import gzip
import json
import sys
import time
import zlib
from base64 import b64decode
from pathlib import Path
from typing import TYPE_CHECKING, Any

from msgspec import Struct

from functions.cli.showing import Unusable
from functions.runtime.errors import BadRequest

if TYPE_CHECKING:
    from functions.domain.model.alerts import Notification

GZIP = b"\x1f\x8b"


class Recorded(Struct, frozen=True):
    """One notification. `at`: when it arrived, where the recording says so (Unix seconds)."""

    name: str
    body: bytes
    at: float | None


def read(path: str) -> Recorded:
    """Read a file. Raises Unusable with what is wrong with it."""
    name = "stdin" if path == "-" else path
    try:
        content = sys.stdin.buffer.read() if path == "-" else Path(path).read_bytes()
        if content.startswith(GZIP):
            content = gzip.decompress(content)
    except FileNotFoundError:
        raise Unusable(f"{name}: there is no such file. Name a notification's JSON, or - for stdin.") from None
    except (OSError, EOFError, zlib.error) as error:
        raise Unusable(f"{name}: can't be read ({type(error).__name__}). Mend its permissions, or take another file.") from None
    if not content.strip():
        raise Unusable(f"{name}: the file is empty. Name a notification's JSON.")
    return _recorded(name, content)


def parsed(recorded: Recorded) -> Notification:
    """Its alerts. Raises Unusable where Unstick would answer 400."""
    from functions.adapters.grafana.request import parse

    try:
        return parse(recorded.body)
    except BadRequest as error:
        raise Unusable(f"{recorded.name}: {error.sentence}") from None


def restamped(recorded: Recorded, now: float) -> Recorded:
    """The same alerts, as if they had begun, or ended, just now."""
    stamp = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(now))
    parsed(recorded)  # says what is wrong with it
    content = json.loads(recorded.body)
    for alert in content["alerts"]:
        alert["startsAt" if alert["status"] == "firing" else "endsAt"] = stamp
    return Recorded(recorded.name, json.dumps(content, ensure_ascii=False).encode("utf-8", "surrogatepass"), now)


def _recorded(name: str, content: bytes) -> Recorded:
    try:
        found = json.loads(content)
    except (ValueError, RecursionError):
        return Recorded(name, content, None)  # whoever parses it says what is wrong
    request = found.get("request", found) if isinstance(found, dict) else None
    if not isinstance(request, dict):
        return Recorded(name, content, None)
    body, at = _body(name, request), found.get("recorded_at_unix")
    if body is None:
        return Recorded(name, content, None)
    return Recorded(name, body, float(at) if isinstance(at, int | float) else None)


def _body(name: str, request: dict[str, Any]) -> bytes | None:
    """The body of a recorded request; None if this is none."""
    for key in ("body", "body_text"):
        if isinstance(request.get(key), str):
            return str(request[key]).encode("utf-8", "surrogatepass")
    if not isinstance(request.get("body_base64"), str):
        return None
    try:
        return b64decode(request["body_base64"], validate=True)
    except ValueError:
        raise Unusable(f"{name}: body_base64 is not base64. Record it anew.") from None
