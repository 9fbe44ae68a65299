"""The adapter of RabbitMQ against a real broker: what it tells live, what it tells late, and what it refuses."""

from __future__ import annotations

import json
import shlex
import subprocess
import sys
import time
import urllib.error
from contextlib import ExitStack, closing, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pika
import pytest
from pika.exceptions import ChannelClosedByBroker

from functions.adapters.symptoms.rabbitmq import RabbitMQ, checks, client, to_queue
from functions.application.ports import Finding, Query
from functions.domain.model.observations import QueueSnapshot
from functions.domain.model.runbooks import Symptom
from functions.runtime.errors import Denied, Unavailable
from testbed.broker import ADMIN, Broker, consumer
from testbed.looks import look_once
from testbed.patience import PATIENCE_S, wait_until
from testbed.workers.crew import Habit, Worker

INFRA = Path(__file__).parents[2] / "infra"


@dataclass(frozen=True)
class Password:
    text: str

    def read(self) -> bytes:
        return self.text.encode()

    def invalidate(self) -> None:
        """Nothing else is known."""


def settings(broker: Broker, user: str = ADMIN[0], password: str = ADMIN[1]) -> RabbitMQ:
    return RabbitMQ(broker.url, user, Password(password))


def look(broker: Broker, name: str, *, vhost: str = "/") -> QueueSnapshot:
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


@pytest.mark.long  # what the page says of one broker does not change by day
@pytest.mark.parametrize("kind", ["classic", "quorum"])
def test_one_message_is_moved_by_hand_as_the_docs_say(rabbitmq_server, kind):
    """docs/rabbitmq.md: looking at all keeps their order, and `Reject requeue false` moves the first of them, whole."""
    queue, dead = f"by-hand-{kind}", f"by-hand-{kind}.dead"
    with rabbitmq_server.channel() as channel:
        for name, more in ((dead, {}), (queue, {"x-dead-letter-exchange": "", "x-dead-letter-routing-key": dead})):
            channel.queue_declare(name, durable=True, arguments={"x-queue-type": kind, **more})
        for number in range(5):
            properties = pika.BasicProperties(delivery_mode=2, headers={"tenant": number})
            channel.basic_publish("", queue, f"mail {number}".encode(), properties)
    with consumer(rabbitmq_server, queue, "stuck-unacked"):
        wait_until(lambda: rabbitmq_server.api("GET", f"queues/%2F/{queue}").get("messages_unacknowledged"))

    def get(name: str, mode: str, count: int) -> list[dict[str, Any]]:
        asked = {"ackmode": mode, "count": count, "encoding": "auto", "truncate": 50_000}
        return list(rabbitmq_server.api("POST", f"queues/%2F/{name}/get", asked))

    shown = wait_until(lambda: get(queue, "ack_requeue_true", 9), lambda all_: len(all_) == 5)
    assert (shown[0]["payload"], shown[0]["redelivered"]) == ("mail 0", True)
    again = get(queue, "ack_requeue_true", 9)
    assert [one["payload"] for one in again] == [f"mail {number}" for number in range(5)]
    (moved,) = get(queue, "reject_requeue_false", 1)
    assert moved["payload"] == "mail 0"
    (there,) = wait_until(lambda: get(dead, "ack_requeue_true", 9))
    assert (there["payload"], there["properties"]["headers"]["tenant"]) == ("mail 0", 0)
    assert [one["payload"] for one in get(queue, "ack_requeue_true", 9)] == [f"mail {number}" for number in range(1, 5)]


