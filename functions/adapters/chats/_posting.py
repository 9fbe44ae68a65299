"""How chats post by HTTP: the webhook's URL, waiting after a 429, and refusals as errors."""

import time
from collections.abc import Collection, Mapping
from typing import Any
from urllib.parse import urlsplit

from functions.application.ports import Finding
from functions.runtime import http_client
from functions.runtime.errors import Denied, Unavailable
from functions.runtime.secrets import SecretRef

MIN_WAIT_S = 0.5
DEFAULT_WAIT_S = 1.0  # seconds to wait after a 429 without a wait time
MAX_WAIT_S = 86400.0
NOT_TRIED = Finding("webhook", ok=None, detail="a webhook can't be tried without posting")


def webhook_url(system: str, secret: SecretRef) -> str:
    """The webhook's URL from its secret. Raises Denied if it can't be one; the error never repeats it."""
    try:
        url: str = secret.read().decode().strip()
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except (UnicodeDecodeError, ValueError):
        host = None
    remedy = f"put the whole URL of the webhook into {secret.reference}"
    if not host or any(char.isspace() for char in url):
        raise Denied(system, "the secret is not a URL", remedy=remedy)
    if parts.scheme != "https" and not (parts.scheme == "http" and http_client.is_loopback(host)):
        raise Denied(system, "the secret is not an https URL", remedy=remedy)
    return url


def post(
    system: str, url: str, payload: Any, *, timeout_s: float, headers: Mapping[str, str] | None = None, ca: str = ""
) -> http_client.Answer:
    """POST JSON, or bytes unchanged. After a 429, wait as long as the answer asks, and post again if there is time. Raises
    Unavailable without an answer, for 3xx and 5xx, and for a 429 whose wait is longer than the time left."""
    ends = time.monotonic() + timeout_s
    content: dict[str, Any] = {"body": payload} if isinstance(payload, bytes) else {"json": payload}
    content |= {"headers": headers, "ca": ca}
    while True:
        answer = http_client.request(system, "POST", url, **content, timeout_s=ends - time.monotonic())
        if answer.status != 429:
            break
        wait_s = _wait_s(answer)
        if wait_s >= ends - time.monotonic():
            raise Unavailable(system, f"asks to wait {wait_s:g} s")
        time.sleep(wait_s)
    if answer.status >= 500 or 300 <= answer.status < 400:
        raise Unavailable(system, f"answered {answer.status}")
    return answer


def _wait_s(answer: http_client.Answer) -> float:
    """How long the platform asks to wait. Some send a Unix time instead, from a clock that may differ from ours."""
    reset_at = answer.headers.get("x-ratelimit-reset", "0")
    try:
        default_s = max(float(reset_at) - answer.at, DEFAULT_WAIT_S)
        wait_s = max(float(answer.headers.get("retry-after", default_s)), MIN_WAIT_S)
    except ValueError:
        return DEFAULT_WAIT_S
    return wait_s if 0 <= wait_s <= MAX_WAIT_S else MAX_WAIT_S


def require_accepted(
    answer: http_client.Answer, secret: SecretRef, remedies: Mapping[int, str], accepted: Collection[int] = (200,)
) -> None:
    """Raises Denied for a status that is not accepted, without the body: it may repeat the secret, which is then invalidated."""
    if answer.status in accepted:
        return
    if answer.status in (401, 403, 404):
        secret.invalidate()
    remedy = remedies.get(answer.status, "")
    raise Denied(answer.system, f"answered {answer.status}", remedy=remedy, status=answer.status)
