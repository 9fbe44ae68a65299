"""What waits for a person looks, with a real broker and a consumer that hangs: it says what is so now, and ends by itself."""

from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from testbed.broker import ADMIN, Application, Broker
from testbed.doubles.rundeck import Job, Rundeck
from testbed.unstick_process import Unstick, alert, configuration, job_id, runbook

SERVICE = "mail"
ALWAYS = [{"days": "daily", "from": "00:00", "to": "24:00"}]
pytestmark = pytest.mark.timeout(300)


@pytest.fixture
def application(rabbitmq_server: Broker, tmp_path: Path) -> Iterator[Application]:
    """It works."""
    queue = ".".join(tmp_path.parts[-2:])  # the broker is every worker's
    rabbitmq_server.publish(queue, 3)
    running = Application(rabbitmq_server, queue)
    running.start()
    yield running
    running.stop()


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
            number = count()

            def question() -> list[str]:
                """The rule fires again, as long as what it told of has ended: the first look may still see what was processed."""
                if not unstick.open_documents():
                    unstick.notify(alert(SERVICE, queue, occasion=f"hangs-{next(number)}"))
                return unstick.cards("ACT NOW")

            (question_card,) = unstick.until(question, what="the question")
            assert asked in " ".join(question_card.split())
            assert "3 messages, 1 consumer" in question_card
            before = len(unstick.cards())
            application.restart({})
            (calm,) = unstick.until(lambda: unstick.cards()[before:], what="the end")
            assert "No action needed: mail works again; nothing was restarted" in calm
            assert (len(unstick.cards("ACT NOW")), rundeck.posts()) == (1, [])