@pytest.mark.long  # the recorded answers say the same by day
def test_ready_messages_with_a_consumer_that_takes_none(rabbitmq_server):
    """The other form of the bug: a consumer is registered, nothing is unacknowledged, nothing moves, and the head tells since
    when. One in automatic acknowledgement mode is not taken for a dead one.
    """
    began = int(time.time())
    rabbitmq_server.publish("blocked", 3)
    with consumer(rabbitmq_server, "blocked", "stuck-ready"):
        seen = wait_until(lambda: look(rabbitmq_server, "blocked"), lambda seen: seen.consumer_ids and seen.head_at)
        assert (seen.ready, seen.unacked, seen.acks) == (3, 0, None), "absent is not zero"
        assert began <= seen.head_at <= time.time()
    with consumer(rabbitmq_server, "blocked", "no-ack"):
        wait_until(lambda: look(rabbitmq_server, "blocked"), lambda seen: seen.acks == 3)


@pytest.mark.long  # the recorded answers say the same by day
def test_a_new_consumer_has_another_id_and_its_acknowledgements_are_counted(rabbitmq_server):
    """What tells a restarted application from the old one: other consumers, and a counter that rises."""
    rabbitmq_server.publish("counted", 4)
    with consumer(rabbitmq_server, "counted", "healthy"):
        first = wait_until(lambda: look(rabbitmq_server, "counted"), lambda seen: seen.consumer_ids and seen.acks == 4)
    with consumer(rabbitmq_server, "counted", "healthy"):
        rabbitmq_server.publish("counted", 3)
        second = wait_until(
            lambda: look(rabbitmq_server, "counted"),
            lambda seen: seen.acks == 7 and seen.consumer_ids not in ((), first.consumer_ids),
        )
    assert set(first.consumer_ids).isdisjoint(second.consumer_ids)
    assert second.ack_samples[-1][1] == 7
    assert second.ack_samples[-1][0] - second.ack_samples[0][0] == 195, "three times `for`, and a little more"


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


@pytest.mark.long  # the recorded answers say the same by day
@pytest.mark.parametrize("kind", ["classic", "quorum"])
def test_types_of_queues(rabbitmq_server, kind):
    """A queue of either type with a depth of its own is reported the same way; a quorum queue's only every 5 s."""
    rabbitmq_server.publish(f"type-{kind}", 3, arguments={"x-queue-type": kind})

    def look_at_new() -> QueueSnapshot | None:
        """None while the queue's leader may be new."""
        with suppress(Unavailable):
            return look(rabbitmq_server, f"type-{kind}")
        return None

    seen = wait_until(look_at_new, lambda seen: seen is not None and seen.depth == 3)
    assert seen is not None
    assert (seen.ready, seen.unacked) == (3, 0)


def test_a_stream_is_refused(rabbitmq_server):
    """A stream keeps what was read, so its depth would call it ill for ever."""
    rabbitmq_server.publish("type-stream", 1, arguments={"x-queue-type": "stream"})
    with pytest.raises(Denied, match="is a stream"):
        look(rabbitmq_server, "type-stream")


@pytest.mark.parametrize(
    ("user", "password", "queue", "said"),
    [
        pytest.param("reader", "wrong", to_queue("/", "refusals"), "the login failed", id="wrong password"),
        pytest.param("nobody", "right", to_queue("/", "refusals"), "the login failed", id="no such user"),
        pytest.param("untagged", "right", to_queue("/", "refusals"), "no management tag", id="no management tag"),
        pytest.param("outsider", "right", to_queue("/", "refusals"), "may not see this vhost", id="no permission on the vhost"),
        pytest.param("reader", "right", to_queue("/", "nowhere"), "there is no queue", id="no such queue"),
        pytest.param("reader", "right", to_queue("nowhere", "refusals"), "there is no vhost", id="no such vhost"),
    ],
)
def test_refusals_are_told_apart(rabbitmq_server, user, password, queue, said):
    """Every refusal of the broker has its own sentence, so that people read what to mend."""
    rabbitmq_server.publish("refusals")
    rabbitmq_server.add_user("reader", "right", tags="management", vhosts=["/"])
    rabbitmq_server.add_user("untagged", "right", tags="", vhosts=["/"])
    rabbitmq_server.add_user("outsider", "right", tags="monitoring")
    with pytest.raises(Denied, match=said) as refused:
        look_once(client.look_all, settings(rabbitmq_server, user, password), queue)
    assert refused.value.remedy


