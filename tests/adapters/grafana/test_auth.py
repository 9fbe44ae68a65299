"""Who is let in at Grafana's door: recorded requests, and strangers, whose every attempt ends in 401."""

import hashlib
import hmac as stdlib_hmac
from base64 import b64encode
from typing import Any

import pytest
from msgspec.structs import replace

from functions.adapters.grafana.request import authenticate, parse
from functions.config.settings import Auth, Basic, Bearer, Hmac
from functions.runtime.errors import BadRequest, Denied, Unavailable
from testbed.recorded_grafana import RECORDINGS, Recording, as_wsgi, known, unreadable

WITHOUT_CREDENTIALS = ("30-basic-user-without-password", "41-url-query-token")
SIGNED = [name for name, recording in RECORDINGS.items() if recording.hmac]
STAMPED = [name for name in SIGNED if RECORDINGS[name].secrets["hmac_timestamp_header"]]
UNSTAMPED = [name for name in SIGNED if name not in STAMPED]
AUTHORIZED = [name for name, recording in RECORDINGS.items() if recording.basic or recording.bearer]
SIGNATURE, TIMESTAMP = "X-Grafana-Alerting-Signature", "X-Grafana-Alerting-Timestamp"
NOW = 1_795_561_678.0
ALL_WAYS = Auth(
    Hmac((known("hmac secret one"), known("hmac secret two"))),
    Basic("grafana", (known("pass:word"), known("パスワード"))),
    Bearer((known("glsa_token"), known("トークン")), scheme="ApiKey"),
)
LOCKED = Unavailable("secret_store", "env://GRAFANA is not set")
UNSTAMPED_WAY = Auth(hmac=Hmac((known("hmac secret one"),), timestamp_header=None))


def refusal(auth: Auth, headers: Any, body: bytes, now: float) -> str:
    """The sentence of the 401, which is short enough for Grafana and gives nothing away."""
    with pytest.raises(BadRequest) as caught:
        authenticate(auth, headers, body, now)
    assert caught.value.status == 401
    sentence = caught.value.sentence
    assert len(sentence.encode()) <= 1024
    given = [*(auth.hmac.secrets if auth.hmac else ()), *(auth.basic.passwords if auth.basic else ())]
    given += auth.bearer.tokens if auth.bearer else ()
    secrets = [ref.read().decode() for ref in given if hasattr(ref, "secret")]
    assert not [secret for secret in secrets if secret and secret in sentence]
    assert not [value for value in headers.values() if len(value) > 20 and value in sentence]
    return sentence


def signed(secret: str, body: bytes, stamp: int | str | None = None) -> dict[str, str]:
    """A request's headers, signed as Grafana does it."""
    first = b"" if stamp is None else f"{stamp}:".encode()
    headers = {SIGNATURE: stdlib_hmac.new(secret.encode(), first + body, hashlib.sha256).hexdigest()}
    return headers if stamp is None else headers | {TIMESTAMP: str(stamp)}


def turned(text: str, place: int) -> str:
    """The text with one character replaced by another of its kind."""
    other = "1" if text[place] == "0" else "0"
    return text[:place] + other + text[place + 1 :]


def only_hmac(name: str) -> tuple[Recording, Auth, Hmac]:
    recording = RECORDINGS[name]
    assert recording.hmac
    return recording, Auth(hmac=recording.hmac), recording.hmac


@pytest.mark.parametrize("name", [name for name in RECORDINGS if name not in WITHOUT_CREDENTIALS])
def test_recorded_request_is_let_in(name):
    """Each recorded request passes with its secrets, by each of its ways alone and by all together, at the time it came."""
    recording = RECORDINGS[name]
    ways = [Auth(hmac=recording.hmac), Auth(basic=recording.basic), Auth(bearer=recording.bearer)]
    for auth in [recording.auth, *(way for way in ways if way != Auth())]:
        authenticate(auth, as_wsgi(recording.headers), recording.body, recording.at)
        authenticate(auth, {key.swapcase(): value for key, value in recording.headers.items()}, recording.body, recording.at)


@pytest.mark.parametrize("name", WITHOUT_CREDENTIALS)
@pytest.mark.parametrize(
    "auth",
    [
        Auth(hmac=Hmac((known("qt-81f0"),))),
        Auth(basic=Basic("grafana-mail", (known(""),))),
        Auth(bearer=Bearer((known("qt-81f0"),))),
    ],
    ids=["hmac", "basic", "bearer"],
)
def test_request_without_credentials_is_refused(name, auth):
    """A user name without a password sends nothing, and a token in the URL counts for nothing."""
    recording = RECORDINGS[name]
    said = refusal(auth, dict(recording.headers), recording.body, recording.at)
    assert "must be 64" in said or "needs the scheme" in said


