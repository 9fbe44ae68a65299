"""Reads requests of Grafana (version "1") and Alertmanager (version "4"): authenticates them, then parses JSON -> alerts.

Measured with Grafana's alerting module of August 2026 and Alertmanager 0.25: Grafana signs with HMAC-SHA-256 over the raw body,
or over `TIMESTAMP:BODY` if a timestamp header is set, in 64 lower-case hex digits, with one secret for each contact point.
Alertmanager signs nothing: it sends basic or bearer, as Grafana may. Both use the same names for the fields that are read here.
Upstream adds fields often, so all others are ignored."""

import hmac
import re
from base64 import b64encode
from collections.abc import Callable, Iterable
from datetime import datetime
from functools import partial
from typing import Annotated, Literal, Protocol

import msgspec
from msgspec import Struct

from functions.config.settings import Auth, Basic, Bearer, Hmac
from functions.domain.model.alerts import Alert
from functions.runtime.errors import BadRequest, Denied, Unavailable
from functions.runtime.secrets import SecretRef, any_matches

TOLERANCE_S = 300.0  # how far a signed time may be off in either direction
SHOWN_BYTES = 1024  # characters of an error's body that Grafana shows to its users


class Headers(Protocol):
    """The part of a request's headers that is needed; mappings and Flask's headers have it. Names are case-insensitive."""

    def items(self) -> Iterable[tuple[str, str]]: ...


class _Refusal(Struct, frozen=True):
    sentence: str
    tried: bool = True  # false if the request doesn't try this method at all


def authenticate(auth: Auth, headers: Headers, body: bytes | None, now: float) -> None:
    """Authenticate the request. `now`: our clock in Unix seconds. `body`: None before it is read, for what headers can tell.
    Raises BadRequest 401 with what to fix, and Unavailable if no method matches but a secret could not be read."""
    checks: list[Callable[[], _Refusal | None]] = []
    if auth.hmac:
        checks.append(partial(_hmac, auth.hmac, headers, body, now))
    if auth.basic:
        checks.append(partial(_basic, auth.basic, headers))
    if auth.bearer:
        checks.append(partial(_bearer, auth.bearer, headers))
    refusals: list[_Refusal] = []
    unread: Unavailable | Denied | None = None
    for check in checks:
        try:
            outcome = check()
        except (Unavailable, Denied) as error:
            unread = error
            continue
        if outcome is None:
            return
        refusals.append(outcome)
    if unread:
        raise Unavailable(unread.system, unread.detail) from None
    raise BadRequest(401, _said(refusals))


def _said(refusals: list[_Refusal]) -> str:
    """What was tried and is wrong; if nothing was tried, everything that is accepted."""
    sentences = [refusal.sentence for refusal in refusals if refusal.tried]
    sentences = sentences or [*(refusal.sentence for refusal in refusals), "A token in the URL is not accepted."]
    return " ".join(sentences).encode(errors="replace")[:SHOWN_BYTES].decode(errors="ignore")


def _hmac(way: Hmac, headers: Headers, body: bytes | None, now: float) -> _Refusal | None:
    signature, stamp = header(headers, way.header), ""
    if not signature:
        return _Refusal(
            f"The header {way.header} is missing: turn on HMAC in the contact point, with this signature header.", tried=False
        )
    if not re.fullmatch(r"[0-9a-f]{64}", signature):
        return _Refusal(f"The header {way.header} must be 64 lower-case hex digits without a prefix, as Grafana signs.")
    if way.timestamp_header:
        stamp = header(headers, way.timestamp_header)
        if stale := _stale(stamp, way.timestamp_header, now):
            return _Refusal(stale)
    elif body is not None and re.match(rb"[0-9]{1,12}:", body):
        # a signature over TIMESTAMP:BODY would be valid here, with the timestamp as part of the body
        return _Refusal("The body begins with a timestamp: this contact point must sign without one.")
    if body is None:
        return None
    signed_first = f"{stamp}:".encode() if way.timestamp_header else b""

    def signed(secret: bytes) -> bytes:
        mac = hmac.new(secret, signed_first, "sha256")
        mac.update(body)
        return mac.hexdigest().encode()

    if any_matches(way.secrets, signature.encode(), signed):
        return None
    name = way.timestamp_header
    there = f"is {name} its timestamp header" if name else "is its timestamp header empty"
    return _Refusal(
        f"The signature does not match: is the secret the same on both sides, {there} in the contact point, and does "
        "nothing in between change the body?"
    )


