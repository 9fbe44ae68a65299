"""What runs in the demo: RabbitMQ or its stand-in, the application with the bug, Rundeck's stand-in, and Unstick itself."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path
from secrets import token_urlsafe
from typing import Protocol

import yaml

from tests.support import broker as brokers
from tests.support import debian
from tests.support.broker import Broker
from tests.support.doubles.rabbitmq import RabbitDouble
from tests.support.doubles.rundeck import INCIDENT, Job, Option, Rundeck
from tests.support.patience import PATIENCE_S
from tests.support.unstick_process import BUDGET, HELPED, ROOT, SHORT, Unstick, configuration, job_id, runbook

SERVICE, QUEUE = "mail-delivery", "mail.delivery"
MESSAGES = 1520
"""As many as the recorded alert speaks of."""
FOR_S = 6.0
EVIDENCE_FILE = ROOT / "infra" / "rundeck" / "evidence-python.yaml"
EVIDENCE_JOB = "22222222-2222-4222-8222-222222222223"
USER = "unstick"
PASSWORD = token_urlsafe(12)


class Queues(Protocol):
    """RabbitMQ, as far as the demo has to do with it."""

    @property
    def url(self) -> str: ...
    @property
    def description(self) -> str: ...
    def publish(self) -> None: ...
    def application(self, relay: int, *, stuck: bool) -> list[str]: ...
    def follow(self, process: subprocess.Popen[str]) -> None:
        """Called with the application's process once it consumes."""

    def unfollow(self) -> None:
        """Called once that process is gone: nothing that it said comes later than this."""


@dataclass(frozen=True, slots=True)
class RealQueues:
    broker: Broker

    @property
    def url(self) -> str:
        return self.broker.url

    @property
    def description(self) -> str:
        version = self.broker.api("GET", "overview")["rabbitmq_version"]
        return f"RabbitMQ {version} is up, the real one, on {self.url}"

    def publish(self) -> None:
        self.broker.add_user(USER, PASSWORD, tags="management", vhosts=["/"])
        with self.broker.channel() as channel:
            channel.queue_declare(QUEUE, durable=True)
            for number in range(MESSAGES):
                channel.basic_publish("", QUEUE, f"mail {number}".encode())

    def application(self, relay: int, *, stuck: bool) -> list[str]:
        mode = "stuck-socket" if stuck else "healthy"
        program = str(ROOT / "tests" / "support" / "workers" / "stuck_consumer.py")
        url = self.broker.amqp_url()
        return [sys.executable, program, "--url", url, "--queue", QUEUE, "--mode", mode, "--relay", str(relay)]

    def follow(self, process: subprocess.Popen[str]) -> None:
        """The broker sees by itself what the application does."""

    def unfollow(self) -> None:
        """The broker sees this, too."""


@dataclass(frozen=True, slots=True)
class StandInQueues:
    """A queue that is set by what a real process says that it does."""

    double: RabbitDouble
    why: str
    readers: list[threading.Thread] = field(default_factory=list)
    """Of the process that is followed now, if any."""

    @property
    def url(self) -> str:
        return self.double.url

    @property
    def description(self) -> str:
        return f"RabbitMQ {self.why}: a stand-in takes its place, on {self.url}"

    def publish(self) -> None:
        self.double.queue(QUEUE, ready=MESSAGES, consumers=())

    def application(self, relay: int, *, stuck: bool) -> list[str]:
        mode = "stuck" if stuck else "healthy"
        return [sys.executable, "-m", "demo.stand_in_application", mode, str(MESSAGES), "--relay", str(relay)]

    def follow(self, process: subprocess.Popen[str]) -> None:
        queue = self.double.queue(QUEUE)
        queue.set(consumers=(f"127.0.0.1:{10_000 + process.pid % 50_000} -> 127.0.0.1:5672",))

        def read() -> None:
            for line in process.stdout or ():
                if line == "took\n":
                    queue.set(ready=queue.ready - 1, unacked=queue.unacked + 1)
                elif line == "acknowledged\n":
                    queue.set(unacked=queue.unacked - 1, acks=queue.acks + 1)
            queue.set(ready=queue.ready + queue.unacked, unacked=0, consumers=())

        reader = threading.Thread(target=read, daemon=True, name="stand-in-application")
        reader.start()
        self.readers.append(reader)

    def unfollow(self) -> None:
        # Else the old process's reader could take away the consumer that the new one has just brought.
        while self.readers:
            self.readers.pop().join()


def queues(stack: ExitStack, folder: Path, *, stand_in: bool) -> Queues:
    """A real RabbitMQ: the one that is there, else installed where that needs no question. Else the stand-in, and why."""
    why = "was not asked for"
    if not stand_in:
        why = "can't be had here without asking"
        if brokers.available() or (debian.ensure("rabbitmq-server") and brokers.available()):
            try:
                return RealQueues(stack.enter_context(brokers.broker(folder / "broker")))
            except (RuntimeError, OSError):
                why = "is there but did not start"
    double = stack.enter_context(RabbitDouble())
    double.users[USER] = type(double.users["unstick"])(PASSWORD)
    return StandInQueues(double, why)


