"""Grafana's door on recorded requests: who is let in, and what a notification says."""

import hashlib
import hmac as stdlib_hmac
import io
import json
from base64 import b64encode
from typing import Any

import pytest
from msgspec.structs import replace

from functions.adapters.grafana import sender
from functions.adapters.grafana.payload import parse
from functions.adapters.grafana.request import authenticate, read_body
from functions.config.settings import Auth, Basic, Bearer, Hmac
from functions.domain.model.alerts import Alert
from functions.runtime.errors import BadRequest, Denied, Unavailable
from testbed.recorded_grafana import RECORDINGS, Recording, as_wsgi, known, unreadable

WITHOUT_CREDENTIALS = ("30-basic-user-without-password", "41-url-query-token")
SIGNED = [name for name, recording in RECORDINGS.items() if recording.hmac]
STAMPED = [name for name in SIGNED if RECORDINGS[name].secrets["hmac_timestamp_header"]]
UNSTAMPED = [name for name in SIGNED if name not in STAMPED]
AUTHORIZED = [name for name, recording in RECORDINGS.items() if recording.basic or recording.bearer]
LOCKED = Unavailable("secret_store", "env://GRAFANA is not set")


def refusal(auth: Auth, headers: dict[str, str], body: bytes, now: float) -> str:
    """The sentence of the 401, which is short enough for Grafana and gives nothing away."""
    with pytest.raises(BadRequest) as caught:
        authenticate(auth, as_wsgi(headers), body, now)
    assert caught.value.status == 401
    sentence = caught.value.sentence
    assert len(sentence.encode()) <= 1024
    ways = [(auth.hmac, "secrets"), (auth.basic, "passwords"), (auth.bearer, "tokens")]
    secrets = [ref.read().decode() for way, field in ways if way for ref in getattr(way, field) if hasattr(ref, "secret")]
    assert not [secret for secret in secrets if secret and secret in sentence]
    assert not [value for value in headers.values() if len(value) > 20 and value in sentence]
    return sentence


def signed(secret: str, body: bytes, stamp: int | str | None = None) -> dict[str, str]:
    """A request's headers, signed as Grafana does it."""
    first = b"" if stamp is None else f"{stamp}:".encode()
    headers = {"X-Grafana-Alerting-Signature": stdlib_hmac.new(secret.encode(), first + body, hashlib.sha256).hexdigest()}
    return headers if stamp is None else headers | {"X-Grafana-Alerting-Timestamp": str(stamp)}


def turned(text: str, place: int) -> str:
    """The text with one character replaced by another of its kind."""
    other = "1" if text[place] == "0" else "0"
    return text[:place] + other + text[place + 1 :]


def only_hmac(name: str) -> tuple[Recording, Auth, Hmac]:
    recording = RECORDINGS[name]
    assert recording.hmac
    return recording, Auth(hmac=recording.hmac), recording.hmac


# --- who is let in ---------------------------------------------------------------------------------------------------


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
    """A user name without a password sends nothing, and a token in the URL counts for nothing: the sentence says so."""
    recording = RECORDINGS[name]
    said = refusal(auth, dict(recording.headers), recording.body, recording.at)
    assert "is missing" in said
    assert "A token in the URL is not accepted." in said


