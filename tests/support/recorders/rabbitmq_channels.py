"""Makes tests/recordings/rabbitmq/channels: what each consumer's channel shows, beside the queue's page and its totals.

    python -m tests.support.recorders.rabbitmq_channels VERSION [CASE...]      (four minutes)

Each file has looks of one situation: the time (ours), the live totals, the queue's page, and all channels of its vhost that
consume or hold something, taken at once; `channels_seen`: how many of them the user with the tag `management` was shown.
"""

from __future__ import annotations

import json
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote

from functions.adapters.symptoms.rabbitmq import client, to_queue
from tests.support.broker import HOST, Broker, broker
from tests.support.workers.crew import Habit, Publisher, Worker

FOLDER = Path(__file__).parents[2] / "recordings" / "rabbitmq" / "channels"
COUNTERS = ("ack", "deliver", "redeliver", "publish")
IF_ANY = ("deliver_no_ack", "get", "get_no_ack", "get_empty")
"""Left out while they are 0, to save space: the broker has them beside the others."""
CHANNEL = (
    *("name", "number", "node", "user", "vhost", "state", "consumer_count", "prefetch_count", "global_prefetch_count"),
    *("messages_unacknowledged", "acks_uncommitted", "idle_since", "connection_details"),
)
PAGE = (
    *("name", "vhost", "node", "type", "state", "consumers", "consumer_details", "messages", "messages_ready"),
    *("messages_unacknowledged", "messages_details", "messages_ready_details", "messages_unacknowledged_details"),
    *("head_message_timestamp", "idle_since", "members", "online", "leader", "delivery_limit", "effective_policy_definition"),
    *("arguments", "auto_delete", "exclusive", "single_active_consumer_tag", "messages_dlx", "messages_delayed"),
    *("message_bytes_ready", "message_bytes_unacknowledged"),
)
QUIET_S = 75.0
"""Longer than `for`, so that all samples lie in the situation."""


@dataclass
class Case:
    """One situation in a vhost of its own."""

    made: Broker
    version: str
    name: str
    says: str
    play: Callable[[Case], None]
    arguments: dict[str, Any] | None = None
    looks: list[dict[str, Any]] = field(default_factory=list)
    living: ExitStack = field(default_factory=ExitStack)

    @property
    def url(self) -> str:
        return self.made.amqp_url(self.name)

    @property
    def queue(self) -> str:
        return "mail"

    def run(self) -> None:
        self.made.add_vhost(self.name)
        self.made.add_user(f"reader-of-{self.name}", "read", tags="management", vhosts=[self.name])
        self.publish(0, self.queue)
        with self.living:
            self.play(self)
        head = json.dumps(
            {"case": self.name, "says": self.says, "version": self.version, "vhost": self.name, "queue": self.queue}
        )
        looks = ",\n".join(json.dumps(look, separators=(",", ":")) for look in self.looks)
        folder = FOLDER / self.version
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{self.name}.json").write_text(f'{head[:-1]}, "looks": [\n{looks}\n]}}\n')

    def publish(self, count: int, queue: str = "mail") -> None:
        self.made.publish(queue, count, vhost=self.name, arguments=self.arguments)

    def work(self, habit: Habit, name: str, queues: str | tuple[str, ...] = "mail") -> Worker:
        return self.living.enter_context(Worker(self.url, queues, habit, name=name, heartbeat_s=0))

    def flow(self, per_second: float, *queues: str) -> None:
        publisher = self.living.enter_context(Publisher(self.url))
        publisher.rates |= {queue: lambda _since: per_second for queue in queues or ("mail",)}

    def look(self, note: str) -> None:
        queue = to_queue(self.name, self.queue)
        list_path = next(iter(client.list_queues([queue]))).removeprefix("/api/")
        page_path = client.page_path(queue, 60.0).removeprefix("/api/")
        channels_path = f"vhosts/{quote(self.name, safe='')}/channels?msg_rates_age=90&msg_rates_incr=5"
        at = time.time()
        totals, page, channels = (self.made.api("GET", path) for path in (list_path, page_path, channels_path))
        others = self.made.api("GET", channels_path, user=(f"reader-of-{self.name}", "read"))
        self.looks.append(
            {
                "note": note, "at": at, "totals": totals, "page": part(page, PAGE),
                "channels": [part(one, CHANNEL) for one in channels if one.get("consumer_count") or _counts(one)],
                "channels_seen": len(others),
            }
        )  # fmt: skip


