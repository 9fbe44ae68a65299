"""Both stores keep one contract; then what each does with its own troubles."""

import json
import re
import secrets
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from google.auth.credentials import AnonymousCredentials
from google.cloud.storage import Client
from pytest_httpserver import HTTPServer
from werkzeug import Request, Response

from functions.adapters.sqlite import open_file
from functions.adapters.stores import cloud_storage, local
from functions.application.ports import Listed
from functions.runtime.errors import Conflict, Denied, Unavailable
from testbed.doubles.cloud_storage import cloud_storage as cloud_storage_double
from testbed.patience import PATIENCE_S

ROOT = Path(__file__).parents[3]
CALLS = {
    "load": lambda store, timeout_s: store.load("a", timeout_s=timeout_s),
    "create": lambda store, timeout_s: store.save("a", b"", generation=None, due=1.0, timeout_s=timeout_s),
    "update": lambda store, timeout_s: store.save("a", b"", generation="5", due=None, timeout_s=timeout_s),
    "listed": lambda store, timeout_s: store.list_documents(timeout_s=timeout_s),
    "archive": lambda store, timeout_s: store.archive("incidents/2026-01-01/a.json", b"", timeout_s=timeout_s),
    "one archived": lambda store, timeout_s: store.read_archived("evidence/a.txt", timeout_s=timeout_s),
    "paths": lambda store, timeout_s: store.list_archive(since="2026-01-01", timeout_s=timeout_s),
}
BODY = '{"配送": "止まった 🐇"}'.encode()


@dataclass
class Lab:
    """A store, with time enough for each call."""

    store: Any
    cut_off: Callable[[], None]
    """From now on, nothing can be saved, and it can't be known for how long."""

    def save(self, key: str, body: bytes = b"{}", *, generation: Any = None, due: Any = None) -> str:
        return str(self.store.save(key, body, generation=generation, due=due, timeout_s=PATIENCE_S))

    def __getattr__(self, name: str) -> Any:
        return partial(getattr(self.store, name), timeout_s=PATIENCE_S)


@pytest.fixture(scope="module")
def gcs() -> Iterator[str]:
    with cloud_storage_double("bucket-one") as url:
        yield url


@pytest.fixture
def local_lab(tmp_path: Path) -> Iterator[Lab]:
    path = tmp_path / "unstick.db"
    held: list[sqlite3.Connection] = []

    def lock() -> None:
        held.append(sqlite3.connect(path, isolation_level=None, timeout=PATIENCE_S))
        held[0].execute("BEGIN IMMEDIATE")

    yield Lab(local.LocalStore(str(path)), lock)
    for connection in held:
        connection.close()


@pytest.fixture
def cloud_lab(gcs: str, monkeypatch, closed_port) -> Lab:
    """Each test has a bucket of its own."""
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", gcs)
    bucket = f"bucket-{secrets.token_hex(8)}"
    Client(project="p", credentials=AnonymousCredentials()).create_bucket(bucket)

    def leave() -> None:
        monkeypatch.setenv("STORAGE_EMULATOR_HOST", f"http://127.0.0.1:{closed_port}")

    return Lab(cloud_storage.CloudStorage(bucket), leave)


@pytest.fixture(params=["local", "cloud_storage"])
def store(request) -> Lab:
    lab: Lab = request.getfixturevalue("local_lab" if request.param == "local" else "cloud_lab")
    return lab


def test_only_who_loaded_the_newest_one_saves(store):
    """Every save makes a generation of its own. Any other is a Conflict, and what somebody else saved meanwhile stays.

    Without a generation, a document is made only where there is none; with one, only where there is one.
    """
    assert store.load("a") is None
    first = store.save("a")
    second = store.save("a", BODY, generation=first)
    third = store.save("a", b"theirs", generation=store.load("a").generation)
    assert len({first, second, third}) == 3
    for key, stale in (("a", first), ("a", second), ("a", None), ("b", "12345")):
        with pytest.raises(Conflict):
            store.save(key, b"ours", generation=stale)
    assert (store.load("a").body, store.load("a").generation) == (b"theirs", third)
    assert store.load("b") is None


