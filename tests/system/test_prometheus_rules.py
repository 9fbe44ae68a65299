"""infra/prometheus: the rules do what their unit tests say, and a real broker has the metrics that they name."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path
from urllib.request import urlopen

import pytest
import yaml

from tests.support.broker import consumer
from tests.support.patience import PATIENCE_S, wait_until

FOLDER = Path(__file__).parents[2] / "infra" / "prometheus"


def promtool(*arguments: str, folder: Path = FOLDER) -> subprocess.CompletedProcess[str]:
    """Run it on one thread, and with less garbage collection: so it takes half of the time."""
    env = os.environ | {"GOMAXPROCS": "1", "GOGC": "400"}
    return subprocess.run(["promtool", *arguments], cwd=folder, env=env, capture_output=True, text=True, check=False)


@pytest.mark.parametrize(
    "arguments",
    [
        ("check", "rules", "rules.yml"),
        ("check", "config", "prometheus.yml"),
        ("test", "rules", "rules_test.yml"),
        ("check", "rules", "redis.rules.yml"),
        ("test", "rules", "redis.rules_test.yml"),
        ("check", "rules", "jobs.rules.yml"),
        ("test", "rules", "jobs.rules_test.yml"),
    ],
    ids=" ".join,
)
def test_promtool_finds_nothing_wrong(needed, arguments):
    """Stuck queues fire, with and without consumers; idle, busy, slowly draining and deploying ones never do. A queue where
    nothing moves for seconds is suspected.
    """
    needed("prometheus")
    done = promtool(*arguments)
    assert done.returncode == 0, done.stdout + done.stderr


def test_amtool_takes_the_route_to_unstick(needed):
    """Suspicions go to Unstick, everything else to people."""
    needed("prometheus-alertmanager")
    for labels, receiver in (
        (["unstick=suspicion", "alertname=RabbitMQQueueMaybeStuck"], "unstick"),
        (["alertname=RabbitMQQueueStuck"], "people"),
    ):
        command = ["amtool", "config", "routes", "test", "--config.file=alertmanager.yml", *labels]
        done = subprocess.run(command, cwd=FOLDER, capture_output=True, text=True, check=False)
        assert (done.returncode, done.stdout.strip()) == (0, receiver), done.stderr


@pytest.mark.parametrize(
    ("part", "shown_by"),
    [
        (
            "and max by (job, vhost, queue) (rabbitmq_detailed_queue_messages offset 10s) > 0",
            "suspected within 20 s of the first message that nobody acknowledges, stuck for people after five minutes",
        ),
        (
            "unless max by (job, vhost, queue) (resets(rabbitmq_detailed_queue_messages[15s])) > 0",
            "works in automatic acknowledgement mode, or with a channel for each message, and is not suspected",
        ),
        (
            "unless sum by (job, vhost, queue) (increase(rabbitmq_detailed_channel_messages_acked_total[15s])) > 0",
            "busy, always as deep; the broker's counter rises in steps, and one scrape sees no step",
        ),
        (
            "unless sum by (job, vhost, queue) (increase(rabbitmq_detailed_channel_messages_delivered_total[15s])) > 0",
            "works in automatic acknowledgement mode, or with a channel for each message, and is not suspected",
        ),
        (
            "and max by (job, vhost, queue) (rabbitmq_detailed_queue_messages offset 2m) > 0",
            "messages came to an idle queue less than five minutes ago",
        ),
        (
            "unless max by (job, vhost, queue) (resets(rabbitmq_detailed_queue_messages[2m])) > 0",
            "a channel for each message, each seen in one scrape only",
        ),
        (
            "unless sum by (job, vhost, queue) (increase(rabbitmq_detailed_channel_messages_acked_total[2m])) > 0",
            "busy, never empty, always as deep",
        ),
        (
            "unless sum by (job, vhost, queue) (increase(rabbitmq_detailed_channel_messages_delivered_total[2m])) > 0",
            "works in automatic acknowledgement mode",
        ),
        ('{queue!~"amq[.]gen.*"}', "names of another form, and queues of the broker's own naming"),
        ("for: 3m", "is being deployed, two minutes without a consumer, then a new channel that begins at 0"),
        ("for: 5m", "no figures at all"),
    ],
)
def test_no_part_of_the_rules_is_there_for_nothing(needed, tmp_path, part, shown_by):
    """Without any one of their conditions the rules fail the unit test that is about it."""
    needed("prometheus")
    rules = (FOLDER / "rules.yml").read_text()
    assert part in rules
    (tmp_path / "rules.yml").write_text(rules.replace(part, ""))
    tests = yaml.safe_load((FOLDER / "rules_test.yml").read_text())
    tests["tests"] = [test for test in tests["tests"] if test["name"] == shown_by]
    assert tests["tests"], "a name of rules_test.yml"
    (tmp_path / "rules_test.yml").write_text(yaml.safe_dump(tests))
    done = promtool("test", "rules", "rules_test.yml", folder=tmp_path)
    assert done.returncode != 0
    assert "exp:" in done.stdout + done.stderr, "it must fail by what fires, not by its syntax"


def test_a_real_broker_has_the_metrics_that_the_rules_name(rabbitmq_server):
    """The scrape of the example brings every series of the rules, with the labels by which they are put together."""
    named = set(re.findall(r"rabbitmq_detailed_\w+", (FOLDER / "rules.yml").read_text()))
    scrape = yaml.safe_load((FOLDER / "prometheus.yml").read_text())["scrape_configs"][0]
    assert scrape["scrape_interval"] == "5s", "three of them fit the suspicion's windows"
    query = "&".join(f"family={family}" for family in scrape["params"]["family"])
    url = f"http://127.0.0.1:{rabbitmq_server.metrics_port}{scrape['metrics_path']}?{query}"

    def missing() -> set[str]:
        with urlopen(url, timeout=PATIENCE_S) as answer:
            text = answer.read().decode()
        return named - set(re.findall(r'^(\w+){[^}]*vhost="/",queue="scraped"} \d', text, re.MULTILINE))

    rabbitmq_server.publish("scraped", 2)
    with consumer(rabbitmq_server, "scraped", "healthy"):
        wait_until(missing, lambda names: not names)
    assert len(named) == 4
