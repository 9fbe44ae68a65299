"""The adapter of RabbitMQ against a stand-in of the management API, for what a real broker does not show on demand: which
channels a look reads, within which bounds, and what it says of what it could not read."""

import json
import logging
import time
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

import pytest

from functions.adapters.symptoms.rabbitmq import RabbitMQ, client, to_queue
from functions.adapters.symptoms.rabbitmq.answers import Consumer
from functions.adapters.symptoms.rabbitmq.client import Look, choose_channels
from functions.application.ports import Query
from functions.domain.model.alerts import QueueRef
from functions.domain.model.observations import QueueSnapshot
from functions.domain.model.runbooks import Symptom
from functions.runtime.errors import Denied, Unavailable
from testbed.doubles.rabbitmq import Queue, RabbitDouble, User
from testbed.looks import look_once
from testbed.patience import PATIENCE_S
from tests.adapters.secret import Secret
from tests.support.recorded import RABBITMQ, read_looks

MAIL = to_queue("/", "mail")
FIRST, SECOND, THIRD = (f"10.0.3.{number}:50001 -> 10.0.0.1:5672" for number in (1, 2, 3))
JSON = "application/json"


@pytest.fixture
def rabbit(monkeypatch: pytest.MonkeyPatch) -> Iterator[RabbitDouble]:
    """A queue of which the first of two consumers has held three messages for an hour."""
    monkeypatch.setattr(client, "WHOAMI_S", PATIENCE_S)  # else a busy machine has no channels
    with RabbitDouble() as double:
        double.queue("mail", ready=1, unacked=3, acks=7, consumers=(FIRST, SECOND), named="mail-worker-2")
        yield double


def look_all(rabbit: RabbitDouble, *queries: Query, timeout_s: float = PATIENCE_S) -> list[QueueSnapshot]:
    settings = RabbitMQ(rabbit.url, "unstick", Secret(b"secret"))  # type: ignore[arg-type]
    seen = client.look_all(settings, queries, timeout_s=timeout_s)
    return [one for one in seen if isinstance(one, QueueSnapshot)]


def look(rabbit: RabbitDouble, *, first: tuple[str, ...] = (), for_s: float = 60.0, **more: float) -> QueueSnapshot:
    return look_all(rabbit, Query(MAIL, for_s, first), **more)[0]


def look_at(rabbit: RabbitDouble, queue: QueueRef, *passwords: bytes) -> QueueSnapshot:
    """Raises what takes its place."""
    settings = RabbitMQ(rabbit.url, "unstick", Secret(*passwords or (b"secret",)))  # type: ignore[arg-type]
    return look_once(client.look_all, settings, queue)


def asked(rabbit: RabbitDouble, what: str) -> list[str]:
    """The requests for channels or connections, each without its query."""
    return [path.partition("?")[0] for path in rabbit.asked if path.startswith(f"/api/{what}")]


def crowd(rabbit: RabbitDouble, count: int, name: str = "mail", net: int = 3) -> None:
    """A queue whose consumers, so many, each hold a message."""
    rabbit.hold_all = True
    consumers = tuple(f"10.{net}.{number // 250}.{number % 250}:50001 -> 10.0.0.1:5672" for number in range(count))
    rabbit.queues["/", name] = Queue(ready=1, unacked=3, acks=7, consumers=consumers)


def test_a_look_reads_the_pages_of_the_queues_own_channels_and_no_list(rabbit: RabbitDouble) -> None:
    """I14: three requests, then the nodes and each channel, then the connection of the one that hangs."""
    rabbit.queue("other", unacked=9, consumers=("10.9.9.9:1 -> 10.0.0.1:5672",))
    seen = look(rabbit)
    assert len(asked(rabbit, "channels/")) == len(asked(rabbit, "channels")) == 2
    assert len(asked(rabbit, "connections/")) == len(asked(rabbit, "connections")) == 1
    assert (len(rabbit.asked), asked(rabbit, "vhosts")) == (7, [])
    assert [(one.id, one.held) for one in seen.channels or ()] == [(f"{FIRST} (1)", 3), (f"{SECOND} (1)", 0)]


def test_what_a_page_shows_of_a_channel(rabbit: RabbitDouble) -> None:
    """Its user, its window, and of the one that hangs its connection's name and beginning, which identify it for good."""
    rabbit.queue("mail").prefetch = 5
    first, second = look(rabbit).channels or ()
    assert (first.host, first.user, first.window, first.shared) == ("10.0.3.1", "mail", 5, False)
    assert first.connected_at == pytest.approx(rabbit.began_at, abs=0.001)
    assert (first.name, second.name, second.connected_at) == ("mail-worker-2", "", None)