def _stale(stamp: str, name: str, now: float) -> str | None:
    if not re.fullmatch(r"[0-9]{1,12}", stamp):
        return f"The header {name} must be Unix seconds: set it as timestamp header in the contact point's HMAC settings."
    early_s = int(stamp) - now
    if abs(early_s) <= TOLERANCE_S:  # also false for NaN
        return None
    return (
        f"The timestamp is {abs(early_s):.0f} s {'ahead of' if early_s > 0 else 'behind'} the clock here, "
        f"{TOLERANCE_S:g} s are allowed: are both clocks right?"
    )


def _basic(way: Basic, headers: Headers) -> _Refusal | None:
    user = way.user.encode(errors="replace") + b":"
    missing = "set user and password in the contact point (without a password Grafana sends no header at all)."
    wrong = "User or password is wrong: are they the same on both sides?"
    # compared as sent: the same value has several base64 encodings
    return _authorization("Basic", way.passwords, headers, lambda password: b64encode(user + password), missing, wrong)


def _bearer(way: Bearer, headers: Headers) -> _Refusal | None:
    missing, wrong = "set scheme and credentials in the contact point.", "The token is wrong: is it the same on both sides?"
    return _authorization(way.scheme, way.tokens, headers, lambda token: token, missing, wrong)


def _authorization(
    scheme: str, references: tuple[SecretRef, ...], headers: Headers, expected: Callable[[bytes], bytes], missing: str, wrong: str
) -> _Refusal | None:
    """Exactly one space separates scheme and credentials; further spaces belong to the credentials."""
    value, prefix = header(headers, "Authorization"), f"{scheme} "
    if value[: len(prefix)].lower() != prefix.lower():
        return _Refusal(f"The header Authorization with scheme {scheme} is missing: {missing}", tried=False)
    sent = value[len(prefix) :].encode("latin-1", errors="replace")  # as WSGI decoded it
    return None if any_matches(references, sent, expected) else _Refusal(wrong)


def header(headers: Headers, name: str) -> str:
    """The header's value, empty if missing."""
    wanted = name.lower()
    return next((value for given, value in headers.items() if given.lower() == wanted), "")


TEST_KEY = re.compile(r".*-[0-9a-f]{16}-[0-9]{1,12}", re.DOTALL)
"""The group key of a Test button: `<receiver>-<fingerprint>-<Unix time>`; until Grafana 12.2 the receiver is `test`, later
`webhook`. Keys of policies have braces, so a test of an unknown form has none and restarts nothing.
"""
RFC_3339 = re.compile(
    r"([0-9]{4})(?:-[0-9]{2}){2}T(?:[01][0-9]|2[0-3])(?::[0-9]{2}){2}(?:\.[0-9]{1,9})?(?:Z|[+-][0-9]{2}:[0-9]{2})"
)
REMEDY = 'If the contact point has a custom payload, remove it or make it {{ template "webhook.default.payload" . }}.'
SAID = 300  # characters of a mistake, which may repeat a value of any length

Count = Annotated[int, msgspec.Meta(ge=0, le=2**53)]


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
    alerts: list[_Alert] | None = None
    version: Literal["1", "4"] | None = None  # of Grafana and of Alertmanager; missing in some custom payloads
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
    source = f"{payload.external_url}#{'' if payload.org_id is None else payload.org_id}"
    from_test = bool(payload.group_key) and ("{" not in payload.group_key or bool(TEST_KEY.fullmatch(payload.group_key)))
    return tuple(_alert(alert, source, place, from_test=from_test) for place, alert in enumerate(payload.alerts))


def _decoded(body: bytes) -> _Payload:
    try:
        return _decoder.decode(body)
    except msgspec.ValidationError as error:
        raise BadRequest(400, f"The body is JSON, but not a notification: {str(error)[:SAID]}. {REMEDY}") from None
    except (ValueError, RecursionError) as error:
        raise BadRequest(400, f"The body is not JSON: {str(error)[:SAID]}. {REMEDY}") from None


def _alert(alert: _Alert, source: str, place: int, *, from_test: bool) -> Alert:
    where = f"$.alerts[{place}]"
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
