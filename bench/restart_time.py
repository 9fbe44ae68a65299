"""How long users wait: from the message that gets stuck to the restart, and to the card that says recovered.

A real RabbitMQ, Prometheus and Alertmanager with the files of infra/prometheus, Unstick as `make run` serves it with the shipped times,
and a stand-in for Rundeck that really restarts the consumer. Beside the applications that get stuck run healthy ones of the kinds that
look stuck for a while; none of them may be restarted.
"""

import heapq
import json
import secrets
import tempfile
import threading
import time
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any
from urllib.request import urlopen

from testbed import broker as brokers
from testbed.alerting import PACKAGES, alerting
from testbed.broker import Application, Broker, consumer
from testbed.debian import ensure
from testbed.doubles.rundeck import Job, Rundeck
from testbed.unstick_process import IN_AUTO, Unstick, configuration, job_id, runbook

LIMITS_S = {30: 50.0, 60: 80.0}
"""By `symptom.for`: how long after the message got stuck the restart may come at the latest."""

TRIALS = 5
APART_S = 7.3
"""From one application that gets stuck to the next of its kind: scrapes, evaluations and samples come at other times for each."""

WARM_S = 90.0  # so that the broker has samples of healthy minutes before anything gets stuck

VERIFY = {"first": "20s", "every": "15s", "patience": "2m", "within": "10m"}  # Unstick's defaults, written out
FEW = {"max_messages": 5}  # where a message comes each second: a check may meet one that is being handled

KNOWN_LIMIT_S = 20.0 + 15.0 + 5.0  # `first`, `every` and 5 s: two checks after the consumer is back

ENDS_S = 200.0
USER = "alertmanager"
PASSWORD = secrets.token_hex(8)
LOOKS = secrets.token_hex(8)
AWAY_S, JOB_S = 40.0, 150.0


@dataclass(frozen=True, slots=True)
class Trial:
    """When what happened to one application, in Unix seconds."""

    for_s: int
    stuck_at: float
    told_at: float
    restarted_at: float
    back_at: float
    recovered_at: float

    @property
    def restart_s(self) -> float:
        return self.restarted_at - self.stuck_at

    @property
    def known_s(self) -> float:
        return self.recovered_at - self.back_at


@dataclass(frozen=True, slots=True)
class Healthy:
    """A kind of application that looks stuck for a while, and what became of it."""

    what: str
    for_s: int
    suspicions: int
    restarts: int


@dataclass(frozen=True, slots=True)
class Measured:
    trials: list[Trial]
    healthy: list[Healthy]
    versions: str
    at: float


@dataclass(frozen=True, slots=True)
class Pattern:
    """A healthy application: how its consumer works, and what is published for it."""

    service: str
    what: str
    for_s: int
    mode: str
    per_second: float
    publish: tuple[int, float]  # messages, again after so many seconds
    first: int = 0  # messages that wait from the beginning


PATTERNS = (
    Pattern("slow", "one message in 25 s, always some waiting", 60, "slow", 1 / 25, (1, 25.0), first=5),
    Pattern("bursts", "300 messages every 30 s, worked off in 12 s", 60, "slow", 25.0, (300, 30.0)),
    Pattern("deployed", f"away for {AWAY_S:g} s to be deployed, a message a second", 60, "healthy", 1.0, (1, 1.0)),
    Pattern("longjob", f"jobs of {JOB_S:g} s with `prefetch 1`", 240, "slow", 1 / JOB_S, (1, 60.0), first=2),
)


class Publisher:
    """Publishes for all queues on one connection, from a plan that is made ahead: (time, queue, body, how many, again after)."""

    def __init__(self, broker: Broker) -> None:
        self._broker, self._ended = broker, threading.Event()
        self._plan: list[tuple[float, str, bytes, int, float]] = []
        self.hung_at: dict[str, float] = {}
        self._thread = threading.Thread(target=self._work, daemon=True)

    def plan(self, at: float, queue: str, body: bytes, count: int = 1, again_s: float = 0.0) -> None:
        heapq.heappush(self._plan, (at, queue, body, count, again_s))

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._ended.set()
        self._thread.join()

    def _work(self) -> None:
        with self._broker.channel() as channel:
            while self._plan and not self._ended.wait(max(0.0, self._plan[0][0] - time.time())):
                at, queue, body, count, again_s = heapq.heappop(self._plan)
                for _ in range(count):
                    channel.basic_publish("", queue, body)
                if body.startswith(b"hang"):
                    self.hung_at[queue] = time.time()
                if again_s:
                    self.plan(at + again_s, queue, body, count, again_s)


