"""Markers for fields of the configuration types: how a field is written in unstick.yaml. See functions/config/formats.py."""

from msgspec import Meta

MONTH_S = 30 * 86400.0  # the furthest ahead that Cloud Tasks accepts a task


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
