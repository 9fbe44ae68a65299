"""What the entry points answer."""

from __future__ import annotations

import json

from functions.runtime.errors import BadRequest

Response = tuple[str, int, dict[str, str]]
JSON = {"Content-Type": "application/json"}


def json_response(status: int, **content: object) -> Response:
    """A JSON object as a response."""
    return json.dumps(content, ensure_ascii=False), status, JSON


def error_response(error: BadRequest, allow: str = "POST, PUT") -> Response:
    """What the caller did wrong. 405 has no body, so that a redirect in front of us does not look like success."""
    if error.status == 405:
        return "", 405, {"Allow": allow}
    return json_response(error.status, error=error.sentence)
