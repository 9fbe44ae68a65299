"""An application with the bug: a real consumer of a real queue, and the job that really restarts it."""

import time
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field

from functions.adapters.symptoms.rabbitmq import RabbitMQ, client, to_queue
from functions.domain.health.looks import judge_health
from functions.domain.model.codes import Health
from functions.domain.model.incidents import QueueState
from functions.domain.model.runbooks import Symptom
from functions.runtime.errors import Unavailable
from testbed.broker import ADMIN, Broker, consumer
from testbed.doubles.rundeck import Job
from testbed.looks import look_once
from testbed.patience import wait_until
from testbed.recorded_grafana import known
from testbed.unstick_process import job_id


@dataclass
class Application:
    """The mail service: a process that is started anew in the next of its modes by each restart."""

    broker: Broker
    service: str
    modes: list[str]
    back_at: list[float] = field(default_factory=list)
    """When each process was registered as a consumer."""
    running: ExitStack = field(default_factory=ExitStack)

    @property
    def queue(self) -> str:
        return f"{self.service}.delivery"

    def start(self) -> None:
        mode = self.modes[min(len(self.back_at), len(self.modes) - 1)]
        self.running.enter_context(consumer(self.broker, self.queue, mode, per_second=1.0))
        self.back_at.append(time.time())

    def stop(self) -> None:
        self.running.close()

    def restart(self, _options: Mapping[str, str]) -> None:
        self.stop()
        self.start()

    def until_stuck(self) -> None:
        until_stuck(self.broker, self.queue)


def until_stuck(broker: Broker, name: str) -> None:
    """Wait until the broker's own figures show what the runbook calls stuck, or likely to be."""
    settings, queue = RabbitMQ(broker.url, ADMIN[0], known(ADMIN[1])), to_queue("/", name)

    def ill() -> bool:
        time.sleep(0.3)
        try:
            seen = look_once(client.look_all, settings, queue, for_s=6)
        except Unavailable:  # a new quorum queue looks as if it had changed its leader
            return False
        judged, _ = judge_health(Symptom("rabbitmq", for_s=6.0), seen, QueueState(queue, "", 0.0), time.time())
        return judged.health in (Health.ILL, Health.LIKELY)

    wait_until(ill, what=lambda: f"{name} is stuck")


def stuck(broker: Broker, modes: Mapping[str, list[str]], stack: ExitStack, *, messages: int = 5) -> dict[str, Application]:
    """Applications by their service's name, each in its first mode with so many messages in its queue, which worked before."""
    made = {service: Application(broker, service, row) for service, row in modes.items()}
    for application in made.values():
        broker.work_off(application.queue)
        broker.publish(application.queue, messages)
        application.start()
        stack.callback(application.stop)
    return made


def jobs(applications: Mapping[str, Application]) -> list[Job]:
    """A job for each, which restarts it."""
    return [Job(id=job_id(name), name=f"restart-{name}", action=one.restart) for name, one in applications.items()]
