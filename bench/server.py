"""Starts, calls and measures each program that is compared, by raw sockets and the kernel's clocks."""

import hashlib
import hmac
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from pathlib import Path
from typing import Any, Self

from testbed.broker import free_ports
from testbed.doubles.rabbitmq import PASSWORD
from testbed.doubles.rundeck import Rundeck
from testbed.patience import wait_until
from testbed.unstick_process import HMAC_SECRET, MACHINE_TOKEN, RUNNER_TOKEN, SIGNING_KEY, check_ahead, job_id, mounted, signed

ROOT = Path(__file__).parents[1]
BUILD = ROOT / "build" / "bench"
JOB = job_id("bench")
UNSTICK, WEBHOOK, BARE = "Unstick", "adnanh/webhook", "empty function"
SOURCES = {UNSTICK: ROOT / "main.py", BARE: ROOT / "bench" / "bare.py"}
PROJECT = "bench"
CLOUD = {
    "store": {"cloud_storage": {"bucket": "unstick-bench"}},
    "scheduler": {
        "cloud_tasks": {
            "queue": "projects/bench/locations/europe-west1/queues/unstick",
            "url": "https://unstick.example.com/verify",
            "service_account": "verify@example.com",
        }
    },
}
REFUSALS = {BARE: 200, WEBHOOK: 500}
TIMEOUT_S, STOP_S = 60.0, 5.0
CPU_CLOCK = 2  # CPUCLOCK_SCHED of the Linux kernel, which makes the CPU clock of a process from its id (clock_getcpuclockid(3))


