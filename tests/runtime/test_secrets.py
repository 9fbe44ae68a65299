"""References to secrets: what they yield, how long it is kept, and that nothing of it shows."""

import base64
import json
import logging
import os
import stat
import subprocess
import sys
import threading
import traceback
from concurrent.futures import ThreadPoolExecutor

import pytest
from pytest_httpserver import HTTPServer
from werkzeug import Request, Response

from functions.runtime import secrets
from functions.runtime.errors import ConfigError, Denied, Unavailable
from functions.runtime.secrets import SecretRef
from testbed.patience import PATIENCE_S
from testbed.unstick_process import ROOT

SECRET = b"correct-horse"
PATH, PATH_7 = (f"/v1/projects/p-1/secrets/token/versions/{version}:access" for version in ("latest", "7"))
REFERENCE = "sm://p-1/token"


class Manager:
    """Secret Manager over HTTP, with one secret that can be rotated and made to fail."""

    def __init__(self, server: HTTPServer) -> None:
        self.value = SECRET
        self.status = 200
        self.asked: list[str] = []
        for path in (PATH, PATH_7):
            server.expect_request(path).respond_with_handler(self.answer)

    def answer(self, request: Request) -> Response:
        self.asked.append(request.path)
        assert "Authorization" not in request.headers, "a stand-in gets no credentials"
        if self.status != 200:
            said = {"error": {"code": self.status, "message": "as Google says", "status": "X"}}
            return Response(json.dumps(said), self.status, content_type="application/json")
        data = base64.b64encode(self.value).decode()
        said = {"name": request.path[4:].removesuffix(":access"), "payload": {"data": data}}
        return Response(json.dumps(said), 200, content_type="application/json")


@pytest.fixture
def manager(httpserver: HTTPServer, monkeypatch: pytest.MonkeyPatch) -> Manager:
    monkeypatch.setenv("UNSTICK_SECRET_MANAGER_ENDPOINT", httpserver.url_for("").rstrip("/"))
    monkeypatch.setattr(secrets, "TIMEOUT_S", PATIENCE_S)
    return Manager(httpserver)


@pytest.mark.parametrize(
    ("content", "secret"),
    [(b"abc", b"abc"), (b"abc\n", b"abc"), (b"abc\n\n", b"abc\n"), (b" abc \r\n", b" abc \r"), (b"\x00\xff\n", b"\x00\xff")],
)
def test_a_file_loses_exactly_one_newline(tmp_path, content, secret):
    """Editors put a newline at a file's end; all else belongs to the secret."""
    path = tmp_path / "secret"
    path.write_bytes(content)
    assert SecretRef(f"file://{path}").read() == secret


@pytest.mark.parametrize(
    "reference",
    [
        *("env://NOT_SET_ANYWHERE", "env://EMPTY", "file://{tmp}/none", "file://{tmp}", "file://{tmp}/empty/none"),
        *("file://{tmp}/empty", "file://{tmp}/huge"),
    ],
)
def test_what_can_not_be_read_says_what_to_do(tmp_path, monkeypatch, reference):
    """Each refusal names the reference and a remedy; an empty secret is refused, since it would match anybody's."""
    monkeypatch.setenv("EMPTY", "")
    (tmp_path / "empty").write_bytes(b"\n")
    (tmp_path / "huge").write_bytes(b"x" * 70_000)
    reference = reference.replace("{tmp}", str(tmp_path))
    with pytest.raises(Denied) as caught:
        SecretRef(reference).read()
    assert reference in str(caught.value.detail)
    assert "correct the reference" in str(caught.value.remedy)


@pytest.mark.parametrize(
    "text",
    [
        "hunter2", "", "env://", "env://A-B", "file://", "sm://p", "sm://P/x", "sm://p/x/1/2", "sm://p/../x", "ENV://A", "http://x",
        "env://A\n",
    ],
)  # fmt: skip
def test_what_is_no_reference_is_refused_without_being_repeated(text):
    """A literal secret in the place of a reference shows neither in the error nor in its traceback."""
    with pytest.raises(ConfigError) as caught:
        SecretRef(text)
    if text.strip():
        assert text not in str(caught.value).replace(secrets.FORMS, "")
        assert text not in "".join(traceback.format_exception(caught.value)).replace(secrets.FORMS, "")
    assert "env://NAME" in str(caught.value)


@pytest.mark.parametrize(("reference", "path"), [(REFERENCE, PATH), (f"{REFERENCE}/7", PATH_7)])
def test_secret_manager_is_asked_once_in_five_minutes(manager, reference, path):
    """sm:// asks for the newest version, or for the one that is named."""
    assert secrets.read(reference, now=0.0) == secrets.read(reference, now=299.0) == SECRET
    assert manager.asked == [path]
    assert secrets.read(reference, now=300.0) == SECRET
    assert len(manager.asked) == 2


