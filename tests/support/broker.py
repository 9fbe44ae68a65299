"""A real rabbitmq-server for tests and the demo: a plain process on loopback with its own node, ports, folders and epmd."""

from __future__ import annotations

import errno
import json as jsonlib
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
from base64 import b64encode
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote
from urllib.request import Request, urlopen

from tests.support.patience import PATIENCE_S

if TYPE_CHECKING:
    from pika.adapters.blocking_connection import BlockingChannel

WRAPPED = Path("/usr/lib/rabbitmq/bin/rabbitmq-server")
"""Debian's wrapper on the PATH insists on the system user and its folders; what it wraps does not."""

WRAPPER = "rabbitmq-script-wrapper"

ADMIN = ("root-of-tests", "only-on-loopback")
START_TIMEOUT_S = 2 * PATIENCE_S
"""It computes for seconds, and on a busy machine for a minute."""
FIRST_PORT, LAST_PORT = 15_000, 32_000
UNSEEDED = random.SystemRandom()
"""Tests that run side by side are seeded alike, and would try the same ports."""

GIVEN: set[int] = set()
"""The ports that this process has given away."""


@dataclass(frozen=True, slots=True)
class Broker:
    """Where a running broker listens, and what tests do with it as its administrator."""

    amqp_port: int
    http_port: int
    metrics_port: int
    folder: Path

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.http_port}"

    def amqp_url(self, vhost: str = "/") -> str:
        """For pika, which of itself gives up after 10 and 15 s."""
        patient = f"socket_timeout={PATIENCE_S:g}&stack_timeout={PATIENCE_S:g}"
        return f"amqp://{ADMIN[0]}:{ADMIN[1]}@127.0.0.1:{self.amqp_port}/{quote(vhost, safe='')}?{patient}"

    def api(self, method: str, path: str, body: Any = None) -> Any:
        """Call the management API as administrator; path segments must be encoded. Raises urllib's HTTPError."""
        basic = b64encode(":".join(ADMIN).encode()).decode()
        sent = None if body is None else jsonlib.dumps(body).encode()
        headers = {"Authorization": f"Basic {basic}", "Content-Type": "application/json"}
        with urlopen(Request(f"{self.url}/api/{path}", sent, headers, method=method), timeout=PATIENCE_S) as answer:
            text = answer.read()
        return jsonlib.loads(text) if text else None

    def add_vhost(self, vhost: str) -> None:
        self.api("PUT", f"vhosts/{quote(vhost, safe='')}")
        self.api("PUT", f"permissions/{quote(vhost, safe='')}/{ADMIN[0]}", {"configure": ".*", "write": ".*", "read": ".*"})

    def add_user(self, name: str, password: str, *, tags: str, vhosts: Sequence[str] = ()) -> None:
        """A user with these tags who may see, but not touch, what is in these vhosts."""
        self.api("PUT", f"users/{quote(name, safe='')}", {"password": password, "tags": tags})
        nothing = {"configure": "^$", "write": "^$", "read": "^$"}
        for vhost in vhosts:
            self.api("PUT", f"permissions/{quote(vhost, safe='')}/{quote(name, safe='')}", nothing)

    @contextmanager
    def channel(self, vhost: str = "/") -> Iterator[BlockingChannel]:
        """A channel of a connection of its own."""
        import pika

        connection = pika.BlockingConnection(pika.URLParameters(self.amqp_url(vhost)))
        try:
            yield connection.channel()
        finally:
            with suppress(pika.exceptions.AMQPError):
                connection.close()

    def publish(self, queue: str, count: int = 1, *, vhost: str = "/", arguments: dict[str, Any] | None = None) -> None:
        """Declare a durable queue and put messages with a timestamp into it, each confirmed by the broker."""
        import pika

        with self.channel(vhost) as channel:
            channel.queue_declare(queue, durable=True, arguments=arguments)
            channel.confirm_delivery()
            for number in range(count):
                stamped = pika.BasicProperties(timestamp=int(time.time()), delivery_mode=2)
                channel.basic_publish("", queue, f"message {number}".encode(), stamped)


@contextmanager
def broker(folder: Path, *, statistics: bool = True) -> Iterator[Broker]:
    """Run a broker until the block ends; ready when it is yielded. Nothing of it is left but what lies in `folder`."""
    amqp, http, metrics, distribution, mapper = free_ports(5)
    made = Broker(amqp, http, metrics, folder)
    environment = _environment(folder, distribution, mapper)
    _write_configuration(made, statistics=statistics)
    with (
        _process(["epmd", "-address", "127.0.0.1", "-port", str(mapper)], environment, folder / "epmd.log"),
        _process([str(program())], environment, folder / "broker.log") as server,
    ):
        _wait_until_ready(made, server)
        yield made


@contextmanager
def consumer(
    made: Broker, queue: str, mode: str, *, vhost: str = "/", per_second: float = 1.0
) -> Iterator[subprocess.Popen[str]]:
    """Run workers/stuck_consumer.py in one of its modes; it is registered with the broker when it is yielded."""
    command = [
        sys.executable,
        str(Path(__file__).with_name("workers") / "stuck_consumer.py"),
        "--url",
        made.amqp_url(vhost),
        "--queue",
        queue,
        "--mode",
        mode,
        "--per-second",
        str(per_second),
    ]
    with subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True) as started:
        try:
            if started.stdout is None or started.stdout.readline() != "consuming\n":
                raise RuntimeError(f"the consumer of {queue} did not start")
            yield started
        finally:
            started.kill()


