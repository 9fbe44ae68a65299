"""Opens SQLite files that several processes and threads share, and translates SQLite's errors.

A connection is opened for each call and closed after it. So it is never shared between threads and never crosses a fork, which
SQLite forbids. Measured on a local disk: a load takes 0.13 ms and a save 1.2 ms; 0.07 and 0.5 ms while somebody else, such as
the local scheduler, has the file open (the last to close it moves the journal into it); 0.003 and 0.2 ms on a kept connection.
That doesn't justify keeping connections."""

import contextlib
import os
import sqlite3
import threading
import time
from collections.abc import Iterator
from pathlib import Path

from functions.runtime.errors import Denied, Unavailable
from functions.runtime.text import Text, named

_SCHEMA = """
CREATE TABLE IF NOT EXISTS documents (
    key TEXT PRIMARY KEY, body BLOB NOT NULL, generation INTEGER NOT NULL, due REAL);
CREATE TABLE IF NOT EXISTS archive (path TEXT PRIMARY KEY, body BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS wake_ups (
    id INTEGER PRIMARY KEY, at REAL NOT NULL, payload TEXT NOT NULL, failures INTEGER NOT NULL DEFAULT 0,
    owner TEXT, leased_until REAL NOT NULL DEFAULT 0);
CREATE INDEX IF NOT EXISTS wake_ups_by_time ON wake_ups (at);
CREATE TABLE IF NOT EXISTS runs (
    id INTEGER PRIMARY KEY AUTOINCREMENT, target TEXT NOT NULL, job TEXT NOT NULL, tag TEXT NOT NULL, not_after REAL,
    created_at REAL NOT NULL, began_at REAL, ended_at REAL, status TEXT NOT NULL DEFAULT '', exit INTEGER,
    stopped_by TEXT NOT NULL DEFAULT '');
ALTER TABLE runs ADD COLUMN host TEXT NOT NULL DEFAULT '';
CREATE INDEX IF NOT EXISTS runs_by_target ON runs (target);
CREATE TABLE IF NOT EXISTS sweeps (one INTEGER PRIMARY KEY CHECK (one = 1), next_at REAL NOT NULL);
"""

_BUSY = {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}
_DENIED = {sqlite3.SQLITE_READONLY, sqlite3.SQLITE_PERM, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_AUTH}
_UNUSABLE = _DENIED | {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}
_OPEN_AGAIN_S = 0.005
_CREATING = threading.Lock()


@contextlib.contextmanager
def open_file(system: str, path: str, *, timeout_s: float) -> Iterator[sqlite3.Connection]:
    """A connection in autocommit mode, with all tables created, closed at the end of the `with` block. Creates a missing file,
    readable by its owner only. Every statement waits at most `timeout_s` for other writers. Raises Unavailable if that is not
    enough or the disk is full, Denied if the file can't be used at all; also for errors inside the block."""
    if timeout_s <= 0:
        raise Unavailable(system, Text("deadline exceeded before sending"), late=True)
    connection = None
    try:
        connection = _open(path, timeout_s)
        yield connection
    except (OSError, sqlite3.Error) as error:
        raise _explain(system, path, error) from None
    finally:
        if connection is not None:
            connection.close()


def _open(path: str, timeout_s: float) -> sqlite3.Connection:
    """Retries: processes that create one file at the same time can get "busy" immediately, without SQLite's own waiting."""
    ends = time.monotonic() + timeout_s
    _create(path)
    while True:
        connection = sqlite3.connect(path, timeout=timeout_s, isolation_level=None, check_same_thread=False)
        try:
            connection.execute("PRAGMA journal_mode=WAL")
            connection.execute("PRAGMA synchronous=FULL")  # with NORMAL, usual for WAL, a power cut loses the last saves
            if not connection.execute("SELECT 1 FROM pragma_table_info('runs') WHERE name = 'host'").fetchone():
                connection.executescript(f"BEGIN IMMEDIATE; {_SCHEMA} COMMIT;")
        except sqlite3.Error as error:
            connection.close()
            created_by_another = "duplicate column" in str(error)
            if not (created_by_another or _is(error, _BUSY)) or time.monotonic() > ends:
                raise
            time.sleep(_OPEN_AGAIN_S)
        else:
            return connection


def _create(path: str) -> None:
    """Create the file if it is missing, since SQLite itself would make it 0644. Never open a file that may be in use: closing
    any descriptor of it drops all locks of this process on the file (fcntl(2)). Another process may then believe that it is the
    last user, and delete a journal that is being written."""
    with _CREATING:
        if not Path(path).exists():
            with contextlib.suppress(FileExistsError):
                os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))


def _is(error: Exception, codes: set[int]) -> bool:
    return getattr(error, "sqlite_errorcode", 0) & 0xFF in codes  # the low byte is the primary code


def _explain(system: str, path: str, error: OSError | sqlite3.Error) -> Unavailable | Denied:
    if _is(error, _BUSY):
        return Unavailable(system, Text("{path} stayed locked by other processes", path=path), late=True)
    if isinstance(error, sqlite3.Error) and not _is(error, _UNUSABLE):
        return Unavailable(system, named(path, str(error)))
    remedy = Text(
        "Let the user that runs Unstick create and write files in {folder}, on a local disk. Move a damaged file away, with its "
        "-wal and -shm files.",
        folder=str(Path(path).absolute().parent),
    )
    return Denied(system, Text("{path} can't be used ({why})", path=path, why=str(error)), remedy=remedy)


# --- copies


def copy(source: str, target: str, *, timeout_s: float) -> None:
    """Copy all of a store's file into another by SQLite's own backup: both may be in use, and no journal of either is lost or
    applied to the other's pages. A new target is one file, readable by its owner only. Raises Denied if the source is no store
    of ours or is damaged, and as `open_file`."""
    is_new = not Path(target).exists()
    try:
        with contextlib.closing(sqlite3.connect(f"{Path(source).absolute().as_uri()}?mode=ro", uri=True)) as original:
            sound = original.execute("PRAGMA quick_check").fetchone() == ("ok",)
            if not sound or not original.execute("SELECT 1 FROM sqlite_master WHERE name = 'documents'").fetchone():
                raise sqlite3.DatabaseError("no whole store of Unstick")
            with open_file("store", target, timeout_s=timeout_s) as file:
                original.backup(file)
                if is_new:
                    file.execute("PRAGMA journal_mode=DELETE")
    except sqlite3.Error as error:
        remedy = Text("Name a file that `unstick backup` made.")
        raise Denied("store", named(source, str(error)), remedy=remedy) from None


def number_runs_after(path: str, former: str, *, timeout_s: float) -> None:
    """Let the next run of a command get a higher number than any in this file or its former state: journals have the numbers."""
    numbers = [int(journal.stem) for journal in Path(f"{Path(former).absolute()}-runs").glob("*.jsonl")]
    with open_file("store", path, timeout_s=timeout_s) as file:
        file.execute("INSERT INTO sqlite_sequence SELECT 'runs', 0 WHERE 'runs' NOT IN (SELECT name FROM sqlite_sequence)")
        file.execute("UPDATE sqlite_sequence SET seq = max(seq, ?) WHERE name = 'runs'", (max(numbers, default=0),))
