"""Translates errors of Google's services and client libraries to Unstick's errors."""

from __future__ import annotations

import contextlib
import json
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from functions.runtime.errors import Denied, Unavailable, UnstickError
from functions.runtime.import_lock import IMPORTING
from functions.runtime.text import Phrase, Text

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_CONNECT_TIMEOUT_S = 3.05  # same as http_client.CONNECT_TIMEOUT_S
_TOO_MANY = 429
_PASSING = {408, 409, _TOO_MANY}
_FILE_REMEDY = Text("Fix its permissions, or the path in GOOGLE_APPLICATION_CREDENTIALS.")
_LOGIN_REMEDY = Text(
    "Run it with a service account (Cloud Run does so), or say `gcloud auth application-default login` on a workstation."
)


def timeouts(system: str, timeout_s: float) -> tuple[float, float]:
    """(connect, read) for one request, in seconds."""
    if timeout_s <= 0:
        raise Unavailable(system, Text("deadline exceeded before sending"), late=True)
    return min(_CONNECT_TIMEOUT_S, timeout_s), timeout_s


@lru_cache(maxsize=1)
def _errors() -> Any:
    """Returns the modules google.api_core.exceptions and google.auth.exceptions."""
    with IMPORTING:
        from google.api_core import exceptions as api
        from google.auth import exceptions as auth
    return api, auth


@contextlib.contextmanager
def translate_errors(system: str, remedies: Mapping[int, Phrase]) -> Iterator[None]:
    r"""Translate the exceptions of Google's clients to Unavailable or Denied. `remedies`: what to do, by HTTP status.

    Keeps only Google's own sentence of the original text; the rest is URLs.
    """
    api, auth = _errors()
    try:
        yield
    except api.GoogleAPICallError as error:
        raise refusal(system, int(error.code or 0), _sentence(error), remedies) from None
    except auth.InvalidOperation:  # 401 with credentials that can't be renewed
        raise Denied(system, Text("answered 401"), remedy=remedies.get(401, _LOGIN_REMEDY), status=401) from None
    except (auth.DefaultCredentialsError, auth.RefreshError) as error:
        if getattr(error, "retryable", False) or isinstance(error.__cause__, auth.TransportError):
            raise Unavailable(system, Text("could not get an access token")) from None
        raise Denied(system, Text("there are no usable credentials"), remedy=_LOGIN_REMEDY) from None
    except auth.TransportError:
        raise Unavailable(system, Text("could not reach the server that issues access tokens")) from None
    except auth.GoogleAuthError as error:
        raise Denied(
            system, Text("the credentials are not usable ({error})", error=type(error).__name__), remedy=_LOGIN_REMEDY
        ) from None
    except OSError as error:  # the exceptions of requests are OSErrors
        raise _not_asked(system, error) from None
    except UnstickError:
        raise
    except Exception as error:  # noqa: BLE001 - these clients raise all kinds of errors on a malformed answer
        raise Unavailable(
            system, Text("answered with something that can't be read ({error})", error=type(error).__name__)
        ) from None


def _not_asked(system: str, error: OSError) -> Unavailable | Denied:
    if isinstance(error, PermissionError | IsADirectoryError):
        return Denied(system, Text("the credentials file can't be read"), remedy=_FILE_REMEDY)
    late = "Timeout" in type(error).__name__ or isinstance(error, TimeoutError) or "timed out" in str(error)
    return Unavailable(
        system,
        Text("did not answer in time") if late else Text("connection failed ({error})", error=type(error).__name__),
        late=late,
    )


def refusal(system: str, status: int, explanation: str, remedies: Mapping[int, Phrase]) -> Unavailable | Denied:
    """Convert an answer other than 200 to an error. `explanation`: Google's own sentence."""
    detail = (
        Text("answered {status}: {said}", status=str(status), said=explanation)
        if explanation
        else Text("answered {status}", status=str(status))
    )
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
    try:
        return sentence(error.response.content, error.response.headers.get("content-type", ""))
    except AttributeError:  # no response attached
        return ""
