"""Typed decoding by msgspec, safe for threads.

msgspec (0.22) keeps what it learns of a class on the class itself, and puts it there before it is complete. Another thread that
decodes by it meanwhile ends the whole process with a segmentation fault: one in five processes whose first eight requests came
at once. So a class is learned by one thread alone; after that the others need no lock.
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
    """A value made of JSON's types as this type. Raises msgspec.ValidationError where it has another form."""
    decoder(kind)
    return msgspec.convert(value, kind)
