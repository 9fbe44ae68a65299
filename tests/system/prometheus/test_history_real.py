"""The suspicion still says who consumed a queue after the broker was restarted and the application did not come back."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlencode
from urllib.request import urlopen

import pytest
import yaml

from testbed.alerting import SHIPPED, prometheus, rules_for
from testbed.broker import HOST, VERSIONS, cluster, consumer
from testbed.patience import PATIENCE_S, wait_until
from tests.support.needs import need_broker

QUEUE = "mail.delivery"
CONSUMED = 7
SUSPECTED_WITHIN_S = 180.0
"""On an idle machine after half a minute."""
pytestmark = [pytest.mark.long, pytest.mark.timeout(900)]  # a minute must pass before the broker is restarted


def ask(url: str, path: str, **query: str) -> Any:
    with urlopen(f"{url}/api/v1/{path}?{urlencode(query)}", timeout=PATIENCE_S) as answer:
        return json.loads(answer.read())["data"]


@pytest.mark.parametrize("version", [HOST, *VERSIONS])
def test_a_restarted_broker_does_not_lose_the_history(needed: Callable[..., None], version: str, tmp_path: Path) -> None:
    """Consumers and acknowledgements of before stand in the alert of after, as integers; the broker begins to count anew."""
    needed("prometheus")
    need_broker(version)
    with cluster(tmp_path / "broker", 1, version=version) as brokers:
        (node,) = brokers.nodes
        file = yaml.safe_load((SHIPPED / "prometheus.yml").read_text(encoding="utf-8"))
        file |= {"scrape_configs": file["scrape_configs"][:1], "rule_files": ["rules.yml"]}
        file["scrape_configs"][0]["static_configs"][0]["targets"] = [f"127.0.0.1:{node.metrics_port}"]
        file.pop("alerting", None)
        (tmp_path / "p").mkdir()
        (tmp_path / "p" / "rules.yml").write_text(rules_for("mail[.]delivery"), encoding="utf-8")
        with prometheus(tmp_path / "p", file) as url:
            node.publish(QUEUE, CONSUMED)
            with consumer(node, QUEUE, "healthy"), consumer(node, QUEUE, "healthy"):
                seen = f'min_over_time(rabbitmq_detailed_queue_consumers{{queue="{QUEUE}"}}[1m:1m]) == 2'
                counted = f'sum(rabbitmq_detailed_channel_messages_acked_total{{queue="{QUEUE}"}}) == {CONSUMED}'
                for query in (seen, counted):
                    wait_until(lambda query=query: ask(url, "query", query=query)["result"], within_s=SUSPECTED_WITHIN_S)
            brokers.stop(node)
            brokers.start(node)
            node.publish(QUEUE, 3)
            alerts = wait_until(lambda: suspicions(url), within_s=SUSPECTED_WITHIN_S)
            page = node.api("GET", f"queues/%2F/{QUEUE}")
    said = {name: alerts[0]["annotations"][name] for name in ("unstick_consumers_1d", "unstick_acked_1d")}
    assert said == {"unstick_consumers_1d": "2", "unstick_acked_1d": str(CONSUMED)}
    assert (page["consumers"], page.get("message_stats", {}).get("ack", 0)) == (0, 0)


def suspicions(url: str) -> list[Any]:
    return [one for one in ask(url, "alerts")["alerts"] if one["labels"]["alertname"] == "RabbitMQQueueMaybeStuck"]
