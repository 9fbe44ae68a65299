"""Requests to Google's services with google-auth's tokens, and the translation of their errors to Unstick's."""

import contextlib
import json
import os
import time
from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Any, Unpack
from urllib.parse import urlsplit

from msgspec import Struct

from functions.runtime import http_client
from functions.runtime.errors import Denied, Unavailable, UnstickError
from functions.runtime.text import Phrase, Text, named

_SCOPE = "https://www.googleapis.com/auth/cloud-platform"
_LOGIN_FAILED, _TOO_MANY = 401, 429
_PASSING = {408, 409, _TOO_MANY}
_LOGIN_REMEDY = Text(
    "Run it with a service account (Cloud Run does so), or say `gcloud auth application-default login` on a workstation; "
    "correct GOOGLE_APPLICATION_CREDENTIALS if it is set."
)


class Service(Struct, frozen=True):
    """One of Google's services. `endpoint`: the environment variable by which tests name a stand-in on loopback, which is asked
    without credentials. `remedies`: what to do, by HTTP status."""

    system: str
    address: str
    endpoint: str
    remedies: Mapping[int, Phrase]

    def ask(self, method: str, path: str, *, timeout_s: float, **content: Unpack[http_client.Content]) -> http_client.Answer:
        return self.accept(self.send(method, path, timeout_s=timeout_s, **content))

    def send(self, method: str, path: str, *, timeout_s: float, **content: Unpack[http_client.Content]) -> http_client.Answer:
        """Return the answer, whatever its status; a refused token is renewed once. Raises Denied or Unavailable."""
        ends = time.monotonic() + timeout_s
        answer = self._send(method, path, ends, content, renewed=False)
        if answer.status == _LOGIN_FAILED:
            answer = self._send(method, path, ends, content, renewed=True)
        return answer

    def accept(self, answer: http_client.Answer) -> http_client.Answer:
        """Return it. Raises Denied or Unavailable, with Google's own sentence, unless its status is 2xx."""
        if 200 <= answer.status < 300:
            return answer
        raise self.refusal(answer.status, answer.headers, answer.body)

    def refusal(self, status: int, headers: Mapping[str, str], body: bytes) -> Denied | Unavailable:
        detail = named(Text("answered {status}", status=str(status)), _sentence(headers, body))
        if status in _PASSING or status >= 500 or status < 400:
            return Unavailable(self.system, detail)
        return Denied(self.system, detail, status=status, remedy=self.remedies.get(status, ""))

    def _send(self, method: str, path: str, ends: float, content: http_client.Content, *, renewed: bool) -> http_client.Answer:
        headers = dict(content.get("headers") or {})
        url = (self.stand_in() or self.address) + path
        with _translate_errors(self.system, ends):
            account, request = credentials(anonymous=bool(os.environ.get(self.endpoint)))
            if renewed:
                account.refresh(request)
            account.before_request(request, method, url, headers)
        left_s = ends - time.monotonic()
        return http_client.request(self.system, method, url, timeout_s=left_s, **content | {"headers": headers})

    def stand_in(self) -> str:
        """The base URL of a test's server in place of the service; empty if the environment names none."""
        url = os.environ.get(self.endpoint, "")
        parts = urlsplit(url)
        if url and (parts.scheme != "http" or not http_client.is_loopback(parts.hostname)):
            detail = Text("{endpoint} is not http on a loopback address", endpoint=self.endpoint)
            raise Denied(self.system, detail, remedy=Text("Unset {endpoint}; only tests need it.", endpoint=self.endpoint))
        return url.rstrip("/")


def read_secret(service: Service, name: str, *, timeout_s: float) -> bytes:
    """Ask Secret Manager, by Google's client, for the version `projects/P/secrets/S/versions/V`. Raises Denied or Unavailable. No
    retry and no crc32c: the next read is the retry, and TLS protects the bytes in transit."""
    with _translate_errors(service.system, time.monotonic() + timeout_s):
        stand_in = service.stand_in()
        # This imports all of requests, before the client asks for requests.exceptions alone: two threads that begin with either
        # can wait for each other, which Python ends with an error in one of them.
        account, request = credentials(anonymous=bool(stand_in))
        from google.api_core.exceptions import GoogleAPICallError
        from google.cloud.secretmanager_v1 import SecretManagerServiceClient  # 94 ms and 27 MiB
        from google.cloud.secretmanager_v1.services.secret_manager_service.transports import SecretManagerServiceRestTransport

        scheme, _, host = (stand_in or service.address).partition("://")
        transport = SecretManagerServiceRestTransport(host=host, url_scheme=scheme, credentials=account)
        transport._session.mount(f"{scheme}://", http_client.adapter())  # noqa: SLF001 - it takes no session of ours
        if not account.valid:  # else it would get its token by another session of its own
            account.refresh(request)
        try:
            with SecretManagerServiceClient(transport=transport) as client:
                return bytes(client.access_secret_version(name=name, timeout=timeout_s, retry=None).payload.data)
        except OSError as error:  # as are the exceptions of requests
            raise http_client.failure(service.system, host, timeout_s, error) from None
        except GoogleAPICallError as error:
            answer = error.response
            raise service.refusal(answer.status_code, answer.headers, answer.content) from None


@lru_cache(maxsize=2)
def credentials(*, anonymous: bool) -> tuple[Any, Any]:
    """Google's credentials and their transport, created on first use because servers fork their workers."""
    import google.auth
    from google.auth.credentials import AnonymousCredentials
    from google.auth.transport.requests import Request

    request = Request()
    for scheme in ("http://", "https://"):
        request.session.mount(scheme, http_client.adapter())
    return AnonymousCredentials() if anonymous else google.auth.default(scopes=[_SCOPE], request=request)[0], request


@contextlib.contextmanager
def _translate_errors(system: str, ends: float) -> Iterator[None]:
    """Translate google-auth's exceptions to Unavailable or Denied, without their texts, which contain URLs. All that it asks has
    until `ends` (monotonic)."""
    from google.auth import exceptions as auth

    from functions.runtime.exchange import deadline

    try:
        with deadline(ends):
            yield
    except UnstickError:
        raise
    except Exception as error:  # noqa: BLE001 - google-auth raises all kinds of errors on a malformed answer
        late = time.monotonic() >= ends  # google-auth asks several times, and may end with an error of another kind
        is_away = isinstance(error, auth.TransportError) or isinstance(error.__cause__, auth.TransportError)
        if late or is_away or getattr(error, "retryable", False):
            raise Unavailable(system, Text("could not get an access token"), late=late) from None
        if isinstance(error, auth.GoogleAuthError | OSError):
            unusable = Text("there are no usable credentials ({error})", error=type(error).__name__)
            raise Denied(system, unusable, remedy=_LOGIN_REMEDY) from None
        raise unreadable(system, error) from None


def unreadable(system: str, error: Exception) -> Unavailable:
    """The error for an answer whose form differs from the documentation."""
    return Unavailable(system, Text("answered with something that can't be read ({error})", error=type(error).__name__))


def _sentence(headers: Mapping[str, str], body: bytes) -> str:
    """Google's own: `error.message` of a JSON answer, or the whole of a plain-text one (as for downloads)."""
    try:
        message = json.loads(body)["error"]["message"]
    except (ValueError, LookupError, TypeError, RecursionError):
        is_text = headers.get("content-type", "").startswith("text/plain")
        message = body.decode(errors="replace") if is_text else ""
    return " ".join(str(message).split())[:300]
