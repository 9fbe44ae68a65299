"""The Prometheus symptom on real servers: a Redis list, from the rule by Alertmanager to `recovered`, and RabbitMQ's exporter."""

import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from bench import promises, restart_time
from functions.adapters.symptoms import prometheus
from functions.application.observe import or_unknown
from functions.application.ports import Query
from functions.domain.health.looks import judge_health
from functions.domain.model.codes import Health
from functions.domain.model.incidents import QueueState
from testbed import alerting
from testbed.alerting import PACKAGES, SHIPPED, program, ready_expressions
from testbed.broker import HOST, cluster, consumer, free_ports
from testbed.doubles.rundeck import Job, Rundeck
from testbed.patience import PATIENCE_S, wait_until
from testbed.unstick_process import ENDED_WITHIN_S, HELPED, Unstick, configuration, job_id, runbook
from testbed.workers import redis_worker
from tests.support.needs import need, need_broker

SERVICE, QUEUE = "mail-worker", "mail"
USER, PASSWORD = "alertmanager", "from-alertmanager-to-us"
JOBS, DONE = 'sum(redis_key_size{key="${labels.queue}"})', 'sum(increase(jobs_done_total{queue="${labels.queue}"}[5s]))'
SYMPTOM = {
    "stuck": f"{JOBS} > 0 and {DONE} == 0", "recovered": f"{DONE} > 0 or {JOBS} == 0", "depth": JOBS,
    "allow": {"queue": "[a-z]{1,20}"}, "for": "5s", "range": "5s",
}  # fmt: skip
SECONDS = {"interval: 10s": "interval: 1s", "[15s]": "[4s]"}
"""The shipped suspicion, for scrapes every second instead of every five."""
pytestmark = [pytest.mark.long, pytest.mark.timeout(600)]  # what each waits for may take long on a busy machine


@dataclass
class Redis:
    """A Redis with its exporter, and one worker of one list, which hangs until a restart starts it anew."""

    port: int
    exporter: int
    worker: int
    running: subprocess.Popen[str] | None = None

    def ask(self, *words: str) -> list[bytes]:
        with socket.create_connection(("127.0.0.1", self.port)) as line, line.makefile("rwb") as stream:
            return redis_worker.ask(stream, *words)

    def push(self, count: int) -> None:
        for number in range(count):
            self.ask("RPUSH", QUEUE, f"job-{number}")

    def start(self, mode: str) -> None:
        self.stop()
        command = [sys.executable, redis_worker.__file__, "--redis", str(self.port), "--metrics", str(self.worker)]
        self.running = subprocess.Popen([*command, "--queue", QUEUE, "--mode", mode], stdout=subprocess.PIPE, text=True)
        assert self.running.stdout is not None
        assert self.running.stdout.readline() == "working\n"

    def stop(self) -> None:
        if self.running is not None:
            self.running.kill()
            self.running.communicate()
            self.running = None

    @property
    def scrapes(self) -> dict[str, Any]:
        """prometheus.yml for both, every second."""
        return {
            "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
            "scrape_configs": [
                {"job_name": "redis", "static_configs": [{"targets": [f"127.0.0.1:{self.exporter}"]}]},
                {"job_name": "worker", "static_configs": [{"targets": [f"127.0.0.1:{self.worker}"]}]},
            ],
        }


