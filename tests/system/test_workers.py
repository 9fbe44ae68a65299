"""Never twice, never lost, with real processes: two workers, the local store and scheduler, floods, and kill -9.

RabbitMQ and Rundeck are stand-ins here, so that hundreds of targets can be had within seconds.
"""

import os
import random
import re
import signal
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from itertools import count
from typing import Any

import pytest

from functions.domain.decisions.step import BUNDLE_S
from testbed.broker.ports import is_taken
from testbed.doubles.rabbitmq import RabbitDouble
from testbed.doubles.rundeck import Job, Rundeck
from testbed.patience import PATIENCE_S, wait_until
from testbed.unstick_process import (
    ENDED_WITHIN_S,
    HELPED,
    Unstick,
    alert,
    configuration,
    job_id,
    notification,
    post,
    runbook,
    signed,
)

JOB = job_id("many")
FAST = HELPED | {"every": "1s"}
STORM = 3
STANDS_STILL_S = 5.0
"""A flood takes less, but where something stands still."""
MOST_BUNDLES = 3
"""Of a flood that is over before the first ones' time to wait for others is; a longer one has one more for each such time."""
pytestmark = pytest.mark.timeout(600)  # what each waits for may take long on a busy machine
Answers = list[tuple[int, dict[str, Any]]]


@dataclass
class Fleet:
    """Unstick with two workers, and any number of applications that stick until they are restarted."""

    unstick: Unstick
    rundeck: Rundeck
    rabbit: RabbitDouble
    answered: threading.Event = field(default_factory=threading.Event)
    """Restarts take until a flood is over: what comes after the outcome is reported as an incident of its own."""
    took_s: float = 0.0
    """For the last flood."""
    ports: Iterator[int] = field(default_factory=lambda: count(50_002))

    def stick(self, service: str) -> None:
        self.rabbit.queue(queue_of(service), ready=4, unacked=1, consumers=(self._consumer(),))

    def restart(self, options: Any) -> None:
        self.answered.wait(PATIENCE_S)
        queue = self.rabbit.queue(queue_of(options["service"]))
        queue.set(ready=0, unacked=0, acks=5, consumers=(self._consumer(),))

    def _consumer(self) -> str:
        return f"127.0.0.1:{next(self.ports)} -> 127.0.0.1:5672"

    def restarts(self) -> Counter[str]:
        return Counter(run.options["service"] for run in self.rundeck.state.carried_out)

    def endings(self) -> dict[str, list[str]]:
        """How the incidents of each service ended."""
        by_service: dict[str, list[str]] = {}
        for record in self.unstick.archive():
            by_service.setdefault(record["target"]["options"]["service"], []).append(record["outcome"]["ending"])
        return by_service

    def outcome(self, service: str) -> tuple[int, list[str]]:
        """How often it was restarted, and how its incidents ended."""
        return self.restarts()[service], self.endings().get(service, [])

    def flood(self, bodies: list[bytes]) -> Answers:
        """Send all at once, each on a connection of its own as Grafana does; an answer that never came is status 0."""
        ready = threading.Barrier(len(bodies))
        self.answered.clear()
        began = time.monotonic()

        def send(body: bytes) -> tuple[int, dict[str, Any]]:
            ready.wait()
            try:
                return post(self.unstick.url, body, signed(body))
            except OSError as error:
                return 0, {"error": repr(error)}

        try:
            with ThreadPoolExecutor(len(bodies)) as pool:
                return list(pool.map(send, bodies))
        finally:
            self.took_s = time.monotonic() - began
            self.answered.set()

    def until_all_is_done(self) -> None:
        """Nothing is open and nothing is left to tell."""
        self.unstick.until(
            lambda: self.unstick.documents() and not self.unstick.open_documents(), within_s=ENDED_WITHIN_S, what="all is done"
        )


def queue_of(service: str) -> str:
    return f"{service}.delivery"


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Iterator[Fleet]:
    """By a parameter: how many targets make a storm, or within how long a start is not too late. Each test without one has a
    service of its own name.
    """
    given = getattr(request, "param", {})
    with ExitStack() as stack:
        rabbit = stack.enter_context(RabbitDouble())
        job = Job(id=JOB, name="restart-many", limit=0)
        rundeck = stack.enter_context(Rundeck(job))
        many = runbook("many", verify=FAST, match=['alertname="RabbitMQQueueStuck"', 'service=~"mail-[0-9]+"'])
        many["restart"] = many["restart"] | {"job": JOB, "start_within": given.get("start_within", "60s")}
        storm = {"targets": given.get("storm", 20)}
        file = configuration(rundeck.url, rabbit.url, [many], storm=storm)
        unstick = Unstick(tmp_path_factory.mktemp("fleet"), file, WORKERS="2")
        started = Fleet(unstick, rundeck, rabbit)
        job.action = started.restart
        yield stack.enter_context(unstick) and started


