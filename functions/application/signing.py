"""Signs the payloads of wake-ups, and the tokens of links: for approvals, and for reading an incident's page.

Payloads are signed so that access to the scheduler alone can't make `verify` restart anything. A payload names a target, or
contains deferred alerts or a press; everything else is read when it arrives."""

import hashlib
from collections.abc import Mapping
from typing import Any

from itsdangerous import BadData, URLSafeSerializer

from functions.domain.model.codes import VERSION
from functions.runtime.errors import BadRequest, Denied, Unavailable
from functions.runtime.secrets import SecretRef

_WAKE_UP = "unstick.wake-up"
_APPROVAL = "unstick.approval"  # different salts, so that no token can be used in another's place
READING = "unstick.reading"


def sign(keys: tuple[SecretRef, ...], content: Mapping[str, Any]) -> str:
    """Sign `{"v", "target"}`, `{"v", "deferred"}` or `{"v", "press"}` with the newest key. Equal contents give equal payloads.
    The payload is compressed if that makes it shorter: Cloud Tasks accepts 1 MB. Raises Unavailable or Denied if the key can't
    be read."""
    return _serializer(keys[0], _WAKE_UP).dumps(dict(content))


def verify_payload(keys: tuple[SecretRef, ...], payload: str) -> dict[str, Any]:
    """The content of a payload signed with one of the keys. Raises BadRequest, and Unavailable if a key can't be read."""
    try:
        content = _open(keys, _WAKE_UP, payload)
    except BadData:
        for key in keys:
            key.invalidate()  # another instance may have signed with a key that is newer than the cached ones
        raise BadRequest(401, "This wake-up is not signed with any of signing_keys.") from None
    if not isinstance(content, dict) or content.get("v") != VERSION:
        raise BadRequest(400, f"This wake-up was made by another release; this one knows version {VERSION}.")
    return content


def sign_approval(keys: tuple[SecretRef, ...], key: str, nonce: str, expires_at: float) -> str:
    """The token of an approval link, valid while document `key` waits for an answer to this nonce, until `expires_at`."""
    return _serializer(keys[0], _APPROVAL).dumps([key, nonce, expires_at])


def read_approval(keys: tuple[SecretRef, ...], token: str, now: float) -> tuple[str, str]:
    """(document key, nonce) of an approval token. Raises BadRequest as `read_link`."""
    over = "This link has expired. Nothing was done now; if the alert still fires, a new one is sent."
    key, nonce = read_link(keys, _APPROVAL, token, now, over)
    return key, nonce


def sign_reading(keys: tuple[SecretRef, ...], incident: str, expires_at: float) -> str:
    """The token in a card's link: whoever has it may read this incident's page until `expires_at`."""
    return _serializer(keys[0], READING).dumps([incident, round(expires_at)])


def read_link(keys: tuple[SecretRef, ...], salt: str, token: str, now: float, over: str) -> list[str]:
    """What the token names. Raises BadRequest: 403 if it isn't valid, 410 with the sentence `over` if it has expired."""
    named: list[str]
    try:
        *named, expires_at = _open(keys, salt, token)
    except BadData:
        raise BadRequest(403, "This link is not valid. Open it as it stands in the message.") from None
    if now >= expires_at:
        raise BadRequest(410, over)
    return named


def _open(keys: tuple[SecretRef, ...], salt: str, text: str) -> Any:
    """The content. Raises BadData if none of the keys signed it. An unreadable older key only matters then."""
    failure: Exception = BadData("not signed with any of the keys")
    for key in keys if text.isascii() else ():
        try:
            return _serializer(key, salt).loads(text)
        except BadData:
            continue
        except (Unavailable, Denied) as error:
            failure = error
    raise failure


def _serializer(key: SecretRef, salt: str) -> URLSafeSerializer:
    return URLSafeSerializer(key.read(), salt=salt, signer_kwargs={"digest_method": hashlib.sha256, "key_derivation": "hmac"})
