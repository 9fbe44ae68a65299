"""Every client's reading of answers: told anything at all, it says so in the project's errors, with no secret in them."""

import atexit
import base64
import json
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from itertools import count
from pathlib import Path
from typing import Any

from functions.adapters.chats import apprise, google_chat, slack
from functions.adapters.grafana import annotations
from functions.adapters.runners.rundeck import Rundeck
from functions.adapters.schedulers import cloud_tasks
from functions.adapters.stores import cloud_storage
from functions.adapters.symptoms.rabbitmq import RabbitMQ, to_queue
from functions.application.ports import Query
from functions.domain.model.alerts import Target
from functions.domain.model.codes import Ending, Phase
from functions.domain.model.incidents import Archive, Incident, Outcome
from functions.domain.model.messages import Card
from functions.domain.model.runbooks import Rules
from functions.runtime import secrets
from functions.runtime.errors import Conflict, Denied, Unavailable
from functions.runtime.secrets import SecretRef
from testbed.doubles.anything import Anything

RECORDINGS = Path(__file__).parents[2] / "recordings"
SEED_BYTES = 20_000
SECRET = "S3CR3T-of-fuzz-do-not-show"
ENCODED = base64.b64encode(SECRET.encode()).decode()
ENVIRONMENT = {
    "UNSTICK_FUZZ_TOKEN": f"xoxb-{SECRET}",
    "UNSTICK_FUZZ_SLACK": f"http://127.0.0.1:{{port}}/services/T/B/{SECRET}",
    "UNSTICK_FUZZ_GOOGLE_CHAT": f"http://127.0.0.1:{{port}}/v1/spaces/A/messages?key=k&token={SECRET}",
    "UNSTICK_FUZZ_APPRISE": f"json://127.0.0.1:{{port}}/{SECRET}",
    secrets.ENDPOINT: "http://127.0.0.1:{port}",
    cloud_tasks.ENDPOINT: "http://127.0.0.1:{port}",
    "STORAGE_EMULATOR_HOST": "http://127.0.0.1:{port}",
}
IN_S = 0.5
LONGEST_S = 60.0
"""Without a limit a call would wait for ever. Some make several requests, and a machine may be busy."""

NOW = 1_795_561_678.0
DATE = "Date: Wed, 25 Nov 2026 03:00:00 GMT"
TOKEN = SecretRef("env://UNSTICK_FUZZ_TOKEN")
THREAD = "1.2"
CARD = Card("started", "watch", "mail-delivery is being restarted", incident="20261125-030000-8b6529b4", at=NOW)
MAIL = Target("t", "https://rundeck.example.com", "job", {"service": "mail"})
RECORD = Archive(MAIL, Incident("i", Phase.STARTING, NOW, "mail", (), ()), Outcome("i", Ending.RECOVERED, None, NOW, ()))
BUCKET = cloud_storage.CloudStorage("bucket-one")
QUEUE = cloud_tasks.CloudTasks("projects/p/locations/l/queues/q", "https://verify.example.com", "verify@example.com")
HOURS = count()
"""Secret Manager is asked anew each hour."""


def recorded(system: str) -> list[Any]:
    """The bodies that a real server answered with, without the longest."""
    texts = [path.read_text() for path in sorted((RECORDINGS / system).glob("*.json"))]
    return [json.loads(text)["body"] for text in texts if len(text) < SEED_BYTES]


@dataclass(frozen=True, slots=True)
class Client:
    """What is called with so much time, and JSON that its server really says, one of which an answer is made from."""

    call: Callable[[float], Any]
    adapters: tuple[Any, ...]
    sends_secret: bool = True


def _posts(chat: Callable[[], Any], thread: str | None = None) -> Callable[[float], Any]:
    return lambda in_s: chat().post(CARD, thread=thread, language="en", timeout_s=in_s)


def _by_url(module: Any) -> Callable[[float], Any]:
    reference = SecretRef(f"env://UNSTICK_FUZZ_{module.__name__.rpartition('.')[2].upper()}")
    return _posts(lambda: module.ADAPTER(url=reference))


def _bot() -> slack.Slack:
    return slack.Slack(token=TOKEN, channel="C0123456789", base_url=server().url)


def _rundeck() -> Rundeck:
    return Rundeck(server().url, TOKEN)


def _rabbitmq(in_s: float) -> Any:
    return RabbitMQ(server().url, "user", TOKEN).look_all([Query(to_queue("/", "mail.delivery"), 60.0)], timeout_s=in_s)


def _grafana() -> annotations.Settings:
    return annotations.Settings(server().url, TOKEN)


