"""Grafana's side of the webhook, for `send`: makes notifications, and signs them like a contact point."""

import hashlib
import hmac
import json
import time
from base64 import b64encode
from collections.abc import Mapping
from typing import Any

from functions.config.settings import Auth, Basic, Bearer, Hmac
from functions.runtime.errors import Denied


def alert(labels: Mapping[str, str], summary: str, fingerprint: str, now: float) -> dict[str, Any]:
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


def notification(alerts: list[dict[str, Any]], *, receiver: str, group_key: str, source: str) -> bytes:
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


def headers(auth: Auth, body: bytes, now: float, way: str = "") -> dict[str, str]:
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
