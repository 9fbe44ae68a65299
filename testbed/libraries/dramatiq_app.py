"""A dramatiq application of four threads, in one of its forms. How to run it: celery_app.py."""

import time
from typing import Any

import dramatiq
from dramatiq.brokers.rabbitmq import RabbitmqBroker
from dramatiq.middleware import CurrentMessage
from forms import Form, hang, parse, say

FORMS = {
    "delay": Form("its message is for in half an hour", {}),
    "backoff": Form("its message fails, and comes again after two minutes", {}),
    "all": Form("all four threads hang", {}),
    "long": Form("jobs of 95 s", {}),
}


def main() -> None:
    given = parse(FORMS)
    broker = RabbitmqBroker(url=given.url)
    broker.add_middleware(CurrentMessage())
    dramatiq.set_broker(broker)

    @dramatiq.actor(actor_name="work", queue_name=given.queue, min_backoff=120_000, max_backoff=1_800_000)
    def work(name: str) -> None:
        message: Any = CurrentMessage.get_current_message()
        if given.form == "backoff" and not message.options.get("retries"):
            raise RuntimeError("as it should")
        if not given.healthy and name.startswith("hang"):
            hang(name)
        time.sleep(95.0 if given.form == "long" else 0.0)
        say(f"done {name}")

    broker.declare_queue(given.queue, ensure=True)
    worker = dramatiq.Worker(broker, worker_threads=4)
    worker.start()
    say("consuming")
    while True:
        time.sleep(3600)


if __name__ == "__main__":
    main()
