"""Parses a notification of Grafana (version "1") or Alertmanager (version "4"): JSON -> alerts.

Both use the same names for the fields that are read here. Upstream adds fields often, so all others are ignored. Imported only
for authenticated requests."""

import re
from datetime import datetime
from typing import Annotated

import msgspec

from functions.domain.model.alerts import Alert
from functions.runtime.errors import BadRequest

VERSIONS = (None, "1", "4")  # missing in some custom payloads
STATUSES = ("firing", "resolved")
TEST_KEY = re.compile(r".*-[0-9a-f]{16}-[0-9]{1,12}", re.DOTALL)
"""The group key of a Test button: `<receiver>-<fingerprint>-<Unix time>`; until Grafana 12.2 the receiver is `test`, later
`webhook`. Keys of policies have braces, so a test of an unknown form has none and restarts nothing.
"""
FINGERPRINT = re.compile(r"[\x21-\x7e]{1,64}")
RFC_3339 = re.compile(
    r"([0-9]{4})(?:-[0-9]{2}){2}T(?:[01][0-9]|2[0-3])(?::[0-9]{2}){2}(?:\.[0-9]{1,9})?(?:Z|[+-][0-9]{2}:[0-9]{2})"
)
REMEDY = 'If the contact point has a custom payload, remove it or make it {{ template "webhook.default.payload" . }}.'
MISSING = re.compile(r"Object missing required field `(\w+)` - at `\$\.alerts\[(\d+)\]`")
NEEDED = "Every alert needs `status`, `labels`, `startsAt` and `fingerprint`."

Count = Annotated[int, msgspec.Meta(ge=0, le=2**53)]


class _Alert(msgspec.Struct, rename="camel", gc=False):
    status: str
    labels: dict[str, str]
    starts_at: str
    fingerprint: str
    annotations: dict[str, str] = {}
    ends_at: str | None = None
    generator_url: str = msgspec.field(name="generatorURL", default="")
    silence_url: str = msgspec.field(name="silenceURL", default="")
    dashboard_url: str = msgspec.field(name="dashboardURL", default="")
    panel_url: str = msgspec.field(name="panelURL", default="")
    rule_uid: str | None = msgspec.field(name="ruleUID", default=None)


class _Payload(msgspec.Struct, rename="camel", gc=False):
    alerts: list[_Alert] | None = None
    version: str | None = None
    receiver: str = ""
    group_key: str = ""
    external_url: str = msgspec.field(name="externalURL", default="")
    org_id: Count | None = None
    truncated_alerts: Count = 0  # like `receiver`, not used; checked because docs/openapi.yaml specifies it


_decoder = msgspec.json.Decoder(_Payload)


def parse(body: bytes) -> tuple[Alert, ...]:
    """Parse an authenticated body. Raises BadRequest 400 with the place, the mistake and what to fix."""
    if not body or body.isspace():
        raise BadRequest(400, f"The body is empty: did a custom payload render to nothing? {REMEDY}")
    payload = _decoded(body)
    if not payload.alerts:
        raise BadRequest(400, f"The body has no `alerts`, so it is not a notification. {REMEDY}")
    if payload.version not in VERSIONS:
        raise BadRequest(400, f'`$.version` is neither "1" (Grafana) nor "4" (Alertmanager). {REMEDY}')
    source = f"{payload.external_url}#{'' if payload.org_id is None else payload.org_id}"
    from_test = bool(payload.group_key) and ("{" not in payload.group_key or bool(TEST_KEY.fullmatch(payload.group_key)))
    return tuple(_alert(alert, source, place, from_test=from_test) for place, alert in enumerate(payload.alerts))


def _decoded(body: bytes) -> _Payload:
    try:
        return _decoder.decode(body)
    except msgspec.ValidationError as error:
        if missing := MISSING.fullmatch(str(error)):
            raise BadRequest(400, f"`$.alerts[{missing[2]}].{missing[1]}` is missing. {NEEDED} {REMEDY}") from None
        raise BadRequest(400, f"The body is JSON, but not a notification: {error}. {REMEDY}") from None
    except UnicodeDecodeError:
        raise BadRequest(400, f"The body is not UTF-8. {REMEDY}") from None
    except ValueError as error:
        raise BadRequest(400, f"The body is not JSON: {error}. {REMEDY}") from None
    except RecursionError:
        raise BadRequest(400, f"The body is nested too deeply. {REMEDY}") from None


def _alert(alert: _Alert, source: str, place: int, *, from_test: bool) -> Alert:
    where = f"$.alerts[{place}]"
    if alert.status not in STATUSES:
        raise BadRequest(400, f'`{where}.status` is neither "firing" nor "resolved". {REMEDY}')
    if not FINGERPRINT.fullmatch(alert.fingerprint):
        raise BadRequest(400, f"`{where}.fingerprint` is not 1 to 64 visible ASCII characters. {REMEDY}")
    starts_at = _time(alert.starts_at, f"{where}.startsAt")
    if starts_at is None:
        raise BadRequest(400, f"`{where}.startsAt` has no year. {REMEDY}")
    return Alert(
        fingerprint=alert.fingerprint,
        source=source,
        firing=alert.status == "firing",
        labels=_public(alert.labels),
        annotations=_public(alert.annotations),
        starts_at=starts_at,
        ends_at=_time(alert.ends_at, f"{where}.endsAt") if alert.ends_at else None,
        generator_url=_link(alert.generator_url),
        silence_url=_link(alert.silence_url),
        dashboard_url=_link(alert.dashboard_url),
        panel_url=_link(alert.panel_url),
        test=from_test and not alert.rule_uid and alert.generator_url[:1] in ("", "?"),
    )


def _time(text: str, where: str) -> float | None:
    """Unix seconds of an RFC 3339 time; None for Go's zero time, which is in year 1, or in year 0 west of Greenwich."""
    match = RFC_3339.fullmatch(text)
    if match and match[1] in ("0000", "0001"):
        return None
    try:
        if match:
            return datetime.fromisoformat(text).timestamp()
    except ValueError:
        pass
    raise BadRequest(400, f"`{where}` is not an RFC 3339 time. {REMEDY}") from None


def _public(pairs: dict[str, str]) -> dict[str, str]:
    """Without Grafana's private labels, which an imported Alertmanager leaves in."""
    return {name: value for name, value in pairs.items() if not (name.startswith("__") and name.endswith("__"))}


def _link(url: str) -> str:
    """The URL if people can follow it, else an empty string: Grafana also sends `?orgId=7`, and strangers send anything."""
    return url if url.startswith(("https://", "http://")) and url.isprintable() and " " not in url else ""