@pytest.mark.parametrize("exists", [False, True], ids=["create", "update"])
def test_of_40_parallel_saves_one_wins(store, exists):
    """I1 stands on this: of any number of writers at the same moment, exactly one is told that it saved."""
    generation = store.save("a", b"before") if exists else None
    together = threading.Barrier(40, timeout=PATIENCE_S)
    outcomes: list[Any] = []

    def write(number: int) -> None:
        together.wait()
        try:
            outcomes.append((number, store.save("a", b"%d" % number, generation=generation)))
        except Conflict:
            outcomes.append(None)

    threads = [threading.Thread(target=write, args=(number,)) for number in range(40)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    winners = [each for each in outcomes if each]
    assert len(outcomes) == 40
    assert len(winners) == 1
    assert store.load("a").body == b"%d" % winners[0][0]
    assert store.load("a").generation == winners[0][1]


def test_due_is_listed_without_reading(store):
    """All documents are listed with the `due` of their newest save, None when closed."""
    assert store.list_documents() == []
    store.save("a", due=1_700_000_000.123456)
    generation = store.save("b", due=5.0)
    store.save("c")
    store.save("b", generation=generation, due=None)
    assert store.list_documents() == [Listed("a", 1_700_000_000.123456), Listed("b", None), Listed("c", None)]


def test_archive_is_read_by_date_or_path_and_replaced(store):
    """It comes oldest first from a date on, or one file by its path, None where there is none; the same path again replaces.

    Nothing of it is a document, and evidence is not listed as an incident.
    """
    for day in ("2026-01-02", "2025-12-31", "2026-01-01"):
        for name in ("b", "a"):
            store.archive(f"incidents/{day}/{name}.json", f"{day} {name}".encode())
    store.archive("incidents/2026-01-02/a.json", BODY)
    store.archive("evidence/a.txt", b"main thread\n")
    paths = [f"incidents/2026-01-{day}.json" for day in ("01/a", "01/b", "02/a", "02/b")]
    assert store.list_archive(since="2026-01-01") == paths
    assert store.list_archive(since="2026-01-03") == []
    assert [store.read_archived(path) for path in paths] == [b"2026-01-01 a", b"2026-01-01 b", BODY, b"2026-01-02 b"]
    assert store.read_archived("evidence/a.txt") == b"main thread\n"
    assert store.read_archived("evidence/b.txt") is None
    assert store.list_documents() == []


def test_cut_off_is_unavailable(store):
    """Without a usable answer it is Unavailable, within the time given. To `check` it is a finding with a remedy."""
    generation = store.save("a", b"before")
    with pytest.raises(Unavailable) as caught:
        store.load("a", timeout_s=0)
    assert caught.value.late
    store.cut_off()
    began = time.monotonic()
    with pytest.raises(Unavailable):
        store.store.save("a", b"after", generation=generation, due=None, timeout_s=0.3)
    assert time.monotonic() - began < PATIENCE_S / 2
    (finding,) = store.check(timeout_s=0.3)
    assert (finding.ok, bool(finding.detail), bool(finding.remedy)) == (False, True, True)


def test_check_passes_and_leaves_nothing(store):
    """`check` tries compare-and-set for real and cleans up."""
    assert [finding.ok for finding in store.check()] == [True]
    assert store.list_documents() == []


COUNT_UP = """
import os, sys
from functions.runtime.errors import Conflict
from functions.adapters.stores import local
settings = local.LocalStore(sys.argv[1])
forks = int(sys.argv[2])
if forks:
    settings.load("n", timeout_s=120)
pids = [pid for pid in (os.fork() for _ in range(forks))] if forks == 1 else []
for done in range(30):
    while True:
        now = settings.load("n", timeout_s=120)
        try:
            body = str(int(now.body) + 1 if now else 1).encode()
            settings.save("n", body, generation=now and now.generation, due=None, timeout_s=120)
            break
        except Conflict:
            pass
if pids and pids[0]:
    sys.exit(os.waitpid(pids[0], 0)[1])
"""


def test_processes_share_one_file(local_lab):
    """Six processes that all make the file and count up in it, two of them forked after they had used it, lose no step."""
    command = [sys.executable, "-W", "error", "-c", COUNT_UP, local_lab.store.path]
    running = [subprocess.Popen([*command, forks], cwd=ROOT, stderr=subprocess.PIPE) for forks in ("0", "0", "1", "1")]
    assert [(process.communicate(timeout=2 * PATIENCE_S)[1], process.returncode) for process in running] == [(b"", 0)] * 4
    assert local_lab.load("n").body == b"180"


def test_the_file_is_its_owners(local_lab):
    """Documents hold labels and links: nobody else on the machine reads them, nor SQLite's files beside them."""
    local_lab.save("a")
    with sqlite3.connect(local_lab.store.path) as other:
        other.execute("SELECT * FROM documents").fetchall()
        modes = {path.name: path.stat().st_mode & 0o777 for path in Path(local_lab.store.path).parent.iterdir()}
    other.close()
    assert set(modes.values()) == {0o600}
    assert "unstick.db-wal" in modes


ANOTHER = "import sqlite3, sys; file = sqlite3.connect(sys.argv[1]); file.execute('DELETE FROM sweeps'); file.close()"


def test_another_process_never_takes_itself_for_the_last_one(tmp_path):
    """Closing any descriptor of a file drops all of a process's locks on it (POSIX). SQLite's own are kept all the same, else
    another process would throw away the journal that this one still writes, and the file would be damaged.
    """
    path = str(tmp_path / "shared.db")
    with open_file("store", path, timeout_s=PATIENCE_S):
        for _ in range(2):
            with open_file("store", path, timeout_s=PATIENCE_S) as file:
                file.execute("INSERT OR REPLACE INTO sweeps (one, next_at) VALUES (1, 0)")
        subprocess.run([sys.executable, "-c", ANOTHER, path], check=True)
        assert Path(path + "-wal").exists()
    assert not Path(path + "-wal").exists()


@pytest.mark.parametrize(
    "make",
    [
        lambda path: None,
        lambda path: path.mkdir(parents=True),
        lambda path: (path.parent.mkdir(), path.write_bytes(b"no database" * 100)),
    ],
    ids=["no folder", "a folder", "no database"],
)
def test_unusable_files_are_denied(tmp_path, make):
    """A file that can't be used is said with place and remedy, by every function and by `check`."""
    settings = local.LocalStore(str(tmp_path / "missing" / "unstick.db"))
    make(Path(settings.path))
    for call in CALLS.values():
        with pytest.raises(Denied, match="can't be used") as caught:
            call(settings, PATIENCE_S)
        assert "create and write files in" in str(caught.value.remedy)
    assert settings.check(timeout_s=PATIENCE_S)[0].ok is False


@pytest.fixture
def server(httpserver: HTTPServer, monkeypatch) -> HTTPServer:
    """In Cloud Storage's place."""
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", httpserver.url_for("").rstrip("/"))
    return httpserver


def refuse(server: HTTPServer, status: int, message: str) -> list[str]:
    """From now on; returns the paths that are asked for. Downloads are answered in plain text."""
    asked = []

    def answer(request: Request) -> Response:
        asked.append(request.path)
        text = message if request.args.get("alt") == "media" else json.dumps({"error": {"code": status, "message": message}})
        return Response(text, status, content_type="text/plain" if text == message else "application/json")

    server.expect_request(ANY).respond_with_handler(answer)
    return asked


SETTINGS = cloud_storage.CloudStorage("bucket-one")
every_call = pytest.mark.parametrize("call", [partial(call, SETTINGS) for call in CALLS.values()], ids=CALLS)
ANY = re.compile(".*")
NO_BUCKET = "The specified bucket does not exist."


@every_call
@pytest.mark.parametrize(
    ("status", "text", "remedy"),
    [
        (403, "unstick@p.iam.gserviceaccount.com does not have storage.objects.create access.", "roles/storage.objectUser"),
        (404, NO_BUCKET, "store.cloud_storage.bucket"),
        (503, "Backend Error", ""),
    ],
)
def test_a_refusal_says_what_to_do(server, call, status, text, remedy):
    """A missing role, a wrong bucket and a rejected token are told apart, without a URL in the text; trouble of the server has no
    remedy. Nothing is sent twice behind our back: a write that was done would conflict with itself.
    """
    asked = refuse(server, status, text)
    with pytest.raises(Denied if remedy else Unavailable) as caught:
        call(PATIENCE_S)
    assert remedy in str(caught.value.remedy)
    assert "http" not in str(caught.value)
    assert f"answered {status}" in str(caught.value)
    assert text in str(caught.value)
    assert len(asked) == 1


@pytest.mark.parametrize(("timeout_s", "times"), [(0.9, 1), (2.0, 2)])
def test_a_write_that_comes_too_soon_is_tried_within_its_time(server, timeout_s, times):
    """429 wrote nothing, so the same write again can't conflict with itself. It ends in time all the same."""
    asked = refuse(server, 429, "The object exceeded the rate limit for object mutation operations")
    began = time.monotonic()
    with pytest.raises(Unavailable, match="exceeded the rate limit"):
        CALLS["create"](SETTINGS, timeout_s)
    assert (len(asked), time.monotonic() - began < timeout_s) == (times, True)


def test_a_document_that_was_deleted_meanwhile_is_a_conflict(server):
    refuse(server, 404, "No such object: bucket-one/documents/a.json")
    with pytest.raises(Conflict):
        CALLS["update"](SETTINGS, PATIENCE_S)


def test_check_finds_a_server_that_does_not_compare(server):
    """A server that ignores preconditions, as one well-known emulator does, must not carry production."""
    server.expect_request(ANY, method="POST").respond_with_json({"name": "a", "generation": "1"})
    server.expect_request(ANY, method="GET").respond_with_json({"items": []})
    server.expect_request(ANY, method="DELETE").respond_with_data("", status=204)
    (finding,) = SETTINGS.check(timeout_s=PATIENCE_S)
    assert finding.ok is False
    assert "second writer" in str(finding.detail)


def test_googles_client_reads_what_was_written_and_writes_what_is_read(cloud_lab):
    """The requests are our own, so Google's client is asked what they made; generations are compared across both."""
    store = cloud_lab.store
    bucket = Client(project="p", credentials=AnonymousCredentials()).bucket(store.bucket)
    body, name = 'ü\r\n--"'.encode() * 1000, "documents/a b+%/ü.json"
    generation = store.save("a b+%/ü", body, generation=None, due=2.5, timeout_s=PATIENCE_S)
    blob = bucket.get_blob(name)
    assert blob.download_as_bytes() == body
    assert (str(blob.generation), blob.content_type, blob.cache_control) == (generation, "application/json", "no-store")
    assert blob.metadata == {"unstick-due": "2.5"}
    time.sleep(1.0)  # one write a second
    blob.upload_from_string(b"theirs", if_generation_match=int(generation))
    stored = store.load("a b+%/ü", timeout_s=PATIENCE_S)
    assert (stored.body, stored.generation) == (b"theirs", str(blob.generation))
    with pytest.raises(Conflict):
        store.save("a b+%/ü", b"", generation=generation, due=None, timeout_s=PATIENCE_S)
