"""A FastStream application with ten messages at a time, in one of its forms. How to run it: celery_app.py."""

import asyncio

from faststream import FastStream
from faststream.rabbit import Channel, RabbitBroker, RabbitQueue
from forms import Form, parse, say

FORMS = {"busy": Form("does its work", {}), "all": Form("all ten hang", {})}


async def main() -> None:
    given = parse(FORMS)
    broker = RabbitBroker(given.url, default_channel=Channel(prefetch_count=10))

    @broker.subscriber(RabbitQueue(given.queue, durable=True, declare=False))
    async def take(name: str) -> None:
        if not given.healthy and name.startswith("hang"):
            say("hangs")
            await asyncio.Event().wait()
        say(f"done {name}")

    await FastStream(broker, after_startup=[lambda: say("consuming")]).run()


if __name__ == "__main__":
    asyncio.run(main())
