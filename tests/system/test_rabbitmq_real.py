"""The adapter of RabbitMQ against a real broker: what it tells live, what it tells late, and what it refuses."""

from __future__ import annotations

import json
import shlex
import subprocess
import sys
import urllib.error
from contextlib import closing, suppress
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pika
import pytest
from pika.exceptions import ChannelClosedByBroker

from functions.adapters.symptoms.rabbitmq import RabbitMQ, checks, client, to_queue
from functions.application.ports import Finding
from functions.domain.model.observations import QueueSnapshot
from functions.domain.model.runbooks import Symptom
from functions.runtime.errors import Denied, Unavailable
from testbed.broker import ADMIN, Broker, consumer
from testbed.looks import look_once
from testbed.patience import PATIENCE_S, wait_until
from tests.adapters.secret import Secret

INFRA = Path(__file__).parents[2] / "infra"


def settings(broker: Broker, user: str = ADMIN[0], password: str = ADMIN[1]) -> RabbitMQ:
    return RabbitMQ(broker.url, user, Secret(password.encode()))


def look(broker: Broker, name: str, *, vhost: str = "/") -> QueueSnapshot:
    with suppress(Unavailable):  # on a busy machine 4.0 now and then leaves a queue out of its totals
        return look_once(client.look_all, settings(broker), to_queue(vhost, name))
    return look_once(client.look_all, settings(broker), to_queue(vhost, name))


def check(user: RabbitMQ, name: str) -> dict[str, Finding]:
    findings = checks.check(user, Symptom("rabbitmq", {"vhost": "/", "queue": name}), {}, timeout_s=PATIENCE_S)
    return {one.what: one for one in findings}


def test_the_depth_is_live(rabbitmq_server):
    """Each publish and each purge is seen by the very next check, long before the queue's page has it."""
    for depth in (1, 3, 8):
        rabbitmq_server.publish("live", depth - (look(rabbitmq_server, "live").depth if depth > 1 else 0))
        assert look(rabbitmq_server, "live").depth == depth
    rabbitmq_server.api("DELETE", "queues/%2F/live/contents")
    assert look(rabbitmq_server, "live").depth == 0


def test_a_held_message_is_unacknowledged_until_its_consumer_dies(rabbitmq_server):
    """The original bug: one held, the others ready; after the kill all are ready again and the consumer is gone."""
    rabbitmq_server.publish("held", 5)
    with consumer(rabbitmq_server, "held", "stuck-unacked"):
        live = wait_until(lambda: look(rabbitmq_server, "held"), lambda seen: seen.unacked == 1)
        assert (live.depth, live.ready) == (5, 4)
        shown = wait_until(lambda: look(rabbitmq_server, "held"), lambda seen: seen.consumer_ids and seen.acks is not None)
        assert (len(shown.consumer_ids), shown.acks) == (1, 0)
    back = wait_until(lambda: look(rabbitmq_server, "held"), lambda seen: seen.unacked == 0)
    assert (back.depth, back.ready) == (5, 5)
    wait_until(lambda: look(rabbitmq_server, "held"), lambda seen: seen.consumer_ids == ())


@pytest.mark.parametrize("vhost", ["/", "mail/100%", *(pytest.param(one, marks=pytest.mark.long) for one in ("%2F", "日本 語"))])
def test_every_name_is_found_in_every_vhost(rabbitmq_server, vhost):
    """Dots, slashes, percent signs, spaces, Japanese and signs of patterns: the right queue's depth and page, and no other's."""
    names = ("a.b", "axb", "A.B", "a/b", "a%2Fb", "100%", "配送 キュー", "[x](y){1,2}|z^$*?+\\", "é", "É", "a&b=c#d+e")
    if vhost != "/":
        rabbitmq_server.add_vhost(vhost)
    for depth, name in enumerate(names, start=1):
        rabbitmq_server.publish(name, depth, vhost=vhost)
    assert [look(rabbitmq_server, name, vhost=vhost).depth for name in names] == list(range(1, len(names) + 1))
    assert all(look(rabbitmq_server, name, vhost=vhost).consumer_ids == () for name in names), "the page was found too"
    for name in names:  # RabbitMQ 3.10 escapes no label: the one with a backslash spoils every scrape of other tests
        rabbitmq_server.api("DELETE", f"queues/{quote(vhost, safe='')}/{quote(name, safe='')}")


def test_a_stream_is_refused(rabbitmq_server):
    """A stream keeps what was read, so its depth would call it ill for ever."""
    rabbitmq_server.publish("type-stream", 1, arguments={"x-queue-type": "stream"})
    with pytest.raises(Denied, match="is a stream"):
        look(rabbitmq_server, "type-stream")


def test_the_least_privileged_user_sees_all_and_touches_nothing(rabbitmq_server):
    """infra/rabbitmq as the README says: loaded into a real broker, it is enough for look and check, and for nothing else."""
    rabbitmq_server.publish("watched", 2)
    rabbitmq_server.api("POST", "definitions", _definitions("a long password"))
    user = settings(rabbitmq_server, "unstick", "a long password")
    with consumer(rabbitmq_server, "watched", "stuck-unacked"):
        consuming = "users of 'watched' in vhost '/'"  # the page shows a consumer's user some seconds after the consumer
        findings = wait_until(lambda: check(user, "watched"), lambda findings: consuming in findings)
    assert {what: finding.ok for what, finding in findings.items()} == dict.fromkeys(
        ("RabbitMQ answers and knows unstick", "RabbitMQ rights", "RabbitMQ queue 'watched' in vhost '/'",
            "RabbitMQ statistics", consuming), True,
    )  # fmt: skip
    touching = (("DELETE", "queues/%2F/watched/contents"), ("DELETE", "queues/%2F/watched"), ("PUT", "queues/%2F/another"))
    for method, path in touching:
        with pytest.raises(urllib.error.HTTPError, match="401"):
            rabbitmq_server.api(method, path, {} if method == "PUT" else None, user=("unstick", "a long password"))
    login = pika.URLParameters(rabbitmq_server.amqp_url())
    login.credentials = pika.PlainCredentials("unstick", "a long password")
    with closing(pika.BlockingConnection(login)) as line, pytest.raises(ChannelClosedByBroker, match="ACCESS_REFUSED"):
        line.channel().basic_get("watched")
    assert look(rabbitmq_server, "watched").depth == 2


def test_the_definitions_without_a_hash_are_refused(rabbitmq_server):
    """Nobody gets a user with a known password by loading the file as it is."""
    with pytest.raises(urllib.error.HTTPError):
        rabbitmq_server.api("POST", "definitions", json.loads((INFRA / "rabbitmq" / "definitions.json").read_text()))


def _definitions(password: str) -> Any:
    """The file of infra/rabbitmq with the hash that the README's own command makes."""
    lines = (INFRA / "rabbitmq" / "README.md").read_text().splitlines()
    command = shlex.split(next(line for line in lines if line.startswith("python3 -c")))
    hashed = subprocess.run(
        [sys.executable, *command[1:]], input=password, capture_output=True, text=True, check=True, start_new_session=True
    )
    text = (INFRA / "rabbitmq" / "definitions.json").read_text()
    return json.loads(text.replace("REPLACE_WITH_PASSWORD_HASH", hashed.stdout.strip()))
