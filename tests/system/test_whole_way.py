"""The whole way with real parts: functions-framework, RabbitMQ, a consumer that really sticks, a job that really restarts it.

Only Rundeck is a stand-in. All incidents run at the same time, each with a queue, a job and a runbook of its own, and each test
waits for its own. By day there is the one that recovers; of the others the simulation and the stand-in for RabbitMQ tell by day.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from functions.adapters.symptoms.rabbitmq.client import WHOAMI_S
from testbed.broker import Broker
from testbed.doubles.rundeck import Rundeck
from testbed.unstick_process import ENDED_WITHIN_S, HELPED, ROOT, SHORT, Unstick, alert, configuration, job_id, runbook
from testbed.workers.stuck_application import Application, jobs, stuck

EVERY_S, MESSAGES = 2.0, 12
SLACK_S = 5.0
"""What the broker takes to show a new consumer: it was seen to take 0.9 to 4.6 s."""
BUSY_S = 30.0
"""For a machine that has other work too. All of it is less than `patience`."""
STANDS_STILL_S = 5.0
"""An answer takes less, but where something stands still."""
SLOW_MESSAGES, SLOW_PATIENCE = 30, "15s"
"""At one a second it goes on draining for long after `patience`, from which on people are told that it does."""
pytestmark = pytest.mark.timeout(600)  # what each waits for may take long on a busy machine
USER, PASSWORD, PUBLIC_URL = "unstick-whole-way", "only looks", "https://unstick.example.com"


@dataclass
class Town:
    """Everything that runs together."""

    unstick: Unstick
    rundeck: Rundeck
    applications: dict[str, Application]

    def restarts(self, service: str) -> int:
        return sum(run.job == job_id(service) for run in self.rundeck.state.carried_out)

    def answer(self, service: str, **more: Any) -> dict[str, Any]:
        """Tell Unstick that this service's queue is stuck; its answer for the target, and how long it took."""
        began = time.monotonic()
        status, answer = self.unstick.notify(alert(service, self.applications[service].queue, **more))
        assert status == 200, answer
        return answer["incidents"][0] | {"took_s": time.monotonic() - began}

    def outcome(self, service: str, within_s: float = ENDED_WITHIN_S) -> dict[str, Any]:
        return self.unstick.until(lambda: self.unstick.outcomes(service), within_s=within_s, what=f"the outcome of {service}")[-1]

    def card(self, text: str) -> str:
        return self.unstick.until(lambda: self.unstick.cards(text), within_s=ENDED_WITHIN_S, what=f"a card with {text!r}")[0]


def is_restarted(answer: dict[str, Any]) -> bool:
    """Whether it was restarted at once. Where a broker stands still for seconds, the look is made again by itself."""
    if answer["took_s"] > STANDS_STILL_S and answer["action"] == "deferred":
        return True
    return (answer["action"], answer["reason"], bool(answer["execution"])) == ("restarted", None, True)


CHANGES: dict[str, dict[str, Any]] = {
    "slow": {"verify": HELPED | {"patience": SLOW_PATIENCE}},
    "again": {"verify": SHORT | {"patience": "8s"}},
    "survives": {"verify": SHORT | {"patience": "15s"}},  # more than figures are late
    "absent": {"verify": SHORT | {"patience": "8s"}, "limits": {"attempts": 1}},
}
MODES = {
    "unacked": ["stuck-unacked", "healthy"],
    "ready": ["stuck-ready", "healthy"],
    "slow": ["stuck-unacked", "slow"],
    "again": ["stuck-unacked"],
    "survives": ["stuck-unacked", "healthy"],
    "absent": ["stuck-unacked", "absent"],
}


def of(*services: str) -> pytest.MarkDecorator:
    """The services that a test is about; only of those that run there are incidents."""
    rows = [name if name == "unacked" else pytest.param(name, marks=pytest.mark.long) for name in services]
    return pytest.mark.parametrize("service", rows)