class Application:
    """The mail service: one process at a time. `restart` is what Rundeck's job does, and it does it for real."""

    def __init__(self, made: Queues, *, cured: bool) -> None:
        self.queues, self.cured = made, cured
        self.process: subprocess.Popen[str] | None = None
        self.restarts: list[tuple[int, int]] = []
        """Process ids, before and after."""
        self.lock, self.closed = threading.Lock(), False
        self.server = socket.create_server(("127.0.0.1", 0))
        """The mail server that it hands mails to: it accepts, and never says a word."""

    @property
    def relay(self) -> int:
        port: int = self.server.getsockname()[1]
        return port

    def start(self, *, stuck: bool) -> int:
        """Start it and wait until it consumes; its process id."""
        command = self.queues.application(self.relay, stuck=stuck)
        self.process = subprocess.Popen(
            command, cwd=ROOT, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True,
            start_new_session=True,
        )  # fmt: skip
        if self.process.stdout is None or self.process.stdout.readline() != "consuming\n":
            raise RuntimeError("the application did not start")
        self.queues.follow(self.process)
        return self.process.pid

    def stop(self) -> None:
        """Kill it, as what minds services would."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.queues.unfollow()

    def restart(self, options: Mapping[str, str]) -> bool:
        """Rundeck's job. It fails for any service but this one."""
        with self.lock:
            if self.closed or self.process is None or options["service"] != SERVICE:
                return False
            before = self.process.pid
            self.stop()
            self.restarts.append((before, self.start(stuck=not self.cured)))
        return True

    def close(self) -> None:
        """End it for good: a restart that is under way comes first, one that comes later does nothing."""
        with self.lock:
            self.closed = True
            self.stop()
            self.server.close()


def collect_evidence(options: Mapping[str, str]) -> str:
    """What infra/rundeck/evidence-python.yaml does, really run: the stack of each thread, by py-spy."""
    (job,) = yaml.safe_load(EVIDENCE_FILE.read_text(encoding="utf-8"))
    script = job["sequence"]["commands"][0]["script"].replace("@option.process@", options["process"])
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"  # where py-spy is
    run = subprocess.run(
        ["sh"], input=script, capture_output=True, text=True, timeout=PATIENCE_S, check=False, env={**os.environ, "PATH": path}
    )
    if run.returncode:
        raise RuntimeError(f"{run.stdout}{run.stderr}".strip() or "py-spy may not look at processes here")
    return run.stdout


def rundeck(stack: ExitStack, application: Application) -> Rundeck:
    """Rundeck's stand-in with two jobs: one restarts the application, and one shows what it hangs in."""
    restart = Job(id=job_id(SERVICE), name="restart-mail-delivery", action=application.restart)
    options = (Option("process", required=True), Option(INCIDENT))
    evidence = Job(
        id=EVIDENCE_JOB, name="evidence-python", options=options, limit=0, guard=False, begins="", action=collect_evidence
    )
    return stack.enter_context(Rundeck(restart, evidence))


def unstick(stack: ExitStack, folder: Path, made: Queues, runner: Rundeck, application: Application) -> Unstick:
    """Unstick under functions-framework, with a runbook whose minutes are seconds."""
    mail = runbook(
        SERVICE,
        verify=HELPED if application.cured else SHORT,
        root_cause="https://tracker.example.com/MAIL-123",
        manual_minutes=8,
    )
    mail["symptom"]["rabbitmq"]["for"] = f"{FOR_S:g}s"
    mail["evidence"] = {"job": EVIDENCE_JOB, "options": {"process": f"relay {application.relay}"}, "within": "1m"}
    file = configuration(runner.url, made.url, [mail], user=USER, budget=BUDGET)
    process = Unstick(folder / "unstick", file, rabbitmq_password=PASSWORD)
    stack.callback(process.stop)
    return process.start()


def sweep(folder: Path) -> None:
    """Kill what was being started just when the demo was stopped: all processes whose environment names its folder.

    Ends when they are gone: one that dies slowly would write into the folder while it is removed.
    """
    ends = time.monotonic() + PATIENCE_S
    while (left := _marked(str(folder).encode())) and time.monotonic() < ends:
        for pid in left:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(0.02)


def _marked(mark: bytes) -> list[int]:
    """The other processes with this in their environment; that of a zombie is empty."""
    found = []
    for environment in Path("/proc").glob("[0-9]*/environ"):
        with suppress(OSError):
            if int(environment.parent.name) != os.getpid() and mark in environment.read_bytes():
                found.append(int(environment.parent.name))
    return found
