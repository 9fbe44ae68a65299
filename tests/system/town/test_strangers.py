"""A stranger who takes from the application's queue, on a real broker, says nothing of the application; nor another queue."""

import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from testbed.broker import ADMIN, HOST, Application, Broker
from testbed.doubles.rundeck import Job, Rundeck
from testbed.unstick_process import ENDED_WITHIN_S, SHORT, Unstick, alert, configuration, job_id, runbook
from testbed.workers.crew import Habit, Publisher, Worker

SERVICE = "mail"
STRANGER = ("stranger", "only-on-loopback-too")
VERIFY = {"first": "1s", "every": "1s", "patience": "60s", "within": "2m"}
IN_VAIN = SHORT | {"every": "1s"}
GETS, CONSUMES = Habit(gets=True, auto_ack=True, work_s=5.0), Habit(work_s=1.0)
SHOWN_S = 20.0
"""Until RabbitMQ's figures, up to 9 s late, show a hang that is no job of some seconds."""
BELIED = ("works again", "No action needed")
VERSIONS = [*(pytest.param(one, marks=pytest.mark.manual) for one in (HOST, "4.0")), "4.3"]
pytestmark = [pytest.mark.long, pytest.mark.timeout(300), pytest.mark.parametrize("rabbitmq_server", VERSIONS, indirect=True)]


@dataclass
class Scene:
    """An application with a queue of its own, and the tools to play what happens to it."""

    application: Application
    unstick: Unstick
    rundeck: Rundeck

    def fire(self, queue: str = "", *, firing: bool = True) -> None:
        """As the shipped rule does: with what it knows of the day before."""
        told = alert(SERVICE, queue or self.application.queue, firing=firing)
        self.unstick.notify(told | {"annotations": told["annotations"] | {"unstick_consumers_1d": "1"}})

    def belied(self) -> list[str]:
        """The cards that say that all is well."""
        return [card for card in self.unstick.cards() if any(word in card for word in BELIED)]

    def until_card(self, word: str, *, within_s: float = ENDED_WITHIN_S) -> str:
        return self.unstick.until(lambda: self.unstick.cards(word), within_s=within_s, what=word)[-1]


@contextmanager
def played(broker: Broker, folder: Path, *, in_vain: bool = False, other: str = "", max_messages: int = 0) -> Iterator[Scene]:
    """The application works until told otherwise; its job starts it anew, or once and `in_vain`. `other`: a second queue of the
    same target, by a runbook of its own that lets no message wait."""
    queue = ".".join(folder.parts[-2:])  # the broker is every worker's
    broker.add_user(*STRANGER, tags="", vhosts=["/"], read=".*")
    broker.publish(queue)
    application = Application(broker, queue)
    common = {"verify": IN_VAIN, "limits": {"attempts": 1}} if in_vain else {"verify": VERIFY}
    books = []
    for name, wait in ((queue, max_messages), (other, 0))[: 1 + bool(other)]:
        keys = {"vhost": "/", "queue": name, "users": [ADMIN[0]], "for": "6s", "keeps": "never", "max_messages": wait}
        own = {"name": f"of-{len(books)}", "match": [f'queue="{name}"'], "recovered": {"max_messages": wait}}
        books.append(runbook(SERVICE, symptom={"rabbitmq": keys}, **own, **common))
    with ExitStack() as stack:
        stack.callback(application.stop)
        job = Job(id=job_id(SERVICE), name=SERVICE, action=_do_nothing if in_vain else application.restart)
        rundeck = stack.enter_context(Rundeck(job))
        file = configuration(rundeck.url, broker.url, books, user=ADMIN[0], public_url="https://unstick.example.com")
        unstick = stack.enter_context(Unstick(folder, file, rabbitmq_password=ADMIN[1]))
        application.start()
        yield Scene(application, unstick, rundeck)


def _do_nothing(_options: Mapping[str, str]) -> None:
    """A job that helps nobody."""


@contextmanager
def stranger(broker: Broker, queue: str, habit: Habit) -> Iterator[Worker]:
    """Somebody else who may read the queue, and does."""
    worker = Worker([broker.amqp_url(user=STRANGER)], queue, habit, name="stranger")
    worker.start_soon()
    worker.wait()
    try:
        yield worker
    finally:
        worker.kill()


def say(broker: Broker, queue: str, *texts: str) -> None:
    with broker.channel("/") as channel:
        for text in texts:
            channel.basic_publish("", queue, text.encode())


