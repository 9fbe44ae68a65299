"""Without Grafana: RabbitMQ's own metrics, Prometheus with the rule of infra/, Alertmanager's webhook, Unstick, and back."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from urllib.request import urlopen

import yaml

from tests.doubles.rundeck import Job, Rundeck
from tests.support import broker as brokers
from tests.support.broker import Broker, free_ports
from tests.support.stuck_application import stuck
from tests.support.unstick_process import Unstick, configuration, job_id, runbook, until

FOLDER = Path(__file__).parents[2] / "infra" / "prometheus"
SERVICE, QUEUE = "alerted-delivery", "alerted.delivery"
"""The rule makes the one of the other."""
USER, PASSWORD = "alertmanager", "from-alertmanager-to-us"
SHORTER = {"[2m]": "[12s]", "offset 2m": "offset 12s", "for: 1m": "for: 1s"}
START_TIMEOUT_S = 20.0


@contextmanager
def program(command: list[str], folder: Path, ready: str) -> Iterator[None]:
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


def _prometheus(folder: Path, broker: Broker, alertmanager_port: int, port: int) -> list[str]:
    """The files of infra/prometheus with other addresses and shorter times."""
    rules = (FOLDER / "rules.yml").read_text()
    for long, short in SHORTER.items():
        assert long in rules
        rules = rules.replace(long, short)
    (folder / "rules.yml").write_text(rules)
    file = yaml.safe_load((FOLDER / "prometheus.yml").read_text())
    file["global"] = {"scrape_interval": "1s", "evaluation_interval": "1s"}
    file["scrape_configs"][0]["static_configs"][0]["targets"] = [f"127.0.0.1:{broker.metrics_port}"]
    file["alerting"]["alertmanagers"][0]["static_configs"][0]["targets"] = [f"127.0.0.1:{alertmanager_port}"]
    (folder / "prometheus.yml").write_text(yaml.safe_dump(file))
    return [
        "prometheus", "--config.file=prometheus.yml", f"--web.listen-address=127.0.0.1:{port}", "--storage.tsdb.path=prometheus",
        "--log.level=warn",
    ]  # fmt: skip


def _alertmanager(folder: Path, unstick: Unstick, port: int) -> list[str]:
    """Whatever happened by then, the end of an alert comes with the next flush of its group, 15 s after the first."""
    webhook = {"url": unstick.url, "send_resolved": True, "http_config": {"basic_auth": {"username": USER, "password": PASSWORD}}}
    file = {
        "route": {
            "receiver": "unstick", "group_by": ["alertname", "service"],
            "group_wait": "0s", "group_interval": "15s", "repeat_interval": "1h",
        },
        "receivers": [{"name": "unstick", "webhook_configs": [webhook]}],
    }  # fmt: skip
    (folder / "alertmanager.yml").write_text(yaml.safe_dump(file))
    return [
        "prometheus-alertmanager", "--config.file=alertmanager.yml", f"--web.listen-address=127.0.0.1:{port}",
        "--storage.path=alertmanager", "--cluster.listen-address=", "--log.level=warn",
    ]  # fmt: skip


def test_from_the_brokers_metrics_to_resolved(needed: Callable[..., None], tmp_path: Path):
    """A queue sticks, Alertmanager tells Unstick, it is restarted and drains, and the chat hears when the alert is resolved."""
    needed("rabbitmq-server", "prometheus", "prometheus-alertmanager")
    alertmanager_port, prometheus_port = free_ports(2)
    with ExitStack() as stack:
        # a broker of its own: RabbitMQ 3.10 escapes no label, so other tests' queue with a backslash would spoil every scrape
        broker = stack.enter_context(brokers.broker(tmp_path / "broker"))
        broker.add_user("unstick", "only looks", tags="management", vhosts=["/"])
        application = stuck(broker, {"alerted": ["stuck-unacked", "healthy"]}, stack)["alerted"]
        assert application.queue == QUEUE
        rundeck = stack.enter_context(Rundeck(Job(id=job_id(SERVICE), action=application.restart)))
        basic = {"auth": {"basic": {"user": USER, "passwords": ["env://ALERTMANAGER_PASSWORD"]}}}
        file = configuration(rundeck.url, broker.url, [runbook(SERVICE)], grafana=basic)
        unstick = Unstick(tmp_path / "unstick", file, rabbitmq_password="only looks", ALERTMANAGER_PASSWORD=PASSWORD)
        stack.enter_context(unstick)
        command = _alertmanager(tmp_path, unstick, alertmanager_port)
        stack.enter_context(program(command, tmp_path, f"http://127.0.0.1:{alertmanager_port}/-/ready"))
        began = time.monotonic()
        command = _prometheus(tmp_path, broker, alertmanager_port, prometheus_port)
        stack.enter_context(program(command, tmp_path, f"http://127.0.0.1:{prometheus_port}/-/ready"))

        unstick.until(rundeck.posts, within_s=60, what="Alertmanager's webhook")
        told_s = time.monotonic() - began
        outcome = unstick.until(lambda: unstick.outcomes(SERVICE), within_s=40)[0]
        assert (outcome["ending"], outcome["restarts"]) == ("recovered", 1)
        assert f"{QUEUE}: 5 → 0 messages, 1 consumer" in unstick.cards("recovered")[0]
        assert "5 messages in alerted.delivery, and nothing moves" in unstick.cards()[0], "the rule's own words"

        unstick.until(lambda: unstick.cards(f"the alert of {SERVICE} is resolved"), within_s=40)
        assert len(rundeck.posts()) == 1
        unstick.until(lambda: not unstick.open_documents(), within_s=5, what="nothing is open")
        print(f"told after {told_s:.1f} s, resolved after {time.monotonic() - began:.1f} s")
