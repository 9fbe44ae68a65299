"""Feeds the lab's queue: one message a second, and now and then one on which the application hangs."""

from __future__ import annotations

import argparse
import itertools
import time

import pika

HANG_EVERY = 90
"""Messages. The application handles one a second, so it gets stuck about every minute and a half."""


def main() -> None:
    """Publish until stopped."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--url", required=True)
    parser.add_argument("--queue", required=True)
    given = parser.parse_args()
    connection = pika.BlockingConnection(pika.URLParameters(given.url))
    channel = connection.channel()
    channel.queue_declare(given.queue, durable=True)
    for number in itertools.count(1):
        body = f"{'hang' if number % HANG_EVERY == 0 else 'mail'} {number}"
        channel.basic_publish("", given.queue, body, pika.BasicProperties(timestamp=int(time.time()), delivery_mode=2))
        connection.sleep(1.0)


if __name__ == "__main__":
    main()
