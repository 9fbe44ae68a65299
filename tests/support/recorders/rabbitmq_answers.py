"""Makes tests/recordings/rabbitmq/answers: what each version answers where versions differ, or where figures are missing.

    python -m tests.support.recorders.rabbitmq_answers VERSION [CASE...]      (ten minutes)

Each file has looks of one situation: the time (ours), and by name the status and body of the answers: `totals` (the list),
`page`, `channels`, `nodes`, and where it tells something `overview`, `sessions` and `list` (all queues of the vhost).
"""

from __future__ import annotations

import base64
import json
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.parse import quote
from urllib.request import Request, urlopen

from functions.adapters.symptoms.rabbitmq import client, to_queue
from tests.support.broker import ADMIN, HOST, Broker, cluster, free_ports
from tests.support.recorders.rabbitmq_channels import CHANNEL, PAGE, QUIET_S, part
from tests.support.workers.amqp10 import Amqp10Consumer
from tests.support.workers.crew import Habit, Publisher, Worker
from tests.support.workers.mqtt import MqttSubscriber

FOLDER = Path(__file__).parents[2] / "recordings" / "rabbitmq" / "answers"
MANAGEMENT = ("rabbitmq_management", "rabbitmq_prometheus")
QUORUM = {"x-queue-type": "quorum"}
LIST = "/api/queues/%2F?disable_stats=true&enable_queue_totals=true"
OVERVIEW = ("rabbitmq_version", "disable_stats", "enable_queue_totals", "rates_mode", "queue_totals")
NODE = ("name", "running", "partitions", "mem_alarm", "disk_free_alarm", "being_drained", "uptime", "rates_mode")


@dataclass
class Case:
    """A situation of a cluster of its own."""

    name: str
    says: str
    play: Callable[[Case], None]
    size: int = 1
    plugins: Sequence[str] = MANAGEMENT
    lines: Sequence[str] = ()
    bare: Sequence[int] = ()
    on: tuple[str, ...] = ("3.10", "4.0", "4.3")
    looks: list[dict[str, Any]] = field(default_factory=list)
    living: ExitStack = field(default_factory=ExitStack)
    ports: list[int] = field(default_factory=list)

    def run(self, version: str) -> None:
        with tempfile.TemporaryDirectory() as folder:
            running = cluster(
                Path(folder),
                self.size,
                version=HOST if version == "3.10" else version,
                plugins=self.plugins,
                lines=self.lines,
                bare=self.bare,
            )
            with running as self.cluster, self.living:
                self.version, self.node = version, self.cluster.nodes[0]
                self.play(self)
        head = json.dumps({"case": self.name, "says": self.says, "version": version})
        looks = ",\n".join(json.dumps(look, separators=(",", ":")) for look in self.looks)
        folder = FOLDER / version
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{self.name}.json").write_text(f'{head[:-1]}, "looks": [\n{looks}\n]}}\n')

    def look(self, note: str, queue: str = "mail", *, vhost: str = "/", user: tuple[str, str] = ADMIN, **more: str) -> None:
        ref, where = to_queue(vhost, queue), quote(vhost, safe="")
        paths = {
            "totals": next(iter(client.list_queues([ref]))),
            "page": client.page_path(ref, 60.0),
            "channels": f"/api/vhosts/{where}/channels?msg_rates_age=90&msg_rates_incr=5",
            "nodes": "/api/nodes",
        } | more
        at = time.time()
        answers = {name: _ask(self.node, path, user) for name, path in paths.items()}
        self.looks.append({"note": note, "at": at, "vhost": vhost, "queue": queue, "answers": answers})

    def work(self, habit: Habit, name: str = "mail-worker-1", node: Broker | None = None, queue: str = "mail") -> Worker:
        url = (node or self.node).amqp_url()
        return self.living.enter_context(Worker(url, queue, habit, name=name, heartbeat_s=0))

    def flow(self, rate: float, queue: str = "mail") -> None:
        self.living.enter_context(Publisher(self.node.amqp_url())).rates[queue] = lambda _since: rate


def _ask(node: Broker, path: str, user: tuple[str, str]) -> dict[str, Any]:
    headers = {"Authorization": f"Basic {base64.b64encode(':'.join(user).encode()).decode()}"}
    try:
        with urlopen(Request(node.url + path, headers=headers), timeout=20) as answer:
            return {"status": answer.status, "body": _shorten(path, json.loads(answer.read()))}
    except HTTPError as refused:
        with refused:
            content = refused.read()
        return {"status": refused.code, "body": json.loads(content) if content.startswith(b"{") else content.decode()[:200]}
    except OSError as error:
        return {"status": 0, "body": repr(error)}


