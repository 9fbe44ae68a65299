"""An application that consumes by kombu's ConsumerMixin, in one of its forms. How to run it: celery_app.py."""

import time
from typing import Any

from forms import Form, hang, parse, say
from kombu import Connection, Queue
from kombu.mixins import ConsumerMixin

FORMS = {
    "busy": Form("does one message after the other", {}),
    "hung": Form("hangs with the first of ten", {}),
    "retries": Form("tries each fourth message four times, and waits for 20, 40 and 80 s in between", {}),
}


class Worker(ConsumerMixin):
    def __init__(self, connection: Connection, queue: str, form: str, *, hangs: bool) -> None:
        self.connection, self.queue, self.form, self.hangs = connection, queue, form, hangs
        self.taken = 0

    def get_consumers(self, Consumer: Any, channel: Any) -> list[Any]:  # noqa: N803 - kombu's name
        known = Queue(self.queue, exchange="", routing_key=self.queue, no_declare=True)
        return [Consumer([known], on_message=self.take, prefetch_count=10)]

    def on_consume_ready(self, *_: Any, **__: Any) -> None:
        say("consuming")

    def take(self, message: Any) -> None:
        name = message.body.decode()
        if self.hangs and name.startswith("hang"):
            hang(name)
        self.taken += 1
        if self.form == "retries" and not self.taken % 4:
            time.sleep(20.0 + 40.0 + 80.0)
        message.ack()
        say(f"done {name}")


def main() -> None:
    given = parse(FORMS)
    heartbeat_s = 0 if given.form == "retries" else 60  # it would send none in its sleep
    with Connection(given.url, heartbeat=heartbeat_s) as connection:
        Worker(connection, given.queue, given.form, hangs=not given.healthy).run()


if __name__ == "__main__":
    main()
