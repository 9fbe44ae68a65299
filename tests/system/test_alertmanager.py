"""Without Grafana: RabbitMQ's own metrics, Prometheus and Alertmanager with the files of infra/, Unstick, and back.

It is long: by day promtool and amtool test those files, and test_one_machine.py has an alert of Alertmanager's."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import pytest

from testbed.alerting import PACKAGES, alerting
from testbed.broker import Broker
from testbed.doubles.rundeck import Job, Rundeck
from testbed.unstick_process import ENDED_WITHIN_S, Unstick, configuration, job_id, runbook
from testbed.workers.stuck_application import stuck

SERVICE, QUEUE = "alerted-delivery", "alerted.delivery"
"""The rule makes the one of the other."""
USER, PASSWORD = "alertmanager", "from-alertmanager-to-us"
LOOKER = "unstick-alertmanager"
TOLD_WITHIN_S = 180.0
"""On an idle machine half a minute: 20 s until the rule is true, 10 s until it is evaluated. People are told after five."""


@pytest.mark.timeout(600)
def test_from_the_brokers_metrics_to_resolved(rabbitmq_server: Broker, needed: Callable[..., None], tmp_path: Path):
    """A queue sticks, Alertmanager tells Unstick, it is restarted and drains, and the chat hears when the alert is resolved."""
    needed(*PACKAGES)
    broker = rabbitmq_server
    with ExitStack() as stack:
        broker.add_user(LOOKER, "only looks", tags="monitoring", vhosts=["/"])
        application = stuck(broker, {"alerted": ["stuck-unacked", "healthy"]}, stack)["alerted"]
        assert application.queue == QUEUE
        rundeck = stack.enter_context(Rundeck(Job(id=job_id(SERVICE), action=application.restart)))
        basic = {"auth": {"basic": {"user": USER, "passwords": ["env://ALERTMANAGER_PASSWORD"]}}}
        book = runbook(SERVICE, match=['alertname=~"RabbitMQQueue(Maybe)?Stuck"', f'service="{SERVICE}"'])
        file = configuration(rundeck.url, broker.url, [book], user=LOOKER, grafana=basic)
        unstick = Unstick(tmp_path / "unstick", file, rabbitmq_password="only looks", ALERTMANAGER_PASSWORD=PASSWORD)
        stack.enter_context(unstick)
        began = time.monotonic()
        pattern = QUEUE.replace(".", "[.]")  # others stick on this broker, too
        stack.enter_context(alerting(tmp_path / "alerting", broker, unstick.url, basic_auth=(USER, PASSWORD), queues=pattern))

        unstick.until(rundeck.posts, within_s=TOLD_WITHIN_S, what="Alertmanager's webhook")
        told_s = time.monotonic() - began
        outcome = unstick.until(lambda: unstick.outcomes(SERVICE), within_s=ENDED_WITHIN_S)[0]
        assert (outcome["ending"], outcome["restarts"]) == ("recovered", 1)
        assert f"{QUEUE}: 5 → 0 messages, 1 consumer" in unstick.cards("recovered")[0]
        assert "5 messages stand still in alerted.delivery" in " ".join(unstick.cards()[0].split()), "the rule's own words"

        unstick.until(lambda: unstick.cards(f"The alert for {SERVICE} was resolved"), within_s=ENDED_WITHIN_S)
        assert len(rundeck.posts()) == 1
        unstick.until(lambda: not unstick.open_documents(), what="nothing is open")
        print(f"told after {told_s:.1f} s, resolved after {time.monotonic() - began:.1f} s")