@pytest.mark.parametrize("name", SIGNED)
def test_one_changed_byte_of_a_signed_request_is_refused(name):
    """First, middle and last byte of the body, each digit of the signature, and the ends, length and case of both count."""
    recording, auth, way = only_hmac(name)
    body, signature = recording.body, recording.headers[way.header]
    for place in (0, len(body) // 2, len(body) - 1):
        changed = body[:place] + bytes([body[place] ^ 1]) + body[place + 1 :]
        assert "does not match" in refusal(auth, dict(recording.headers), changed, recording.at)
    for changed in (body[:-1], body[1:], body + b"\n", b" " + body, b""):
        refusal(auth, dict(recording.headers), changed, recording.at)
    wrong = [turned(signature, place) for place in (range(0, 64, 21) if len(body) > 100_000 else range(64))]
    wrong += [signature.upper(), signature[:-1], signature + "0", "sha256=" + signature, "", signature + "," + signature]
    for digits in wrong:
        refusal(auth, {**recording.headers, way.header: digits}, body, recording.at)


@pytest.mark.parametrize("name", STAMPED)
def test_changed_timestamp_is_refused(name):
    """A timestamp that is fresh too but another than the signed one, or that is written in another way, does not pass."""
    recording, auth, way = only_hmac(name)
    assert way.timestamp_header
    stamp = recording.headers[way.timestamp_header]
    others = [str(int(stamp) + 1), str(int(stamp) - 1), *(turned(stamp, place) for place in range(len(stamp)))]
    others += ["0" + stamp, "+" + stamp, "-" + stamp, stamp + ".0", stamp + " ", f"{int(stamp):_}", stamp + "000", ""]
    for other in others:
        refusal(auth, {**recording.headers, way.timestamp_header: other}, recording.body, recording.at)


@pytest.mark.parametrize("name", AUTHORIZED)
def test_one_changed_byte_of_the_authorization_is_refused(name):
    """Each character of the Authorization header counts, and so does a character more or less."""
    recording = RECORDINGS[name]
    auth, sent = replace(recording.auth, hmac=None), recording.headers["Authorization"]
    wrong = [turned(sent, place) for place in range(len(sent))] + [sent[:-1], sent + "=", sent + "0", sent.replace(" ", "  ")]
    for changed in wrong:
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
    assert f"{abs(late_s):.0f} s {'behind' if late_s > 0 else 'ahead of'} the clock here, 300 s are allowed" in said


@pytest.mark.parametrize("more", [{}, {"basic": Basic("me", (known("w0rd"),)), "bearer": Bearer((known("t0ken"),))}])
def test_only_a_signature_with_a_timestamp_names_a_request(more):
    """Its beginning tells a copy from the next notification; all else is the same for every one of the same body."""
    stamped, plain = Hmac((known("key"),)), Hmac((known("key"),), timestamp_header=None)
    headers = signed("key", b"{}", 1000)
    assert authenticate(Auth(hmac=stamped, **more), headers, b"{}", 1000) == headers["X-Grafana-Alerting-Signature"][:16]
    assert authenticate(Auth(hmac=plain, **more), signed("key", b"{}"), b"{}", 1000) == ""
    for scheme, credentials in (("Basic", b64encode(b"me:w0rd").decode()), ("Bearer", "t0ken")) if more else ():
        for way in (stamped, plain, None):
            assert authenticate(Auth(hmac=way, **more), {"Authorization": f"{scheme} {credentials}"}, b"{}", 1000) == ""


# --- the modes of HMAC do not mix ------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", STAMPED)
def test_stamped_request_does_not_pass_without_a_timestamp_configured(name):
    """What was signed with a timestamp does not pass where none is expected, not even when it is cut into the body."""
    recording, _, way = only_hmac(name)
    assert way.timestamp_header
    auth = Auth(hmac=replace(way, timestamp_header=None))
    assert "is its timestamp header empty" in refusal(auth, dict(recording.headers), recording.body, recording.at)
    recut = recording.headers[way.timestamp_header].encode() + b":" + recording.body
    assert "begins with a timestamp" in refusal(auth, dict(recording.headers), recut, recording.at)
    with pytest.raises(BadRequest):
        parse(recut)


@pytest.mark.parametrize("name", UNSTAMPED)
def test_unstamped_request_does_not_pass_with_a_timestamp_configured(name):
    """What was signed without a timestamp passes with none, with a fresh one, and cut at each of its colons neither."""
    recording, _, way = only_hmac(name)
    stamped = "X-Grafana-Alerting-Timestamp"
    auth = Auth(hmac=replace(way, timestamp_header=stamped))
    assert "set it as timestamp header" in refusal(auth, dict(recording.headers), recording.body, recording.at)
    refusal(auth, {**recording.headers, stamped: str(int(recording.at))}, recording.body, recording.at)
    colons = [place for place, byte in enumerate(recording.body) if byte == ord(":")][:50]
    for colon in colons:
        stamp, rest = recording.body[:colon].decode(), recording.body[colon + 1 :]
        assert "must be Unix seconds" in refusal(auth, {**recording.headers, stamped: stamp}, rest, recording.at)


def test_headers_of_other_names_count_for_nothing():
    """Only the configured header names are looked at, and each secret of the list."""
    auth = Auth(hmac=Hmac((known("key"),), header="X-Sig", timestamp_header="X-When"))
    headers = signed("key", b"{}", 1000)
    assert "X-Sig is missing" in refusal(auth, headers, b"{}", 1000)
    renamed = {"X-Sig": headers["X-Grafana-Alerting-Signature"], "X-When": headers["X-Grafana-Alerting-Timestamp"]}
    authenticate(auth, as_wsgi(renamed), b"{}", 1000)
    first, second = RECORDINGS["29-two-integrations.a"], RECORDINGS["29-two-integrations.b"]
    keys = [known(first.secrets["hmac_secret"]), known(second.secrets["hmac_secret"])]
    for secrets in (tuple(keys), tuple(reversed(keys))):
        for recording in (first, second):
            authenticate(Auth(hmac=Hmac(secrets)), as_wsgi(recording.headers), recording.body, recording.at)
    refusal(Auth(hmac=Hmac((keys[1],))), dict(first.headers), first.body, first.at)


# --- secrets ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("right", [0, 1, 2])
def test_every_secret_is_tried_whichever_is_right(right):
    """The work done, and so the time taken, does not tell which secret matched."""
    read: list[int] = []

    class Counted:
        def __init__(self, place):
            self.place = place

        def read(self):
            read.append(self.place)
            return b"key" if self.place == right else b"other"

    references: Any = tuple(Counted(place) for place in range(3))
    basic = "Basic " + b64encode(b"me:key").decode()
    for auth, headers in (
        (Auth(hmac=Hmac(references)), signed("key", b"{}", 1000)),
        (Auth(basic=Basic("me", references)), {"Authorization": basic}),
        (Auth(bearer=Bearer(references)), {"Authorization": "Bearer key"}),
    ):
        read.clear()
        authenticate(auth, headers, b"{}", 1000)
        assert read == [0, 1, 2]


@pytest.mark.parametrize(
    ("auth", "headers"),
    [
        (Auth(hmac=Hmac((known(""),))), signed("", b"{}", 1000)),
        (Auth(basic=Basic("me", (known(""),))), {"Authorization": "Basic " + b64encode(b"me:").decode()}),
        (Auth(bearer=Bearer((known(""),))), {"Authorization": "Bearer "}),
        (Auth(), signed("", b"{}", 1000)),
        (Auth(hmac=Hmac(())), signed("", b"{}", 1000)),
    ],
    ids=["hmac", "basic", "bearer", "no way configured", "no secret configured"],
)
def test_empty_secret_lets_nobody_in(auth, headers):
    """A secret that was left empty is one that everybody knows."""
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
    [
        {},
        {"X-Grafana-Alerting-Signature": "nonsense"},
        {"X-Grafana-Alerting-Signature": "0" * 64},
        {"X-Grafana-Alerting-Signature": "0" * 64, "X-Grafana-Alerting-Timestamp": "1"},
        {"Authorization": "Digest x"},
    ],
    ids=["nothing", "no signature", "no timestamp", "stale", "other scheme"],
)
def test_secrets_are_read_only_for_what_could_match(headers):
    """A request that can't match whatever the secret is costs no look into the secret store."""
    locked = unreadable(LOCKED)
    refusal(Auth(Hmac((locked,)), Basic("me", (locked,)), Bearer((locked,))), headers, b"{}", 1_795_561_678)


