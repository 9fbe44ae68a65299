"""Documents and the archive in one SQLite file, for one machine. Several processes may share it, but not on a network file
system: SQLite's locks and shared memory don't work there (sqlite.org/wal.html)."""

import contextlib
import sqlite3

from msgspec import Struct

from functions.adapters.checks import check_store
from functions.adapters.sqlite import open_file
from functions.application.ports import Finding, Listed, Store, Stored
from functions.runtime.errors import Conflict

SYSTEM = "store"

_CREATE = "INSERT INTO documents VALUES (:key, :body, 1, :due) ON CONFLICT DO NOTHING"
_UPDATE = "UPDATE documents SET body = :body, generation = generation + 1, due = :due WHERE key = :key AND generation = :former"


class LocalStore(Struct, frozen=True):
    """`path`: the SQLite file."""

    path: str

    def load(self, key: str, *, timeout_s: float) -> Stored | None:
        with self._file(timeout_s) as file:
            row = file.execute("SELECT body, generation FROM documents WHERE key = ?", (key,)).fetchone()
        return Stored(body=row[0], generation=str(row[1])) if row else None

    def save(self, key: str, body: bytes, *, generation: str | None, due: float | None, timeout_s: float) -> str:
        former = int(generation or 0)
        values = {"key": key, "body": body, "former": former, "due": due}
        with self._file(timeout_s) as file:
            if file.execute(_CREATE if generation is None else _UPDATE, values).rowcount != 1:
                raise Conflict(f"{key} was changed by somebody else")
        return str(former + 1)

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
            newer = "SELECT path FROM archive WHERE path GLOB 'incidents/*' AND path > ? ORDER BY path"
            return [path for (path,) in file.execute(newer, (f"incidents/{since}",))]

    def check(self, *, timeout_s: float) -> list[Finding]:
        def delete(key: str) -> None:
            with self._file(timeout_s) as file:
                file.execute("DELETE FROM documents WHERE key = ?", (key,))

        remedies = "Use a file on a local disk.", "Check what else uses the file, and whether the disk is full."
        return check_store(self, f"store {self.path}", delete, remedies, timeout_s)

    def _file(self, timeout_s: float) -> contextlib.AbstractContextManager[sqlite3.Connection]:
        return open_file(SYSTEM, self.path, timeout_s=timeout_s)


ADAPTER: type[Store] = LocalStore
