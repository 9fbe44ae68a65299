"""One line an event on stdout: JSON with Cloud Logging's fields, or readable text on a terminal or a command's stderr.

    logs.event("NOTICE", "restart held", reason=Reason.COOLDOWN, action=Action.HELD)

Never raises. Prints only plain values; anything else is shown as its type, so that no repr leaks a secret.
"""

import json
import math
import os
import re
import sys
import threading
import time
import traceback
from collections.abc import Mapping
from contextlib import suppress

from functions.runtime.secrets import redact
from functions.runtime.text import Text

LABELS = ("incident", "target", "runbook", "reason", "action", "outcome")
"""Fields that also become labels of the entry, for metrics and filters."""
MAX_FIELD_BYTES = 10_000  # of one text, as UTF-8; Cloud Logging refuses entries over 256 KiB
MAX_ITEMS = 50  # of one list or mapping
MAX_ROW = 2_000  # characters of one entry of a traceback
REPORTED_ERROR = "type.googleapis.com/google.devtools.clouderrorreporting.v1beta1.ReportedErrorEvent"
"""The `@type` that Error Reporting expects (cloud.google.com/error-reporting/docs/formatting-error-messages)."""

# Line breaks, terminal escapes, lone surrogates, and bidirectional control characters.
_UNPRINTABLE = "[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]+"
_UNPRINTABLE_BUT_NEWLINE = _UNPRINTABLE.replace("\x00-\x1f", "\x00-\x09\x0b-\x1f")
_TRACE = re.compile(r"([0-9a-fA-F]{32})(?:/[0-9]{1,20})?(?:;o=[0-9])?", re.ASCII)
# Each line is a single write. The lock keeps lines of several threads apart. Lines of several processes on one pipe are kept
# apart by the kernel up to PIPE_BUF (4,096 bytes), and beyond that as long as the reader keeps up.
_LOCK = threading.RLock()
os.register_at_fork(before=_LOCK.acquire, after_in_parent=_LOCK.release, after_in_child=_LOCK.release)


def event(severity: str, message: str, *, error: object = None, **fields: object) -> None:
    """Write one event. `severity`: INFO, NOTICE, WARNING or ERROR. `error`: with its traceback. None values are left out."""
    entry = _entry(severity, message, error, fields)
    stream = sys.stdout
    with suppress(OSError, ValueError, AttributeError):  # stdout is closed, full or missing: logging must not fail a request
        line = _readable(entry) if stream.isatty() or stream is sys.stderr else _json(entry, stream.encoding)
        with _LOCK:
            stream.write(line + "\n")
            stream.flush()


def _entry(severity: str, message: str, error: object, fields: Mapping[str, object]) -> dict[str, object]:
    cleaned = {_text(name): _plain(value) for name, value in fields.items() if value is not None}
    entry: dict[str, object] = {"severity": severity, "message": _text(message), "time": _rfc3339(time.time())}
    labels = {name: str(cleaned[name]) for name in LABELS if name in cleaned}
    if labels:
        entry["logging.googleapis.com/labels"] = labels
    if trace := _trace():
        entry["logging.googleapis.com/trace"] = trace
    if error is not None:
        entry["error"] = _plain(error)
    if isinstance(error, BaseException):
        entry["stack_trace"] = _traceback(error)
        if severity == "ERROR":
            entry["@type"] = REPORTED_ERROR
    return entry | {name: value for name, value in cleaned.items() if name not in entry}


def _trace() -> str | None:
    """The trace of the request, from X-Cloud-Trace-Context (TRACE_ID/SPAN_ID;o=OPTIONS), as Cloud Logging wants it. Anybody can
    set the header, so the pattern matches all of it."""
    if not (project := os.environ.get("GOOGLE_CLOUD_PROJECT")):
        return None
    from flask import has_request_context, request  # the command line has none

    match = _TRACE.fullmatch(request.headers.get("X-Cloud-Trace-Context", "")) if has_request_context() else None
    return f"projects/{project}/traces/{match[1].lower()}" if match else None


def _plain(value: object) -> object:
    """Convert to values that JSON can hold: no control characters, bounded length, of other types only their name."""
    if isinstance(value, str | Text):
        return _text(str(value))
    if value is None or isinstance(value, bool | int):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else str(value)  # JSON has neither NaN nor infinity
    if isinstance(value, BaseException):
        return _text("".join(traceback.format_exception_only(value)).strip())
    if isinstance(value, dict):
        return {_text(str(name)): _plain(item) for name, item in list(value.items())[:MAX_ITEMS]}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value[:MAX_ITEMS]]
    return f"<{type(value).__name__}>"


def _text(value: str) -> str:
    # Cut long texts before the pattern runs over them; a character has at least one byte.
    cut = redact(value[: MAX_FIELD_BYTES + 1])
    cleaned = cut if cut.isprintable() else re.sub(_UNPRINTABLE, " ", cut)  # compiling it takes 0.3 ms; most starts don't need it
    if len(cleaned.encode()) <= MAX_FIELD_BYTES:
        return cleaned
    return cleaned.encode()[: MAX_FIELD_BYTES - 3].decode(errors="ignore") + "…"


def _traceback(error: BaseException) -> str:
    """The traceback with its line breaks, cut at the front: the cause is at the end."""
    rows = [row[:MAX_ROW] for row in traceback.format_exception(error)]
    text = redact(re.sub(_UNPRINTABLE_BUT_NEWLINE, " ", "".join(rows)))
    if len(text.encode()) <= MAX_FIELD_BYTES:
        return text
    tail = text.encode()[-MAX_FIELD_BYTES:].decode(errors="ignore").partition("\n")[2]
    return "Traceback (most recent call last):\n" + tail  # Error Reporting recognizes a traceback by its first line


def _rfc3339(at: float) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(at)) + f".{int(at % 1 * 1e6):06d}Z"


def _json(entry: Mapping[str, object], encoding: str | None) -> str:
    utf8 = (encoding or "").lower().replace("-", "") == "utf8"
    return json.dumps(entry, ensure_ascii=not utf8, separators=(",", ":"))


def _readable(entry: Mapping[str, object]) -> str:
    left_out = {"severity", "message", "time", "stack_trace", "@type"}
    fields = {name: value for name, value in entry.items() if name not in left_out and not name.startswith("logging.")}
    line = f"{time.strftime('%H:%M:%S')} {entry['severity']:<8} {entry['message']}"
    worded = "".join(f" {name}={json.dumps(value, ensure_ascii=False)}" for name, value in fields.items())
    return line + worded + "".join(f"\n    {row}" for row in str(entry.get("stack_trace", "")).splitlines())