# --- what refusals say -----------------------------------------------------------------------------------------------


def test_refusal_speaks_of_what_was_tried():
    """With several ways configured the sentence is about the one that the sender used, or about all if there was none."""
    auth = Auth(Hmac((known("key"),)), Basic("me", (known("w0rd"),)), Bearer((known("t0ken"),), scheme="ApiKey"))
    assert refusal(auth, signed("other", b"{}", 1000), b"{}", 1000) == (
        "The signature does not match: is the secret the same on both sides, is X-Grafana-Alerting-Timestamp its timestamp "
        "header in the contact point, and does nothing in between change the body?"
    )
    assert refusal(auth, {"Authorization": "apikey other"}, b"{}", 1000) == "The token is wrong: is it the same on both sides?"
    assert refusal(auth, {"Authorization": "basic other"}, b"{}", 1000).startswith("User or password is wrong")
    said = refusal(auth, {}, b"{}", 1000)
    for part in ("Alerting-Signature is missing", "scheme Basic is missing", "scheme ApiKey is missing", "token in the URL"):
        assert part in said


# --- method and body -------------------------------------------------------------------------------------------------


class Endless(io.RawIOBase):
    """A body that never ends, and counts what was taken of it."""

    taken = 0

    def read(self, size: int = -1, /) -> bytes:
        assert size >= 0
        self.taken += size
        return b"x" * size


