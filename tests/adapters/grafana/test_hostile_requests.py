"""Strangers at Grafana's door: whatever they send ends in BadRequest, and nothing but a known secret lets them in."""

import json
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from functions.adapters.grafana.payload import parse
from functions.adapters.grafana.request import authenticate
from functions.config.settings import Auth, Basic, Bearer, Hmac
from functions.runtime.errors import BadRequest
from testbed.recorded_grafana import as_wsgi, known
from tests.adapters.grafana.test_request import signed

fuzzed = settings(database=None, suppress_health_check=[HealthCheck.too_slow])

SIGNATURE, TIMESTAMP = "X-Grafana-Alerting-Signature", "X-Grafana-Alerting-Timestamp"
NOW = 1_795_561_678.0
ALL_WAYS = Auth(
    Hmac((known("hmac secret one"), known("hmac secret two"))),
    Basic("grafana", (known("pass:word"), known("パスワード"))),
    Bearer((known("glsa_token"), known("トークン")), scheme="ApiKey"),
)
UNSTAMPED = Auth(hmac=Hmac((known("hmac secret one"),), timestamp_header=None))
DEEP = "[" * 5000

passwords = st.text(st.characters(exclude_categories=("Cs", "Cc")), min_size=1, max_size=40)
days = st.datetimes(datetime(2, 1, 3), datetime(9999, 12, 29))  # noqa: DTZ001 - Hypothesis wants naive bounds


def refused(auth: Auth, headers: Any, body: bytes, now: float = NOW) -> None:
    with pytest.raises(BadRequest) as caught:
        authenticate(auth, headers, body, now)
    assert caught.value.status == 401
    assert len(caught.value.sentence.encode()) <= 1024


@pytest.mark.parametrize(
    "value",
    [
        "\xff", "\x00", "\x80" * 64, "é" * 64, "印" * 64, "\ud800", "٠" * 64, "０" * 64, "0" * 1_000_000, "f" * 63 + "\n",
        "f" * 64 + "\n", " " + "f" * 63, "Ｆ" * 64, "0x" + "f" * 62, "None", "[]", "%s", "{0}", "\\u0000",
        "f" * 64 + ", " + "f" * 64,
    ],
)  # fmt: skip
@pytest.mark.parametrize("header", [SIGNATURE, TIMESTAMP, "Authorization"])
def test_hostile_header_is_refused(header, value):
    """Bytes that are no text, digits of other scripts, newlines and a megabyte of zeros are wrong credentials, no more."""
    for first in ({}, {SIGNATURE: "f" * 64}, {TIMESTAMP: str(int(NOW))}, {SIGNATURE: "f" * 64, TIMESTAMP: str(int(NOW))}):
        for auth in (ALL_WAYS, UNSTAMPED):
            refused(auth, {**first, header: value}, b"{}")


@pytest.mark.parametrize(
    "credentials",
    [
        "", " ", "=", "====", "a", "Z3JhZmFuYQ==", "Z3JhZmFuYTpwYXNzOndvcmQ", "Z3JhZmFuYTpwYXNzOndvcmQ==",
        " Z3JhZmFuYTpwYXNzOndvcmQ=", "Z3JhZmFuYTpwYXNzOndvcmR=", "Z3Jh ZmFuYTpwYXNzOndvcmQ=", "Z3JhZmFuYTpwYXNzOndvcmQ=\n",
        "Z3JhZmFuYTpwYXNzOndvcmQ=, Basic x", "grafana:pass:word", "%5A", "\xff\xfe", "印", "\ud800", "A" * 1_000_000,
    ],
)  # fmt: skip
def test_odd_base64_is_refused(credentials):
    """Only the one right way to write user and password passes: no missing padding, no spare bits, nothing around it."""
    right = "Z3JhZmFuYTpwYXNzOndvcmQ="
    authenticate(ALL_WAYS, {"Authorization": f"Basic {right}"}, b"", NOW)
    refused(ALL_WAYS, {"Authorization": f"Basic {credentials}"}, b"")
    refused(ALL_WAYS, {"Authorization": f"Basic{right}"}, b"")


@pytest.mark.parametrize(
    "stamp", ["١٧٩٥٥٦١٦٧٨", "１７９５５６１６７８", "1_795_561_678", " 1795561678", "1795561678\n", "-1", "1e9", "1" * 5000]
)
def test_timestamp_in_other_writing_is_refused_even_if_signed(stamp):
    """What Python would read as a number, but Grafana would never write, is no timestamp."""
    with pytest.raises(BadRequest, match="must be Unix seconds"):
        authenticate(ALL_WAYS, signed("hmac secret two", b"{}", stamp), b"{}", NOW)


