"""infra/prometheus: the rules do what their unit tests say, and a real broker has the metrics that they name."""

import json
import os
import re
import subprocess
from pathlib import Path
from urllib.parse import quote
from urllib.request import urlopen

import pytest
import yaml

from testbed.alerting import prometheus, rules_for
from testbed.broker import HOST, VERSIONS, cluster, consumer
from testbed.patience import PATIENCE_S, wait_until
from tests.support.needs import need_broker

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


READY, UNACKED = "rabbitmq_detailed_queue_messages_ready", "rabbitmq_detailed_queue_messages_unacked"
OF_QUEUE, OF_CHANNEL = "by (job, vhost, queue)", "by (job, instance, channel)"
WINDOWED = [
    (f"and max {OF_QUEUE} ({READY} offset 10s + {UNACKED} offset 10s) > 0",
        "suspected within 20 s of the first message that nobody acknowledges, stuck for people after five minutes",
        "messages came to an idle queue less than five minutes ago"),
    (f"unless max {OF_QUEUE} (resets(({READY} + {UNACKED})[15s:5s])) > 0",
        "a channel for each message, in no scrape, is not suspected", "a channel for each message, each seen in one scrape only"),
    (f"unless sum {OF_QUEUE} (increase(rabbitmq_detailed_channel_messages_acked_total[15s])) > 0",
        "busy, always as deep; the broker's counter rises in steps, and one scrape sees no step",
        "busy, never empty, always as deep"),
    (f"unless sum {OF_QUEUE} (increase(rabbitmq_detailed_channel_messages_delivered_total[15s])) > 0",
        "works in automatic acknowledgement mode, and is not suspected", "works in automatic acknowledgement mode"),
    (f"unless sum {OF_QUEUE} (increase(rabbitmq_detailed_queue_messages_acked_total[15s])) > 0",
        *["4.x, the counters of a queue outlive its channels: a channel for each message, never shallower"] * 2),
    (f"unless sum {OF_QUEUE} (increase(rabbitmq_detailed_queue_messages_delivered_total[15s])) > 0",
        *["4.x, works in automatic acknowledgement mode"] * 2),
    (f"unless sum {OF_QUEUE} (increase(rabbitmq_detailed_queue_get_total[15s])) > 0",
        *["4.x, asks by basic.get in automatic acknowledgement mode"] * 2),
    (f"and max {OF_CHANNEL} (rabbitmq_detailed_channel_messages_unacked offset 10s) > 0",
        *["a channel that has held a message for less than the window"] * 2),
    (f"unless sum {OF_CHANNEL} (increase(rabbitmq_detailed_channel_messages_acked_total[15s])) > 0",
        *["a consumer works off what it holds, and is given nothing more"] * 2),
    (f"unless sum {OF_CHANNEL} (increase(rabbitmq_detailed_channel_messages_delivered_ack_total[15s])) > 0",
        *["a consumer that acknowledges ten minutes' work at once takes messages meanwhile"] * 2),
]  # fmt: skip
"""(a part of the suspicion, what shows it, what shows the same part of the alert with its longer windows)."""

ON_QUEUE = "on (job, vhost, queue)"
OTHERS = [
    (f'unless {ON_QUEUE} rabbitmq_detailed_queue_info{{queue_type="rabbit_stream_queue"}}', "4.3, a stream is never empty"),
    ("and on (job) rabbitmq_detailed_queue_messages_delivered_ack_total", "nobody is there, so no channel has a series"),
    (f"unless {ON_QUEUE} max_over_time(unstick:served_queues[1d])", "4.x, the application is gone, its queue's counters are not"),
    ("rabbitmq_detailed_queue_messages_delivered_ack_total or",
        "4.x, the broker was restarted, and a poller by basic.get did not come back"),
    (" or rabbitmq_detailed_queue_consumers > 0", "4.x, an application without counters (AMQP 1.0, MQTT) is gone"),
    ('{queue=~"mail[.]delivery"}', "queues that are not named, whatever they are"),
    ("for: 3m", "is being deployed, two minutes without a consumer, then a new channel that begins at 0"),
    ("for: 5m", "no figures at all"),
]  # fmt: skip


def longer(part: str) -> str:
    return part.replace("offset 10s", "offset 2m").replace("[15s", "[2m")


@pytest.mark.long  # mutation testing of the rules: promtool takes a second for each
@pytest.mark.parametrize(
    ("part", "shown_by"),
    [*((part, early) for part, early, _ in WINDOWED), *((longer(part), late) for part, _, late in WINDOWED), *OTHERS],
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


@pytest.mark.long  # by day promtool has the same figures
@pytest.mark.timeout(600)
@pytest.mark.parametrize("version", VERSIONS)
def test_a_poller_that_the_brokers_restart_ended_is_suspected(needed, tmp_path, version):
    """By the counters of before, however short it polled. Queues that nobody takes from are left out."""
    need_broker(version)
    needed("prometheus")
    scrape = yaml.safe_load((FOLDER / "prometheus.yml").read_text())["scrape_configs"][0]
    with cluster(tmp_path / "broker", 1, version=version) as running:
        (node,) = running.nodes
        scrape["static_configs"] = [{"targets": [f"127.0.0.1:{node.metrics_port}"]}]
        (tmp_path / "prometheus").mkdir()
        (tmp_path / "prometheus" / "rules.yml").write_text(rules_for("mail[.].+"))
        with prometheus(tmp_path / "prometheus", {"scrape_configs": [scrape], "rule_files": ["rules.yml"]}) as url:
            node.publish("mail.dead", 3)
            node.publish("mail.later", 2, arguments={"x-message-ttl": 3_600_000})
            node.publish("mail.polled")
            with node.channel() as channel:
                method, _, _ = channel.basic_get("mail.polled")
                channel.basic_ack(method.delivery_tag)
            wait_until(lambda: _queues(url, "unstick:served_queues") == {"mail.polled"})
            running.stop(node)
            running.start(node)
            node.publish("mail.polled", 3)
            node.publish("mail.delivery")
            with consumer(node, "mail.delivery", "healthy"):
                wait_until(lambda: _queues(url, 'ALERTS{alertname="RabbitMQQueueMaybeStuck"}') == {"mail.polled"})


def _queues(url: str, query: str) -> set[str]:
    """Those that have a value."""
    with urlopen(f"{url}/api/v1/query?query={quote(query)}", timeout=PATIENCE_S) as answer:
        return {one["metric"]["queue"] for one in json.load(answer)["data"]["result"]}
