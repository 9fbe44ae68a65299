"""A function that does nothing: what functions-framework itself costs."""

from flask import Request


def webhook(_request: Request) -> str:
    """Answer 200."""
    return ""
