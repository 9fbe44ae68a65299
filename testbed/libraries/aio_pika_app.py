"""An application that consumes by aio-pika, in one of its forms. How to run it: celery_app.py."""

import asyncio
from typing import Any

import aio_pika
from forms import Form, hang, parse, say

FORMS = {
    "batch": Form("collects 500 messages, or as many as come in five minutes", {"prefetch": 500, "within_s": 300.0}),
    "flush": Form("collects as many as come in two minutes, at most 40", {"prefetch": 40, "within_s": 120.0}),
    "blocked": Form("a call blocks its event loop", {"prefetch": 10, "within_s": 0.0}),
}
BATCH = 500


async def collect(messages: "asyncio.Queue[Any]", within_s: float) -> None:
    """Acknowledge them together."""
    while True:
        batch = [await messages.get()]
        ends = asyncio.get_running_loop().time() + within_s
        while len(batch) < BATCH and (left := ends - asyncio.get_running_loop().time()) > 0:
            try:
                batch.append(await asyncio.wait_for(messages.get(), left))
            except TimeoutError:
                break
        for one in batch:
            say(f"done {one.body.decode()}")
            await one.ack()


async def main() -> None:
    given = parse(FORMS)
    connection = await aio_pika.connect_robust(given.url)
    channel = await connection.channel()
    await channel.set_qos(prefetch_count=FORMS[given.form].settings["prefetch"])
    queue = await channel.get_queue(given.queue)
    messages: asyncio.Queue[Any] = asyncio.Queue()

    async def take(message: Any) -> None:
        if given.form in ("batch", "flush"):
            messages.put_nowait(message)
            return
        if not given.healthy and message.body.startswith(b"hang"):
            hang(message.body.decode())
        say(f"done {message.body.decode()}")  # before: at the next `await` another message may block the loop for good
        await message.ack()

    await queue.consume(take)
    say("consuming")
    await collect(messages, FORMS[given.form].settings["within_s"])


if __name__ == "__main__":
    asyncio.run(main())