@pytest.mark.parametrize("count", [50, pytest.param(300, marks=pytest.mark.long)])
@pytest.mark.parametrize("copies", [True, False], ids=["copies", "groups"])
def test_a_flood_about_one_target_makes_one_restart(fleet, copies, count):
    """I1: the very same bytes, or groups that Grafana flushes within 0.1 s, at once to two workers: one restart, one outcome."""
    service = f"mail-{int(copies)}{count}"
    fleet.stick(service)
    same = alert(service, queue_of(service))
    alerts = [same if copies else alert(service, queue_of(service), instance=f"rabbit{number}") for number in range(count)]
    answers = fleet.flood([notification(one) for one in alerts])
    assert [answer for status, answer in answers if status != 200] == []
    fleet.until_all_is_done()
    assert fleet.outcome(service) == (1, ["recovered"])
    if copies:
        incidents = [answer["incidents"][0] for _, answer in answers]
        decided = [one for one in incidents if (one["action"], one["reason"]) != ("deferred", None)]
        assert decided == incidents or fleet.took_s > STANDS_STILL_S, "a process that stood still left the rest to a wake-up"
        assert len({one["id"] for one in decided}) == 1, "all speak of one incident"
        assert len(fleet.unstick.cards(f"{service} ")) == 2, "it begins, and has recovered"


@pytest.mark.parametrize("targets", [8, pytest.param(300, marks=pytest.mark.long)])
@pytest.mark.parametrize("fleet", [{"storm": STORM}], indirect=True, ids=["storm of 3"])
def test_many_targets_are_a_storm(fleet, targets):
    """A shared cause is likelier than 300 sick applications: at most three restarts, and the rest is reported in one message."""
    services = [f"mail-{number}" for number in range(1, targets + 1)]
    for service in services:
        fleet.stick(service)
    answers = fleet.flood([notification(alert(service, queue_of(service))) for service in services])
    most = MOST_BUNDLES + fleet.took_s // BUNDLE_S
    assert [answer for status, answer in answers if status != 200] == []
    fleet.until_all_is_done()
    restarted = fleet.restarts()
    assert set(restarted.values()) == {1}
    assert 1 <= len(restarted) <= STORM
    assert {service for service, ended in fleet.endings().items() if "recovered" in ended} == set(restarted)
    bundles = [card.splitlines()[0] for card in fleet.unstick.cards("too many targets")]
    counts = [re.search(r"\d+(?= targets? )", bundle) for bundle in bundles]
    told = sum(int(count[0]) if count else 1 for count in counts)  # who was told of a busy job is told the end alone
    assert (sum(map(bool, counts)) <= most, told) == (True, targets - len(restarted)), bundles


@pytest.mark.parametrize("kills", [2, pytest.param(12, marks=pytest.mark.long)])
@pytest.mark.parametrize("fleet", [{"start_within": "5s"}], indirect=True, ids=["soon too late"])
def test_whatever_is_killed_comes_to_its_end(fleet, kills, capsys):
    """I2: kill -9 of a worker or of all at random points, then a start without any request: each accepted alert has its
    outcome, no target was restarted twice, nothing is left open. SEED=n repeats the same points.
    """
    seed = int(os.environ.get("SEED") or random.randrange(10**6))
    with capsys.disabled():
        print(f"\nkills at random, seed {seed}", flush=True)
    chance = random.Random(seed)
    accepted, sent = set(), [f"mail-{number}" for number in range(kills + 1)]
    for service in sent:
        fleet.stick(service)
        with ThreadPoolExecutor(1) as pool:
            answer = pool.submit(fleet.flood, [notification(alert(service, queue_of(service)))])
            if service != sent[-1]:  # the last one is left alone, so that there is always an end to wait for
                time.sleep(chance.choice([chance.uniform(0, 0.15), chance.uniform(0, 3.0)]))
                _kill(fleet.unstick, chance)
            status, said = answer.result()[0]
        if status == 200:
            # They share one job, so one may have to wait for another's restart; a busy machine may be late with the queue.
            assert (said["incidents"][0]["action"], said["incidents"][0]["reason"]) in (
                ("restarted", None),
                ("deferred", None),
                ("held", "job_busy"),
                ("held", "symptom_unknown"),
            ), said
            accepted.add(service)
    fleet.until_all_is_done()
    endings, restarts = fleet.endings(), fleet.restarts()
    assert all(count == 1 for count in restarts.values()), restarts
    assert sent[-1] in accepted
    assert accepted <= set(endings)
    for service in sent:
        assert len(endings.get(service, [])) <= 1, endings
        assert (endings.get(service) == ["recovered"]) == (service in restarts), (service, endings, restarts)
        assert not endings.get(service) or fleet.unstick.cards(service), "its outcome was told"


def _kill(unstick: Unstick, chance: random.Random) -> None:
    """One worker, which gunicorn replaces; or all, and a new start that waits for nobody's request."""
    if chance.random() < 0.5 and (workers := unstick.workers()):
        with suppress(ProcessLookupError):
            os.kill(chance.choice(workers), signal.SIGKILL)
        return
    unstick.kill()
    wait_until(lambda: not is_taken(unstick.port), what=unstick.output)  # a worker that is still dying has the port, too
    unstick.start(wait=False)
    wait_until(lambda: is_taken(unstick.port), what=unstick.output)