def test_a_dead_application_is_restarted_though_a_stranger_takes_its_messages(rabbitmq_server: Broker, tmp_path: Path) -> None:
    """One by basic.get every 5 s: the queue's totals move, and nothing is well before the application is back."""
    with played(rabbitmq_server, tmp_path) as scene:
        queue = scene.application.queue
        scene.application.stop()
        rabbitmq_server.publish(queue, 200)
        with stranger(rabbitmq_server, queue, GETS):
            scene.fire()
            scene.unstick.until(lambda: scene.rundeck.posts() or scene.belied(), what="the restart")
            assert (len(scene.rundeck.posts()), scene.belied()) == (1, [])
            scene.until_card("No action needed")
        assert len(scene.rundeck.posts()) == 1


def test_a_hung_application_is_restarted_beside_a_stranger_who_works(rabbitmq_server: Broker, tmp_path: Path) -> None:
    """Its own channel proves it, and only its own work ends it."""
    with played(rabbitmq_server, tmp_path) as scene, Publisher(rabbitmq_server.amqp_url()) as publisher:
        queue = scene.application.queue
        say(rabbitmq_server, queue, "hang")
        with stranger(rabbitmq_server, queue, CONSUMES):
            publisher.rates[queue] = lambda _elapsed_s: 2.0
            time.sleep(SHOWN_S)
            scene.fire()
            scene.unstick.until(lambda: scene.rundeck.posts() or scene.belied(), what="the restart")
            assert (len(scene.rundeck.posts()), scene.belied()) == (1, [])
            scene.until_card("No action needed")
        assert len(scene.rundeck.posts()) == 1


def test_a_restart_that_brings_nobody_back_has_not_helped_though_a_stranger_works(
    rabbitmq_server: Broker, tmp_path: Path
) -> None:
    """The stranger's consumer keeps the queue moving, and nearly empty: people are told that the application is away."""
    with played(rabbitmq_server, tmp_path, in_vain=True) as scene, Publisher(rabbitmq_server.amqp_url()) as publisher:
        queue = scene.application.queue
        scene.application.stop()
        rabbitmq_server.publish(queue, 3)
        scene.fire()
        scene.unstick.until(scene.rundeck.posts, what="the restart")
        publisher.rates[queue] = lambda _elapsed_s: 1.0
        with stranger(rabbitmq_server, queue, Habit()):
            scene.until_card("ACT NOW")
        assert (len(scene.rundeck.posts()), scene.belied()) == (1, [])


def test_each_queue_of_a_target_is_well_by_its_own_runbook(rabbitmq_server: Broker, tmp_path: Path) -> None:
    """The first may have 1,000 messages: that says nothing of the second, in which 500 are stuck. The end of both is told though
    the figures are late when Grafana says so."""
    other = ".".join(tmp_path.parts[-2:]) + "-other"
    with played(rabbitmq_server, tmp_path, in_vain=True, other=other, max_messages=1000) as scene:
        beside = Application(rabbitmq_server, other)
        rabbitmq_server.publish(other)
        beside.start()
        try:
            for queue, count in ((scene.application.queue, 3), (other, 499)):
                say(rabbitmq_server, queue, "hang", *["waits"] * count)
            time.sleep(SHOWN_S)
            scene.fire()
            scene.fire(other)
            scene.until_card("ACT NOW")
            scene.application.restart({})
            scene.fire(firing=False)
            time.sleep(SHOWN_S)
            assert scene.belied() == []
            beside.restart({})
            scene.fire(other, firing=False)
            scene.until_card("works again", within_s=120.0)
        finally:
            beside.stop()


def test_a_resolved_notification_is_no_end_of_the_next_hang(rabbitmq_server: Broker, tmp_path: Path) -> None:
    """It was mended by hand, and hangs again before two looks found it well."""
    with played(rabbitmq_server, tmp_path, in_vain=True) as scene:
        queue = scene.application.queue
        say(rabbitmq_server, queue, "hang", "waits")
        time.sleep(SHOWN_S)
        scene.fire()
        scene.until_card("ACT NOW")
        scene.application.restart({})
        say(rabbitmq_server, queue, "hang again", "waits")
        scene.fire(firing=False)
        time.sleep(30.0)
        assert scene.belied() == []
        scene.application.restart({})
        scene.until_card("works again", within_s=120.0)
