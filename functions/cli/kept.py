"""The store's documents as the command line reads them: all at once, and what can't be read as a sentence."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

from msgspec import Struct

from functions.application.observe import unwrap
from functions.application.serialization import decode
from functions.domain.model.incidents import Document
from functions.runtime.errors import Denied

if TYPE_CHECKING:
    from functions.application.ports import Stored
    from functions.bootstrap import Adapters

LIST_S, LOAD_S = 30.0, 30.0
AT_ONCE = 16
SINGLE = ("pause", "storm")
"""Documents that are no target's."""


class Kept(Struct, frozen=True):
    documents: tuple[Document, ...]
    unreadable: tuple[tuple[str, Denied], ...]
    """Of a newer release, or broken: (key, why and what to do)."""


def keys(ports: Adapters) -> list[str]:
    """The keys of all documents of targets, alerts and bundles."""
    return [entry.key for entry in ports.list_documents(LIST_S) if entry.key not in SINGLE and not entry.key.startswith("check-")]


def documents(ports: Adapters, wanted: list[str], done: Callable[[], object] = bool) -> Kept:
    """These documents. Raises Unavailable or Denied where the store can't be read at all."""
    found: list[Document] = []
    unreadable: list[tuple[str, Denied]] = []
    for start in range(0, len(wanted), AT_ONCE):
        part = wanted[start : start + AT_ONCE]
        results = ports.run_parallel([partial(ports.load, key, LOAD_S) for key in part], LOAD_S)
        for key, result in zip(part, results, strict=True):
            stored: Stored | None = unwrap(result)
            done()
            if stored is None:
                continue
            try:
                found.append(decode(Document, stored.body, key))
            except Denied as denied:
                unreadable.append((key, denied))
    return Kept(tuple(found), tuple(unreadable))