def program() -> Path | None:
    """The script that starts a broker: beside a wrapper, or on the PATH, as RabbitMQ's own archive and Homebrew have it."""
    if WRAPPED.exists():
        return WRAPPED
    found = shutil.which("rabbitmq-server")
    script = Path(found).resolve() if found else None
    return script if script and script.name != WRAPPER else None


def available() -> bool:
    return program() is not None and shutil.which("epmd") is not None


def free_ports(count: int) -> list[int]:
    """Ports of loopback that nobody listens on, and that no other call gives away, whatever process it is of.

    They lie below those that systems give to outgoing connections (Linux: 32,768 and up): a server that takes seconds to start
    would find one of these taken by a connection of another test.
    """
    found: list[int] = []
    while len(found) < count:
        port = UNSEEDED.randrange(FIRST_PORT, LAST_PORT)
        with suppress(OSError):
            _keep(port)
            with socket.socket() as one:
                one.bind(("127.0.0.1", port))
            found.append(port)
    return found


def _keep(port: int) -> None:
    """Take a name that no other process can have while this one lives. Raises OSError where the port was given away before."""
    if port in GIVEN:
        raise OSError(errno.EADDRINUSE, "given away before")
    if sys.platform == "linux":  # elsewhere such a name would be a file that stays behind
        with socket.socket(socket.AF_UNIX) as name:
            name.bind(f"\0unstick-tests-port-{port}")
            name.detach()
    GIVEN.add(port)


def _environment(folder: Path, distribution_port: int, mapper_port: int) -> dict[str, str]:
    """Nothing of the machine's own broker: no /etc/rabbitmq, no ~/.erlang.cookie, no epmd on 4369."""
    home = folder / "home"
    home.mkdir(parents=True)
    return {
        "ERL_INETRC": str(folder / "inetrc"),
        "PATH": f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/bin:/sbin:/bin",
        "HOME": str(home),
        "LANG": "C.UTF-8",
        "ERL_EPMD_PORT": str(mapper_port),
        "ERL_EPMD_ADDRESS": "127.0.0.1",
        "RUNNING_UNDER_SYSTEMD": "true",  # the script then becomes the broker instead of waiting for it
        "RABBITMQ_NODENAME": f"unstick-{mapper_port}@localhost",
        "RABBITMQ_DIST_PORT": str(distribution_port),
        "RABBITMQ_CONF_ENV_FILE": str(folder / "no-rabbitmq-env.conf"),
        "RABBITMQ_CONFIG_FILE": str(folder / "rabbitmq.conf"),
        "RABBITMQ_ADVANCED_CONFIG_FILE": str(folder / "no-advanced.config"),
        "RABBITMQ_ENABLED_PLUGINS_FILE": str(folder / "enabled_plugins"),
        "RABBITMQ_MNESIA_BASE": str(folder / "mnesia"),
        "RABBITMQ_LOG_BASE": str(folder / "log"),
        "RABBITMQ_PID_FILE": str(folder / "broker.pid"),
        "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "-kernel inet_dist_use_interface {127,0,0,1} +S 2:2",
    }


def _write_configuration(made: Broker, *, statistics: bool) -> None:
    # names are looked up by Erlang itself: its resolver process would outlive a killed broker for a moment
    (made.folder / "inetrc").write_text('{lookup,[file]}.\n{host,{127,0,0,1},["localhost"]}.\n')
    (made.folder / "enabled_plugins").write_text("[rabbitmq_management,rabbitmq_prometheus].\n")
    lines = [
        f"listeners.tcp.1 = 127.0.0.1:{made.amqp_port}",
        "management.tcp.ip = 127.0.0.1",
        f"management.tcp.port = {made.http_port}",
        "prometheus.tcp.ip = 127.0.0.1",
        f"prometheus.tcp.port = {made.metrics_port}",
        f"default_user = {ADMIN[0]}",
        f"default_pass = {ADMIN[1]}",
        "loopback_users = none",
        "disk_free_limit.absolute = 1MB",
        "vm_memory_high_watermark.absolute = 1GB",
    ]
    if not statistics:
        lines.append("management_agent.disable_metrics_collector = true")
    (made.folder / "rabbitmq.conf").write_text("\n".join(lines) + "\n")


def _wait_until_ready(made: Broker, server: subprocess.Popen[bytes]) -> None:
    ends = time.monotonic() + START_TIMEOUT_S
    while server.poll() is None:
        with suppress(OSError, urllib.error.URLError):
            socket.create_connection(("127.0.0.1", made.amqp_port), timeout=1).close()
            made.api("GET", "vhosts")
            return
        if time.monotonic() > ends:
            break
        time.sleep(0.1)
    log = (made.folder / "broker.log").read_text(errors="replace")[-3000:]
    raise RuntimeError(f"the broker did not start within {START_TIMEOUT_S:g} s:\n{log}")


@contextmanager
def _process(command: list[str], environment: dict[str, str], log: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A process in a group of its own that is gone, with all that it started, when the block ends."""
    with log.open("wb") as out:
        started = subprocess.Popen(
            command, env=environment, cwd=log.parent, stdin=subprocess.DEVNULL, stdout=out, stderr=out, start_new_session=True
        )
    try:
        yield started
    finally:
        with suppress(ProcessLookupError):
            os.killpg(started.pid, signal.SIGKILL)  # its folder is thrown away, so there is nothing to close orderly
        started.wait()
