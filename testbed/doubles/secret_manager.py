"""Secret Manager's REST API over HTTP, as far as Unstick uses it: the newest version of secrets, and new versions."""

from __future__ import annotations

import base64
import json
import threading
from collections.abc import Iterator, MutableMapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler

from testbed.doubles.server import Server


@contextmanager
def secret_manager(secrets: MutableMapping[str, str]) -> Iterator[str]:
    """The base URL of a server that has these secrets, by projects/P/secrets/NAME, for as long as the context."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def do_GET(self) -> None:
            name, _, version = self.path.partition("?")[0].removeprefix("/v1/").partition("/versions/")
            known = version == "latest:access" and name in secrets
            said: dict[str, object] = {"error": {"code": 404, "message": f"Secret [{name}] not found.", "status": "NOT_FOUND"}}
            if known:
                payload = {"data": base64.b64encode(secrets[name].encode()).decode()}
                said = {"name": f"{name}/versions/1", "payload": payload}
            self._answer(said, known=known)

        def do_POST(self) -> None:
            name = self.path.partition("?")[0].removeprefix("/v1/").removesuffix(":addVersion")
            sent = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            known = name in secrets
            if known:
                secrets[name] = base64.b64decode(sent["payload"]["data"]).decode()
            self._answer(
                {"name": f"{name}/versions/2"} if known else {"error": {"code": 404, "status": "NOT_FOUND"}}, known=known
            )

        def _answer(self, said: dict[str, object], *, known: bool) -> None:
            body = json.dumps(said).encode()
            self.send_response(200 if known else 404)
            self.send_header("Content-Type", "application/json; charset=UTF-8")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_arguments: object) -> None:
            """Nobody reads it."""

    server = Server(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
