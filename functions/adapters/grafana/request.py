"""Reads requests of Grafana (version "1") and Alertmanager (version "4"): authenticates them, then parses JSON -> alerts.

Measured with Grafana's alerting module of August 2026 and Alertmanager 0.25: Grafana signs with HMAC-SHA-256 over the raw body,
or over `TIMESTAMP:BODY` if a timestamp header is set, in 64 lower-case hex digits, with one secret for each contact point.
Alertmanager signs nothing: it sends basic or bearer, as Grafana may. Both use the same names for the fields that are read here.
Upstream adds fields often, so all others are ignored."""

import hmac
import json
import re
from base64 import b64encode
from collections.abc import Callable, Iterable
from datetime import datetime
from functools import partial
from typing import Annotated, Literal, Protocol
from urllib.parse import quote

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from functions.config.settings import Auth, Hmac
from functions.domain.model.alerts import Alert
from functions.runtime.errors import BadRequest, Denied, Unavailable
from functions.runtime.secrets import SecretRef, any_matches

MOST_ALERTS = 10_000  # of one notification: it takes a second to match this many
TOLERANCE_S = 300.0  # how far a signed time may be off in either direction
SHOWN_BYTES = 1024  # characters of an error's body that Grafana shows to its users


class Headers(Protocol):
    """The part of a request's headers that is needed; mappings and Flask's headers have it. Names are case-insensitive."""

    def items(self) -> Iterable[tuple[str, str]]: ...


def authenticate(auth: Auth, headers: Headers, body: bytes | None, now: float) -> None:
    """Authenticate the request. `now`: our clock in Unix seconds. `body`: None before it is read, for what headers can tell.
    Raises BadRequest 401 with what to fix, and Unavailable if no method matches but a secret could not be read."""
    checks: list[Callable[[], None]] = []
    if auth.hmac:
        checks.append(partial(_hmac, auth.hmac, headers, body, now))
    if auth.basic:
        user, passwords = auth.basic.user.encode(errors="replace") + b":", auth.basic.passwords
        # compared as sent: the same value has several base64 encodings
        checks.append(partial(_authorization, "Basic", passwords, headers, lambda password: b64encode(user + password)))
    if auth.bearer:
        checks.append(partial(_authorization, auth.bearer.scheme, auth.bearer.tokens, headers, lambda token: token))
    sentences: list[str] = []
    unread: Unavailable | Denied | None = None
    for check in checks:
        try:
            return check()
        except BadRequest as refusal:
            sentences.append(refusal.sentence)
        except (Unavailable, Denied) as error:
            unread = error
    if unread:
        raise Unavailable(unread.system, unread.detail) from None
    raise BadRequest(401, " ".join(sentences).encode(errors="replace")[:SHOWN_BYTES].decode(errors="ignore"))


def _hmac(way: Hmac, headers: Headers, body: bytes | None, now: float) -> None:
    signature, stamp, name = header(headers, way.header), "", way.timestamp_header
    if not re.fullmatch(r"[0-9a-f]{64}", signature):
        raise BadRequest(401, f"The header {way.header} must be 64 lower-case hex digits: turn on HMAC in the contact point.")
    if name:
        stamp = header(headers, name)
        is_fresh = re.fullmatch(r"[0-9]{1,12}", stamp) and abs(int(stamp) - now) <= TOLERANCE_S  # also false for NaN
        if not is_fresh:
            sentence = f"The header {name} must be Unix seconds, at most {TOLERANCE_S:g} s off the clock here: is it the "
            raise BadRequest(401, f"{sentence}timestamp header of the contact point, and are both clocks right?")
    elif body is not None and re.match(rb"[0-9]{1,12}:", body):
        # a signature over TIMESTAMP:BODY would be valid here, with the timestamp as part of the body
        raise BadRequest(401, "The body begins with a timestamp: this contact point must sign without one.")
    if body is None:
        return
    signed_first = f"{stamp}:".encode() if name else b""

    def signed(secret: bytes) -> bytes:
        mac = hmac.new(secret, signed_first, "sha256")
        mac.update(body)
        return mac.hexdigest().encode()

    if not any_matches(way.secrets, signature.encode(), signed):
        alike = f"are the secret and the timestamp header ({name or 'none'}) the same on both sides"
        raise BadRequest(401, f"The signature does not match: {alike}, and does nothing in between change the body?")


def _authorization(scheme: str, references: tuple[SecretRef, ...], headers: Headers, expected: Callable[[bytes], bytes]) -> None:
    """Exactly one space separates scheme and credentials; further spaces belong to the credentials."""
    value, prefix = header(headers, "Authorization"), f"{scheme} "
    sent = value[len(prefix) :].encode("latin-1", errors="replace")  # as WSGI decoded it
    if value[: len(prefix)].lower() != prefix.lower() or not any_matches(references, sent, expected):
        raise BadRequest(401, f"The header Authorization needs the scheme {scheme} and the credentials that are set here.")


def header(headers: Headers, name: str) -> str:
    """The header's value, empty if missing."""
    wanted = name.lower()
    return next((value for given, value in headers.items() if given.lower() == wanted), "")