@pytest.mark.parametrize("now", [0.0, -1e300, 1e300, float("inf"), float("-inf"), float("nan")])
def test_a_clock_gone_mad_lets_nobody_in(now):
    """Whatever the clock says, a timestamp that can't be shown to be fresh is refused."""
    refused(ALL_WAYS, {SIGNATURE: "f" * 64, TIMESTAMP: "1795561678"}, b"{}", now)


BOMBS = {
    "keys": b'{"alerts":[{"labels":{' + b",".join(b'"%d":"x"' % number for number in range(200_000)) + b"}}]}",
    "empty alerts": b'{"alerts":[' + b"{}," * 200_000 + b"{}]}",
    "nested labels": b'{"alerts":[' + b'{"labels":' * 50_000,
    "deep": b'{"alerts":' + DEEP.encode() + b"]" * 5000 + b"}",
    "long key": b'{"' + b"k" * 5_000_000 + b'":1}',
    "minuses": b'{"alerts":' + b"-" * 1_000_000,
    "long integer": b'{"orgId":' + b"1" * 1_000_000 + b"}",
    "4300 digits": b'{"orgId":1' + b"0" * 4299 + b"}",
    "exponent": b'{"orgId":1e' + b"9" * 100_000 + b"}",
    "nested": b'{"a":' * 900 + b"1" + b"}" * 900,
    "backslashes": b"\\" * 1_000_000,
    "escapes": b'"' + b"\\u0041" * 1_000_000 + b'"',
    "nulls": b"\x00" * 1_000_000,
    "utf-16": b"\xff\xfe{\x00}\x00",
}


@pytest.mark.parametrize("body", BOMBS.values(), ids=BOMBS)
def test_bombs_are_refused(body):
    """Authenticated nonsense of any size and shape ends in 400."""
    with pytest.raises(BadRequest) as caught:
        parse(body)
    assert caught.value.status == 400
    assert len(caught.value.sentence.encode()) <= 1024


@fuzzed
@given(passwords, st.binary(max_size=200), st.integers(0, 10**12 - 1), st.integers(-400, 400), st.booleans())
def test_signature_of_the_right_secret_passes_within_the_window(secret, body, stamp, late_s, stamped):
    """For any secret and body the door agrees with the rule: digest of body, or of timestamp, colon and body, when fresh."""
    assume(stamped or not body[:13].split(b":")[0].isdigit())
    way = Hmac((known("other"), known(secret)), timestamp_header=TIMESTAMP if stamped else None)
    headers = signed(secret, body, stamp if stamped else None) | {TIMESTAMP: str(stamp)}
    if stamped and abs(late_s) > 300:
        refused(Auth(hmac=way), as_wsgi(headers), body, stamp + late_s)
    else:
        authenticate(Auth(hmac=way), as_wsgi(headers), body, stamp + late_s)
    refused(Auth(hmac=Hmac((known("other"),), timestamp_header=way.timestamp_header)), as_wsgi(headers), body, stamp)


@fuzzed
@given(days, st.integers(-1439, 1439), st.integers(0, 9), st.integers(0, 999_999_999))
def test_any_time_is_read_to_the_microsecond(day, offset_minutes, digits, nanoseconds):
    """Every RFC 3339 time from year 2 on is read as the moment that it names."""
    moment = day.replace(microsecond=0, tzinfo=timezone(timedelta(minutes=offset_minutes)))
    hours, minutes = divmod(abs(offset_minutes), 60)
    fraction = f"{nanoseconds:09d}"[:digits]
    text = (
        f"{moment.year:04d}-{moment.month:02d}-{moment.day:02d}T{moment.hour:02d}:{moment.minute:02d}:{moment.second:02d}"
        f"{'.' + fraction if fraction else ''}{'-' if offset_minutes < 0 else '+'}{hours:02d}:{minutes:02d}"
    )
    alert = {"status": "firing", "labels": {}, "startsAt": text, "fingerprint": "0" * 16}
    expected = (moment - datetime(1970, 1, 1, tzinfo=UTC)).total_seconds() + (int(fraction) / 10**digits if fraction else 0)
    assert parse(json.dumps({"alerts": [alert]}).encode())[0].starts_at == pytest.approx(expected, abs=1e-4)
