"""What other systems answer, hostile or broken, never becomes more than an error of the project's; and `make fuzz` can begin."""

import gc
import json
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from functions.runtime import secrets
from functions.runtime.errors import Unavailable
from testbed.patience import PATIENCE_S
from tests.adapters.fuzz.clients import CLIENTS, ENCODED, OBJECT, SECRET, answer, as_json, heard
from tests.adapters.fuzz.targets import TARGETS, seeds

pytestmark = [
    pytest.mark.filterwarnings("ignore:'imghdr' is deprecated:DeprecationWarning"),  # apprise on Python 3.11
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),  # sockets that Google's clients leave behind
]
REFUSAL = {
    "error": {
        "code": 403, "message": "no", "status": "PERMISSION_DENIED", "errors": [{"message": "no", "domain": "global"}],
        "details": [{"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "1s"}],
    }
}  # fmt: skip
STATUSES = [200] * 10 + [*range(200, 207), *range(300, 309), *range(400, 418), 429, 429, 500, 503, 600, 0]
HEADERS = (
    "Content-Type: text/plain", "Content-Type: text/html; charset=klingon", "Content-Encoding: gzip", "Content-Encoding: deflate",
    "Transfer-Encoding: chunked", "Content-Length: 5", "Content-Length: -1", "Content-Length: abc", "Content-Length: 99999999999",
    "Retry-After: 0.05", "Retry-After: nan", "Retry-After: -1", "Retry-After: 1e999", "Retry-After: tomorrow",
    "Location: http://127.0.0.1:1/", "Location: //[", "Location: ", "X-Goog-Generation: abc", "X-Goog-Generation: ",
    "X-Goog-Generation: 77", "X-Goog-Hash: md5=AAAA", "X-Goog-Hash: crc32c", "X-Goog-Hash: md5=\xff", "Content-Range: x",
    "X-Goog-Stored-Content-Length: abc", "X-Goog-Stored-Content-Encoding: gzip", "WWW-Authenticate: Bearer",
    "Broken header", "X-A: \x00", ": empty", "Last-Modified: yesterday", f"Set-Cookie: a={SECRET}", f"X-Echo: {SECRET}",
)  # fmt: skip
BODIES = (b"", b"[" * 20_000, b"<html>" + SECRET.encode(), b"\xff\xfe", b"NaN", b'{"a": 1e999}', b"\x1f\x8b\x08garbage", b"null")
VALUES = ("", "-1", "abc", "9" * 40, "\ud800", "2026-13-45T99:00:00Z", "=", SECRET, ENCODED, 10**400, -1, 0.5, True, None)
JUNK = st.recursive(
    st.sampled_from(VALUES) | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["error", "message", "name"]), inner, max_size=3),
    max_leaves=5,
)
RARELY = st.integers(0, 11).map(lambda rolled: rolled == 11)


@pytest.fixture(scope="module", autouse=True)
def _nothing_left_to_collect() -> Iterator[None]:
    """Leftovers of Google's clients must not fail the next test."""
    yield
    gc.collect()


@pytest.mark.parametrize("name", TARGETS)
def test_each_target_of_the_fuzzer_takes_its_seeds(name: str) -> None:
    """There are some, so that it begins with what is real."""
    all_seeds = list(seeds(name))
    assert all_seeds
    for seed in all_seeds:
        TARGETS[name](seed)


@st.composite
def nearly(draw: st.DrawFn, value: Any) -> Any:
    """The value with some parts left out, and others exchanged for something of the wrong type."""
    if draw(RARELY):
        return draw(JUNK)
    if isinstance(value, dict):
        return {name: draw(nearly(inner)) for name, inner in value.items() if not draw(RARELY)}
    if isinstance(value, list):
        return [draw(nearly(inner)) for inner in value]
    return value