ENCODINGS = ("gzip", "GZIP", "br", "deflate, gzip", "identity, gzip", "\xff", "x" * 9000)


@pytest.mark.parametrize(
    ("content_length", "encoding", "taken", "status", "said"),
    [
        (None, "identity", 1001, 413, "Max Alerts"),
        (10**18, "identity", 0, 413, "Max Alerts"),
        (1001, "identity", 0, 413, "Max Alerts"),
        *((10, encoding, 0, 415, "") for encoding in ENCODINGS),
    ],
)
def test_endless_body_is_cut_and_a_compressed_one_refused_unread(content_length, encoding, taken, status, said):
    """Over the limit the answer is 413, after at most one byte more than the limit and with the remedy. Grafana never compresses,
    so nobody needs a decompressor here; the header's text is not repeated.
    """
    stream = Endless()
    with pytest.raises(BadRequest) as caught:
        read_body(stream, content_length, 1000, encoding)
    assert caught.value.status == status
    assert said in caught.value.sentence
    assert len(caught.value.sentence) < 200 or status == 413
    assert stream.taken == taken


@pytest.mark.parametrize("content_length", [None, 0, 1, 999, 1000])
def test_body_within_the_limit_is_read(content_length):
    """A body of the limit's size passes, with and without a length, also when it comes in small pieces."""
    size = 1000 if content_length is None else content_length

    class Dribbling(io.BytesIO):
        def read(self, size: int | None = -1, /) -> bytes:
            return super().read(min(size or 0, 7))

    for stream in (io.BytesIO(b"y" * size), Dribbling(b"y" * size)):
        assert read_body(stream, content_length, 1000, "identity") == b"y" * size


def test_nothing_behind_the_stated_length_is_read():
    """What follows a body on the connection belongs to somebody else."""
    stream = io.BytesIO(b"0123456789")
    assert read_body(stream, 4, 1000, None) == b"0123"
    assert stream.tell() == 4
    assert read_body(stream, -5, 1000, None) == b""


class Broken(io.RawIOBase):
    def __init__(self, error):
        self.error = error

    def read(self, _size: int = -1, /) -> bytes:
        raise self.error


def broken_reads() -> list[Exception]:
    from werkzeug.exceptions import ClientDisconnected

    return [ConnectionResetError(), TimeoutError(), ValueError("I/O operation on closed file"), ClientDisconnected()]


