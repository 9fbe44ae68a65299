"""Thread-safe typed decoding with msgspec.

msgspec (0.22) caches what it learns about a class on the class itself, before that is complete. If another thread decodes the
class meanwhile, the process crashes with a segmentation fault, as one in five processes did whose first eight requests came at
the same time. So a lock is held while a class is first decoded; after that no lock is needed."""

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
    """Returns the JSON decoder of a type."""
    with _LEARNING:
        return _learn(cast("Hashable", kind))


def convert(value: Any, kind: type[T]) -> T:
    """Convert a value of JSON types to this type. Raises msgspec.ValidationError if it doesn't fit."""
    decoder(kind)
    return msgspec.convert(value, kind)
