"""The Prometheus symptom on real servers: Redis' lists from the rule by Alertmanager to `recovered`, and the odd answers."""

from __future__ import annotations

import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from functions.adapters.symptoms import prometheus
from functions.domain.health.looks import judge_health
from functions.domain.model.codes import Health
from functions.domain.model.incidents import QueueState
from functions.domain.model.observations import QueueSnapshot
from functions.runtime.errors import Denied
from testbed import alerting
from testbed.alerting import PACKAGES, SHIPPED, program
from testbed.broker import free_ports
from testbed.doubles.rundeck import Job, Rundeck
from testbed.looks import look_once
from testbed.patience import PATIENCE_S, wait_until
from testbed.unstick_process import BUDGET, ENDED_WITHIN_S, HELPED, Unstick, configuration, job_id, runbook
from testbed.workers import redis_worker

SERVICE, QUEUE = "mail-worker", "mail"
USER, PASSWORD = "alertmanager", "from-alertmanager-to-us"
DEPTH = 'sum(redis_key_size{key="${labels.queue}"})'
QUERIES = {"depth": DEPTH, "done": 'sum(jobs_done_total{queue="${labels.queue}"})', "consumers": 'count(up{job="worker"} == 1)'}
BUSY, BETWEEN_SAMPLES = 50, 10
"""This many jobs are ten seconds' work; with the larger number no two samples could tell."""
SEEN_S = 15.0
"""How long back a look goes that is to show where the counter began anew."""
SECONDS = {"interval: 10s": "interval: 1s", "offset 10s": "offset 2s", "[15s]": "[4s]"}
"""The shipped suspicion, for scrapes every second instead of every five."""
pytestmark = [pytest.mark.long, pytest.mark.timeout(600)]  # what each waits for may take long on a busy machine


