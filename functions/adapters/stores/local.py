"""Documents and the archive in one SQLite file, for one machine. Several processes may share it, but not on a network file
system: SQLite's locks and shared memory don't work there (sqlite.org/wal.html)."""

import contextlib
import sqlite3
import time
from collections.abc import Iterator

from msgspec import Struct

from functions.adapters.checks import check_store
from functions.adapters.sqlite import opened
from functions.application.ports import Finding, Listed, Store, Stored
from functions.runtime.errors import Conflict

SYSTEM = "store"
SHORT_LIVED, SHORT_LIVED_S = "alert-", 30 * 86400.0
"""Matches documents of alerts without a target. infra/module/store.tf has the same rule for the bucket."""
_PAGE = 200
_LAST = "\U0010ffff"  # sorts after every path


class LocalStore(Struct, frozen=True):
    """`path`: the SQLite file, relative to the working folder. The local scheduler may use the same file."""

    path: str

    def load(self, key: str, *, timeout_s: float) -> Stored | None:
        with self._file(timeout_s) as file:
            row = file.execute("SELECT body, generation FROM documents WHERE key = ?", (key,)).fetchone()
        return Stored(body=row[0], generation=str(row[1])) if row else None

    def save(self, key: str, body: bytes, *, generation: str | None, due: float | None, timeout_s: float) -> str:
        with self._file(timeout_s) as file:
            if generation is None:
                new_generation = 1
                cursor = file.execute(
                    "INSERT INTO documents (key, body, generation, due) VALUES (?, ?, 1, ?) ON CONFLICT DO NOTHING",
                    (key, body, due),
                )
            else:
                new_generation = int(generation) + 1
                cursor = file.execute(
                    "UPDATE documents SET body = ?, generation = ?, due = ? WHERE key = ? AND generation = ?",
                    (body, new_generation, due, key, int(generation)),
                )
            if cursor.rowcount != 1:
                raise Conflict(f"{key} was changed by somebody else")
            if key.startswith(SHORT_LIVED):
                _forget_old(file, key, time.time())
        return str(new_generation)

    def list_documents(self, *, timeout_s: float) -> list[Listed]:
        with self._file(timeout_s) as file:
            return [Listed(key, due) for key, due in file.execute("SELECT key, due FROM documents ORDER BY key")]

    def archive(self, path: str, body: bytes, *, timeout_s: float) -> None:
        with self._file(timeout_s) as file:
            file.execute(
                "INSERT INTO archive (path, body) VALUES (?, ?) ON CONFLICT (path) DO UPDATE SET body = excluded.body",
                (path, body),
            )

    def read_archived(self, path: str, *, timeout_s: float) -> bytes | None:
        with self._file(timeout_s) as file:
            row = file.execute("SELECT body FROM archive WHERE path = ?", (path,)).fetchone()
        return row[0] if row else None

    def list_archive(self, *, since: str, timeout_s: float) -> list[str]:
        with self._file(timeout_s) as file:
            after = f"incidents/{since}", f"incidents/{_LAST}"
            return [path for (path,) in file.execute("SELECT path FROM archive WHERE path > ? AND path < ? ORDER BY path", after)]

    def read_archive(self, *, since: str, timeout_s: float) -> Iterator[tuple[str, bytes]]:
        """The archive from DATE `since` on, by path. Read in pages: during a long read SQLite can't shorten its journal."""
        after = f"incidents/{since}"
        while True:
            with self._file(timeout_s) as file:
                page = file.execute(
                    "SELECT path, body FROM archive WHERE path > ? AND path < ? ORDER BY path LIMIT ?",
                    (after, f"incidents/{_LAST}", _PAGE),
                ).fetchall()
            yield from page
            if len(page) < _PAGE:
                return
            after = page[-1][0]

    def check(self, *, timeout_s: float) -> list[Finding]:
        def delete(key: str) -> None:
            with self._file(timeout_s) as file:
                file.execute("DELETE FROM documents WHERE key = ?", (key,))

        remedies = "Use a file on a local disk.", "Check what else uses the file, and whether the disk is full."
        return check_store(self, f"store {self.path}", delete, remedies, timeout_s)

    def _file(self, timeout_s: float) -> contextlib.AbstractContextManager[sqlite3.Connection]:
        return opened(SYSTEM, self.path, timeout_s=timeout_s)


def _forget_old(file: sqlite3.Connection, key: str, now: float) -> None:
    """Delete documents of alerts without a target that are a month old and have nothing to send, as the bucket does."""
    file.execute("INSERT INTO heard VALUES (?, ?) ON CONFLICT (key) DO UPDATE SET at = excluded.at", (key, now))
    file.execute("INSERT OR IGNORE INTO heard SELECT key, ? FROM documents WHERE key GLOB ?", (now, f"{SHORT_LIVED}*"))
    old = "SELECT key FROM heard WHERE at < ?"
    file.execute(f"DELETE FROM documents WHERE due IS NULL AND key IN ({old})", (now - SHORT_LIVED_S,))  # noqa: S608 - a constant
    file.execute("DELETE FROM heard WHERE key NOT IN (SELECT key FROM documents)")


ADAPTER: type[Store] = LocalStore