@pytest.mark.parametrize("name", SIGNED)
def test_one_changed_byte_of_a_signed_request_is_refused(name):
    """First, middle and last byte of the body, digits of signature and time, and the ends, length and case of all count."""
    recording, auth, way = only_hmac(name)
    body, signature = recording.body, recording.headers[way.header]
    changed = [body[:place] + bytes([body[place] ^ 1]) + body[place + 1 :] for place in (0, len(body) // 2, len(body) - 1)]
    for other in (*changed, body[:-1], body[1:], body + b"\n", b" " + body, b""):
        assert "does not match" in refusal(auth, dict(recording.headers), other, recording.at)
    wrong = [turned(signature, place) for place in range(0, 64, 21)]
    for digits in (*wrong, signature.upper(), signature[:-1], signature + "0", "sha256=" + signature, f"{signature},{signature}"):
        refusal(auth, {**recording.headers, way.header: digits}, body, recording.at)
    if way.timestamp_header:
        stamp = recording.headers[way.timestamp_header]
        for other_time in (str(int(stamp) + 1), str(int(stamp) - 1), "0" + stamp, "+" + stamp, stamp + ".0", stamp + "000"):
            refusal(auth, {**recording.headers, way.timestamp_header: other_time}, body, recording.at)


@pytest.mark.parametrize("name", AUTHORIZED)
def test_one_changed_byte_of_the_authorization_is_refused(name):
    """Each character of the Authorization header counts, and so does a character more or less."""
    recording = RECORDINGS[name]
    auth, sent = replace(recording.auth, hmac=None), recording.headers["Authorization"]
    wrong = [turned(sent, place) for place in range(len(sent))]
    for changed in (*wrong, sent[:-1], sent + "=", sent + "0", sent.replace(" ", "  ")):
        refusal(auth, {**recording.headers, "Authorization": changed}, recording.body, recording.at)


@pytest.mark.parametrize(
    ("late_s", "fresh"),
    [(-100_000, False), (-300.5, False), (-300, True), (0, True), (299.9, True), (300, True), (300.5, False), (86_400, False)],
)
def test_replay_outside_the_window_is_refused(late_s, fresh):
    """A signed request passes from five minutes before its timestamp until five minutes after, by our clock."""
    body = RECORDINGS["02-hmac-timestamp-firing"].body
    auth, headers, stamp = Auth(hmac=Hmac((known("key"),))), signed("key", body, 1_795_561_678), 1_795_561_678
    if fresh:
        authenticate(auth, as_wsgi(headers), body, stamp + late_s)
        return
    said = refusal(auth, headers, body, stamp + late_s)
    assert "at most 300 s off the clock here" in said


@pytest.mark.parametrize("name", STAMPED)
def test_stamped_request_does_not_pass_without_a_timestamp_configured(name):
    """What was signed with a timestamp does not pass where none is expected, not even when it is cut into the body."""
    recording, _, way = only_hmac(name)
    assert way.timestamp_header
    auth = Auth(hmac=replace(way, timestamp_header=None))
    assert "the timestamp header (none)" in refusal(auth, dict(recording.headers), recording.body, recording.at)
    recut = recording.headers[way.timestamp_header].encode() + b":" + recording.body
    assert "begins with a timestamp" in refusal(auth, dict(recording.headers), recut, recording.at)
    with pytest.raises(BadRequest):
        parse(recut)


@pytest.mark.parametrize("name", UNSTAMPED)
def test_unstamped_request_does_not_pass_with_a_timestamp_configured(name):
    """Neither with none, nor with a fresh one, nor with its beginning for one."""
    recording, _, way = only_hmac(name)
    auth = Auth(hmac=replace(way, timestamp_header=TIMESTAMP))
    assert "the timestamp header of the contact point" in refusal(auth, dict(recording.headers), recording.body, recording.at)
    refusal(auth, {**recording.headers, TIMESTAMP: str(int(recording.at))}, recording.body, recording.at)
    stamp, _, rest = recording.body.partition(b":")
    assert "must be Unix seconds" in refusal(auth, {**recording.headers, TIMESTAMP: stamp.decode()}, rest, recording.at)


def test_headers_of_other_names_count_for_nothing():
    """Only the configured header names are looked at."""
    auth = Auth(hmac=Hmac((known("key"),), header="X-Sig", timestamp_header="X-When"))
    headers = signed("key", b"{}", 1000)
    assert "The header X-Sig must be" in refusal(auth, headers, b"{}", 1000)
    renamed = {"X-Sig": headers[SIGNATURE], "X-When": headers[TIMESTAMP]}
    authenticate(auth, as_wsgi(renamed), b"{}", 1000)


def by_each_way(references: Any, secret: str) -> list[tuple[Auth, dict[str, str]]]:
    """Each way alone with these references, and the headers of a sender who has this secret."""
    basic = b64encode(f"me:{secret}".encode()).decode()
    return [
        (Auth(hmac=Hmac(references)), signed(secret, b"{}", 1000)),
        (Auth(basic=Basic("me", references)), {"Authorization": f"Basic {basic}"}),
        (Auth(bearer=Bearer(references)), {"Authorization": f"Bearer {secret}"}),
    ]


@pytest.mark.parametrize("right", [0, 2])
def test_every_secret_is_tried_whichever_is_right(right):
    """The work done, and so the time taken, does not tell which secret matched."""
    read: list[int] = []

    class Counted:
        def __init__(self, place):
            self.place = place

        def read(self):
            read.append(self.place)
            return b"key" if self.place == right else b"other"

    for auth, headers in by_each_way(tuple(map(Counted, range(3))), "key"):
        read.clear()
        authenticate(auth, headers, b"{}", 1000)
        assert read == [0, 1, 2]


def test_empty_secret_lets_nobody_in():
    """A secret that was left empty is one that everybody knows; so is one that is missing."""
    nobody = [(Auth(), signed("", b"{}", 1000)), (Auth(hmac=Hmac(())), signed("", b"{}", 1000))]
    for auth, headers in [*by_each_way((known(""),), ""), *nobody]:
        refusal(auth, headers, b"{}", 1000)


@pytest.mark.parametrize("error", [LOCKED, Denied("secret_store", "no access", remedy="grant it")], ids=["unavailable", "denied"])
def test_unreadable_secret_is_unavailable_only_if_nothing_else_matches(error):
    """A secret that can't be read is no reason to refuse who has another, nor to call the sender's one wrong."""
    locked = unreadable(error)
    headers = {**signed("key", b"{}", 1000), "Authorization": "Bearer token"}
    for auth in (
        Auth(hmac=Hmac((locked, known("key")))),
        Auth(hmac=Hmac((known("key"), locked))),
        Auth(hmac=Hmac((locked,)), bearer=Bearer((known("token"),))),
        Auth(hmac=Hmac((known("key"),)), bearer=Bearer((locked,))),
    ):
        authenticate(auth, headers, b"{}", 1000)
    for auth in (Auth(hmac=Hmac((locked, known("other")))), Auth(hmac=Hmac((known("other"),)), bearer=Bearer((locked,)))):
        with pytest.raises(Unavailable, match="secret_store"):
            authenticate(auth, headers, b"{}", 1000)


@pytest.mark.parametrize(
    "headers",
    [{}, {SIGNATURE: "nonsense"}, {SIGNATURE: "0" * 64}, {SIGNATURE: "0" * 64, TIMESTAMP: "1"}, {"Authorization": "Digest x"}],
    ids=["nothing", "no signature", "no timestamp", "stale", "other scheme"],
)
def test_secrets_are_read_only_for_what_could_match(headers):
    """A request that can't match whatever the secret is costs no look into the secret store."""
    locked = unreadable(LOCKED)
    refusal(Auth(Hmac((locked,)), Basic("me", (locked,)), Bearer((locked,))), headers, b"{}", 1_795_561_678)


def test_refusal_speaks_of_each_way():
    """That is configured: the sender may have meant any."""
    auth = Auth(Hmac((known("key"),)), Basic("me", (known("w0rd"),)), Bearer((known("t0ken"),), scheme="ApiKey"))
    said = refusal(auth, signed("other", b"{}", 1000), b"{}", 1000)
    for part in ("signature does not match: are the secret and the timestamp header (X-Grafana-Alerting-Timestamp) the same",
                 "needs the scheme Basic", "needs the scheme ApiKey"):  # fmt: skip
        assert part in said


@pytest.mark.parametrize(
    "value", ["\xff", "\x00", "é" * 64, "\ud800", "٠" * 64, "0" * 1_000_000, "f" * 64 + "\n", " " + "f" * 63, "0x" + "f" * 62]
)
@pytest.mark.parametrize("header", [SIGNATURE, TIMESTAMP, "Authorization"])
def test_hostile_header_is_refused(header, value):
    """Bytes that are no text, digits of other scripts, newlines and a megabyte of zeros are wrong credentials, no more."""
    for first in ({}, {SIGNATURE: "f" * 64}, {TIMESTAMP: str(int(NOW))}, {SIGNATURE: "f" * 64, TIMESTAMP: str(int(NOW))}):
        for auth in (ALL_WAYS, UNSTAMPED_WAY):
            refusal(auth, {**first, header: value}, b"{}", NOW)


@pytest.mark.parametrize(
    "stamp", ["١٧٩٥٥٦١٦٧٨", "１７９５５６１６７８", "1_795_561_678", " 1795561678", "1795561678\n", "-1", "1e9", "1" * 5000]
)
def test_timestamp_in_other_writing_is_refused_even_if_signed(stamp):
    """What Python would read as a number, but Grafana would never write, is no timestamp."""
    with pytest.raises(BadRequest, match="must be Unix seconds"):
        authenticate(ALL_WAYS, signed("hmac secret two", b"{}", stamp), b"{}", NOW)
