"""Requests to Google's services with google-auth's tokens, and the translation of their errors to Unstick's."""

import contextlib
import json
import os
import sys
import time
from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Any, Unpack
from urllib.parse import urlsplit

from msgspec import Struct

from functions.runtime import http_client
from functions.runtime.errors import Denied, Unavailable, UnstickError
from functions.runtime.parallel import IMPORTING
from functions.runtime.text import Phrase, Text

_SCOPE = "https://www.googleapis.com/auth/cloud-platform"
_LOGIN_FAILED, _TOO_MANY = 401, 429
_PASSING = {408, 409, _TOO_MANY}
_FILE_REMEDY = Text("Fix its permissions, or the path in GOOGLE_APPLICATION_CREDENTIALS.")
_LOGIN_REMEDY = Text(
    "Run it with a service account (Cloud Run does so), or say `gcloud auth application-default login` on a workstation."
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
        if not 200 <= answer.status < 300:
            explanation = sentence(answer.body, answer.headers.get("content-type", ""))
            raise refusal(self.system, answer.status, explanation, self.remedies)
        return answer

    def _send(self, method: str, path: str, ends: float, content: http_client.Content, *, renewed: bool) -> http_client.Answer:
        headers = dict(content.get("headers") or {})
        url = (stand_in(self.system, self.endpoint) or self.address) + path
        with translate_errors(self.system, self.remedies):
            account, request = credentials(anonymous=bool(os.environ.get(self.endpoint)))

            def fetch(*arguments: Any, **options: Any) -> Any:
                # google-auth sends several requests with a timeout each: what is left is for all of them
                if (left_s := ends - time.monotonic()) <= 0:
                    raise Unavailable(self.system, Text("deadline exceeded before sending"), late=True)
                return request(*arguments, **options | {"timeout": (min(http_client.CONNECT_TIMEOUT_S, left_s), left_s)})

            if renewed:
                account.refresh(fetch)
            account.before_request(fetch, method, url, headers)
        left_s = ends - time.monotonic()
        return http_client.request(self.system, method, url, timeout_s=left_s, **content | {"headers": headers})


def stand_in(system: str, variable: str) -> str:
    """The base URL of a test's server that replaces the service, from the environment and only on loopback; else empty."""
    url = os.environ.get(variable, "")
    parts = urlsplit(url)
    if url and (parts.scheme != "http" or not http_client.is_loopback(parts.hostname)):
        detail = Text("{endpoint} is not http on a loopback address", endpoint=variable)
        remedy = Text("Unset {endpoint}; only tests need it.", endpoint=variable)
        raise Denied(system, detail, remedy=remedy)
    return url.rstrip("/")


@lru_cache(maxsize=2)
def credentials(*, anonymous: bool) -> tuple[Any, Any]:
    """Google's credentials and their transport, created on first use because servers fork their workers."""
    with IMPORTING:
        import google.auth
        from google.auth.credentials import AnonymousCredentials
        from google.auth.transport.requests import Request

    return AnonymousCredentials() if anonymous else google.auth.default(scopes=[_SCOPE])[0], Request()


@contextlib.contextmanager
def translate_errors(system: str, remedies: Mapping[int, Phrase]) -> Iterator[None]:
    """Translate the exceptions of google-auth and of Secret Manager's client to Unavailable or Denied. `remedies`: what to do,
    by HTTP status. Keeps only Google's own sentence of the original text; the rest is URLs."""
    with IMPORTING:
        from google.auth import exceptions as auth
    try:
        yield
    except auth.InvalidOperation:  # 401 with credentials that can't be renewed
        raise Denied(system, Text("answered 401"), remedy=remedies.get(401, _LOGIN_REMEDY), status=401) from None
    except (auth.DefaultCredentialsError, auth.RefreshError) as error:
        if getattr(error, "retryable", False) or isinstance(error.__cause__, auth.TransportError):
            raise Unavailable(system, Text("could not get an access token")) from None
        raise Denied(system, Text("there are no usable credentials"), remedy=_LOGIN_REMEDY) from None
    except auth.TransportError:
        raise Unavailable(system, Text("could not reach the server that issues access tokens")) from None
    except auth.GoogleAuthError as error:
        unusable = Text("the credentials are not usable ({error})", error=type(error).__name__)
        raise Denied(system, unusable, remedy=_LOGIN_REMEDY) from None
    except OSError as error:  # the exceptions of requests are OSErrors
        raise _not_asked(system, error) from None
    except UnstickError:
        raise
    except Exception as error:  # noqa: BLE001 - these libraries raise all kinds of errors on a malformed answer
        api = sys.modules.get("google.api_core.exceptions")  # only Secret Manager's client loads it, which takes 15 ms
        if api and isinstance(error, api.GoogleAPICallError):
            raise refusal(system, int(error.code or 0), _sentence(error), remedies) from None
        raise unreadable(system, error) from None


def unreadable(system: str, error: Exception) -> Unavailable:
    """The error for an answer whose form differs from the documentation."""
    return Unavailable(system, Text("answered with something that can't be read ({error})", error=type(error).__name__))


def _not_asked(system: str, error: OSError) -> Unavailable | Denied:
    if isinstance(error, PermissionError | IsADirectoryError):
        return Denied(system, Text("the credentials file can't be read"), remedy=_FILE_REMEDY)
    late = "Timeout" in type(error).__name__ or isinstance(error, TimeoutError) or "timed out" in str(error)
    why = Text("did not answer in time") if late else Text("connection failed ({error})", error=type(error).__name__)
    return Unavailable(system, why, late=late)


def refusal(system: str, status: int, explanation: str, remedies: Mapping[int, Phrase]) -> Unavailable | Denied:
    """Convert an answer other than 200 to an error. `explanation`: Google's own sentence."""
    detail = Text("answered {status}", status=str(status))
    if explanation:
        detail = Text("answered {status}: {said}", status=str(status), said=explanation)
    if status in _PASSING or status >= 500 or status < 400:
        return Unavailable(system, detail)
    return Denied(system, detail, status=status, remedy=remedies.get(status, ""))


def sentence(body: bytes, content_type: str) -> str:
    """Extract Google's own sentence: `error.message` of a JSON answer, or the whole of a plain-text one (as for downloads)."""
    try:
        message = json.loads(body)["error"]["message"]
    except (ValueError, LookupError, TypeError, RecursionError):
        message = body.decode(errors="replace") if content_type.startswith("text/plain") else ""
    return " ".join(str(message).split())[:300]


def _sentence(error: Any) -> str:
    response = getattr(error, "response", None)  # some have none
    return sentence(response.content, response.headers.get("content-type", "")) if response is not None else ""