def _shorten(path: str, body: Any) -> Any:
    """What an adapter may want of it, as the broker gave it."""
    if "/channels" in path and isinstance(body, list):
        return [part(one, CHANNEL) for one in body if one.get("consumer_count") or one.get("messages_unacknowledged")]
    if path.startswith("/api/nodes"):
        return [{name: one.get(name) for name in NODE if name in one} for one in body]
    if path.startswith("/api/deprecated-features"):
        return [one for one in body if one["name"] == "management_metrics_collection"]
    if path.startswith("/api/overview"):
        return {name: body[name] for name in OVERVIEW if name in body}
    if path.startswith("/api/queues/") and "items" not in body and isinstance(body, dict):
        return part(body, PAGE)
    return body


# --- permissions and statistics


def refusals(case: Case) -> None:
    case.node.publish("mail", 1)
    case.node.add_user("reader", "read", tags="monitoring", vhosts=["/"])
    case.node.add_vhost("closed")
    case.look("may see the queue", user=("reader", "read"))
    case.look("no permission in this vhost", vhost="closed", user=("reader", "read"))
    case.look("no such vhost", vhost="nowhere", user=("reader", "read"))
    case.look("no such queue", "nowhere", user=("reader", "read"))
    case.look("wrong password", user=("reader", "wrong"))
    case.node.add_user("untagged", "read", tags="", vhosts=["/"])
    case.look("no management tag", user=("untagged", "read"))


def without_statistics(case: Case) -> None:
    case.node.publish("mail", 3)
    case.work(Habit(hangs=True))
    time.sleep(12)
    case.look("one message held, two ready", overview="/api/overview", deprecated="/api/deprecated-features")
    case.node.add_user("reader", "read", tags="management", vhosts=["/"])
    case.look("as the tag management", user=("reader", "read"), overview="/api/overview")


# --- consumers that are none, or whose work can't be seen


def shovel(case: Case) -> None:
    case.node.publish("mail", 0)
    case.node.publish("mail.parked", 0)
    value = {
        "src-protocol": "amqp091", "src-uri": "amqp://", "src-queue": "mail", "src-delete-after": 5, "src-prefetch-count": 1,
        "dest-protocol": "amqp091", "dest-uri": "amqp://", "dest-queue": "mail.parked", "ack-mode": "on-confirm",
    }  # fmt: skip
    case.node.api("PUT", "parameters/shovel/%2F/aside", {"value": value})
    time.sleep(15)
    case.look("a shovel waits for five messages at an empty queue")


def mqtt(case: Case) -> None:
    for name, hangs in (("works", False), ("hangs", True)):
        one = MqttSubscriber(case.ports[0], *ADMIN, name, name, hangs=hangs)
        case.living.enter_context(one)
    publisher = case.living.enter_context(Publisher(case.node.amqp_url(), exchange="amq.topic"))
    publisher.rates |= {"works": lambda _since: 2.0, "hangs": lambda _since: 0.2}
    time.sleep(QUIET_S)
    case.look("two a second, each confirmed", "mqtt-subscription-worksqos1")
    case.look("it hangs with the first", "mqtt-subscription-hangsqos1")


def amqp10(case: Case) -> None:
    for queue in ("works", "hangs"):
        case.node.publish(queue, 0)
        address = f"/amq/queue/{queue}" if case.version == "3.10" else f"/queues/{queue}"
        one = Amqp10Consumer(case.node.amqp_port, *ADMIN, address, hangs=queue == "hangs")
        case.living.enter_context(one)
    publisher = case.living.enter_context(Publisher(case.node.amqp_url()))
    publisher.rates |= {"works": lambda _since: 2.0, "hangs": lambda _since: 0.2}
    time.sleep(QUIET_S)
    for queue in ("works", "hangs"):
        connections = case.node.api("GET", "connections")
        ten = [one["name"] for one in connections if "1-0" in str(one.get("protocol")) or "AMQP 1" in str(one.get("protocol"))]
        more = {f"sessions_{number}": f"/api/connections/{quote(name, safe='')}/sessions" for number, name in enumerate(ten)}
        case.look("two a second, each accepted" if queue == "works" else "it hangs with the first", queue, **more)
        time.sleep(6)


def delivery_limit(case: Case) -> None:
    case.node.publish("default", 1, arguments=QUORUM)
    case.node.publish("argument", 1, arguments=QUORUM | {"x-delivery-limit": 3})
    case.node.publish("policy", 1, arguments=QUORUM)
    case.node.publish("unlimited", 1, arguments=QUORUM)
    names = ("default", "argument", "policy", *(() if case.version == "3.10" else ("unlimited",)))
    for name, limit in (("policy", 7), ("unlimited", -1)):
        if name not in names:  # 3.10 refuses it: no limit is its default
            continue
        definition = {"pattern": f"^{name}$", "definition": {"delivery-limit": limit}, "apply-to": "queues"}
        case.node.api("PUT", f"policies/%2F/{name}", definition)
    time.sleep(12)
    for name in names:
        case.look(f"the limit by {name}", name)


# --- clusters


