"""infra/prometheus: the rules do what their unit tests say, and a real broker has the metrics that they name."""

import os
import re
import subprocess
from pathlib import Path
from urllib.request import urlopen

import pytest
import yaml

from testbed.broker import HOST, consumer
from testbed.patience import PATIENCE_S, wait_until
from tests.support.needs import need

FOLDER = Path(__file__).parents[3] / "infra" / "prometheus"


def promtool(*arguments: str, folder: Path = FOLDER) -> subprocess.CompletedProcess[str]:
    """Run it on one thread, and with less garbage collection: so it takes half of the time."""
    env = os.environ | {"GOMAXPROCS": "1", "GOGC": "2000"}
    return subprocess.run(["promtool", *arguments], cwd=folder, env=env, capture_output=True, text=True, check=False)


@pytest.mark.parametrize(
    "arguments",
    [
        ("check", "config", "--syntax-only", "prometheus.yml"),  # the file with Unstick's token is the reader's
        ("test", "rules", "rules_test.yml"),
        ("test", "rules", "history_test.yml"),
        ("test", "rules", "unstick.rules_test.yml"),
        ("test", "rules", "redis.rules_test.yml"),
        ("test", "rules", "jobs.rules_test.yml"),
    ],
    ids=" ".join,
)
def test_promtool_finds_nothing_wrong(arguments):
    """Stuck queues fire, with and without consumers; idle, busy, slowly draining and deploying ones never do. A queue where
    nothing moves for seconds is suspected.
    """
    need("prometheus")
    done = promtool(*arguments)
    assert done.returncode == 0, done.stdout + done.stderr


def test_amtool_takes_the_route_to_unstick():
    """Suspicions go to Unstick, everything else to people."""
    need("prometheus-alertmanager")
    for labels, receiver in (
        (["unstick=suspicion", "alertname=RabbitMQQueueMaybeStuck"], "unstick"),
        (["alertname=RabbitMQQueueStuck"], "people"),
    ):
        command = ["amtool", "config", "routes", "test", "--config.file=alertmanager.yml", *labels]
        done = subprocess.run(command, cwd=FOLDER, capture_output=True, text=True, check=False)
        assert (done.returncode, done.stdout.strip()) == (0, receiver), done.stderr


ABSENT = {
    HOST: {
        "queue_info",
        "queue_get_total",
        "queue_messages_acked_total",
        "queue_messages_delivered_total",
        "queue_messages_delivered_ack_total",
    },
    "4.0": {"queue_info"},
    "4.3": set[str](),
}
"""What a version does not have, of what the rules ask for; RabbitMQ 3.10 is the host's on Debian 12."""


def test_a_real_broker_has_the_metrics_that_the_rules_name(rabbitmq_server):
    """The scrape of the example brings every series of the rules, with the labels by which they are put together."""
    named = set(re.findall(r"rabbitmq_detailed_(\w+)", (FOLDER / "rules.yml").read_text()))
    scrape = yaml.safe_load((FOLDER / "prometheus.yml").read_text())["scrape_configs"][0]
    assert scrape["scrape_interval"] == "5s", "three of them fit the suspicion's windows"
    (kept,) = (one["regex"] for one in scrape["metric_relabel_configs"])
    assert all(re.fullmatch(kept, f"rabbitmq_detailed_{name}") for name in named)
    query = "&".join(f"family={family}" for family in scrape["params"]["family"])
    url = f"http://127.0.0.1:{rabbitmq_server.metrics_port}{scrape['metrics_path']}?{query}"

    def missing() -> set[str]:
        with urlopen(url, timeout=PATIENCE_S) as answer:
            text = answer.read().decode()
        of_queue = re.findall(r'^rabbitmq_detailed_(\w+){[^}]*vhost="/",queue="scraped"[^}]*} \d', text, re.MULTILINE)
        of_channel = re.findall(r'^rabbitmq_detailed_(\w+){channel="<[^"]+>"} \d', text, re.MULTILINE)
        return named - set(of_queue) - ({"channel_messages_unacked"} & set(of_channel))

    rabbitmq_server.publish("scraped", 2)
    with consumer(rabbitmq_server, "scraped", "healthy"):
        wait_until(missing, lambda names: names == ABSENT[rabbitmq_server.version])
    assert len(named) == 12