@pytest.mark.parametrize("stream", [io.BytesIO(b"abc"), *map(Broken, broken_reads())], ids=lambda stream: type(stream).__name__)
def test_body_that_ends_early_is_refused(stream):
    """A sender that hangs up in the middle has sent nothing."""
    with pytest.raises(BadRequest) as caught:
        read_body(stream, 10, 1000, None)
    assert caught.value.status == 400


# --- what a notification says ----------------------------------------------------------------------------------------


TEST_BUTTON = {
    "20-test-contact-point", "31-test-contact-point-custom", "42-test-button-grafana-11", "43-test-button-grafana-11-custom",
}  # fmt: skip


@pytest.mark.parametrize("name", [name for name in RECORDINGS if name != "10-custom-payload"])
def test_recorded_notification_is_read(name):
    """Each recorded body is compared with counts that were made by other means."""
    recording = RECORDINGS[name]
    alerts, expect = parse(recording.body), recording.expect
    assert [alert.fingerprint for alert in alerts] == expect["fingerprints"]
    assert sum(alert.firing for alert in alerts) == expect["firing"]
    assert sum(not alert.firing for alert in alerts) == expect["resolved"]
    assert {alert.source for alert in alerts} == {_source(recording.body)}
    for alert in alerts:
        assert alert.firing == (alert.ends_at is None)
        assert 0 <= recording.at - alert.starts_at < 3 * 86_400
        assert alert.test == (name in TEST_BUTTON)
        assert not [key for key in (*alert.labels, *alert.annotations) if key.startswith("__")]


def _source(body: bytes) -> str:
    sent = json.loads(body)
    return f"{sent['externalURL']}#{sent.get('orgId', '')}"


def test_notification_of_grafana_in_full():
    """All that is kept of a recorded notification of Grafana."""
    url = "https://grafana.example.com"
    alert = Alert(
        fingerprint="8b6529b40b930461",
        source=f"{url}/#1",
        firing=True,
        labels={
            "alertname": "RabbitMQQueueStuck", "grafana_folder": "Mail", "instance": "rabbit1:15692", "queue": "mail.delivery",
            "service": "mail-delivery", "severity": "critical", "vhost": "/",
        },
        annotations={
            "description": "Queue mail.delivery on vhost / has 1520 ready messages and no acknowledgements for 10 minutes.",
            "runbook_url": "https://runbooks.example.com/rabbitmq/queue-stuck",
            "summary": "Queue mail.delivery is not draining",
        },
        starts_at=1_795_561_675.0,
        generator_url=f"{url}/alerting/grafana/eg5k2rmqstuck1/view?orgId=1",
        silence_url=f"{url}/alerting/silence/new?alertmanager=grafana&matcher=__alert_rule_uid__%3Deg5k2rmqstuck1"
        "&matcher=instance%3Drabbit1%3A15692&matcher=queue%3Dmail.delivery&matcher=service%3Dmail-delivery"
        "&matcher=severity%3Dcritical&matcher=vhost%3D%2F&orgId=1",
        dashboard_url=f"{url}/d/rmq-overview?from=1795558075000&orgId=1&to=1795561678327",
        panel_url=f"{url}/d/rmq-overview?from=1795558075000&orgId=1&to=1795561678327&viewPanel=12",
    )  # fmt: skip
    assert parse(RECORDINGS["02-hmac-timestamp-firing"].body) == (alert,)


def test_status_is_each_alerts_own():
    """Not the group's status, which lies when it is truncated; labels may be any text, but private ones are left out."""
    mixed = parse(RECORDINGS["07-group-2-firing-1-resolved"].body)
    assert sorted(alert.firing for alert in mixed) == [False, True, True]
    truncated = parse(RECORDINGS["32-truncated-says-resolved"].body)
    assert [alert.firing for alert in truncated] == [False]
    body = RECORDINGS["27-imported-am-basic"].body
    assert b"__alert_rule_uid__" in body
    (alert,) = parse(body)
    assert set(alert.labels) == {"alertname", "grafana_folder", "instance", "queue", "service", "severity", "vhost"}
    assert set(alert.annotations) == {"description", "runbook_url", "summary"}
    assert parse(notification(alert_endsAt="2020-01-01T00:00:00Z"))[0].firing
    labels = {"alertname": "X", "service.name": "a\u0000b", "キュー": "\u202e</script>", "": "empty", "status": "x", "__a": "y"}
    assert parse(notification(alert_labels={**labels, "__hidden__": "z"}))[0].labels == labels


