"""A stand-in for RabbitMQ's management API where no broker can be had: a real HTTP server with queues that are set, not used.

It answers what was measured on RabbitMQ 3.10.8; tests/system/test_rabbitmq_real.py asks a real one the same. It refuses lists of
channels and connections, which cost a real one the memory that it needs.
"""

from __future__ import annotations

import json
import re
import threading
import time
from base64 import b64decode
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs, unquote

from testbed.doubles import server

HOUR_S = 3600
"""Of each message."""
Reply = tuple[int, str, bytes]
"""Status, content type, body."""


PASSWORD = "secret"
CONNECTED_S = 7200
"""How long ago every connection began."""


@dataclass
class User:
    password: str
    tags: tuple[str, ...] = ("monitoring",)
    vhosts: tuple[str, ...] = ("/",)


@dataclass
class Queue:
    """One queue. `set` changes it; the samples remember how it was. A new one has been as it is for an hour."""

    ready: int = 0
    unacked: int = 0
    acks: int = 0
    consumers: tuple[str, ...] = ("127.0.0.1:50001 -> 127.0.0.1:5672",)
    """Names of their connections. The first one holds what is unacknowledged."""
    named: str = ""
    """What the first one calls itself."""
    consumed: bool = True
    """Whether a consumer ever took a message."""
    head_at: int | None = None
    prefetch: int = 1
    """The limit of each consumer."""
    type: str = "classic"
    durable: bool = True
    history: list[tuple[float, int, int, int]] = field(default_factory=list)
    """(time, ready, unacked, acks) of every change."""
    channels: dict[str, Queue] = field(default_factory=dict)
    """By a consumer's connection: the figures and the name of its own channel. Without any, the first one has the queue's."""
    returned: list[float] = field(default_factory=list)
    """When messages came back from a consumer that was gone."""
    redelivered: list[float] = field(default_factory=list)
    """When such messages were delivered again."""

    def __post_init__(self) -> None:
        self.history.append((time.time() - HOUR_S, self.ready, self.unacked, self.acks))

    def set(self, **changes: Any) -> None:
        for name, value in changes.items():
            setattr(self, name, value)
        self.history.append((time.time(), self.ready, self.unacked, self.acks))

    def traffic(self, age_s: int, step_s: int) -> dict[str, Any]:
        """`message_stats`, of the queue as of its first channel; none before the first delivery."""
        if not self.consumed and not self.acks + self.unacked:
            return {}
        never = 0 if self.acks + self.unacked else 1
        figures = {
            "ack": lambda one: one[3],
            "deliver": lambda one: one[3] + one[2] + never + sum(at <= one[0] for at in self.returned),
            "redeliver": lambda one: sum(at <= one[0] for at in self.redelivered),
            "publish": lambda one: one[3] + one[2] + one[1] + never,
        }
        details = {f"{name}_details": self.samples(figure, age_s, step_s) for name, figure in figures.items()}
        return {**{name: figure(self.history[-1]) for name, figure in figures.items()}, **details}

    def samples(self, figure: Callable[[tuple[float, int, int, int]], int], age_s: int, step_s: int) -> dict[str, Any]:
        """As the broker gives them: newest first, milliseconds, at multiples of the step."""
        newest = int(time.time()) // step_s * step_s
        times = [newest - step_s * place for place in range(age_s // step_s + 1)]
        values = [figure(max((one for one in self.history if one[0] <= at), default=self.history[0])) for at in times]
        pairs = zip(times, values, strict=True)
        return {"rate": 0.0, "samples": [{"sample": value, "timestamp": at * 1000} for at, value in pairs]}


class RabbitDouble(server.Serving):
    """`with RabbitDouble() as rabbit:` serves on `rabbit.url` until the block ends."""

    def __init__(self, port: int = 0) -> None:
        self.users = {"unstick": User(PASSWORD)}
        self.queues: dict[tuple[str, str], Queue] = {}
        self.statistics = True
        self.broken: dict[str, Reply | float] = {}
        """By `totals`, `page`, `channel`, `connection`, `nodes`, `overview`, `whoami`: what is answered instead, or after how
        many seconds."""
        self.closed: set[str] = set()
        """Connections that end just now: their consumers are listed, and their channels are gone."""
        self.began_at = time.time() - CONNECTED_S
        self.nodes = [{"name": "rabbit@one", "running": True, "uptime": 86_400_000}]
        self.hold_all = False
        """Each consumer holds what is unacknowledged, not only the first."""
        self.date: str | None = None
        self._over = threading.Event()
        self.asked: list[str] = []
        """Paths and queries as they came over the wire."""
        super().__init__(_handler(self), port)

    def queue(self, name: str, vhost: str = "/", **state: Any) -> Queue:
        return self.queues.setdefault((vhost, name), Queue(**state))

    def __exit__(self, *error: object) -> None:
        self._over.set()
        super().__exit__(*error)

    def answer(self, target: str, authorization: str) -> Reply:
        self.asked.append(target)
        path, _, query = target.partition("?")
        segments = [unquote(segment) for segment in path.split("/")[1:]]
        whole = {"overview": "overview", "whoami": "whoami", "nodes": "nodes"}
        kind = whole.get(segments[1] if len(segments) > 1 else "", "")
        if segments[1:2] in (["channels"], ["connections"]) and len(segments) == 3:
            kind = segments[1].removesuffix("s")
        kind = kind or {3: "totals", 4: "page"}.get(len(segments), "")
        broken = self.broken.get(kind)
        if isinstance(broken, tuple):
            return broken
        if broken is not None:
            self._over.wait(broken)
        user = self._user(authorization)
        if user is None:
            return _error(401, "not_authorized", "Login failed")
        if not user.tags:
            return _error(401, "not_authorised", "Not management user")
        fixed = {
            "overview": {"rabbitmq_version": "3.10.8", "disable_stats": not self.statistics},
            "whoami": {"name": "unstick", "tags": list(user.tags)},
        }
        if kind in fixed:
            return _ok(fixed[kind])
        if kind in ("nodes", "channel", "connection"):
            return self._monitored(user, kind, segments, query)
        if segments[:2] != ["api", "queues"] or not kind:
            return _error(404, "Object Not Found", "Not Found")
        return self._queues(user, segments[2:], {name: values[0] for name, values in parse_qs(query).items()})

    def _monitored(self, user: User, kind: str, segments: list[str], query: str) -> Reply:
        """What only the tag `monitoring` shows."""
        if "monitoring" not in user.tags:
            return _error(401, "not_authorised", "Not monitor user")
        if kind == "nodes":
            return _ok(self.nodes)
        peer = segments[2].removesuffix(" (1)")
        found = [
            (vhost, name, queue, place)
            for (vhost, name), queue in self.queues.items()
            for place, one in enumerate(queue.consumers)
            if one == peer and one not in self.closed
        ]
        if not found:
            return _error(404, "Object Not Found", "Not Found")
        _, _, queue, place = found[0]
        holds = not queue.channels and (self.hold_all or not place)
        figures = queue.channels.get(peer, queue if holds else Queue(consumed=False))
        if kind == "connection":
            own = {"connection_name": figures.named} if figures.named else {}
            properties = {"product": "Pika Python Client Library"} | own
            return _ok({"name": peer, "client_properties": properties, "connected_at": round(1000 * self.began_at)})
        asked = {one: int(values[0]) for one, values in parse_qs(query).items()}
        details = [_consumer(vhost, name, queue, place, peer) for vhost, name, queue, place in found]
        traffic = figures.traffic(asked["msg_rates_age"], asked["msg_rates_incr"])
        channel = {"name": f"{peer} (1)", "user": "mail", "global_prefetch_count": 0, "consumer_details": details}
        held = {"consumer_count": len(details), "messages_unacknowledged": figures.unacked}
        return _ok(channel | held | ({"message_stats": traffic} if traffic else {}))

    def _user(self, authorization: str) -> User | None:
        name, _, password = b64decode(authorization.removeprefix("Basic ")).decode().partition(":")
        user = self.users.get(name)
        return user if user and user.password == password else None

    def _queues(self, user: User, names: list[str], query: dict[str, str]) -> Reply:
        vhost = names[0]
        if vhost not in {known for known, _ in self.queues} | {"/"}:
            return _error(404, "Object Not Found", "Not Found")
        if vhost not in user.vhosts:
            return _error(401, "not_authorised", "User not authorised to access virtual host")
        if len(names) == 1:
            wanted = query["name"] if query.get("use_regex") == "true" else re.escape(query["name"])
            pattern = re.compile(wanted, re.IGNORECASE)
            items = [_total(*key, queue) for key, queue in self.queues.items() if key[0] == vhost and pattern.search(key[1])]
            if query.get("enable_queue_totals") != "true":
                items = [{name: value for name, value in item.items() if not name.startswith("messages")} for item in items]
            return _ok({"items": items, "filtered_count": len(items), "page": 1, "page_count": 1})
        queue = self.queues.get((vhost, names[1]))
        return _error(404, "Object Not Found", "Not Found") if queue is None else _ok(self._page(vhost, names[1], queue, query))

    def _page(self, vhost: str, name: str, queue: Queue, query: dict[str, str]) -> dict[str, Any]:
        bare = {"name": name, "vhost": vhost, "type": queue.type, "durable": queue.durable, "state": "running"}
        if not self.statistics:
            return bare
        age_s, step_s = int(query["lengths_age"]), int(query["lengths_incr"])
        details = [_consumer(vhost, name, queue, place, peer) for place, peer in enumerate(queue.consumers)]
        traffic = queue.traffic(int(query["msg_rates_age"]), int(query["msg_rates_incr"]))
        return (
            bare
            | ({"message_stats": traffic} if traffic else {})
            | {
                "consumers": len(queue.consumers),
                "consumer_details": details,
                "messages_ready_details": queue.samples(lambda one: one[1], age_s, step_s),
                "messages_unacknowledged_details": queue.samples(lambda one: one[2], age_s, step_s),
                "messages": queue.ready + queue.unacked,
                "messages_ready": queue.ready,
                "messages_unacknowledged": queue.unacked,
                "head_message_timestamp": queue.head_at,
            }
        )


def _total(vhost: str, name: str, queue: Queue) -> dict[str, Any]:
    return {
        "name": name, "vhost": vhost, "type": queue.type, "state": "running", "durable": queue.durable, "arguments": {},
        "messages": queue.ready + queue.unacked, "messages_ready": queue.ready, "messages_unacknowledged": queue.unacked,
    }  # fmt: skip


def _consumer(vhost: str, name: str, queue: Queue, place: int, peer: str) -> dict[str, Any]:
    host = peer.partition(" -> ")[0].rpartition(":")[0]
    channel = {"connection_name": peer, "name": f"{peer} (1)", "peer_host": host, "user": "mail"}
    return {
        "consumer_tag": f"ctag{place}", "activity_status": "up", "active": True, "ack_required": True,
        "prefetch_count": queue.prefetch, "queue": {"name": name, "vhost": vhost}, "channel_details": channel,
    }  # fmt: skip


def _ok(body: Any) -> Reply:
    return 200, "application/json", json.dumps(body).encode()


def _error(status: int, error: str, reason: str) -> Reply:
    return status, "application/json", json.dumps({"error": error, "reason": reason}).encode()


def _handler(double: RabbitDouble) -> type[server.Handler]:
    class Handler(server.Handler):
        def answer(self) -> None:
            status, kind, body = double.answer(self.path, self.headers.get("Authorization", ""))
            dated = {"Date": double.date} if double.date else {}
            self.reply(status, body, kind, dated | {"Location": body.decode() if 300 <= status < 400 else None})

    return Handler