TEST_KEY = re.compile(r".*-[0-9a-f]{16}-[0-9]{1,12}", re.DOTALL)
"""The group key of a Test button: `<receiver>-<fingerprint>-<Unix time>`; until Grafana 12.2 the receiver is `test`, later
`webhook`. Keys of policies have braces, so a test of an unknown form has none and restarts nothing.
"""
NO_TIME = re.compile(r"000[01]-")  # Go's zero time is in year 1, or in year 0 west of Greenwich
RFC_3339 = re.compile(
    r"[0-9]{4}(?:-[0-9]{2}){2}T(?:[01][0-9]|2[0-3])(?::[0-9]{2}){2}(?:\.[0-9]{1,9})?(?:Z|[+-][0-9]{2}:[0-9]{2})"
)
REMEDY = 'If the contact point has a custom payload, remove it or make it {{ template "webhook.default.payload" . }}.'
SAID = 300  # characters of a mistake, which may repeat a value of any length


class _Alert(Struct, rename="camel", gc=False):
    status: Literal["firing", "resolved"]
    labels: dict[str, str]
    starts_at: str
    fingerprint: Annotated[str, msgspec.Meta(pattern=r"\A[\x21-\x7e]{1,64}\Z")]
    annotations: dict[str, str] = {}
    ends_at: str | None = None
    generator_url: str = msgspec.field(name="generatorURL", default="")
    silence_url: str = msgspec.field(name="silenceURL", default="")
    dashboard_url: str = msgspec.field(name="dashboardURL", default="")
    panel_url: str = msgspec.field(name="panelURL", default="")
    rule_uid: str | None = msgspec.field(name="ruleUID", default=None)


class _Payload(Struct, rename="camel", gc=False):
    alerts: Annotated[list[_Alert], msgspec.Meta(min_length=1)]
    version: Literal["1", "4"] | None = None  # of Grafana and of Alertmanager; missing in some custom payloads
    group_key: str = ""
    external_url: str = msgspec.field(name="externalURL", default="")
    org_id: Annotated[int, msgspec.Meta(ge=0, le=2**53)] | None = None


_decoder = msgspec.json.Decoder(_Payload)


def parse(body: bytes) -> tuple[Alert, ...]:
    """Parse an authenticated body. Raises BadRequest, 413 for too many alerts, with the place, the mistake and what to fix."""
    try:
        payload = _decoder.decode(body)
    except (ValueError, RecursionError) as error:
        raise BadRequest(400, f"The body is not a notification: {str(error)[:SAID]}. {REMEDY}") from None
    if len(payload.alerts) > MOST_ALERTS:
        raise BadRequest(413, f"The body has more than {MOST_ALERTS} alerts: set Max Alerts in the contact point.")
    source = f"{payload.external_url}#{'' if payload.org_id is None else payload.org_id}"
    from_test = bool(payload.group_key) and ("{" not in payload.group_key or bool(TEST_KEY.fullmatch(payload.group_key)))
    alerts = tuple(_alert(alert, source, place, from_test=from_test) for place, alert in enumerate(payload.alerts))
    return tuple(_with_links(alert, payload.external_url) for alert in alerts) if payload.version == "4" else alerts


def _with_links(alert: Alert, external: str) -> Alert:
    """An Alertmanager's alert with links to its pages; its `generatorURL` is Prometheus' graph. One that leads to the sender
    itself is Grafana's, which sends this form for an imported Alertmanager."""
    graph, base = alert.generator_url, _link(external.rstrip("/"))
    if not base or graph.startswith(base):
        return alert
    matchers = ",".join(f"{name}={json.dumps(value, ensure_ascii=False)}" for name, value in sorted(alert.labels.items()))
    of_alert, of_silence = (f"{base}/#/{page}?filter={quote(f'{{{matchers}}}', safe='')}" for page in ("alerts", "silences/new"))
    return replace(alert, panel_url=graph, generator_url=of_alert, silence_url=of_silence)


def _alert(alert: _Alert, source: str, place: int, *, from_test: bool) -> Alert:
    where = f"$.alerts[{place}]"
    return Alert(
        fingerprint=alert.fingerprint,
        source=source,
        firing=alert.status == "firing",
        labels=_public(alert.labels),
        annotations=_public(alert.annotations),
        starts_at=_time(alert.starts_at, f"{where}.startsAt"),
        ends_at=None if not alert.ends_at or NO_TIME.match(alert.ends_at) else _time(alert.ends_at, f"{where}.endsAt"),
        generator_url=_link(alert.generator_url),
        silence_url=_link(alert.silence_url),
        dashboard_url=_link(alert.dashboard_url),
        panel_url=_link(alert.panel_url),
        test=from_test and not alert.rule_uid and alert.generator_url[:1] in ("", "?"),
    )


def _time(text: str, where: str) -> float:
    """Unix seconds of an RFC 3339 time."""
    try:
        if RFC_3339.fullmatch(text) and not NO_TIME.match(text):
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
