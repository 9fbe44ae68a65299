"""Secret Manager's REST API over HTTP, as far as Unstick uses it: the newest version of secrets, and new versions."""

import base64
import json
from collections.abc import Iterator, MutableMapping
from contextlib import contextmanager

from testbed.doubles import server


@contextmanager
def secret_manager(secrets: MutableMapping[str, str]) -> Iterator[str]:
    """The base URL of a server that has these secrets, by projects/P/secrets/NAME, for as long as the context."""

    class Handler(server.Handler):
        def answer(self) -> None:
            name, _, version = self.path.partition("?")[0].removeprefix("/v1/").partition("/versions/")
            if self.command == "POST":
                name = name.removesuffix(":addVersion")
            elif version != "latest:access":
                name = ""
            if name not in secrets:
                refusal = {"code": 404, "message": f"Secret [{name}] not found.", "status": "NOT_FOUND"}
                return self.reply(404, {"error": refusal})
            if self.command == "POST":
                secrets[name] = base64.b64decode(json.loads(self.sent())["payload"]["data"]).decode()
                return self.reply(200, {"name": f"{name}/versions/2"})
            payload = {"data": base64.b64encode(secrets[name].encode()).decode()}
            return self.reply(200, {"name": f"{name}/versions/1", "payload": payload})

    with server.Serving(Handler) as serving:
        yield serving.url
