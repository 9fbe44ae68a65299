"""record: keeps what Grafana posts, as files for simulate, backtest, card and send."""

from __future__ import annotations

import json
import time
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import click

from unstick import output

MAX_BODY = 8 * 2**20
SOCKET_S = 30.0


@click.command()
@click.argument("folder", metavar="FOLDER", type=click.Path(file_okay=False))
@click.option("--host", default="127.0.0.1", show_default=True, help="The address to listen on; 0.0.0.0 for every one.")
@click.option("--port", type=click.IntRange(0, 65535), default=8090, show_default=True, help="The port; 0 for any free one.")
@click.option("--count", type=click.IntRange(min=1), default=None, help="Stop after so many notifications; else by Ctrl-C.")
def record(*, folder: str, host: str, port: int, count: int | None) -> None:
    """Keep the notifications that Grafana posts, one file each, in FOLDER.

    Add a contact point with the URL that this prints, and press Test, or let a real alert come. Each file is what
    simulate, backtest, card and send take. Headers are not kept, since they carry secrets. Nothing is checked, decided or
    restarted: whoever reaches the port can fill the folder, so stop it when you have what you need.
    """
    try:
        Path(folder).mkdir(parents=True, exist_ok=True)
        server = Recorder((host, port), Path(folder))
    except OSError as error:
        raise output.Unusable(f"can't record to {folder} on {host}:{port}: {error.strerror or error}. {REMEDY}") from None
    with server:
        output.print_text(f"Recording to {folder} what is posted to http://{host}:{server.server_address[1]}/ (Ctrl-C stops it)")
        try:
            while count is None or server.kept < count:
                server.handle_request()
        except KeyboardInterrupt:
            click.echo()
    output.print_text(f"notifications kept: {server.kept}")


REMEDY = "If another process uses the port, name a free one with --port."


class Recorder(HTTPServer):
    def __init__(self, address: tuple[str, int], folder: Path) -> None:
        super().__init__(address, _Handler)
        self.folder = folder
        self.kept = 0

    def keep(self, body: str) -> Path:
        """Write one notification into a file of its own."""
        self.kept += 1
        now = time.time()
        path = self.folder / f"{time.strftime('%Y%m%d-%H%M%S', time.gmtime(now))}-{self.kept:03}.json"
        path.write_text(json.dumps({"recorded_at_unix": now, "request": {"body": body}}, ensure_ascii=False), encoding="utf-8")
        return path


class _Handler(BaseHTTPRequestHandler):
    server: Recorder
    timeout = SOCKET_S

    def do_POST(self) -> None:
        length = self.headers.get("Content-Length", "")
        if not length.isdecimal() or int(length) > MAX_BODY:
            self.send_error(413 if length.isdecimal() else 411)
            return
        path = self.server.keep(self.rfile.read(int(length)).decode(errors="replace"))
        output.print_text(f"kept {path}")
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    do_PUT = do_POST  # noqa: N815 - http.server's name

    def log_message(self, *_: object) -> None:
        """What was kept is already printed."""