@contextmanager
def redis(folder: Path) -> Iterator[Redis]:
    """Redis, exporter and worker, until the block ends."""
    servers = Redis(*free_ports(3))
    folder.mkdir()
    server = ["redis-server", "--port", str(servers.port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]
    address, listen = f"redis://127.0.0.1:{servers.port}", f"127.0.0.1:{servers.exporter}"
    exporter = ["prometheus-redis-exporter", "-redis.addr", address, "-web.listen-address", listen]
    with (
        program(server, folder, f"tcp://127.0.0.1:{servers.port}"),
        program([*exporter, "-check-single-keys", f"db0={QUEUE}"], folder, f"http://{listen}/metrics"),
    ):
        try:
            servers.start("hangs")
            yield servers
        finally:
            servers.stop()


def test_from_the_length_of_a_redis_list_to_recovered(tmp_path: Path):
    """A worker hangs, the shipped rule suspects it, Unstick sees it by Prometheus alone, restarts it, and it recovers."""
    need("redis-server", "prometheus-redis-exporter", *PACKAGES)
    with ExitStack() as stack:
        jobs = stack.enter_context(redis(tmp_path / "redis"))
        jobs.push(6)
        rundeck = stack.enter_context(Rundeck(Job(id=job_id(SERVICE), action=lambda _options: jobs.start("healthy"))))
        book = runbook(
            SERVICE,
            match=['alertname="RedisQueueMaybeStuck"', f'queue="{QUEUE}"'],
            restart={"job": job_id(SERVICE), "options": {"service": SERVICE}},
            symptom={"prometheus": SYMPTOM},
            verify=HELPED,
        )
        auth = {"auth": {"basic": {"user": USER, "passwords": ["env://ALERTMANAGER_PASSWORD"]}}}
        (port,) = free_ports(1)
        file = configuration(rundeck.url, "", [book], grafana=auth, prometheus={"url": f"http://127.0.0.1:{port}"})
        del file["rabbitmq"]
        unstick = Unstick(tmp_path / "unstick", file, ALERTMANAGER_PASSWORD=PASSWORD)
        stack.enter_context(unstick)
        rules = (SHIPPED / "redis.rules.yml").read_text(encoding="utf-8")
        for slow, fast in SECONDS.items():
            rules = rules.replace(slow, fast)
        scrapes = jobs.scrapes | {"rule_files": ["rules.yml"]}
        servers = alerting.programs(tmp_path / "p", scrapes, rules, unstick.url, basic_auth=(USER, PASSWORD), port=port)
        stack.enter_context(servers)

        unstick.until(rundeck.posts, within_s=ENDED_WITHIN_S, what="the restart")
        outcome = unstick.until(lambda: unstick.outcomes(SERVICE), within_s=ENDED_WITHIN_S)[0]
        assert (outcome["ending"], outcome["restarts"]) == ("recovered", 1)
        assert f"{QUEUE}: 5 → 0 messages" in unstick.cards("recovered")[0]
        assert jobs.ask("LLEN", QUEUE) == [b"0"]
        assert len(rundeck.posts()) == 1


def test_the_ready_expressions_for_rabbitmq(tmp_path: Path) -> None:
    """A consumer works, hangs, and is gone, in twenty seconds for a minute."""
    need("prometheus")
    need_broker(HOST)
    (block,) = [one for one in ready_expressions() if "rabbitmq_detailed" in one["stuck"]]
    short = {name: expression.replace("[1m]", "[20s]") for name, expression in block.items()}
    symptom = prometheus.Symptom(**short, for_s=10.0, range_s=20.0).to_symptom()
    queue = prometheus.name_queue(symptom, {"vhost": "/", "queue": QUEUE})
    with cluster(tmp_path / "broker", 1, version=HOST) as brokers:
        (node,) = brokers.nodes
        file = yaml.safe_load((SHIPPED / "prometheus.yml").read_text(encoding="utf-8"))
        scrape = file["scrape_configs"][0] | {"static_configs": [{"targets": [f"127.0.0.1:{node.metrics_port}"]}]}
        with alerting.prometheus(tmp_path / "p", {"scrape_configs": [scrape]}) as url:
            seen = []

            def judge() -> Health:
                (reading,) = prometheus.Prometheus(url).look_all([Query(queue, 10.0)], timeout_s=PATIENCE_S)
                watched = QueueState(queue, "mail", 0.0)
                seen.append(judge_health(symptom, or_unknown(reading), watched, time.time())[0].health)
                return seen[-1]

            node.publish(QUEUE, 1)
            with consumer(node, QUEUE, "moody"):
                for _ in range(20):
                    node.publish(QUEUE, 1)
                    time.sleep(1.0)
                wait_until(judge, Health.WELL.__eq__)
                assert Health.ILL not in seen, "it works"
                with node.channel("/") as channel:
                    channel.basic_publish("", QUEUE, b"hang")
                wait_until(judge, Health.ILL.__eq__)
            with consumer(node, QUEUE, "healthy"):
                wait_until(judge, Health.WELL.__eq__)
            node.publish(QUEUE, 1)
            wait_until(judge, Health.ILL.__eq__)


def test_restarts_and_news_come_as_soon_as_promised() -> None:
    """docs/benchmarks.md: ten applications get stuck at other times of scrapes, evaluations and samples, and those are restarted;
    healthy ones beside them are left alone."""
    need("rabbitmq-server", *PACKAGES)
    measured = restart_time.measure()
    print(promises.page(measured))
    assert [promise.row() for promise in promises.promises(measured) if not promise.holds] == []
