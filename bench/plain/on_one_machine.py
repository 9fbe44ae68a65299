"""Documents and wake-ups in SQLite, secrets in the environment, for unguarded.py."""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing
from functools import lru_cache
from typing import Any

TIMEOUT_S = 5.0


def secret(name: str) -> str:
    """A secret of the environment."""
    return os.environ[name]


def load(key: str) -> list[Any]:
    """The document's rows."""
    return _rows("SELECT body FROM documents WHERE key = ?", key)


def save(key: str, body: bytes) -> None:
    """Save a document."""
    _rows("INSERT OR REPLACE INTO documents (key, body) VALUES (?, ?)", key, body)


def wake(at: float, payload: str) -> None:
    """Save a wake-up."""
    _rows("INSERT INTO wake_ups (at, payload) VALUES (?, ?)", at, payload)


@lru_cache(maxsize=1)
def begun() -> sqlite3.Connection:
    """While somebody has the file open, as Unstick's scheduler has, closing a connection to it costs next to nothing."""
    file = _opened()
    file.execute("PRAGMA journal_mode=WAL")
    file.execute("CREATE TABLE IF NOT EXISTS documents (key TEXT PRIMARY KEY, body BLOB)")
    file.execute("CREATE TABLE IF NOT EXISTS wake_ups (id INTEGER PRIMARY KEY, at REAL, payload TEXT)")
    return file


def _opened() -> sqlite3.Connection:
    return sqlite3.connect(os.environ["BENCH_DATABASE"], isolation_level=None, timeout=TIMEOUT_S, check_same_thread=False)


def _rows(statement: str, *values: object) -> list[Any]:
    with closing(_opened()) as file:
        file.execute("PRAGMA synchronous=FULL")
        return file.execute(statement, values).fetchall()