VERSION = {"name": "projects/1/secrets/token/versions/1", "payload": {"data": ENCODED, "dataCrc32c": "1"}}
OBJECT = {"name": "documents/a.json", "generation": "7", "metageneration": "1", "metadata": {"unstick-due": "1.5"}, "size": "2"}
LIST = {"items": [OBJECT, {"name": "documents/b.json"}], "prefixes": ["x"], "nextPageToken": "more"}
RECORDS = {"items": [{"name": "incidents/2026-01-01/a.json"}]}
TASK = {
    "name": "projects/p/locations/l/queues/q/tasks/1", "scheduleTime": "2026-11-25T03:00:00Z", "dispatchCount": 1,
    "httpRequest": {"url": "https://v", "httpMethod": "POST", "body": "e30=", "headers": {"a": "b"}}, "dispatchDeadline": "600s",
}  # fmt: skip
STATE = {"name": "projects/p/locations/l/queues/q", "state": "RUNNING", "retryConfig": {"maxAttempts": -1, "maxBackoff": "1s"}}
EXECUTION = {
    "id": 1, "status": "succeeded", "date-started": {"unixtime": 1}, "date-ended": {"unixtime": 2}, "project": "p", "user": "u",
    "job": {"options": {"service": "mail", "unstick_incident": "i.1", "unstick_not_after": "1795561738"}}, "permalink": "http://x",
}  # fmt: skip
RUNDECK = {"paging": {"total": 1}, "executions": [EXECUTION], "entries": [{"log": "a", "node": "b"}], **EXECUTION}
"""Of every kind at once: a list, an execution, a log."""
CONSUMER = {"consumer_tag": "a", "ack_required": True, "channel_details": {"name": "b", "connection_name": "b"}}
QUEUE_PAGE = {
    "consumer_details": [CONSUMER],
    "message_stats": {"ack": 1, "ack_details": {"samples": [{"sample": 1, "timestamp": 1}]}},
}
COUNTS = {"name": "mail.delivery", "messages": 3, "messages_ready": 2, "messages_unacknowledged": 1}
RABBITMQ = {"items": [COUNTS], "name": "u", "tags": ["monitoring"], **QUEUE_PAGE}
POSTED = {"ok": True, "channel": "C0123456789", "ts": "1.2"}
GONE, TOO_LONG = {"ok": False, "error": "thread_not_found"}, {"ok": False, "error": "msg_too_long"}

CLIENTS = {
    "secret manager": Client(lambda _in_s: secrets.read("sm://p-1/token", now=3600.0 * next(HOURS)), (VERSION,)),
    "cloud storage, load": Client(lambda in_s: BUCKET.load("a", timeout_s=in_s), (OBJECT,), False),
    "cloud storage, save": Client(
        lambda in_s: BUCKET.save("a", b"{}", generation="5", due=1.5, timeout_s=in_s), (OBJECT,), False
    ),
    "cloud storage, list": Client(lambda in_s: BUCKET.list_documents(timeout_s=in_s), (LIST, {"items": []}), False),
    "cloud storage, archive": Client(
        lambda in_s: [BUCKET.read_archived(path, timeout_s=in_s) for path in BUCKET.list_archive(since="2026", timeout_s=in_s)],
        (RECORDS, LIST),
        False,
    ),
    "cloud storage, check": Client(lambda in_s: BUCKET.check(timeout_s=in_s), (OBJECT, LIST), False),
    "cloud tasks, wake": Client(lambda in_s: QUEUE.wake(NOW, "payload", timeout_s=in_s), (TASK,), False),
    "cloud tasks, check": Client(
        lambda in_s: QUEUE.check(timeout_s=in_s), ({"permissions": ["cloudtasks.tasks.create"]}, STATE), False
    ),
    "rundeck, look": Client(
        lambda in_s: _rundeck().look(MAIL, since_s=600.0, follow="1", tail=True, timeout_s=in_s), (RUNDECK, *recorded("rundeck"))
    ),
    "rundeck, run": Client(
        lambda in_s: _rundeck().run(MAIL, tag="i.1", runner_not_after=NOW + 60, timeout_s=in_s), (RUNDECK, *recorded("rundeck"))
    ),
    "rabbitmq, look": Client(_rabbitmq, (RABBITMQ,)),
    "slack, webhook": Client(_by_url(slack), ("ok", "invalid_blocks")),
    "slack, first card": Client(_posts(_bot), (POSTED, TOO_LONG)),
    "slack, reply": Client(_posts(_bot, THREAD), (POSTED, GONE, TOO_LONG)),
    "slack, check": Client(lambda in_s: _bot().check(timeout_s=in_s), (POSTED, {"ok": False, "error": "invalid_auth"})),
    "google chat": Client(_by_url(google_chat), ({"name": "spaces/A/messages/1"},)),
    "apprise": Client(_by_url(apprise), ({},)),
    "annotations, mark": Client(lambda in_s: annotations.mark(_grafana(), RECORD, Rules({}), timeout_s=in_s), ({"id": 1},)),
}


@cache
def server() -> Anything:
    """One for the process."""
    started = Anything()
    started.__enter__()
    atexit.register(started.__exit__)
    return started


@contextmanager
def _environment() -> Iterator[None]:
    os.environ.update({name: value.format(port=server().port) for name, value in ENVIRONMENT.items()})
    try:
        yield
    finally:
        for name in ENVIRONMENT:
            del os.environ[name]


def heard(name: str, answers: list[bytes], in_s: float = IN_S) -> Any:
    """What the client made of these answers: a result, or one of the three errors that its callers know. Both in time.

    What Google's servers say in plain text is shown to people, and they are sent no secret; the others are.
    """
    client, server().answers, began = CLIENTS[name], list(answers), time.monotonic()
    with _environment():
        try:
            outcome = client.call(in_s)
        except (Unavailable, Denied, Conflict) as error:
            outcome = error
    took_s = time.monotonic() - began
    shown = f"{outcome} {getattr(outcome, 'remedy', '')}" if isinstance(outcome, Exception | list) else ""
    assert not client.sends_secret or (SECRET not in shown and ENCODED not in shown), shown
    assert took_s < LONGEST_S, f"{took_s:.1f} s"
    return outcome


def answer(status: int, body: bytes, *headers: str, reason: str = "OK") -> bytes:
    """The bytes of an answer whose head may be as wrong as one likes."""
    return "".join(f"{line}\r\n" for line in (f"HTTP/1.1 {status} {reason}", *headers, "")).encode("latin-1") + body


def as_json(content: Any, *headers: str, status: int = 200) -> bytes:
    """A sound answer."""
    body = json.dumps(content).encode()
    return answer(
        status, body, "Content-Type: application/json", f"Content-Length: {len(body)}", DATE, "Connection: close", *headers
    )