def test_a_closed_channel_is_gone_and_no_error(rabbit: RabbitDouble) -> None:
    """Its consumer may still be listed for a moment."""
    rabbit.closed.add(SECOND)
    seen = look(rabbit)
    assert ([one.host for one in seen.channels or ()], seen.unseen) == (["10.0.3.1"], None)


@pytest.mark.parametrize(
    ("state", "pages"),
    [
        ({"ready": 0, "unacked": 0}, 0),
        ({"ready": 5, "unacked": 0}, 2),
        ({"ready": 0, "unacked": 1}, 2),
        ({"ready": 0, "unacked": 1, "consumers": ()}, 0),
    ],
)
def test_channels_are_read_only_where_something_may_hang(rabbit: RabbitDouble, state: dict[str, Any], pages: int) -> None:
    """Something is held, or waits and is not delivered. What nobody consumes is tied to no channel."""
    rabbit.queues.clear()
    rabbit.queue("mail", **({"acks": 7, "consumers": (FIRST, SECOND)} | state))
    seen = look(rabbit)
    assert len(asked(rabbit, "channels")) == pages == len(seen.channels or ())
    assert (seen.channels is not None, seen.unseen) == (True, None)
    assert bool(asked(rabbit, "nodes")) == bool(seen.depth)


def test_the_channels_that_were_proved_are_read_first(rabbit: RabbitDouble, monkeypatch: pytest.MonkeyPatch) -> None:
    """Then the rest, up to 64 of a queue; the others at the next check, and the look says so."""
    monkeypatch.setattr(client, "PAGES_AT_ONCE", 1)  # of several at once, any may come first
    crowd(rabbit, 200)
    proved = rabbit.queue("mail").consumers[150] + " (1)"
    seen = look(rabbit, first=("gone (1)", proved))
    read = [one.id for one in seen.channels or ()]
    assert (len(read), proved in read) == (64, True)
    assert asked(rabbit, "channels")[0] == f"/api/channels/{quote(proved, safe='')}"
    assert seen.unseen is not None
    assert (seen.unseen.late, str(seen.unseen.why)) == (True, "64 of the 200 channels of its consumers were read")
    assert "oldest" in str(seen.unseen.remedy)


@pytest.mark.parametrize("every_s", [5, 10, 15, 20, 30, 60, 90, 300])
def test_all_channels_have_their_turn(every_s: int) -> None:
    """Whenever the checks come: of 500 channels all are read within 20 checks, of which 8 are the fewest possible."""
    own = {f"{number:03} (1)": Consumer() for number in range(500)}
    read: set[str] = set()
    for turn in range(20):
        seen = QueueSnapshot(1_800_000_000.0 + every_s * turn + 0.02 * (turn % 3), 9)
        read |= set(choose_channels([Look(seen, Query(MAIL, 60.0), own)])[0].channels)
    assert len(read) == 500
    looks = [Look(seen, Query(MAIL, 60.0), own), *[Look(seen, Query(to_queue("/", "dead"), 60.0), {})] * 99]
    assert len(choose_channels(looks)[0].channels) == 64, "queues that nobody consumes use up none of what is read"


def test_one_look_at_many_queues_reads_some_channels_of_each(rabbit: RabbitDouble) -> None:
    """However many alerts a notification has."""
    queues = [to_queue("/", f"q{number}") for number in range(10)]
    for number, queue in enumerate(queues):
        crowd(rabbit, 40, queue.name, net=number + 10)
    seen = look_all(rabbit, *(Query(queue, 60.0) for queue in queues))
    assert {len(one.channels or ()) for one in seen} == {12}
    assert len(asked(rabbit, "connections")) == 32


def test_pages_that_are_slow_are_told_and_the_rest_of_the_time_is_kept(rabbit: RabbitDouble) -> None:
    """They have half of the time that is left, and no more are asked for after it."""
    crowd(rabbit, 40)
    rabbit.broken["channel"] = 600.0
    seen = look(rabbit, timeout_s=3.0)
    assert (seen.depth, seen.channels) == (4, ())
    assert seen.unseen is not None
    assert seen.unseen.late
    assert "40 of its consumers' channels can't be read" in str(seen.unseen.why)
    assert len(asked(rabbit, "channels")) <= 4


def test_who_hangs_is_named_and_others_are_counted(rabbit: RabbitDouble) -> None:
    """T.6: one works, and holds more messages than those that hang, of whom a card must not say that the others work."""
    rabbit.queues.clear()
    mail = rabbit.queue("mail", unacked=22, consumers=(FIRST, SECOND, THIRD))
    mail.channels = {FIRST: Queue(unacked=20, acks=900), SECOND: Queue(unacked=1, acks=7, named="hangs")}
    mail.channels |= {THIRD: Queue(unacked=1, acks=7)}
    mail.channels[FIRST].history.append((time.time() - 20, 0, 20, 950))
    seen = look(rabbit)
    holder, other = seen.holders
    assert holder.since is not None
    assert (holder.host, holder.name, holder.messages, other.host) == ("10.0.3.2", "hangs", 1, "10.0.3.3")
    assert 190 <= seen.at - holder.since <= 200, "at least: samples reach three times as far as `for`"
    assert len(asked(rabbit, "connections")) == 2