def test_googles_client_begins_with_all_of_requests():
    """The first alert asks all systems on threads. One that imports a part of requests first, such as requests.exceptions, can
    lock out one that imports requests, and be locked out by it: Python then raises in one of them."""
    script = """
import builtins, sys
from contextlib import suppress
from functions.runtime import errors, secrets
first, load = [], __import__
def note(name, *given, **named):
    if name.startswith("requests") and "requests" not in sys.modules:
        first.append(name)
    return load(name, *given, **named)
builtins.__import__ = note
with suppress(errors.Unavailable):
    secrets.read('sm://p-1/token', now=0.0)
print(*first)
"""
    environment = os.environ | {secrets.ENDPOINT: "http://127.0.0.1:9"}
    ran = subprocess.run([sys.executable, "-c", script], cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert (ran.stdout, ran.stderr) == ("requests\n", "")


def test_a_secret_that_is_said_to_be_wrong_is_read_again_once_a_minute(manager):
    """After `invalidate` the next read sees a rotation at once; a second call waits until the minute is over."""
    ref = SecretRef(REFERENCE)
    assert secrets.read(REFERENCE, now=-60.0) == SECRET
    manager.value = b"rotated"
    ref.invalidate()
    assert secrets.read(REFERENCE, now=5.0) == b"rotated"
    for second in range(6, 65):
        ref.invalidate()
        assert secrets.read(REFERENCE, now=float(second)) == b"rotated"
    assert len(manager.asked) == 2
    assert secrets.read(REFERENCE, now=65.0) == b"rotated"
    assert len(manager.asked) == 3


@pytest.mark.parametrize(
    ("status", "kind", "remedy"),
    [
        *((status, Denied, "secretmanager.secretAccessor") for status in (400, 403, 404)),
        (429, Unavailable, ""), (500, Unavailable, ""), (503, Unavailable, ""),
    ],
)  # fmt: skip
def test_secret_managers_errors_say_what_to_do(manager, status, kind, remedy):
    """A clear no is Denied with its remedy, what may pass is Unavailable; both name the reference, and neither is hammered."""
    manager.status = status
    with pytest.raises(kind) as caught:
        secrets.read(REFERENCE, now=0.0)
    assert REFERENCE in str(caught.value)
    assert remedy in str(getattr(caught.value, "remedy", ""))
    with pytest.raises(kind):
        secrets.read(REFERENCE, now=1.9)
    assert len(manager.asked) == 1
    manager.status = 200
    assert secrets.read(REFERENCE, now=2.0) == SECRET, "kept for longer it refused every wake-up that came meanwhile"


def test_an_outage_does_not_take_a_known_secret_away(manager):
    """While Secret Manager is down the former value goes on; a clear no ends it."""
    assert secrets.read(REFERENCE, now=0.0) == SECRET
    manager.status = 503
    assert secrets.read(REFERENCE, now=300.0) == secrets.read(REFERENCE, now=301.9) == SECRET
    assert len(manager.asked) == 2, "each question may take seconds, and the value is there"
    manager.status = 403
    with pytest.raises(Denied):
        secrets.read(REFERENCE, now=302.0)


@pytest.mark.parametrize(("reference", "version"), [(REFERENCE, "latest"), (f"{REFERENCE}/7", "7")])
def test_what_is_mounted_is_read_there(manager, tmp_path, monkeypatch, reference, version):
    """Where Cloud Run mounted the secret, nobody waits for Google's client. What is not there, or can't be read, is asked for:
    Secret Manager's own answer has the remedy."""
    monkeypatch.setenv("UNSTICK_SECRETS_DIR", str(tmp_path))
    folder = tmp_path / "p-1" / "token"
    folder.mkdir(parents=True)
    (folder / version).write_bytes(b"mounted\n")
    assert secrets.read(reference, now=0.0) == b"mounted"
    (folder / version).write_bytes(b"rotated")
    assert secrets.read(reference, now=299.0) == b"mounted"
    assert secrets.read(reference, now=300.0) == b"rotated"
    assert manager.asked == []
    (folder / version).rename(folder / "another")
    assert secrets.read(reference, now=600.0) == SECRET
    (folder / version).mkdir()
    manager.status = 403
    with pytest.raises(Denied, match="answered 403"):
        secrets.read(reference, now=900.0)


def test_threads_fetch_once(manager):
    """Twenty requests that arrive together on a fresh instance make one call."""
    start = threading.Barrier(20, timeout=PATIENCE_S)
    with ThreadPoolExecutor(20) as threads:
        assert set(threads.map(lambda _: start.wait() >= 0 and SecretRef(REFERENCE).read(), range(20))) == {SECRET}
    assert len(manager.asked) == 1


def test_no_secret_shows(manager, caplog):
    """Neither repr nor log nor what is kept in memory shows the value as text."""
    caplog.set_level(logging.DEBUG)
    ref = SecretRef(REFERENCE)
    ref.read()
    shown = repr(ref) + repr(secrets.KEPT) + caplog.text
    assert SECRET.decode() not in shown
    assert base64.b64encode(SECRET).decode() not in shown


def test_a_key_that_is_made_is_the_same_for_everybody(tmp_path):
    """Eight threads need it at once, as the workers of a server do: one file, for its owner only, and nothing else is left."""
    path = tmp_path / "unstick.db.key"
    ref = SecretRef(f"file://{path}", made=True)
    with ThreadPoolExecutor(8) as threads:
        values = set(threads.map(lambda _: ref.read(), range(8)))
    assert values == {path.read_bytes().strip()}
    assert len(path.read_bytes()) == 65
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert list(tmp_path.iterdir()) == [path]


def test_a_key_that_others_may_know_signs_nothing(tmp_path):
    path = tmp_path / "unstick.db.key"
    path.write_text("k" * 64)
    for mode in (0o666, 0o640):
        path.chmod(mode)
        with pytest.raises(Denied, match="others may have made or read") as caught:
            SecretRef(f"file://{path}", made=True).read()
        assert "chmod 600" in str(caught.value)
    path.chmod(0o600)
    assert SecretRef(f"file://{path}", made=True).read() == b"k" * 64


@pytest.mark.parametrize("endpoint", ["http://example.com", "https://127.0.0.1:1", "127.0.0.1:80"])
def test_the_endpoint_of_tests_must_be_loopback(monkeypatch, endpoint):
    """Nobody can send the function elsewhere for its secrets by an environment variable."""
    monkeypatch.setenv("UNSTICK_SECRET_MANAGER_ENDPOINT", endpoint)
    with pytest.raises(Denied, match="loopback"):
        SecretRef(REFERENCE).read()
