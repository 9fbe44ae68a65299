"""An application that consumes by pika, in one of its forms. How to run it: celery_app.py."""

import threading
import time
from typing import Any

import pika
from forms import Form, hang, parse, say

FORMS = {
    "lock": Form("leader election: holds the only message for as long as it lives", {"prefetch": 1}),
    "quiet-hours": Form("keeps the messages that are for tomorrow", {"prefetch": 100}),
    "busy": Form("does one message after the other", {"prefetch": 10}),
    "database-lock": Form("after a minute of work it waits for a lock, for 100 s", {"prefetch": 10}),
    "hung": Form("hangs with each message that says so", {"prefetch": 1}),
    "threads": Form("the same, in a thread of its own a message", {"prefetch": 1}),
    "poller": Form("asks every two minutes, by basic.get", {"prefetch": 0}),
}


def main() -> None:
    given = parse(FORMS)
    parameters = pika.URLParameters(given.url)
    parameters.client_properties = {"connection_name": given.node}
    connection = pika.BlockingConnection(parameters)
    channel = connection.channel()
    channel.basic_qos(prefetch_count=FORMS[given.form].settings["prefetch"])

    worked_from = time.monotonic()

    def take(_channel: Any, method: Any, _properties: Any, body: bytes) -> None:
        if given.form == "lock" or (given.form == "quiet-hours" and body.startswith(b"tomorrow")):
            say("keeps")
            return
        if body.startswith(b"hang") and given.form == "hung":
            hang(body.decode())
        if body.startswith(b"hang") and given.form == "threads":
            threading.Thread(target=hang, args=[body.decode()]).start()
            return
        nonlocal worked_from
        if given.form == "database-lock" and time.monotonic() - worked_from > 60:
            connection.sleep(100.0)
            worked_from = time.monotonic()
        channel.basic_ack(method.delivery_tag)
        say(f"done {body.decode()}")

    if given.form != "poller":
        channel.basic_consume(given.queue, take)
    say("consuming")
    while given.form == "poller":
        while (found := channel.basic_get(given.queue))[0]:
            take(channel, found[0], None, found[2])
        connection.sleep(120.0)
    channel.start_consuming()


if __name__ == "__main__":
    main()
