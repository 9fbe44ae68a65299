"""The responses of the entry points."""

import json

from functions.runtime.errors import BadRequest

Response = tuple[str, int, dict[str, str]]
JSON = {"Content-Type": "application/json"}


def json_response(status: int, **content: object) -> Response:
    """A response with a JSON object."""
    return json.dumps(content, ensure_ascii=False), status, JSON


def error_response(error: BadRequest, allow: str = "POST, PUT") -> Response:
    """The response to a bad request. 405 has no body, so that a redirect in front of us doesn't look like success."""
    if error.status == 405:
        return "", 405, {"Allow": allow}
    return json_response(error.status, error=error.sentence)