def _counts(channel: dict[str, Any]) -> bool:
    """Whether it has ever taken a message."""
    return any(channel.get("message_stats", {}).get(name) for name in (*COUNTERS[:-1], *IF_ANY))


def part(whole: dict[str, Any], names: tuple[str, ...]) -> dict[str, Any]:
    """These fields and counters as the broker gave them. The rest is ten times as much."""
    stats = whole.get("message_stats", {})
    counters = [*COUNTERS, *(name for name in IF_ANY if stats.get(name))]
    kept = {name: value for name, value in stats.items() if name.removesuffix("_details") in counters}
    part = {name: value for name, value in whole.items() if name in names}
    return part | ({"message_stats": kept} if "message_stats" in whole else {})


def one_of_three_hung(case: Case) -> None:
    case.work(Habit(hangs=True), "mail-worker-1")
    case.publish(1)
    time.sleep(1)
    case.flow(2)
    for number in (2, 3):
        case.work(Habit(work_s=0.3), f"mail-worker-{number}")
    time.sleep(4)
    case.look("5 s after the first hung")
    time.sleep(25)
    case.look("30 s after the first hung")
    time.sleep(QUIET_S - 30)
    case.look(f"{QUIET_S:g} s after the first hung")


def prefetch_50(case: Case) -> None:
    """One hangs with fifty, one works with fifty in hand."""
    case.work(Habit(prefetch=50, hangs=True), "mail-worker-1")
    case.publish(50)
    time.sleep(1)
    case.work(Habit(prefetch=50, work_s=0.5), "mail-worker-2")
    case.flow(2)
    case.publish(60)
    time.sleep(QUIET_S)
    case.look(f"{QUIET_S:g} s after the first hung with 50")


def batches(case: Case) -> None:
    case.work(Habit(prefetch=0, batch_s=45.0), "mail-worker-1")
    case.flow(2)
    time.sleep(QUIET_S - 15)
    for number in range(3):
        case.look(f"all acknowledged at once every 45 s, look {number + 1} of 3, 18 s apart")
        time.sleep(18)


def auto_ack(case: Case) -> None:
    case.work(Habit(auto_ack=True), "mail-worker-1")
    case.flow(2)
    time.sleep(QUIET_S)
    case.look("two a second in automatic acknowledgement mode")


def getters(case: Case) -> None:
    case.publish(1)
    case.work(Habit(gets=True, hangs=True), "mail-getter-1")
    time.sleep(1)
    case.work(Habit(gets=True), "mail-getter-2")
    case.flow(2)
    time.sleep(QUIET_S)
    case.look("one has asked with basic.get and hangs, the other asks and acknowledges")


def several_queues(case: Case) -> None:
    case.publish(0, "post")
    case.work(Habit(prefetch=5, work_s=0.1), "worker-of-two", ("mail", "post"))
    case.flow(2, "post")
    time.sleep(QUIET_S)
    case.look("one channel consumes mail, which is idle, and post, which flows")


def several_queues_held(case: Case) -> None:
    case.publish(0, "post")
    case.work(Habit(prefetch=1, hangs=lambda body: body.startswith(b"message")), "worker-of-two", ("mail", "post"))
    case.flow(1, "post")
    time.sleep(5)
    case.publish(1)
    time.sleep(QUIET_S)
    case.look("one channel consumes mail and post, and hangs with a message of mail: prefetch 1 each")


def single_active(case: Case) -> None:
    case.work(Habit(hangs=True), "mail-worker-1")
    case.work(Habit(), "mail-worker-2")
    case.publish(5)
    time.sleep(QUIET_S)
    case.look("the active one hangs, the other waits")


def no_consumers(case: Case) -> None:
    case.publish(5)
    time.sleep(QUIET_S)
    case.look("nobody ever consumed")


def had_consumers(case: Case) -> None:
    case.publish(5)
    with Worker(case.url, "mail", Habit()):
        time.sleep(10)
    case.publish(5)
    time.sleep(1)
    case.look("1 s after the consumer left")
    time.sleep(QUIET_S)
    case.look(f"{QUIET_S:g} s after the consumer left")


