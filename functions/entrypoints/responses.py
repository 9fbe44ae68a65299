"""The responses of the entry points."""

import json

from functions.runtime.errors import BadRequest

Response = tuple[str, int, dict[str, str]]
JSON = {"Content-Type": "application/json"}


def json_response(status: int, **content: object) -> Response:
    """A response with a JSON object."""
    return json.dumps(content, ensure_ascii=False), status, JSON


def not_allowed(methods: str) -> Response:
    """The response to another method. No body, so that a redirect that turned POST into GET doesn't look like success."""
    return "", 405, {"Allow": methods}


def error_response(error: BadRequest) -> Response:
    """The response to a bad request."""
    return json_response(error.status, error=error.sentence)
