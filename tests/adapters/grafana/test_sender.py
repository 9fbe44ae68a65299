"""The body of a request, and the requests that `send` makes."""

import pytest
from msgspec.structs import replace

from functions.adapters.grafana import sender
from functions.adapters.grafana.auth import authenticate
from functions.config.settings import Auth, Basic, Bearer, Hmac
from functions.runtime.errors import Denied
from testbed.recorded_grafana import known

SENT_AT = 1_800_000_000.9
FIRST, SECOND, TOKEN = (known(secret) for secret in ("f\xf6rst", "second", "token"))
HMAC = Hmac((FIRST, SECOND), header="X-Signature", timestamp_header="X-Time")
UNSTAMPED_HMAC = replace(HMAC, timestamp_header=None)
BASIC, BEARER = Basic("\xfcser", (FIRST, SECOND)), Bearer((TOKEN, SECOND), scheme="ApiKey")
BODY = "{配送}".encode()


@pytest.mark.parametrize(
    ("auth", "way", "names"),
    [
        (Auth(hmac=HMAC), "", {"X-Signature", "X-Time"}),
        (Auth(hmac=UNSTAMPED_HMAC), "", {"X-Signature"}),
        (Auth(basic=BASIC), "", {"Authorization"}),
        (Auth(bearer=BEARER), "", {"Authorization"}),
        (Auth(HMAC, BASIC, BEARER), "", {"X-Signature", "X-Time"}),
        (Auth(None, BASIC, BEARER), "", {"Authorization"}),
        (Auth(HMAC, BASIC, BEARER), "basic", {"Authorization"}),
        (Auth(HMAC, BASIC, BEARER), "hmac", {"X-Signature", "X-Time"}),
    ],
)
def test_a_notification_is_let_in(auth: Auth, way: str, names: set[str]) -> None:
    """By the first way that is configured, or by the one that is asked for, and by its first secret."""
    headers = sender.headers(auth, BODY, SENT_AT, way)
    assert (headers.pop("Content-Type"), headers.pop("User-Agent")) == ("application/json", "Grafana")
    assert set(headers) == names
    assert headers.get("X-Time", "1800000000") == "1800000000"
    first = Auth(
        Hmac((FIRST,), header=auth.hmac.header, timestamp_header=auth.hmac.timestamp_header) if auth.hmac else None,
        Basic("\xfcser", (FIRST,)) if auth.basic else None,
        Bearer((TOKEN,), scheme="ApiKey") if auth.bearer else None,
    )
    authenticate(first, headers, BODY, SENT_AT)


@pytest.mark.parametrize(
    ("auth", "way", "said"), [(Auth(hmac=HMAC), "basic", "no basic"), (Auth(), "", "no way in"), (Auth(), "hmac", "no hmac")]
)
def test_a_way_that_is_not_configured(auth: Auth, way: str, said: str) -> None:
    """It is named, with a remedy."""
    with pytest.raises(Denied, match=f"grafana.auth has {said}") as denied:
        sender.headers(auth, BODY, SENT_AT, way)
    assert denied.value.remedy
