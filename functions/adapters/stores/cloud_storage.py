"""Documents and the archive in a Cloud Storage bucket, by its preconditions (`ifGenerationMatch`; 0 creates).

A write that may have taken effect is never retried: if the answer to the first was lost, the second would get 412, as if
somebody else had written (https://cloud.google.com/storage/docs/request-preconditions). 429 is retried, since nothing was
written: one object takes one write a second (https://cloud.google.com/storage/quotas#objects).
"""

from __future__ import annotations

import contextlib
import os
import secrets
import time
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from msgspec import Struct

from functions.application.ports import Finding, Listed, Store, Stored, finding_of_error
from functions.runtime.errors import Conflict, Denied, Unavailable
from functions.runtime.google_cloud import timeouts, translate_errors
from functions.runtime.import_lock import IMPORTING
from functions.runtime.parallel import run_in_batches, run_parallel
from functions.runtime.text import Text

if TYPE_CHECKING:
    from collections.abc import Iterator

SYSTEM = "Cloud Storage"
_DUE = "unstick-due"
_AT_ONCE = 8
_NOT_FOUND = 404
_PRECONDITION_FAILED = 412
_TOO_SOON = 429
_PAUSE_S, _PAUSE_MORE_S = 1.0, 0.3
"""Seconds before a write is retried after a 429, plus a random part of the second value, so that writers don't collide again."""
_REMEDIES = {  # https://cloud.google.com/storage/docs/access-control/iam-permissions
    401: Text("The access token was not accepted. Check which account Unstick runs with."),
    403: Text("Give Unstick's service account roles/storage.objectUser on the bucket; replacing an object needs delete too."),
    404: Text("There is no such bucket. Correct store.cloud_storage.bucket: the name alone, without gs://."),
}


class CloudStorage(Struct, frozen=True):
    """`bucket`: its name. `prefix`: the beginning of every object's name, such as `unstick/`."""

    bucket: str
    prefix: str = ""

    def load(self, key: str, *, timeout_s: float) -> Stored | None:
        """The current document; None if there is none. One request: the generation is in the response headers."""
        blob = self._blob(self._document(key))
        body = _read_if_there(blob, timeout_s)
        return None if body is None else Stored(body=body, generation=_generation(blob))

    def save(self, key: str, body: bytes, *, generation: str | None, due: float | None, timeout_s: float) -> str:
        """Save if the generation is still the one given (None: if there is no document); see ports.Store."""
        blob = self._blob(self._document(key))
        blob.metadata = {} if due is None else {_DUE: repr(due)}
        try:
            _write(blob, body, timeout_s, if_generation_match=int(generation or 0))
        except Denied as error:
            deleted = error.status == _NOT_FOUND and generation is not None and not _no_bucket(error)
            if error.status == _PRECONDITION_FAILED or deleted:
                raise Conflict(f"{key} was changed by somebody else") from None
            raise
        return _generation(blob)

    def list_documents(self, *, timeout_s: float) -> list[Listed]:
        """All documents, by key. One request for each 1,000 of them, since `due` is in the objects' metadata."""
        prefix = self._document("")[: -len(".json")]
        documents = []
        with translate_errors(SYSTEM, _REMEDIES):
            for blob in self._names(prefix, "", "items(name,metadata),nextPageToken", timeout_s):
                due = (blob.metadata or {}).get(_DUE)
                documents.append(Listed(blob.name[len(prefix) :].removesuffix(".json"), float(due) if due else None))
        return documents

    def archive(self, path: str, body: bytes, *, timeout_s: float) -> None:
        """Write an archive record. Writing the same path again replaces it."""
        _write(self._blob(self.prefix + path), body, timeout_s)

    def read_archived(self, path: str, *, timeout_s: float) -> bytes | None:
        """Read what was archived under this path; None if nothing was."""
        return _read_if_there(self._blob(self.prefix + path), timeout_s)

    def read_archive(self, *, since: str, timeout_s: float) -> Iterator[tuple[str, bytes]]:
        """The archive from DATE `since` on, by path. `timeout_s` applies to the list and to each batch of eight records."""
        folder = f"{self.prefix}incidents/"
        names = [blob.name for blob in self._names(folder, folder + since, "items(name),nextPageToken", timeout_s)]
        calls = [self._reader(name, timeout_s) for name in names]
        bodies = run_in_batches(run_parallel, calls, timeout_s=timeout_s, at_once=_AT_ONCE)
        for name, body in zip(names, bodies, strict=True):
            if isinstance(body, Exception):
                raise body
            yield name.removeprefix(self.prefix), body

    def check(self, *, timeout_s: float) -> list[Finding]:
        """Check that the bucket is writable and compare-and-set compares. Uses a document of its own and removes it."""
        key = f"check-{secrets.token_hex(8)}"
        what = f"store gs://{self.bucket}/{self.prefix}"
        try:
            self.save(key, b"{}", generation=None, due=None, timeout_s=timeout_s)
            with contextlib.ExitStack() as cleanup:
                cleanup.callback(self._delete, key, timeout_s)
                self.list_documents(timeout_s=timeout_s)
                with contextlib.suppress(Conflict):
                    self.save(key, b"{}", generation=None, due=None, timeout_s=timeout_s)
                    remedy = "Use Cloud Storage itself: this server ignores if_generation_match."
                    return [Finding(what, ok=False, detail="it let a second writer through", remedy=remedy)]
        except (Denied, Unavailable) as error:
            return [finding_of_error(what, error, "Check whether storage.googleapis.com can be reached.")]
        return [Finding(what, ok=True, detail="writable, and a second writer is turned away")]

    def _document(self, key: str) -> str:
        return f"{self.prefix}documents/{key}.json"

    def _blob(self, name: str) -> Any:
        with translate_errors(SYSTEM, _REMEDIES):
            return client().bucket(self.bucket).blob(name)

    def _reader(self, name: str, timeout_s: float) -> Any:
        return lambda: _read(self._blob(name), timeout_s)

    def _names(self, prefix: str, start: str, fields: str, timeout_s: float) -> list[Any]:
        blobs: list[Any] = []
        ends = time.monotonic() + timeout_s
        with translate_errors(SYSTEM, _REMEDIES):
            pages = client().list_blobs(
                self.bucket, prefix=prefix, start_offset=start or None, fields=fields,
                timeout=timeouts(SYSTEM, timeout_s), retry=None,
            ).pages  # fmt: skip
            for page in pages:
                blobs += page
                if time.monotonic() > ends:
                    raise Unavailable(SYSTEM, Text("the list was not complete in time"), late=True)
        if not all(isinstance(blob.name, str) for blob in blobs):
            raise Unavailable(SYSTEM, Text("the list has an entry without a name"))
        return blobs

    def _delete(self, key: str, timeout_s: float) -> None:
        with translate_errors(SYSTEM, _REMEDIES):
            self._blob(self._document(key)).delete(timeout=timeouts(SYSTEM, timeout_s), retry=None)


