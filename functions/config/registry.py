"""Finds adapters by the name of their file, and imports one only when it is needed."""

from __future__ import annotations

import os
from functools import lru_cache
from importlib import import_module
from pathlib import Path
from types import ModuleType

from functions.application.ports import SymptomAdapter

KINDS = ("runners", "symptoms", "stores", "schedulers", "chats")


@lru_cache(maxsize=len(KINDS))
def adapter_names(kind: str) -> tuple[str, ...]:
    """The adapters of one kind, in alphabetical order, without importing any. A file that begins with `_` is not one."""
    if kind not in KINDS:
        raise ValueError(f"there is no kind of adapter called {kind}: only {', '.join(KINDS)}")
    folder = Path(__file__).parents[1] / "adapters" / kind
    entries = os.listdir(folder)  # noqa: PTH208 - half the time of pathlib's, five times a start
    return tuple(sorted(entry.removesuffix(".py") for entry in entries if not entry.startswith((".", "_"))))


def load_adapter(kind: str, name: str) -> ModuleType:
    """The module or package functions/adapters/KIND/NAME. KeyError where there is none: no name reaches another."""
    if name not in adapter_names(kind):
        raise KeyError(f"{kind}/{name}")
    return import_module(f"functions.adapters.{kind}.{name}")


def symptom_adapter(name: str) -> type[SymptomAdapter]:
    """The class of functions/adapters/symptoms/NAME. KeyError where there is none."""
    adapter: type[SymptomAdapter] = load_adapter("symptoms", name).ADAPTER
    return adapter
