"""Starts brokers: one, or a cluster of nodes on this host that can be stopped, killed, parted and started again."""

from __future__ import annotations

import os
import secrets
import socket
import time
import urllib.error
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from testbed.broker.node import ADMIN, Broker
from testbed.broker.ports import free_ports
from testbed.broker.versions import HOST, command
from testbed.patience import PATIENCE_S
from testbed.process import Server

START_TIMEOUT_S = 2 * PATIENCE_S
"""It computes for seconds, and on a busy machine for a minute."""

STATISTICS_OFF = "management_agent.disable_metrics_collector = true"
PLUGINS = ("rabbitmq_management", "rabbitmq_prometheus")


@contextmanager
def broker(
    folder: Path, *, version: str = HOST, statistics: bool = True, plugins: Sequence[str] = PLUGINS, lines: Sequence[str] = ()
) -> Iterator[Broker]:
    """Run a broker until the block ends; ready when it is yielded. Nothing of it is left but what lies in `folder`.

    `lines`: more of its configuration.
    """
    more = (*lines, *(() if statistics else (STATISTICS_OFF,)))
    with cluster(folder, 1, version=version, plugins=plugins, lines=more) as made:
        yield made.nodes[0]


@contextmanager
def cluster(
    folder: Path,
    size: int,
    *,
    version: str = HOST,
    plugins: Sequence[str] = PLUGINS,
    lines: Sequence[str] = (),
    bare: Sequence[int] = (),
) -> Iterator[Cluster]:
    """Run this many nodes that find each other; all are ready when it is yielded. Each has a folder below `folder`.

    `bare`: the numbers of nodes without the management plugin, so that nothing is known of what they do.
    """
    mapper, cookie = free_ports(1)[0], secrets.token_hex(16)
    names = [f"unstick-{mapper}-{number}@localhost" for number in range(size)]
    peers = [f"cluster_formation.classic_config.nodes.{number} = {name}" for number, name in enumerate(names, start=1)]
    if size > 1:
        lines = (*lines, "cluster_formation.peer_discovery_backend = classic_config", *peers)
    made = Cluster([_prepare(folder / name.partition("@")[0], name, version, mapper, cookie) for name in names])
    for number, node in enumerate(made.nodes):
        _write_configuration(node, () if number in bare else plugins, lines)
    environment = made.nodes[0].environment
    with _process(["epmd", "-address", "127.0.0.1", "-port", str(mapper)], environment, folder / "epmd.log"), made.running:
        made.start(*made.nodes)
        yield made


@dataclass
class Cluster:
    """Nodes on one host, and what can happen to them."""

    nodes: list[Broker]
    running: ExitStack = field(default_factory=ExitStack)
    servers: dict[str, Server] = field(default_factory=dict)

    def start(self, *nodes: Broker) -> None:
        """Start these, or start them again with all that they had; they serve when this returns."""
        for node in nodes:
            started = _process(command(node.version, node.folder), node.environment, node.folder / "broker.log")
            self.servers[node.name] = self.running.enter_context(started)
        for node in nodes:
            _wait_until_ready(node, self.servers[node.name])

    def stop(self, node: Broker) -> None:
        """End it as an upgrade does."""
        self.servers[node.name].terminate()
        self.servers[node.name].wait(START_TIMEOUT_S)

    def kill(self, node: Broker) -> None:
        """Kill -9."""
        self.servers[node.name].end()

    def part(self, node: Broker) -> None:
        """Cut it off from all others, as a broken network does: neither side knows the other's cookie any more."""
        others = [one for one in self.nodes if one is not node and self.servers[one.name].poll() is None]
        for here, there in [*((node, one) for one in others), *((one, node) for one in others)]:
            here.evaluate(f"erlang:set_cookie('{there.name}', '{here.name}'), erlang:disconnect_node('{there.name}').")

    def heal(self, node: Broker) -> None:
        """The network is back."""
        for here in self.nodes:
            for there in self.nodes:
                if node in (here, there) and here is not there and self.servers[here.name].poll() is None:
                    here.evaluate(f"erlang:set_cookie('{there.name}', erlang:get_cookie()).")


