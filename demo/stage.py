"""What runs in the demo beside RabbitMQ: the mail service with the bug, Rundeck's stand-in, and Unstick itself."""

import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import yaml

from demo.mail_server import MailServer
from demo.queues import PASSWORD, USER, WORKERS, Queues, Worker
from testbed.doubles.rundeck import INCIDENT, OWN, Job, Option, Rundeck
from testbed.patience import PATIENCE_S
from testbed.unstick_process import HELPED, ROOT, SHORT, Unstick, configuration, job_id, runbook

SERVICE = "mail-delivery"
PROGRAM = str(ROOT / "demo" / "mail_worker.py")
HOSTS = r"127\.0\.1\.[0-9]{1,3}"
FOR_S = 10.0
"""Unstick takes no less."""
EVIDENCE_FILE = ROOT / "infra" / "rundeck" / "evidence-place.yaml"
EVIDENCE_JOB = "22222222-2222-4222-8222-222222222223"


@dataclass(frozen=True, slots=True)
class Restart:
    """One worker's, with its process ids before and after. `at`: once it works again, on the monotonic clock."""

    worker: Worker
    before: int
    after: int
    at: float

    def __str__(self) -> str:
        return f"{self.worker.name}: process {self.before} is gone, {self.after} is there"


class Application:
    """The mail service: a process for each worker. `restart` is what Rundeck's job does, and it does it for real."""

    def __init__(self, queues: Queues, server: MailServer) -> None:
        self.queues, self.server = queues, server
        self.processes: dict[Worker, subprocess.Popen[str]] = {}
        self.restarts: list[Restart] = []
        self.lock, self.closed = threading.Lock(), False

    def start(self, *workers: Worker) -> None:
        """Start these and wait until they consume."""
        for worker in workers:
            self.processes[worker] = subprocess.Popen(
                [
                    sys.executable, PROGRAM, "--mail-server", str(self.server.port), worker.name,
                    *self.queues.arguments(worker),
                ],
                cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, start_new_session=True,
            )  # fmt: skip
        for worker in workers:
            process = self.processes[worker]
            if process.stdout is None or process.stdout.readline() != "consuming\n":
                raise RuntimeError(f"{worker.name} did not start")
            self.queues.follow(worker, process)

    def stop(self, worker: Worker) -> int:
        """Kill it, as what minds services would; its process id."""
        process = self.processes[worker]
        process.kill()
        process.wait()
        return process.pid

    def restart(self, options: Mapping[str, str]) -> bool:
        """Rundeck's job, on the nodes that its filter matches. It fails for any service but this one."""
        with self.lock:
            matched = [worker for worker in WORKERS if re.fullmatch(options["host"], worker.host)]
            if self.closed or options["service"] != SERVICE or not matched:
                return False
            before = [self.stop(worker) for worker in matched]
            self.start(*matched)
            at = time.monotonic()
            self.restarts += [
                Restart(worker, pid, self.processes[worker].pid, at) for worker, pid in zip(matched, before, strict=True)
            ]
        return True

    def close(self) -> None:
        """End it for good: a restart that is under way comes first, one that comes later does nothing."""
        with self.lock:
            self.closed = True
            for worker in self.processes:
                self.stop(worker)


def collect_evidence(port: int, options: Mapping[str, str]) -> str:
    """What infra/rundeck/evidence-place.yaml does, really run on the host in the option: the stacks, and the line that hangs."""
    (job,) = yaml.safe_load(EVIDENCE_FILE.read_text(encoding="utf-8"))
    worker = next(worker for worker in WORKERS if worker.host == options["host"])
    process = (
        f"{options['process']} --mail-server {port} {worker.name}"  # all hosts are one machine here, perhaps with other demos
    )
    script = job["sequence"]["commands"][0]["script"]
    for option in job["options"]:
        given = {**options, "process": process}.get(option["name"], "")
        script = script.replace(f"@option.{option['name']}@", given)
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"  # where py-spy is
    run = subprocess.run(
        [sys.executable, "-"],
        input=script,
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
        env={**os.environ, "PATH": path},
    )
    if run.returncode:
        raise RuntimeError(f"{run.stdout}{run.stderr}".strip() or "py-spy may not look at processes here")
    return run.stdout


def start_rundeck(stack: ExitStack, application: Application) -> Rundeck:
    """Rundeck's stand-in with two jobs: one restarts workers, all of them without a host, and one shows what they hang in."""
    restart = Job(
        id=job_id(SERVICE),
        name="restart-mail-delivery",
        options=(Option("service", required=True), Option("host", default=".*"), *OWN),
        nodes="tags: consumers hostname: ${option.host}",
        action=application.restart,
    )
    evidence = Job(
        id=EVIDENCE_JOB,
        name="evidence-place",
        options=(Option("process", required=True), Option("host"), Option(INCIDENT)),
        limit=0,
        guard=False,
        begins="",
        action=partial(collect_evidence, application.server.port),
    )
    rundeck = stack.enter_context(Rundeck(restart, evidence))
    rundeck.state.nodes |= {worker.name: ("consumers",) for worker in WORKERS}
    rundeck.state.hostnames = {worker.name: worker.host for worker in WORKERS}
    return rundeck


def start_unstick(stack: ExitStack, folder: Path, queues: Queues, rundeck: Rundeck, *, helps: bool) -> Unstick:
    """Unstick under functions-framework, with a runbook whose minutes are seconds."""
    mail = runbook(SERVICE, verify=HELPED if helps else SHORT, root_cause="https://tracker.example.com/MAIL-123")
    mail["symptom"]["rabbitmq"]["for"] = f"{FOR_S:g}s"
    mail["restart"]["holder"] = {"option": "host", "allow": HOSTS}
    options = {"process": Path(PROGRAM).name, "host": "${holder.host}"}
    mail["evidence"] = {"job": EVIDENCE_JOB, "options": options, "allow": {"host": HOSTS}, "within": "1m"}
    file = configuration(rundeck.url, queues.url, [mail], user=USER)
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
