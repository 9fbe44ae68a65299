"""An application that consumes by kombu's ConsumerMixin, in one of its forms. How to run it: celery_app.py."""

from typing import Any

from forms import Form, hang, parse, say
from kombu import Connection, Queue
from kombu.mixins import ConsumerMixin

FORMS = {
    "busy": Form("does one message after the other", {}),
    "hung": Form("hangs with the first of ten", {}),
    "lock": Form("holds the only message for as long as it lives", {}),
}


class Worker(ConsumerMixin):
    def __init__(self, connection: Connection, queue: str, form: str, *, hangs: bool) -> None:
        self.connection, self.queue, self.form, self.hangs = connection, queue, form, hangs

    def get_consumers(self, Consumer: Any, channel: Any) -> list[Any]:  # noqa: N803 - kombu's name
        known = Queue(self.queue, exchange="", routing_key=self.queue, no_declare=True)
        return [Consumer([known], on_message=self.take, prefetch_count=1 if self.form == "lock" else 10)]

    def on_consume_ready(self, *_: Any, **__: Any) -> None:
        say("consuming")

    def take(self, message: Any) -> None:
        if self.form == "lock":
            say("has the lock")
            return
        name = message.body.decode()
        if self.hangs and name.startswith("hang"):
            hang()
        message.ack()
        say(f"done {name}")


def main() -> None:
    given = parse(FORMS)
    with Connection(given.url, heartbeat=60) as connection:
        Worker(connection, given.queue, given.form, hangs=not given.healthy).run()


if __name__ == "__main__":
    main()
