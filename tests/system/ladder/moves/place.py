"""A queue in a vhost of its own, what an application did with it, and move.py run on it with the account that its page names."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pika
import yaml
from pika.adapters.blocking_connection import BlockingChannel

from testbed.broker import HOST, Broker
from testbed.patience import PATIENCE_S, wait_until

FOLDER = Path(__file__).parents[4] / "infra" / "rundeck"
PROGRAM = FOLDER / "move.py"
MOVER = ("unstick-park", "moves-what-hangs")
VHOST = "prod"
KINDS: Mapping[str, Mapping[str, Any]] = {
    "classic": {},
    "priorities": {"x-max-priority": 5},
    "quorum": {"x-queue-type": "quorum"},
}


def grant(broker: Broker, *, vhost: str = VHOST, user: tuple[str, str] = MOVER, tags: str = "management", **other: str) -> None:
    """The rights that infra/rabbitmq/README.md names, for all queues of these tests, which share a broker."""
    broker.add_vhost(vhost)
    broker.add_user(*user, tags=tags)
    rights = {"configure": r"^mail\..*\.parked$", "write": r"^amq\.default$", "read": r"^mail\..*$"}
    broker.api("PUT", f"permissions/{quote(vhost, safe='')}/{user[0]}", {**rights, **other})


def configure(broker: Broker, folder: Path, *, stop: Sequence[str] = (), start: Sequence[str] = (), **other: Any) -> Path:
    """The file that move.py reads."""
    account = {"api": broker.url, "user": MOVER[0], "password": MOVER[1], "amqp": f"127.0.0.1:{broker.amqp_port}"}
    file = folder / "park.json"
    file.write_text(json.dumps({**account, "stop": list(stop), "start": list(start), **other}))
    return file


def step_of(job: str, file: Path, options: Mapping[str, str]) -> str:
    """The last step of park.yaml or return.yaml as a Rundeck runs it, with this configuration."""
    steps: list[dict[str, Any]] = yaml.safe_load((FOLDER / f"{job}.yaml").read_text())[0]["sequence"]["commands"]
    script = str(steps[-1]["script"]).replace("/usr/local/bin/unstick-move", f"{sys.executable} {PROGRAM}")
    script = re.sub(r"UNSTICK_MOVE_CONFIG='[^']*'", f"UNSTICK_MOVE_CONFIG='{file}'", script)
    return re.sub(r"@option\.([a-z_]+)@", lambda option: options.get(option[1], option[0]), script)


class Place:
    """A queue, and what lies there. `started` is a file that START makes, `stopped` one that STOP makes."""

    def __init__(self, broker: Broker, folder: Path, kind: str, name: str, *, vhost: str = VHOST, **arguments: Any) -> None:
        self.broker, self.folder, self.kind, self.vhost, self.queue = broker, folder, kind, vhost, name
        self.parked = f"{name}.parked"
        self.started, self.stopped = folder / "started", folder / "stopped"
        grant(broker, vhost=vhost)
        with broker.channel(vhost) as channel:
            channel.queue_declare(name, durable=True, arguments={**KINDS[kind], **arguments})

    def publish(self, *bodies: str, queue: str = "", **properties: Any) -> None:
        with self.broker.channel(self.vhost) as channel:
            channel.confirm_delivery()
            for body in bodies:
                given = pika.BasicProperties(delivery_mode=2, **properties)
                channel.basic_publish("", queue or self.queue, body.encode(), given)

    def hang(self, *counts: int) -> None:
        """Consumers that take so many each, acknowledge none, and are gone with their connections, in this order."""
        connections = []
        for count in counts:
            connection = pika.BlockingConnection(pika.URLParameters(self.broker.amqp_url(self.vhost)))
            connections.append(connection)
            channel, held = connection.channel(), []
            channel.basic_qos(prefetch_count=count)
            channel.basic_consume(self.queue, lambda *parts, held=held: held.append(parts))
            while len(held) < count:
                connection.process_data_events(time_limit=1)
        for connection in connections:
            connection.close()
        self.until_returned()

    def until_returned(self) -> None:
        def is_free() -> bool:
            with self.broker.channel(self.vhost) as channel:
                return channel.queue_declare(self.queue, passive=True).method.consumer_count == 0

        wait_until(is_free)

    def command(self, way: str, number: str = "1", returns: str = "20") -> list[str]:
        return [sys.executable, str(PROGRAM), way, self.vhost, self.queue, number, "incident.1-park", returns]

    def environment(self, **configuration: Any) -> dict[str, str]:
        commands = {"stop": ["touch", str(self.stopped)], "start": ["touch", str(self.started)], "wait_s": 12}
        file = configure(self.broker, self.folder, **{**commands, **configuration})
        return {**os.environ, "UNSTICK_MOVE_CONFIG": str(file)}

    def run(self, way: str, number: str = "1", returns: str = "20", **configuration: Any) -> tuple[int, str, str]:
        """(exit status, the sentence, all that it said)."""
        done = subprocess.run(
            self.command(way, number, returns),
            env=self.environment(**configuration),
            capture_output=True,
            text=True,
            check=False,
            timeout=6 * PATIENCE_S,
        )
        assert done.stderr == "", done.stderr
        status, _, sentence = done.stdout.splitlines()[-1].partition(": ")
        assert status == f"exit {done.returncode}", done.stdout
        return done.returncode, sentence, done.stdout

    def messages(self, queue: str = "") -> list[tuple[Any, Any, bytes]]:
        """All of them in their order; they stay there, but for what a delivery limit drops."""
        messages: list[tuple[Any, Any, bytes]] = []
        with self.broker.channel(self.vhost) as channel, suppress(pika.exceptions.ChannelClosedByBroker):
            while (got := channel.basic_get(queue or self.queue))[0] is not None:
                messages.append(got)
        return messages

    def bodies(self, queue: str = "") -> list[str]:
        return [body.decode() for _, _, body in self.messages(queue)]

    def left(self) -> list[str]:
        """The same, sorted where the broker keeps no order: 3.10 returns what two consumers of a quorum queue had in any."""
        bodies = self.bodies()
        return sorted(bodies) if (self.kind, self.broker.version) == ("quorum", HOST) else bodies

    def hold(self, channel: BlockingChannel) -> None:
        """A consumer that took a message. One that pika has not handed over is rejected, and 3.10 puts it behind all others."""
        held: list[object] = []
        channel.basic_qos(prefetch_count=1)
        channel.basic_consume(self.queue, lambda *parts: held.append(parts))
        while not held:
            channel.connection.process_data_events(time_limit=1)

    @property
    def untouched(self) -> bool:
        """Whether the application was neither stopped nor started."""
        return not (self.started.exists() or self.stopped.exists())

    def policy(self, pattern: str, definition: Mapping[str, Any], *, kind: str = "policies") -> None:
        name = f"{self.queue}-{kind}"
        body = {"pattern": pattern, "definition": definition, "apply-to": "queues", "priority": 1}
        self.broker.api("PUT", f"{kind}/{quote(self.vhost, safe='')}/{name}", body)
        page = f"queues/{quote(self.vhost, safe='')}/{quote(self.queue, safe='')}"
        wait_until(lambda: self.broker.api("GET", page), what="the queue's page")
        time.sleep(0.5)  # a policy reaches the queues after its own answer
