"""Makes tests/recordings/prometheus: the situations of rabbitmq.py, seen at the same moments by both symptoms.

    python -m tests.support.recorders.prometheus [CASE...]      (five minutes)

Each look has what RabbitMQ's management API answered, and what a Prometheus answered that scrapes the same broker every 5 s, as
infra/prometheus says. Of the points of a range query those are kept that another sample is behind.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import threading
import time
from functools import partial
from pathlib import Path
from typing import Any

import yaml

from functions.adapters.symptoms import prometheus
from functions.adapters.symptoms.prometheus import client
from functions.domain.model.alerts import QueueRef
from tests.support.broker import Broker, broker, free_ports
from tests.support.recorders import rabbitmq as record_rabbitmq

FOLDER = Path(__file__).parents[2] / "recordings" / "prometheus"
SHIPPED = Path(__file__).parents[3] / "infra" / "prometheus"
LABELS = '{vhost="${labels.vhost}", queue="${labels.queue}"}'
COUNTERS = ("rabbitmq_detailed_channel_messages_acked_total", "rabbitmq_detailed_channel_messages_delivered_total")
QUERIES = {
    "depth": f"max(rabbitmq_detailed_queue_messages{LABELS})",
    "done": " + ".join(f"(sum({counter}{LABELS}) or vector(0))" for counter in COUNTERS),
    "consumers": f"max(rabbitmq_detailed_queue_consumers{LABELS})",
}
"""Those of docs/symptoms.md for RabbitMQ."""


def queue_of(name: str) -> QueueRef:
    """The queue of a case, as the symptom has it."""
    keys = prometheus.Symptom(**QUERIES).to_symptom()
    return prometheus.name_queue(keys, {"vhost": "/", "queue": name})


def read(url: str, name: str, for_s: float) -> dict[str, Any]:
    """What Prometheus answers to all that the symptom asks, in the form of `client.Asked`."""
    queue, sent_at = queue_of(name), time.time()
    now, before = client.now_paths(queue), client.before_paths(queue, for_s, sent_at)
    answers = client.ask(prometheus.Prometheus(url), [*now.values(), *before.values()], timeout_s=10.0)
    bodies = [answer.json() for answer in answers]
    kept = [_thinned(body) for body in bodies[len(now) :]]
    at = time.time()
    return {
        "at": at,
        "sent_at": sent_at,
        "now": dict(zip(now, bodies, strict=False)),
        "before": dict(zip(before, kept, strict=True)),
    }


def _thinned(body: dict[str, Any]) -> dict[str, Any]:
    """Without the points that repeat the samples of the point before."""
    series = body["data"]["result"]
    taken: dict[float, list[str]] = {}
    for one in series:
        if one["metric"]["unstick"] != "0":
            for at, value in one["values"]:
                taken.setdefault(at, []).append(value)
    times = sorted(taken)
    kept = {at for before, at in zip([None, *times], times, strict=False) if before is None or taken[before] != taken[at]}
    for one in series:
        one["values"] = [point for point in one["values"] if point[0] in kept]
    return body


def _look(case: record_rabbitmq.MatchedAlert, url: str, note: str) -> None:
    record_rabbitmq.MatchedAlert.look(case, note)
    case.looks[-1]["prometheus"] = read(url, case.queue.keys["queue"], case.for_s)


def _start_prometheus(folder: Path, made: Broker) -> tuple[subprocess.Popen[bytes], str]:
    file = yaml.safe_load((SHIPPED / "prometheus.yml").read_text(encoding="utf-8"))
    file["scrape_configs"][0]["static_configs"][0]["targets"] = [f"127.0.0.1:{made.metrics_port}"]
    del file["rule_files"], file["alerting"]
    (folder / "prometheus.yml").write_text(yaml.safe_dump(file), encoding="utf-8")
    (port,) = free_ports(1)
    command = [
        "prometheus", "--config.file=prometheus.yml", "--storage.tsdb.path=data", f"--web.listen-address=127.0.0.1:{port}",
        "--log.level=warn",
    ]  # fmt: skip
    return subprocess.Popen(command, cwd=folder, stdin=subprocess.DEVNULL), f"http://127.0.0.1:{port}"


def main() -> None:
    FOLDER.mkdir(parents=True, exist_ok=True)
    record_rabbitmq.FOLDER = FOLDER
    with tempfile.TemporaryDirectory() as folder, broker(Path(folder) / "broker") as made:
        server, url = _start_prometheus(Path(folder), made)
        wanted = [case for case in record_rabbitmq.cases(made) if case.queue.keys["queue"] in sys.argv[1:] or not sys.argv[1:]]
        for case in wanted:
            case.look = partial(_look, case, url)  # type: ignore[method-assign]
        threads = [threading.Thread(target=case.run) for case in wanted]
        try:
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
        finally:
            server.kill()


if __name__ == "__main__":
    main()
