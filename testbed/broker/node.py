"""One running broker, and what tests do with it as its administrator."""

from __future__ import annotations

import json as jsonlib
import subprocess
import sys
import time
from base64 import b64encode
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.error import HTTPError
from urllib.parse import quote
from urllib.request import Request, urlopen

from testbed.broker.versions import command
from testbed.patience import PATIENCE_S, wait_until

if TYPE_CHECKING:
    from pika.adapters.blocking_connection import BlockingChannel

ADMIN = ("root-of-tests", "only-on-loopback")


@dataclass(frozen=True, slots=True)
class Broker:
    """Where a running broker listens, and what tests do with it as its administrator."""

    amqp_port: int
    http_port: int
    metrics_port: int
    folder: Path
    name: str
    """Of the node."""
    version: str
    environment: dict[str, str]

    @property
    def has_management(self) -> bool:
        return "rabbitmq_management" in (self.folder / "enabled_plugins").read_text()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.http_port}"

    def amqp_url(self, vhost: str = "/", *, user: tuple[str, str] = ADMIN) -> str:
        """For pika, which of itself gives up after 10 and 15 s."""
        patient = f"socket_timeout={PATIENCE_S:g}&stack_timeout={PATIENCE_S:g}"
        return f"amqp://{user[0]}:{user[1]}@127.0.0.1:{self.amqp_port}/{quote(vhost, safe='')}?{patient}"

    def api(self, method: str, path: str, body: Any = None, *, user: tuple[str, str] = ADMIN) -> Any:
        """Call the management API, as administrator unless told; path segments must be encoded. Raises urllib's HTTPError."""
        basic = b64encode(":".join(user).encode()).decode()
        sent = None if body is None else jsonlib.dumps(body).encode()
        headers = {"Authorization": f"Basic {basic}", "Content-Type": "application/json"}
        with urlopen(Request(f"{self.url}/api/{path}", sent, headers, method=method), timeout=PATIENCE_S) as answer:
            text = answer.read()
        return jsonlib.loads(text) if text else None

    def control(self, *arguments: str) -> str:
        """What rabbitmqctl says to these arguments. Raises CalledProcessError."""
        return self._run("rabbitmqctl", *arguments)

    def evaluate(self, expression: str) -> str:
        """What this Erlang expression comes to within the broker."""
        return self.control("eval", expression)

    def _run(self, name: str, *arguments: str) -> str:
        full = command(self.version, self.folder, name, *arguments)
        done = subprocess.run(full, env=self.environment, cwd=self.folder, capture_output=True, text=True, check=True)
        return done.stdout

    def add_vhost(self, vhost: str) -> None:
        page = f"vhosts/{quote(vhost, safe='')}"
        self.api("PUT", page)
        # Without a node that runs it, the state is an empty list.
        wait_until(lambda: {*dict(self.api("GET", page).get("cluster_state", {"": "running"})).values()} == {"running"})
        self.api("PUT", f"permissions/{quote(vhost, safe='')}/{ADMIN[0]}", {"configure": ".*", "write": ".*", "read": ".*"})

    def add_user(self, name: str, password: str, *, tags: str, vhosts: Sequence[str] = (), read: str = "^$") -> None:
        """A user with these tags who may see, but not touch, what is in these vhosts; but consume the queues named by `read`."""
        user = f"users/{quote(name, safe='')}", {"password": password, "tags": tags}
        try:
            self.api("PUT", *user)
        except HTTPError:  # where two processes add the same one at once, one of them is refused
            self.api("PUT", *user)
        nothing = {"configure": "^$", "write": "^$", "read": read}
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
def consumer(
    made: Broker, queue: str, mode: str, *, vhost: str = "/", per_second: float = 1.0
) -> Iterator[subprocess.Popen[str]]:
    """Run workers/stuck_consumer.py in one of its modes; it is registered with the broker when it is yielded."""
    command = [
        sys.executable, str(Path(__file__).parents[1] / "workers" / "stuck_consumer.py"), "--url", made.amqp_url(vhost),
        "--queue", queue, "--mode", mode, "--per-second", str(per_second),
    ]  # fmt: skip
    with subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True) as started:
        try:
            if started.stdout is None or started.stdout.readline() != "consuming\n":
                raise RuntimeError(f"the consumer of {queue} did not start")
            yield started
        finally:
            started.kill()


@dataclass
class Application:
    """A consumer that hangs with some messages, and that its job starts anew."""

    broker: Broker
    queue: str
    back_at: list[float] = field(default_factory=list)
    """When each of its processes was registered."""
    running: ExitStack = field(default_factory=ExitStack)

    def start(self) -> None:
        self.running.enter_context(consumer(self.broker, self.queue, "moody"))
        self.back_at.append(time.time())

    def stop(self) -> None:
        self.running.close()

    def restart(self, _options: Mapping[str, str]) -> None:
        self.stop()
        self.start()