NOT_ONE = "The body is JSON, but not a notification: "


def notification(**changes: Any) -> bytes:
    """A small notification with something changed in its only alert (`alert_` in front) or in the whole; `...` leaves it out."""
    alert = {
        "status": "firing", "labels": {"alertname": "X"}, "annotations": {}, "startsAt": "2026-11-24T23:07:55Z",
        "endsAt": "0001-01-01T00:00:00Z", "generatorURL": "https://g.example.com/rule", "fingerprint": "8b6529b40b930461",
    }  # fmt: skip
    whole = {"receiver": "ops", "status": "firing", "externalURL": "https://g.example.com/", "version": "1", "groupKey": "{}:{}"}
    for name, value in changes.items():
        (alert if name.startswith("alert_") else whole)[name.removeprefix("alert_")] = value
    whole.setdefault("alerts", [{name: value for name, value in alert.items() if value is not ...}])
    return json.dumps({name: value for name, value in whole.items() if value is not ...}).encode()


@pytest.mark.parametrize(
    "text",
    [
        "0001-01-01T00:00:00Z", "0001-01-01T00:00:00+09:00", "0001-01-01T09:18:59+09:18", "0000-12-31T19:03:58-04:56", "", None,
        ...,
    ],
)  # fmt: skip
def test_no_end_is_none(text):
    """Grafana's year 1, in any time zone, and whatever a template leaves out mean that there is no end."""
    assert parse(notification(alert_endsAt=text))[0].ends_at is None


