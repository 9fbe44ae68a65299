"""What the types of unstick.yaml say of a field beyond its type: how it is written there. See functions/config/formats.py."""

from __future__ import annotations

from msgspec import Meta

MONTH_S = 30 * 86400.0  # Cloud Tasks takes no wake-up further ahead


def key(field: str) -> str:
    """The key of a field: its name, without the `_s` of seconds."""
    return field.removesuffix("_s")


def written(form: str) -> Meta:
    """Written in one of the forms of functions/config/formats.py."""
    return Meta(extra_json_schema={"format": form})


def duration(least_s: float = 0.001, most_s: float = MONTH_S) -> Meta:
    """Written as a duration between two bounds, both included."""
    return Meta(ge=least_s, le=most_s, extra_json_schema={"format": "duration"})


def adapter(kind: str) -> Meta:
    """Written as the name of one adapter of this kind with its settings."""
    return Meta(extra_json_schema={"adapters": kind})
