"""A worker as a program: it does one message after the other, writes down each, and hangs on some for ever.

worker.py AMQP_URL QUEUE PREFETCH FOLDER sticky|once|dependency

It ends where its broker has been away for two minutes: whoever started both may have been killed.

`sticky`: on a message that begins so. `once`: the same, but only the first time. `dependency`: on each. Where FOLDER/mended is
there when it starts, on none. FOLDER/work has a line for each event: seconds, `did` or `hangs`, the message.
"""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path
from typing import Any

import pika
from pika.exceptions import AMQPError

URL, QUEUE, PREFETCH, FOLDER, HABIT = sys.argv[1:]
MENDED, ONCE = (Path(FOLDER) / name for name in ("mended", "once"))
PAUSE_S = 0.5
PAUSES = 240
WORK = os.open(Path(FOLDER) / "work", os.O_WRONLY | os.O_APPEND | os.O_CREAT)


def note(what: str, body: bytes) -> None:
    os.write(WORK, f"{time.time():.2f} {what} {body.decode()}\n".encode())


def hangs(body: bytes) -> bool:
    if MENDED.exists() or not (HABIT == "dependency" or body.startswith(b"sticky")):
        return False
    seen = ONCE.exists()
    ONCE.touch()
    return not (HABIT == "once" and seen)


def serve(connection: pika.BlockingConnection) -> None:
    channel, hung = connection.channel(), False

    def take(_channel: Any, method: Any, _properties: Any, body: bytes) -> None:
        nonlocal hung
        if hung:
            return
        if hangs(body):
            hung = True
            note("hangs", body)
            return
        time.sleep(0.05)
        note("did", body)
        channel.basic_ack(method.delivery_tag)

    channel.basic_qos(prefetch_count=int(PREFETCH))
    channel.basic_consume(QUEUE, take)
    while True:
        connection.process_data_events(time_limit=1)


refused = 0
while refused < PAUSES:
    try:
        connected = pika.BlockingConnection(pika.URLParameters(URL))
        refused = 0
        serve(connected)
    except (AMQPError, OSError):
        refused += 1
        time.sleep(PAUSE_S)