def minority(case: Case) -> None:
    """Two of three nodes are gone, and the consumer hung or not: nobody can say."""
    case.node.publish("mail", 3, arguments=QUORUM)
    case.work(Habit(hangs=True))
    time.sleep(12)
    case.look("three of three nodes, one message held")
    case.cluster.kill(case.cluster.nodes[1])
    time.sleep(8)
    case.look("8 s after one of three was killed")
    case.cluster.kill(case.cluster.nodes[2])
    for wait_s, age_s in ((3, 3), (12, 15), (45, 60)):
        time.sleep(wait_s)
        case.look(f"{age_s} s after two of three were killed")


def node_down(case: Case) -> None:
    """The classic queue's node is stopped; Unstick asks another."""
    other = case.cluster.nodes[1]
    other.publish("mail", 3)
    case.work(Habit(hangs=True), node=case.node)
    time.sleep(12)
    case.look("the queue's node runs", list=LIST)
    case.cluster.stop(other)
    for wait_s, age_s in ((2, 2), (10, 12)):
        time.sleep(wait_s)
        case.look(f"{age_s} s after the queue's node was stopped", list=LIST)
    case.cluster.start(other)
    for wait_s, age_s in ((1, 1), (6, 7)):
        time.sleep(wait_s)
        case.look(f"{age_s} s after it is back")


def consumers_node_down(case: Case) -> None:
    """The queue's node stays, the node to which its busy consumer is connected is stopped: its samples leave the page."""
    other = case.cluster.nodes[1]
    case.node.publish("mail", 20)
    case.work(Habit(work_s=0.5), node=other)
    case.flow(2)
    time.sleep(QUIET_S)
    case.look("works, connected to the other node")
    case.cluster.stop(other)
    for wait_s, age_s in ((1, 1), (5, 6), (6, 12)):
        time.sleep(wait_s)
        case.look(f"{age_s} s after the consumer's node was stopped")
    case.work(Habit(work_s=0.5), "mail-worker-2")
    for wait_s, age_s in ((4, 4), (8, 12)):
        time.sleep(wait_s)
        case.look(f"{age_s} s after a consumer came to the node that is left")


def leader_change(case: Case) -> None:
    """The quorum queue's leader is killed; two of three nodes are left."""
    leader = case.cluster.nodes[1]
    leader.publish("mail", 20, arguments=QUORUM | {"x-queue-leader-locator": "client-local"})
    case.work(Habit(work_s=0.5), node=case.node)
    case.flow(2)
    time.sleep(30)
    case.look("works; the leader is another node")
    case.cluster.kill(leader)
    began = time.time()
    for _ in range(4):
        time.sleep(2)
        case.look(f"{time.time() - began:.0f} s after the leader was killed")


def statistics_on_one(case: Case) -> None:
    """The consumer is connected to a node without the management plugin."""
    case.node.publish("mail", 5)
    case.work(Habit(work_s=0.4), node=case.cluster.nodes[1])
    case.flow(2)
    time.sleep(QUIET_S)
    case.look("two a second, worked off by a consumer on the node without statistics", overview="/api/overview")


def _cases() -> list[Case]:
    port = free_ports(1)
    off = {
        "agent-off": ("management_agent.disable_metrics_collector = true", ("3.10", "4.0", "4.3")),
        "stats-off": ("management.disable_stats = true", ("3.10", "4.0", "4.3")),
        "collection-denied": ("deprecated_features.permit.management_metrics_collection = false", ("4.0", "4.3")),
    }
    shovels = (*MANAGEMENT, "rabbitmq_shovel", "rabbitmq_shovel_management")
    listener = (f"mqtt.listeners.tcp.1 = 127.0.0.1:{port[0]}",)
    return [
        Case("refusals", "who may not, and what is not there", refusals),
        *(Case(name, line, without_statistics, lines=(line,), on=on) for name, (line, on) in off.items()),
        Case("shovel", "a waiting shovel is a consumer", shovel, plugins=shovels),
        Case("mqtt", "MQTT subscribers", mqtt, plugins=(*MANAGEMENT, "rabbitmq_mqtt"), lines=listener, ports=port),
        Case("amqp10", "AMQP 1.0 consumers", amqp10, plugins=(*MANAGEMENT, "rabbitmq_amqp1_0")),
        Case("delivery-limit", "of quorum queues", delivery_limit),
        Case("minority", "a quorum queue loses two of three nodes", minority, 3),
        Case("node-down", "a classic queue's node is stopped", node_down, 2),
        Case("consumers-node-down", "a busy consumer's node is stopped", consumers_node_down, 2),
        Case("leader-change", "a quorum queue's leader is killed", leader_change, 3),
        Case("statistics-on-one", "a consumer on a node without statistics", statistics_on_one, 2, bare=(1,)),
    ]


def main() -> None:
    version, wanted = sys.argv[1], sys.argv[2:]
    for case in _cases():
        if version in case.on and (case.name in wanted or not wanted):
            print(case.name, flush=True)
            case.run(version)


if __name__ == "__main__":
    main()