@pytest.fixture(scope="module")
def town(rabbitmq_server: Broker, tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Iterator[Town]:
    folder = Path(tmp_path_factory.mktemp("whole-way"))
    services = dict.fromkeys(item.callspec.params["service"] for item in request.session.items if item.path == request.path)
    rabbitmq_server.add_user(USER, PASSWORD, tags="monitoring", vhosts=["/"])
    with ExitStack() as stack:
        applications = stuck(rabbitmq_server, {name: MODES[name] for name in services}, stack, messages=MESSAGES)
        rundeck = stack.enter_context(Rundeck(*jobs(applications)))
        if "slow" in services:
            rabbitmq_server.publish(applications["slow"].queue, SLOW_MESSAGES - MESSAGES)
        if survives := applications.get("survives"):
            rundeck.state.jobs[job_id("survives")].action = lambda _: survives.start()  # it ends nothing
        answers = {"public_url": PUBLIC_URL, "channels": {"console": {"type": "console", "approval_links": True}}}
        books = [runbook(name, **CHANGES.get(name, {})) for name in services]
        file = configuration(rundeck.url, rabbitmq_server.url, books, user=USER, **answers)
        unstick = stack.enter_context(Unstick(folder, file, rabbitmq_password=PASSWORD))
        yield Town(unstick, rundeck, applications)


@pytest.fixture(scope="module")
def incidents(town: Town) -> Iterator[dict[str, Future[dict[str, Any]]]]:
    """The answers to the first notification of each service, all under way at once."""

    def begin(service: str) -> dict[str, Any]:
        town.applications[service].until_stuck()
        return town.answer(service)

    with ThreadPoolExecutor(len(town.applications)) as pool:
        yield {service: pool.submit(begin, service) for service in town.applications}


@pytest.fixture
def began(incidents: dict[str, Future[dict[str, Any]]]) -> Callable[[str], dict[str, Any]]:
    return lambda service: incidents[service].result(timeout=ENDED_WITHIN_S)


@of("unacked", "ready")
def test_a_stuck_queue_is_restarted_and_seen_to_recover(town, began, service, capsys):
    """One restart, and `recovered` is reported soon after the consumer is back. What is held is proved. What is left as ready
    is likely only, since its consumer holds another queue's message: a person says that it hangs."""
    answer = began(service)
    if service == "ready":
        assert (answer["action"], answer["reason"]) == ("asked", "likely_stuck"), answer
        town.unstick.approve(town.card("ready may hang: restart it?"), "anna")
    else:
        assert is_restarted(answer), answer
    assert answer["runbook"] == service
    if execution := answer.get("execution"):
        assert execution["url"].endswith(execution["id"])
    card = town.card(f"{service} recovered")
    took_s = time.time() - town.applications[service].back_at[1]
    assert f"{service}.delivery: {MESSAGES} → 0 messages, 1 consumer" in card
    assert town.outcome(service)["restarts"] == town.restarts(service) == 1
    ended_s = town.outcome(service)["at"] - town.applications[service].back_at[1]
    with capsys.disabled():
        print(f"\n{service}: recovered {ended_s:.1f} s after the consumer's return, every {EVERY_S:g} s a look", flush=True)
    assert EVERY_S <= ended_s <= 2 * EVERY_S + SLACK_S + BUSY_S, "two looks, and not much more"
    assert took_s >= ended_s


@of("unacked")
def test_the_incident_is_told_in_order_with_who_held_the_message(town, began, service):
    """`incident` after a real one: the alert, the decision, the restart and the outcome, and the connection that hung."""
    answer = began(service)
    town.outcome(service)
    ran = subprocess.run(
        [sys.executable, "-m", "unstick", "incident", answer["id"], "--json"],
        cwd=town.unstick.folder,
        env=town.unstick.environment | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    told = json.loads(ran.stdout)
    kinds = [entry["kind"] for entry in told["timeline"] if entry["kind"] not in ("check", "verdict")]
    assert (kinds[0], kinds[-1]) == ("alert", "outcome")
    assert kinds.index("decision") < kinds.index("restart")
    (before,) = [queue["before"] for queue in told["incident"]["queues"]]
    (holder,) = before["holders"]
    assert (holder["host"], holder["messages"]) == ("127.0.0.1", 1)
    if holder["name"] or answer["took_s"] < WHOAMI_S:  # for so long a broker is asked for more
        assert holder["name"] == "Pika Python Client Library"
        assert -1 < before["at"] - holder["since"] < 600, "the broker tells its clock to the second"


@of("slow")
def test_a_queue_that_drains_slowly_is_left_to_drain(town, began, service):
    """One message a second is movement: no second restart, people hear that it moves, then that it has recovered."""
    assert is_restarted(began(service))
    town.card("slow is processing again")
    assert town.outcome(service)["ending"] == "recovered"
    assert town.restarts(service) == 1
    headlines = [card.splitlines()[0] for card in town.unstick.cards("service=slow")]
    assert len(headlines) == 3, headlines
    assert "recovered" in headlines[-1]


@of("again")
def test_a_consumer_that_hangs_on_the_same_message_again_goes_to_people(town, began, service):
    """Another restart would not help: people are told to get up, and the next alert restarts nothing."""
    assert is_restarted(began(service))
    outcome = town.outcome(service)
    assert (outcome["ending"], outcome["restarts"], town.restarts(service)) == ("escalated", 1, 1)
    assert "it hangs on the same message again" in " ".join(town.card("🚨 ACT NOW: again").split())
    held = town.answer(service, severity="warning")
    assert (held["action"], held["reason"]) == ("held", "escalated")
    assert town.restarts(service) == 1


@of("survives")
def test_a_connection_that_the_restart_did_not_end_goes_to_people(town, began, service):
    """Its job started a process beside the one that hangs. Another restart would leave it too: people learn how to close it."""
    assert is_restarted(began(service))
    outcome = town.outcome(service)
    assert (outcome["ending"], outcome["restarts"], town.restarts(service)) == ("escalated", 1, 1)
    said = " ".join(town.card("🚨 ACT NOW: survives").split())
    assert re.search(r"the restart did not end the connection 127\.0\.0\.1:\d+ -> 127\.0\.0\.1:\d+: RabbitMQ still has it", said)
    assert "rabbitmqctl close_connection PID" in said


@of("absent")
def test_no_consumer_after_the_restart_is_no_recovery(town, began, service):
    """The job succeeded and the application is up, but nobody consumes: escalated, never called recovered."""
    assert is_restarted(began(service))
    outcome = town.outcome(service)
    assert (outcome["ending"], outcome["restarts"]) == ("escalated", 1)
    assert not any("recovered" in card.splitlines()[0] for card in town.unstick.cards("service=absent"))
    assert "No consumer came back" in town.card("🚨 ACT NOW: absent")
