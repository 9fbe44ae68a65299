"""The whole way with real parts: functions-framework, RabbitMQ, a consumer that really sticks, a job that really restarts it.

Only Rundeck is a stand-in. What else may follow a restart is judged by recorded answers: tests/domain/health/test_recovery.py.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from functions.adapters.symptoms.rabbitmq.client import WHOAMI_S
from testbed.broker import Broker
from testbed.doubles.rundeck import Rundeck
from testbed.unstick_process import ENDED_WITHIN_S, ROOT, SHORT, Unstick, alert, configuration, runbook
from testbed.workers.stuck_application import Application, jobs, stuck

MESSAGES = 12
STANDS_STILL_S = 5.0
"""An answer takes less, but where something stands still."""
USER, PASSWORD = "unstick-whole-way", "only looks"
pytestmark = pytest.mark.timeout(600)  # what each waits for may take long on a busy machine


@dataclass
class Way:
    """Everything that runs together."""

    unstick: Unstick
    rundeck: Rundeck
    application: Application

    def begin(self) -> dict[str, Any]:
        """Tell Unstick that the queue is stuck: what it says of the target, and how long it took."""
        self.application.until_stuck()
        began = time.monotonic()
        status, answer = self.unstick.notify(alert(self.application.service, self.application.queue))
        incident, took_s = answer["incidents"][0], time.monotonic() - began
        restarted = (incident["action"], incident["reason"], bool(incident["execution"])) == ("restarted", None, True)
        # Where a broker stands still for seconds, the look is made again by itself.
        assert restarted or (took_s > STANDS_STILL_S and incident["action"] == "deferred"), (status, answer)
        return incident | {"took_s": took_s}

    def outcome(self) -> dict[str, Any]:
        service = self.application.service
        return self.unstick.until(lambda: self.unstick.outcomes(service), within_s=ENDED_WITHIN_S, what="the outcome")[-1]

    def card(self, text: str) -> str:
        card = self.unstick.until(lambda: self.unstick.cards(text), within_s=ENDED_WITHIN_S, what=f"a card with {text!r}")[0]
        return " ".join(card.split())


@contextmanager
def way(broker: Broker, folder: Path, service: str, **changes: Any) -> Iterator[Way]:
    """An application that is stuck until it is restarted, its job, and Unstick."""
    broker.add_user(USER, PASSWORD, tags="monitoring", vhosts=["/"])
    with ExitStack() as stack:
        applications = stuck(broker, {service: ["stuck-unacked", "healthy"]}, stack, messages=MESSAGES)
        rundeck = stack.enter_context(Rundeck(*jobs(applications)))
        file = configuration(rundeck.url, broker.url, [runbook(service, **changes)], user=USER)
        unstick = stack.enter_context(Unstick(folder / "unstick", file, rabbitmq_password=PASSWORD))
        yield Way(unstick, rundeck, applications[service])


def test_a_stuck_queue_is_restarted_and_seen_to_recover(rabbitmq_server: Broker, tmp_path: Path) -> None:
    """One restart. `unstick incident` then tells it in order: the alert, the decision, the restart, the outcome, and who hung."""
    with way(rabbitmq_server, tmp_path, "unacked") as running:
        incident = running.begin()
        assert f"unacked.delivery: {MESSAGES} → 0 messages, 1 consumer" in running.card("unacked recovered")
        assert running.outcome()["restarts"] == len(running.rundeck.state.carried_out) == 1
        command = [sys.executable, "-m", "unstick", "incident", incident["id"], "--json"]
        environment = running.unstick.environment | {"PYTHONPATH": str(ROOT)}
        ran = subprocess.run(
            command, cwd=running.unstick.folder, env=environment, capture_output=True, text=True, timeout=60, check=False
        )
    assert ran.returncode == 0, ran.stderr
    told = json.loads(ran.stdout)
    kinds = [entry["kind"] for entry in told["timeline"] if entry["kind"] not in ("check", "verdict")]
    assert (kinds[0], kinds[-1]) == ("alert", "outcome")
    assert kinds.index("decision") < kinds.index("restart")
    (before,) = [queue["before"] for queue in told["incident"]["queues"]]
    (holder,) = before["holders"]
    assert (holder["host"], holder["messages"]) == ("127.0.0.1", 1)
    if holder["name"] or incident["took_s"] < WHOAMI_S:  # for so long a broker is asked for more
        assert holder["name"] == "Pika Python Client Library"
        assert -1 < before["at"] - holder["since"] < 600, "the broker tells its clock to the second"


@pytest.mark.long  # by day test_recovery.py has the figures of such a connection
def test_a_connection_that_the_restart_did_not_end_goes_to_people(rabbitmq_server: Broker, tmp_path: Path) -> None:
    """Its job started a process beside the one that hangs. Another restart would leave it too: people learn how to close it."""
    with way(rabbitmq_server, tmp_path, "survives", verify=SHORT | {"patience": "15s"}) as running:
        (job,) = running.rundeck.state.jobs.values()
        job.action = lambda _: running.application.start()  # it ends nothing
        running.begin()
        outcome = running.outcome()
        assert (outcome["ending"], outcome["restarts"], len(running.rundeck.state.carried_out)) == ("escalated", 1, 1)
        said = running.card("🚨 ACT NOW: survives")
    assert re.search(r"the restart did not end the connection 127\.0\.0\.1:\d+ -> 127\.0\.0\.1:\d+: RabbitMQ still has it", said)
    assert "rabbitmqctl close_connection PID" in said
