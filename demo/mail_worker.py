"""One worker of the mail service, with the bug: it waits for the mail server's reply without a time-out.

    python demo/mail_worker.py --mail-server 2525 mail-worker-2 --broker amqp://... --queue mail.delivery

It takes a mail, hands it to the mail server, and acknowledges it. It writes `consuming` once it is there. Without --broker the
mails come in on its input, a line each, and it writes `acknowledged` after each.
"""

import argparse
import socket
import sys

import pika


def deliver(worker: str, mail: str, port: int) -> None:
    """Hand a mail to the server on this port."""
    with socket.create_connection(("127.0.0.1", port)) as connection:
        connection.sendall(f"{worker} {mail}\n".encode())
        read_reply(connection)


def read_reply(connection: socket.socket) -> bytes:
    """Wait until the mail server says something."""
    return connection.recv(512)  # the bug: no time-out


def consume(worker: str, url: str, queue: str, port: int) -> None:
    """Deliver what the broker sends, one mail after the other."""
    parameters = pika.URLParameters(url)
    parameters.client_properties = {"connection_name": worker}
    channel = pika.BlockingConnection(parameters).channel()
    channel.basic_qos(prefetch_count=1)

    def take(_channel: object, method: pika.spec.Basic.Deliver, _properties: object, mail: bytes) -> None:
        deliver(worker, mail.decode(), port)
        channel.basic_ack(method.delivery_tag)

    channel.basic_consume(queue, take)
    print("consuming", flush=True)
    channel.start_consuming()


def main() -> None:
    """Work until it is killed."""
    parser = argparse.ArgumentParser()
    parser.add_argument("worker")
    parser.add_argument("--mail-server", type=int, required=True, help="its port")
    parser.add_argument("--broker", help="its URL")
    parser.add_argument("--queue")
    given = parser.parse_args()
    if given.broker:
        consume(given.worker, given.broker, given.queue, given.mail_server)
    print("consuming", flush=True)
    for mail in sys.stdin:
        deliver(given.worker, mail.rstrip("\n"), given.mail_server)
        print("acknowledged", flush=True)


if __name__ == "__main__":
    main()
