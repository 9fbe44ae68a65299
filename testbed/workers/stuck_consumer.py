"""The bug that Unstick is for, as a small program: it takes a message and neither acknowledges it nor dies.

    python testbed/workers/stuck_consumer.py --url amqp://... --queue mail.delivery --mode stuck-unacked

It writes `consuming` once it is there, answers the broker's heartbeats, and ends on SIGTERM.
"""

import argparse
import signal
import sys
from contextlib import suppress
from typing import Any

import pika

MODES = {
    "healthy": "acknowledges every message at once",
    "moody": "is healthy, but holds a message that begins with `hang` when it comes for the first time; a restart mends it",
    "slow": "acknowledges --per-second messages a second",
    "stuck-unacked": "takes one message and holds it: the others stay ready behind it",
}


class Consumer:
    def __init__(self, url: str, queue: str, mode: str, *, per_second: float = 1.0) -> None:
        self.connection = pika.BlockingConnection(pika.URLParameters(url))
        self.channel = self.connection.channel()
        self.queue, self.mode, self.pause_s = queue, mode, 1.0 / per_second

    def run(self) -> None:
        self.channel.basic_qos(prefetch_count=1)
        self.channel.basic_consume(self.queue, self._take)
        print("consuming", flush=True)
        while True:
            self.connection.process_data_events(time_limit=1)

    def _take(self, channel: Any, method: Any, _properties: Any, body: bytes) -> None:
        hangs = self.mode == "moody" and body.startswith(b"hang") and not method.redelivered
        if hangs or self.mode == "stuck-unacked":
            return
        if self.mode == "slow":
            self.connection.call_later(self.pause_s, lambda: channel.basic_ack(method.delivery_tag))
        else:
            channel.basic_ack(method.delivery_tag)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, epilog="; ".join(f"{mode}: {what}" for mode, what in MODES.items()))
    parser.add_argument("--url", required=True)
    parser.add_argument("--queue", required=True)
    parser.add_argument("--mode", choices=MODES, default="healthy")
    parser.add_argument("--per-second", type=float, default=1.0)
    given = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda _signal, _frame: sys.exit(0))
    with suppress(KeyboardInterrupt):
        Consumer(given.url, given.queue, given.mode, per_second=given.per_second).run()


if __name__ == "__main__":
    main()
