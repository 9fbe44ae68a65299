"""A quorum queue drops what comes back too often: a person decides on such a restart, and its end says what it may have cost."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path

import pytest

from testbed.broker import Broker
from testbed.doubles.rundeck import Job, Rundeck
from testbed.patience import wait_until
from testbed.unstick_process import ENDED_WITHIN_S, Unstick, alert, configuration, job_id, runbook
from testbed.workers.crew import Habit, Worker
from testbed.workers.stuck_application import until_stuck

USER, PASSWORD = "unstick-delivery-limit", "only looks"
HELD = 5


@pytest.mark.long  # by day the recorded limits, and tests/domain/health/test_losses.py
@pytest.mark.timeout(600)
def test_what_the_broker_dropped_is_told(rabbitmq_server: Broker, tmp_path: Path) -> None:
    """Five messages are held, and the next return drops them: asked in `auto` too; after the approval the outcome says so."""
    queue = "limited.delivery"
    rabbitmq_server.add_user(USER, PASSWORD, tags="monitoring", vhosts=["/"])
    rabbitmq_server.publish(queue, HELD, arguments={"x-queue-type": "quorum", "x-delivery-limit": 0})
    with ExitStack() as stack:
        hangs = stack.enter_context(Worker(rabbitmq_server.amqp_url(), queue, Habit(prefetch=HELD, hangs=True)))

        def restart(_options: object) -> None:
            hangs.kill()
            stack.enter_context(Worker(rabbitmq_server.amqp_url(), queue, Habit()))

        rundeck = stack.enter_context(Rundeck(Job(id=job_id("limited"), action=restart)))
        file = configuration(rundeck.url, rabbitmq_server.url, [runbook("limited")], user=USER)
        console = {"console": {"type": "console", "approval_links": True}}
        shown = {"public_url": "https://unstick.example.com", "channels": console}
        unstick = Unstick(tmp_path / "unstick", file | shown, rabbitmq_password=PASSWORD)
        stack.enter_context(unstick)

        wait_until(lambda: hangs.held, what=unstick.output)
        until_stuck(rabbitmq_server, queue)  # a new queue's figures say for seconds that it is empty
        assert unstick.notify(alert("limited", queue))[0] == 200
        card = unstick.until(lambda: unstick.cards("delivery limit 0"), within_s=ENDED_WITHIN_S, what="the question")[-1]
        assert rundeck.state.carried_out == []
        assert "a restart may make RabbitMQ drop the messages that are held" in " ".join(card.split())
        unstick.approve(card, "the test")
        outcome = unstick.until(lambda: unstick.outcomes("limited"), within_s=ENDED_WITHIN_S, what="the outcome")[-1]
        told = " ".join(unstick.cards("service=limited")[-1].split())
    assert "RabbitMQ may have dropped or dead-lettered messages that came back too often" in told
    assert "No action needed" not in told
    assert (outcome["restarts"], len(rundeck.state.carried_out)) == (1, 1)
