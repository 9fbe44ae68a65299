"""What waits for a person looks, with a real broker and a consumer that hangs: it says what is so now, and ends by itself."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from functions.domain.health.samples import RECENT_S, rise_of, rise_within
from functions.domain.model.observations import QueueSnapshot
from testbed.broker import ADMIN, Application, Broker
from testbed.doubles.rundeck import Job, Rundeck
from testbed.patience import wait_until
from testbed.unstick_process import Unstick, alert, configuration, job_id, runbook
from tests.system.test_rabbitmq_real import look

SERVICE = "mail"
ALWAYS = [{"days": "daily", "from": "00:00", "to": "24:00"}]
pytestmark = pytest.mark.timeout(300)


@pytest.fixture
def application(rabbitmq_server: Broker, tmp_path: Path) -> Iterator[Application]:
    """It works."""
    rabbitmq_server.publish(f"mail.{tmp_path.name}", 3)
    running = Application(rabbitmq_server, f"mail.{tmp_path.name}")
    running.start()
    yield running
    running.stop()


def is_flat(snapshot: QueueSnapshot) -> bool:
    """Whether the page, which is seconds late, shows what was processed, and that nothing was just now."""
    return rise_of(snapshot.ack_samples) > 0 and rise_within(snapshot.ack_samples, RECENT_S) == 0


@pytest.mark.parametrize(
    ("changes", "asked"),
    [({"mode": "approve"}, "approve a restart?"), ({"freeze": ALWAYS}, "a freeze window is active")],
    ids=["approve", "freeze"],
)
def test_what_is_mended_by_hand_ends_the_question_calmly(
    application: Application, tmp_path: Path, changes: dict[str, Any], asked: str
) -> None:
    """A healthy queue asks nothing. Of one that hangs people are told with who holds it; mended by hand, it ends green."""
    broker, queue = application.broker, application.queue
    with Rundeck(Job(id=job_id(SERVICE), name=SERVICE, action=application.restart)) as rundeck:
        file = configuration(
            rundeck.url, broker.url, [runbook(SERVICE, **changes)], user=ADMIN[0], public_url="https://unstick.example.com"
        )
        with Unstick(tmp_path, file, rabbitmq_password=ADMIN[1]) as unstick:
            unstick.notify(alert(SERVICE, queue, occasion="healthy"))
            with broker.channel("/") as channel:
                for text in (b"hang", b"waits", b"waits"):
                    channel.basic_publish("", queue, text)
            wait_until(lambda: look(broker, queue), lambda shown: shown.unacked == 1 and is_flat(shown))
            unstick.notify(alert(SERVICE, queue, occasion="hangs"))
            (question,) = unstick.until(lambda: unstick.cards("ACT NOW"), what="the question")
            assert asked in " ".join(question.split())
            assert "3 messages, 1 consumer" in question
            application.restart({})
            (calm,) = unstick.until(lambda: unstick.cards("nothing was restarted"), what="the end")
            assert "No action needed" in calm
            assert (len(unstick.cards("ACT NOW")), rundeck.posts()) == (1, [])