def _prepare(folder: Path, name: str, version: str, mapper_port: int, cookie: str) -> Broker:
    """Folders and settings of a node. Nothing of the machine's own: no /etc/rabbitmq, no ~/.erlang.cookie, no epmd on 4369."""
    amqp, http, metrics, distribution = free_ports(4)
    home = folder / "home"
    home.mkdir(parents=True)
    (home / ".erlang.cookie").write_text(cookie)
    (home / ".erlang.cookie").chmod(0o400)
    # names are looked up by Erlang itself: its resolver process would outlive a killed broker for a moment
    (folder / "inetrc").write_text('{lookup,[file]}.\n{host,{127,0,0,1},["localhost"]}.\n')
    environment = {
        "ERL_INETRC": str(folder / "inetrc"),
        "PATH": f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/bin:/sbin:/bin",
        "HOME": str(home),
        "LANG": "C.UTF-8",
        "ERL_EPMD_PORT": str(mapper_port),
        "ERL_EPMD_ADDRESS": "127.0.0.1",
        "RUNNING_UNDER_SYSTEMD": "true",  # the script then becomes the broker instead of waiting for it
        "RABBITMQ_NODENAME": name,
        "RABBITMQ_DIST_PORT": str(distribution),
        "RABBITMQ_CONF_ENV_FILE": str(folder / "no-rabbitmq-env.conf"),
        "RABBITMQ_CONFIG_FILE": str(folder / "rabbitmq.conf"),
        "RABBITMQ_ADVANCED_CONFIG_FILE": str(folder / "no-advanced.config"),
        "RABBITMQ_ENABLED_PLUGINS_FILE": str(folder / "enabled_plugins"),
        "RABBITMQ_MNESIA_BASE": str(folder / "mnesia"),
        "RABBITMQ_LOG_BASE": str(folder / "log"),
        "RABBITMQ_PID_FILE": str(folder / "broker.pid"),
        "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "-kernel inet_dist_use_interface {127,0,0,1} +S 2:2",
    }
    return Broker(amqp, http, metrics, folder, name, version, environment)


def _write_configuration(made: Broker, plugins: Sequence[str], more: Sequence[str]) -> None:
    (made.folder / "enabled_plugins").write_text(f"[{','.join(plugins)}].\n")
    lines = [
        f"listeners.tcp.1 = 127.0.0.1:{made.amqp_port}",
        *(("management.tcp.ip = 127.0.0.1", f"management.tcp.port = {made.http_port}") if plugins else ()),
        *(("prometheus.tcp.ip = 127.0.0.1", f"prometheus.tcp.port = {made.metrics_port}") if plugins else ()),
        f"default_user = {ADMIN[0]}",
        f"default_pass = {ADMIN[1]}",
        "loopback_users = none",
        "disk_free_limit.absolute = 1MB",
        "vm_memory_high_watermark.absolute = 1GB",
        *more,
    ]
    if made.version == "4.3":  # one of the ways to be stuck that tests play
        lines.append("deprecated_features.permit.global_qos = true")
    (made.folder / "rabbitmq.conf").write_text("\n".join(lines) + "\n")


def _wait_until_ready(made: Broker, server: Server) -> None:
    """`/api/overview` is the last to answer: on 4.3 with 500 for 0.1 s after everything else is there."""
    ends = time.monotonic() + START_TIMEOUT_S
    while server.poll() is None:
        with suppress(OSError, urllib.error.URLError):
            socket.create_connection(("127.0.0.1", made.amqp_port), timeout=1).close()
            if made.has_management:
                made.api("GET", "vhosts")
                made.api("GET", "overview")
            return
        if time.monotonic() > ends:
            break
        time.sleep(0.1)
    log = (made.folder / "broker.log").read_text(errors="replace")[-3000:]
    raise RuntimeError(f"the broker did not start within {START_TIMEOUT_S:g} s:\n{log}")


@contextmanager
def _process(started: list[str], environment: dict[str, str], log: Path) -> Iterator[Server]:
    """A process that is gone, with all that it started, when the block ends."""
    with log.open("wb") as out:
        running = Server(started, env=environment, cwd=log.parent, stdout=out, stderr=out)
    try:
        yield running
    finally:
        running.end()  # its folder is deleted, so it need not shut down cleanly