@st.composite
def answers(draw: st.DrawFn, adapters: tuple[Any, ...]) -> bytes:
    """What the server really says, changed, cut off, with headers that contradict it; or none of that."""
    said = st.sampled_from([*adapters, *adapters, REFUSAL]).flatmap(nearly).map(lambda content: json.dumps(content).encode())
    body = draw(said | said | said | st.sampled_from(BODIES) | st.binary(max_size=60))
    if draw(RARELY):
        body = body[: draw(st.integers(0, len(body)))]
    headers = [
        "Content-Type: application/json",
        f"Content-Length: {len(body)}",
        *draw(st.lists(st.sampled_from(HEADERS), max_size=3)),
    ]
    left_out = {0, 1} & draw(st.sets(st.integers(0, 7), max_size=2))
    shown = [header for place, header in enumerate(headers) if place not in left_out]
    reason = draw(st.sampled_from(["OK", "", SECRET, "\xff"]))
    return answer(draw(st.sampled_from(STATUSES)), body, *shown, reason=reason)


@pytest.mark.long
@pytest.mark.parametrize("name", CLIENTS)
def test_no_answer_breaks_a_client_or_shows_its_secret(name: str) -> None:
    """Whatever a server says, its caller gets a result or an error that it knows, in bounded time, without the secret."""

    @settings(database=None, suppress_health_check=list(HealthCheck), phases=(Phase.generate, Phase.shrink))
    @given(st.lists(answers(CLIENTS[name].adapters) | st.binary(max_size=100), min_size=1, max_size=3))
    def anything(said: list[bytes]) -> None:
        heard(name, said)

    anything()


@pytest.mark.long
@pytest.mark.parametrize("name", CLIENTS)
def test_a_sound_answer_is_taken(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the faults each client gets on, so the test above is about the faults."""
    monkeypatch.setattr(secrets, "TIMEOUT_S", PATIENCE_S)
    adapters = [as_json(content, "X-Goog-Generation: 7") for content in CLIENTS[name].adapters]
    if name.startswith(("slack", "rundeck")):
        adapters = adapters[:1]
    last = {"cloud storage, archive": [as_json({})], "cloud storage, list": [], "cloud storage, check": [as_json({"items": []})]}
    outcome = heard(name, [*adapters, *last.get(name, [])], PATIENCE_S)
    assert not isinstance(outcome, Exception), outcome


IMPORTED_IN_S = 3.0
"""A client imports much at its first call, and what lists without end is asked for all of that time."""


@pytest.mark.parametrize(
    ("name", "said"),
    [
        pytest.param("slack, webhook", answer(302, b"", "Location: //["), id="an address that is none"),
        pytest.param("secret manager", answer(200, b""), id="an empty answer of Secret Manager"),
        pytest.param("secret manager", as_json({"payload": {"data": [SECRET]}}), id="a secret of the wrong type"),
        pytest.param("cloud tasks, wake", answer(200, b"<html>"), id="a page in Cloud Tasks' place"),
        pytest.param("cloud tasks, wake", as_json({"error": {"details": [None]}}, status=504), id="details that are none"),
        pytest.param("cloud storage, list", answer(200, b"<html>"), id="a page in Cloud Storage's place"),
        pytest.param("cloud storage, list", as_json({"nextPageToken": "for ever"}), id="a list without end"),
        pytest.param("cloud storage, list", as_json({"nextPageToken": "\ud800"}), id="half of a letter for the next page"),
        pytest.param("cloud storage, list", as_json({"items": [OBJECT | {"metadata": {"unstick-due": "soon"}}]}), id="no time"),
        pytest.param("cloud storage, list", as_json({"items": [{}]}), id="an object without a name"),
        pytest.param("cloud storage, archive", as_json({"items": [{"name": "\ud800"}]}), id="half of a letter for a name"),
        pytest.param("cloud storage, load", answer(200, b"{}", "X-Goog-Generation: "), id="a generation that is none"),
        pytest.param("cloud storage, load", answer(200, b"{}"), id="no generation"),
        pytest.param("cloud storage, save", as_json(17), id="a figure instead of an object"),
        pytest.param("cloud storage, save", as_json(OBJECT | {"generation": {}}), id="a generation of the wrong type"),
    ],
)  # fmt: skip
def test_what_broke_a_client_once_counts_as_no_answer(name: str, said: bytes) -> None:
    """Found by the test above: each came out as an error that no caller knows, or never."""
    assert isinstance(heard(name, [said], IMPORTED_IN_S), Unavailable)