def test_without_the_tag_no_channel_is_asked_for(rabbit: RabbitDouble) -> None:
    """Nobody is called a holder then."""
    rabbit.users["unstick"] = User("secret", tags=("management",))
    rabbit.queue("mail").consumers = (FIRST,)
    seen = look(rabbit)
    assert (seen.channels, seen.holders) == (None, ())
    assert (asked(rabbit, "channels"), asked(rabbit, "nodes"), asked(rabbit, "connections")) == ([], [], [])


def test_a_queue_leads_to_its_page_in_rabbitmq():
    """As the management pages write it, whatever its vhost and it are called."""
    adapter = RabbitMQ("https://rabbitmq.example.com/prefix/", "unstick", Secret(b"secret"))  # type: ignore[arg-type]
    symptom = Symptom("rabbitmq", {"vhost": "/", "queue": "a/b 100%"})
    assert adapter.name_queue(symptom, {}).page == "https://rabbitmq.example.com/prefix/#/queues/%2F/a%2Fb%20100%25"


def test_deliveries_without_acknowledgement_count_as_acknowledged():
    """A consumer in automatic acknowledgement mode works as well as one that acknowledges."""
    (_, seen), *_ = read_looks(RABBITMQ / "busy-no-ack.json")
    page = json.loads((RABBITMQ / "busy-no-ack.json").read_text())["looks"][0]["page"]
    assert seen.acks == seen.ack_samples[-1][1] == seen.history.pushed[-1][1] == page["message_stats"]["deliver_no_ack"] > 1000


@pytest.mark.parametrize("answer", [b'{"items": []}', b"[]", b"<html>"], ids=["its node is down", "another form", "a login page"])
def test_totals_that_fail_are_an_error_though_the_page_answers(rabbit: RabbitDouble, answer: bytes) -> None:
    """The page's own depth is up to 9 s old and is never taken for the live one."""
    rabbit.broken["totals"] = (200, JSON, answer)
    with pytest.raises(Unavailable):
        look_at(rabbit, MAIL)


@pytest.mark.parametrize(("passwords", "requests"), [((b"old",), 3), ((b"old", b"older"), 6)])
def test_a_wrong_password_is_tried_at_most_once_more(rabbit: RabbitDouble, passwords: tuple[bytes, ...], requests: int) -> None:
    """Only another password is another try."""
    with pytest.raises(Denied):
        look_at(rabbit, MAIL, *passwords)
    assert len(rabbit.asked) == requests


def test_no_secret_stands_in_errors_logs_or_reprs(rabbit: RabbitDouble, caplog: pytest.LogCaptureFixture) -> None:
    """I8: neither password nor Authorization header is anywhere in what people or logs see."""
    caplog.set_level(logging.DEBUG)
    for broken in ((500, JSON, b"{}"), (401, JSON, b"{}"), (200, JSON, b"x")):
        rabbit.broken["totals"] = broken
        with pytest.raises((Denied, Unavailable)) as raised:
            look_at(rabbit, MAIL)
        told = f"{raised.value!r} {raised.value} {vars(raised.value)} {caplog.text}"
        assert "secret" not in told
        assert "dW5zdGljazpzZWNyZXQ" not in told


@pytest.mark.parametrize("broken", [(500, "text/plain", b"oops"), (200, JSON, b'{"tags": null}')])
@pytest.mark.parametrize("kind", ["whoami", "channel", "connection", "nodes"])
def test_whatever_goes_wrong_the_queue_is_seen(rabbit: RabbitDouble, kind: str, broken: tuple[int, str, bytes]) -> None:
    """What can't be read is said, and never taken for an answer."""
    rabbit.broken[kind] = broken
    seen = look(rabbit)
    assert (seen.depth, seen.unacked, seen.consumers) == (4, 3, 2)
    assert (seen.channels is None) == (kind == "whoami")
    assert (seen.unseen is not None) == (kind in ("channel", "whoami"))
    assert (seen.blind is not None) == (kind == "nodes")


def test_a_node_that_sends_no_statistics_is_told_only_if_it_lasts(rabbit: RabbitDouble) -> None:
    """Nor does one that has just started: people are not told within seconds of a broker's restart."""
    rabbit.nodes.append({"name": "rabbit@two", "running": True})
    seen = look(rabbit)
    assert seen.blind is not None
    assert (seen.blind.late, str(seen.blind.why)) == (True, "these nodes send no statistics: rabbit@two")