def measure(trials: int = TRIALS) -> Measured:
    """Once, with this many applications for each `symptom.for`. Raises RuntimeError where the programs can't be had."""
    if not ensure("rabbitmq-server", *PACKAGES):
        raise RuntimeError("rabbitmq-server, prometheus and prometheus-alertmanager can't be had here (apt-get install)")
    with tempfile.TemporaryDirectory() as made, ExitStack() as stack:
        folder = Path(made)
        broker = stack.enter_context(brokers.broker(folder / "broker"))
        broker.add_user("unstick", LOOKS, tags="monitoring", vhosts=["/"])
        waits = {f"stuck{for_s}n{number}": for_s for for_s in LIMITS_S for number in range(trials)}
        applications = {name: Application(broker, _queue(name)) for name in waits}
        rundeck = stack.enter_context(Rundeck(*_jobs(applications)))
        unstick = stack.enter_context(_unstick(folder, broker, rundeck, waits))
        for application in applications.values():
            broker.publish(application.queue, 0)
            application.start()
            stack.callback(application.stop)
        publisher = Publisher(broker)
        deployed = _start_healthy(broker, publisher, stack)
        prometheus = stack.enter_context(alerting(folder / "alerting", broker, unstick.url, basic_auth=(USER, PASSWORD)))
        began = time.time()
        for place, (name, application) in enumerate(applications.items()):
            publisher.plan(began, application.queue, b"mail", again_s=1.0)
            publisher.plan(began + WARM_S + APART_S * (place % trials), application.queue, f"hang {name}".encode())
        publisher.start()
        stack.callback(publisher.stop)
        time.sleep(WARM_S)
        deployed.close()
        time.sleep(AWAY_S)
        stack.enter_context(consumer(broker, _queue("deployed"), "healthy"))
        unstick.until(
            lambda: all(unstick.outcomes(_service(name)) for name in applications), within_s=ENDS_S, what="all recovered"
        )
        found = [_trial(application, waits[name], publisher, unstick, rundeck) for name, application in applications.items()]
        healthy = [_healthy(pattern, unstick, rundeck) for pattern in PATTERNS]
        return Measured(found, healthy, _versions(broker, prometheus), time.time())


def _service(name: str) -> str:
    """As the rule makes it of the queue's name."""
    return f"{name}-delivery"


def _queue(name: str) -> str:
    return f"{name}.delivery"


def _jobs(applications: Mapping[str, Application]) -> list[Job]:
    jobs = [Job(id=job_id(_service(name)), name=name, action=one.restart) for name, one in applications.items()]
    return jobs + [Job(id=job_id(_service(pattern.service)), name=pattern.service) for pattern in PATTERNS]


def _unstick(folder: Path, broker: Broker, rundeck: Rundeck, waits: Mapping[str, int]) -> Unstick:
    books = [_runbook(name, for_s, keeps="never", **FEW) for name, for_s in waits.items()]
    books += [_runbook(pattern.service, pattern.for_s) for pattern in PATTERNS]
    basic = {"auth": {"basic": {"user": USER, "passwords": ["env://ALERTMANAGER_PASSWORD"]}}}
    file = configuration(rundeck.url, broker.url, books, grafana=basic)
    return Unstick(folder / "unstick", file, rabbitmq_password=LOOKS, ALERTMANAGER_PASSWORD=PASSWORD)


def _runbook(name: str, for_s: int, **more: Any) -> dict[str, Any]:
    symptom = {"rabbitmq": IN_AUTO | {"for": f"{for_s}s"} | more}
    match = ['alertname=~"RabbitMQQueue(Maybe)?Stuck"', f'service="{_service(name)}"']
    return runbook(_service(name), match=match, symptom=symptom, verify=VERIFY, recovered=FEW if more else {})


def _start_healthy(broker: Broker, publisher: Publisher, stack: ExitStack) -> ExitStack:
    """Start the healthy applications. Returns what ends the consumer of the one that is deployed."""
    deployed = stack.enter_context(ExitStack())
    now = time.time()
    for pattern in PATTERNS:
        queue = _queue(pattern.service)
        broker.publish(queue, pattern.first)
        of = deployed if pattern.service == "deployed" else stack
        of.enter_context(consumer(broker, queue, pattern.mode, per_second=pattern.per_second))
        count, again_s = pattern.publish
        publisher.plan(now + 1.0, queue, b"mail", count, again_s)
    return deployed


def _trial(application: Application, for_s: int, publisher: Publisher, unstick: Unstick, rundeck: Rundeck) -> Trial:
    service = application.queue.replace(".", "-")  # as the rule does
    stuck_at = publisher.hung_at[application.queue]
    (restarted_at,) = [seen.at for seen in rundeck.posts() if job_id(service) in seen.path]
    events = [(_unix(one["time"]), one) for one in unstick.events() if one.get("target") == f"service={service}"]
    return Trial(
        for_s,
        stuck_at,
        min(at for at, _ in events if at > stuck_at),
        restarted_at,
        application.back_at[1],
        next(at for at, one in events if one.get("outcome") == "recovered"),
    )


def _unix(written: str) -> float:
    return datetime.fromisoformat(written).timestamp()


def _healthy(pattern: Pattern, unstick: Unstick, rundeck: Rundeck) -> Healthy:
    service = _service(pattern.service)
    restarts = sum(job_id(service) in seen.path for seen in rundeck.posts())
    answers = {one.get("incident") for one in unstick.events() if one.get("target") == f"service={service}"}
    return Healthy(pattern.what, pattern.for_s, len(answers - {None, ""}), restarts)


def _versions(broker: Broker, prometheus: str) -> str:
    rabbitmq = broker.api("GET", "overview")["rabbitmq_version"]
    with urlopen(f"{prometheus}/api/v1/status/buildinfo", timeout=10) as answer:  # noqa: S310 - our own, on loopback
        return f"RabbitMQ {rabbitmq}, Prometheus {json.load(answer)['data']['version'].partition('+')[0]}"
