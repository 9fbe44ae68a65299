"""msgspec's structs: markers for fields of the configuration types, and thread-safe typed decoding.

A marker says how a field is written in unstick.yaml (functions/config/formats.py).

msgspec (0.22) caches what it learns about a class on the class itself, before that is complete. If another thread decodes the
class meanwhile, the process crashes with a segmentation fault, as one in five processes did whose first eight requests came at
the same time. So a lock is held while a class is first decoded; after that no lock is needed."""

import threading
from collections.abc import Hashable
from functools import lru_cache
from typing import Any, TypeVar, cast

import msgspec
from msgspec import Meta

MONTH_S = 30 * 86400.0  # the furthest ahead that Cloud Tasks accepts a task
T = TypeVar("T")

_LEARNING = threading.Lock()


def key(field: str) -> str:
    """The field's key in unstick.yaml: its name without the suffix `_s` of seconds."""
    return field.removesuffix("_s")


def written(form: str) -> Meta:
    """Mark a field as written in one of the forms of functions/config/formats.py."""
    return Meta(extra_json_schema={"format": form})


def duration(least_s: float = 0.001, most_s: float = MONTH_S) -> Meta:
    """Mark a field as written as a duration between two bounds, both included."""
    return Meta(ge=least_s, le=most_s, extra_json_schema={"format": "duration"})


def adapter(kind: str) -> Meta:
    """Mark a field whose value names an adapter of this kind, with its settings."""
    return Meta(extra_json_schema={"adapters": kind})


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