def test_the_least_privileged_user_sees_all_and_touches_nothing(rabbitmq_server):
    """infra/rabbitmq as the README says: loaded into a real broker, it is enough for look and check, and for nothing else."""
    rabbitmq_server.publish("watched", 2)
    rabbitmq_server.api("POST", "definitions", _definitions("a long password"))
    user = settings(rabbitmq_server, "unstick", "a long password")
    with consumer(rabbitmq_server, "watched", "stuck-unacked"):
        consuming = "users of 'watched' in vhost '/'"  # the page shows a consumer's user some seconds after the consumer
        findings = wait_until(lambda: check(user, "watched"), lambda findings: consuming in findings)
    assert {what: finding.ok for what, finding in findings.items()} == dict.fromkeys(
        (
            "RabbitMQ answers and knows unstick", "RabbitMQ rights", "RabbitMQ queue 'watched' in vhost '/'",
            "RabbitMQ statistics", consuming, "messages that consumers keep",
        ),
        True,
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


def test_an_administrator_is_warned_of(rabbitmq_server):
    """A user that can do more than it needs works, and `check` says so."""
    rabbitmq_server.publish("warned")
    findings = check(settings(rabbitmq_server), "warned")
    assert findings["RabbitMQ rights"].ok is None
    assert "administrator" in findings["RabbitMQ rights"].detail


@pytest.mark.long  # a broker of its own; by day the recorded answers say the same
def test_without_statistics_the_depth_is_live_and_consumers_are_not_known(rabbitmq_without_statistics):
    """With `management_agent.disable_metrics_collector` look goes on with what there is, and check says what to mend."""
    rabbitmq_without_statistics.publish("bare", 3)
    with consumer(rabbitmq_without_statistics, "bare", "stuck-unacked"):
        seen = wait_until(lambda: look(rabbitmq_without_statistics, "bare"), lambda seen: seen.unacked == 1)
    assert (seen.depth, seen.ready, seen.unacked, seen.consumers, seen.channels) == (3, 2, 1, None, None)
    assert seen.blind is not None
    assert str(seen.blind.why) == "the broker's statistics are off"
    findings = check(settings(rabbitmq_without_statistics), "bare")
    assert findings["RabbitMQ statistics"].ok is False
    assert "management_agent.disable_metrics_collector" in findings["RabbitMQ statistics"].remedy
    assert findings["RabbitMQ queue 'bare' in vhost '/'"].ok


def _definitions(password: str) -> Any:
    """The file of infra/rabbitmq with the hash that the README's own command makes."""
    lines = (INFRA / "rabbitmq" / "README.md").read_text().splitlines()
    command = shlex.split(next(line for line in lines if line.startswith("python3 -c")))
    hashed = subprocess.run(
        [sys.executable, *command[1:]], input=password, capture_output=True, text=True, check=True, start_new_session=True
    )
    text = (INFRA / "rabbitmq" / "definitions.json").read_text()
    return json.loads(text.replace("REPLACE_WITH_PASSWORD_HASH", hashed.stdout.strip()))


@pytest.mark.long  # the recorded answers say the same by day
def test_the_tag_monitoring_shows_who_hangs(rabbitmq_server):
    """Of two consumers of a real broker the one that holds a message and does nothing, by name, host and the beginning of its
    connection; with the tag `management` alone neither."""
    rabbitmq_server.add_user("watcher", "watched", tags="monitoring", vhosts=["/"])
    rabbitmq_server.add_user("reader", "read", tags="management", vhosts=["/"])
    rabbitmq_server.publish("kept", 1)
    url = rabbitmq_server.amqp_url()

    def as_user(name: str, password: str) -> QueueSnapshot:
        return look_once(client.look_all, settings(rabbitmq_server, name, password), to_queue("/", "kept"), for_s=10)

    began = time.time()
    with ExitStack() as stack:
        holding = stack.enter_context(Worker(url, "kept", Habit(hangs=True), name="mail-worker-2"))
        wait_until(lambda: holding.held)
        stack.enter_context(Worker(url, "kept", Habit(), name="mail-worker-3"))
        seen = wait_until(
            lambda: as_user("watcher", "watched"), lambda seen: seen.holders and seen.consumers == 2 and seen.held_bytes
        )
        (holder,) = seen.holders
        assert (holder.host, holder.name, holder.messages) == ("127.0.0.1", "mail-worker-2", 1)
        assert (seen.holding, seen.held_bytes) == (1, len("message 0"))
        assert began - 1 <= holder.since <= time.time() - 10
        (hung,) = (one for one in seen.channels if one.held)
        assert began - 1 <= hung.connected_at <= time.time()
        assert as_user("reader", "read").holders == ()


@pytest.mark.long  # the recorded answers say the same by day
def test_a_channel_shows_how_much_it_may_hold(rabbitmq_server):
    """3.10 has the limit of a whole channel (global QoS); 4.x enforces it and doesn't show it, so that nothing is known where
    consumers have no limit of their own. A new consumer's channel is there as soon as its consumer is."""
    names = ("window-own", "window-all", "window-none", "window-two")
    for name in names:
        rabbitmq_server.publish(name, 9)
    shows = rabbitmq_server.version == "host"
    with ExitStack() as stack:

        def consume(*queues: str, limit: int, of_channel: bool = False) -> None:
            channel = stack.enter_context(rabbitmq_server.channel())
            channel.basic_qos(prefetch_count=limit, global_qos=of_channel)
            for queue in queues:
                channel.basic_consume(queue, lambda *_: None)
            channel.connection.process_data_events(0.5)

        consume("window-own", limit=3)
        consume("window-all", limit=5, of_channel=True)
        consume("window-none", limit=0)
        consume("window-two", "window-none", limit=2)

        def seen(name: str, shared: int = 0, count: int = 1) -> list[tuple[int, int | None]]:
            def is_there(one: QueueSnapshot) -> bool:
                return len(one.channels or ()) == count and all(channel.held for channel in one.channels or ())

            snapshot = wait_until(lambda: look(rabbitmq_server, name), is_there)
            assert (snapshot.users, snapshot.active, snapshot.unseen) == ((ADMIN[0],), count, None)
            assert {channel.user for channel in snapshot.channels} == {ADMIN[0]}
            assert sum(channel.shared for channel in snapshot.channels) == shared
            return sorted((channel.held, channel.window) for channel in snapshot.channels)

        assert seen("window-own") == [(3, 3)]
        assert seen("window-all") == [(5, 5 if shows else None)]
        assert seen("window-two", shared=1) == [(2, 4)]
        assert look(rabbitmq_server, "window-none").unacked == 9


@pytest.mark.long  # by day its figures are those of the test above
def test_a_queue_with_more_consumers_than_a_look_reads(rabbitmq_server):
    """Each check reads 64 of them; one that is asked for first is always among them."""
    count = 80
    rabbitmq_server.publish("crowd", 2 * count)
    with rabbitmq_server.channel() as one:
        channels = [one.connection.channel() for _ in range(count)]
        for channel in channels:
            channel.basic_qos(prefetch_count=1)
            channel.basic_consume("crowd", lambda *_: None)
        one.connection.process_data_events(0.5)
        seen = wait_until(lambda: look(rabbitmq_server, "crowd"), lambda seen: seen.consumers == count and seen.holding == 64)
        assert str(seen.unseen.why) == f"64 of the {count} channels of its consumers were read"
        read = {channel.id for channel in seen.channels}
        names = {consumer.partition(" / ")[2].rpartition(" / ")[0] for consumer in seen.consumer_ids}
        missing = min(names - read)
        query = Query(to_queue("/", "crowd"), 60.0, (missing,))
        (again,) = client.look_all(settings(rabbitmq_server), [query], timeout_s=PATIENCE_S)
        assert missing in {channel.id for channel in again.channels}