@pytest.mark.parametrize(
    "text",
    [
        "", "now", "1795561675", "2026-11-24", "2026-11-24 23:07:55Z", "2026-11-24T23:07:55", "2026-11-24T23:07Z",
        "20261124T230755Z", "2026-W48-2T23:07:55Z", "2026-02-30T00:00:00Z", "2026-13-01T00:00:00Z", "2026-11-24T24:00:00Z",
        "2026-11-24T23:60:00Z", "2026-11-24T23:07:61Z", "2026-11-24T23:07:55.Z", "2026-11-24T23:07:55.1234567890Z",
        "2026-11-24T23:07:55+0900", "2026-11-24T23:07:55+25:00", "2026-11-24T23:07:55Z\n", "２０２６-11-24T23:07:55Z",
        "-026-11-24T23:07:55Z", "12026-11-24T23:07:55Z",
    ],
)  # fmt: skip
def test_broken_times_are_refused(text):
    """What is not an RFC 3339 time is refused with its place, at the start as at the end."""
    for field in ("startsAt", *(["endsAt"] if text else [])):
        with pytest.raises(BadRequest) as caught:
            parse(notification(**{f"alert_{field}": text}))
        assert caught.value.status == 400
        assert caught.value.sentence.startswith(f"`$.alerts[0].{field}` is not an RFC 3339 time.")


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b"", "The body is empty: did a custom payload render to nothing?"),
        (b" \n", "The body is empty"),
        (RECORDINGS["10-custom-payload"].body, "The body has no `alerts`"),
        (b"{}", "The body has no `alerts`"),
        (b'{"alerts":null}', "The body has no `alerts`"),
        (notification(alerts=[]), "The body has no `alerts`"),
        (b"hello", "The body is not JSON: "),
        (b"<html>", "The body is not JSON: "),
        (b'{"alerts":[', "The body is not JSON: "),
        (b"{} {}", "The body is not JSON: "),
        (b"\xef\xbb\xbf{}", "The body is not JSON: "),
        (b'{"a":NaN}', "The body is not JSON: "),
        (b'{"a":-Infinity}', "The body is not JSON: "),
        (b'{"receiver":"\\ud800"}', "The body is not JSON: "),
        (b'{"receiver":"\\udc00"}', "The body is not JSON: "),
        (b'{"receiver":"\xff"}', "The body is not UTF-8."),
        (b'{"receiver":"\xed\xa0\x80"}', "The body is not UTF-8."),
        (b"[]", NOT_ONE + "Expected `object`, got `array`."),
        (b"null", NOT_ONE + "Expected `object`, got `null`."),
        (b'"alerts"', NOT_ONE + "Expected `object`, got `str`."),
        (b'{"alerts":{}}', NOT_ONE + "Expected `array | null`, got `object` - at `$.alerts`."),
        (b'{"alerts":[1]}', NOT_ONE + "Expected `object`, got `int` - at `$.alerts[0]`."),
        (notification(alert_labels={"secret": 1}), NOT_ONE + "Expected `str`, got `int` - at `$.alerts[0].labels[...]`."),
        (notification(alert_labels=None), NOT_ONE + "Expected `object`, got `null`"),
        (notification(alert_labels=...), "`$.alerts[0].labels` is missing. Every alert needs"),
        (notification(alert_fingerprint=...), "`$.alerts[0].fingerprint` is missing. Every alert needs"),
        (notification(alert_status=...), "`$.alerts[0].status` is missing. Every alert needs"),
        (notification(alert_startsAt=...), "`$.alerts[0].startsAt` is missing. Every alert needs"),
        (notification(alert_startsAt=1795561675), NOT_ONE + "Expected `str`, got `int`"),
        (notification(alert_startsAt="0001-01-01T00:00:00Z"), "`$.alerts[0].startsAt` has no year."),
        (notification(alert_status="pending"), '`$.alerts[0].status` is neither "firing" nor "resolved".'),
        (notification(alert_fingerprint="8b65 9b40b930461"),
            "`$.alerts[0].fingerprint` is not 1 to 64 visible ASCII characters."),
        (notification(alert_fingerprint="f" * 65), "`$.alerts[0].fingerprint` is not 1 to 64 visible ASCII characters."),
        (notification(alert_fingerprint="8b6529b40b930461\n"),
            "`$.alerts[0].fingerprint` is not 1 to 64 visible ASCII characters."),
        (notification(version="3"), '`$.version` is neither "1" (Grafana) nor "4" (Alertmanager).'),
        (notification(version=1), NOT_ONE + "Expected `str | null`, got `int` - at `$.version`."),
        (notification(truncatedAlerts=-1), NOT_ONE + "Expected `int` >= 0 - at `$.truncatedAlerts`."),
        (notification(truncatedAlerts=10**400), NOT_ONE),
        (notification(orgId=10**30), NOT_ONE),
        (notification(orgId=2**53 + 1), NOT_ONE),
        (notification(orgId=-1), NOT_ONE),
        (notification(orgId="1"), NOT_ONE),
        (b'{"alerts":1e400}', NOT_ONE),
        (b"[" * 1_000_000, NOT_ONE),
        (b'{"x":' * 200_000, "The body is nested too deeply."),
        (b'{"x":' + b"[" * 1_000_000 + b"]" * 1_000_000 + b"}", "The body is nested too deeply."),
    ],
)  # fmt: skip
def test_what_is_no_notification_is_refused_with_the_remedy(body, said):
    """Whoever knows the secret but sends something else gets 400 and is told what to do about it."""
    with pytest.raises(BadRequest) as caught:
        parse(body)
    assert caught.value.status == 400
    assert caught.value.sentence.startswith(said)
    assert caught.value.sentence.endswith(
        'If the contact point has a custom payload, remove it or make it {{ template "webhook.default.payload" . }}.'
    )
    assert len(caught.value.sentence.encode()) <= 1024


