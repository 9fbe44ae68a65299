"""A real Caddy or nginx in front of Unstick, configured by the file that docs/deploy.md has people install.

with Front("nginx", folder, unstick.port) as front:
    post(front.url, body, signed(body))
"""

import os
import re
import socket
import subprocess
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

from testbed.broker import free_ports
from testbed.patience import wait_until
from testbed.process import Server

PROXIES = Path(__file__).parents[1] / "infra" / "proxy"
UPSTREAM = "127.0.0.1:8080"
NGINX = """daemon off;
{user}
worker_processes 1;
pid {folder}/nginx.pid;
error_log {folder}/nginx.log;
events {{ worker_connections 1024; }}
http {{
    access_log off;
    client_body_temp_path {folder}/bodies;
    proxy_temp_path {folder}/answers;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    {server}
}}
"""


class Front:
    """One of them on a free port, without TLS. `plain`: nginx as it is without the documented file's headers and limits."""

    def __init__(self, name: str, folder: Path, upstream_port: int, *, plain: bool = False) -> None:
        self.name, self.folder, self.port = name, folder, free_ports(1)[0]
        self.url = f"http://127.0.0.1:{self.port}/"
        self.file = folder / name
        self.process: Server | None = None
        upstream = f"127.0.0.1:{upstream_port}"
        folder.mkdir(parents=True, exist_ok=True)
        if name == "caddy":
            self.command = ["caddy", "run", "--adapter", "caddyfile", "--config", str(self.file)]
            self.file.write_text(self._caddyfile().replace(UPSTREAM, upstream))
        else:
            self.command = ["/usr/sbin/nginx", "-c", str(self.file), "-e", str(folder / "nginx.log")]
            server = f"server {{ listen 443 ssl; location / {{ proxy_pass http://{UPSTREAM}; }} }}" if plain else self._nginx()
            server = server.replace("listen 443 ssl;", f"listen 127.0.0.1:{self.port};").replace(UPSTREAM, upstream)
            self.file.write_text(NGINX.format(folder=folder, server=server, user="user root;" if os.geteuid() == 0 else ""))

    def _caddyfile(self) -> str:
        text = (PROXIES / "Caddyfile").read_text()
        if _caddy_version() < (2, 6, 4):
            text = text.replace("\t\trequest_buffers 8MiB", "\t\tbuffer_requests\n\t\tmax_buffer_size 8MiB")
        text = text.replace("unstick.example.com {", f"http://127.0.0.1:{self.port} {{")
        return text.replace("{\n\tservers", "{\n\tadmin off\n\tauto_https off\n\tservers", 1)

    def _nginx(self) -> str:
        return re.sub(r"^ *ssl_.*\n", "", (PROXIES / "nginx.conf").read_text(), flags=re.MULTILINE)

    def __enter__(self) -> Self:
        homes = {"HOME": str(self.folder), "XDG_DATA_HOME": str(self.folder), "XDG_CONFIG_HOME": str(self.folder)}
        with (self.folder / "output").open("wb") as out:
            self.process = Server(self.command, env=os.environ | homes, stdout=out, stderr=out)
        try:
            wait_until(self._listens, what=lambda: (self.folder / "output").read_text()[-2000:])
        except BaseException:
            self.stop()
            raise
        return self

    def _listens(self) -> bool:
        if self.process is not None and self.process.poll() is not None:
            raise RuntimeError(f"{self.name} did not start:\n{(self.folder / 'output').read_text()[-2000:]}")
        with suppress(OSError), socket.create_connection(("127.0.0.1", self.port), timeout=1.0):
            return True
        return False

    def stop(self) -> None:
        if self.process is None:
            return
        self.process.end()
        self.process = None

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.stop()


def _caddy_version() -> tuple[int, ...]:
    said = subprocess.run(["caddy", "version"], capture_output=True, text=True, check=True).stdout
    found = re.search(r"(\d+)\.(\d+)\.(\d+)", said)
    return tuple(map(int, found.groups())) if found else (9,)  # built from source it knows none
