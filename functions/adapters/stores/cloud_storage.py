"""Documents and the archive in a Cloud Storage bucket, by its preconditions (`ifGenerationMatch`; 0 creates).

A write that may have taken effect is never retried: if the answer to the first was lost, the second would get 412, as if
somebody else had written (https://cloud.google.com/storage/docs/request-preconditions). 429 is retried, since nothing was
written: one object takes one write a second (https://cloud.google.com/storage/quotas#objects).

By the JSON API: https://cloud.google.com/storage/docs/json_api/v1/objects. Why without a client: docs/decisions.md."""

import json
import secrets
import time
from typing import Any
from urllib.parse import quote, urlencode

from msgspec import Struct

from functions.application.ports import Finding, Listed, Store, Stored
from functions.runtime.errors import Conflict, Denied, Unavailable
from functions.runtime.google_cloud import Service, unreadable
from functions.runtime.http_client import Answer
from functions.runtime.text import Text

SYSTEM = "Cloud Storage"
_DUE = "unstick-due"
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
_SERVICE = Service(SYSTEM, "https://storage.googleapis.com", "STORAGE_EMULATOR_HOST", _REMEDIES)
_MOST_BYTES = 32 * 1024 * 1024  # of one answer: a list has up to 1,000 names, an archive record its evidence


class CloudStorage(Struct, frozen=True):
    """`bucket`: its name. It is Unstick's own."""

    bucket: str

    def load(self, key: str, *, timeout_s: float) -> Stored | None:
        """The current document; None if there is none. One request: the generation is in the response headers."""
        answer = self._read_if_there(self._document(key), timeout_s)
        return None if answer is None else Stored(answer.body, _read_generation(answer.headers.get("x-goog-generation")))

    def save(self, key: str, body: bytes, *, generation: str | None, due: float | None, timeout_s: float) -> str:
        metadata = {} if due is None else {_DUE: repr(due)}
        try:
            answer = self._write(self._document(key), body, timeout_s, metadata, generation=int(generation or 0))
        except Denied as error:
            deleted = error.status == _NOT_FOUND and generation is not None and not _no_bucket(error)
            if error.status == _PRECONDITION_FAILED or deleted:
                raise Conflict(f"{key} was changed by somebody else") from None
            raise
        return _read_generation(answer.object().get("generation"))

    def list_documents(self, *, timeout_s: float) -> list[Listed]:
        """All documents, by key. One request for each 1,000 of them, since `due` is in the objects' metadata."""
        listed = self._list("documents/", "", timeout_s)
        return [Listed(name.removeprefix("documents/").removesuffix(".json"), due) for name, due in listed]

    def archive(self, path: str, body: bytes, *, timeout_s: float) -> None:
        self._write(path, body, timeout_s, {})

    def read_archived(self, path: str, *, timeout_s: float) -> bytes | None:
        answer = self._read_if_there(path, timeout_s)
        return None if answer is None else answer.body

    def list_archive(self, *, since: str, timeout_s: float) -> list[str]:
        return [name for name, _ in self._list("incidents/", f"incidents/{since}", timeout_s)]

    def check(self, *, timeout_s: float) -> list[Finding]:
        from functions.adapters.checks import check_store  # no start and no alert needs it

        def delete(key: str) -> None:
            _SERVICE.ask("DELETE", f"{self._bucket()}/{quote(self._document(key), safe='')}", timeout_s=timeout_s)

        ignored = "Use Cloud Storage itself: this server ignores if_generation_match."
        unreachable = "Check whether storage.googleapis.com can be reached."
        return check_store(self, f"store gs://{self.bucket}", delete, (ignored, unreachable), timeout_s)

    def _document(self, key: str) -> str:
        return f"documents/{key}.json"

    def _bucket(self) -> str:
        return f"/storage/v1/b/{quote(self.bucket, safe='')}/o"

    def _read_if_there(self, name: str, timeout_s: float) -> Answer | None:
        path = f"/download{self._bucket()}/{quote(name, safe='')}?alt=media"
        try:
            return _SERVICE.ask("GET", path, timeout_s=timeout_s, max_bytes=_MOST_BYTES)
        except Denied as error:
            if error.status == _NOT_FOUND and not _no_bucket(error):
                return None
            raise

    def _write(
        self, name: str, body: bytes, timeout_s: float, metadata: dict[str, str], *, generation: int | None = None
    ) -> Answer:
        """Metadata and content in one request: https://cloud.google.com/storage/docs/uploading-objects-from-memory."""
        ends = time.monotonic() + timeout_s
        kind = "application/json" if name.endswith(".json") else "text/plain; charset=utf-8"
        # without cacheControl, public objects would be cached for an hour
        about = {"name": name, "cacheControl": "no-store", "contentType": kind, "metadata": metadata}
        boundary = secrets.token_hex(16)
        parts = ("application/json; charset=utf-8", json.dumps(about).encode()), (kind, body)
        sent = b"".join(f"--{boundary}\r\ncontent-type: {kind}\r\n\r\n".encode() + part + b"\r\n" for kind, part in parts)
        query = urlencode({"uploadType": "multipart"} | ({} if generation is None else {"ifGenerationMatch": generation}))
        headers = {"Content-Type": f"multipart/related; boundary={boundary}"}
        while True:
            answer = _SERVICE.send(
                "POST", f"/upload{self._bucket()}?{query}", timeout_s=ends - time.monotonic(), headers=headers,
                body=sent + f"--{boundary}--".encode(),
            )  # fmt: skip
            if answer.status != _TOO_SOON or ends - time.monotonic() <= _PAUSE_S + _PAUSE_MORE_S:
                return _SERVICE.accept(answer)
            time.sleep(_PAUSE_S + _PAUSE_MORE_S * secrets.randbelow(1000) / 1000)

    def _list(self, prefix: str, start: str, timeout_s: float) -> list[tuple[str, float | None]]:
        """(name, due) of all objects that begin with the prefix, from `start` on, by name."""
        ends = time.monotonic() + timeout_s
        query = {"prefix": prefix, "fields": "items(name,metadata),nextPageToken", "startOffset": start}
        listed: list[tuple[str, float | None]] = []
        while True:
            path = f"{self._bucket()}?{urlencode(query, errors='replace')}"
            page = _SERVICE.ask("GET", path, timeout_s=ends - time.monotonic(), max_bytes=_MOST_BYTES).object()
            listed += map(_read_entry, page.get("items") or [])
            if not page.get("nextPageToken"):
                return listed
            if time.monotonic() > ends:
                raise Unavailable(SYSTEM, Text("the list was not complete in time"), late=True)
            query["pageToken"] = str(page["nextPageToken"])


def _read_entry(entry: Any) -> tuple[str, float | None]:
    """(name, due) of an entry of a list; `due` as `save` wrote it."""
    try:
        name, due = entry["name"], (entry.get("metadata") or {}).get(_DUE)
        name.encode()  # a name that is no valid text can't be asked for
        return name, float(due) if due else None
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise unreadable(SYSTEM, error) from None


def _read_generation(value: Any) -> str:
    try:
        return str(int(value))
    except (TypeError, ValueError) as error:
        raise unreadable(SYSTEM, error) from None


def _no_bucket(error: Denied) -> bool:
    """A missing object and a missing bucket are both answered 404; only the sentence differs."""
    return "bucket does not exist" in str(error.detail)


ADAPTER: type[Store] = CloudStorage
