"""Typed decoding by msgspec, safe for threads.

msgspec (0.22) stores what it learns about a class on the class itself, before that is complete. If another thread
decodes the class meanwhile, the whole process ends with a segmentation fault: one in five processes whose first eight
requests came at once. So one thread alone learns a class; after that nobody needs the lock.
"""

from __future__ import annotations

import threading
from collections.abc import Hashable
from functools import lru_cache
from typing import Any, TypeVar, cast

import msgspec

T = TypeVar("T")

_LEARNING = threading.Lock()


@lru_cache(maxsize=64)
def _learn(kind: Hashable) -> Any:
    return msgspec.json.Decoder(cast("Any", kind))


def decoder(kind: type[T]) -> Any:
    """The decoder of JSON texts for a type."""
    with _LEARNING:
        return _learn(cast("Hashable", kind))


def convert(value: Any, kind: type[T]) -> T:
    """Convert a value of JSON types to this type. Raises msgspec.ValidationError if it does not fit."""
    decoder(kind)
    return msgspec.convert(value, kind)
