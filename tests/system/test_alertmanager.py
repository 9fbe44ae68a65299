"""Without Grafana: RabbitMQ's own metrics, Prometheus and Alertmanager with the files of infra/, Unstick, and back."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

from tests.support import broker as brokers
from tests.support.alerting import PACKAGES, alerting
from tests.support.doubles.rundeck import Job, Rundeck
from tests.support.unstick_process import Unstick, configuration, job_id, runbook
from tests.support.workers.stuck_application import stuck

SERVICE, QUEUE = "alerted-delivery", "alerted.delivery"
"""The rule makes the one of the other."""
USER, PASSWORD = "alertmanager", "from-alertmanager-to-us"
SUSPECTED_S = 30.0
"""After this long without movement Unstick hears of it: 20 s until the rule is true, 10 s until it is evaluated."""


def test_from_the_brokers_metrics_to_resolved(needed: Callable[..., None], tmp_path: Path):
    """A queue sticks, Alertmanager tells Unstick, it is restarted and drains, and the chat hears when the alert is resolved."""
    needed("rabbitmq-server", *PACKAGES)
    with ExitStack() as stack:
        # a broker of its own: RabbitMQ 3.10 escapes no label, so other tests' queue with a backslash would spoil every scrape
        broker = stack.enter_context(brokers.broker(tmp_path / "broker"))
        broker.add_user("unstick", "only looks", tags="management", vhosts=["/"])
        application = stuck(broker, {"alerted": ["stuck-unacked", "healthy"]}, stack)["alerted"]
        assert application.queue == QUEUE
        rundeck = stack.enter_context(Rundeck(Job(id=job_id(SERVICE), action=application.restart)))
        basic = {"auth": {"basic": {"user": USER, "passwords": ["env://ALERTMANAGER_PASSWORD"]}}}
        book = runbook(SERVICE, match=['alertname=~"RabbitMQQueue(Maybe)?Stuck"', f'service="{SERVICE}"'])
        file = configuration(rundeck.url, broker.url, [book], grafana=basic)
        unstick = Unstick(tmp_path / "unstick", file, rabbitmq_password="only looks", ALERTMANAGER_PASSWORD=PASSWORD)
        stack.enter_context(unstick)
        began = time.monotonic()
        stack.enter_context(alerting(tmp_path / "alerting", broker, unstick.url, basic_auth=(USER, PASSWORD)))

        unstick.until(rundeck.posts, within_s=90, what="Alertmanager's webhook")
        told_s = time.monotonic() - began
        assert told_s < SUSPECTED_S + 60, "people are told after five minutes; Prometheus starts late on a busy machine"
        outcome = unstick.until(lambda: unstick.outcomes(SERVICE), within_s=40)[0]
        assert (outcome["ending"], outcome["restarts"]) == ("recovered", 1)
        assert f"{QUEUE}: 5 → 0 messages, 1 consumer" in unstick.cards("recovered")[0]
        assert "5 messages in alerted.delivery, and nothing moves" in unstick.cards()[0], "the rule's own words"

        unstick.until(lambda: unstick.cards(f"The alert of {SERVICE} is resolved"), within_s=60)
        assert len(rundeck.posts()) == 1
        unstick.until(lambda: not unstick.open_documents(), within_s=5, what="nothing is open")
        print(f"told after {told_s:.1f} s, resolved after {time.monotonic() - began:.1f} s")
