"""What Unstick signs for itself: the payloads of wake-ups and the tokens of approval links.

A payload is signed so that nobody who can merely put something into the scheduler makes `verify` restart anything, and it names
a target, or alerts that were deferred; everything else is looked up when it arrives. Before the signature of alerts stands when
they were handed over, unsigned, so that people can be told of those whose key is gone without a look into them.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from typing import Any

from itsdangerous import BadData, URLSafeSerializer

from functions.domain.model.codes import VERSION
from functions.runtime.errors import BadRequest, Denied, Unavailable
from functions.runtime.secrets import SecretRef

_HANDED_OVER = re.compile(r"([0-9]{1,12})~")
"""Unix seconds, before a payload of alerts. A signature has no `~`."""

_WAKE_UP = "unstick.wake-up"
_APPROVAL = "unstick.approval"  # another salt, so that neither can be used as the other


def sign(keys: tuple[SecretRef, ...], content: Mapping[str, Any]) -> str:
    """`{"v", "target"}` or `{"v", "deferred"}` as a payload, by the newest key. Equal contents make equal payloads.

    Compressed where that helps; a task of Cloud Tasks holds 1 MB. Raises Unavailable or Denied where the key can't be read.
    """
    signed = _signed(keys, _WAKE_UP, dict(content))
    handed_over = [entry.get("at", 0) for entry in content.get("deferred", ())]
    return f"{min(handed_over):.0f}~{signed}" if handed_over else signed


def verify_payload(keys: tuple[SecretRef, ...], payload: str) -> dict[str, Any]:
    """The content of a payload that any of the keys signed. Raises BadRequest, and Unavailable if a key can't be read."""
    content, problem = _opened(keys, _WAKE_UP, _HANDED_OVER.sub("", payload, count=1))
    if problem:
        for key in keys:
            key.distrust()  # another instance may have signed with a key that is newer than what is kept here
        raise BadRequest(401, "This wake-up is not signed with any of signing_keys.")
    version = content.get("v") if isinstance(content, dict) else None
    if not isinstance(content, dict) or type(version) is not int or ("target" in content) == ("deferred" in content):
        raise BadRequest(400, "This is signed, but it is no wake-up.")
    if version > VERSION:
        raise BadRequest(400, f"This wake-up has version {version}, made by a newer release; this one knows {VERSION}.")
    return content


def handed_over_since(payload: str) -> float | None:
    """When alerts were handed over, says a payload that nobody vouches for; None if it says nothing of any."""
    found = _HANDED_OVER.match(payload)
    return float(found[1]) if found else None


def sign_approval(keys: tuple[SecretRef, ...], key: str, nonce: str, expires_at: float) -> str:
    """The token of an approval link: for the document `key`, as long as it asks with this nonce, until `expires_at`."""
    return _signed(keys, _APPROVAL, [key, nonce, expires_at])


def read_approval(keys: tuple[SecretRef, ...], token: str, now: float) -> tuple[str, str]:
    """(document's key, nonce) of an approval token. Raises BadRequest with 403 if it is not ours, 410 if it has expired."""
    content, problem = _opened(keys, _APPROVAL, token)
    if problem:
        raise BadRequest(403, "This link is not valid. Open it as it stands in the message.")
    key, nonce, expires_at = content
    if now >= expires_at:
        raise BadRequest(410, "This link has expired. Nothing was done now; if the alert still fires, a new one is sent.")
    return key, nonce


def _signed(keys: tuple[SecretRef, ...], salt: str, content: Any) -> str:
    return _serializer(keys[0], salt).dumps(content)


def _opened(keys: tuple[SecretRef, ...], salt: str, text: str) -> tuple[Any, bool]:
    """(content, False), or (None, True) if none of the keys signed it. A former key that can't be read matters only then."""
    if not text.isascii():
        return None, True
    unread: Unavailable | Denied | None = None
    for key in keys:
        try:
            return _serializer(key, salt).loads(text), False
        except BadData:
            continue
        except (Unavailable, Denied) as error:
            unread = error
    if unread:
        raise unread
    return None, True


def _serializer(key: SecretRef, salt: str) -> URLSafeSerializer:
    secret = key.read()
    if not secret:
        raise Denied("signing_keys", f"{key.reference} is empty", remedy="Put at least 32 random bytes there.")
    return URLSafeSerializer(secret, salt=salt, signer_kwargs={"digest_method": hashlib.sha256, "key_derivation": "hmac"})