@dataclass
class Redis:
    """A Redis with its exporter, and one worker of one list, which a restart starts anew in its next mode."""

    port: int
    exporter: int
    worker: int
    modes: list[str] = field(default_factory=list)
    started: int = 0
    running: subprocess.Popen[str] | None = None

    def ask(self, *words: str) -> list[bytes]:
        with socket.create_connection(("127.0.0.1", self.port)) as line, line.makefile("rwb") as stream:
            return redis_worker.ask(stream, *words)

    def push(self, count: int) -> None:
        for number in range(count):
            self.ask("RPUSH", QUEUE, f"job-{number}")

    def restart(self, _options: Mapping[str, str] | None = None) -> None:
        self.stop()
        mode = self.modes[min(self.started, len(self.modes) - 1)]
        command = [sys.executable, redis_worker.__file__, "--redis", str(self.port), "--metrics", str(self.worker)]
        self.running = subprocess.Popen([*command, "--queue", QUEUE, "--mode", mode], stdout=subprocess.PIPE, text=True)
        assert self.running.stdout is not None
        assert self.running.stdout.readline() == "working\n"
        self.started += 1

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
def redis(folder: Path, *modes: str) -> Iterator[Redis]:
    """Redis, exporter and worker, until the block ends."""
    servers = Redis(*free_ports(3), list(modes))
    folder.mkdir()
    server = ["redis-server", "--port", str(servers.port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]
    address, listen = f"redis://127.0.0.1:{servers.port}", f"127.0.0.1:{servers.exporter}"
    exporter = ["prometheus-redis-exporter", "-redis.addr", address, "-web.listen-address", listen]
    with (
        program(server, folder, f"tcp://127.0.0.1:{servers.port}"),
        program([*exporter, "-check-single-keys", f"db0={QUEUE},db0=other"], folder, f"http://{listen}/metrics"),
    ):
        try:
            servers.restart()
            yield servers
        finally:
            servers.stop()


def test_from_the_length_of_a_redis_list_to_recovered(needed: Callable[..., None], tmp_path: Path):
    """A worker hangs, the shipped rule suspects it, Unstick sees it by Prometheus alone, restarts it, and it recovers."""
    needed("redis-server", "prometheus-redis-exporter", *PACKAGES)
    with ExitStack() as stack:
        jobs = stack.enter_context(redis(tmp_path / "redis", "hangs", "healthy"))
        jobs.push(6)
        rundeck = stack.enter_context(Rundeck(Job(id=job_id(SERVICE), action=jobs.restart)))
        book = runbook(
            SERVICE,
            match=['alertname="RedisQueueMaybeStuck"', f'queue="{QUEUE}"'],
            restart={"job": job_id(SERVICE), "options": {"service": SERVICE}},
            symptom={"prometheus": QUERIES | {"allow": {"queue": "[a-z]{1,20}"}, "for": "5s", "delay": "1s"}},
            verify=HELPED,
        )
        auth = {"auth": {"basic": {"user": USER, "passwords": ["env://ALERTMANAGER_PASSWORD"]}}}
        (port,) = free_ports(1)
        file = configuration(rundeck.url, "", [book], grafana=auth, budget=BUDGET, prometheus={"url": f"http://127.0.0.1:{port}"})
        del file["rabbitmq"]
        unstick = Unstick(tmp_path / "unstick", file, ALERTMANAGER_PASSWORD=PASSWORD)
        stack.enter_context(unstick)
        rules = (SHIPPED / "redis.rules.yml").read_text(encoding="utf-8")
        for slow, fast in SECONDS.items():
            rules = rules.replace(slow, fast)
        began = time.monotonic()
        stack.enter_context(
            alerting.programs(
                tmp_path / "p",
                jobs.scrapes | {"rule_files": ["rules.yml"]},
                rules,
                unstick.url,
                basic_auth=(USER, PASSWORD),
                port=port,
            )
        )

        unstick.until(rundeck.posts, within_s=ENDED_WITHIN_S, what="the restart")
        print(f"restarted after {time.monotonic() - began:.1f} s")
        outcome = unstick.until(lambda: unstick.outcomes(SERVICE), within_s=ENDED_WITHIN_S)[0]
        assert (outcome["ending"], outcome["restarts"]) == ("recovered", 1)
        assert f"{QUEUE}: 5 → 0 messages, 1 consumer" in unstick.cards("recovered")[0]
        assert jobs.ask("LLEN", QUEUE) == [b"0"]
        assert len(rundeck.posts()) == 1
        print(f"recovered after {time.monotonic() - began:.1f} s")


def test_what_a_real_prometheus_answers(needed: Callable[..., None], tmp_path: Path):
    """The double answers as a real one: series that come and go, several, none, a counter that begins anew, refusals."""
    needed("redis-server", "prometheus-redis-exporter", "prometheus")
    with redis(tmp_path / "redis", "healthy") as jobs, alerting.prometheus(tmp_path / "p", jobs.scrapes) as url:
        settings = prometheus.Prometheus(url)

        def look(queue: str = QUEUE, for_s: float = 5.0, **keys: Any) -> QueueSnapshot:
            symptom = prometheus.Symptom(**(QUERIES | {"for_s": for_s, "delay_s": 0.0} | keys)).to_symptom()
            return look_once(
                prometheus.client.look_all,
                settings,
                prometheus.name_queue(symptom, {"queue": queue}),
                for_s=for_s,
                timeout_s=PATIENCE_S,
            )

        def until(right: Callable[[QueueSnapshot], Any], **keys: Any) -> QueueSnapshot:
            """Each look until one is right: a scrape that takes longer than its second is one that failed, and a gap."""
            seen = wait_until(
                lambda: _seen(lambda: look(**keys)), lambda one: one is not None and right(one), within_s=2 * PATIENCE_S
            )
            assert seen is not None
            return seen

        seen = until(lambda one: len(one.depth_samples) > 4 and one.behind_s < 4.0 and one.consumers)
        assert (seen.depth, seen.consumers) == (0, 1)
        assert until(lambda one: True, queue="other").depth == 0
        for query in ('label_replace(up, "a")', "up + on () up", "scalar(up)"):
            assert "does not take the query" in _refused(look, query)
        assert _refused(look, "up").endswith(" series")
        assert _refused(look, "no_such_metric").endswith("gives no series")
        assert _refused(look, "sum(no_such_metric) or vector(0)").endswith("gives no series")
        assert _refused(look, DEPTH.replace("queue}", "queue}") + " > 0").endswith("gives no series")
        assert until(lambda one: True, consumers='count(up{job="nowhere"} == 1)').consumers is None
        assert until(lambda one: True, depth="sum(no_such_metric) or 0 * sum(redis_uptime_in_seconds)").depth == 0

        def busy(seen: QueueSnapshot) -> bool:
            if seen.depth < BUSY:
                jobs.push(BUSY)
            return (seen.acks or 0) > BETWEEN_SAMPLES and _health(seen) is Health.WELL

        def hang() -> float:
            until(busy)
            jobs.modes = ["hangs"]
            jobs.push(BUSY)
            jobs.restart()
            return time.monotonic()

        began_anew = hang()

        def anew(seen: QueueSnapshot) -> bool:
            nonlocal began_anew
            if time.monotonic() - began_anew > SEEN_S:  # whoever stood still that long has missed it
                jobs.modes = ["healthy"]
                jobs.restart()
                began_anew = hang()
            return "began to count" in str(seen.blind and seen.blind.why)

        blind = until(anew, for_s=SEEN_S).blind
        assert blind is not None
        assert blind.late, "the counter began anew: that is no standstill yet"
        until(lambda one: _health(one) is Health.ILL)
        jobs.stop()
        gone = until(lambda one: one.consumers is None and one.acks is None)  # two questions: a scrape may come between them
        assert gone.depth >= BUSY
        until(lambda one: _health(one) is Health.UNKNOWN)  # a scrape that fails looks the same
        lost = until(lambda one: one.blind is not None, consumers=None)
        assert lost.blind is not None, "the counter has gone with the worker, and nobody counts workers"
        keys = prometheus.Symptom(**(QUERIES | {"for_s": 5.0})).to_symptom()
        wait_until(
            lambda: {one.what: one.ok for one in settings.check(keys, {"queue": QUEUE}, timeout_s=PATIENCE_S)},
            {
                "Prometheus answers": True, "depth of mail": True, "done of mail": None, "consumers of mail": None,
                "samples of mail": None,
            }.__eq__,
        )  # fmt: skip


def _seen(look: Callable[[], QueueSnapshot]) -> QueueSnapshot | None:
    try:
        return look()
    except Denied:
        return None


def _refused(look: Callable[..., QueueSnapshot], depth: str) -> str:
    with pytest.raises(Denied) as denied:
        look(depth=depth)
    return str(denied.value.detail)


def _health(seen: QueueSnapshot) -> Health:
    symptom = prometheus.Symptom(**(QUERIES | {"for_s": 5.0})).to_symptom()
    queue = prometheus.name_queue(symptom, {"queue": QUEUE})
    return judge_health(symptom, seen, QueueState(queue, "", 0.0), time.time())[0].health