@lru_cache(maxsize=1)
def client() -> Any:
    r"""Google's client, created on first use because servers fork their workers.

    Without credentials if STORAGE_EMULATOR_HOST is set.
    """
    with IMPORTING:
        from google.cloud.storage import Client  # 86 ms and 29 MiB on top of requests

    # otherwise the client fetches the bucket's metadata in another thread, with retries, for traces that nobody collects
    os.environ.setdefault("DISABLE_GCS_PYTHON_CLIENT_OTEL_BUCKET_METADATA", "true")
    return Client(project="unused")  # needed only to create buckets; without one the client queries the metadata server


def _read(blob: Any, timeout_s: float) -> bytes:
    with translate_errors(SYSTEM, _REMEDIES):
        body: bytes = blob.download_as_bytes(timeout=timeouts(SYSTEM, timeout_s), retry=None)
        return body


def _read_if_there(blob: Any, timeout_s: float) -> bytes | None:
    try:
        return _read(blob, timeout_s)
    except Denied as error:
        if error.status == _NOT_FOUND and not _no_bucket(error):
            return None
        raise


def _write(blob: Any, body: bytes, timeout_s: float, **precondition: int) -> None:
    blob.cache_control = "no-store"  # without it, public objects would be cached for an hour
    kind = "application/json" if blob.name.endswith(".json") else "text/plain; charset=utf-8"
    ends = time.monotonic() + timeout_s
    while not _is_written(blob, body, kind, ends, precondition):
        time.sleep(_pause_s())


def _is_written(blob: Any, body: bytes, kind: str, ends: float, precondition: dict[str, int]) -> bool:
    """False for a 429 (the object was written within the last second), if there is time for another try."""
    left_s = ends - time.monotonic()
    with translate_errors(SYSTEM, _REMEDIES):
        try:
            blob.upload_from_string(body, content_type=kind, timeout=timeouts(SYSTEM, left_s), retry=None, **precondition)
        except Exception as error:
            if getattr(error, "code", 0) != _TOO_SOON or ends - time.monotonic() <= _PAUSE_S + _PAUSE_MORE_S:
                raise
            return False
    return True


def _pause_s() -> float:
    return _PAUSE_S + _PAUSE_MORE_S * secrets.randbelow(1000) / 1000


def _generation(blob: Any) -> str:
    with translate_errors(SYSTEM, _REMEDIES):
        return str(int(blob.generation))


def _no_bucket(error: Denied) -> bool:
    """A missing object and a missing bucket are both answered 404; only the sentence differs."""
    return "bucket does not exist" in str(error.detail)


ADAPTER: type[Store] = CloudStorage