def idle_consumers(case: Case) -> None:
    case.work(Habit(), "mail-worker-1")
    time.sleep(3)
    case.look("3 s after the consumer came, nothing was ever delivered")
    time.sleep(20)
    case.look("23 s after the consumer came, nothing was ever delivered")
    time.sleep(QUIET_S - 23)
    case.look(f"{QUIET_S:g} s after the consumer came, nothing was ever delivered")


def slow(case: Case) -> None:
    case.publish(30)
    case.work(Habit(work_s=25.0), "mail-worker-1")
    time.sleep(QUIET_S)
    for number in range(4):
        case.look(f"one message in 25 s, look {number + 1} of 4, 7 s apart")
        time.sleep(7)


def rejects(case: Case) -> None:
    case.work(Habit(work_s=0.2, verdict=lambda _method: "reject"), "mail-worker-1")
    case.flow(0.5)
    time.sleep(QUIET_S)
    case.look("it rejects one message in two seconds, without requeue")


def goes_round(case: Case) -> None:
    case.work(Habit(work_s=1.0, verdict=lambda _method: "requeue"), "mail-worker-1")
    case.publish(3)
    time.sleep(QUIET_S)
    case.look("it rejects each message with requeue, one a second")


def same_again(case: Case) -> None:
    """The first of five messages hangs every consumer."""
    case.publish(5)
    with Worker(case.url, "mail", Habit(hangs=True), name="mail-worker-1", heartbeat_s=0):
        time.sleep(QUIET_S)
        case.look("held, before the restart")
    with Worker(case.url, "mail", Habit(hangs=True), name="mail-worker-1", heartbeat_s=0):
        for wait_s, age_s in ((1, 1), (4, 5), (4, 9), (61, 70)):
            time.sleep(wait_s)
            case.look(f"{age_s} s after the new consumer came, which hangs on the same message")


def restarted_slow(case: Case) -> None:
    """After the restart a healthy job of 25 s: for 25 s it looks the same."""
    case.publish(5)
    with Worker(case.url, "mail", Habit(hangs=True), name="mail-worker-1", heartbeat_s=0):
        time.sleep(QUIET_S)
    with Worker(case.url, "mail", Habit(work_s=25.0), name="mail-worker-1", heartbeat_s=0):
        for wait_s, age_s in ((9, 9), (21, 30), (40, 70)):
            time.sleep(wait_s)
            case.look(f"{age_s} s after the new consumer came, which takes 25 s for a message")


QUORUM = {"x-queue-type": "quorum"}
CASES: tuple[tuple[str, str, Callable[[Case], None], dict[str, Any] | None], ...] = (
    ("one-of-three-hung", "of three consumers one holds a message for ever, two messages a second flow", one_of_three_hung, None),
    ("one-of-three-hung-quorum", "the same on a quorum queue", one_of_three_hung, QUORUM),
    ("prefetch-50", "two consumers with prefetch 50, one hangs with all of them", prefetch_50, None),
    ("batches", "acknowledges everything at once every 45 s", batches, None),
    ("auto-ack", "automatic acknowledgement mode", auto_ack, None),
    ("getters", "two ask with basic.get, one of them hangs", getters, None),
    ("several-queues", "one channel consumes two queues", several_queues, None),
    ("several-queues-held", "one channel consumes two queues, and holds a message of one", several_queues_held, None),
    ("single-active", "single active consumer: the active one hangs", single_active, {"x-single-active-consumer": True}),
    ("no-consumers", "nobody ever consumed", no_consumers, None),
    ("had-consumers", "its consumer has gone", had_consumers, None),
    ("idle-consumers", "a consumer to which nothing was ever delivered", idle_consumers, None),
    ("slow", "one message in 25 s", slow, None),
    ("rejects", "rejects without requeue", rejects, None),
    ("goes-round", "rejects with requeue", goes_round, None),
    ("same-again", "restarted, and hangs on the same message", same_again, None),
    ("same-again-quorum", "the same on a quorum queue", same_again, QUORUM),
    ("restarted-slow", "restarted, and works slowly", restarted_slow, None),
)


def main() -> None:
    version, wanted = sys.argv[1], sys.argv[2:]
    with tempfile.TemporaryDirectory() as folder, broker(Path(folder), version=HOST if version == "3.10" else version) as made:
        threads = [
            threading.Thread(target=Case(made, version, name, says, play, arguments).run)
            for name, says, play, arguments in CASES
            if name in wanted or not wanted
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()


if __name__ == "__main__":
    main()
