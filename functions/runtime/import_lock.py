"""A lock for importing client libraries on first use, one thread at a time.

Two threads that import parts of one package can deadlock: `import requests.exceptions` locks that module and then `requests`,
while `import requests` takes the two locks in the other order. Python resolves that with an error in one of the threads
(importlib, `_ModuleLock`). It happened in one of 150 processes whose first alert called Cloud Storage and Secret Manager at the
same time; the scheduler decided that alert later."""

import threading
from collections.abc import Callable
from types import ModuleType
from typing import Any

IMPORTING = threading.RLock()
"""Hold it around every import of a client library inside a function. It does not cover what a library itself imports
later, such as google-auth's modules for the credentials that it finds."""


class Late:
    """A module of our own that is imported when one of its functions is first called. `load` imports and returns it."""

    def __init__(self, load: Callable[[], ModuleType]) -> None:
        self._load = load

    def __getattr__(self, name: str) -> Callable[..., Any]:
        def call(*given: Any, **named: Any) -> Any:
            with IMPORTING:
                module = self._load()
            return getattr(module, name)(*given, **named)

        return call
