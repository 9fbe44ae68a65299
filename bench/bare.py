"""A function that does nothing: what functions-framework itself costs."""

from __future__ import annotations

from flask import Request


def webhook(_request: Request) -> str:
    """Answer 200."""
    return ""
