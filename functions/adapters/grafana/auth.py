"""Authenticates requests: Grafana's by HMAC, basic or bearer, Alertmanager's by basic or bearer.

Measured with Grafana's alerting module of August 2026 and Alertmanager 0.25: Grafana signs with HMAC-SHA-256 over the raw body,
or over `TIMESTAMP:BODY` if a timestamp header is set, in 64 lower-case hex digits, with one secret for each contact point.
Alertmanager signs nothing."""

import hmac
import re
from base64 import b64encode
from collections.abc import Callable, Iterable
from functools import partial
from typing import Protocol

from msgspec import Struct

from functions.config.settings import Auth, Basic, Bearer, Hmac
from functions.runtime.errors import BadRequest, Denied, Unavailable
from functions.runtime.secrets import SecretRef, any_matches

TOLERANCE_S = 300.0  # how far a signed time may be off in either direction
SHOWN_BYTES = 1024  # characters of an error's body that Grafana shows to its users
REQUEST_ID = 16  # hex digits of a signature that identify a request


class Headers(Protocol):
    """The part of a request's headers that is needed; mappings and Flask's headers have it. Names are case-insensitive."""

    def items(self) -> Iterable[tuple[str, str]]: ...


class _Refusal(Struct, frozen=True):
    sentence: str
    tried: bool = True  # false if the request doesn't try this method at all


def authenticate(auth: Auth, headers: Headers, body: bytes | None, now: float) -> str:
    """Authenticate the request. `now`: our clock in Unix seconds. `body`: None before it is read, for what headers can tell.
    Returns an id of this request if it is signed with a timestamp, to tell a copy from the next notification; otherwise an
    empty string. Raises BadRequest 401 with what to fix, and Unavailable if no method matches but a secret could not be read."""
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
            refusal = check()
        except (Unavailable, Denied) as error:
            unread = error
            continue
        if refusal is None:
            is_unique = auth.hmac is not None and auth.hmac.timestamp_header and check is checks[0]
            return header(headers, auth.hmac.header)[:REQUEST_ID] if is_unique and auth.hmac else ""
        refusals.append(refusal)
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
    if not stamp:
        return f"The header {name} is missing: set it as timestamp header in the contact point's HMAC settings (default: none)."
    if not re.fullmatch(r"[0-9]{1,12}", stamp):
        return f"The header {name} must be Unix seconds in up to 12 digits."
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
    return None if any_matches(references, _raw(value[len(prefix) :]), expected) else _Refusal(wrong)


def header(headers: Headers, name: str) -> str:
    """The header's value, empty if missing."""
    wanted = name.lower()
    return next((value for given, value in headers.items() if given.lower() == wanted), "")


def _raw(value: str) -> bytes:
    """The bytes that were sent: WSGI decodes them as Latin-1."""
    try:
        return value.encode("latin-1")
    except UnicodeEncodeError:
        return value.encode(errors="replace")
