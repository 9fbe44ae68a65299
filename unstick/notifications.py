"""Reads notifications from files (Grafana's body or a recorded request; gzipped or not; `-` is stdin), or makes an example;
and signs them like a contact point."""

import gzip
import hashlib
import hmac
import json
import re
import sys
import time
import zlib
from base64 import b64encode
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct

from functions.adapters.grafana.request import parse
from functions.config.settings import Auth, Basic, Bearer, Hmac
from functions.domain.decisions.matching import matches, template_labels
from functions.domain.model.alerts import Alert
from functions.domain.model.runbooks import Matcher, Rules, Runbook
from functions.runtime.errors import BadRequest, Denied
from unstick.output import Unusable

GZIP = b"\x1f\x8b"
SOURCE = "https://example.invalid/"
REMEDY = "Name the JSON of a notification, such as examples/alert.json, or - for stdin."


class Recorded(Struct, frozen=True):
    """One notification."""

    name: str
    body: bytes


def read(path: str) -> Recorded:
    """Read a file. Raises Unusable with what is wrong with it."""
    name = "stdin" if path == "-" else path
    try:
        content = sys.stdin.buffer.read() if path == "-" else Path(path).read_bytes()
        if content.startswith(GZIP):
            content = gzip.decompress(content)
    except FileNotFoundError:
        raise Unusable(f"{name}: there is no such file. {REMEDY}") from None
    except (OSError, EOFError, zlib.error) as error:
        raise Unusable(f"{name}: can't be read ({type(error).__name__}). Fix its permissions, or use another file.") from None
    if not content.strip():
        raise Unusable(f"{name}: the file is empty. {REMEDY}")
    return _recorded(name, content)


def read_all(path: str) -> list[Recorded]:
    """Read a file, or all recordings in a folder. Raises Unusable like `read`."""
    if not Path(path).is_dir():
        return [read(path)]
    paths = sorted(file for pattern in ("*.json", "*.json.gz") for file in Path(path).glob(pattern))
    if not paths:
        raise Unusable(f"{path}: has no *.json or *.json.gz. Name the folder with the recordings.")
    return [read(str(file)) for file in paths]


def parsed(recorded: Recorded) -> tuple[Alert, ...]:
    """The alerts of a recording. Raises Unusable if Unstick would answer 400."""
    try:
        return parse(recorded.body)
    except BadRequest as error:
        raise Unusable(f"{recorded.name}: {error.sentence}") from None


def restamped(recorded: Recorded, now: float) -> Recorded:
    """The same alerts, with times as if they had begun or ended just now."""
    parsed(recorded)  # raises what is wrong with it
    content = json.loads(recorded.body)
    for alert in content["alerts"]:
        alert["startsAt" if alert["status"] == "firing" else "endsAt"] = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(now))
    return Recorded(recorded.name, json.dumps(content, ensure_ascii=False).encode("utf-8", "surrogatepass"))


def example(rules: Rules, labels: Mapping[str, str], now: float) -> Recorded:
    """A firing alert with these labels and those of the first fitting runbook's matchers. Raises Unusable if one is missing."""
    for runbook in rules.runbooks.values():
        fixed = {matcher.label: value for matcher in runbook.match if (value := _plain(matcher)) is not None}
        if all(matches(matcher, labels) for matcher in runbook.match if matcher.label in labels):
            labels = fixed | dict(labels)
            _require_labels(runbook, labels)
            break
    labels = {"alertname": "Example", **labels}
    fingerprint = hashlib.sha256(json.dumps([sorted(labels.items()), now]).encode()).hexdigest()[:16]
    alert = _alert(labels, "An example by unstick send", fingerprint, now)
    group_key = f'{{}}:{{example="{fingerprint}"}}'
    return Recorded("example", _notification([alert], receiver="unstick", group_key=group_key, source=SOURCE))


def _plain(matcher: Matcher) -> str | None:
    """A value that this matcher takes, as far as its pattern is one text with optional parts; None for any other."""
    value = matcher.value if matcher.op == "=" else re.sub(r"\([^()]*\)\?", "", matcher.value)
    return value if matcher.op in ("=", "=~") and matches(matcher, {matcher.label: value}) else None


