"""An application that consumes by pika, in one of its forms. How to run it: celery_app.py."""

from typing import Any

import pika
from forms import Form, parse, say

FORMS = {
    "lock": Form("leader election: holds the only message for as long as it lives", {"prefetch": 1}),
    "quiet-hours": Form("keeps the messages that are for tomorrow", {"prefetch": 100}),
    "busy": Form("does one message after the other", {"prefetch": 10}),
}


def main() -> None:
    given = parse(FORMS)
    parameters = pika.URLParameters(given.url)
    parameters.client_properties = {"connection_name": given.node}
    connection = pika.BlockingConnection(parameters)
    channel = connection.channel()
    channel.basic_qos(prefetch_count=FORMS[given.form].settings["prefetch"])

    def take(_channel: Any, method: Any, _properties: Any, body: bytes) -> None:
        if given.form == "lock" or (given.form == "quiet-hours" and body.startswith(b"tomorrow")):
            say("keeps")
            return
        channel.basic_ack(method.delivery_tag)
        say(f"done {body.decode()}")

    channel.basic_consume(given.queue, take)
    say("consuming")
    channel.start_consuming()


if __name__ == "__main__":
    main()
