"""Answers that once came out of a client as an error that no caller knows, or never: each counts as no answer."""

import gc
import json
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from functions.adapters.chats.slack import Slack
from functions.adapters.schedulers import cloud_tasks
from functions.adapters.stores.cloud_storage import CloudStorage
from functions.domain.model.cards import Card
from functions.runtime import secrets
from functions.runtime.errors import Unavailable
from functions.runtime.google_cloud import Service
from functions.runtime.secrets import SecretRef
from testbed.doubles.anything import DRIP, Anything
from testbed.patience import PATIENCE_S

# Sockets that Google's client leaves behind
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")

SECRET = "S3CR3T-do-not-show"
IN_S = 3.0
"""A client imports much at its first call, and what lists without end is asked for all of that time."""
WEBHOOK = SecretRef("env://ODD_WEBHOOK")
BUCKET = CloudStorage("bucket-one")
QUEUE = cloud_tasks.CloudTasks("projects/p/locations/l/queues/q", "https://v.invalid/", "verify@example.com")
OBJECT = {"name": "documents/a.json", "generation": "7"}
CALLS = {
    "slack": lambda: Slack(url=WEBHOOK).post(Card("x", "act", "h"), thread=None, language="en", timeout_s=IN_S),
    "secret": lambda: secrets.read("sm://p-1/token", now=0.0),
    "wake": lambda: QUEUE.wake(1.0, "payload", timeout_s=IN_S),
    "list": lambda: BUCKET.list_documents(timeout_s=IN_S),
    "archive": lambda: BUCKET.list_archive(since="2026", timeout_s=IN_S),
    "load": lambda: BUCKET.load("a", timeout_s=IN_S),
    "save": lambda: BUCKET.save("a", b"{}", generation="5", due=1.5, timeout_s=IN_S),
}


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Anything]:
    """In the place of all these systems. Leftovers of Google's client must not fail the next test."""
    with Anything() as anything:
        for name in (secrets.ENDPOINT, cloud_tasks.ENDPOINT, "STORAGE_EMULATOR_HOST"):
            monkeypatch.setenv(name, anything.url)
        monkeypatch.setenv("ODD_WEBHOOK", f"{anything.url}/services/T/B/{SECRET}")
        yield anything
    gc.collect()


def answer(body: bytes, *headers: str, status: int = 200) -> bytes:
    """Headers and body as they stand, whatever contradicts the other."""
    return "".join(f"{line}\r\n" for line in (f"HTTP/1.1 {status} OK", *headers, "")).encode() + body


def as_json(content: Any, status: int = 200) -> bytes:
    body = json.dumps(content).encode()
    return answer(body, "Content-Type: application/json", f"Content-Length: {len(body)}", status=status)


def test_nothing_of_google_that_drips_holds_a_call(server: Anything, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Google's library asks the metadata server three times whether it is there, before it asks for a token."""
    monkeypatch.setenv("GCE_METADATA_IP", f"127.0.0.1:{server.port}")
    monkeypatch.setenv("CLOUDSDK_CONFIG", str(tmp_path))
    server.answers = [DRIP + b"HTTP/1.1 200 " + b"x" * 300]
    storage = Service("Cloud Storage", "http://127.0.0.1:1", "NONE", {})
    for call, said in (CALLS["secret"], "did not answer"), (partial(storage.send, "GET", "/", timeout_s=0.3), "access token"):
        began = time.monotonic()
        with pytest.raises(Unavailable, match=said):
            call()
        assert time.monotonic() - began < PATIENCE_S / 3


@pytest.mark.parametrize(
    ("call", "said"),
    [
        pytest.param("slack", answer(b"", "Location: //[", status=302), id="an address that is none"),
        pytest.param("secret", answer(b""), id="an empty answer of Secret Manager"),
        pytest.param("secret", as_json({"payload": {"data": [SECRET]}}), id="a secret of the wrong type"),
        pytest.param("wake", as_json({"error": {"details": [None]}}, status=504), id="details that are none"),
        pytest.param("list", answer(b"<html>"), id="a page in Cloud Storage's place"),
        pytest.param("list", as_json({"nextPageToken": "for ever"}), id="a list without end"),
        pytest.param("list", as_json({"nextPageToken": "\ud800"}), id="half of a letter for the next page"),
        pytest.param("list", as_json({"items": [OBJECT | {"metadata": {"unstick-due": "soon"}}]}), id="no time"),
        pytest.param("list", as_json({"items": [{}]}), id="an object without a name"),
        pytest.param("archive", as_json({"items": [{"name": "\ud800"}]}), id="half of a letter for a name"),
        pytest.param("load", answer(b"{}", "X-Goog-Generation: "), id="a generation that is none"),
        pytest.param("load", answer(b"{}"), id="no generation"),
        pytest.param("save", as_json(17), id="a figure instead of an object"),
        pytest.param("save", as_json(OBJECT | {"generation": {}}), id="a generation of the wrong type"),
    ],
)
def test_what_broke_a_client_once_counts_as_no_answer(server: Anything, call: str, said: bytes) -> None:
    """Found by a fuzzer of all clients."""
    server.answers = [said]
    with pytest.raises(Unavailable) as caught:
        CALLS[call]()
    assert SECRET not in str(caught.value)