@pytest.mark.parametrize(
    "body",
    [
        notification(values={"A": 1}, message=None, title=7, state=["x"], enrichments=None, newField={"deep": [1, {}]}),
        notification(alert_values=None),
        notification(alert_values={"A": 1e300, "B": -0.0}),
        notification(alert_orgId="x"),
        notification(version=...),
        notification(receiver=..., groupKey=..., externalURL=...),
        notification(alert_annotations=...),
        notification(alert_ruleUID=None),
        notification(orgId=None),
        notification(orgId=0, truncatedAlerts=0),
        notification(orgId=2**53, truncatedAlerts=2**53),
        notification(status="nonsense"),
        notification() + b"\n",
        b'{"version":"9",' + notification()[1:],
        b'{"bomb":' + b"9" * 100_000 + b"," + notification()[1:],
        b'{"bomb":1e400,' + notification()[1:],
        b'{"bomb":"\xff",' + notification()[1:],
    ],
)
def test_what_is_not_needed_is_passed_over(body):
    """New, missing and odd fields that decide nothing do not cost an alert; of a name that comes twice the last counts."""
    (alert,) = parse(body)
    assert (alert.fingerprint, alert.firing, alert.starts_at, alert.name) == ("8b6529b40b930461", True, 1795561675.0, "X")


@pytest.mark.parametrize(
    ("external_url", "org", "source"),
    [
        ("https://g.example.com/", 1, "https://g.example.com/#1"),
        ("https://g.example.com/", 0, "https://g.example.com/#0"),
        ("http://am:9093", ..., "http://am:9093#"),
        ("http://am:9093", None, "http://am:9093#"),
        (..., ..., "#"),
    ],
)
def test_source_is_external_url_and_organisation(external_url, org, source):
    """Fingerprints are unique only within one organisation of one Grafana, so both are part of an alert's identity."""
    assert parse(notification(externalURL=external_url, orgId=org))[0].source == source


@pytest.mark.parametrize(
    ("changes", "test"),
    [
        ({}, True),
        ({"alert_generatorURL": "?orgId=7"}, True),
        ({"alert_generatorURL": ...}, True),
        ({"alert_ruleUID": ""}, True),
        ({"receiver": "test", "groupKey": "test-57c6d9296de2ad39-1795561723"}, True),
        ({"receiver": "mail {1}", "groupKey": "mail {1}-57c6d9296de2ad39-1795561723"}, True),
        ({"groupKey": "whatever a later release writes"}, True),
        ({"groupKey": '{}:{alertname="webhook-"}'}, False),
        ({"groupKey": ...}, False),
        ({"alert_ruleUID": "eg5k"}, False),
        ({"alert_generatorURL": "https://g.example.com/rule"}, False),
    ],
)
def test_the_test_button_is_known_by_all_its_signs(changes, test):
    """I3: an alert that no policy has sent and that no rule has made restarts nothing, whichever release made it."""
    signs = {"receiver": "webhook", "groupKey": "webhook-57c6d9296de2ad39-1795561723", "alert_generatorURL": ""}
    body = notification(**signs | changes)
    assert parse(body)[0].test is test


@pytest.mark.parametrize(
    "url",
    [
        "", "?orgId=7", "/relative", "javascript:alert(1)", "data:text/html,x", "file:///etc/passwd", "ftp://x/", "https://a b",
        "https://x\n", "https://x/\u0000", "https://x/\u2028", "https://x/\u202egpj.exe", " https://x/", "//x/", "HTTPS:x",
    ],
)  # fmt: skip
def test_links_that_nobody_should_follow_are_dropped(url):
    """Only http and https links without blanks, control and invisible characters reach people."""
    fields = {f"alert_{name}URL": url for name in ("generator", "silence", "dashboard", "panel")}
    (alert,) = parse(notification(**fields))
    assert (alert.generator_url, alert.silence_url, alert.dashboard_url, alert.panel_url) == ("", "", "", "")


# --- the notifications that `send` makes ----------------------------------------------------------------------------------

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