def _require_labels(runbook: Runbook, labels: Mapping[str, str]) -> None:
    templates = [*runbook.restart.options.values(), *runbook.symptom.keys.values()]
    unmet = [matcher.label for matcher in runbook.match if not matches(matcher, labels)]
    needed = dict.fromkeys([*unmet, *(name for template in templates for name in template_labels(template))])
    if missing := [name for name in needed if name not in labels]:
        written = " ".join(f"{name}=..." for name in missing)
        raise Unusable(f"the runbook {runbook.name} also needs the labels {', '.join(missing)}. Add: {written}")


class _Request(Struct, frozen=True):
    body: str | None = None
    body_text: str | None = None
    body_base64: bytes | None = None


class _Recording(_Request, frozen=True):
    request: _Request | None = None


def _recorded(name: str, content: bytes) -> Recorded:
    try:
        recording = msgspec.json.decode(content, type=_Recording)
    except (ValueError, RecursionError) as error:
        if "base64" in str(error):
            raise Unusable(f"{name}: {error}. Record it anew.") from None
        return Recorded(name, content)  # the parser reports what is wrong
    request = recording.request or recording
    text = request.body if request.body is not None else request.body_text
    body = text.encode() if text is not None else request.body_base64
    return Recorded(name, content if body is None else body)


def _alert(labels: Mapping[str, str], summary: str, fingerprint: str, now: float) -> dict[str, Any]:
    """A firing alert that begins now, in the form of a notification."""
    return {
        "status": "firing",
        "labels": dict(labels),
        "annotations": {"summary": summary},
        "startsAt": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(now)),
        "endsAt": "0001-01-01T00:00:00Z",
        "generatorURL": "",
        "fingerprint": fingerprint,
    }


def _notification(alerts: list[dict[str, Any]], *, receiver: str, group_key: str, source: str) -> bytes:
    """The body of a notification with these alerts. `source`: the value for Grafana's address."""
    content = {
        "receiver": receiver,
        "status": "firing",
        "version": "1",
        "groupKey": group_key,
        "truncatedAlerts": 0,
        "externalURL": source,
        "orgId": 1,
        "alerts": alerts,
    }
    return json.dumps(content, ensure_ascii=False, indent=2).encode()


def sign(auth: Auth, body: bytes, now: float, way: str = "") -> dict[str, str]:
    """The headers of a notification: by the first secret of the first configured method, or of `way` (hmac, basic or bearer).
    Raises Denied if the method isn't configured or its secret can't be read, or Unavailable."""
    plain = {"Content-Type": "application/json", "User-Agent": "Grafana"}
    ways: dict[str, Hmac | Basic | Bearer | None] = {"hmac": auth.hmac, "basic": auth.basic, "bearer": auth.bearer}
    chosen = ways.get(way) if way else next(filter(None, ways.values()), None)
    match chosen:
        case Hmac():
            return plain | _signed(chosen, body, now)
        case Basic():
            shown = b64encode(chosen.user.encode() + b":" + chosen.passwords[0].read()).decode()
            return plain | {"Authorization": f"Basic {shown}"}
        case Bearer():
            return plain | {"Authorization": f"{chosen.scheme} {chosen.tokens[0].read().decode('latin-1')}"}
    raise Denied("grafana", f"grafana.auth has no {way or 'way in'}", remedy="Name one that the configuration has.")


def _signed(way: Hmac, body: bytes, now: float) -> dict[str, str]:
    """HMAC-SHA-256 in hex digits; if there is a timestamp header, over time, colon and body."""
    stamp = str(int(now)) if way.timestamp_header else ""
    mac = hmac.new(way.secrets[0].read(), f"{stamp}:".encode() if stamp else b"", hashlib.sha256)
    mac.update(body)
    timestamp = {way.timestamp_header: stamp} if way.timestamp_header else {}
    return {way.header: mac.hexdigest(), **timestamp}
