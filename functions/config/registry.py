"""Finds adapters by file name, and imports each only when it is needed."""

import os
from functools import lru_cache
from importlib import import_module
from pathlib import Path
from typing import Literal, overload

from functions.application.ports import Chat, Runner, Scheduler, Store, SymptomAdapter

KINDS = ("runners", "symptoms", "stores", "schedulers", "chats")


@lru_cache(maxsize=len(KINDS))
def adapter_names(kind: str) -> tuple[str, ...]:
    """The adapters of one kind, in alphabetical order, without importing any. A file that begins with `_` is not one."""
    if kind not in KINDS:
        raise ValueError(f"there is no kind of adapter called {kind}: only {', '.join(KINDS)}")
    folder = Path(__file__).parents[1] / "adapters" / kind
    entries = os.listdir(folder)  # noqa: PTH208 - takes half of pathlib's time, and runs five times a start
    return tuple(sorted(entry.removesuffix(".py") for entry in entries if not entry.startswith((".", "_"))))


@overload
def load_adapter(kind: Literal["runners"], name: str) -> type[Runner]: ...
@overload
def load_adapter(kind: Literal["symptoms"], name: str) -> type[SymptomAdapter]: ...
@overload
def load_adapter(kind: Literal["stores"], name: str) -> type[Store]: ...
@overload
def load_adapter(kind: Literal["schedulers"], name: str) -> type[Scheduler]: ...
@overload
def load_adapter(kind: Literal["chats"], name: str) -> type[Chat]: ...
@overload
def load_adapter(kind: str, name: str) -> type: ...
def load_adapter(kind: str, name: str) -> type:
    """The class that functions/adapters/KIND/NAME names as ADAPTER. Raises KeyError for any other name."""
    if name not in adapter_names(kind):
        raise KeyError(f"{kind}/{name}")
    adapter: type = import_module(f"functions.adapters.{kind}.{name}").ADAPTER
    return adapter
