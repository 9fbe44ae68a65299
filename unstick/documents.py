"""Loads the store's documents for the command line: several at the same time, with a sentence for each unreadable one."""

from collections.abc import Callable
from functools import partial

from msgspec import Struct

from functions.application.observe import unwrap
from functions.application.ports import Stored
from functions.application.serialization import decode
from functions.application.storm import is_shard
from functions.bootstrap import Adapters
from functions.domain.model.incidents import Document
from functions.runtime.errors import Denied
from functions.runtime.parallel import run_in_batches

LIST_S, LOAD_S = 30.0, 30.0
AT_ONCE = 16


class Documents(Struct, frozen=True):
    readable: tuple[Document, ...]
    unreadable: tuple[tuple[str, Denied], ...]  # documents of a newer release, or broken ones: (key, why and what to do)


def name_of(document: Document) -> str:
    """The target's name, or the document's key if it has none."""
    return document.target.name if document.target else document.key


def document_keys(ports: Adapters) -> list[str]:
    """The keys of all documents of targets, alerts and bundles."""
    keys = [entry.key for entry in ports.store.list_documents(timeout_s=LIST_S)]
    return [key for key in keys if key != "pause" and not is_shard(key) and not key.startswith("check-")]


def load_documents(ports: Adapters, keys: list[str], advance: Callable[[], object] = bool) -> Documents:
    """Load these documents. Raises Unavailable or Denied if the store can't be read at all."""
    readable: list[Document] = []
    unreadable: list[tuple[str, Denied]] = []
    calls = [partial(ports.store.load, key, timeout_s=LOAD_S) for key in keys]
    results = run_in_batches(ports.run_parallel, calls, timeout_s=LOAD_S, at_once=AT_ONCE)
    for key, result in zip(keys, results, strict=True):
        stored: Stored | None = unwrap(result)
        advance()
        if stored is None:
            continue
        try:
            readable.append(decode(Document, stored.body, key))
        except Denied as denied:
            unreadable.append((key, denied))
    return Documents(tuple(readable), tuple(unreadable))
