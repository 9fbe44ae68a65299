"""Prometheus and Alertmanager with the files of infra/prometheus, in which only the addresses are other ones.

with alerting(folder, broker, unstick.url, basic_auth=(USER, PASSWORD)) as prometheus_url:
    ...                                     # Unstick hears of stuck queues
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from urllib.request import urlopen

import yaml

from tests.support.broker import Broker, free_ports
from tests.support.unstick_process import until

SHIPPED = Path(__file__).parents[2] / "infra" / "prometheus"
PACKAGES = ("prometheus", "prometheus-alertmanager")
"""Debian's."""

START_TIMEOUT_S = 20.0


@contextmanager
def alerting(folder: Path, broker: Broker, unstick_url: str, *, basic_auth: tuple[str, str]) -> Iterator[str]:
    """Both programs, from when they are ready until the block ends. Yields the base URL of Prometheus."""
    alertmanager, prometheus = (f"127.0.0.1:{port}" for port in free_ports(2))
    folder.mkdir(parents=True, exist_ok=True)
    _write_alertmanager(folder, unstick_url, basic_auth)
    _write_prometheus(folder, broker, alertmanager)
    with ExitStack() as stack:
        command = [
            "prometheus-alertmanager", "--config.file=alertmanager.yml", f"--web.listen-address={alertmanager}",
            "--storage.path=alertmanager", "--cluster.listen-address=", "--log.level=warn",
        ]  # fmt: skip
        stack.enter_context(_program(command, folder, f"http://{alertmanager}/-/ready"))
        command = [
            "prometheus", "--config.file=prometheus.yml", f"--web.listen-address={prometheus}",
            "--storage.tsdb.path=prometheus", "--log.level=warn",
        ]  # fmt: skip
        stack.enter_context(_program(command, folder, f"http://{prometheus}/-/ready"))
        yield f"http://{prometheus}"


def _write_prometheus(folder: Path, broker: Broker, alertmanager: str) -> None:
    shutil.copy(SHIPPED / "rules.yml", folder)
    file = yaml.safe_load((SHIPPED / "prometheus.yml").read_text(encoding="utf-8"))
    file["scrape_configs"][0]["static_configs"][0]["targets"] = [f"127.0.0.1:{broker.metrics_port}"]
    file["alerting"]["alertmanagers"][0]["static_configs"][0]["targets"] = [alertmanager]
    (folder / "prometheus.yml").write_text(yaml.safe_dump(file), encoding="utf-8")


def _write_alertmanager(folder: Path, unstick_url: str, basic_auth: tuple[str, str]) -> None:
    file = yaml.safe_load((SHIPPED / "alertmanager.yml").read_text(encoding="utf-8"))
    people, unstick = file["receivers"]
    del people["email_configs"]  # a receiver without any integration: nobody is told
    username, password = basic_auth
    unstick["webhook_configs"][0] |= {
        "url": unstick_url,
        "http_config": {"basic_auth": {"username": username, "password": password}},
    }
    (folder / "alertmanager.yml").write_text(yaml.safe_dump(file), encoding="utf-8")


@contextmanager
def _program(command: list[str], folder: Path, ready: str) -> Iterator[None]:
    """A server in a process group of its own, from when it says that it is ready until the block ends."""
    log = folder / f"{command[0]}.log"
    with log.open("wb") as out:
        started = subprocess.Popen(command, cwd=folder, stdin=subprocess.DEVNULL, stdout=out, stderr=out, start_new_session=True)
    try:
        until(lambda: _answers(ready), within_s=START_TIMEOUT_S, what=lambda: log.read_text(errors="replace")[-3000:])
        yield
    finally:
        with suppress(ProcessLookupError):
            os.killpg(started.pid, signal.SIGKILL)
        started.wait()


def _answers(url: str) -> bool:
    with suppress(OSError), urlopen(url, timeout=2) as answer:
        return answer.status == 200
    return False