class Server:
    """One of the programs, started in a folder of its own. It need not serve yet.

    `cloud`: as infra/ deploys it, with documents in Cloud Storage and Grafana's secret mounted. It can only be asked what is
    refused."""

    def __init__(self, name: str, configuration: dict[str, Any], rundeck: Rundeck, *, cloud: bool = False) -> None:
        self.name, self.port, self.rundeck = name, free_ports(1)[0], rundeck
        self.folder = BUILD / "run" / f"{name.replace(' ', '-').replace('/', '-')}-{self.port}"
        self.folder.mkdir(parents=True)
        text = json.dumps(configuration | CLOUD).replace("env://", f"sm://{PROJECT}/") if cloud else json.dumps(configuration)
        (self.folder / "unstick.yaml").write_text(text)
        self.secrets = mounted(self.folder / "secrets", f"{PROJECT}/GRAFANA_HMAC_SECRET") if cloud else {}
        check_ahead(self.folder / "unstick.yaml")
        command = self._webhook() if name == WEBHOOK else self._function()
        with (self.folder / "output.log").open("ab") as out:
            self.began_at = time.time()
            self.process = subprocess.Popen(
                command, cwd=self.folder, env=self._environment(), stdin=subprocess.DEVNULL, stdout=out, stderr=out,
                start_new_session=True,
            )  # fmt: skip

    def _environment(self) -> dict[str, str]:
        """As few variables as a container has, with the secrets; byte code goes outside the repository, and all share it."""
        return {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ} | {
            "UNSTICK_CONFIG": str(self.folder / "unstick.yaml"),
            "GRAFANA_HMAC_SECRET": HMAC_SECRET,
            "RUNDECK_TOKEN": RUNNER_TOKEN,
            "RABBITMQ_PASSWORD": PASSWORD,
            "UNSTICK_SIGNING_KEY": SIGNING_KEY,
            "UNSTICK_MACHINE_TOKEN": MACHINE_TOKEN,
            "PYTHONPYCACHEPREFIX": str(BUILD / "bytecode"),
            "PYTHONUTF8": "1",
            "PYTHONUNBUFFERED": "1",
            **self.secrets,
        }

    def _function(self) -> list[str]:
        served = ["-m", "functions_framework", "--source", str(SOURCES[self.name]), "--target", "webhook", "--host", "127.0.0.1"]
        return [sys.executable, *served, "--port", str(self.port)]

    def _webhook(self) -> list[str]:
        script = self.folder / "restart.sh"
        script.write_text(
            f"#!/bin/sh\nexec curl -fsS -m 10 -X POST -H 'X-Rundeck-Auth-Token: {RUNNER_TOKEN}' -H 'Content-Type: application/json'"
            f' -d "{{\\"options\\":{{\\"service\\":\\"$1\\"}}}}" {self.rundeck.url}/api/41/job/{JOB}/run\n'
        )
        script.chmod(0o755)
        signature = {"source": "header", "name": "X-Grafana-Alerting-Signature"}
        hook = {
            "id": "restart",
            "execute-command": str(script),
            "pass-arguments-to-command": [{"source": "payload", "name": "alerts.0.labels.service"}],
            "trigger-rule": {"match": {"type": "payload-hmac-sha256", "secret": HMAC_SECRET, "parameter": signature}},
            "trigger-rule-mismatch-http-response-code": 401,
        }
        (self.folder / "hooks.json").write_text(json.dumps([hook]))
        return ["webhook", "-hooks", "hooks.json", "-ip", "127.0.0.1", "-port", str(self.port)]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for number, wait_s in ((signal.SIGTERM, STOP_S), (signal.SIGKILL, None)):
            with suppress(ProcessLookupError):
                os.killpg(self.process.pid, number)
            with suppress(subprocess.TimeoutExpired):
                self.process.wait(wait_s)
        shutil.rmtree(self.folder, ignore_errors=True)

    # --- what it is asked

    def request(self, body: bytes, *, forged: bool = False) -> bytes:
        """A complete POST, signed as this program expects, or with a wrong signature of the same form."""
        headers = signed(body)
        if self.name == WEBHOOK:  # it signs no time
            headers["X-Grafana-Alerting-Signature"] = hmac.new(HMAC_SECRET.encode(), body, hashlib.sha256).hexdigest()
        if forged:
            headers["X-Grafana-Alerting-Signature"] = "0" * 64
        path = "/hooks/restart" if self.name == WEBHOOK else "/"
        lines = [f"POST {path} HTTP/1.1", "Host: 127.0.0.1", f"Content-Length: {len(body)}", "Connection: close"]
        return "\r\n".join([*lines, *(f"{name}: {value}" for name, value in headers.items()), "", ""]).encode() + body

    def send(self, request: bytes, *, gate: threading.Barrier | None = None) -> tuple[float, float]:
        """Send it on a connection of its own, wait for the port of a server that is starting, and read the answer to its end.
        Returns the times of the first byte out and back, in Unix seconds. RuntimeError: it did not do its work."""
        ends = time.monotonic() + TIMEOUT_S
        while True:
            try:
                line = socket.create_connection(("127.0.0.1", self.port), timeout=TIMEOUT_S)
                break
            except ConnectionRefusedError:
                if time.monotonic() > ends:
                    raise
                time.sleep(0.002)
        with closing(line):
            if gate is not None:
                gate.wait(TIMEOUT_S)
            began_at = time.time()
            line.sendall(request)
            head = line.recv(65536)
            answered_at = time.time()
            while line.recv(65536):
                pass
        status = int(head.split(b" ", 2)[1]) if head else 0
        wanted = (REFUSALS.get(self.name, 401),) if b"0" * 64 in request else (200, 202)
        if status not in wanted:
            raise RuntimeError(f"{self.name} answered {status or 'nothing'} instead of {wanted}")
        return began_at, answered_at

    def send_at_once(self, requests: Sequence[bytes]) -> None:
        """Send all requests at the same moment."""
        gate = threading.Barrier(len(requests))
        with ThreadPoolExecutor(len(requests)) as pool:
            list(pool.map(lambda request: self.send(request, gate=gate), requests))

    def reached_rundeck_at(self, since: float) -> float:
        """When the first run since then reached Rundeck's stand-in, in Unix seconds."""
        posts = wait_until(
            lambda: [seen.at for seen in self.rundeck.posts() if seen.at >= since], within_s=TIMEOUT_S, what=lambda: self.name
        )
        return min(posts)

    # --- what it takes

    def _pids(self) -> list[int]:
        """All processes of its group."""
        pids = [int(entry.name) for entry in Path("/proc").glob("[0-9]*")]
        with suppress(ProcessLookupError):
            return [pid for pid in pids if Path(f"/proc/{pid}").exists() and os.getpgid(pid) == self.process.pid]
        return self._pids()

    def cpu_s(self) -> float:
        """CPU time of all its processes that still run, in seconds."""
        used_s = 0.0
        for pid in self._pids():
            with suppress(OSError):
                used_s += time.clock_gettime(~pid << 3 | CPU_CLOCK)
        return used_s

    def memory_mib(self) -> float:
        """PSS of all its processes in MiB: a page that n processes share counts 1/n times."""
        kib = 0
        for pid in self._pids():
            with suppress(OSError):
                rows = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
                kib += sum(int(row.split()[1]) for row in rows if row.startswith("Pss:"))
        return kib / 1024
