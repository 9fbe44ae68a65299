"""What a check costs RabbitMQ: its requests, bytes and seconds, and the memory of the broker."""

import os
import re
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from statistics import median
from typing import Any

import pika
from pika.adapters.blocking_connection import BlockingChannel

from bench.page import LOOK, Promise, write_part
from functions.adapters.symptoms.rabbitmq import RabbitMQ, client, to_queue
from functions.application.ports import Query
from functions.domain.model.alerts import QueueRef
from functions.runtime.secrets import SecretRef
from testbed import broker as brokers
from testbed.broker import ADMIN, HOST, VERSIONS, Broker

SIZES = (1_000, 10_000)
CONSUMERS = (3, 60, 500)
TARGETS, EACH = 20, 60
CHANNELS_EACH = 1_000
FOR_S, TIMES, TIMEOUT_S, WATERMARK_MB = 60.0, 3, 20.0, 800
PROVED_S = FOR_S + 15.0  # after this, every consumer is proved to hang, so that the look asks for connections too
Figures = tuple[int, float, float, float]  # requests, kB, seconds, MB by which the broker grew


class Crowd:
    """Channels, a thousand on a connection."""

    def __init__(self, made: Broker) -> None:
        self.made, self.size = made, 0
        self.queues: set[str] = set()
        self.lines: list[pika.BlockingConnection] = []

    def open(self) -> BlockingChannel:
        """One more, of a connection that sends no heartbeats, since nobody answers them."""
        if self.size % CHANNELS_EACH == 0:
            self.lines.append(pika.BlockingConnection(pika.URLParameters(self.made.amqp_url() + "&heartbeat=0")))
        self.size += 1
        return self.lines[-1].channel()

    def hang(self, queue: str, count: int) -> None:
        """So many consumers of this queue, each on a channel of its own; each holds a message and does nothing."""
        self.queues.add(queue)
        self.made.publish(queue, 2 * count)
        for _ in range(count):
            channel = self.open()
            channel.basic_qos(prefetch_count=1)
            channel.basic_consume(queue, lambda *_: None)

    def fill(self, size: int) -> None:
        """Other channels, until there are so many."""
        while self.size < size:
            self.open()


class Meter:
    """Counts what goes through the client, and sees how much memory the broker takes meanwhile."""

    def __init__(self, made: Broker) -> None:
        self.made, self.requests, self.bytes = made, 0, 0
        pid = re.search(r"\d+", made.evaluate("os:getpid()."))
        self.process = Path(f"/proc/{pid[0] if pid else 0}")

    def memory_mb(self, what: str) -> float:
        """VmRSS, or VmHWM: the most since the kernel was told to forget it (proc(5), clear_refs)."""
        (kib,) = re.findall(rf"{what}:\s+(\d+)", (self.process / "status").read_text())
        return int(kib) * 1024 / 1e6

    def look(self, queues: list[QueueRef]) -> Figures:
        """A check of each of these queues by itself, all at the same time."""
        os.environ["UNSTICK_BENCH_PASSWORD"] = ADMIN[1]
        settings = RabbitMQ(self.made.url, ADMIN[0], SecretRef("env://UNSTICK_BENCH_PASSWORD"))
        sent = client.request

        def count(*arguments: Any, **more: Any) -> Any:
            answer = sent(*arguments, **more)
            self.requests, self.bytes = self.requests + 1, self.bytes + len(answer.body)
            return answer

        def check(queue: QueueRef) -> None:
            client.look_all(settings, [Query(queue, FOR_S)], timeout_s=TIMEOUT_S)

        self.requests = self.bytes = 0
        client.request = count  # type: ignore[attr-defined]
        (self.process / "clear_refs").write_text("5")
        began, begun_mb = time.monotonic(), self.memory_mb("VmRSS")
        with ThreadPoolExecutor(len(queues)) as pool:
            list(pool.map(check, queues))
        took_s = time.monotonic() - began
        time.sleep(1.0)  # the broker caches what it computed
        client.request = sent  # type: ignore[attr-defined]
        return self.requests, self.bytes / 1000, took_s, max(0.0, self.memory_mb("VmHWM") - begun_mb)


def measure(version: str) -> dict[tuple[int, int], Figures]:
    """By channels in all and consumers of the queue; 0 consumers: the targets at once."""
    found: dict[tuple[int, int], Figures] = {}
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        limit = f"vm_memory_high_watermark.absolute = {WATERMARK_MB}MB"
        made = stack.enter_context(brokers.broker(Path(folder), version=version, lines=[limit]))
        crowd, meter = Crowd(made), Meter(made)
        storm = [to_queue("/", f"target-{number}") for number in range(TARGETS)]
        for size in SIZES:
            for count in CONSUMERS:
                if count < size and f"mail-{count}" not in crowd.queues:
                    crowd.hang(f"mail-{count}", count)
            if size > TARGETS * EACH and storm[0].name not in crowd.queues:
                for queue in storm:
                    crowd.hang(queue.name, EACH)
            crowd.fill(size)
            time.sleep(PROVED_S)
            asked = {count: [to_queue("/", f"mail-{count}")] for count in CONSUMERS} | {0: storm}
            for count, queues in asked.items():
                if queues[0].name in crowd.queues:
                    rounds = [meter.look(queues) for _ in range(TIMES)]
                    found[size, count] = (*rounds[-1][:2], median(one[2] for one in rounds), max(one[3] for one in rounds))
                    print(version, size, count, *(f"{value:.2f}" for value in found[size, count]), flush=True)
            made.api("GET", "health/checks/alarms")  # fails if the watermark was reached
    return found


def section(measured: dict[str, dict[tuple[int, int], Figures]]) -> str:
    """The part of the page, with its heading. Requests and bytes are the last version's; they differ little."""
    rows = []
    for size in SIZES:
        for count in (*CONSUMERS, 0):
            each = [one[size, count] for one in measured.values() if (size, count) in one]
            if each:
                who = f"{count}" if count else f"{TARGETS} targets of {EACH}"
                seconds, memory = (", ".join(f"{one[place]:.{digits}f}" for one in each) for place, digits in ((2, 2), (3, 0)))
                rows.append(f"| {size:,} | {who} | {each[-1][0]} | {each[-1][1]:,.0f} kB | {seconds} | {memory} |")
    names = ", ".join("3.10" if one == HOST else one for one in measured)
    return "\n".join(
        [
            LOOK, "",
            f"One check of a queue whose consumers each hold a message and hang, on real brokers ({names}) with so many channels in all. Seconds are medians of {TIMES};"
            " memory is how much the broker's process grew at its peak.", "",
            "| channels | consumers | requests | answers | seconds | memory, MB |",
            "| ---: | ---: | ---: | ---: | ---: | ---: |",
            *rows, "",
            f"Measured on {time.strftime('%Y-%m-%d', time.gmtime())}, {os.cpu_count()} cores with other programs on them (load {os.getloadavg()[0]:.0f}).", "",
        ]
    )  # fmt: skip


def write(_rounds: int) -> list[Promise]:
    """Measure on each installed version, a quarter of an hour each, and write the part. It has no promises."""
    versions = [version for version in (HOST, *VERSIONS) if not brokers.reason_against(version)]
    write_part(LOOK, section({version: measure(version) for version in versions}))
    return []
