"""Messages as the libraries' own publishers write them, for publishers that have none of them."""

import json
import time
import uuid

import pika


def message_of(library: str, name: str, *, queue: str, later_s: float = 0.0) -> tuple[bytes, pika.BasicProperties]:
    """One piece of work with this name. `later_s`: it is for so much later."""
    made = {"celery": _celery, "dramatiq": _dramatiq}.get(library)
    if made:
        return made(name, queue, later_s)
    return name.encode(), pika.BasicProperties(content_type="text/plain", delivery_mode=2, timestamp=int(time.time()))


def _celery(name: str, _queue: str, later_s: float) -> tuple[bytes, pika.BasicProperties]:
    """Version 2 of its protocol."""
    known = str(uuid.uuid4())
    due = time.strftime("%Y-%m-%dT%H:%M:%S+00:00", time.gmtime(time.time() + later_s)) if later_s else None
    headers = {
        "lang": "py", "task": "work", "id": known, "root_id": known, "parent_id": None, "group": None, "eta": due,
        "expires": None, "retries": 0, "timelimit": [None, None], "argsrepr": f"('{name}',)", "kwargsrepr": "{}",
        "origin": "town", "ignore_result": True,
    }  # fmt: skip
    body = json.dumps([[name], {}, {"callbacks": None, "errbacks": None, "chain": None, "chord": None}]).encode()
    return body, pika.BasicProperties(
        content_type="application/json", content_encoding="utf-8", correlation_id=known, headers=headers, delivery_mode=2
    )


def _dramatiq(name: str, queue: str, later_s: float) -> tuple[bytes, pika.BasicProperties]:
    """What is for later is in its queue for such messages."""
    now_ms = int(time.time() * 1000)
    options = {"eta": now_ms + int(later_s * 1000)} if later_s else {}
    made = {
        "queue_name": f"{queue}.DQ" if later_s else queue, "actor_name": "work", "args": [name], "kwargs": {}, "options": options,
        "message_id": str(uuid.uuid4()), "message_timestamp": now_ms,
    }  # fmt: skip
    return json.dumps(made).encode(), pika.BasicProperties(delivery_mode=2)
